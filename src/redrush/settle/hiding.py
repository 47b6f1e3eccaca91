"""How long what a process has taken from a book is its own: whoever was stopped meanwhile (SIGSTOP, a machine that
sleeps) finds out by it that it may be somebody else's by now, before anybody outside hears of it."""

import time
from typing import Final

import msgspec

SECOND_US: Final = 1_000_000

_RUNNING_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def running_s() -> float:
    """Return seconds that nobody sets, and that go on while the machine sleeps, where it has such a clock."""
    return time.clock_gettime(_RUNNING_CLOCK)


class Hidden(msgspec.Struct, frozen=True):
    """Until when nobody else takes what is hidden: by the clock of the book, and by one that nobody sets back."""

    until_us: int
    until_s: float

    @classmethod
    def for_s(cls, hidden_s: float, now_us: int, now_s: float) -> "Hidden":
        """Return what begins now."""
        return cls(now_us + int(hidden_s * SECOND_US), now_s + hidden_s)

    def leaves(self, call_s: float, now_us: int, now_s: float) -> bool:
        """Whether a call that takes so long would be over by then."""
        return now_us + int(call_s * SECOND_US) <= self.until_us and now_s + call_s <= self.until_s
