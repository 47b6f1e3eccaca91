"""The time of WeChat Pay and Alipay: texts and days of Beijing, which has been at UTC+8 all year since 1991."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from redrush.core.rush.instants import to_us

ZONE: Final = timezone(timedelta(hours=8))
FORMAT: Final = "%Y-%m-%d %H:%M:%S"
SECOND_US: Final = 1_000_000


def text_of(at_us: int) -> str:
    """Return the instant as `2027-02-06 20:00:00`, the second that it is in."""
    return datetime.fromtimestamp(at_us // SECOND_US, ZONE).strftime(FORMAT)


def us_of(text: object) -> int | None:
    """Return the instant that a text `2027-02-06 20:00:00` states, µs since the epoch; None for anything else."""
    try:
        at = datetime.strptime(text, FORMAT).replace(tzinfo=ZONE) if isinstance(text, str) else None
        return None if at is None else to_us(at.astimezone(UTC))
    except (ValueError, OverflowError):  # the first hours of the year 1 of Beijing are before the first of UTC
        return None


def day_of(day: str) -> tuple[int, int]:
    """Return the first instant of a day YYYY-MM-DD and of the next, in µs. ValueError if it is none."""
    first = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=ZONE)
    return to_us(first.astimezone(UTC)), to_us((first + timedelta(days=1)).astimezone(UTC))
