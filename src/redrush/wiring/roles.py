"""The roles of the scaled form behind the gates: each makes its parts, runs them, and ends them in order.

Long, because the roles are alike, and are read beside each other.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from importlib import import_module

from redrush.config import DeploymentFile
from redrush.config.deployment_file import Duty
from redrush.config.hosted import part_of_set
from redrush.control.campaigns import Listing
from redrush.control.code_file import codes_of
from redrush.control.data_dir import DataDir
from redrush.control.keys import load_keys
from redrush.control.overview import Lack, Overview
from redrush.control.pot_file import PotFile
from redrush.control.release_api import ReleaseApi
from redrush.control.stock_api import StockApi
from redrush.core.identity.tickets import TicketVerifier
from redrush.core.roles import Per, RoleRow
from redrush.core.rush.phase import SteadyClock
from redrush.core.sets.address import Address
from redrush.core.steering import figures
from redrush.core.steering.figure import Value, readings_of
from redrush.core.steering.figures import Interface
from redrush.core.steering.quantiles import LatelyTook
from redrush.core.steering.switches import Snapshot
from redrush.errors import RedrushError
from redrush.gate.grants import GrantWriter
from redrush.gate.open_files import limits_of
from redrush.http.ask import is_ok
from redrush.http.server import Server
from redrush.http.site import Site
from redrush.ports.set_servers import Held
from redrush.query.site import QUERY_MAX_S, Queries
from redrush.records.postgres import ExaminedDatabase
from redrush.settle.anew import again_whenever_anew
from redrush.settle.chained import ChainedLog
from redrush.settle.opening import PotOpener
from redrush.settle.rebalance import Rebalancer
from redrush.settle.reconcile.vigil import Vigil
from redrush.settle.reconcile.watch import Watch
from redrush.settle.recorder import Recorder
from redrush.settle.sweeping import SetsCloser
from redrush.settle.trimming import LateTrim
from redrush.stores.valkey import ValkeyStore
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.link import Link
from redrush.stores.valkey.proof import lack
from redrush.watch.clocks import ClockWatch
from redrush.wiring.clock import system_clock
from redrush.wiring.control_tls import shown_by
from redrush.wiring.dependencies import dependency_figures
from redrush.wiring.following import Reporting, SettlementPause, listen_to_switches
from redrush.wiring.lines import LinesOfAll
from redrush.wiring.readings import settlement_figures
from redrush.wiring.reconciling import serve_agreement
from redrush.wiring.role import Announce, Offstage, Parts, Role, Surroundings, ready_unless, surroundings
from redrush.wiring.role_process import run_role
from redrush.wiring.set_stores import close_all, open_records, open_store, open_stores, times_of
from redrush.wiring.steering import Steering, operation_failed
from redrush.wiring.troubles import Troubles
from redrush.wiring.wardens import Wardens


class RecorderRole(Offstage):
    """Follows one set's log into its records."""

    def __init__(self, around: Surroundings, set_id: str) -> None:
        self._around = around
        self._spec = around.deployment.set_named(set_id)
        self._troubles = Troubles(around.log)
        self._parts = Parts()
        self._recorder: Recorder | None = None

    async def start(self, control: Site) -> dict[str, Address]:
        sealed = self._around.sealed
        self._records = open_records(self._spec)
        deployment = self._around.deployment
        prover = self._prove if deployment.valkey.cluster else None  # where there is no warden
        self._store = await open_store(deployment, self._spec.id, sealed.campaign.id, Duty.SETTLEMENT, prover)

        pause = SettlementPause()
        self._reporting = Reporting(self._around, "recorder")
        await listen_to_switches(self._around, self._parts, self._troubles, pause.apply, self._reporting.apply)
        chained = ChainedLog(self._store, self._records, self._spec.id)
        self._recorder = Recorder(
            chained,
            chained,
            sealed.campaign,
            sealed.amounts,
            set_id=self._spec.id,
            pots=PotFile(self._around.data_dir.pots).table,
            paused=pause,
            grants_per_s_max=pause.grants_per_s_max,
            begin=chained.begin,
            trim=LateTrim(self._store.trim, time.monotonic),
            on_fault=self._troubles.listener("recording"),
        )
        self._examined = ExaminedDatabase(self._spec.records.read(), self._spec.id)
        now_s = asyncio.get_running_loop().time
        log, set_id, pots = self._around.log, self._spec.id, PotFile(self._around.data_dir.pots).table
        self._reconciling = Watch(
            Vigil(self._examined, sealed.campaign.id, sealed.amounts, now_s, set_id, pots=pots),
            tell=lambda problem: log.critical(
                "the records disagree, see `redrush reconcile`", set=set_id, problem=problem
            ),
        )
        recorder, watch = self._recorder, self._reconciling
        self._parts.add("recorder", recorder.run())
        self._parts.add("reconciliation", watch.run())
        serve_agreement(control, watch)
        self._parts.add(
            "readings",
            self._reporting.run(lambda: readings_of(settlement_figures(recorder, watch, set_id))),
        )
        return {}

    async def _prove(self, link: Link, keys: SetKeys, held: Held) -> str | None:
        """Return what a server that was started anew lacks of what is recorded."""
        try:
            recorded = await asyncio.to_thread(self._records.known)
        except RedrushError as fault:
            return f"cannot be compared with what is recorded: {fault}"
        return None if recorded is None else await lack(link, keys, held, recorded, "the records")

    def readiness(self) -> bytes:
        assert self._recorder is not None
        away_s = self._recorder.records_away_s()
        away = f"the records have not answered for {away_s:.0f} s" if away_s else None
        return ready_unless("; ".join(why for why in (away, self._troubles.current()) if why) or None)

    def readings(self) -> Iterator[Value]:
        assert self._recorder is not None
        yield from settlement_figures(self._recorder, self._reconciling, self._spec.id)
        yield from self._reporting.readings()
        yield from self._troubles.readings()

    def failed(self) -> Awaitable[None]:
        return self._parts.failed()

    async def stop(self) -> None:
        if self._recorder is None:
            return
        await self._recorder.stop(drain=True)
        await self._parts.cancel()
        await self._store.close()
        self._records.close()
        await asyncio.to_thread(self._examined.close)


class SettleRole(Offstage):
    """Opens pots in time, and moves what closed rounds have left."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._troubles = Troubles(around.log)
        self._parts = Parts()
        self._stores: dict[str, ValkeyStore] = {}
        self._closer: SetsCloser | None = None

    async def start(self, control: Site) -> dict[str, Address]:
        around, campaign = self._around, self._around.sealed.campaign
        self._stores = await open_stores(around.deployment, campaign.id, Duty.SETTLEMENT)
        opener = PotOpener(
            self._stores,
            campaign,
            around.division,
            around.clock,
            warm_up_us=around.deployment.warm_up_us,
            on_fault=self._troubles.listener("opening"),
        )
        pause = SettlementPause()
        clocks = self._clocks = ClockWatch("this settlement", around.clock, times_of(self._stores), around.log)
        await listen_to_switches(around, self._parts, self._troubles, pause.apply, clocks.apply)
        self._parts.add("clock watch", clocks.run())

        def close() -> Awaitable[None]:
            self._closer = SetsCloser(
                self._stores,
                campaign,
                around.clock,
                sets_of=around.sets_of,
                moved=lambda pot: around.log.info("the leftover of a closed round was moved", to=pot),
                # Nothing may be taken out of a round that is open by everybody else's clock.
                paused=lambda: pause() or clocks.doubt is not None,
                on_fault=self._troubles.listener("closing"),
            )
            return self._closer.run()

        self._parts.add("opener", again_whenever_anew(self._stores, opener.run))
        self._parts.add("closer", again_whenever_anew(self._stores, close))
        return {}

    def readiness(self) -> bytes:
        return ready_unless(self._clocks.doubt or self._troubles.current())

    def readings(self) -> Iterator[Value]:
        yield from self._clocks.readings()
        unsettled = len(self._closer.unsettled) if self._closer is not None else len(self._around.sealed.campaign.pots)
        yield figures.ROUNDS_UNSETTLED(unsettled)
        yield from self._troubles.readings()

    def failed(self) -> Awaitable[None]:
        return self._parts.failed()

    async def stop(self) -> None:
        if self._closer is not None:
            self._closer.stop()
        await self._parts.cancel()
        await close_all(self._stores)


class ControlRole(Offstage):
    """Keeps slots where people ask, and knows whether the whole can grant."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._troubles = Troubles(around.log)
        self._parts = Parts()
        self._stores: dict[str, ValkeyStore] = {}
        self._overview: Overview | None = None
        self._operating: Steering | None = None
        self._wardens: Wardens | None = None

    async def start(self, control: Site) -> dict[str, Address]:
        around, campaign = self._around, self._around.sealed.campaign
        # What is sealed may be read-only, so the board is where this role notes other things too.
        board_dir = DataDir(around.deployment.control.notes)
        board_dir.create()
        self._operating = Steering.open(
            board_dir, around.terms.plans, campaign, around.clock.now_us, operation_failed(around.log)
        )
        self._stores = await open_stores(around.deployment, campaign.id, Duty.WARDEN)
        self._wardens = Wardens(around, self._stores, around.log.warning)
        stock = StockApi(lambda: campaign, lambda: self._stores, around.sets_of)
        of_sets = self._wardens.operations(self._operating.board, self._lack).operations()
        lines = LinesOfAll(around, self._operating, board_dir, self._troubles.listener("the lines"))
        others = (stock, lines, ReleaseApi(self._snapshot, around.clock.now_us))
        self._operating.serve_on(control, [*of_sets, *(it for one in others for it in one.operations())])
        self._operating.announce(
            around.control.host,
            around.control.port or None,
            shown_by(around.deployment),
            around.deployment.control.prefix,
        )
        self._rebalancer = Rebalancer(
            self._stores,
            campaign,
            around.clock,
            sets_of=around.sets_of,
            lines=self._stores,
            on_fault=self._troubles.listener("rebalancing"),
        )
        self._overview = Overview(
            self._stores,
            campaign,
            around.clock,
            sets_of=around.sets_of,
            warm_up_us=around.deployment.warm_up_us,
            gates={
                str(gate): partial(is_ok, gate.host, gate.port, "/livez") for gate in around.deployment.control.gates
            },
            told=self._told,
            hint=self._wardens.hint,
        )
        self._clocks = ClockWatch("this control role", around.clock, times_of(self._stores), around.log)
        self._operating.board.follow(self._clocks.apply)
        self._parts.add("clock watch", self._clocks.run())
        await lines.start(self._parts)
        self._wardens.run(self._parts)
        self._parts.add("rebalancer", self._rebalancer.run())
        self._parts.add("overview", self._overview.run())
        took = LatelyTook(lambda: {Interface.CONTROL: control.times}, asyncio.get_running_loop().time)
        self._operating.run_rules(lambda: readings_of(took()), self._troubles.listener("rules"))
        return {}

    def _snapshot(self) -> Snapshot:
        assert self._operating is not None
        return self._operating.board.snapshot

    def _lack(self, set_id: str) -> Lack | None:
        return None if self._overview is None else self._overview.sets[set_id]

    def _told(self, set_id: str, lack: Lack | None) -> None:
        log = self._around.log
        if lack is None:
            log.info("a set can grant", set=set_id)
        else:
            log.warning("a set cannot grant", set=set_id, reason=lack.reason, why=lack.why)

    def readiness(self) -> bytes:
        assert self._overview is not None
        clocks = [f"{name}: {why}" for name, why in self._clocks.deviating().items()]
        doubts = [] if self._clocks.doubt is None else [self._clocks.doubt]
        why = "; ".join([*doubts, *clocks, *filter(None, [self._overview.lacking])])
        return ready_unless(why or None, sets=self._overview.states())

    def readings(self) -> Iterator[Value]:
        assert self._overview is not None
        assert self._wardens is not None
        for set_id in self._stores:
            lack = self._overview.sets[set_id]
            yield figures.SET_READY(lack is None, set_id)
            if lack is not None:
                yield figures.SET_ABSENCE(1, set_id, lack.reason)
        yield from self._clocks.readings()
        yield from self._wardens.readings()
        yield from self._troubles.readings()

    def failed(self) -> Awaitable[None]:
        return self._parts.failed()

    async def stop(self) -> None:
        if self._operating is not None:
            await self._operating.stop()
        await self._parts.cancel()
        if self._wardens is not None:
            self._wardens.close()
        await close_all(self._stores)


class QueryRole(Offstage):
    """Serves "my grants" and totals from the records. No claim notices whether it runs."""

    def __init__(self, around: Surroundings, address: Address | None) -> None:
        """`address` None: participants come by the port of another campaign's role."""
        self._around = around
        self._address = address
        self._troubles = Troubles(around.log)
        self._parts = Parts()
        self._queries: Queries | None = None
        self._server = Server([])

    async def start(self, control: Site) -> dict[str, Address]:
        deployment, sealed, now_us = self._around.deployment, self._around.sealed, self._around.clock.now_us
        keys = load_keys(DataDir(deployment.data))
        codes = codes_of(DataDir(deployment.data), sealed.campaign)
        databases = {spec.records.read(): spec for spec in deployment.sets}
        self._queries = Queries(
            sealed.campaign,
            {
                pot.id: GrantWriter(sealed.campaign, pot, sealed.amounts, keys.receipts, codes)
                for pot in sealed.campaign.pots
            },
            TicketVerifier(keys.tickets),
            {f"records of {spec.id}": partial(open_records, spec, QUERY_MAX_S) for spec in databases.values()},
            limits=limits_of(self._around.terms.gate, self._around.log),
            now_us=now_us,
        )
        self.site = self._queries.site
        self._reporting = Reporting(self._around, "query")
        await listen_to_switches(self._around, self._parts, self._troubles, self._queries.apply, self._reporting.apply)
        times = self._queries.site.times
        took = LatelyTook(lambda: {Interface.QUERY: times}, asyncio.get_running_loop().time)
        self._parts.add("readings", self._reporting.run(lambda: readings_of(took())))
        self._parts.add("watch", self._queries.watch())
        if self._address is None:
            return {}
        self.site.elsewhere = self.elsewhere
        port = await self._server.listen(self._queries.site, self._address.host, self._address.port, reuse_port=True)
        return {"query": Address(self._address.host, port)}

    def readiness(self) -> bytes:
        assert self._queries is not None
        return ready_unless(self._queries.why_not_ready())

    def readings(self) -> Iterator[Value]:
        assert self._queries is not None
        yield figures.CONNECTIONS(len(self._queries.site.connections))
        yield figures.ANSWER_SECONDS.of(self._queries.site.times, Interface.QUERY)
        yield from self._reporting.readings()
        for dependency in self._queries.dependencies:
            yield from dependency_figures(dependency)
        yield from self._troubles.readings()

    def failed(self) -> Awaitable[None]:
        return self._parts.failed()

    async def stop(self) -> None:
        await self._server.stop()
        await self._parts.cancel()
        if self._queries is not None:
            await self._queries.close()


def run(row: RoleRow, deployment: DeploymentFile, control: Address, announce: Announce, **own: object) -> None:
    """Run a role of the deployment until it is told to end. `own` is what its class takes besides what is around it."""

    def hosted(around: Surroundings, listing: Listing) -> Role | None:
        if row.per is Per.SET:
            set_id = str(own["set_id"])
            return made_by(around, set_id=part_of_set(set_id, listing.id)) if set_id in listing.sets else None
        return made_by(around, **dict.fromkeys(own))

    clock: SteadyClock = system_clock()
    module, _, name = row.made_by.partition(":")
    made_by: Callable[..., Role] = getattr(import_module(module), name)
    shown = shown_by(deployment) if made_by is ControlRole else None
    run_role(
        lambda around: made_by(around, **own),
        hosted,
        surroundings(deployment, control, clock),
        announce,
        None if shown is None else shown.context(),
    )
