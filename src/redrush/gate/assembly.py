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
from redrush.gate.claims import RoundClaims
from redrush.gate.exchange import Exchange
from redrush.gate.grants import GrantWriter
from redrush.gate.knowledge.winners import WinnersFilter
from redrush.gate.lanes import Gauge, Home, Manners, shared_manners
from redrush.gate.queries import Queries
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
    rounds: dict[str, RoundClaims]
    gauge: Gauge
    admission: Admission
    views: tuple[RoundView | RoundsView, ...]
    switches: GateSwitches
    queries: Queries
    exchange: Exchange | None
    clock_check: ClockCheck

    def doubt_clock(self, in_doubt: bool) -> None:
        """Grant nothing, because nobody knows what time it is here, or again."""
        for claims in self.rounds.values():
            claims.doubt_clock(in_doubt)

    def tick(self) -> None:
        """Renew what is prebuilt. Every second."""
        for claims in self.rounds.values():
            claims.tick()
        for view in self.views:
            view.tick()

    def beat(self, late_s: float) -> float:
        """See to admission, which is told how late that is; returns how many seconds shall lie between the beats."""
        if self.admission.beat(late_s):
            for claims in self.rounds.values():
                claims.advise()
        return self.admission.beat_s

    async def drained(self) -> None:
        """Return when every claim parked so far is decided."""
        for claims in self.rounds.values():
            await claims.drained()


def build_gate(  # noqa: PLR0913 - everything a gate needs is handed in here, once, by the wiring
    event: Event,
    limits: Limits,
    homes: Callable[[Round], Sequence[Home]],
    *,
    shared: bool,
    now_us: Callable[[], int],
    failed: Callable[[StoreFailed], None],
    draw: Callable[[], float] = random.Random().random,  # noqa: B008, S311 - a lottery among equals, seeded by the system
    asking: AskingLimits | None = None,
    clock_check: ClockCheck | None = None,
) -> Gate:
    """Return the gate of an event. `homes` are the sets of a round, in order.

    `shared`: other gates claim from the same stores. `failed` hears of each store that has failed for good, and of
    faults that nobody thought of; a shared store that is only away is not told. `asking`: how often one may ask; None:
    as often as the switches let. `clock_check`: against which clock rounds are held besides `now_us`; None: none.
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
    rounds: dict[str, RoundClaims] = {}
    for round_ in event.campaign.rounds:
        sets = homes(round_)
        share = -(-limits.parked_max // len(sets))
        rounds[round_.id] = RoundClaims(
            round_,
            homes=sets,
            manners=shared_manners(share) if shared else Manners(share),
            admission=admission,
            winners=WinnersFilter(round_.slots.count) if shared else None,
            writer=GrantWriter(event.campaign, round_, event.amounts, event.receipts),
            now_us=now_us,
            draw=draw,
            gauge=gauge,
            audience=event.audience,
            queries=queries,
            failed=failed,
            clock_check=clock_check,
        )
        admission.opens(round_, [one.set for one in sets])
    views = tuple(RoundView(claims, now_us, event.policy.interval_ms) for claims in rounds.values())
    for claims, view in zip(rounds.values(), views, strict=True):
        path = f"/v1/rounds/{claims.round.id}".encode("ascii")
        site.add(b"POST", path + b"/grab", claims, needs_ticket=True)
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
    return Gate(site, rounds, gauge, admission, (*views, listed), switches, queries, exchange, clock_check)


def _add_exchange(site: Site, event: Event, sampling: Sampling, now_us: Callable[[], int]) -> Exchange | None:
    """Let the site exchange tickets, if the event asks for proof of work. No claim waits for it, so it is sampled."""
    if event.proof_of_work is None:
        return None
    openings_us = [round_.opens_us for round_ in event.campaign.rounds]
    exchange = Exchange(event.tickets, event.proof_of_work, openings_us, now_us)
    site.add_counter(b"GET", b"/v1/challenge", lambda *asked: Sampled(exchange.challenge_for(*asked), sampling))
    site.add_counter(b"POST", b"/v1/ticket", lambda *asked: Sampled(exchange.ticket_for(*asked), sampling))
    return exchange
