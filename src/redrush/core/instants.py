"""Instants as text: microseconds since the Unix epoch to RFC 3339 in UTC, and to the date of an HTTP header."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(instant_us: int) -> str:
    """Return the instant as "2027-02-06T12:00:00.123456Z", always with six places."""
    return (_EPOCH + timedelta(microseconds=instant_us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def http_date(instant_us: int) -> str:
    """Return the instant as an HTTP date (RFC 9110, 5.6.7), cut to the second."""
    return format_datetime(_EPOCH + timedelta(seconds=instant_us // 1_000_000), usegmt=True)


def to_us(instant: datetime) -> int:
    """Return the microseconds since the epoch of a datetime that carries its offset."""
    return (instant - _EPOCH) // timedelta(microseconds=1)
