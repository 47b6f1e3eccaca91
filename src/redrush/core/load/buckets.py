"""Token buckets for millions of keys in a table of fixed size: who may ask how often, and who is told to ask less.

A key (a user, an address) is a number that was hashed elsewhere. It has one cell in each of two halves of the table,
and each of the two has half of its rate and half of its burst. It takes from the first; what the first has no room for
is *slowed*: it may pass, from the second, but whoever asks should be told to take longer; what neither has room for is
*refused*. So the two halves of a burst are the warning and the limit, and most requests touch one cell only.

A cell is one number, the instant at which it will be full again (GCRA, the virtual scheduling of ATM Forum's TM 4.0): a
request moves it on by what one request costs, and may do so while it is not further ahead than the burst. An idle cell
needs no care: an instant that is past means full. Nothing has to be swept, and nothing grows.

Keys share cells by chance. Somebody who asks politely is slowed when their first cell is taken by somebody who asks too
often, and refused only when the second is as well: of halves of c cells, with h keys that ask too often at once, about
(h / c)² of the others. With 1,000 users who hammer one gate that is 1 of 275,000, and 1 of 520 is slowed. Polite ones
may share a cell too: of 50,000 that ask once a second each, at a rate of two, 4 % of the requests are slowed, and 1 of
10,000 is refused.

Rejected: a dictionary with an end (who fills it decides who is forgotten), a sketch of counters (must be swept, and
everybody's second begins at the same moment).
"""

from array import array
from typing import Final

import msgspec

CELLS: Final = 1 << 19
"""Of each half: eight megabytes a table. Only keys that asked within the last seconds occupy a cell, and a gate serves
some 50,000 requests a second at the most."""

PER_SECOND_MAX: Final = 1_000_000.0
BURST_MIN: Final = 2
"""One request for each half."""
BURST_MAX: Final = 10_000_000

WITHIN: Final = 0
SLOWED: Final = 1
REFUSED: Final = 2

_SECOND_SHIFT: Final = 31
"""Where in the digest the second cell is taken from: bits that the first does not use."""

_ROUNDING_S: Final = 1e-6
"""Sums of instants are exact to far less than this, and nobody's microsecond is worth a refusal."""


class Rate(msgspec.Struct, frozen=True):
    """`per_second` requests a second, for ever, and `burst` at once after a rest. ValueError beyond the bounds."""

    per_second: float
    burst: int

    def __post_init__(self) -> None:
        if not 0 < self.per_second <= PER_SECOND_MAX:
            raise ValueError(f"must be above 0 and at most {PER_SECOND_MAX:,.0f} requests a second")
        if not BURST_MIN <= self.burst <= BURST_MAX:
            raise ValueError(f"must be from {BURST_MIN} to {BURST_MAX:,} requests")

    @property
    def recovers_s(self) -> float:
        """After how long without a request everything is forgotten."""
        return 2 * self.first_half / self.per_second

    @property
    def first_half(self) -> int:
        """How many requests pass at once, after a rest, before anybody is slowed."""
        return self.burst - self.burst // 2


class Buckets:
    """See the module. Never more than burst + rate · t requests of one key pass in any t seconds, however they come.

    Not thread-safe. Memory: 16 bytes for each of `cells` once anybody has taken, whatever happens; none before.
    """

    __slots__ = ("_ahead_first_s", "_ahead_second_s", "_cost_s", "_first", "_mask", "_second")

    def __init__(self, rate: Rate, cells: int = CELLS) -> None:
        """`cells` of each half: a power of two, at most 2^31."""
        assert cells & (cells - 1) == 0, "cells are found by a mask"
        self._mask = cells - 1
        self._first = array("d")
        self._second = array("d")
        self.set_rate(rate)

    def set_rate(self, rate: Rate) -> None:
        """Let this rate hold from the next request on. What was taken stays taken, for as long as it was to last."""
        self._cost_s = 2 / rate.per_second
        # A cell may be ahead by all requests of its half but the one that is asked for.
        self._ahead_first_s = (rate.first_half - 1) * self._cost_s + _ROUNDING_S
        self._ahead_second_s = (rate.burst // 2 - 1) * self._cost_s + _ROUNDING_S

    def take(self, digest: int, now_s: float) -> int:
        """Return whether a request of the key passes: `WITHIN`, `SLOWED`, or `REFUSED`, which takes nothing.

        `digest`: a hash of the key, evenly spread over 62 bits and unknown to whoever chooses keys. `now_s` is positive
        and never goes back; where it starts does not matter.
        """
        cell = digest & self._mask
        try:
            full_s = self._first[cell]
        except IndexError:  # this is the first one that asks
            empty = bytes(8 * (self._mask + 1))
            self._first, self._second = array("d", empty), array("d", empty)
            full_s = 0.0
        if full_s <= now_s:
            self._first[cell] = now_s + self._cost_s
            return WITHIN
        if full_s - now_s <= self._ahead_first_s:
            self._first[cell] = full_s + self._cost_s
            return WITHIN
        cell = digest >> _SECOND_SHIFT & self._mask
        full_s = max(self._second[cell], now_s)
        if full_s - now_s > self._ahead_second_s:
            return REFUSED
        self._second[cell] = full_s + self._cost_s
        return SLOWED

    def has_room(self, digest: int, now_s: float) -> bool:
        """Whether `take` would let a request of the key pass, without taking anything."""
        if not self._first or self._first[digest & self._mask] - now_s <= self._ahead_first_s:
            return True
        return self._second[digest >> _SECOND_SHIFT & self._mask] - now_s <= self._ahead_second_s
