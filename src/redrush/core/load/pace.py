"""Keeping to somebody's rate: so many calls a second, and in no second more.

A bucket of a twentieth of a second's calls fills at nine tenths of the rate: what is sent within any second, with what
had gathered before, stays below it, and the rest is for calls that arrive closer together than they were sent. It
begins empty, so that a process that is started again and again keeps to the rate too.
"""

from typing import Final

USED_SHARE: Final = 0.9
BURST_S: Final = 0.05


class Pace:
    """`take` what `room` says there is. Instants are seconds of any clock that does not jump."""

    def __init__(self, per_s: float, now_s: float) -> None:
        if per_s <= 0:
            raise ValueError("a pace is above 0 calls a second")
        self._per_s = per_s * USED_SHARE
        self._burst = max(1.0, per_s * BURST_S)
        self._calls = 0.0
        self._at_s = now_s

    def room(self, now_s: float) -> int:
        """Return how many calls may be made now."""
        self._calls = min(self._burst, self._calls + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        return int(self._calls)

    def take(self, calls: int) -> None:
        """So many were made."""
        self._calls -= calls

    def wait_s(self) -> float:
        """Return after how many seconds there is room for one more."""
        return max(0.0, (1.0 - self._calls) / self._per_s)
