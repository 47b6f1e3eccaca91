"""One campaign in the serving process, on a directory of its own: gate, store, recorder, closer, switchboard.

What belongs to the process (ports, ticks, signals, its clock) is in `redrush.wiring.embedded`. Two walls stand between
the parts although they share a process: a store that failed stops the whole process, for nobody may be told anything
that is not durable; and the recorder rests while claims wait.

Long, because all parts of an event are put together, begun and ended here, in an order that matters.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

from redrush.control.audience_additions import AudienceFollower
from redrush.control.code_file import codes_of
from redrush.control.data_dir import DataDir
from redrush.control.durable_file import Stamp, stamp_of
from redrush.control.event import Event, OpenTerms, Prepared, load_event
from redrush.control.journal_keeper import JournalKeeper, SealedUp, with_remedy
from redrush.control.keys import Keys, check_known_keys, key_digests
from redrush.control.line_files import LineFiles
from redrush.control.lines import Lines
from redrush.control.pot_file import PotFile
from redrush.control.sealing import SealedCampaign, seal_sha256
from redrush.control.stock_api import StockApi
from redrush.core.identity.audience import Eligible
from redrush.core.load.histogram import summed
from redrush.core.rush.additions import Added
from redrush.core.rush.campaign import Pot
from redrush.core.rush.holding import PotTables
from redrush.core.rush.phase import SteadyClock
from redrush.core.steering.figure import Value, readings_of
from redrush.core.steering.figures import Interface
from redrush.core.steering.quantiles import LatelyTook
from redrush.core.steering.switches import GRANTS_PER_SECOND_MAX, SETTLEMENT_PAUSED
from redrush.errors import RedrushError
from redrush.extras import ExtraMissing
from redrush.gate.asking import asking_rules
from redrush.gate.gate import Gate
from redrush.gate.group.parts import NO_SLOTS, NotedHome
from redrush.gate.manners import Home
from redrush.gate.readings import GateReadings
from redrush.http.reader import Limits
from redrush.http.site import Site
from redrush.ports.journal import Identity
from redrush.ports.pot_terms import returned_pot
from redrush.ports.store import StoreCorrupt, StoreFailed
from redrush.records.sqlite import SQLITE_RECORDS
from redrush.settle.closing import Closer
from redrush.settle.joining import join
from redrush.settle.pages import recorded_pages
from redrush.settle.reconcile.vigil import Vigil
from redrush.settle.reconcile.watch import Watch
from redrush.settle.recorder import Recorder
from redrush.settle.selling.private_book import PrivateSaleBook
from redrush.stores.sqlite import SqliteStore
from redrush.watch.clocks import ClockWatch
from redrush.wiring.embedded_group import EmbeddedGroup, packets_at
from redrush.wiring.embedded_sale import EmbeddedSale, orders_at
from redrush.wiring.gate_of_event import gate_of_event
from redrush.wiring.lines import OwnLines
from redrush.wiring.messages import MessagesPart
from redrush.wiring.paying import PaymentsPart
from redrush.wiring.payments_readings import payments_figures
from redrush.wiring.readings import settlement_figures
from redrush.wiring.steering import Steering, operation_failed
from redrush.wiring.troubles import Troubles

EMBEDDED_SET = "embedded"
"""The one set of the embedded form."""

OpenStore = Callable[..., Awaitable[SqliteStore]]
"""Opens the store at a path, with the options of `SqliteStore.open_path`."""

Prepare = Callable[[Callable[[Keys], None]], Prepared]
"""Returns the event of the directory, sealed by then; may ask whether its keys are those that are known."""


class EmbeddedEvent:
    """See the module. `open`, then `begin`, then `stop`."""

    def __init__(  # noqa: PLR0913 - what a campaign shares with its process
        self,
        data_dir: DataDir,
        clock: SteadyClock,
        clocks: ClockWatch,
        log: Any,
        troubles: Troubles,
        failed: Callable[[StoreFailed], None],
        open_store: OpenStore | None = None,
        *,
        paying: PaymentsPart,
        messages: MessagesPart,
    ) -> None:
        """`paying` is the payments of the process, `messages` what tells its winners. `failed` hears that the store
        has failed for good, or that the gate met what nobody thought of."""
        self.data_dir = data_dir
        self.additions: AudienceFollower | None = None
        self._clock = clock
        self._clocks = clocks
        self._log = log
        self._troubles = troubles
        self._failed = failed
        self._open_store = open_store or SqliteStore.open_path
        self._paying = paying
        self._messages = messages
        self._opened = AsyncExitStack()
        """How to close what a start has opened."""
        self._tasks: list[asyncio.Task[None]] = []
        self._seen: Stamp | None = None
        self._following: asyncio.Task[None] | None = None
        self._group: EmbeddedGroup | None = None
        self._sale: EmbeddedSale | None = None
        self.control_sites: list[Site] = []
        """Where its control API is served."""

    async def open(self, prepare: Prepare, audience: Eligible | None, limits: Limits) -> None:
        """Make it ready to serve. ConfigError or a fault if it cannot be; then nothing of it is left open."""
        try:
            await self._open(prepare, audience, limits)
        except BaseException:
            await self.abort()
            raise

    async def abort(self) -> None:
        """Close what a start that failed has left open."""
        for task in self._tasks:
            task.cancel()
        await self._opened.aclose()

    async def _open(self, prepare: Prepare, audience: Eligible | None, limits: Limits) -> None:
        await self._open_journal(prepare, audience)
        orders = await self._open_orders()
        if self.terms.group is not None or self.data_dir.packets.exists():
            self._group = EmbeddedGroup(
                await asyncio.to_thread(packets_at, self.data_dir),
                self.sealed.campaign.id,
                NotedHome(EMBEDDED_SET, self._store, NO_SLOTS),
                self._records,
                self._paying.payments,
                self._clock.now_us,
                followers=None if self.terms.group is None else self.terms.group.followers,
                paused=self._settlement_paused,
                on_fault=self._troubles.listener("packets"),
            )
            self._opened.callback(self._group.close)
        self.gate: Gate = gate_of_event(
            self.sealed,
            self.terms,
            self._keys,
            audience,
            limits,
            self._homes,
            now_us=self._clock.now_us,
            failed=self._failed,
            clock_check=self._clocks.check,
            group=None if self._group is None else self._group.parts,
            codes=codes_of(self.data_dir, self.sealed.campaign),
        )
        self.steering = Steering.open(
            self.data_dir,
            self.terms.plans,
            self.sealed.campaign,
            self._clock.now_us,
            operation_failed(self._log),
        )
        self._opened.push_async_callback(self.steering.stop)
        self.steering.board.follow(self.gate.switches.apply)
        for rush in self.gate.rounds.values():
            await rush.warm_up()
        await self._store.open([returned_pot()])
        for pot in await self._join(self.terms.added):
            if pot in self.gate.pots:
                await self.gate.pots[pot].learn()
        self._settle()
        self._payouts = self._paying.serve(
            self.gate, self.sealed, self.terms, self._records, self._store, self._tables(), self._rushing
        )
        self._messages.serve(self.data_dir, self.sealed.campaign, self.terms)
        self._announcer = self._messages.announcer(
            self.sealed,
            self.terms,
            recorded_pages(self._records, self._store),
            pots=self._tables(),
            busy=self._rushing,
        )
        self._sale = None if orders is None else self._sell(orders)
        self._run_rules()
        self.lines = OwnLines(
            Lines(self.sealed.campaign, self._clock.now_us),
            LineFiles(self.data_dir),
            lambda: self.gate.waiting_rooms,
            self._clock.now_us,
            lambda: self.steering.board.snapshot,
            lambda: 1.0 - self.gate.admission.level,
            self._troubles.listener("the lines"),
        )
        await asyncio.to_thread(self.lines.recall)

    async def _open_orders(self) -> PrivateSaleBook | None:
        """Open the book of orders, if the campaign has sales, or had any."""
        if not (self.sealed.campaign.sells or self.data_dir.sales.exists()):
            return None
        orders = await asyncio.to_thread(orders_at, self.data_dir)
        self._opened.callback(orders.close)
        try:
            await asyncio.to_thread(orders.hide_old)
        except ExtraMissing as fault:
            self._troubles.listener("sales")(fault)  # a sale goes on as it began, and takes no new address
        return orders

    def _sell(self, orders: PrivateSaleBook) -> EmbeddedSale:
        """Return what settles the campaign's sales."""
        sale = EmbeddedSale(
            self.data_dir,
            orders,
            self.sealed.campaign,
            self._store,
            self._records,
            self._paying.payments,
            self._paying.partners,
            clock=self._clock,
            paused=self._settlement_paused,
            on_fault=self._troubles.listener("sales"),
        )
        sale.offer_in(self.gate)
        return sale

    def serve_control(self, site: Site) -> None:
        """Let a control port serve what operators ask of this campaign."""
        stock = StockApi(
            lambda: self.sealed.campaign, lambda: {EMBEDDED_SET: self._store}, lambda _round: (EMBEDDED_SET,)
        )
        self.steering.serve_on(site, stock.operations())
        if site not in self.control_sites:
            self.control_sites.append(site)

    def begin(self) -> None:
        """Let the recorder begin: what is recorded while others wait for the start would only hold them up."""
        self._run("recorder", self._record())
        self._moves_lines = self._run("lines", self.lines.run())
        self._reconciles = self._run("reconciliation", self.reconciling.run())
        if self._group is not None:
            self._group.start(self.gate, self._run)
        if self._sale is not None:
            self._sale.start(self._run)
        self._run("payouts", self._payouts.run())
        self._run("messages", self._announcer.run())

    async def _open_journal(self, prepare: Prepare, audience: Eligible | None) -> None:
        """Open store and records, once they were compared with each other and with what is sealed; seal what is new."""

        def seal_up(identity: Identity) -> SealedUp:
            def accept(keys: Keys) -> None:
                check_known_keys(self.data_dir, identity.keys, keys)
                if audience is not None:
                    self.additions = AudienceFollower(self.data_dir, audience.add, audience.remove)
                    self.additions.look_at_all()

            prepared = prepare(accept)
            self.sealed: SealedCampaign = prepared.event.sealed
            self.terms: OpenTerms = prepared.event.open
            self._keys = prepared.keys
            self._seen = stamp_of(self.data_dir.event)
            return SealedUp(seal_sha256(self.data_dir), key_digests(self._keys))

        keeper = JournalKeeper(self.data_dir, SQLITE_RECORDS, self._log.warning, seal_up)
        try:
            self._store = await self._open_store(self.data_dir.journal, keeper=keeper, on_failure=self._failed)
        except StoreCorrupt as fault:
            raise with_remedy(fault, self.data_dir) from fault
        self._records = keeper.records
        self._opened.callback(self._records.close)
        self._opened.push_async_callback(self._store.close)

    def _settle(self) -> None:
        self.recorder = Recorder(
            self._store,
            self._records,
            self.sealed.campaign,
            self.sealed.amounts,
            pots=self._tables(),
            busy=self._rushing,
            paused=self._settlement_paused,
            grants_per_s_max=lambda: self.steering.board.snapshot.number(GRANTS_PER_SECOND_MAX),
            on_fault=self._troubles.listener("recording"),
        )
        self.closer = Closer(
            self._store,
            self.sealed.campaign,
            self._clock,
            drain=self._drained,
            moved=self._leftover_moved,
            paused=self._settlement_paused,
            on_fault=self._troubles.listener("closing"),
        )
        self._closing = self._run("closer", self.closer.run())
        campaign, amounts = self.sealed.campaign.id, self.sealed.amounts
        self.reconciling = Watch(
            Vigil(
                self._records,
                campaign,
                amounts,
                asyncio.get_running_loop().time,
                pots=self._tables(),
            ),
            tell=lambda problem: self._log.critical("the records disagree, see `redrush reconcile`", problem=problem),
            busy=self._rushing,
        )

    def has_unsettled(self) -> bool:
        """Whether a round that is over is not closed; packets between people, which end at deadlines of their own, or
        orders of a sale are under way; or winners are still to be paid or told by itself. Raises RedrushError."""
        if not self._closing.done() and self.closer.is_behind():
            return True
        if self._group is not None and self._group.any_under_way():
            return True
        if self._sale is not None and self._sale.any_open():
            return True
        recorded = self._records.cursor()
        return self._payouts.is_behind(recorded) or self._announcer.is_behind(recorded)

    def _tables(self) -> PotTables:
        """Return what finds the tables of pots that are no rounds."""
        pots = PotFile(self.data_dir.pots).table
        return pots if self._group is None else self._group.tables(pots)

    def _run(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have it done beside everything else, to the end of the event."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)
        return task

    async def _record(self) -> None:
        """Follow the journal, into records that are sound: a damaged file is put aside, for they can be made anew."""
        try:
            if not await asyncio.to_thread(self._records.is_sound):
                aside = await asyncio.to_thread(self._records.begin_anew, self._store.identity.journal)
                path = self.data_dir.records
                self._log.warning(f"{path}: is damaged; made anew from the journal, what was there is {aside}")
        except RedrushError as fault:
            self._log.error("the records cannot be checked, claims go on", fault=str(fault))
        await self.recorder.run()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A settlement task that broke off is told at once; claims go on, and a restart records what is missing."""
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._log.critical(f"the {task.get_name()} broke off, restart the server soon", fault=repr(fault))

    def _run_rules(self) -> None:
        now_s = asyncio.get_running_loop().time
        gate = GateReadings(self.gate, now_s)
        took = LatelyTook(lambda: {Interface.CONTROL: summed(site.times for site in self.control_sites)}, now_s)
        self.steering.run_rules(
            lambda: {**gate(), **readings_of([*self.settlement_readings(), *payments_figures(self._paying), *took()])},
            self._troubles.listener("rules"),
        )

    def _settlement_paused(self) -> bool:
        return self.steering.board.snapshot.flag(SETTLEMENT_PAUSED)

    def _rushing(self) -> bool:
        return self.gate.gauge.parked > 0

    def _homes(self, pot: Pot) -> list[Home]:
        return [Home(EMBEDDED_SET, self._store, pot.slots)]

    async def _drained(self, pot: str) -> None:
        self._look()  # what was added before the close is there before the leftover is counted
        if self._following is not None:
            await asyncio.wait([self._following])
        await self.gate.pots[pot].drained()

    def _leftover_moved(self, pot: str) -> None:
        self._log.info("the leftover of a closed round was moved", to=pot)
        self._refilled(pot)

    def _refilled(self, pot: str) -> None:
        if pot in self.gate.pots:
            knows = self.gate.pots[pot]
            knows.refilled()
            self._counting = asyncio.ensure_future(knows.recount())

    def tick(self) -> None:
        """Renew what is prebuilt. Every second."""
        self._look()
        self.gate.tick()
        if self.additions is not None:
            self.additions.look()

    def _look(self) -> None:
        """Begin to follow an amendment, if there is one that is not followed yet."""
        following = self._following is not None and not self._following.done()
        if not following and (stamp := stamp_of(self.data_dir.event)) != self._seen:
            self._seen = stamp
            self._following = self._run("following of an amendment", self._follow_amendments())

    async def _follow_amendments(self) -> None:
        """Let hold what was amended while the campaign is served."""
        try:
            event = await asyncio.to_thread(load_event, self.data_dir)
            if event.open != self.terms:
                await self._amend(event)
        except RedrushError as fault:
            self._log.error("an amendment cannot be followed yet, it is tried again", fault=str(fault))
            self._seen = None

    async def _join(self, added: Sequence[Added]) -> list[str]:
        """Give added packets to the rounds that were there; return the pots that were given any."""
        given: list[str] = []
        for one in added:
            if one.new is None:
                given += await join(self._store, self.sealed.campaign, one, self._clock.now_us())
        return given

    async def _amend(self, event: Event) -> None:
        """Go on as this event. What is done twice, because something failed in between, is done once: `terms` is set
        last, so that all of it is tried again."""
        campaign, before = event.sealed.campaign, len(self.terms.added)
        self.sealed = self.sealed.gone_on(event.sealed)
        self.recorder.amend(campaign)
        await self.gate.add_rounds(campaign, self._homes)
        for pot in await self._join(event.open.added[before:]):
            self._refilled(pot)
        terms = event.open
        self.gate.amend(campaign)
        asking = asking_rules(terms.limits, terms.client, self.gate.site.limits.connections_max)
        if terms.group is not None and (group := self.gate.campaigns[campaign.id].group) is not None:
            group.amend(terms.group)
        self.gate.retune(campaign.id, terms.admission, terms.client, terms.page, asking)
        self.steering.board.amend(terms.plans, campaign)
        for site in self.control_sites:
            self.serve_control(site)  # there may be playbooks and rules that there were not
        self.closer.amend(campaign)
        self._payouts.amend(campaign, terms.payout)
        self._paying.amend(campaign, terms)
        self._messages.amend(campaign, terms)
        self._announcer.amend(campaign, terms.messages)
        if self._sale is not None:
            self._sale.amend(campaign)
        elif campaign.sells:
            self._sale = self._sell(orders_at(self.data_dir))  # a book that is begun: there is nothing to look through
            self._sale.start(self._run)
        self.lines.amend(campaign)
        if self._closing.done():  # all rounds were over, and one was added
            self._closing = self._run("closer", self.closer.run())
        self.terms = terms
        self._log.info("the campaign was amended", campaign=campaign.id)

    def settlement_readings(self) -> Iterator[Value]:
        """Yield how far recording is, and what the running reconciliation found."""
        return settlement_figures(self.recorder, self.reconciling)

    async def stop(self) -> None:
        """Bring the records up to date, and close. Nobody is served any more by now; `steering` has stopped."""
        if self._group is not None:
            await self._group.stop()
        if self._sale is not None:
            await self._sale.stop()
        self.gate.close()
        self.closer.stop()
        await self.recorder.stop(drain=self._store.log_is_readable)
        self._payouts.stop()
        self._announcer.stop()
        self._reconciles.cancel()
        self._moves_lines.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.lines.write(last=True)
        await self._store.close()
        self._records.close()
        if self._group is not None:
            self._group.close()
        if self._sale is not None:
            self._sale.close()
