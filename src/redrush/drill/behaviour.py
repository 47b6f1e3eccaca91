"""What people do with an answer: shake again, come back at the opening, ask twice, give up.

Pure: from how a request ended and how often its user has tried, to the pause before the next request, if any. All
pauses come from one seeded row of numbers that is used in a circle, so a crowd can be replayed.
"""

import random

import msgspec

from redrush.drill.observations import Ending
from redrush.drill.schedules import think_times

THINK_TIMES = 1 << 14
"""Length of the circle of pauses: long enough that no pattern shows, short enough to make in a millisecond."""

LAST_TRY = 1 << 30
"""The `tries` of a request after which its user stops, whatever comes."""


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """How a crowd acts. The maxima count tries of one user in one round; shares are probabilities."""

    shakes_max: int = 8
    """Tries after which a user who still misses gives up."""
    think_s: float = 0.7
    """Median pause between two shakes of one person."""
    early_max: int = 3
    """Tries after which a user who is told `not_open` gives up."""
    early_jitter_s: float = 0.3
    """Who was early comes back at `opens_at` plus a uniform part of this."""
    refused_max: int = 3
    """Tries after which a user who is told 429 or 503 gives up."""
    lost_max: int = 4
    """Tries after which a user whose connection broke or who got no answer gives up."""
    lost_pause_s: float = 0.5
    """Full jitter: a uniform part of this, doubled with each try."""
    repeat_share: float = 0.10
    """How many of those with a grant ask again."""
    insist_share: float = 0.05
    """How many of those who were told `empty` or `closed` ask once more."""

    @property
    def tries_max(self) -> int:
        """No user sends more requests than this for one planned request."""
        return max(self.shakes_max, self.early_max, self.refused_max, self.lost_max) + 1


class NextTry(msgspec.Struct, frozen=True):
    """The user asks again after `pause_s`; `last` says that it is the last time."""

    pause_s: float
    last: bool = False


class People:
    """A crowd's decisions, drawn from one seed."""

    def __init__(self, behaviour: Behaviour, seed: int) -> None:
        self._behaviour = behaviour
        self._random = random.Random(seed)  # noqa: S311 - a simulated person, replayable by its seed
        self._pauses = think_times(THINK_TIMES, median_s=behaviour.think_s, seed=seed).tolist()
        self._next_pause = 0

    def after_answer(self, ending: Ending, tries: int) -> NextTry | None:
        """Return what follows the `tries`-th try, answered by an outcome other than `not_open`."""
        behaviour = self._behaviour
        if ending is Ending.MISSED:
            return NextTry(self._pause()) if tries < behaviour.shakes_max else None
        if tries >= LAST_TRY:
            return None
        share = behaviour.repeat_share if ending is Ending.GRANTED else behaviour.insist_share
        if ending is Ending.NOT_ELIGIBLE or self._random.random() >= share:
            return None
        return NextTry(self._pause(), last=True)

    def after_not_open(self, opens_in_s: float, tries: int) -> NextTry | None:
        """Return what follows `not_open` when the round opens in `opens_in_s`."""
        if tries >= self._behaviour.early_max:
            return None
        return NextTry(max(0.0, opens_in_s) + self._random.uniform(0, self._behaviour.early_jitter_s))

    def after_refusal(self, status: int, retry_after_s: int | None, tries: int) -> NextTry | None:
        """Return what follows an answer that is not 200: only 429 and 503 are worth another try, never too soon."""
        if status not in (429, 503) or tries >= self._behaviour.refused_max:
            return None
        wait_s = float(1 if retry_after_s is None else retry_after_s)
        return NextTry(wait_s + self._random.uniform(0, max(1.0, wait_s)))

    def after_fault(self, tries: int) -> NextTry | None:
        """Return what follows a broken connection or no answer."""
        if tries >= self._behaviour.lost_max:
            return None
        return NextTry(self._random.uniform(0, self._behaviour.lost_pause_s * 2 ** (tries - 1)))

    def _pause(self) -> float:
        self._next_pause = (self._next_pause + 1) % THINK_TIMES
        pause_s: float = self._pauses[self._next_pause]
        return pause_s
