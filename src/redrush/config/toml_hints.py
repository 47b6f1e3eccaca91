"""What was meant by a value that TOML cannot read: an instant, an amount or a word as people write them.

`tomllib` says "expected newline or end of document"; who wrote `9:00` or left the quotes out should be told the form.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Final

INSTANT_FORM: Final = "2027-02-06T20:00:00+08:00 (no quotes)"

LINE_MAX: Final = 400
"""A longer line is no slip of a person's pen."""

_KEY: Final = re.compile(r"""\s*["']?([A-Za-z0-9_.-]+)["']?\s*=\s*(.*?)\s*(?:#.*)?$""")
_LIKE_A_DATE: Final = re.compile(r"\d{4}[-/.年]\s?\d{1,2}")
_INSTANT: Final = re.compile(
    r"(?P<date>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})[Tt ]+(?P<hour>\d{1,2}):(?P<minute>\d{2})"
    r"(?::(?P<second>\d{2})(?P<fraction>\.\d+)?)?\s*(?P<offset>[Zz]|[+-]\d{1,2}(?::?\d{2})?)?",
    re.ASCII,
)
_DURATION: Final = re.compile(r"\d+(?:ms|s|m|h|d)", re.ASCII)
_AMOUNT: Final = re.compile(r"[^\w\"'\[{]?\s*\d[\d,_ ]*(?:\.\d+)?", re.ASCII)
_WORD: Final = re.compile(r"[^\W\d][\w./@:+-]*")


def meant(line: str) -> str | None:
    """Return what to tell whoever wrote this line of a TOML file that cannot be read; None if nobody knows."""
    if len(line) > LINE_MAX or (found := _KEY.match(line)) is None or not found[2]:
        return None
    key, value = found[1], found[2]
    if _can_be_read(value):
        return None
    if _LIKE_A_DATE.match(value):
        return f"{key}: {value} is not an instant: write {instant_meant(value, or_now=key == 'opens')}"
    if _DURATION.fullmatch(value):
        return f'{key}: {value} has no quotes: write {key} = "{value}"'
    if _AMOUNT.fullmatch(value):
        plain = re.sub(r"[^\d.]", "", value)
        return f'{key}: {value} is not a value: an amount stands in quotes, without separators: {key} = "{plain}"'
    if _WORD.fullmatch(value) and value not in {"true", "false", "inf", "nan"}:
        right = {"True": "true", "False": "false"}.get(value, f'"{value}"')
        return f"{key}: {value} has no quotes: write {key} = {right}"
    return None


def instant_meant(text: str, *, or_now: bool, quoted: bool = False) -> str:
    """Return the right form of an instant that was written wrong, or the form in general.

    `or_now`: the key may have "now", too; `quoted`: it stands in quotes, and must not.
    """
    like = f'it like {INSTANT_FORM} or "now" (with quotes)' if or_now else f"it like {INSTANT_FORM}"
    found = _INSTANT.fullmatch(text.strip())
    if found is None:
        return like
    hour = int(found["hour"])
    try:
        day = date(int(found["date"]), int(found["month"]), int(found["day"]))
        if hour == 24 and int(found["minute"]) == 0:
            day, hour = day + timedelta(days=1), 0
    except (ValueError, OverflowError):
        return f"{like}; there is no such day"
    second = found["second"] or "00"
    if hour > 23 or int(found["minute"]) > 59 or int(second) > 59:
        return f"{like}; there is no such time of day"
    if (offset := _offset(found["offset"])) is None:
        return f"{like}; there is no offset {found['offset']}"
    time = f"{hour:02}:{found['minute']}:{second}{found['fraction'] or ''}"
    bare = " (no quotes)" if quoted else ""
    yours = "" if found["offset"] else ", with the offset of your clocks"
    return f"{day.isoformat()}T{time}{offset}{bare}{yours}"


_WORDS: Final = {
    "str": "a text in quotes",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}
"""What is expected, by how msgspec calls it."""

_FOUND: Final[Mapping[type, str]] = {
    bool: "true or false",
    int: "a number",
    float: "a number with a fraction",
    str: "a text",
    list: "a list",
    dict: "a table",
    **dict.fromkeys((datetime, date, time), "an instant"),
}
"""What a value is that TOML can have."""


def type_meant(value: object, expected: Sequence[str]) -> tuple[str, str] | None:
    """Return what a value is that has another type than these, and what is expected, in words for people; None if
    nobody knows."""
    wanted = [_WORDS[one] for one in expected if one in _WORDS]
    found = _FOUND.get(type(value))
    return None if found is None or not wanted else (found, " or ".join(wanted))


def _can_be_read(value: str) -> bool:
    """Whether the value is not what is wrong with its line."""
    try:
        tomllib.loads(f"value = {value}")
    except (ValueError, RecursionError):
        return False
    return True


def _offset(text: str | None) -> str | None:
    """Return the right form of an offset, +08:00 where there is none; None for one that there is not."""
    if text is None:
        return "+08:00"
    if text in {"Z", "z"}:
        return "Z"
    digits = text[1:].replace(":", "")
    hours, minutes = (digits, "00") if len(digits) <= 2 else (digits[:-2], digits[-2:])
    if int(hours) > 23 or int(minutes) > 59:
        return None
    return f"{text[0]}{int(hours):02}:{minutes}"
