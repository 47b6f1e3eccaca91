"""Of those who are called, who comes, and when: learnt from what happened to others, and forgotten again.

Called people come at once, later, or never, and how many do is another each time. So what is counted is, by the time
since the call, how many had so long to come and how many came then. The sum over all times is the share that comes at
all; what is behind the time that has passed says how many of a group are still to be expected.

Where nothing is known yet, everybody is expected to come. A line that guesses too high goes too slowly for some
seconds; one that guesses too low would send too many at once to what it protects.
"""

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

AGES_S: Final = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048)
"""Seconds since a call: where one age ends and the next begins. The last one has no end."""

LEARNT_BY_S: Final = 16
"""Whoever has not come in so many seconds is expected no more, until some have been seen who came as late."""

FORGET_S: Final = 60.0
"""Time constant: what happened a minute ago counts a third."""

KNOWN_FROM: Final = 5.0
"""People who had time to come, before what they did says anything."""

ALIKE: Final = 1 / 16
"""Groups that were called within this part of the time since are one: some two hundred groups are an hour of calls."""

SHARE_MIN: Final = 0.05
"""No more than twenty are called for one who is to come."""


def age_of(since_s: float) -> int:
    """Return which of `AGES_S` this is."""
    age = 0
    while age + 1 < len(AGES_S) and since_s >= AGES_S[age + 1]:
        age += 1
    return age


class Turnout:
    """See the module. Pure: it is told what time it is."""

    def __init__(self, grace_s: float) -> None:
        """`grace_s` is how long who was called may take."""
        self._grace_s = grace_s
        self._ages = age_of(max(0.0, grace_s - 1e-9)) + 1
        self._ends_s = [*AGES_S[1 : self._ages], grace_s]
        self._had_time = [0.0] * self._ages
        self._came = [0.0] * self._ages
        self._groups: deque[tuple[float, float]] = deque()  # when they were called, and how many
        self._shares: list[float] = [1.0] + [0.0] * (self._ages - 1)
        self._now_s = 0.0

    @property
    def share(self) -> float:
        """The share of those who are called that comes at all, as far as is known."""
        return max(SHARE_MIN, min(1.0, sum(self._shares)))

    def pass_time(self, now_s: float) -> None:
        """Let it be `now_s`, which never goes back."""
        before_s, self._now_s = self._now_s, max(now_s, self._now_s)
        lost = math.exp(-(self._now_s - before_s) / FORGET_S)
        for age in range(self._ages):
            self._had_time[age] *= lost
            self._came[age] *= lost
        for called_s, people in self._groups:
            self._live(people, max(0.0, before_s - called_s), self._now_s - called_s)
        while self._groups and self._now_s - self._groups[0][0] >= self._grace_s:
            self._groups.popleft()
        self._groups = self._merged()
        self._learn()

    def _merged(self) -> deque[tuple[float, float]]:
        """Return the groups with those made one that are about as old."""
        merged: deque[tuple[float, float]] = deque()
        for called_s, people in self._groups:
            if merged and called_s - merged[-1][0] < ALIKE * (self._now_s - called_s):
                before_s, others = merged.pop()
                both = others + people
                merged.append(((before_s * others + called_s * people) / both, both))
            else:
                merged.append((called_s, people))
        return merged

    def _live(self, people: float, from_s: float, to_s: float) -> None:
        """Count that so many had the time between two ages to come."""
        for age in range(age_of(from_s), self._ages):
            begins_s, ends_s = AGES_S[age], self._ends_s[age]
            if begins_s >= to_s:
                break
            self._had_time[age] += people * (min(to_s, ends_s) - max(from_s, begins_s)) / (ends_s - begins_s)

    def call(self, people: float) -> None:
        """So many were called now."""
        if people > 0:
            self._groups.append((self._now_s, people))

    def come(self, by_age: Sequence[float]) -> None:
        """So many came since this was said last, by the age of their call."""
        for age, people in enumerate(by_age):
            self._came[min(age, self._ages - 1)] += people

    def _learn(self) -> None:
        shares, left, all_known = [], 1.0, True
        for age in range(self._ages):
            known = self._had_time[age] >= KNOWN_FROM
            share = min(left, self._came[age] / self._had_time[age]) if known else 0.0
            if not known and all_known and AGES_S[age] < LEARNT_BY_S:
                share, all_known = left, False  # for all one knows they come now
            shares.append(share)
            left -= share
        self._shares = shares

    def expected(self) -> float:
        """Return how many of those who were called are still to come."""
        behind = [0.0] * (self._ages + 1)
        for age in reversed(range(self._ages)):
            behind[age] = behind[age + 1] + self._shares[age]
        total = 0.0
        for called_s, people in self._groups:
            since_s = self._now_s - called_s
            age = min(age_of(since_s), self._ages - 1)
            begins_s, ends_s = AGES_S[age], self._ends_s[age]
            rest = max(0.0, (ends_s - since_s) / (ends_s - begins_s))
            total += people * (behind[age + 1] + self._shares[age] * rest)
        return total
