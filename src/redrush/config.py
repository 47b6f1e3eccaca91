"""Campaign files: TOML in, one validated `CampaignFile` out, or an error with file, line and key.

Everything a person can get wrong is found here, before anything is created; what comes out needs no second look.
Line numbers come from a scan of the text, since `tomllib` does not keep positions.
"""

import re
import tomllib
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import msgspec

from redrush.core.campaign import Kind, Leftover
from redrush.core.durations import parse_duration_us
from redrush.core.feasibility import ImpossibleSplit, check_feasible
from redrush.core.instants import to_us
from redrush.core.money import format_amount, parse_amount
from redrush.errors import ConfigError

NOW: Literal["now"] = "now"
PACKETS_MAX = 10_000_000
"""Packets of one round: the amounts of all rounds are held in memory, eight bytes each."""
CAMPAIGN_PACKETS_MAX = 50_000_000
"""Packets of all rounds together: a table of 400 MB."""
ROUNDS_MAX = 1_000
FILE_BYTES_MAX = 4_000_000

LASTS_US_MAX = 366 * 86_400_000_000
"""A rush lasts seconds, an offer weeks; what is longer than a year is a slip of the pen."""
OPENS_YEARS = range(2000, 9001)
"""Years a round may open in: so far from both ends of the calendar that no sum with an instant leaves it."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", re.ASCII)


class RoundSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A round as written: `opens_us` is None for "now", which the start of the campaign turns into an instant."""

    id: str
    opens_us: int | None
    lasts_us: int
    kind: Kind
    total_minor: int
    packets: int
    min_minor: int
    max_minor: int
    leftover: Leftover
    release_per_s: float | None


class GateSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of the gate that a campaign may set; see `redrush.gate.reader.Limits`."""

    connections_max: int | None = None
    parked_max: int | None = None


class CampaignFile(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign file, validated."""

    id: str
    name: str
    currency: str
    audience: str | None
    """Path of a file with one eligible user id a line; None means that every ticket is eligible."""
    rounds: tuple[RoundSpec, ...]
    gate: GateSpec


class _CampaignTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    name: str
    currency: str
    audience: str | None = None


class _RoundTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    opens: Any  # a TOML instant or "now": msgspec has no union of the two
    lasts: str
    kind: Kind
    total: str
    packets: int
    min: str | None = None
    max: str | None = None
    leftover: Leftover = Leftover.RETURN
    release_per_second: float | None = None


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    campaign: _CampaignTable
    round: list[_RoundTable]
    gate: GateSpec = GateSpec()


class _Wrong(Exception):
    """A key's value is wrong; carries where, for the line number."""

    def __init__(self, path: str, sentence: str) -> None:
        super().__init__(sentence)
        self.path = path


def load_campaign_file(path: Path) -> CampaignFile:
    """Return the campaign that the file states. ConfigError says file, line, key, and what to write instead."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigError(f"{path}: larger than {FILE_BYTES_MAX} bytes; this is no campaign file")
        text = path.read_text(encoding="utf-8")
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from fault
    except UnicodeDecodeError as fault:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {fault.start})") from fault
    return parse_campaign(text, str(path))


def parse_campaign(text: str, name: str) -> CampaignFile:
    """Return the campaign that `text` states; `name` stands for the file in errors."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        sentence, _, at = str(fault).partition(" (at ")
        line = _AT_LINE.match(at)
        where = f"{name}:{line[1] if line else text.count(chr(10)) + 1}"
        raise ConfigError(f"{where}: not valid TOML: {sentence[:1].lower()}{sentence[1:]}") from fault
    except (ValueError, RecursionError) as fault:
        # tomllib lets out what it meets within: numbers of thousands of digits, arrays of thousands of levels.
        raise ConfigError(f"{name}: not valid TOML: a value is too long or nested too deeply") from fault
    try:
        return _campaign(msgspec.convert(tables, _File))
    except msgspec.ValidationError as fault:
        sentence, _, at = str(fault).partition(" - at `")
        path = at.rstrip("`").removeprefix("$.")
        raise ConfigError(_located(text, name, path, _plain(sentence, path))) from None
    except _Wrong as fault:
        raise ConfigError(_located(text, name, fault.path, str(fault))) from None


def _campaign(file: _File) -> CampaignFile:
    table = file.campaign
    _check_id("campaign.id", table.id)
    with _at("campaign.currency"):
        parse_amount("0", table.currency)
    if not 1 <= len(file.round) <= ROUNDS_MAX:
        raise _Wrong("round", f"a campaign has 1 to {ROUNDS_MAX} rounds, this one {len(file.round)}")
    rounds = tuple(_round(f"round[{index}]", entry, table.currency) for index, entry in enumerate(file.round))
    for index, round_ in enumerate(rounds):
        if any(round_.id == other.id for other in rounds[:index]):
            raise _Wrong(f"round[{index}].id", f'the id "{round_.id}" is used twice')
    packets = sum(round_.packets for round_ in rounds)
    if packets > CAMPAIGN_PACKETS_MAX:
        raise _Wrong(
            "round", f"the rounds have {packets:,} packets in all; at most {CAMPAIGN_PACKETS_MAX:,} are possible"
        )
    for key in ("connections_max", "parked_max"):
        value = getattr(file.gate, key)
        if value is not None and value < 1:
            raise _Wrong(f"gate.{key}", "must be at least 1")
    return CampaignFile(
        id=table.id, name=table.name, currency=table.currency, audience=table.audience, rounds=rounds, gate=file.gate
    )


def _round(at: str, table: _RoundTable, currency: str) -> RoundSpec:
    _check_id(f"{at}.id", table.id)
    with _at(f"{at}.lasts"):
        lasts_us = parse_duration_us(table.lasts)
    if lasts_us > LASTS_US_MAX:
        raise _Wrong(f"{at}.lasts", f'"{table.lasts}" is too long: a round lasts at most a year')
    if not 1 <= table.packets <= PACKETS_MAX:
        raise _Wrong(f"{at}.packets", f"must be from 1 to {PACKETS_MAX:,}")
    with _at(f"{at}.total"):
        total_minor = parse_amount(table.total, currency)
    min_minor, max_minor = _bounds(at, table, total_minor, currency)
    with _at(f"{at}.total"):
        check_feasible(
            total_minor,
            table.packets,
            min_minor,
            max_minor,
            lambda minor: format_amount(minor, currency),
        )
    release_per_s = table.release_per_second
    if release_per_s is not None and not 0 < release_per_s <= 1e9:
        raise _Wrong(f"{at}.release_per_second", "must be above 0 packets per second; leave it out for no limit")
    return RoundSpec(
        id=table.id,
        opens_us=_opens_us(at, table.opens),
        lasts_us=lasts_us,
        kind=table.kind,
        total_minor=total_minor,
        packets=table.packets,
        min_minor=min_minor,
        max_minor=max_minor,
        leftover=table.leftover,
        release_per_s=release_per_s,
    )


def _opens_us(at: str, opens: object) -> int | None:
    if opens == NOW:
        return None
    if not isinstance(opens, datetime):
        raise _Wrong(
            f"{at}.opens", f'"{opens}" is not an instant: write 2027-02-06T20:00:00+08:00 (no quotes) or "now"'
        )
    if opens.tzinfo is None:
        raise _Wrong(f"{at}.opens", f"{opens.isoformat()} has no offset: write it like {opens.isoformat()}+08:00")
    if opens.year not in OPENS_YEARS:
        raise _Wrong(f"{at}.opens", f"{opens.year} is not a year of {OPENS_YEARS.start} to {OPENS_YEARS.stop - 1}")
    return to_us(opens)


def _bounds(at: str, table: _RoundTable, total_minor: int, currency: str) -> tuple[int, int]:
    if table.kind is Kind.EQUAL:
        for key in ("min", "max"):
            if getattr(table, key) is not None:
                raise _Wrong(f"{at}.{key}", 'a round of kind "equal" has no bounds; leave it out')
        return total_minor // table.packets, -(-total_minor // table.packets)
    if table.min is None or table.max is None:
        raise _Wrong(at, f'a round of kind "{table.kind}" needs min and max, like min = "0.50" and max = "200.00"')
    with _at(f"{at}.min"):
        min_minor = parse_amount(table.min, currency)
    with _at(f"{at}.max"):
        max_minor = parse_amount(table.max, currency)
    return min_minor, max_minor


def _check_id(at: str, value: str) -> None:
    if _ID.fullmatch(value) is None:
        raise _Wrong(at, f'"{value}" is not an id: 1 to 32 letters, digits, - and _, starting with a letter or digit')


class _at:  # noqa: N801 - reads as a preposition: with _at("round[0].lasts")
    """Turns a rule's ValueError or ImpossibleSplit into a `_Wrong` at this key."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, fault: BaseException | None, _traceback: object) -> None:
        if isinstance(fault, ValueError | ImpossibleSplit):
            raise _Wrong(self._path, str(fault)) from fault


_AT_LINE = re.compile(r"line (\d+)")
_UNKNOWN = re.compile(r"Object contains unknown field `(.+)`")
_MISSING = re.compile(r"Object missing required field `(.+)`")
_ENUM = re.compile(r"Invalid enum value '?(.+?)'?")
_ENUMS: dict[str, type[StrEnum]] = {"kind": Kind, "leftover": Leftover}


def _plain(sentence: str, path: str) -> str:
    """Say what msgspec found at `path` in the words of the file."""
    if found := _UNKNOWN.fullmatch(sentence):
        return f'unknown key "{found[1]}"'
    if found := _MISSING.fullmatch(sentence):
        return f'the key "{found[1]}" is missing'
    if (found := _ENUM.fullmatch(sentence)) and (values := _ENUMS.get(path.rpartition(".")[2])):
        allowed = ", ".join(f'"{value}"' for value in values)
        return f'"{found[1]}" is none of {allowed}'
    return sentence[:1].lower() + sentence[1:]


def _located(text: str, name: str, path: str, sentence: str) -> str:
    """Put file, line and key before the sentence. `path` is like "round[1].total"."""
    key = path
    if unknown := re.fullmatch(r'unknown key "(.+)"', sentence):
        key = f"{path}.{unknown[1]}".lstrip(".")
    lines: dict[str, int] = {}
    for found, number in _lines_of_keys(text):
        lines.setdefault(found, number)
    # The table around it is as near as a line-wise scan comes to a key in a table that is written in one line.
    candidates = (key, path, path.rpartition(".")[0])
    line = next((lines[candidate] for candidate in candidates if candidate in lines), 1)
    return f"{name}:{line}: {key}: {sentence}" if key else f"{name}:{line}: {sentence}"


_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.-]+)\s*\]\]?")
_KEY = re.compile(r"""\s*["']?([A-Za-z0-9_-]+)["']?\s*=""")


def _lines_of_keys(text: str) -> Iterator[tuple[str, int]]:
    """Yield path and line of each table header and key, as far as a line-wise scan can tell."""
    table = ""
    seen: dict[str, Any] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = header[2]
            if header[1] == "[[":
                yield table, number
                seen[table] = seen.get(table, -1) + 1
                table = f"{table}[{seen[table]}]"
            yield table, number
        elif key := _KEY.match(line):
            yield f"{table}.{key[1]}".lstrip("."), number
