"""What a campaign file says otherwise than what was sealed of it, in sentences."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from redrush.config import CampaignFile
from redrush.core.money.currency import format_amount
from redrush.core.rush.campaign import Campaign, Kind
from redrush.core.rush.instants import rfc3339

NAMES: Final = {
    "opens_us": "opens",
    "lasts_us": "lasts",
    "kind": "kind",
    "total_minor": "total",
    "packets": "packets",
    "min_minor": "min",
    "max_minor": "max",
    "leftover": "leftover",
    "release_per_s": "release_per_second",
    "share": "share",
    "line": "line",
    "draw": "prizes and plays",
}
"""The keys of a campaign file, by what they are here."""

PARTS: Final = ("share", "line", "draw")
"""What only some rounds have: left out of the others, so that the hash of a file that has none stays what it was."""

Written = dict[str, Any]
"""A round as the file has it: the fields of `redrush.config.RoundSpec`."""


def rounds_of(source: CampaignFile | Campaign) -> list[Written]:
    """Return the rounds in the order of the file.

    Of a sealed campaign nobody knows any more which opening was written as "now".
    """
    if isinstance(source, CampaignFile):
        return [msgspec.to_builtins(round_) for round_ in source.rounds]
    return [
        {
            "id": round_.id,
            "opens_us": round_.opens_us,
            "lasts_us": round_.closes_us - round_.opens_us,
            "kind": str(round_.kind),
            "total_minor": round_.total_minor,
            "packets": round_.slots.count,
            "min_minor": round_.min_minor,
            "max_minor": round_.max_minor,
            "leftover": str(round_.leftover),
            "release_per_s": round_.release_per_s,
            "opens_text": rfc3339(round_.opens_us),
            **{part: msgspec.to_builtins(its) for part in PARTS if (its := getattr(round_, part)) is not None},
        }
        for round_ in sorted(source.rounds, key=lambda round_: round_.slots.first)
    ]


def differences_of(sealed: tuple[str, str], rounds: Sequence[Written], file: CampaignFile) -> list[str]:
    """Return what differs between what was sealed (id and currency, and the rounds) and the file."""
    told = [
        f'{key}: sealed "{before}", in the file "{now}"'
        for key, before, now in zip(("id", "currency"), sealed, (file.id, file.currency), strict=True)
        if before != now
    ]
    before_by_id = {round_["id"]: round_ for round_ in rounds}
    now_by_id = {round_["id"]: round_ for round_ in rounds_of(file)}
    for round_id, before in before_by_id.items():
        if (now := now_by_id.get(round_id)) is None:
            told.append(f'round "{round_id}" is sealed, and not in the file')
        else:
            told += _between(round_id, before, now, (sealed[1], file.currency))
    told += [
        f'round "{round_id}" is in the file, and not sealed' for round_id in now_by_id if round_id not in before_by_id
    ]
    if not told and list(before_by_id) != list(now_by_id):
        told.append(f"the order of the rounds: sealed {', '.join(before_by_id)}, in the file {', '.join(now_by_id)}")
    return told


def _between(round_id: str, before: Written, now: Written, currencies: tuple[str, str]) -> list[str]:
    told = []
    for key, name in NAMES.items():
        if before.get(key) == now.get(key) or (name in {"min", "max"} and before["kind"] == now["kind"] == Kind.EQUAL):
            continue
        was, is_ = (shown(key, written, currency) for written, currency in zip((before, now), currencies, strict=True))
        told.append(f'round "{round_id}", {name}: sealed {was}, in the file {is_}')
    return told


def shown(key: str, written: Written, currency: str) -> str:
    """Return a value of a round in words."""
    value = written.get(key)
    if key == "opens_us":
        return str(written["opens_text"])
    if value is None:
        return "nothing"
    if key == "lasts_us":
        return f"{value / 1e6:g} s"
    if key == "draw":
        return _draw_in_words(value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {its}" for name, its in value.items())
    return format_amount(value, currency) if key.endswith("_minor") else str(value)


def _draw_in_words(draw: dict[str, Any]) -> str:
    prizes = (
        " ".join(f"{key} {prize[key]}" for key in ("id", "count", *sorted(prize.keys() - {"id", "name", "count"})))
        for prize in draw["prizes"]
    )
    rest = (f"{key} {its}" for key, its in draw.items() if key != "prizes")
    return "; ".join((*prizes, *rest))
