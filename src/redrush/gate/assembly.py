"""Puts a gate together: the participants' site with its routes, over one store or over the sets of a deployment."""

import random
from collections.abc import Callable, Container, Sequence

import msgspec

from redrush.core.identity.proof_of_work import ProofOfWork
from redrush.core.identity.tickets import KeyRing, TicketVerifier
from redrush.core.load.client_policy import ClientPolicy
from redrush.core.load.levels import AdmissionTerms
from redrush.core.rush.campaign import Campaign, Round
from redrush.core.rush.clocks import ClockCheck
from redrush.gate.admission import Admission, MakesWay
from redrush.gate.exchange import Exchange
from redrush.gate.grants import GrantWriter
from redrush.gate.knowledge.knowledge import Everything, Others
from redrush.gate.lanes import Lane, SetPot
from redrush.gate.manners import Gauge, Home, Manners, shared_manners
from redrush.gate.queries import Queries
from redrush.gate.rush.granted import GrantedAnswers
from redrush.gate.rush.packets import Packets
from redrush.gate.rush.rush import Floor, Rush
from redrush.gate.switches import GateSwitches, Sampled, Sampling
from redrush.gate.views import GrantsView, RoundsView, RoundView, policy_view
from redrush.http import answers
from redrush.http.asking_limits import AskingLimits
from redrush.http.reader import Limits
from redrush.http.route import Fixed
from redrush.http.site import Site
from redrush.ports.store import StoreFailed


class Event(msgspec.Struct, frozen=True):
    """What a gate must know of an event: read-only, the same in every gate."""

    campaign: Campaign
    amounts: Sequence[int]
    """By slot, in minor units."""
    tickets: KeyRing
    receipts: KeyRing
    audience: Container[str] | None
    """Who may win; None: everybody."""
    policy: ClientPolicy = ClientPolicy()
    """What participants' clients are told to keep to."""
    proof_of_work: ProofOfWork | None = None
    """What a ticket must be exchanged for, before the opening; None: tickets are good as they are."""
    admission: AdmissionTerms = AdmissionTerms()


class Gate(msgspec.Struct, frozen=True):
    """The participants' site and what stands behind it."""

    site: Site
    rounds: dict[str, Packets]
    lanes: dict[str, Lane]
    """To each set, by its id."""
    gauge: Gauge
    admission: Admission
    switches: GateSwitches
    queries: Queries
    exchange: Exchange | None
    clock_check: ClockCheck
    awake: set[Rush]
    """Rounds that somebody has claimed from lately: what is prebuilt of the others is nothing."""

    def doubt_clock(self, in_doubt: bool) -> None:
        """Grant nothing, because nobody knows what time it is here, or again."""
        for rush in self.rounds.values():
            rush.doubt_clock(in_doubt)

    def tick(self) -> None:
        """Look after the lanes, and renew what is prebuilt. Every second."""
        for lane in self.lanes.values():
            lane.check()
        for rush in tuple(self.awake):
            rush.tick()

    def beat(self, late_s: float) -> float:
        """See to admission, which is told how late that is; returns how many seconds shall lie between the beats."""
        if self.admission.beat(late_s):
            for rush in self.awake:
                rush.advise()
        return self.admission.beat_s

    async def drained(self) -> None:
        """Return when every claim parked so far is decided."""
        for lane in self.lanes.values():
            await lane.drained()

    def close(self) -> None:
        """Let no timer outlive the gate."""
        for lane in self.lanes.values():
            lane.close()


def build_gate(  # noqa: PLR0913 - everything a gate needs is handed in here, once, by the wiring
    event: Event,
    limits: Limits,
    homes: Callable[[Round], Sequence[Home]],
    *,
    now_us: Callable[[], int],
    failed: Callable[[StoreFailed], None],
    draw: Callable[[], float] = random.Random().random,  # noqa: B008, S311 - a lottery among equals, seeded by the system
    asking: AskingLimits | None = None,
    clock_check: ClockCheck | None = None,
) -> Gate:
    """Return the gate of an event. `homes` are the sets of a round, in order.

    Whether other gates claim from the same sets is for their stores to say (`knows_all`). `failed` hears of each store
    that has failed for good, and of faults that nobody thought of; a set that is only away is not told. `asking`: how
    often one may ask; None: as often as the switches let. `clock_check`: against which clock rounds are held besides
    `now_us`; None: none.
    """
    proves = event.proof_of_work is not None
    site = Site(
        limits,
        TicketVerifier(event.tickets, plain=not proves),
        now_us,
        unproven=TicketVerifier(event.tickets, proven=False) if proves else None,
        asking=asking,
    )
    gauge = Gauge(parked=0, parked_max=limits.parked_max)
    sampling = Sampling(draw)
    admission = Admission(
        event.admission,
        secret=event.tickets.keys[event.tickets.current],
        interval_ms=event.policy.interval_ms,
        now_us=now_us,
    )
    queries = Queries()
    clock_check = clock_check or ClockCheck()
    homes_of = {round_.id: homes(round_) for round_ in event.campaign.rounds}
    stores = {one.set: one.store for sets in homes_of.values() for one in sets}
    share = -(-limits.parked_max // max(1, len(stores)))
    lanes = {
        name: Lane(
            name,
            store,
            Manners(share) if store.knows_all else shared_manners(share),
            gauge,
            admission=admission,
            now_us=now_us,
            failed=failed,
        )
        for name, store in stores.items()
    }
    floor = Floor(admission, queries, now_us, draw, clock_check, set())
    rounds: dict[str, Packets] = {}
    for round_ in event.campaign.rounds:
        sets = homes_of[round_.id]
        form = Everything if all(one.store.knows_all for one in sets) else Others
        pots = [SetPot(one.pot or round_.id, one.share, lanes[one.set], complete=form.COMPLETE) for one in sets]
        granted = GrantedAnswers(GrantWriter(event.campaign, round_, event.amounts, event.receipts))
        rounds[round_.id] = Packets(form(round_, pots), floor, granted, event.audience)
        admission.opens(round_, [pot.lane.set for pot in pots])
    views = tuple(RoundView(rush, now_us, event.policy.interval_ms) for rush in rounds.values())
    for rush, view in zip(rounds.values(), views, strict=True):
        path = f"/v1/rounds/{rush.round.id}".encode("ascii")
        site.add(b"POST", path + b"/grab", rush, needs_ticket=True)
        site.add(b"GET", path, Sampled(view, sampling), needs_ticket=False)
    listed = RoundsView(views, now_us)
    site.add(b"GET", b"/v1/rounds", Sampled(listed, sampling), needs_ticket=False)
    grants = MakesWay(Sampled(GrantsView(tuple(rounds.values()), queries, now_us), sampling), admission)
    site.add(b"GET", b"/v1/grants", grants, needs_ticket=True)
    policy = msgspec.structs.replace(event.policy, proof_of_work=proves)
    site.add(b"GET", b"/v1/policy", policy_view(policy), needs_ticket=False)
    site.add(b"GET", b"/livez", Fixed(answers.json_answer({"status": "alive"})), needs_ticket=False)
    exchange = _add_exchange(site, event, sampling, now_us)
    switches = GateSwitches(rounds.values(), gauge, sampling, admission, site, exchange)
    return Gate(site, rounds, lanes, gauge, admission, switches, queries, exchange, clock_check, floor.awake)


def _add_exchange(site: Site, event: Event, sampling: Sampling, now_us: Callable[[], int]) -> Exchange | None:
    """Let the site exchange tickets, if the event asks for proof of work. No claim waits for it, so it is sampled."""
    if event.proof_of_work is None:
        return None
    openings_us = [round_.opens_us for round_ in event.campaign.rounds]
    exchange = Exchange(event.tickets, event.proof_of_work, openings_us, now_us)
    site.add_counter(b"GET", b"/v1/challenge", lambda *asked: Sampled(exchange.challenge_for(*asked), sampling))
    site.add_counter(b"POST", b"/v1/ticket", lambda *asked: Sampled(exchange.ticket_for(*asked), sampling))
    return exchange
