"""The shake filter: packets leave at a pace, and who gets one of them is chance, not who was first in the queue.

A release pace is turned into a win probability from the observed rate of requests. Time is cut into windows; in each, a
request wins with probability (packets due) / (requests expected), where what is expected is what came in the window
before. Due is one window's share of the pace, more if the windows before released less than their share (one share is
carried over at most), less if they released more.

Chance does not hit a number exactly, and a crowd may grow a hundredfold within a window, so a cap stands behind the
probability: no window releases more than two shares (or 4 packets, if that is more), and what it released beyond its
due is taken from the next. Without that headroom the late requests of a window would often find nothing left. Where
nothing was observed, as in the first window after the opening, there is no probability to speak of: what is due goes
to whoever is first, and no more than that. Over any n windows at most n shares and one burst of two are released.

Rejected: a token bucket alone (always the fastest client wins), a rate smoothed over seconds (the crowd arrives in
one), one window's count corrected within the window (more arithmetic per request for a tenth of a second).
"""

import math
from typing import Final

WINDOW_US: Final = 100_000
"""Short enough to follow a crowd that doubles within a second, long enough to count requests in."""

BURST_WINDOWS: Final = 2.0
"""No window releases more than this many shares of the pace: its own, and one carried over or taken in advance."""

BURST_PACKETS_MIN: Final = 4.0
"""At a pace of a packet or so a window two shares would cut off much of what chance does, and lose packets by it."""

_UNLIMITED_SHARE: Final = 1e15
"""Stands for no pace: more packets in a window than any crowd can ask for, and exact in a float."""


class ReleaseFilter:
    """See the module. One per round and gate; not thread-safe. `admit` costs some tenths of a microsecond."""

    __slots__ = ("_cap", "_due", "_ends_us", "_expected", "_left", "_probability", "_seen", "_share", "released",
                 "seen")  # fmt: skip

    def __init__(self, release_per_s: float | None) -> None:
        """Release `release_per_s` packets a second; None lets everybody through. Raises ValueError below 0."""
        self._share = _share_of(release_per_s)
        self._due = 0.0
        self._cap = self._left = 0
        self._expected = self._seen = 0
        self._probability = 1.0
        self._ends_us = 0
        self.released = 0
        """Requests that were let through, up to the window under way."""
        self.seen = 0
        """Requests in all, up to the window under way."""

    def set_pace(self, release_per_s: float | None, now_us: int) -> None:
        """Release `release_per_s` packets a second from now on; None lets every claim through. ValueError below 0.

        The window under way is counted as if the new pace had held since it began, but it neither has more than one
        share left nor owes more than half a burst: a much lower pace must not begin with a long silence.
        """
        share = _share_of(release_per_s)
        if share == self._share:
            return
        if now_us >= self._ends_us:
            self._turn(now_us)
        if _UNLIMITED_SHARE in (share, self._share):
            self._due = share  # what was released without a pace is no debt
        else:
            self._due += share - self._share - (self._cap - self._left)
        self.released += self._cap - self._left
        self._share = share
        self._due = min(max(self._due, -self._burst() / 2), share)
        self._aim()
        self._cap = self._left = min(self._cap, int(max(0.0, self._due)))  # the window has had its overdraft

    def admit(self, now_us: int, draw: float) -> bool:
        """Whether the request that came at `now_us` may claim; `draw` is its lot, uniform in [0, 1)."""
        if now_us >= self._ends_us:
            self._turn(now_us)
        self._seen += 1
        if draw >= self._probability or not self._left:
            return False
        self._left -= 1
        return True

    def _turn(self, now_us: int) -> None:
        """Settle the window that ended, and begin the one that `now_us` is in."""
        first = self._ends_us == 0  # time has passed without end before it, but only one share is due
        passed, into = divmod(now_us - self._ends_us, WINDOW_US)
        shares = 1 if first else passed + 1
        self.released += self._cap - self._left
        self.seen += self._seen
        self._due = min(self._due - (self._cap - self._left) + shares * self._share, self._burst())
        self._expected = self._seen if passed == 0 else 0
        self._seen = 0
        self._ends_us = now_us - into + WINDOW_US
        self._aim()

    def _aim(self) -> None:
        """Set the chance and the cap for what is due in this window."""
        if self._expected:
            self._probability = min(1.0, max(0.0, self._due) / self._expected)
            # Two standard deviations of what chance does: more is needed by nobody but a crowd that has just grown.
            overdraft = min(self._burst() / 2, 2 * math.sqrt(max(0.0, self._due)))
        else:
            self._probability = 1.0
            overdraft = 0.0
        self._cap = self._left = int(max(0.0, min(self._due + overdraft, self._burst())))

    def _burst(self) -> float:
        return max(BURST_WINDOWS * self._share, BURST_PACKETS_MIN)


def _share_of(release_per_s: float | None) -> float:
    if release_per_s is None:
        return _UNLIMITED_SHARE
    if not release_per_s >= 0:
        raise ValueError(f"the release pace cannot be {release_per_s} packets per second")
    return min(release_per_s * WINDOW_US / 1_000_000, _UNLIMITED_SHARE)
