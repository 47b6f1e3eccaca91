"""Instants as text: microseconds since the Unix epoch to RFC 3339 in UTC, and to the date of an HTTP header."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(instant_us: int) -> str:
    """Return the instant as "2027-02-06T12:00:00.123456Z", always with six places."""
    return (_EPOCH + timedelta(microseconds=instant_us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def rfc3339_s(instant_s: int) -> str:
    """Return the instant, in seconds since the epoch, as "2027-02-06T12:00:00Z"."""
    return (_EPOCH + timedelta(seconds=instant_s)).strftime("%Y-%m-%dT%H:%M:%SZ")


def how_far(instant_us: int, now_us: int) -> str:
    """Return how long it is until an instant, or since it, in the two largest units: "in 69 days 19 h", "3 min ago"."""
    distance_s = abs(instant_us - now_us) // 1_000_000
    parts: list[str] = []
    for unit, seconds in (("days", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, distance_s = divmod(distance_s, seconds)
        if count:
            parts.append(f"{count:,} {'day' if unit == 'days' and count == 1 else unit}")
    text = " ".join(parts[:2])
    if not text:
        return "now"
    return f"in {text}" if instant_us > now_us else f"{text} ago"


def http_date(instant_us: int) -> str:
    """Return the instant as an HTTP date (RFC 9110, 5.6.7), cut to the second."""
    return format_datetime(_EPOCH + timedelta(seconds=instant_us // 1_000_000), usegmt=True)


def to_us(instant: datetime) -> int:
    """Return the microseconds since the epoch of a datetime that carries its offset."""
    return (instant - _EPOCH) // timedelta(microseconds=1)
