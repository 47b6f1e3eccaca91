"""Readings that other processes tell: gates and recorders each say how they are, and a rule looks at the worst of them.

What a process has told holds for a few seconds, so one that has died, or cannot be reached, has no say any more. Who
tells is so counted too: gates share what the event may release by how many of them there are.
"""

from collections.abc import Callable, Mapping
from typing import Final

HOLDS_S: Final = 3.0
"""Several times what passes between two tellings."""

SOURCES_MAX: Final = 4_096
"""Processes that tell; more than a deployment has is somebody's mistake, and the oldest is forgotten."""


class ToldReadings:
    """Call it for the greatest of what was told lately, by name."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._told: dict[str, tuple[float, Mapping[str, float]]] = {}

    def tell(self, source: str, readings: Mapping[str, float]) -> int:
        """Take what a process says of itself; return how many of its kind have told lately. The kind is the first word
        of a source."""
        self._told.pop(source, None)
        if len(self._told) >= SOURCES_MAX:
            del self._told[next(iter(self._told))]
        self._told[source] = (self._now_s(), dict(readings))
        since_s, kind = self._now_s() - HOLDS_S, _kind(source)
        return sum(at_s >= since_s and _kind(name) == kind for name, (at_s, _) in self._told.items())

    def __call__(self) -> Mapping[str, float]:
        """Return the greatest of each reading."""
        since_s = self._now_s() - HOLDS_S
        greatest: dict[str, float] = {}
        for at_s, readings in self._told.values():
            if at_s >= since_s:
                for name, value in readings.items():
                    greatest[name] = max(value, greatest.get(name, value))
        return greatest


def _kind(source: str) -> str:
    return source.partition(" ")[0]
