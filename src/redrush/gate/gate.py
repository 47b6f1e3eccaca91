"""A gate: the participants' site, the lanes to the sets, and the campaigns that it serves, which may come and go.

Each campaign has its own paths, `/v1/campaigns/{campaign}/…`, its own tickets and its own receipts. The short paths,
`/v1/…`, are a campaign's as long as no other one offers the same: a client that knows no campaign must never end up in
somebody else's.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from redrush.core.load.client_policy import ClientPolicy
from redrush.core.load.histogram import Histogram
from redrush.core.load.levels import AdmissionTerms
from redrush.core.load.loop_share import LoopShare
from redrush.core.rush.campaign import Campaign, Pot, Round
from redrush.core.steering.figures import Interface
from redrush.errors import RedrushError
from redrush.gate.buying import BuyingRoutes
from redrush.gate.campaign import CHALLENGE, Event, Offer, ServedCampaign
from redrush.gate.exchange import Exchange
from redrush.gate.knowledge.knowledge import Everything, Knowledge, Others
from redrush.gate.lanes import Lane
from redrush.gate.manners import Gauge, Home, Manners, shared_manners
from redrush.gate.page_view import WORKER_PATH
from redrush.gate.pots import SetPot, warm_up
from redrush.gate.rush.line import WaitingRoom
from redrush.gate.rush.packet_homes import PacketHome
from redrush.gate.rush.rush import Floor, Rush
from redrush.gate.rush.sale import Sale
from redrush.gate.switches import GateSwitches, Notice, Sampling
from redrush.http.asking_limits import AskingLimits, AskingRules
from redrush.http.reader import Limits
from redrush.http.site import ROOT, Site
from redrush.page.terms import PageTerms
from redrush.ports.store import PotTerms, StoreFailed

POTS_MAX: Final = 262_144
"""Pots of rounds that a gate knows at a time, in all sets together: some thousand campaigns, 1 KB each."""


RUSH_CLAIMS_PER_S: Final = 1_000
"""So many claims a second that are answered from memory take a fiftieth of a core."""


class CannotServe(RedrushError):
    """A campaign cannot be added to this gate. Nothing was changed."""


class Gate:
    """See the module. Not thread-safe: it lives on the event loop."""

    def __init__(
        self, limits: Limits, floor: Floor, failed: Callable[[StoreFailed], None], asking: AskingLimits | None
    ) -> None:
        """`failed` hears of stores that have failed for good; `asking`: how often one may ask (None: no limit)."""
        self.site = Site(limits, None, floor.now_us, asking=asking)
        self.campaigns: dict[str, ServedCampaign] = {}
        """What is served, by the campaign's id, in the order in which it was added."""
        self.rounds: dict[str, Rush] = {}
        """All rounds of all campaigns, by name."""
        self.pots: dict[str, Knowledge] = {}
        """What is known of all their pots, by the pots' ids."""
        self.lanes: dict[str, Lane] = {}
        """To each set, by its id."""
        self.gauge = Gauge(parked=0, parked_max=limits.parked_max)
        self.admission = floor.admission
        self.queries = floor.queries
        self.clock_check = floor.clock_check
        self.awake = floor.awake
        """Rounds that somebody has claimed from lately: of the others nothing is prebuilt."""
        self.times = floor.times
        self._answered = 0
        """Claims that rounds have counted, up to the last look, but for those that asked a set alone."""
        self._limits = limits
        self._floor = floor
        self._failed = failed
        self._clock_in_doubt = False
        self._claims_per_s = 0.0
        self._sampling = Sampling(floor.draw)
        self._notice = Notice()
        self._owners: dict[bytes, list[ServedCampaign]] = {}
        """Who offers what, by what follows `/v1` in a short path."""
        self.switches = GateSwitches(self.gauge, self._sampling, self._notice, self.admission, self.site)
        self.site.add_livez()

    @property
    def exchange(self) -> Exchange | None:
        """The counter where the tickets of the first campaign that has one are exchanged."""
        return next((one.exchange for one in self.campaigns.values() if one.exchange is not None), None)

    @property
    def sampling(self) -> Sampling:
        """The share of requests served that are no claims."""
        return self._sampling

    @property
    def waiting_rooms(self) -> list[WaitingRoom]:
        """Of all rounds of all campaigns."""
        return [room for served in self.campaigns.values() for room in served.waiting_rooms]

    # -- campaigns

    async def add(self, event: Event, homes: Callable[[Pot], Sequence[Home]]) -> ServedCampaign:
        """Serve one more campaign from now on, while others go on; `homes` are the sets of a pot, in order.

        Where this process knows all of a store, pots are opened before anything is served; otherwise `AmongOthers.add`
        has to hear of it next. Raises CannotServe, and what stores raise: then nothing is served of it.
        """
        served = self.make(event, homes)
        try:
            await _learn(part for rush in served.rounds for part in rush.parts)
            self.serve(served)
        except BaseException:
            self._forget(served)
            raise
        return served

    def make(self, event: Event, homes: Callable[[Pot], Sequence[Home]]) -> ServedCampaign:
        """Return a campaign that nobody can reach yet. Raises CannotServe."""
        campaign = event.campaign
        homes_of = self._homes_of(campaign, campaign.rounds, homes)
        served = ServedCampaign(event, self._floor, self._sampling, self._notice)
        for round_ in campaign.rounds:
            served.add_round(self._parts(round_, homes_of))
        if event.group is not None and (parts := event.group_parts) is not None:
            self._lead_to(parts.homes)
            served.add_group(parts, [PacketHome(self.lanes[one.set], one.store) for one in parts.homes])
        return served

    def _parts(self, round_: Round, homes_of: Mapping[str, Sequence[Home]]) -> list[Knowledge]:
        """Return what is known of each pot of the round."""
        return [self._knowledge(pot, homes_of[pot.id]) for pot in round_.pots]

    def _knowledge(self, pot: Pot, sets: Sequence[Home]) -> Everything | Others:
        form = Everything if all(one.store.knows_all for one in sets) else Others
        here = []
        for one in sets:
            terms = PotTerms(one.pot or pot.id, one.share, pot.limit_per_user, pot.hold_us)
            here.append(SetPot(terms, self.lanes[one.set], complete=form.COMPLETE))
        return form(pot, here)

    def _homes_of(
        self, campaign: Campaign, rounds: Sequence[Round], homes: Callable[[Pot], Sequence[Home]]
    ) -> dict[str, Sequence[Home]]:
        """Return the sets of these rounds' pots, by pot, with a lane to each. Raises CannotServe."""
        homes_of = {pot.id: homes(pot) for round_ in rounds for pot in round_.pots}
        pots = sum(map(len, homes_of.values()))
        if sum(len(known.pots) for known in self.pots.values()) + pots > POTS_MAX:
            raise CannotServe(f'the campaign "{campaign.id}": a gate serves at most {POTS_MAX} pots; end some campaign')
        self._lead_to([one for sets in homes_of.values() for one in sets])
        return homes_of

    def serve(self, served: ServedCampaign) -> None:
        """Let participants reach the campaign. Raises CannotServe if it, or a pot of it, is served already."""
        campaign = served.event.campaign
        taken = sorted({part.pot_id for rush in served.rounds for part in rush.parts} & self.pots.keys())
        if campaign.id in self.campaigns or taken:
            what = f"its pot {taken[0]}" if taken and campaign.id not in self.campaigns else "it"
            raise CannotServe(f'the campaign "{campaign.id}": {what} is served already')
        self.campaigns[campaign.id] = served
        self._reach(served, served.rounds, tuple(served.offers))
        self._show(served)
        self._front()
        if served.exchange is not None:
            self.switches.added((), served.exchange)

    def _show(self, served: ServedCampaign) -> None:
        for path, route in served.public.items():
            self.site.add(b"GET", path, route, needs_ticket=False)

    def _reach(self, served: ServedCampaign, rushes: Sequence[Rush], suffixes: Sequence[bytes]) -> None:
        """Let participants reach these rounds, at what the campaign offers under these paths."""
        for rush in rushes:
            self.rounds[rush.name] = rush
            self.pots |= {part.pot_id: part for part in rush.parts}
            self.admission.opens(rush.round, [pot.lane.set for pot in rush.pots])
            rush.doubt_clock(self._clock_in_doubt)
        self.switches.added(rushes, None)
        for suffix in suffixes:
            served.offers[suffix](self.site, b"/v1/campaigns/" + served.event.campaign.id.encode("ascii") + suffix)
            self._owners.setdefault(suffix, []).append(served)
            self._name(suffix)

    def offer(self, campaign_id: str, suffix: bytes, *offers: Offer) -> None:
        """Serve something more of a campaign at what follows `/v1` in its paths, one for each method. KeyError: there
        is none such."""
        served = self.campaigns[campaign_id]

        def all_of(site: Site, path: bytes) -> None:
            for one in offers:
                one(site, path)

        served.offers[suffix] = all_of
        self._reach(served, (), (suffix,))

    async def add_rounds(self, campaign: Campaign, homes: Callable[[Pot], Sequence[Home]]) -> list[Rush]:
        """Serve, from now on, those rounds of this campaign that it did not have, and return them; for their pots see
        `add`. Raises CannotServe, and what stores raise. KeyError: there is no such campaign."""
        served = self.campaigns[campaign.id]
        known = {rush.round.id for rush in served.rounds}
        new = [round_ for round_ in campaign.rounds if round_.id not in known]
        if not new:
            return []
        homes_of = self._homes_of(campaign, new, homes)
        if taken := sorted({one.pot or pot_id for pot_id, sets in homes_of.items() for one in sets} & set(self.pots)):
            raise CannotServe(f'the campaign "{campaign.id}": its pot {taken[0]} is served already')
        knows = [self._parts(round_, homes_of) for round_ in new]
        await _learn(one for parts in knows for one in parts)
        suffixes = set(served.offers)
        rushes = [served.add_round(parts) for parts in knows]
        self._reach(served, rushes, [suffix for suffix in served.offers if suffix not in suffixes])
        return rushes

    def add_buying(self, campaign_id: str, routes: BuyingRoutes) -> None:
        """Let buyers of a campaign ask about what is held for them. KeyError: there is no such campaign."""
        served = self.campaigns[campaign_id]
        self._reach(served, (), served.add_buying(routes))

    def unlock(self, campaign_id: str, keys: Mapping[str, str]) -> None:
        """Let claims into these sales (by round) below these keys, from now on. KeyError: there is no such campaign."""
        served = self.campaigns[campaign_id]
        for rush in served.rounds:
            if isinstance(rush, Sale) and (key := keys.get(rush.round.id)) is not None:
                suffix = served.unlock(rush, key)
                if suffix is not None:
                    self._reach(served, (), (suffix,))

    def amend(self, campaign: Campaign) -> None:
        """Open and close a campaign's rounds at the instants of this one, which has the same rounds. KeyError: there is
        none such."""
        served = self.campaigns[campaign.id]
        served.amend(campaign)
        for rush in served.rounds:
            round_ = campaign.round(rush.round.id)
            if round_ is not None and rush.round != round_:
                sets = [pot.lane.set for pot in rush.pots]
                self.admission.opens_not(rush.round, sets)
                self.admission.opens(round_, sets)
                rush.amend(round_)
        if served.exchange is not None:
            served.exchange.rest_around(round_.opens_us for round_ in campaign.rounds)

    def retune(
        self, campaign_id: str, admission: AdmissionTerms, policy: ClientPolicy, page: PageTerms, asking: AskingRules
    ) -> None:
        """Keep to these terms of the campaign that decides what belongs to the gate. KeyError: there is none such."""
        served = self.campaigns[campaign_id]
        self.site.remove(served.public)
        served.advise(policy, page)
        self._show(served)
        self.admission.amend(admission, policy.interval_ms)
        self.site.asking.amend(asking)
        self.site.forget_heads()  # one may be remembered with what is not modified

    def remove(self, campaign_id: str) -> None:
        """Serve nothing of the campaign any more: whoever asks gets a 404. What is parked is decided. KeyError: there
        is none such."""
        served = self.campaigns.pop(campaign_id)
        prefix = b"/v1/campaigns/" + campaign_id.encode("ascii")
        self.site.remove([*(prefix + suffix for suffix in served.offers), *served.public])
        self._front()
        for suffix in served.offers:
            self._owners[suffix].remove(served)
            self._name(suffix)
        for rush in served.rounds:
            self._answered += rush.newly_answered()
            self.rounds.pop(rush.name)
            for part in rush.parts:
                self.pots.pop(part.pot_id)
            self.admission.opens_not(rush.round, [pot.lane.set for pot in rush.pots])
        self.switches.removed(served.rounds, served.exchange)
        self._forget(served)

    def _front(self) -> None:
        """Let the first campaign's page be that of the gate."""
        first = next(iter(self.campaigns.values()), None)
        if first is None:
            self.site.remove([ROOT, WORKER_PATH])
        else:
            self.site.add(b"GET", ROOT, first.page, needs_ticket=False)
            self.site.add(b"GET", WORKER_PATH, first.worker, needs_ticket=False)

    def _forget(self, served: ServedCampaign) -> None:
        for rush in served.rounds:
            rush.remove()
        if served.group is not None:
            served.group.close()

    def _name(self, suffix: bytes) -> None:
        """Let the short path lead to the only campaign that offers it, if there is one."""
        path, owners = b"/v1" + suffix, self._owners[suffix]
        self.site.remove([path])
        if len(owners) == 1:
            owners[0].offers[suffix](self.site, path)
        if suffix == CHALLENGE:
            for served in owners:
                served.exchange_at("/v1" if len(owners) == 1 else f"/v1/campaigns/{served.event.campaign.id}")
        if not owners:
            del self._owners[suffix]

    def _lead_to(self, homes: Sequence[Home]) -> None:
        """Have a lane to each of these sets."""
        stores = {one.set: one.store for one in homes}
        share = -(-self._limits.parked_max // max(1, len(stores.keys() | self.lanes.keys())))
        for name, store in stores.items():
            if name not in self.lanes:
                self.lanes[name] = Lane(
                    name,
                    store,
                    Manners(share) if store.knows_all else shared_manners(share),
                    self.gauge,
                    admission=self.admission,
                    now_us=self._floor.now_us,
                    failed=self._failed,
                )
            elif self.lanes[name].store is not store:
                raise CannotServe(f'the set "{name}" of this gate is another store')

    # -- what goes on

    def doubt_clock(self, in_doubt: bool) -> None:
        """Grant nothing, because nobody knows what time it is here, or again."""
        self._clock_in_doubt = in_doubt
        for rush in self.rounds.values():
            rush.doubt_clock(in_doubt)
        for served in self.campaigns.values():
            if served.group is not None:
                served.group.packets.clock_in_doubt = in_doubt

    def tick(self) -> None:
        """Look after the lanes, and renew what is prebuilt. Every second."""
        for lane in self.lanes.values():
            lane.check()
        for served in self.campaigns.values():
            if served.group is not None:
                served.group.packets.renew()
        for rush in tuple(self.awake):
            rush.tick()

    @property
    def busy(self) -> bool:
        """Whether claims wait, or many come: what can wait leaves the processor to them."""
        return self.gauge.parked > 0 or self._claims_per_s > RUSH_CLAIMS_PER_S

    def beat(self, late_s: float, loop: LoopShare | None = None) -> float:
        """See to admission, which is told how late that is; returns how many seconds shall lie between the beats.
        `loop` knows who else shares the loop; None: nobody does."""
        claims = self._claims_answered()
        answered = self.times.look(late_s, claims - sum(lane.times.count for lane in self.lanes.values()))
        self._claims_per_s = answered / (self.admission.beat_s + late_s)
        if self.admission.beat(late_s, sheds=loop is None or self._has_its_part(loop, claims)):
            for rush in self.awake:
                rush.advise()
        return self.admission.beat_s

    def _has_its_part(self, loop: LoopShare, claims: int) -> bool:
        asking, groups = self.site.asking, [served.group for served in self.campaigns.values()]
        loop.told(self, claims + sum(one.packets.counts.answers for one in groups if one is not None))
        loop.told(self.site, asking.users.refused + asking.addresses.refused)
        return loop.has_its_part(self)

    def _claims_answered(self) -> int:
        """Return how many claims were answered so far, as far as rounds were awake, but for those that asked a set
        alone."""
        self._answered += sum(rush.newly_answered() for rush in self.awake)
        refused = sum(lane.away + lane.valve.counts.level for lane in self.lanes.values())
        return self._answered + refused

    def answer_times(self) -> Mapping[Interface, Histogram]:
        """Return how long answers took, by interface."""
        return self.times.histograms(lane.times for lane in self.lanes.values())

    async def drained(self) -> None:
        """Return when every claim parked so far is decided."""
        for lane in self.lanes.values():
            await lane.drained()

    def close(self) -> None:
        """Let no timer outlive the gate, and no thread."""
        for served in self.campaigns.values():
            if served.group is not None:
                served.group.close()
        for lane in self.lanes.values():
            lane.close()


async def _learn(parts: Iterable[Knowledge]) -> None:
    """Open the pots of stores that this process knows all of, and learn of them what a start has to know."""
    known = [part for part in parts if isinstance(part, Everything)]
    await warm_up([pot for part in known for pot in part.pots])
    for part in known:
        await part.learn()
