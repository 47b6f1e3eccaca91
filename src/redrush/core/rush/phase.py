"""Where a round is: a pure function of an instant, and the clock that instants come from."""

from collections.abc import Callable
from enum import StrEnum

from redrush.core.rush.campaign import Timed


class Phase(StrEnum):
    """A round is open for opens_us ≤ now < closes_us, on the microsecond."""

    NOT_OPEN = "not_open"
    OPEN = "open"
    CLOSED = "closed"


def phase_of(timed: Timed, now_us: int) -> Phase:
    """Return the phase of the round, or of a pot of it, at `now_us` (µs since the epoch)."""
    if now_us < timed.opens_us:
        return Phase.NOT_OPEN
    return Phase.OPEN if now_us < timed.closes_us else Phase.CLOSED


class SteadyClock:
    """A wall clock that cannot jump: it takes the wall clock's time once and follows a monotonic clock from there.

    A wall clock set forward must not open a round early, nor one set back close it late; so after construction the
    wall clock does not move this one. How far it has been set since is told by `skew_us` (see
    `redrush.core.rush.clocks`).
    """

    def __init__(
        self, monotonic_ns: Callable[[], int], wall_us: int, wall_now_us: Callable[[], int] | None = None
    ) -> None:
        """`wall_us` is what the wall clock says; `wall_now_us` is asked again for `skew_us` alone."""
        self._monotonic_ns = monotonic_ns
        self._wall_now_us = wall_now_us
        self._offset_ns = wall_us * 1_000 - monotonic_ns()

    def now_us(self) -> int:
        """Return microseconds since the Unix epoch; never less than before."""
        return (self._monotonic_ns() + self._offset_ns) // 1_000

    def skew_us(self) -> int:
        """Return how far the wall clock is ahead of this one, µs: what it was set by since the start, and what the
        process slept through. 0 if the wall clock cannot be asked."""
        return 0 if self._wall_now_us is None else self._wall_now_us() - self.now_us()

    def at_us(self, monotonic_ns: int) -> int:
        """Return what this clock says when the monotonic one says that."""
        return (monotonic_ns + self._offset_ns) // 1_000

    def monotonic_ns(self) -> int:
        """Return the monotonic clock that this one follows."""
        return self._monotonic_ns()
