"""The embedded form: everything in one process, on one data directory: its ports, its clock, and its campaigns."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import msgspec
import uvloop

from redrush.config import CampaignFile, PaymentsFile
from redrush.control.audience_additions import AudienceFollower
from redrush.control.data_dir import DataDir
from redrush.control.doubts import Listed
from redrush.control.event import doubts_before, load_open_terms, load_prepared, prepare_event
from redrush.control.personal_data import PersonalData
from redrush.control.user_list import eligible_of
from redrush.core.identity.audience import Eligible
from redrush.core.rush.phase import SteadyClock
from redrush.errors import ConfigError
from redrush.gate.gate import Gate
from redrush.gate.open_files import limits_of, limits_within
from redrush.http.ending import when_told_to_stop
from redrush.http.reader import Limits
from redrush.http.server import Server
from redrush.http.sockets import Reserved
from redrush.ports.store import StoreFailed
from redrush.watch.clocks import ClockWatch
from redrush.watch.log import server_log
from redrush.wiring.clock import system_clock
from redrush.wiring.control_tls import Shown
from redrush.wiring.embedded_event import EmbeddedEvent, OpenStore
from redrush.wiring.hosting import Hosting, OpenHosted
from redrush.wiring.messages import DirectoryShelf, MessagesPart
from redrush.wiring.paying import PaymentsPart, bill_book_at
from redrush.wiring.payments_readings import payments_figures
from redrush.wiring.readings import gate_figures
from redrush.wiring.reconciling import serve_agreement
from redrush.wiring.role import add_probes, ready_unless
from redrush.wiring.steering import ControlPort
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
        self._reserved: list[Reserved] = []
        self._clock = clock
        self._sealed = sealed
        self._payments_file = payments
        self._paying: PaymentsPart | None = None
        self._messages: MessagesPart | None = None
        self._fault: StoreFailed | None = None
        self._stopping = asyncio.Event()
        self._log = server_log()
        self._troubles = Troubles(self._log)
        self._event: EmbeddedEvent | None = None

    @property
    def event(self) -> EmbeddedEvent:
        """The first campaign, once started."""
        assert self._event is not None
        return self._event

    @property
    def paying(self) -> PaymentsPart:
        """The payments of all campaigns, once started."""
        assert self._paying is not None
        return self._paying

    @property
    def messages(self) -> MessagesPart:
        """What tells the winners of all campaigns, once started."""
        assert self._messages is not None
        return self._messages

    @property
    def gate(self) -> Gate:
        """The gate of the first campaign, once started."""
        return self.event.gate

    @property
    def additions(self) -> AudienceFollower | None:
        """What is added to the audience, once started; None: everybody may win."""
        return self.event.additions

    async def start(self) -> dict[str, int]:
        """Bring everything up; returns the ports that answer, by site. ConfigError or a fault if it cannot be.

        All that can fail is tried before anything is sealed: a start that fails leaves the event as it was, and "now"
        is the instant of the start that does not.
        """
        try:
            return await self._start(self._clock or system_clock())
        except BaseException:
            for reserved in self._reserved:
                reserved.close()
            if self._event is not None:
                await self._event.abort()
            if self._paying is not None:
                self._paying.abort()
            if self._messages is not None:
                self._messages.abort()
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
        self._reserve()
        self._data_dir.create()
        self._paying = self._open_payments(clock)
        self._messages = self._open_messages(clock)
        event = self._new_event(self._data_dir, clock)
        prepare = partial(prepare_event, self._file, self._data_dir, clock.now_us, self._keys_from)
        await event.open(prepare, audience, limits)
        self._event = event
        event.steering.board.follow(self._clocks.apply)
        if self._sealed is not None:
            self._sealed()
        undone = partial(left_undone, paying=self.paying, messages=self.messages, now_us=clock.now_us)
        self._hosting = Hosting(self._data_dir, event, clock, self._open_hosted(clock, limits), undone, self._log)
        self._clock_watch = self._run("clock watch", self._clocks.run())
        self._tune()
        ports = await self._listen(clock, event)
        self._hosted = self._run("look at the list of campaigns", self._hosting.run())
        ports |= await self._paying.listen()
        event.begin()  # last, and nothing is awaited after it
        self._paying.start()  # once whoever hears of payments has said so
        self._messages.start()
        return ports

    def _open_payments(self, clock: SteadyClock) -> PaymentsPart:
        return PaymentsPart(
            self._payments_file,
            bill_book_at(self._data_dir, pays=self._payments_file is not None and bool(self._payments_file.providers)),
            clock.now_us,
            self._log,
            currency=self._file.currency,
            busy=self._is_busy,
            on_fault=self._troubles.listener("payments"),
            veil=PersonalData(self._data_dir),
        )

    def _open_messages(self, clock: SteadyClock) -> MessagesPart:
        return MessagesPart(
            () if self._payments_file is None else self._payments_file.notifiers,
            self._data_dir,
            DirectoryShelf(self._data_dir),
            clock.now_us,
            self._log,
            busy=self._is_busy,
            on_fault=self._troubles.listener("messages"),
        )

    def _is_busy(self) -> bool:
        return self._event is not None and self._event.gate.busy

    def _run(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have it done beside everything else, to the end of the server."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task that broke off is told at once; claims go on."""
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._log.critical(f"the {task.get_name()} broke off, restart the server soon", fault=repr(fault))

    def _new_event(self, data_dir: DataDir, clock: SteadyClock) -> EmbeddedEvent:
        return EmbeddedEvent(
            data_dir,
            clock,
            self._clocks,
            self._log,
            self._troubles,
            self._fail,
            open_store=self._open_store,
            paying=self.paying,
            messages=self.messages,
        )

    def _open_hosted(self, clock: SteadyClock, limits: Limits) -> OpenHosted:
        """Return what opens another campaign of the directory. Its connections are counted with everybody's."""

        async def open_hosted(data_dir: DataDir) -> EmbeddedEvent:
            terms = load_open_terms(data_dir)
            own = limits_within(terms.gate, limits)
            event = self._new_event(data_dir, clock)
            audience, _ = await asyncio.to_thread(eligible_of, terms.audience, terms.blocked)
            await event.open(partial(load_prepared, data_dir), audience, own)
            event.begin()
            return event

        return open_hosted

    def _read_audience(self, now_us: int) -> Eligible | None:
        """Read who may win, and tell what is doubtful about the event."""
        path = self._file.audience
        audience, survey = eligible_of(path, self._file.blocked)
        listed = None if path is None else Listed(path, survey)
        for doubt in doubts_before(self._file, self._data_dir, listed, now_us, self._keys_from):
            self._log.warning(doubt)
        return audience

    def _reserve(self) -> None:
        """Take the ports: another process may have them."""
        self._reserved.append(Reserved.at(self._ports.host, self._ports.gate))
        if self._ports.control is not None:
            self._reserved.append(Reserved.at(self._ports.control_host, self._ports.control))

    def _tune(self) -> None:
        # What was loaded stays for good: the collector need not walk it again and again during the rush.
        gc.collect()
        gc.freeze()

    async def _listen(self, clock: SteadyClock, event: EmbeddedEvent) -> dict[str, int]:
        when_told_to_stop(self._stopping.set)
        self._server = Server([event.tick, self._hosting.tick], self._beat)
        gate, *others = self._reserved
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
                event.settlement_readings,
                control.readings,
                self._hosting.readings,
                lambda: payments_figures(self.paying),
                self._troubles.readings,
            ]
            add_probes(control.site, self._readiness, sources)
            ports["control"] = await control.serve(self._server, reserved)
        self._hosting.control = (self._ports.control_host, ports.get("control"), self._ports.control_shown)
        event.steering.announce(*self._hosting.control)
        return ports

    def _beat(self, late_s: float) -> float:
        return min(self.gate.beat(late_s), self._hosting.beat(late_s))

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
        self._hosted.cancel()
        self._clock_watch.cancel()
        await asyncio.gather(self._hosted, self._clock_watch, return_exceptions=True)
        await self._event.steering.stop()
        await self._server.stop()
        await self._hosting.stop()
        await self._event.stop()
        if self._paying is not None:
            await self._paying.stop()
        if self._messages is not None:
            await self._messages.stop()
        if self._fault is not None:
            raise self._fault


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
