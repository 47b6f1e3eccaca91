"""The shake filter: so many packets a second, and who gets one of them is chance, not who was first in the queue.

A release pace is turned into a win probability from the observed rate of requests. Time is cut into windows; in each
window a request wins with probability (packets the pace still allows) / (requests expected), where what is expected
is what came in the window before. A budget caps the window whatever comes, so the first window after the opening, when
nothing has been observed yet, releases no more than the pace allows, to whoever is first. What a window leaves unused
is carried over, at most one window's worth, and raises the next probability: the pace is met although requests vary.
"""

from typing import Final

WINDOW_US: Final = 100_000
"""Short enough to follow a crowd that doubles within a second, long enough to count requests in."""

BUDGET_WINDOWS_MAX: Final = 2
"""No window releases more than twice its share of the pace: its own and one carried over."""

BUDGET_PACKETS_MIN: Final = 2.0
"""A pace of less than a packet a window must be able to save up whole packets, and one while another is drawn for."""


class ReleaseFilter:
    """See the module. Not thread-safe. A call of `admit` costs some tenths of a microsecond."""

    __slots__ = ("_budget", "_ends_us", "_probability", "_seen", "_share")

    def __init__(self, release_per_s: float) -> None:
        """`release_per_s`: packets per second, above 0."""
        self.set_pace(release_per_s)
        # The first turn earns two windows' shares, since time has passed without end before it; one of them is not due.
        self._budget = -self._share
        self._seen = 0
        self._probability = 1.0
        self._ends_us = 0

    def set_pace(self, release_per_s: float) -> None:
        """Release so many packets a second from the next window on."""
        if release_per_s <= 0:
            raise ValueError(f"the release pace must be above 0 packets per second, not {release_per_s}")
        self._share = release_per_s * WINDOW_US / 1_000_000

    def admit(self, now_us: int, draw: float) -> bool:
        """Whether the request that came at `now_us` may claim; `draw` is its lot, uniform in [0, 1)."""
        if now_us >= self._ends_us:
            self._turn(now_us)
        self._seen += 1
        if draw >= self._probability or self._budget < 1.0:
            return False
        self._budget -= 1.0
        return True

    def _turn(self, now_us: int) -> None:
        """Begin the window that `now_us` is in."""
        passed, into = divmod(now_us - self._ends_us, WINDOW_US)
        windows = min(passed + 1, BUDGET_WINDOWS_MAX)
        budget_max = max(BUDGET_WINDOWS_MAX * self._share, BUDGET_PACKETS_MIN)
        self._budget = min(self._budget + windows * self._share, budget_max)
        expected = self._seen if passed == 0 else 0
        self._probability = min(1.0, self._budget / expected) if expected else 1.0
        self._seen = 0
        self._ends_us = now_us - into + WINDOW_US
