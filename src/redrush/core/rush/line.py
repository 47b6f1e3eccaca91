"""The line of a waiting room: where somebody stands in it, and what everybody may know of it.

A *place* is one whole number, and the smaller one goes first. Who comes before the start has a place from 0 up to
`START`, which a keyed function draws from the seed and the user: it is the same at every gate and each time, needs no
memory, and can be computed again by anybody once the key is published. The place of who comes later is the instant at
which they came: first come, first served, at all gates alike, as far as their clocks agree. With `order = "fifo"`
nobody is early.

One value on that line, `serving`, says who may go in: everybody up to it. It only grows, so one small answer, the same
for all, tells a million people whether it is their turn; `LineState.ahead` tells how many are before them.

Places and no positions, because a position is known only to who has counted everybody: numbers out of one counter would
need a call from gate to gate for each person. (The model is that of AWS's waiting room, whose `serving_num` is polled
by all; theirs counts, in one database.)
"""

from bisect import bisect_right
from collections.abc import Sequence
from enum import StrEnum
from hashlib import blake2b
from itertools import pairwise
from typing import Final

import msgspec

START: Final = 1 << 40
"""No drawn place is as large, and every instant is larger, in microseconds since the Unix epoch. Drawn places are 40
bits: of a million people hardly one shares a place, and who shares one goes in at the same moment. All places stay
below 2^53, so JavaScript counts them exactly."""

DRAWN_BITS: Final = 40
NEVER: Final = -1
"""`serving` while nobody was called, and `lapsed` while nobody's time is over."""

_PERSON: Final = b"redrush.line"
_KEY_PERSON: Final = b"redrush.line.key"


class Order(StrEnum):
    """Who goes first."""

    RANDOM = "random"
    """Who came before the start in drawn order, then first come, first served."""
    FIFO = "fifo"


class LineTerms(msgspec.Struct, frozen=True, kw_only=True):
    """`[round.line]`, sealed with its round. Times are microseconds."""

    opens_before_us: int
    """How long before the round its line opens."""
    order: Order
    pace_per_s: float
    """People who go in a second."""
    grace_us: int
    """How long who was called may take to come."""
    admitted_us: int
    """How long who is in may claim."""
    places_max: int | None = None
    """People in line at most; None: all who come."""
    soft_return: int | None = None
    """Who came too late stands again, once, behind so many people; None: at the end."""


def line_key(seed: bytes, round_id: str) -> bytes:
    """Return what the places of a round's early comers are drawn with. It tells nothing of the seed, and of no other
    round, so it may be published when the line is over."""
    return blake2b(round_id.encode(), key=seed, person=_KEY_PERSON, digest_size=32).digest()


def commitment(key: bytes) -> str:
    """Return what can be published before: the key's digest (BLAKE2b, 256 bits, hex), which no other key has."""
    return blake2b(key, person=_KEY_PERSON, digest_size=32).hexdigest()


def drawn_place(key: bytes, user: str) -> int:
    """Return the place of somebody who comes before the start."""
    drawn = blake2b(user.encode(), key=key, person=_PERSON, digest_size=8).digest()
    return int.from_bytes(drawn, "big") >> (64 - DRAWN_BITS)


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """So many people stand before this place and have not been called."""

    place: int
    ahead: int


class LineState(msgspec.Struct, frozen=True, kw_only=True):
    """What is public of a line, the same for everybody. It is told by who moves `serving`."""

    serving: int = NEVER
    """Everybody up to this place may go in."""
    lapsed: int = NEVER
    """The time to come is over for everybody up to this place."""
    waiting: int = 0
    """People who have not been called."""
    joined: int = 0
    called_per_s: float = 0.0
    """How fast people are called now: as many as are to go in, and those who will not come."""
    paused: bool = False
    closed: bool = False
    """Whether nobody more may join."""
    marks: tuple[Mark, ...] = ()
    """In order; between two of them people stand evenly, as far as is said here."""

    def ahead(self, place: int) -> int:
        """Return about how many people go in before this place."""
        if place <= self.serving or not self.marks:
            return 0
        marks = self.marks
        at = bisect_right(marks, place, key=lambda mark: mark.place)
        if at == 0:
            return 0
        if at == len(marks):
            return marks[-1].ahead
        (left, before), (right, behind) = (msgspec.structs.astuple(mark) for mark in marks[at - 1 : at + 1])
        return int(before + (behind - before) * (place - left) / (right - left))

    def place_behind(self, people: int) -> int:
        """Return a place that about so many people go in before."""
        for one, other in pairwise(self.marks):
            if one.ahead <= people < other.ahead:
                return one.place + (other.place - one.place) * (people - one.ahead) // (other.ahead - one.ahead)
        return self.marks[-1].place if self.marks else max(0, self.serving + 1)

    def wait_s(self, place: int) -> float | None:
        """Return in how many seconds it is the turn of this place, at the pace of now; None: nobody knows."""
        if place <= self.serving:
            return 0.0
        if self.paused or self.called_per_s <= 0:
            return None
        return self.ahead(place) / self.called_per_s


def in_order(places: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return users with their places as they go in; of those who share a place the order is that of their ids."""
    return sorted(places, key=lambda one: (one[1], one[0]))
