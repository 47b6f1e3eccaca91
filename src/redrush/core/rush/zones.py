"""Time zones of a campaign: "UTC", a fixed offset like "+08:00", or a name of the IANA database like "Asia/Shanghai".

People read instants in the zone of their event; what is computed and stored is in UTC everywhere.
"""

import re
from bisect import bisect_left
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

_OFFSET: Final = re.compile(r"([+-])(\d{2}):([0-5]\d)")
_OFFSET_MAX: Final = timedelta(hours=15)
"""No clock of the world is further from UTC."""
_DAY_S: Final = 86_400


class NoSuchZone(ValueError):
    """The text names no time zone that this machine knows."""


def parse_zone(text: str) -> tzinfo:
    """Return the zone that `text` names. Raises NoSuchZone with what would be right."""
    if text == "UTC":
        return UTC
    if (found := _OFFSET.fullmatch(text)) is not None:
        sign, hours, minutes = found.groups()
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        if offset <= _OFFSET_MAX:
            return timezone(-offset if sign == "-" else offset)
    try:
        return ZoneInfo(text)
    except (KeyError, ValueError, OSError):  # unknown, not even a name, or a folder of the database
        raise NoSuchZone(f'"{text}" is no time zone; write "+08:00", "UTC" or a name like "Asia/Shanghai"') from None


def zone_of_offset(instant: datetime) -> str:
    """Return the zone of an instant that was written with its offset: "+08:00", or "UTC"."""
    offset = instant.utcoffset()
    return _offset_text(offset) if offset else "UTC"


def _offset_text(offset: timedelta) -> str:
    minutes = round(offset.total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def local_text(instant_us: int, zone: tzinfo) -> str:
    """Return the instant, µs since the Unix epoch, as "2027-02-06 20:00:00 +08:00" on the clocks of the zone."""
    local = datetime.fromtimestamp(instant_us // 1_000_000, zone)
    offset = local.utcoffset()
    return f"{local:%Y-%m-%d %H:%M:%S} {_offset_text(offset) if offset else 'UTC'}"


def day_begins_us(instant_us: int, zone: tzinfo) -> int:
    """Return when the day began, on the clocks of the zone, that the instant is in; µs since the Unix epoch."""
    local = datetime.fromtimestamp(instant_us // 1_000_000, zone)
    return int(local.replace(hour=0, minute=0, second=0, fold=0).timestamp()) * 1_000_000


def offsets_of(zone: tzinfo, from_s: int, until_s: int) -> list[tuple[int, int]]:
    """Return how clocks of the zone stand as (since when, minutes ahead of UTC), the first of them for `from_s`.

    Instants are seconds since the Unix epoch. A change is found where clocks differ from one day to the next: none
    changes there and back within a day.
    """
    found = [(from_s, _ahead_minutes(zone, from_s))]
    for day_s in range(from_s + _DAY_S, until_s + _DAY_S, _DAY_S):
        before, after = found[-1][1], _ahead_minutes(zone, day_s)
        if after != before:
            seconds = range(day_s - _DAY_S, day_s)
            at = bisect_left(seconds, True, key=lambda at_s: _ahead_minutes(zone, at_s) != before)
            found.append((seconds.start + at, after))
    return found


def _ahead_minutes(zone: tzinfo, at_s: int) -> int:
    offset = datetime.fromtimestamp(at_s, zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds() / 60)
