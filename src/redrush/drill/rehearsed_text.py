"""A campaign file as it is played in a dry run: the same rounds, kinds and stock, soon and for seconds, and nothing of
it reaches anybody outside: no payouts, no messages, no shop, no provider but the sandbox's.

What stands in the way of a crowd that comes from one machine and knows no list goes too: the audience, limits by
address, the price of a ticket, the line before a round. What was left out is told with the result.
"""

from pathlib import Path
from typing import Any, Final

import msgspec
import tomlkit

from redrush.core.rush.instants import rfc3339

ROUNDS_MAX: Final = 8
"""Rounds that are played, the first ones of the file; each takes its seconds."""
TABLES_OUT: Final = ("payout", "message", "playbook", "rule", "page", "tickets", "admission", "gate")
CAMPAIGN_OUT: Final = ("audience", "blocked")
ROUND_OUT: Final = ("every", "until", "line", "pay", "shop", "secret_url", "share")
LISTS: Final = (".csv", ".txt")
LIMITS_OFF: Final = ("user_per_second", "address_per_second", "connections_per_address_max")


class Rehearsed(msgspec.Struct, frozen=True):
    """The text that is played, when its rounds open, and what of the file was left out."""

    text: str
    rounds: tuple[tuple[str, int], ...]
    """Id and opening, µs since the epoch."""
    left_out: tuple[str, ...]
    sells: bool
    """Whether it needs a payments file."""


def rehearsed(text: str, directory: Path, first_us: int, lasts_s: int, apart_s: int) -> Rehearsed:
    """Return the file to be played, whose first round opens at `first_us`, each for `lasts_s`, one every `apart_s`.
    `directory` is what paths in the text are relative to; the text is a campaign file that was checked."""
    document: Any = tomlkit.parse(text)
    out = [f"[{name}]" for name in TABLES_OUT if document.pop(name, None) is not None]
    out += [f"campaign.{key}" for key in CAMPAIGN_OUT if document["campaign"].pop(key, None) is not None]
    rounds = document["round"]
    if len(rounds) > ROUNDS_MAX:
        out.append(f"rounds after the first {ROUNDS_MAX}")
        del rounds[ROUNDS_MAX:]
    opens = []
    for number, round_ in enumerate(rounds):
        out += [f"round.{key}" for key in ROUND_OUT if round_.pop(key, None) is not None]
        at_us = first_us + number * apart_s * 1_000_000
        round_["opens"] = tomlkit.value(rfc3339(at_us))
        round_["lasts"] = f"{lasts_s}s"
        if "return_every" in round_:
            round_["return_every"] = "1s"
        opens.append((str(round_["id"]), at_us))
    if "group" in document:
        out.append("[group]")
        document.pop("group")
    _beside(document, directory)
    document["limits"] = dict.fromkeys(LIMITS_OFF, "off")
    sells = any(str(one.get("kind")) == "sale" for one in rounds)
    return Rehearsed(tomlkit.dumps(document), tuple(opens), tuple(dict.fromkeys(out)), sells)


def _beside(value: Any, directory: Path) -> None:
    """Let each list be named by its whole path."""
    if isinstance(value, list):
        for one in value:
            _beside(one, directory)
    elif isinstance(value, dict):
        for key, one in list(value.items()):
            if isinstance(one, str) and one.endswith(LISTS):
                value[key] = str(directory / one)
            else:
                _beside(one, directory)
