"""Time, handed in. One clock for the whole process, so that a round opens once."""

from typing import Protocol

import msgspec


class Clock(Protocol):
    """A wall clock that never jumps."""

    def now_us(self) -> int:
        """Return microseconds since the Unix epoch. Never decreases while the process lives."""


class TimeHeard(msgspec.Struct, frozen=True):
    """Another machine said `theirs_us` (µs since the epoch) when our monotonic clock was at `at_ns`, give or take
    `error_us`, half of the round trip."""

    theirs_us: int
    at_ns: int
    error_us: int


class HeardTimes:
    """The newest hearing of another machine's clock that is of use."""

    SHARP_US = 25_000
    """A hearing with a smaller error replaces any other."""
    OLD_NS = 5_000_000_000
    """One that is older is replaced by whatever is heard, and is good for nothing after twice this time."""

    def __init__(self) -> None:
        self._newest: TimeHeard | None = None

    def hear(self, theirs_us: int, sent_ns: int, heard_ns: int) -> None:
        """The other machine answered `theirs_us` to what was sent and heard then."""
        heard = TimeHeard(theirs_us, (sent_ns + heard_ns) // 2, -(-(heard_ns - sent_ns) // 2_000))
        held = self._newest
        if (
            held is None
            or heard.error_us <= max(self.SHARP_US, held.error_us)
            or heard.at_ns - held.at_ns > self.OLD_NS
        ):
            self._newest = heard

    def newest(self, now_ns: int) -> TimeHeard | None:
        """Return it, or None if nothing was heard for long."""
        held = self._newest
        return held if held is not None and now_ns - held.at_ns <= 2 * self.OLD_NS else None
