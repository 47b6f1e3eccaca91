"""`[round.line]` of a campaign file: a waiting room before a round of any kind."""

from typing import Final

import msgspec

from redrush.config.toml_file import Wrong, wrong_at
from redrush.core.rush.durations import parse_duration_us
from redrush.core.rush.line import LineTerms, Order

PACE_MAX: Final = 1e6
"""People a second."""
PLACES_MAX: Final = 1 << 32

_MINUTE_US: Final = 60_000_000
BOUNDS_US: Final = {
    "opens": (1_000_000, 30 * 1_440 * _MINUTE_US, "a second to 30 days before its round"),
    "grace": (5_000_000, 60 * _MINUTE_US, "5 seconds to an hour, for who was called has to notice and to come"),
    "admitted": (10_000_000, 60 * _MINUTE_US, "10 seconds to an hour"),
}


class LineTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[round.line]`; see docs/how-to/waiting-room.md."""

    pace: float
    opens: str = "10m"
    order: Order = Order.RANDOM
    grace: str = "3m"
    admitted: str = "5m"
    places_max: int | None = None
    soft_return: int | None = None

    def terms(self, at: str) -> LineTerms:
        """Return what is sealed of it. `at` is where it stands, for errors. Raises Wrong for what cannot be."""
        if not 0 < self.pace <= PACE_MAX:
            raise Wrong(f"{at}.pace", f"must be above 0 and at most {PACE_MAX:,.0f} people a second")
        for key, most in (("places_max", PLACES_MAX), ("soft_return", 1_000_000)):
            value = getattr(self, key)
            if value is not None and not 1 <= value <= most:
                raise Wrong(f"{at}.{key}", f"must be from 1 to {most:,}; leave it out for none")
        return LineTerms(
            opens_before_us=self._time_us(at, "opens"),
            order=self.order,
            pace_per_s=self.pace,
            grace_us=self._time_us(at, "grace"),
            admitted_us=self._time_us(at, "admitted"),
            places_max=self.places_max,
            soft_return=self.soft_return,
        )

    def _time_us(self, at: str, key: str) -> int:
        text = getattr(self, key)
        with wrong_at(f"{at}.{key}"):
            time_us = parse_duration_us(text)
        least_us, most_us, words = BOUNDS_US[key]
        if not least_us <= time_us <= most_us:
            raise Wrong(f"{at}.{key}", f'"{text}" is not from {words}')
        return time_us
