"""Time, handed in. One clock for the whole process, so that a round opens once."""

from typing import Protocol


class Clock(Protocol):
    """A wall clock that never jumps."""

    def now_us(self) -> int:
        """Return microseconds since the Unix epoch. Never decreases while the process lives."""
