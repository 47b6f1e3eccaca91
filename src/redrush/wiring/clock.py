"""The clock of a process: the only reading of the wall clock in whatever serves, or acts on, an event."""

import time

from redrush.core.rush.phase import SteadyClock


def system_clock() -> SteadyClock:
    """Return a clock that takes the wall clock's time once, now, and follows the monotonic one from then on.

    It can still tell how far the wall clock has been set since: that moves nothing, but nothing opens against it.
    """

    def wall_us() -> int:
        return time.time_ns() // 1_000

    return SteadyClock(time.monotonic_ns, wall_us(), wall_us)
