"""The role of a gate in the scaled form: one process, or as many workers as are asked for."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator, Sequence

import msgspec

from redrush.config import DeploymentFile
from redrush.config.deployment_file import Duty
from redrush.control.audience_additions import AudienceFollower
from redrush.control.code_file import codes_of
from redrush.control.control_access import load_token_if_any
from redrush.control.data_dir import DataDir
from redrush.control.keys import load_keys
from redrush.control.user_list import eligible_of
from redrush.core.identity.audience import Eligible
from redrush.core.load.loop_share import LoopShare
from redrush.core.rush.campaign import Pot
from redrush.core.sets.address import Address
from redrush.core.steering import figures
from redrush.core.steering.figure import Value
from redrush.core.steering.switches import Snapshot
from redrush.gate.asking import asking_rules
from redrush.gate.group.parts import GroupParts
from redrush.gate.knowledge.among_others import AmongOthers, ConnectedSet
from redrush.gate.manners import Home
from redrush.gate.open_files import limits_of
from redrush.gate.readings import GateReadings
from redrush.http.reader import Request
from redrush.http.server import Server
from redrush.http.site import Found, Site
from redrush.http.workers import run_workers
from redrush.ports.audience import Followers
from redrush.providers.followers import followers_at
from redrush.stores.valkey import ValkeyStore
from redrush.watch.clocks import ClockWatch
from redrush.wiring.asking import Asking
from redrush.wiring.clock import system_clock
from redrush.wiring.following import Knowing, Reporting, control_of, listen_to_switches
from redrush.wiring.gate_of_event import gate_of_event
from redrush.wiring.lines import LinesElsewhere
from redrush.wiring.packet_homes import homes_of_packets
from redrush.wiring.readings import gate_figures
from redrush.wiring.releases import SharedPaces
from redrush.wiring.role import Announce, Parts, Role, Surroundings, ready_unless, surroundings
from redrush.wiring.role_process import run_role
from redrush.wiring.sale_keys import KeysElsewhere, locked_rounds
from redrush.wiring.set_stores import close_all, open_stores, times_of
from redrush.wiring.troubles import Troubles


class GateRole:
    """Serves participants, over all sets."""

    def __init__(self, around: Surroundings, audience: Eligible | None, address: Address | None, gates: int) -> None:
        """`gates` is how many there are, as far as is known before the control role has counted them. `address` None:
        participants come by the port of another campaign's gate, and the audience is read at the start."""
        self.beside: Callable[[], Sequence[Role]] = list
        self.elsewhere: Callable[[Request], Found | None] | None = None
        self.site: Site | None = None
        self._around = around
        self._audience = audience
        self._gates = gates
        self._address = address
        self._troubles = Troubles(around.log)
        self._parts = Parts()
        self._stores: dict[str, ValkeyStore] = {}
        self._server: Server | None = None
        self._loop = LoopShare()
        self._among: AmongOthers | None = None
        self._knowing: Knowing | None = None
        self._additions: AudienceFollower | None = None
        self._tells_lines = False
        self._asks_keys = False
        self._followers: Followers | None = None

    async def start(self, control: Site) -> dict[str, Address]:
        deployment, sealed, now_us = self._around.deployment, self._around.sealed, self._around.clock.now_us
        data_dir = DataDir(deployment.data)
        keys = load_keys(data_dir)
        if self._address is None:
            self._audience = await asyncio.to_thread(_audience_of, self._around)
        self._stores = await open_stores(deployment, sealed.campaign.id, Duty.GATE)
        self._reporting = Reporting(self._around, "gate")
        clocks = self._clocks = ClockWatch(
            "this gate",
            self._around.clock,
            {**times_of(self._stores), "control": self._reporting.time_heard},
            self._around.log,
            doubted=self._doubted,
        )
        limits = limits_of(self._around.terms.gate, self._around.log, len(self._stores))
        gate = gate_of_event(
            sealed,
            self._around.terms,
            keys,
            self._audience,
            limits,
            self._homes,
            now_us=now_us,
            failed=self._troubles.listener("store"),
            clock_check=clocks.check,
            codes=codes_of(data_dir, sealed.campaign),
            group=self._group(),
        )
        self._gate = gate
        among = self._among = AmongOthers(
            gate,
            {set_id: ConnectedSet(store, store) for set_id, store in self._stores.items()},
            now_us=now_us,
            on_fault=self._troubles.listener("sets"),
            on_conflict=self._parts.fail,
            warm_up_us=deployment.warm_up_us,
        )
        self._hold_to_times()
        clocks.look()
        await among.start()
        gate.switches.share_with(self._gates)
        applied = (gate.switches.apply, self._reporting.apply, self._accept_clocks)
        await listen_to_switches(self._around, self._parts, self._troubles, *applied)
        readings = GateReadings(gate, asyncio.get_running_loop().time)
        self._parts.add("clock watch", clocks.run())
        self._parts.add("readings", self._reporting.run(readings, gate.switches.share_with))
        token = load_token_if_any(data_dir)
        if token is not None:
            told = self._troubles.listener("the release paces")
            self._parts.add("paces", SharedPaces(gate.switches, Asking(control_of(self._around), token, told)).run())
        self._tell_lines()
        self._ask_keys()
        self._knowing = Knowing(self._around, self._stores)
        self._parts.add("knowing", self._knowing.run())
        if self._audience is not None:
            self._additions = AudienceFollower(data_dir, self._audience.add, self._audience.remove)
            self._additions.look_at_all()
        self.site = gate.site
        if self._address is None:
            return {}
        # What was loaded stays for good: the collector need not walk it again and again during the rush.
        gc.collect()
        gc.freeze()
        gate.site.elsewhere = self.elsewhere
        self._server = Server([self._tick_all], self._beat_all)
        port = await self._server.listen(gate.site, self._address.host, self._address.port, reuse_port=True)
        return {"gate": Address(self._address.host, port)}

    async def amend(self, around: Surroundings) -> bool:
        """Go on as this event: connections stay, and what was learned of winners."""
        sealed = self._around.sealed.gone_on(around.sealed)
        self._around = around = msgspec.structs.replace(around, sealed=sealed)
        campaign, terms = sealed.campaign, around.terms
        self._hold_to_times()
        assert self._among is not None
        self._among.add(await self._gate.add_rounds(campaign, self._homes))
        self._gate.amend(campaign)
        self._among.amend()
        asking = asking_rules(terms.limits, terms.client, self._gate.site.limits.connections_max)
        self._gate.retune(campaign.id, terms.admission, terms.client, terms.page, asking)
        self._tell_lines()
        self._ask_keys()
        return True

    def _hold_to_times(self) -> None:
        times = {pot.id: (pot.opens_us, pot.closes_us) for pot in self._around.sealed.campaign.pots}
        for store in self._stores.values():
            store.hold_to(times)

    def _tell_lines(self) -> None:
        """Tell the control role of waiting rooms, from the first that there is."""
        token = load_token_if_any(self._around.data_dir)
        if self._tells_lines or token is None or not self._gate.waiting_rooms:
            return
        self._tells_lines = True
        lines = LinesElsewhere(
            lambda: self._gate.waiting_rooms,
            self._around.clock.now_us,
            Asking(control_of(self._around), token, self._troubles.listener("the lines")),
        )
        self._parts.add("lines", lines.run())

    def _ask_keys(self) -> None:
        """Ask the control role for the keys of sales, from the first that is locked."""
        token = load_token_if_any(self._around.data_dir)
        if self._asks_keys or token is None or not locked_rounds(self._around.sealed.campaign):
            return
        self._asks_keys = True
        keys = KeysElsewhere(
            lambda: self._around.sealed.campaign,
            self._around.clock.now_us,
            Asking(control_of(self._around), token, self._troubles.listener("keys of sales")),
        )
        campaign = self._around.sealed.campaign.id
        self._parts.add("keys of sales", keys.run(lambda one, key: self._gate.unlock(campaign, {one: key})))

    def _group(self) -> GroupParts | None:
        """Return what packets between people stand on at a gate: their sets, and who knows who follows whom."""
        if (terms := self._around.terms.group) is None:
            return None
        if terms.followers is not None:
            self._followers = followers_at(terms.followers, asyncio.get_running_loop().time)
        return GroupParts(homes_of_packets(self._around, self._stores), followers=self._followers)

    def tick(self) -> None:
        """Renew what is prebuilt, and look for people who were added to the audience."""
        self._gate.tick()
        if self._additions is not None:
            self._additions.look()

    def beat(self, late_s: float, loop: LoopShare) -> float:
        """See to the admission of this campaign."""
        return self._gate.beat(late_s, loop)

    def _tick_all(self) -> None:
        self.tick()
        for role in self.beside():
            role.tick()

    def _beat_all(self, late_s: float) -> float:
        self._loop.begin()
        return min([self.beat(late_s, self._loop), *(role.beat(late_s, self._loop) for role in self.beside())])

    def readiness(self) -> bytes:
        assert self._among is not None
        if self._clocks.doubt is not None:
            return ready_unless(self._clocks.doubt)
        return self._among.readiness(self._clocks.deviating())

    def _doubted(self, in_doubt: bool) -> None:
        self._gate.doubt_clock(in_doubt)

    def _accept_clocks(self, snapshot: Snapshot) -> None:
        self._clocks.apply(snapshot)
        for store in self._stores.values():
            store.slack_us = self._clocks.accepted_us(snapshot)

    def readings(self) -> Iterator[Value]:
        assert self._among is not None
        yield from gate_figures(self._among.gate)
        yield figures.RELEASE_GATES(self._among.gate.switches.gates)
        yield from self._clocks.readings()
        yield from self._reporting.readings()
        yield from self._troubles.readings()

    def failed(self) -> Awaitable[None]:
        return self._parts.failed()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop()
        elif self.site is not None:
            await self._gate.drained()
        if self._among is not None:
            await self._among.stop()
        await self._parts.cancel()
        if self._knowing is not None:
            await self._knowing.leave()
        if self._followers is not None:
            self._followers.close()
        await close_all(self._stores)

    def _homes(self, pot: Pot) -> list[Home]:
        shares = self._around.division.shares(pot.id)
        return [Home(share.set, self._stores[share.set], share.slots) for share in shares]


def _audience_of(around: Surroundings) -> Eligible | None:
    return eligible_of(around.terms.audience, around.terms.blocked)[0]


def run_gates(deployment: DeploymentFile, address: Address, control: Address, workers: int, announce: Announce) -> int:
    """Run a gate of `workers` processes until told to end; return the exit code.

    All serve participants at `address`. Each has a control port of its own, the next ones after that of the first.
    """
    clock = system_clock()
    around = surroundings(deployment, control, clock)
    # Loaded before the workers are forked, so that they share the memory.
    audience = _audience_of(around)
    gates = deployment.gate.count * workers

    def work(number: int) -> None:
        own = Address(control.host, control.port + number if control.port else 0)
        ours = msgspec.structs.replace(around, control=own)
        run_role(
            lambda around: GateRole(around, audience, address, gates),
            lambda around, _listing: GateRole(around, None, None, gates),
            ours,
            announce,
        )

    if workers == 1:
        work(0)
        return 0

    def died(number: int, status: int) -> None:
        around.log.error("a worker died and is started again", worker=number, status=status)

    return run_workers(workers, work, died=died)
