"""One campaign in the serving process, on a directory of its own: a list of parts over the ground that they share.

What belongs to the process (ports, ticks, signals, its clock) is in `redrush.wiring.embedded`. Two walls stand between
the parts although they share a process: a store that failed stops the whole process, for nobody may be told anything
that is not durable; and the recorder rests while claims wait.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from redrush.control.durable_file import stamp_of
from redrush.control.event import load_event
from redrush.control.sealing import SealedCampaign
from redrush.core.steering.figure import Value
from redrush.errors import RedrushError
from redrush.gate.gate import Gate
from redrush.http.site import Site
from redrush.settle.reconcile.watch import Watch
from redrush.settle.recorder import Recorder
from redrush.wiring.embedded_gate import OwnGate, Pots
from redrush.wiring.embedded_group import OwnPackets
from redrush.wiring.embedded_lines import OwnLines
from redrush.wiring.embedded_part import Ground, Part
from redrush.wiring.embedded_records import Recording
from redrush.wiring.embedded_sale import OwnSales
from redrush.wiring.embedded_steering import OwnSteering
from redrush.wiring.embedded_winners import Winners
from redrush.wiring.steering import Steering

PARTS: Final[tuple[Callable[[Ground], Part], ...]] = (
    Recording,  # all stand on the store; it records what the others put into the log, so it ends last
    OwnPackets,  # the gate serves them
    OwnGate,
    OwnSteering,  # the gate follows it, and has the rounds that its switches are of
    Pots,  # opened, and joined, when the gate is as it is to be
    Winners,
    OwnSales,
    OwnLines,
)
"""What a campaign is made of, in the order of opening. Each says why it stands where it does."""

_P = TypeVar("_P", bound=Part)


class EmbeddedEvent:
    """See the module. `open`, then `begin`, then `stop`."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        ground.up_to_date = self._up_to_date
        self._parts = [make(ground) for make in PARTS]
        self._begun = False
        self._following: asyncio.Task[None] | None = None

    def _part(self, kind: type[_P]) -> _P:
        return next(part for part in self._parts if isinstance(part, kind))

    @property
    def sealed(self) -> SealedCampaign:
        """What is sealed of it, once open."""
        return self.ground.sealed

    @property
    def gate(self) -> Gate:
        """Who serves participants, once open."""
        return self.ground.gate

    @property
    def steering(self) -> Steering:
        """The switchboard, once open."""
        return self.ground.steering

    @property
    def recorder(self) -> Recorder:
        """What follows the log, once open."""
        return self._part(Recording).recorder

    @property
    def reconciling(self) -> Watch:
        """What holds the records against the log, once open."""
        return self._part(Recording).watch

    async def open(self) -> None:
        """Make it ready to serve. ConfigError or a fault if it cannot be; then nothing of it is left open."""
        try:
            for part in self._parts:
                await part.open()
        except BaseException:
            await self.abort()
            raise

    async def abort(self) -> None:
        """Close what a start that failed has left open."""
        await self.ground.tasks.cancel()
        await self.ground.opened.aclose()

    def serve_control(self, site: Site) -> None:
        """Let a control port serve what operators ask of this campaign."""
        self.steering.serve_on(site, [operation for part in self._parts for operation in part.operations()])
        if site not in self.ground.control_sites:
            self.ground.control_sites.append(site)

    def begin(self) -> None:
        """Let every part work by itself, and follow amendments, from now on."""
        for part in self._parts:
            part.begin()
        self._begun = True

    def has_unsettled(self) -> bool:
        """Whether a part has something to do by itself before the campaign may sleep. Raises RedrushError."""
        return any(part.has_unsettled() for part in self._parts)

    def readings(self) -> Iterator[Value]:
        """Yield the figures of all parts."""
        for part in self._parts:
            yield from part.readings()

    def tick(self) -> None:
        """Renew what is prebuilt. Every second."""
        self._look()
        self.gate.tick()
        if self.ground.additions is not None:
            self.ground.additions.look()

    def _look(self) -> None:
        """Begin to follow an amendment, if there is one that is not followed yet."""
        ground = self.ground
        follows = not self._begun or (self._following is not None and not self._following.done())
        if not follows and (stamp := stamp_of(ground.data_dir.event)) != ground.seen:
            ground.seen = stamp
            self._following = ground.tasks.add("following of an amendment", self._follow_amendments())

    async def _up_to_date(self) -> None:
        """Return when what was amended by now is followed, or cannot be yet."""
        self._look()
        if self._following is not None:
            await asyncio.wait([self._following])

    async def _follow_amendments(self) -> None:
        """Let hold what was amended while the campaign is served."""
        ground = self.ground
        try:
            event = await asyncio.to_thread(load_event, ground.data_dir)
            if event.open == ground.terms:
                return
            ground.sealed = ground.sealed.gone_on(event.sealed)
            for part in self._parts:
                await part.amend(event)
            for site in ground.control_sites:
                self.serve_control(site)  # there may be playbooks and rules that there were not
            ground.terms = event.open  # last: where something failed on the way all of it is tried again
            ground.process.log.info("the campaign was amended", campaign=event.sealed.campaign.id)
        except RedrushError as fault:
            ground.process.log.error("an amendment cannot be followed yet, it is tried again", fault=str(fault))
            ground.seen = None

    async def stop(self) -> None:
        """Bring the records up to date, and close. Nobody is served any more by now; `steering` has stopped."""
        for part in reversed(self._parts):
            await part.stop()
        await self.ground.tasks.ended()
        await self.ground.opened.aclose()
