"""The places that one gate has given in a line, and who has gone in through it: counted, and remembered within bounds.

Nothing here is needed to let somebody in; a pass says it all. It is remembered who has which place, so that who asks
twice gets the same one, and counted how many there are, which moves the line.
"""

from bisect import bisect_left
from collections.abc import Iterable
from itertools import islice
from typing import Final

from redrush.core.rush.line import NEVER, LineState, Order, drawn_place
from redrush.core.rush.serving import BUCKET_US, Told, bucket_of, no_one_came
from redrush.core.rush.turnout import age_of

REMEMBERED_MAX: Final = 1 << 21
"""People whose place is remembered, 80 bytes each early one, 160 each late one; who comes beyond that and asks
twice has two places, of which the later is of no use."""

ENTERED_MAX: Final = 1 << 20
"""Places that are remembered to have gone in; beyond it somebody who goes in twice may be counted twice."""

FRESH_MAX: Final = 1 << 18
"""Places that wait to be written down; beyond it they are not."""


TOLD_MAX: Final = 2_000
"""Buckets in one report, some 44 KB; the next report goes on with those behind them."""


class Places:
    """See the module. Not thread-safe: it lives on the event loop."""

    def __init__(self, key: bytes, order: Order) -> None:
        """`key` is what places are drawn with."""
        self._key = key
        self._order = order
        self._early: set[int] = set()
        self._late: dict[int, int] = {}  # by what would have been drawn: shorter than any user id
        self._last = 0
        self._joined_early = self._joined_late = 0
        self._buckets: dict[int, int] = {}
        self._heard_up_to = 0
        self._whole = True
        self._came = no_one_came()
        self._entered: set[int] = set()
        self._entered_before: set[int] = set()
        self._turned_us = 0
        self._history: list[tuple[int, int]] = []  # `serving`, and since when
        self.fresh: list[tuple[int, str]] = []
        """Places with their users that nobody has written down yet."""

    @property
    def joined(self) -> int:
        """People who have a place from here."""
        return self._joined_early + self._joined_late

    def place_of(self, user: str, lapsed: int) -> int | None:
        """Return the place that the user has, unless its time is over; None if none is remembered."""
        drawn = drawn_place(self._key, user)
        place = self._late.get(drawn, drawn if drawn in self._early else None)
        return place if place is not None and place > lapsed else None

    def give(self, user: str, now_us: int, *, started: bool) -> int:
        """Give the user a place, a new one: a drawn one as long as the round has not started."""
        drawn = drawn_place(self._key, user)
        if not started and self._order is Order.RANDOM:
            self._joined_early += 1
            if self._room():
                self._early.add(drawn)
            place = drawn
        else:
            place = self._last = max(self._last + 1, now_us)
            self._count_late(place)
            if self._room():
                self._late[drawn] = place
        if len(self.fresh) < FRESH_MAX:
            self.fresh.append((place, user))
        return place

    def remember(self, given: Iterable[tuple[int, str]]) -> None:
        """Know the places that a life before this one has given."""
        for place, user in given:
            drawn = drawn_place(self._key, user)
            if place == drawn:
                if drawn not in self._early:
                    self._joined_early += 1
                    self._early.add(drawn)
            elif self._late.get(drawn, NEVER) < place:
                self._count_late(place)
                self._late[drawn] = place
                self._last = max(self._last, place)

    def _room(self) -> bool:
        return len(self._early) + len(self._late) < REMEMBERED_MAX

    def _count_late(self, place: int) -> None:
        self._joined_late += 1
        bucket = bucket_of(place)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1

    # -- who goes in

    def show(self, state: LineState, now_us: int, grace_us: int) -> None:
        """Know how the line stands now."""
        if not self._history or self._history[-1][0] < state.serving:
            self._history.append((state.serving, now_us))
        passed = bisect_left(self._history, state.lapsed, key=lambda one: one[0])
        if passed > len(self._history) // 2:
            del self._history[:passed]
        if now_us - self._turned_us >= grace_us or len(self._entered) >= ENTERED_MAX // 2:
            self._turned_us = now_us
            self._entered_before, self._entered = self._entered, set()

    def enter(self, place: int, now_us: int) -> None:
        """Count that somebody with this place, whose turn it is, goes in. Who does again is counted once."""
        if place in self._entered or place in self._entered_before:
            return
        self._entered.add(place)
        at = bisect_left(self._history, place, key=lambda one: one[0])
        called_us = self._history[at][1] if at < len(self._history) else now_us
        self._came[age_of((now_us - called_us) / 1e6)] += 1

    # -- what whoever moves the line is told

    def told(self, now_us: int) -> Told:
        """Return what was counted so far, at `now_us`."""
        first = 0 if self._whole else self._heard_up_to
        # They are in order of time.
        recent = dict(islice((one for one in self._buckets.items() if one[0] >= first), TOLD_MAX))
        whole = len(recent) < TOLD_MAX
        return Told(
            until_us=now_us if whole else max(recent) * BUCKET_US,
            whole=self._whole,
            early=self._joined_early,
            joined_late=self._joined_late,
            late=recent,
            came=tuple(self._came),
        )

    def heard(self, told: Told, *, enough: bool, serving: int) -> None:
        """What was told has been heard; `enough`: the whole is not wanted next time."""
        self._whole = not enough
        if enough:
            self._heard_up_to = max(told.late, default=self._heard_up_to)
        for bucket in [one for one in self._buckets if one < min(self._heard_up_to, bucket_of(serving))]:
            del self._buckets[bucket]
