"""Durations as people write them: "500ms", "60s", "10m", "2h", "3d"."""

import re

_UNIT_US = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_DURATION = re.compile(r"(\d{1,9})(ms|s|m|h|d)", re.ASCII)


def parse_duration_us(text: str) -> int:
    """Return the microseconds that `text` states. ValueError, with a sentence for its writer, if it is no duration."""
    match = _DURATION.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise ValueError(f'"{text}" is not a duration: write a number and a unit, like "500ms", "60s", "10m" or "2h"')
    return int(match[1]) * _UNIT_US[match[2]]
