"""The embedded form: gate, store, recorder and ledger in one process, on one data directory."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import msgspec
import uvloop

from redrush.config import CampaignFile
from redrush.control.audience_additions import AudienceFollower
from redrush.control.data_dir import DataDir
from redrush.control.doubts import Listed
from redrush.control.event import doubts_before, prepare_event
from redrush.control.journal_keeper import JournalKeeper, SealedUp, with_remedy
from redrush.control.keys import Keys, check_known_keys, key_digests
from redrush.control.sealing import seal_sha256
from redrush.control.user_list import read_users
from redrush.core.identity.audience import Audience
from redrush.core.rush.campaign import RETURNED_POT, Slots
from redrush.core.rush.phase import SteadyClock
from redrush.core.steering.switches import GRANTS_PER_SECOND_MAX, SETTLEMENT_PAUSED
from redrush.errors import ConfigError, RedrushError
from redrush.gate.assembly import Gate
from redrush.gate.manners import Home
from redrush.gate.open_files import limits_of
from redrush.gate.readings import GateReadings
from redrush.http.ending import when_told_to_stop
from redrush.http.server import Server
from redrush.http.sockets import Reserved
from redrush.ports.journal import Identity
from redrush.ports.store import PotTerms, StoreCorrupt, StoreFailed
from redrush.records.sqlite import SQLITE_RECORDS
from redrush.settle.closing import Closer
from redrush.settle.reconcile.vigil import Vigil
from redrush.settle.reconcile.watch import Watch
from redrush.settle.recorder import Recorder
from redrush.stores.sqlite import SqliteStore
from redrush.watch.clocks import ClockWatch
from redrush.watch.log import server_log
from redrush.watch.metrics import Reading
from redrush.wiring.clock import system_clock
from redrush.wiring.control_tls import Shown
from redrush.wiring.dependencies import breaker_readings
from redrush.wiring.gate_of_event import gate_of_event
from redrush.wiring.readings import gate_readings, reconcile_readings, recorder_readings, rules_of_reconciling
from redrush.wiring.role import add_probes, ready_unless
from redrush.wiring.steering import ControlPort, Steering, operation_failed

EMBEDDED_SET = "embedded"
"""The one set of the embedded form."""


OpenStore = Callable[..., Awaitable[SqliteStore]]
"""Opens the store at a path, with the options of `SqliteStore.open_path`."""


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

    def __init__(
        self,
        file: CampaignFile,
        data_dir: DataDir,
        ports: Ports,
        open_store: OpenStore | None = None,
        keys_from: DataDir | None = None,
        clock: SteadyClock | None = None,
    ) -> None:
        """`keys_from`: the event whose keys a new one gets, so that its tickets are good here too. `clock` is that of
        the system, from the start on, unless another is given."""
        self._file = file
        self._data_dir = data_dir
        self._ports = ports
        self._open_store = open_store or SqliteStore.open_path
        self._keys_from = keys_from
        self._reserved: list[Reserved] = []
        self._is_open = False
        self._clock = clock
        self._fault: StoreFailed | None = None
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._log = server_log()

    @property
    def gate(self) -> Gate:
        """The gate, once started."""
        return self._gate

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
            if self._is_open:
                await self._store.close()
                self._records.close()
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
        await self._open_journal(clock, audience)
        campaign = self._sealed.campaign
        self._gate = gate_of_event(
            self._sealed,
            self._terms,
            self._keys,
            audience,
            limits,
            lambda round_: [Home(EMBEDDED_SET, self._store, round_.slots)],
            now_us=clock.now_us,
            failed=self._fail,
            clock_check=self._clocks.check,
        )
        self._operating = Steering.open(
            self._data_dir, self._terms.plans, campaign, clock.now_us, operation_failed(self._log)
        )
        self._operating.board.follow(self._gate.switches.apply)
        self._operating.board.follow(self._clocks.apply)
        for rush in self._gate.rounds.values():
            await rush.warm_up()
        await self._store.open([PotTerms(RETURNED_POT, Slots(0, 0))])
        self._settle(clock)
        self._watch()
        self._tune()
        ports = await self._listen(clock)
        # Last, and nothing is awaited after it: what is recorded now would only hold up who waits for the server.
        self._run("recorder", self._record())
        self._reconciles = self._run("reconciliation", self._reconciling.run())
        return ports

    def _read_audience(self, now_us: int) -> Audience | None:
        """Read who may win, and tell what is doubtful about the event."""
        audience, survey = None, None
        if (path := self._file.audience) is not None:
            users = read_users(path)
            audience, survey = Audience(users.digests), users.survey
        listed = None if path is None else Listed(path, survey)
        for doubt in doubts_before(self._file, self._data_dir, listed, now_us, self._keys_from):
            self._log.warning(doubt)
        return audience

    def _reserve(self) -> None:
        """Take the ports: another process may have them."""
        self._reserved.append(Reserved.at(self._ports.host, self._ports.gate))
        if self._ports.control is not None:
            self._reserved.append(Reserved.at(self._ports.control_host, self._ports.control))

    async def _open_journal(self, clock: SteadyClock, audience: Audience | None) -> None:
        """Open store and records, once they were compared with each other and with what is sealed; seal what is new."""
        self.additions: AudienceFollower | None = None

        def seal_up(identity: Identity) -> SealedUp:
            def accept(keys: Keys) -> None:
                check_known_keys(self._data_dir, identity.keys, keys)
                if audience is not None:
                    self.additions = AudienceFollower(self._data_dir, audience.add)
                    self.additions.look_at_all()

            prepared = prepare_event(self._file, self._data_dir, clock.now_us, self._keys_from, accept)
            self._sealed, self._terms, self._keys = prepared.event.sealed, prepared.event.open, prepared.keys
            return SealedUp(seal_sha256(self._data_dir), key_digests(self._keys))

        keeper = JournalKeeper(self._data_dir, SQLITE_RECORDS, self._log.warning, seal_up)
        try:
            self._store = await self._open_store(self._data_dir.journal, keeper=keeper, on_failure=self._fail)
        except StoreCorrupt as fault:
            raise with_remedy(fault, self._data_dir) from fault
        self._records = keeper.records
        self._is_open = True

    def _settle(self, clock: SteadyClock) -> None:
        self._recorder = Recorder(
            self._store,
            self._records,
            self._sealed.campaign,
            self._sealed.amounts,
            busy=self._rushing,
            paused=self._settlement_paused,
            grants_per_s_max=lambda: self._operating.board.snapshot.number(GRANTS_PER_SECOND_MAX),
            on_fault=lambda fault: self._log.error("recording failed, claims go on", fault=str(fault)),
        )
        campaign, amounts = self._sealed.campaign.id, self._sealed.amounts
        self._reconciling = Watch(
            Vigil(self._records, campaign, amounts, asyncio.get_running_loop().time),
            tell=lambda problem: self._log.critical("the records disagree, see `redrush reconcile`", problem=problem),
            busy=self._rushing,
        )
        self._closer = Closer(
            self._store,
            self._sealed.campaign,
            clock,
            drain=self._drained,
            moved=self._refilled,
            paused=self._settlement_paused,
            on_fault=lambda fault: self._log.error("closing a round failed", fault=str(fault)),
        )
        self._run("closer", self._closer.run())
        self._clock_watch = self._run("clock watch", self._clocks.run())

    def _run(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have it done beside everything else, to the end of the server."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)
        return task

    async def _record(self) -> None:
        """Follow the journal, into records that are sound: a damaged file is put aside, for they can be made anew."""
        try:
            if not await asyncio.to_thread(self._records.is_sound):
                aside = await asyncio.to_thread(self._records.begin_anew, self._store.identity.journal)
                path = self._data_dir.records
                self._log.warning(f"{path}: is damaged; made anew from the journal, what was there is {aside}")
        except RedrushError as fault:
            self._log.error("the records cannot be checked, claims go on", fault=str(fault))
        await self._recorder.run()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A settlement task that broke off is told at once; claims go on, and a restart records what is missing."""
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._log.critical(f"the {task.get_name()} broke off, restart the server soon", fault=repr(fault))

    def _watch(self) -> None:
        now_s = asyncio.get_running_loop().time
        gate = GateReadings(self._gate, now_s)
        self._operating.run_rules(
            lambda: {**gate(), **recorder_readings(self._recorder), **rules_of_reconciling(self._reconciling)},
            lambda fault: self._log.error("an automatic rule failed, claims go on", fault=str(fault)),
        )

    def _settlement_paused(self) -> bool:
        return self._operating.board.snapshot.flag(SETTLEMENT_PAUSED)

    def _rushing(self) -> bool:
        return self._gate.gauge.parked > 0

    async def _drained(self, round_id: str) -> None:
        await self._gate.rounds[round_id].drained()

    def _refilled(self, pot: str) -> None:
        self._log.info("the leftover of a closed round was moved", to=pot)
        if pot in self._gate.rounds:
            knows = self._gate.rounds[pot].knows
            knows.refilled()
            self._counting = asyncio.ensure_future(knows.recount())

    def _tune(self) -> None:
        # What was loaded stays for good: the collector need not walk it again and again during the rush.
        gc.collect()
        gc.freeze()

    async def _listen(self, clock: SteadyClock) -> dict[str, int]:
        when_told_to_stop(self._stopping.set)
        ticks = [self._gate.tick] if self.additions is None else [self._gate.tick, self.additions.look]
        self._server = Server(ticks, self._gate.beat)
        gate, *others = self._reserved
        ports = {"gate": await self._server.serve(self._gate.site, gate)}
        for reserved in others:
            host = self._ports.control_host
            names = (host, *self._ports.control_names)
            control = ControlPort(
                self._data_dir, clock.now_us, names, self._control_tls, used=self._data_dir.operators_used
            )
            self._operating.serve_on(control.site)
            sources = [lambda: gate_readings(self._gate), self._settlement_readings, control.readings]
            add_probes(control.site, self._readiness, sources)
            ports["control"] = await control.serve(self._server, reserved)
        self._operating.announce(self._ports.control_host, ports.get("control"), self._ports.control_shown)
        return ports

    def _readiness(self) -> bytes:
        failing = self._fault is not None or self._stopping.is_set()
        return ready_unless("the store has failed or the server is stopping" if failing else self._clocks.doubt)

    def _settlement_readings(self) -> Iterator[Reading]:
        yield from self._clocks.readings()
        yield Reading("redrush_records_behind", "Log records not yet in the records", "gauge", (), self._recorder.lag)
        yield from reconcile_readings(self._reconciling)
        yield from breaker_readings("records", self._recorder.records_breaker, self._recorder.records_away_s())

    def _fail(self, fault: StoreFailed) -> None:
        self._fault = fault
        self._stopping.set()

    async def wait(self) -> None:
        """Return when the process is told to stop (SIGTERM, SIGINT, SIGHUP)."""
        await self._stopping.wait()

    async def stop(self) -> None:
        """Finish what was accepted, bring the records up to date, and close. Raises StoreFailed if that was why."""
        await self._operating.stop()
        await self._server.stop()
        self._closer.stop()
        await self._recorder.stop(drain=self._store.log_is_readable)
        self._clock_watch.cancel()
        self._reconciles.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._store.close()
        self._records.close()
        if self._fault is not None:
            raise self._fault


def run_embedded(
    file: CampaignFile,
    data_dir: DataDir,
    ports: Ports,
    announce: Callable[[dict[str, int]], None],
    open_store: OpenStore | None = None,
    keys_from: DataDir | None = None,
) -> None:
    """Run the embedded form until SIGTERM, SIGINT or SIGHUP; `announce` gets the ports once it answers."""

    async def main() -> None:
        embedded = Embedded(file, data_dir, ports, open_store, keys_from)
        announce(await embedded.start())
        await embedded.wait()
        await embedded.stop()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
