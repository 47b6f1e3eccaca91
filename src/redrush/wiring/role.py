"""What every role process has: one deployment, one campaign, a control port, and an end in good order."""

import asyncio
import platform
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from redrush import __version__
from redrush.config import DeploymentFile
from redrush.control.data_dir import DataDir
from redrush.control.durable_file import stamp_of
from redrush.control.event import OpenTerms, load_event, placed, require_open_terms
from redrush.control.sealing import SealedCampaign
from redrush.core.load.loop_share import LoopShare
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.phase import SteadyClock
from redrush.core.sets.address import Address
from redrush.core.sets.division import Division, SetPlace
from redrush.core.steering import figures
from redrush.core.steering.figure import Value
from redrush.errors import ConfigError
from redrush.gate.views import Computed
from redrush.http import answers
from redrush.http.reader import Request
from redrush.http.site import Found, Site
from redrush.watch.log import server_log
from redrush.watch.metrics import CONTENT_TYPE, Exposition

Announce = Callable[[dict[str, Address]], None]


class Surroundings(msgspec.Struct, frozen=True):
    """What every role is made from."""

    deployment: DeploymentFile
    sealed: SealedCampaign
    terms: OpenTerms
    """What of the campaign is open, as this deployment keeps to it."""
    division: Division
    control: Address
    """Where the control port of this process is to be."""
    clock: SteadyClock
    log: Any
    amended_us: int = 0
    """When the open part was written, µs since the epoch."""

    @property
    def data_dir(self) -> DataDir:
        """The directory of the event."""
        return DataDir(self.deployment.data)

    def sets_of(self, pot_id: str) -> list[str]:
        """Return the sets of a pot, in the order of the deployment."""
        return [share.set for share in self.division.shares(pot_id)]


class Role(Protocol):
    """A role of one campaign. `start` is called once, then `stop`; in between it works by itself."""

    @property
    def site(self) -> Site | None:
        """What participants are served by, once started; None: this role serves none."""

    beside: "Callable[[], Sequence[Role]]"
    """The roles of other campaigns whose participants come to the port of this one."""

    elsewhere: Callable[[Request], Found | None] | None
    """Asked for paths that are none of this campaign's."""

    def tick(self) -> None:
        """Renew what is prebuilt. Every second, of one that serves participants."""

    def beat(self, late_s: float, loop: LoopShare) -> float:
        """See to admission; return how many seconds shall lie between the beats. `loop` knows who shares it."""

    async def start(self, control: Site) -> dict[str, Address]:
        """Bring everything up that must be there before it is useful; return the addresses besides the control port's.
        What the role serves on its control port, besides probes and metrics, it adds to `control`.

        ConfigError or another RedrushError if it cannot be. What may come later is waited for in the background.
        """

    def readiness(self) -> bytes:
        """Return the answer to `GET /readyz`: whether this process should be relied on now."""

    def readings(self) -> Iterator[Value]:
        """Yield the figures of its metrics."""

    def failed(self) -> Awaitable[None]:
        """Wait for ever, unless it can go on no more: then raise why."""

    async def amend(self, around: Surroundings) -> bool:
        """Go on as this event, which was amended; return False if it cannot: then it is ended, and made anew."""

    async def stop(self) -> None:
        """Finish what was accepted and let go of everything. Also after a `start` that failed half way."""


@runtime_checkable
class Shared(Protocol):
    """A role whose parts serve the other campaigns of the process too."""

    def for_campaign(self, around: "Surroundings") -> Role:
        """Return the role of another campaign, over the parts of this one, which has started."""


class Offstage:
    """Of a role that serves no participants, or whose site needs nothing each second."""

    site: Site | None = None
    beside: Callable[[], Sequence[Role]] = staticmethod(list)
    elsewhere: Callable[[Request], Found | None] | None = None

    def tick(self) -> None:
        """Renew nothing."""

    def beat(self, late_s: float, loop: LoopShare) -> float:
        """See to nothing, ever again."""
        del late_s, loop
        return float("inf")

    async def amend(self, around: Surroundings) -> bool:
        """Be made anew: nobody is connected to it for long."""
        del around
        return False


def surroundings(deployment: DeploymentFile, control: Address, clock: SteadyClock) -> Surroundings:
    """Return them. ConfigError if the data directory holds no campaign, or not the one of the deployment."""
    data_dir = DataDir(deployment.data)
    stamp = stamp_of(data_dir.event)
    event = load_event(data_dir)
    require_open_terms(data_dir)
    return Surroundings(
        deployment=deployment,
        sealed=event.sealed,
        terms=placed(event.open, deployment),
        division=division_of(deployment, event.sealed.campaign),
        control=control,
        clock=clock,
        log=server_log(),
        amended_us=0 if stamp is None else stamp[0] // 1_000,
    )


def division_of(deployment: DeploymentFile, campaign: Campaign) -> Division:
    """Return which slots of each pot each set gets. ConfigError if a set joins from a round that does not exist."""
    try:
        return Division(campaign, [SetPlace(spec.id, spec.from_round) for spec in deployment.sets])
    except ValueError as fault:
        raise ConfigError(f"the deployment does not fit campaign {campaign.id}: {fault}") from None


class Parts:
    """The tasks of a role. One that ends has done all it had to; one that breaks off ends the role."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._fault: asyncio.Future[None] | None = None

    def add(self, name: str, part: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run a part from now on; return its task."""
        task = asyncio.create_task(part, name=name)
        task.add_done_callback(self._ended)
        self._tasks.add(task)
        return task

    def fail(self, fault: BaseException) -> None:
        """The role can go on no more."""
        failed = self.failed()
        if not failed.done():
            failed.set_exception(fault)

    def failed(self) -> "asyncio.Future[None]":
        """Return what never ends, unless a part breaks off: then it raises that."""
        if self._fault is None:
            self._fault = asyncio.get_running_loop().create_future()
        return self._fault

    async def ended(self) -> None:
        """Return when all have ended, whatever with."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def cancel(self) -> None:
        """End all at once."""
        for task in self._tasks:
            task.cancel()
        await self.ended()

    def broke_off(self, name: str, fault: BaseException) -> None:
        """A part has: the role can go on no more."""
        del name
        self.fail(fault)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            while isinstance(fault, BaseExceptionGroup):
                fault = fault.exceptions[0]
            self.broke_off(task.get_name(), fault)


class PartsBeside(Parts):
    """Of a process that serves claims. One that breaks off is told at once: claims go on, and a restart does what is
    missing."""

    def __init__(self, log: Any) -> None:
        super().__init__()
        self._log = log

    def broke_off(self, name: str, fault: BaseException) -> None:
        """See `Parts`."""
        self._log.critical(f"the {name} broke off, restart the server soon", fault=repr(fault))


def ready_unless(why: str | None, **told: object) -> bytes:
    """Return the answer to `GET /readyz` of a process that is ready, or not for this reason, with what else is told."""
    if why is not None:
        return answers.problem(503, why, "Retry-After: 5\r\n", **told)
    return answers.json_answer({"status": "ready", **told})


def add_probes(site: Site, readiness: Callable[[], bytes], sources: Sequence[Callable[[], Iterator[Value]]]) -> None:
    """Let the site of a control port serve /livez, /readyz, /metrics; and the figures, for who has a token."""
    exposition = Exposition([_build, *sources])
    site.add_livez()
    site.add(b"GET", b"/readyz", site.timed(Computed(readiness)), needs_ticket=False)
    metrics = Computed(lambda: answers.answer(200, exposition.render(), CONTENT_TYPE))
    site.add(b"GET", b"/metrics", site.timed(metrics), needs_ticket=False)
    told = Computed(lambda: answers.json_answer({"figures": exposition.told()}))
    site.add(b"GET", b"/v1/figures", site.timed(told), needs_ticket=True)


def _build() -> Iterator[Value]:
    yield figures.BUILD(1, __version__, platform.python_version())
