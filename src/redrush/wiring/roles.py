"""The roles of the scaled form: each makes its parts from the deployment, runs them, and ends them in order."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Container, Iterator
from functools import partial

import msgspec

from redrush.config import Address, DeploymentFile
from redrush.control.audience_file import load_audience
from redrush.control.data_dir import DataDir
from redrush.control.keys import load_keys
from redrush.control.overview import Overview
from redrush.control.plans import load_plans
from redrush.control.unsealed import load_policy, load_proof_of_work
from redrush.core.campaign import Round
from redrush.core.phase import SteadyClock
from redrush.core.tickets import TicketVerifier
from redrush.gate.assembly import Event, build_gate
from redrush.gate.grants import GrantWriter
from redrush.gate.lanes import Home
from redrush.gate.readings import GateReadings
from redrush.gate.scaled import ConnectedSet, ScaledGate
from redrush.gate.server import Server
from redrush.gate.site import Site
from redrush.gate.workers import run_workers
from redrush.query.site import QUERY_MAX_S, Queries
from redrush.settle.anew import again_whenever_anew
from redrush.settle.opening import PotOpener
from redrush.settle.rebalance import Rebalancer
from redrush.settle.recorder import Recorder
from redrush.settle.sweeping import SetsCloser
from redrush.settle.trimming import LateTrim
from redrush.stores.valkey import ValkeyStore
from redrush.watch.metrics import Reading
from redrush.watch.probe import answers_ok
from redrush.wiring.asking import asking_limits
from redrush.wiring.clock import system_clock
from redrush.wiring.dependencies import breaker_readings, dependency_readings
from redrush.wiring.embedded import gate_readings, limits_of, recorder_readings
from redrush.wiring.following import Reporting, SettlementPause, listen_to_switches
from redrush.wiring.operating import Operating
from redrush.wiring.role import Announce, Parts, Role, Surroundings, Troubles, ready_unless, run_role, surroundings
from redrush.wiring.set_stores import close_all, open_records, open_store, open_stores
from redrush.wiring.wardens import Wardens


class GateRole:
    """Serves participants, over all sets."""

    def __init__(self, around: Surroundings, audience: Container[str] | None, address: Address, gates: int) -> None:
        """`gates` is how many there are, as far as is known before the control role has counted them."""
        self._around = around
        self._audience = audience
        self._gates = gates
        self._address = address
        self._troubles = Troubles(around.log)
        self._parts = Parts()
        self._stores: dict[str, ValkeyStore] = {}
        self._server: Server | None = None
        self._scaled: ScaledGate | None = None

    async def start(self, control: Site) -> dict[str, Address]:
        deployment, sealed, now_us = self._around.deployment, self._around.sealed, self._around.clock.now_us
        data_dir = DataDir(deployment.data)
        keys = load_keys(data_dir)
        self._stores = await open_stores(deployment, sealed.campaign.id)
        policy = load_policy(data_dir)
        gate = build_gate(
            Event(
                sealed.campaign,
                sealed.amounts,
                keys.tickets,
                keys.receipts,
                self._audience,
                policy,
                load_proof_of_work(data_dir),
                deployment.admission,
            ),
            limits_of(deployment.gate.limits),
            self._homes,
            shared=True,
            now_us=now_us,
            failed=self._troubles.listener("store"),
            asking=asking_limits(deployment.limits, policy),
        )
        scaled = self._scaled = ScaledGate(
            gate,
            {set_id: ConnectedSet(store, store) for set_id, store in self._stores.items()},
            now_us=now_us,
            on_fault=self._troubles.listener("sets"),
            on_conflict=self._parts.fail,
            warm_up_us=deployment.warm_up_us,
        )
        await scaled.start()
        gate.switches.share_with(self._gates)
        self._reporting = Reporting(self._around, "gate")
        applied = (gate.switches.apply, self._reporting.apply)
        await listen_to_switches(self._around, self._parts, self._troubles, *applied)
        readings = GateReadings(gate, asyncio.get_running_loop().time)
        self._parts.add("readings", self._reporting.run(readings, gate.switches.share_with))
        # What was loaded stays for good: the collector need not walk it again and again during the rush.
        gc.collect()
        gc.freeze()
        self._server = Server([gate.tick], [gate.beat])
        port = await self._server.listen(gate.site, self._address.host, self._address.port, reuse_port=True)
        return {"gate": Address(self._address.host, port)}

    def readiness(self) -> bytes:
        assert self._scaled is not None
        return self._scaled.readiness()

    def readings(self) -> Iterator[Reading]:
        assert self._scaled is not None
        yield from gate_readings(self._scaled.gate)
        gates = self._scaled.gate.switches.gates
        yield Reading(
            "redrush_release_gates", "Gates that share the release pace, as this one knows", "gauge", (), gates
        )
        yield from self._reporting.readings()
        yield from self._troubles.readings()

    def failed(self) -> Awaitable[None]:
        return self._parts.failed()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop()
        if self._scaled is not None:
            await self._scaled.stop()
        await self._parts.cancel()
        await close_all(self._stores)

    def _homes(self, round_: Round) -> list[Home]:
        shares = self._around.division.shares(round_.id)
        return [Home(share.set, self._stores[share.set], share.slots) for share in shares]


class RecorderRole:
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
        self._store = await open_store(self._around.deployment, self._spec.id, sealed.campaign.id)

        pause = SettlementPause()
        self._reporting = Reporting(self._around, "recorder")
        await listen_to_switches(self._around, self._parts, self._troubles, pause.apply, self._reporting.apply)
        self._recorder = Recorder(
            self._store,
            self._records,
            sealed.campaign,
            sealed.amounts,
            set_id=self._spec.id,
            paused=pause,
            grants_per_s_max=pause.grants_per_s_max,
            begin=self._records.begin,
            trim=LateTrim(self._store.trim, time.monotonic),
            on_fault=self._troubles.listener("recording"),
        )
        recorder = self._recorder
        self._parts.add("recorder", recorder.run())
        self._parts.add("readings", self._reporting.run(lambda: recorder_readings(recorder)))
        return {}

    def readiness(self) -> bytes:
        assert self._recorder is not None
        away_s = self._recorder.records_away_s()
        away = f"the records have not answered for {away_s:.0f} s" if away_s else None
        return ready_unless("; ".join(why for why in (away, self._troubles.current()) if why) or None)

    def readings(self) -> Iterator[Reading]:
        assert self._recorder is not None
        labels = (("set", self._spec.id),)
        behind = self._recorder.lag
        yield Reading("redrush_records_behind", "Log records not yet in the records", "gauge", labels, behind)
        yield from breaker_readings("records", self._recorder.records_breaker, self._recorder.records_away_s())
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


class SettleRole:
    """Opens pots in time, and moves what closed rounds have left."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._troubles = Troubles(around.log)
        self._parts = Parts()
        self._stores: dict[str, ValkeyStore] = {}
        self._closer: SetsCloser | None = None

    async def start(self, control: Site) -> dict[str, Address]:
        around, campaign = self._around, self._around.sealed.campaign
        self._stores = await open_stores(around.deployment, campaign.id)
        opener = PotOpener(
            self._stores,
            campaign,
            around.division,
            around.clock,
            warm_up_us=around.deployment.warm_up_us,
            on_fault=self._troubles.listener("opening"),
        )
        pause = SettlementPause()
        await listen_to_switches(around, self._parts, self._troubles, pause.apply)

        def close() -> Awaitable[None]:
            self._closer = SetsCloser(
                self._stores,
                campaign,
                around.clock,
                sets_of=around.sets_of,
                moved=lambda pot: around.log.info("the leftover of a closed round was moved", to=pot),
                paused=pause,
                on_fault=self._troubles.listener("closing"),
            )
            return self._closer.run()

        self._parts.add("opener", again_whenever_anew(self._stores, opener.run))
        self._parts.add("closer", again_whenever_anew(self._stores, close))
        return {}

    def readiness(self) -> bytes:
        return ready_unless(self._troubles.current())

    def readings(self) -> Iterator[Reading]:
        unsettled = (
            len(self._closer.unsettled) if self._closer is not None else len(self._around.sealed.campaign.rounds)
        )
        yield Reading("redrush_rounds_unsettled", "Rounds whose leftover may still move", "gauge", (), unsettled)
        yield from self._troubles.readings()

    def failed(self) -> Awaitable[None]:
        return self._parts.failed()

    async def stop(self) -> None:
        if self._closer is not None:
            self._closer.stop()
        await self._parts.cancel()
        await close_all(self._stores)


class ControlRole:
    """Keeps slots where people ask, and knows whether the whole can grant."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._troubles = Troubles(around.log)
        self._parts = Parts()
        self._stores: dict[str, ValkeyStore] = {}
        self._overview: Overview | None = None
        self._operating: Operating | None = None
        self._wardens: Wardens | None = None

    async def start(self, control: Site) -> dict[str, Address]:
        around, campaign = self._around, self._around.sealed.campaign
        # What is sealed may be read-only, so the board is where this role notes other things too.
        board_dir = DataDir(around.deployment.control.notes)
        board_dir.create()
        self._operating = Operating.open(board_dir, load_plans(around.data_dir), campaign, around.clock.now_us)
        self._wardens = Wardens(around, around.log.warning)
        self._operating.serve_on(control, self._wardens.operations(self._operating.board).operations())
        self._operating.announce(around.control.host, around.control.port or None)
        self._stores = await open_stores(around.deployment, campaign.id)
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
                str(gate): partial(answers_ok, gate.host, gate.port, "/livez")
                for gate in around.deployment.control.gates
            },
        )
        self._wardens.run(self._parts)
        self._parts.add("rebalancer", self._rebalancer.run())
        self._parts.add("overview", self._overview.run())
        self._operating.run_rules(dict, self._troubles.listener("rules"))
        return {}

    def readiness(self) -> bytes:
        assert self._overview is not None
        return ready_unless("; ".join(self._overview.lacking) or None)

    def readings(self) -> Iterator[Reading]:
        assert self._overview is not None
        assert self._wardens is not None
        for set_id in self._stores:
            labels = (("set", set_id),)
            works = set_id not in self._overview.sets_lacking
            yield Reading("redrush_set_ready", "Whether the set can grant", "gauge", labels, works)
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


class QueryRole:
    """Serves "my grants" and totals from the records. No claim notices whether it runs."""

    def __init__(self, around: Surroundings, address: Address) -> None:
        self._around = around
        self._address = address
        self._parts = Parts()
        self._queries: Queries | None = None
        self._server = Server([])

    async def start(self, control: Site) -> dict[str, Address]:
        deployment, sealed, now_us = self._around.deployment, self._around.sealed, self._around.clock.now_us
        keys = load_keys(DataDir(deployment.data))
        databases = {spec.records.read(): spec for spec in deployment.sets}
        self._queries = Queries(
            sealed.campaign,
            {
                round_.id: GrantWriter(sealed.campaign, round_, sealed.amounts, keys.receipts)
                for round_ in sealed.campaign.rounds
            },
            TicketVerifier(keys.tickets),
            {f"records of {spec.id}": partial(open_records, spec, QUERY_MAX_S) for spec in databases.values()},
            limits=limits_of(deployment.gate.limits),
            now_us=now_us,
        )
        self._parts.add("watch", self._queries.watch())
        port = await self._server.listen(self._queries.site, self._address.host, self._address.port, reuse_port=True)
        return {"query": Address(self._address.host, port)}

    def readiness(self) -> bytes:
        assert self._queries is not None
        return ready_unless(self._queries.why_not_ready())

    def readings(self) -> Iterator[Reading]:
        assert self._queries is not None
        yield Reading("redrush_connections", "Open connections", "gauge", (), len(self._queries.site.connections))
        for dependency in self._queries.dependencies:
            yield from dependency_readings(dependency)

    def failed(self) -> Awaitable[None]:
        return self._parts.failed()

    async def stop(self) -> None:
        await self._server.stop()
        await self._parts.cancel()
        if self._queries is not None:
            await self._queries.close()


def run_gates(deployment: DeploymentFile, address: Address, control: Address, workers: int, announce: Announce) -> int:
    """Run a gate of so many worker processes until told to end; return the exit code.

    All serve participants at `address`. Each has a control port of its own, the next ones after that of the first.
    """
    clock = system_clock()
    around = surroundings(deployment, control, clock)
    # Loaded before the workers are forked, so that they share the memory.
    audience = None if deployment.audience is None else load_audience(deployment.audience)

    def work(number: int) -> None:
        own = Address(control.host, control.port + number if control.port else 0)
        ours = msgspec.structs.replace(around, control=own)
        run_role(lambda around: GateRole(around, audience, address, deployment.gate.count * workers), ours, announce)

    if workers == 1:
        work(0)
        return 0

    def died(number: int, status: int) -> None:
        around.log.error("a worker died and is started again", worker=number, status=status)

    return run_workers(workers, work, died=died)


def run(deployment: DeploymentFile, make: Callable[[Surroundings], Role], control: Address, announce: Announce) -> None:
    """Run a role of the deployment until it is told to end."""
    clock: SteadyClock = system_clock()
    run_role(make, surroundings(deployment, control, clock), announce)
