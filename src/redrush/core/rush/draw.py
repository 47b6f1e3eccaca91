"""A draw with prizes: what a play comes to, as a pure function of a sealed key, a user and the number of the play.

    lot = PRF(key of the round, play number, user)      64 bit, BLAKE2b; the key is sealed, its hash is told before
    prize = whose interval of odds the lot lies in, or none

So a miss needs no state, a play that is repeated comes to the same, and after the event anybody who is given the key
can recompute every play. What is scarce is not left to odds: its slots have sealed *release instants*, or leave at a
pace, and a slot that has been released goes to whoever plays next and hits nothing else. Where several prizes are
released, each play is for one of them, by its lot: whatever is asked at the same time, of however many gates, a play
leads to one prize, and what it falls to, and so to one grant.

Play numbers count through the whole round. Where a number of plays a day is given, each day of the round has numbers of
its own (day 1 has 1…n, day 2 n+1…2n), which lapse at midnight in the zone of the campaign. Both limits hold exactly
so, and nobody has to remember who has played.

Release instants are *stratified*: the round is cut into as many equal parts as there are slots, and one instant lies
somewhere in each. Rejected: instants that are uniform in the whole round (they cluster: of ten a third lies within a
twentieth of the round every other time), and odds that are moved to keep a pace (a repeat of a play would get another
answer, so people would repeat one until it hits).
"""

from bisect import bisect_right
from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from hashlib import blake2b
from typing import Final

import msgspec

from redrush.core.rush.zones import parse_zone

LOTS: Final = 1 << 64
"""How many lots there are: 0 … 2⁶⁴ − 1."""

PLAYS_MAX: Final = 1_000
"""Plays of a user in a round, or on a day of it."""
SPREAD_MAX: Final = 100_000
"""Slots of one prize with sealed instants: an instant each is held in memory. What there is more of may have a pace."""
PRIZES_MAX: Final = 64

_PERSON: Final = b"redrush.draw"


class PrizeKind(StrEnum):
    """What the slots of a prize hold."""

    MONEY = "money"
    CODE = "code"
    GOODS = "goods"


class Prize(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One class of prizes, which is one pot. Exactly one of `odds`, `spread` and `per_second` says when it is won; a
    prize that has none of them is only what another one ends in, or the floor."""

    id: str
    name: str
    holds: PrizeKind
    count: int
    each_minor: int = 0
    """What one is worth, for money."""
    worth_minor: int | None = None
    """What one of another kind is worth, as the operator says; None: nobody has said."""
    codes_sha256: str | None = None
    """Of its list of codes."""
    limit_per_user: int = 1
    odds: tuple[int, int] | None = None
    """Numerator and denominator of the chance that a play hits it."""
    spread: bool = False
    """Its slots are released at sealed instants."""
    per_second: float | None = None
    """Its slots are released at this pace from the opening on."""
    otherwise: str | None = None
    """The prize that a play gets which hits this one when it is gone, or when the user has as many as the limit."""

    @property
    def is_released(self) -> bool:
        """Whether it goes to whoever plays next once a slot is released, whatever the lot is."""
        return self.spread or self.per_second is not None


class Floor(msgspec.Struct, frozen=True):
    """Each `within`-th play of a user that comes after so many without any hit gets the prize."""

    within: int
    prize: str


class DrawTerms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was agreed for the draw of a round."""

    prizes: tuple[Prize, ...]
    per_user: int | None = None
    """Plays of a user in the whole round; None: only the days limit them."""
    per_day: int | None = None
    """Plays of a user on a day of it; None: all may be played at once."""
    zone: str = "UTC"
    """Whose midnight ends a day."""
    floor: Floor | None = None

    def prize(self, prize_id: str) -> Prize | None:
        """Return the prize of that id, or None."""
        return next((prize for prize in self.prizes if prize.id == prize_id), None)


class Window(msgspec.Struct, frozen=True):
    """The play numbers that count now, `first` … `last` (none where `last` is less), and until when they do."""

    first: int
    last: int
    until_us: int

    @property
    def count(self) -> int:
        """How many there are."""
        return max(0, self.last - self.first + 1)


def plays_in_all(terms: DrawTerms, opens_us: int, closes_us: int) -> int:
    """Return how many plays a user has in a round between these instants."""
    if terms.per_day is None:
        return terms.per_user or 0
    all_days = terms.per_day * days_of(terms, opens_us, closes_us)
    return all_days if terms.per_user is None else min(terms.per_user, all_days)


def days_of(terms: DrawTerms, opens_us: int, closes_us: int) -> int:
    """Return how many days the round touches, by the clocks of the draw's zone."""
    return (_day(closes_us - 1, terms.zone) - _day(opens_us, terms.zone)) // timedelta(days=1) + 1


def window_at(terms: DrawTerms, opens_us: int, closes_us: int, now_us: int) -> Window:
    """Return the play numbers that count at `now_us`, within the round."""
    if terms.per_day is None:
        return Window(1, terms.per_user or 0, closes_us)
    day = _day(now_us, terms.zone)
    before = terms.per_day * ((day - _day(opens_us, terms.zone)) // timedelta(days=1))
    last = before + terms.per_day
    # Midnight on the clocks of the zone: a day may have 23 or 25 hours.
    midnight = (day + timedelta(days=1)).replace(tzinfo=parse_zone(terms.zone))
    until_us = min(closes_us, round(midnight.timestamp()) * 1_000_000)
    return Window(before + 1, last if terms.per_user is None else min(last, terms.per_user), until_us)


def _day(instant_us: int, zone: str) -> datetime:
    """Return the midnight that a day of the zone begins with, without the zone, so that days can be counted."""
    local = datetime.fromtimestamp(instant_us // 1_000_000, parse_zone(zone))
    return datetime(local.year, local.month, local.day)  # noqa: DTZ001 - a day, no instant


def width_of(odds: tuple[int, int]) -> int:
    """Return how many of the lots hit a prize of these odds."""
    return LOTS * odds[0] // odds[1]


def odds_in_all(terms: DrawTerms) -> Fraction:
    """Return the chance that a play hits any prize with odds."""
    return sum((Fraction(*prize.odds) for prize in terms.prizes if prize.odds is not None), Fraction(0))


def draw_key(seed: bytes) -> bytes:
    """Return the key of a round's draw, from the round's sealed seed."""
    return blake2b(seed, person=_PERSON, digest_size=32).digest()


def commitment(key: bytes) -> str:
    """Return what is told of the key before the opening: its SHA-like hash, in hex."""
    return blake2b(key, person=b"redrush.draw.c", digest_size=32).hexdigest()


class Lots:
    """The lots of one round's plays, and when its prizes are released. Costs a microsecond a play."""

    __slots__ = ("_prizes", "_released", "_starts", "_state", "commitment", "terms")

    def __init__(self, terms: DrawTerms, key: bytes) -> None:
        """`key` is from `draw_key`."""
        self.terms = terms
        self.commitment = commitment(key)
        """What is told of the key before the event is over."""
        self._starts: list[int] = []
        """The lots at which the prizes' intervals begin, in order, and behind them those of misses."""
        self._prizes: list[int | None] = []
        """Which prize begins there."""
        self._released = [number for number, prize in enumerate(terms.prizes) if prize.is_released]
        at = 0
        for number, prize in enumerate(terms.prizes):
            if prize.odds is not None:
                self._starts.append(at)
                self._prizes.append(number)
                at += width_of(prize.odds)
        self._starts.append(at)
        self._prizes.append(None)
        self._state = blake2b(digest_size=8, key=key, person=_PERSON)

    def lot(self, user: str, play: int) -> int:
        """Return the lot of the user's play, uniform in 0 … 2⁶⁴ − 1."""
        state = self._state.copy()
        state.update(f"{play}~{user}".encode())
        return int.from_bytes(state.digest(), "big")

    def hit(self, user: str, play: int) -> int | None:
        """Return the number of the prize with odds that the play hits, or None."""
        return self._prizes[bisect_right(self._starts, self.lot(user, play)) - 1]

    def result(self, user: str, play: int) -> int | None:
        """Return the number of the prize that the play comes to by odds and floor, or None for a miss."""
        found = self.hit(user, play)
        return self._floor_of(user, play) if found is None else found

    def _floor_of(self, user: str, play: int) -> int | None:
        """Return the floor's prize if this play of the user, which hit nothing, is due it: a look at no more plays than
        the floor is wide."""
        floor = self.terms.floor
        if floor is None or play % floor.within:
            return None
        if any(self.hit(user, earlier) is not None for earlier in range(play - floor.within + 1, play)):
            return None
        return next(number for number, prize in enumerate(self.terms.prizes) if prize.id == floor.prize)

    def way(self, user: str, play: int) -> tuple[int | None, bool]:
        """Return the number of the prize that the play leads to, None for a miss, and whether it does so only by a
        release: a play that hits nothing is for one of the prizes that are released, any of them as likely."""
        lot = self.lot(user, play)
        number = self._prizes[bisect_right(self._starts, lot) - 1]
        if number is None and self.terms.floor is not None:
            number = self._floor_of(user, play)
        released = self._released
        if number is not None or not released:
            return number, False
        # The upper bits say that it hits nothing, the lowest ones are free.
        return released[lot % len(released)], True

    def instants(self, prize: Prize, opens_us: int, closes_us: int) -> list[int]:
        """Return when each slot of a prize that is spread over the round is released, in order (µs since the epoch)."""
        span_us = closes_us - opens_us
        # Integers all the way: part k is [k, k + 1) · span / count, and the lot says where in it.
        return [
            opens_us + (slot * LOTS + self._instant_lot(prize.id, slot)) * span_us // (prize.count * LOTS)
            for slot in range(prize.count)
        ]

    def _instant_lot(self, prize: str, slot: int) -> int:
        state = self._state.copy()
        state.update(f"release~{prize}~{slot}".encode())  # a play begins with its number
        return int.from_bytes(state.digest(), "big")
