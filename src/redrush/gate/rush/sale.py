"""A rush that is a flash sale: claims of one round, from the ticket to a unit that is held for its buyer.

A unit is *held* until its deadline, is paid meanwhile, or comes back and is offered again at the next of the instants
that the sale has for it. So there are two ways of having nothing: all units are somebody's for good (`empty`, final),
or some are only held (`held_out`, with the instant at which asking may help, until which nobody asks the store).

Where the sale has a secret URL, claims are let in only below a key that nobody knows before the opening. Where it
admits the first so many, all others are told that it is over: they reach no store.
"""

import json
from collections.abc import Callable, Container, Sequence
from typing import Any, Final

from redrush.core.rush.instants import rfc3339
from redrush.core.rush.outcomes import Outcome
from redrush.core.rush.phase import Phase
from redrush.core.rush.sale import SaleTerms, next_chance_us, request_of, units_of
from redrush.dependency import Unanswered
from redrush.gate.knowledge.knowledge import DRY_US, Knowledge
from redrush.gate.lanes import AskedPot, Parked
from redrush.gate.pots import SetPot
from redrush.gate.rush.granted import GrantedAnswers
from redrush.gate.rush.held import Held
from redrush.gate.rush.rush import Floor, Rush
from redrush.http import answers
from redrush.http.route import Fixed, Route, Waiter
from redrush.ports.store import EARLY, HELD_OUT, LATE, LIMIT, Claimed, ClaimResult

OFFER_TAKES_US: Final = 2_000_000
"""So long after its instant an offer may still be under way: whoever finds nothing then is sent there again soon."""

SOON_US: Final = 200_000

BODIES_REMEMBERED_MAX: Final = 1_024
"""Bodies whose meaning is remembered: clients write the number of a unit in a few ways."""

NO_UNIT: Final = Fixed(answers.problem(400, '"unit" must be the number of a unit, from 1 on, or be left out'))

_REPEAT: Final = {True: ',"repeat":true}', False: ',"repeat":false}'}


class _Claim:
    """The route of claims for a certain unit of the user's, with the key or without it."""

    __slots__ = ("_keyed", "_sale", "_unit")

    def __init__(self, sale: "Sale", unit: int, *, keyed: bool) -> None:
        self._sale = sale
        self._unit = unit
        self._keyed = keyed

    def serve(self, waiter: Waiter, user: str) -> bytes | None:
        """Claim it."""
        return self._sale.claim(waiter, user, self._unit, keyed=self._keyed)


class _Reading:
    """Reads which unit a claim is about, where a user may have several."""

    def __init__(self, sale: "Sale", *, keyed: bool) -> None:
        self.first = _Claim(sale, 1, keyed=keyed)
        self._sale = sale
        self._keyed = keyed
        self._bodies: dict[bytes, Route] = {}

    def __call__(self, body: bytes) -> Route:
        """Return the route for a request with this body, which is a JSON object or nothing."""
        route = self._bodies.get(body)
        if route is None:
            route = self._read(body)
            if len(self._bodies) >= BODIES_REMEMBERED_MAX:
                self._bodies.clear()
            self._bodies[body] = route
        return route

    def _read(self, body: bytes) -> Route:
        unit = json.loads(body).get("unit") if body else None
        if unit is None or unit == 1:
            return self.first
        if type(unit) is not int or unit < 1:
            return NO_UNIT
        return _Claim(self._sale, unit, keyed=self._keyed)


class Sale(Rush):
    """The route of `POST /v1/rounds/{round}/grab` for a sale; with a secret URL that of claims without a key."""

    __slots__ = ("_admitted", "_admitted_max", "_held", "_held_out", "_held_out_until_us", "_limit", "_terms", "key",
                 "keyed_reads", "reads")  # fmt: skip

    def __init__(
        self, knows: Knowledge, floor: Floor, granted: GrantedAnswers, audience: Container[str] | None, held: Held
    ) -> None:
        """`held` writes the grant of a unit that is only held."""
        super().__init__(knows, floor, granted, audience)
        terms = knows.pot.round.sale
        assert terms is not None
        self._terms: SaleTerms = terms
        self._held = held
        self.key: str | None = None
        """The secret part of the sale's URL, once it was drawn."""
        self._admitted: set[str] = set()
        self._admitted_max = terms.admit_first
        self._held_out_until_us = 0
        several = terms.limit_per_user > 1
        self.reads: Callable[[bytes], Route] | None = _Reading(self, keyed=False) if several else None
        self.keyed_reads: Callable[[bytes], Route] | None = _Reading(self, keyed=True) if several else None

    # -- the order of checks

    def serve(self, waiter: Waiter, user: str) -> bytes | None:
        """Claim the user's first unit, without a key."""
        return self.claim(waiter, user, 1, keyed=False)

    def keyed(self) -> Route:
        """Return the route of claims below the key."""
        return _Claim(self, 1, keyed=True)

    def claim(self, waiter: Waiter, user: str, unit: int, *, keyed: bool) -> bytes | None:
        """Answer a claim at once, or park it (None). What a user holds comes first; then time and key; then whether
        they may; then whether anything can be had now; last whether they are among the first."""
        request = request_of(unit)
        pot = self._only_pot or self.home(user)
        if not request and (known := pot.known.get(user)) is not None:
            if pot.lane.undecided(pot, user):
                return pot.lane.park(waiter, user, pot, self._now_us())
            return self._repeat(user, known)
        now_us = self._now_us()
        if now_us < self._opens_us:
            return self._before_claim(waiter, user, unit, now_us, keyed=keyed)
        if now_us >= self._closes_us:
            return self._after_the_close(pot, waiter, user)
        if self._terms.secret_url and not keyed:
            return self._not_yet(now_us)
        if self._audience is not None and user not in self._audience:
            self.counts.not_eligible += 1
            return self._not_eligible
        if unit > self._terms.limit_per_user:
            self.counts.limit += 1
            return self._limit
        # Who may have won at another gate asks for what is theirs, whatever the rest is.
        refusal = None if user in self.knows.winners else self._refusal(pot, user, now_us)
        return refusal or pot.lane.park(waiter, user, pot, now_us, request)

    def _refusal(self, pot: SetPot, user: str, now_us: int) -> bytes | None:
        """Return why the store is not asked; None: it is."""
        if self.sold_out and pot.complete:
            self.counts.empty += 1
            return self._empty
        if now_us < pot.dry_until_us:
            return self._nothing_now(now_us)
        if not self._admits(user):
            self.counts.closed += 1
            return self._closed
        valve = pot.lane.valve
        return valve.refuses(user) if valve.shedding else None

    def _before_claim(self, waiter: Waiter, user: str, unit: int, now_us: int, *, keyed: bool) -> bytes | None:
        if self._removed:
            return answers.NOT_FOUND
        if self._awake:
            return self._not_yet(now_us)
        self._wake()
        return self.claim(waiter, user, unit, keyed=keyed)

    def _admits(self, user: str) -> bool:
        """Whether the user is among the first: who was let through is let through again."""
        most = self._admitted_max
        if most is None or user in self._admitted:
            return True
        if len(self._admitted) >= most:
            return False
        self._admitted.add(user)
        return True

    def share_with(self, gates: int) -> None:
        """Let through an equal share of the first: there are so many gates, this one included."""
        if self._terms.admit_first is not None:
            self._admitted_max = -(-self._terms.admit_first // gates)

    # -- what is known

    @property
    def has_key(self) -> bool:
        """Whether claims are let in only below a key."""
        return self._terms.secret_url

    def offered(self) -> None:
        """Units were offered again: let claims through from now on, whatever those before them have found."""
        self.knows.refilled()
        self._held_out_until_us = 0
        for pot in self.pots:
            pot.dry_until_us = 0

    def unlock(self, key: str) -> None:
        """The key was drawn: tell it while the sale is open."""
        self.key = key

    @property
    def open_key(self) -> str | None:
        """See `Rush.open_key`: drawn at the opening."""
        return self.key if self.phase() is Phase.OPEN else None

    @property
    def held_out(self) -> bool:
        """See `Rush.held_out`."""
        return self._now_us() < self._held_out_until_us

    def public_fields(self, now_us: int) -> dict[str, Any]:
        """See `Rush.public_fields`: what a unit costs, and where and when it can be had."""
        terms = self._terms
        fields: dict[str, Any] = {}
        if (key := self.open_key) is not None:
            fields["key"] = key
        if self.held_out and self.phase() is Phase.OPEN:
            fields["next_chance_at"] = rfc3339(self._held_out_until_us)
        return {**fields, "price": self._held.price, "currency": self._held.currency, "limit": terms.limit_per_user}

    # -- prebuilt answers

    def _renew(self, now_us: int) -> None:
        super()._renew(now_us)
        self._limit = answers.json_answer({"outcome": Outcome.LIMIT}, self._head)
        self._say_held_out()

    def _say_held_out(self) -> None:
        fields = {"outcome": Outcome.HELD_OUT, "next_chance_at": rfc3339(self._held_out_until_us)}
        self._held_out = answers.json_answer(fields, self._head)

    def _repeat(self, user: str, claimed: Claimed) -> bytes:
        """See `Rush`. Nothing is remembered: what is held now is sold or somebody else's in a moment."""
        self._wake()
        self.counts.repeat += 1
        return self._told(user, claimed, repeat=True)

    def _told(self, user: str, claimed: Claimed, *, repeat: bool) -> bytes:
        grant, hold = self._held.grant(user, claimed)
        told = f'{{"outcome":"granted","grant":{grant}{hold}{_REPEAT[repeat]}'
        return answers.answer(200, told.encode("utf-8"), headers=self._head)

    async def grants_of(self, user: str) -> list[str] | Unanswered:
        """See `Rush.grants_of`."""
        grants: list[str] = []
        home = self.home(user)
        if home.complete and not self.knows.may_have(user):
            return grants
        for request in units_of(self._terms):
            claimed = await self._queries.claimed_by(home, user, request)
            if isinstance(claimed, Unanswered):
                return claimed
            if claimed is not None:
                grants.append(self._held.grant(user, claimed)[0])
        return grants

    # -- the desk of its lanes

    def answered(self, claims: Sequence[Parked], results: Sequence[ClaimResult], refills: int) -> None:
        """See `redrush.gate.lanes.Desk`."""
        self._wake()
        counts = self.counts
        counts.batches += 1
        for (user, waiter, pot, _), result in zip(claims, results, strict=True):
            if isinstance(result, Claimed):
                counts.repeat += result.repeat
                counts.granted += not result.repeat
                self.knows.won(user)
                waiter.send(self._told(user, result, repeat=result.repeat))
            elif result is EARLY or result is LATE:
                waiter.send(self._not_yet(self._now_us()) if result is EARLY else self._late_at_the_set())
            elif result is LIMIT:
                counts.limit += 1
                waiter.send(self._limit)
            else:
                waiter.send(self._nothing(pot, refills, held=result is HELD_OUT))

    def _nothing(self, pot: AskedPot, refills: int, *, held: bool) -> bytes:
        """Return the answer to a claim that the store had no unit for now, and remember it."""
        now_us = self._now_us()
        if not held and self.knows.nothing_left(pot, refills, now_us) is Outcome.EMPTY and self.knows.sold_out:
            self.counts.empty += 1
            return self._empty
        if refills != self.knows.refills:  # units came after the claim was sent
            return self._nothing_now(now_us)
        if not self.knows.all_taken:  # some come here from other sets
            pot.dry_until_us = now_us + DRY_US
            return self._nothing_now(now_us)
        chance_us = pot.dry_until_us = self._next_chance_us(now_us)
        if chance_us > self._held_out_until_us:
            self._held_out_until_us = chance_us
            self._say_held_out()
        return self._nothing_now(now_us)

    def _nothing_now(self, now_us: int) -> bytes:
        """Return that nothing can be had now: until the next chance, or in the user's own set for a moment."""
        if self.knows.all_taken and now_us < self._held_out_until_us:
            self.counts.held_out += 1
            return self._held_out
        self.counts.missed += 1
        return self._missed

    def _next_chance_us(self, now_us: int) -> int:
        terms = self._terms
        chance_us = next_chance_us(self.round.opens_us, terms.return_every_us, now_us)
        since_us = now_us - (chance_us - terms.return_every_us)
        under_way = since_us < min(OFFER_TAKES_US, terms.return_every_us // 2) and now_us - self._opens_us > since_us
        return min(chance_us, now_us + SOON_US) if under_way else chance_us
