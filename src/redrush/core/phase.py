"""Where a round is: a pure function of an instant, and the clock that instants come from."""

from collections.abc import Callable
from enum import StrEnum

from redrush.core.campaign import Round


class Phase(StrEnum):
    """A round is open for opens_us ≤ now < closes_us, on the microsecond."""

    NOT_OPEN = "not_open"
    OPEN = "open"
    CLOSED = "closed"


def phase_of(round_: Round, now_us: int) -> Phase:
    """Return the phase of the round at `now_us` (µs since the epoch)."""
    if now_us < round_.opens_us:
        return Phase.NOT_OPEN
    return Phase.OPEN if now_us < round_.closes_us else Phase.CLOSED


class SteadyClock:
    """A wall clock that cannot jump: it takes the wall clock's time once and follows a monotonic clock from there.

    A wall clock set forward must not open a round early, nor one set back close it late; so after construction the
    wall clock is not asked again. What it said then is trusted: keep it synchronised before the start.
    """

    def __init__(self, monotonic_ns: Callable[[], int], wall_us: int) -> None:
        self._monotonic_ns = monotonic_ns
        self._offset_ns = wall_us * 1_000 - monotonic_ns()

    def now_us(self) -> int:
        """Return microseconds since the Unix epoch; never less than before."""
        return (self._monotonic_ns() + self._offset_ns) // 1_000
