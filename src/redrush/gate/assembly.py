"""Puts a gate together: the participants' site with its routes, over one store or over the sets of a deployment."""

import random
from collections.abc import Callable, Container, Sequence

import msgspec

from redrush.core.campaign import Campaign, Round
from redrush.core.client_policy import ClientPolicy
from redrush.core.tickets import KeyRing, TicketVerifier
from redrush.gate import answers
from redrush.gate.claims import RoundClaims
from redrush.gate.grants import GrantWriter
from redrush.gate.lanes import Gauge, Home, Manners, shared_manners
from redrush.gate.reader import Limits
from redrush.gate.site import Site
from redrush.gate.switches import GateSwitches, Sampled, Sampling
from redrush.gate.views import Fixed, GrantsView, RoundView, policy_view
from redrush.gate.winners import WinnersFilter
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


class Gate(msgspec.Struct, frozen=True):
    """The participants' site and what stands behind it."""

    site: Site
    rounds: dict[str, RoundClaims]
    gauge: Gauge
    views: tuple[RoundView, ...]
    switches: GateSwitches

    def tick(self) -> None:
        """Renew what is prebuilt. Every second."""
        for claims in self.rounds.values():
            claims.tick()
        for view in self.views:
            view.tick()

    async def drained(self) -> None:
        """Return when every claim parked so far is decided."""
        for claims in self.rounds.values():
            await claims.drained()


def build_gate(
    event: Event,
    limits: Limits,
    homes: Callable[[Round], Sequence[Home]],
    *,
    shared: bool,
    now_us: Callable[[], int],
    failed: Callable[[StoreFailed], None],
    draw: Callable[[], float] = random.Random().random,  # noqa: B008, S311 - a lottery among equals, seeded by the system
) -> Gate:
    """Return the gate of an event. `homes` are the sets of a round, in order.

    `shared`: other gates claim from the same stores. `failed` hears of each store that has failed for good, and of
    faults that nobody thought of; a shared store that is only away is not told.
    """
    site = Site(limits, TicketVerifier(event.tickets), now_us)
    gauge = Gauge(parked=0, parked_max=limits.parked_max)
    sampling = Sampling(draw)
    rounds: dict[str, RoundClaims] = {}
    for round_ in event.campaign.rounds:
        sets = homes(round_)
        share = -(-limits.parked_max // len(sets))
        rounds[round_.id] = RoundClaims(
            round_,
            homes=sets,
            manners=shared_manners(share) if shared else Manners(share),
            winners=WinnersFilter(round_.slots.count) if shared else None,
            writer=GrantWriter(event.campaign, round_, event.amounts, event.receipts),
            now_us=now_us,
            draw=draw,
            gauge=gauge,
            audience=event.audience,
            failed=failed,
        )
    views = tuple(RoundView(claims, now_us, event.policy.interval_ms) for claims in rounds.values())
    for claims, view in zip(rounds.values(), views, strict=True):
        path = f"/v1/rounds/{claims.round.id}".encode("ascii")
        site.add(b"POST", path + b"/grab", claims, needs_ticket=True)
        site.add(b"GET", path, Sampled(view, sampling), needs_ticket=False)
    grants = Sampled(GrantsView(tuple(rounds.values()), now_us), sampling)
    site.add(b"GET", b"/v1/grants", grants, needs_ticket=True)
    site.add(b"GET", b"/v1/policy", policy_view(event.policy), needs_ticket=False)
    site.add(b"GET", b"/livez", Fixed(answers.json_answer({"status": "alive"})), needs_ticket=False)
    return Gate(site, rounds, gauge, views, GateSwitches(rounds.values(), gauge, sampling))
