"""The `[group]` table of a campaign file: packets between people, every key with a default."""

from pathlib import Path
from typing import Final

import msgspec

from redrush.config.toml_file import Wrong, wrong_at
from redrush.core.money.currency import format_amount, parse_amount
from redrush.core.money.small_split import SHARES_MAX
from redrush.core.rush.campaign import Kind
from redrush.core.rush.durations import parse_duration_us
from redrush.core.rush.group import BALANCE, GroupTerms

COUNT_MAX: Final = 1_000
"""Shares of a packet: what is larger is a round."""

EXPIRES_US_MAX: Final = 30 * 86_400_000_000


class GroupTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[group]`."""

    kinds: tuple[str, ...] = (Kind.LUCKY.value, Kind.EQUAL.value)
    count_max: int = 100
    share_max: str | None = None
    sender_day_max: str | None = None
    expires: str = "24h"
    pay: str = BALANCE
    followers: str | None = None


def group_terms(table: GroupTable | None, currency: str, directory: Path) -> GroupTerms | None:
    """Return what the table allows; None: no packets between people. `directory` is what a path in it is relative to.
    Raises Wrong for what nobody could do."""
    if table is None:
        return None
    if not table.kinds:
        raise Wrong("group.kinds", f"names no kind; write {' or '.join(repr(str(kind)) for kind in Kind)}")
    for kind in table.kinds:
        if kind not in list(Kind):
            raise Wrong("group.kinds", f'"{kind}" is none of {", ".join(Kind)}')
    if not 1 <= table.count_max <= COUNT_MAX:
        raise Wrong("group.count_max", f"must be from 1 to {COUNT_MAX:,} shares; what is larger is a round")
    assert COUNT_MAX <= SHARES_MAX
    share_minor = _amount("share_max", table.share_max, 20_000, currency)
    day_minor = _amount("sender_day_max", table.sender_day_max, 2_000_000, currency)
    if day_minor < share_minor:
        raise Wrong(
            "group.sender_day_max",
            f"is below share_max, {format_amount(share_minor, currency)}: not one such share could be given a day",
        )
    with wrong_at("group.expires"):
        expires_us = parse_duration_us(table.expires)
    if not 1_000_000 <= expires_us <= EXPIRES_US_MAX:
        raise Wrong("group.expires", f'"{table.expires}" is not from 1 second to 30 days')
    if not table.pay.isprintable() or not table.pay:
        raise Wrong("group.pay", f'is "{BALANCE}", or the name of a provider of the deployment')
    return GroupTerms(
        kinds=tuple(Kind(kind) for kind in dict.fromkeys(table.kinds)),
        count_max=table.count_max,
        share_minor_max=share_minor,
        sender_day_minor_max=day_minor,
        expires_us=expires_us,
        pay=table.pay,
        followers=_followers(table.followers, directory),
    )


def _followers(written: str | None, directory: Path) -> str | None:
    """Return the address, or the absolute path, at which it is asked who follows whom."""
    if written is None or written.startswith(("http://", "https://", "postgresql://")):
        return written
    if not written:
        raise Wrong(
            "group.followers", "is a file with `user,follower` lines, or an address like https://friends.example/"
        )
    return str((directory / written).absolute())


def _amount(key: str, text: str | None, default_minor: int, currency: str) -> int:
    if text is None:
        return default_minor
    with wrong_at(f"group.{key}"):
        minor = parse_amount(text, currency)
    if minor < 1:
        raise Wrong(f"group.{key}", f'"{text}" is nothing: write at least {format_amount(1, currency)}')
    return minor
