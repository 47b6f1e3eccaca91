"""How long a gate's answers take, by interface, for next to nothing a claim.

Claims that wait for a batch are counted with it, by the lanes, a step for each bucket and not for each claim. What is
answered at once is not timed: no clock is read for it. How many these were since the last look is a difference of
counts that are kept anyway, and what they took is what the loop was late then: a request waits in the kernel until the
loop comes to read it, and is answered in the same turn, some microseconds later. The loop's timers are whole
milliseconds, so these times are upper bounds, to one of them.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from redrush.core.load.histogram import Histogram, summed
from redrush.core.steering.figures import Interface
from redrush.http.route import Route, Waiter
from redrush.http.timed import Timed, TimedWaiter

TIMER_US: Final = 1_000
"""As exact as the loop's timers are."""


class AnswerTimes:
    """See the module. Not thread-safe: it lives on the event loop."""

    __slots__ = ("_asked", "_at_once", "_balance", "_grants", "_now_us", "_states", "_told_before", "states_told")

    def __init__(self, now_us: Callable[[], int]) -> None:
        self.states_told = 0
        """Public states of rounds that were answered, each at once."""
        self._now_us = now_us
        self._at_once = Histogram()
        self._asked = Histogram()
        self._grants = Histogram()
        self._states = Histogram()
        self._told_before = 0
        self._balance = 0
        """Claims answered at once up to the last look."""

    def asks(self, waiter: Waiter) -> TimedWaiter:
        """Return a claimant whom a set is asked for alone, after the close, as one who is timed."""
        return TimedWaiter(waiter, self._asked, self._now_us)

    def of_grants(self, route: Route) -> Timed:
        """Return the route of somebody's grants as one that is timed."""
        return Timed(route, self._grants, self._now_us)

    def look(self, late_s: float, claims_at_once: int) -> int:
        """Count what was answered at once since the last look, and return how many claims that were. `claims_at_once`
        is how many they were in all and from the start; the loop was so late just now."""
        took_us = int(late_s * 1e6) + TIMER_US
        # A claim may be counted as answered with its batch before its outcome is counted: it is not counted twice.
        new = max(0, claims_at_once - self._balance)
        if new:
            self._at_once.add(took_us, new)
            self._balance = claims_at_once
        if self.states_told != self._told_before:
            self._states.add(took_us, self.states_told - self._told_before)
            self._told_before = self.states_told
        return new

    def histograms(self, parked: Iterable[Histogram]) -> Mapping[Interface, Histogram]:
        """Return the times by interface; `parked` are those of the claims that waited, of each lane."""
        return {
            Interface.GRAB: summed([self._at_once, self._asked, *parked]),
            Interface.GRANTS: self._grants,
            Interface.STATE: self._states,
        }
