"""The embedded form: everything in one process, on one data directory: its ports, its clock, and its campaigns."""

import asyncio
import gc
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from functools import partial

import msgspec
import uvloop

from redrush.config import CampaignFile, PaymentsFile
from redrush.control.audience_additions import AudienceFollower
from redrush.control.data_dir import DataDir
from redrush.control.doubts import Listed
from redrush.control.event import doubts_before, load_open_terms, load_prepared, prepare_event
from redrush.control.user_list import eligible_of
from redrush.core.identity.audience import Eligible
from redrush.core.load.loop_share import LoopShare
from redrush.core.rush.phase import SteadyClock
from redrush.errors import ConfigError
from redrush.gate.gate import Gate
from redrush.gate.open_files import limits_of, limits_within
from redrush.http.ending import when_told_to_stop
from redrush.http.reader import Limits
from redrush.http.server import Server
from redrush.http.sockets import Reserved
from redrush.ports.store import StoreFailed
from redrush.stores.sqlite import SqliteStore
from redrush.watch.clocks import ClockWatch
from redrush.watch.log import server_log
from redrush.wiring.clock import system_clock
from redrush.wiring.control_tls import Shown
from redrush.wiring.embedded_event import EmbeddedEvent
from redrush.wiring.embedded_part import Ground, OfProcess, OpenStore
from redrush.wiring.hosting import Hosting, OpenHosted
from redrush.wiring.messages import DirectoryShelf
from redrush.wiring.paying import bill_book_at
from redrush.wiring.readings import gate_figures
from redrush.wiring.reconciling import serve_agreement
from redrush.wiring.role import PartsBeside, add_probes, ready_unless
from redrush.wiring.steering import ControlPort
from redrush.wiring.till import Till
from redrush.wiring.troubles import Troubles
from redrush.wiring.undone import left_undone


class Ports(msgspec.Struct, frozen=True):
    """Where a server listens. 0 lets the system choose; `control` None means no control port."""

    host: str
    gate: int
    control: int | None
    control_host: str = "127.0.0.1"
    control_names: tuple[str, ...] = ()
    """Names under which the control port answers, besides loopback's, its own, and every address."""
    control_shown: Shown | None = None
    """The certificate of the control port; None: it speaks plainly."""


class Embedded:
    """The embedded form while it runs. `start`, then `wait`, then `stop`."""

    def __init__(  # noqa: PLR0913 - everything that a server stands on
        self,
        file: CampaignFile,
        data_dir: DataDir,
        ports: Ports,
        open_store: OpenStore | None = None,
        keys_from: DataDir | None = None,
        clock: SteadyClock | None = None,
        sealed: Callable[[], None] | None = None,
        *,
        payments: PaymentsFile | None = None,
    ) -> None:
        """`payments` names who moves money; None: nobody does. `keys_from`: the event whose keys a new one gets, so
        that its tickets are good here too. `clock` is that of the system, from the start on, unless another is given.
        `sealed` is called once the directory holds the event, and before its other campaigns are looked for.
        """
        self._file = file
        self._data_dir = data_dir
        self._ports = ports
        self._open_store = open_store
        self._keys_from = keys_from
        self._clock = clock
        self._sealed = sealed
        self._payments_file = payments
        self._till: Till | None = None
        self._fault: StoreFailed | None = None
        self._stopping = asyncio.Event()
        self._loop = LoopShare()
        self._log = server_log()
        self._troubles = Troubles(self._log)
        self._tasks = PartsBeside(self._log)
        self._event: EmbeddedEvent | None = None
        self._opened = AsyncExitStack()
        """How to let go of what a start that fails has opened, the last first."""

    @property
    def event(self) -> EmbeddedEvent:
        """The first campaign, once started."""
        assert self._event is not None
        return self._event

    @property
    def till(self) -> Till:
        """Who moves money for all campaigns, and tells their winners, once started."""
        assert self._till is not None
        return self._till

    @property
    def gate(self) -> Gate:
        """The gate of the first campaign, once started."""
        return self.event.gate

    @property
    def additions(self) -> AudienceFollower | None:
        """What is added to the audience, once started; None: everybody may win."""
        return self.event.ground.additions

    async def start(self) -> dict[str, int]:
        """Bring everything up; returns the ports that answer, by site. ConfigError or a fault if it cannot be.

        All that can fail is tried before anything is sealed: a start that fails leaves the event as it was, and "now"
        is the instant of the start that does not.
        """
        try:
            return await self._start(self._clock or system_clock())
        except BaseException:
            await self._opened.aclose()
            raise

    async def _start(self, clock: SteadyClock) -> dict[str, int]:
        self._clocks = ClockWatch("this server", clock, {}, self._log)
        if self._data_dir.deployment.exists():
            raise ConfigError(
                f"{self._data_dir.root}: is the directory of a stack, its grants are elsewhere; use `redrush stack up`"
            )
        limits = limits_of(self._file.gate, self._log)
        shown = self._ports.control_shown
        self._control_tls = None if shown is None else shown.context()
        audience = self._read_audience(clock.now_us())
        gate, *others = self._reserve()
        self._data_dir.create()
        self._till = self._open_till(clock)
        self._opened.callback(self._till.abort)
        process = OfProcess(
            clock=clock,
            clocks=self._clocks,
            log=self._log,
            troubles=self._troubles,
            failed=self._fail,
            open_store=self._open_store or SqliteStore.open_path,
            till=self._till,
        )
        prepare = partial(prepare_event, self._file, self._data_dir, clock.now_us, self._keys_from)
        event = EmbeddedEvent(Ground(self._data_dir, process, prepare, audience, limits))
        await event.open()
        self._opened.push_async_callback(event.abort)
        self._event = event
        event.steering.board.follow(self._clocks.apply)
        if self._sealed is not None:
            self._sealed()
        undone = partial(left_undone, till=self._till, now_us=clock.now_us)
        absent = self._till.part.payments.absent
        self._hosting = Hosting(self._data_dir, event, clock, _open_hosted(process, limits), undone, absent, self._log)
        self._opened.push_async_callback(self._tasks.cancel)
        self._tasks.add("clock watch", self._clocks.run())
        self._tune()
        ports = await self._listen(clock, event, gate, others)
        self._tasks.add("look at the list of campaigns", self._hosting.run())
        ports |= await self._till.part.listen()
        event.begin()  # last, and nothing is awaited after it
        self._till.start()  # once whoever hears of payments has said so
        return ports

    def _open_till(self, clock: SteadyClock) -> Till:
        file = self._payments_file
        shelf = DirectoryShelf(self._data_dir)
        return Till(
            file,
            self._data_dir,
            bill_book_at(self._data_dir, pays=file is not None and bool(file.providers)),
            shelf,
            clock.now_us,
            self._log,
            self._troubles,
            currency=self._file.currency,
            busy=self._is_busy,
        )

    def _is_busy(self) -> bool:
        return self._event is not None and self._event.gate.busy

    def _read_audience(self, now_us: int) -> Eligible | None:
        """Read who may win, and tell what is doubtful about the event."""
        path = self._file.audience
        audience, survey = eligible_of(path, self._file.blocked)
        listed = None if path is None else Listed(path, survey)
        for doubt in doubts_before(self._file, self._data_dir, listed, now_us, self._keys_from):
            self._log.warning(doubt)
        return audience

    def _reserve(self) -> list[Reserved]:
        """Take the ports, the gate's and the control port, if there is to be one: another process may have them."""
        wanted = [(self._ports.host, self._ports.gate)]
        if self._ports.control is not None:
            wanted.append((self._ports.control_host, self._ports.control))
        reserved = []
        for host, port in wanted:
            reserved.append(Reserved.at(host, port))
            self._opened.callback(reserved[-1].close)
        return reserved

    def _tune(self) -> None:
        # What was loaded stays for good: the collector need not walk it again and again during the rush.
        gc.collect()
        gc.freeze()

    async def _listen(
        self, clock: SteadyClock, event: EmbeddedEvent, gate: Reserved, others: Iterable[Reserved]
    ) -> dict[str, int]:
        when_told_to_stop(self._stopping.set)
        self._server = Server([event.tick, self._hosting.tick], self._beat)
        event.gate.site.elsewhere = self._hosting.find
        ports = {"gate": await self._server.serve(event.gate.site, gate)}
        for reserved in others:
            host = self._ports.control_host
            names = (host, *self._ports.control_names)
            control = ControlPort(
                self._data_dir, clock.now_us, names, self._control_tls, used=self._data_dir.operators_used
            )
            event.serve_control(control.site)
            serve_agreement(control.site, event.reconciling)
            control.site.elsewhere = self._hosting.find_control
            sources = [
                lambda: gate_figures(event.gate),
                self._clocks.readings,
                event.readings,
                control.readings,
                self._hosting.readings,
                self.till.part.readings,
                self._troubles.readings,
            ]
            add_probes(control.site, self._readiness, sources)
            ports["control"] = await control.serve(self._server, reserved)
        self._hosting.control = (self._ports.control_host, ports.get("control"), self._ports.control_shown)
        event.steering.announce(*self._hosting.control)
        return ports

    def _beat(self, late_s: float) -> float:
        self._loop.begin()
        return min(self.gate.beat(late_s, self._loop), self._hosting.beat(late_s, self._loop))

    def _readiness(self) -> bytes:
        """Return whether claims are decided here. What does not stop them, such as records that are away, is told, and
        takes nobody's traffic away."""
        failing = self._fault is not None or self._stopping.is_set()
        troubled = self._troubles.current()
        told = {} if troubled is None else {"troubled": troubled}
        why = "the store has failed or the server is stopping" if failing else self._clocks.doubt
        return ready_unless(why, **told)

    def _fail(self, fault: StoreFailed) -> None:
        self._fault = fault
        self._stopping.set()

    async def wait(self) -> None:
        """Return when the process is told to stop (SIGTERM, SIGINT, SIGHUP)."""
        await self._stopping.wait()

    async def stop(self) -> None:
        """Finish what was accepted, bring the records up to date, and close. Raises StoreFailed if that was why."""
        assert self._event is not None
        await self._tasks.cancel()
        await self._event.steering.stop()
        await self._server.stop()
        await self._hosting.stop()
        await self._event.stop()
        await self.till.stop()
        if self._fault is not None:
            raise self._fault


def _open_hosted(process: OfProcess, limits: Limits) -> OpenHosted:
    """Return what opens another campaign of the directory. Its connections are counted with everybody's."""

    async def open_hosted(data_dir: DataDir) -> EmbeddedEvent:
        terms = load_open_terms(data_dir)
        own = limits_within(terms.gate, limits)
        audience, _ = await asyncio.to_thread(eligible_of, terms.audience, terms.blocked)
        event = EmbeddedEvent(Ground(data_dir, process, partial(load_prepared, data_dir), audience, own))
        await event.open()
        event.begin()
        return event

    return open_hosted


def run_embedded(  # noqa: PLR0913 - see Embedded
    file: CampaignFile,
    data_dir: DataDir,
    ports: Ports,
    announce: Callable[[dict[str, int]], None],
    open_store: OpenStore | None = None,
    keys_from: DataDir | None = None,
    sealed: Callable[[], None] | None = None,
    *,
    payments: PaymentsFile | None = None,
) -> None:
    """Run the embedded form until SIGTERM, SIGINT or SIGHUP; `announce` gets the ports once it answers. `sealed`: see
    `Embedded`."""

    async def main() -> None:
        embedded = Embedded(file, data_dir, ports, open_store, keys_from, sealed=sealed, payments=payments)
        announce(await embedded.start())
        await embedded.wait()
        await embedded.stop()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
