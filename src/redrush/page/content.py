"""What the page is told of its campaign, as data in the document: public, and all of it known before the opening.

Clocks of the event's zone and the sign of its currency are among it: the first date or amount that a browser formats
by itself keeps a slow telephone busy for a tenth of a second, and old browsers know no "+08:00".
"""

from collections.abc import Sequence
from typing import Any, Final

from redrush.core.load.client_policy import ClientPolicy
from redrush.core.money.currency import exponent_of, format_amount
from redrush.core.rush.campaign import Campaign, Round
from redrush.core.rush.draw import PrizeKind
from redrush.core.rush.group import WORD_SIGNS_MAX, WORD_SIGNS_MIN, GroupTerms
from redrush.core.rush.zones import offsets_of, parse_zone
from redrush.page.sounds import sounds_told
from redrush.page.terms import PageTerms

SIGNS: Final = {
    "CNY": "¥", "HKD": "$", "TWD": "NT$", "USD": "$", "EUR": "€", "GBP": "£", "SGD": "$", "MYR": "RM", "THB": "฿",
    "IDR": "Rp", "PHP": "₱", "INR": "₹", "AUD": "$", "CAD": "$", "JPY": "¥", "KRW": "₩", "VND": "₫",
}  # fmt: skip
"""The narrow signs of currencies, as CLDR has them. The others are told by their code."""

_AROUND_S: Final = 366 * 86_400
"""Clocks are told from so long before the first opening until so long after the last end: rounds may be moved."""
_CLOCKS_MAX_S: Final = 10 * _AROUND_S
"""And for no longer than that; later instants are told by the last clock."""


def content_of(
    campaign: Campaign,
    policy: ClientPolicy,
    terms: PageTerms,
    *,
    proves: bool = False,
    group: GroupTerms | None = None,
    gates: Sequence[str] = ("",),
    state: str = "",
) -> dict[str, Any]:
    """Return the data of the page. `gates` are where claims go, the preferred one first, "" the page's own origin;
    `state` is where the state file is; `proves`: tickets have to be exchanged for a proof of work; `group`: what
    packets between people may be, None: there are none."""
    sending = (
        None
        if group is None
        else {"kinds": [str(kind) for kind in group.kinds], "word": [WORD_SIGNS_MIN, WORD_SIGNS_MAX]}
    )
    return {
        "id": campaign.id,
        "name": campaign.name,
        "rehearsal": campaign.rehearsal,
        "clocks": _clocks(campaign),
        "currency": campaign.currency,
        "sign": SIGNS.get(campaign.currency, f"{campaign.currency} "),
        "digits": exponent_of(campaign.currency),
        "gates": list(gates),
        "state": state,
        "pow": proves,
        "group": sending,
        "policy": policy,
        "rounds": [_round(campaign, round_, terms) for round_ in campaign.rounds],
        "page": {
            "language": terms.language,
            "title": terms.title,
            "greeting": terms.greeting,
            "rules": terms.rules,
            "login": terms.login,
            "renew": terms.renew,
            "offline": terms.offline,
            "texts": terms.texts,
            "sounds": sounds_told(campaign.id, terms.sounds),
        },
    }


def _clocks(campaign: Campaign) -> list[tuple[int, int]]:
    """Return the clocks of the event's zone: (since when in ms, minutes ahead of UTC)."""
    from_s = min(round_.opens_us for round_ in campaign.rounds) // 1_000_000 - _AROUND_S
    until_s = max(round_.closes_us for round_ in campaign.rounds) // 1_000_000 + _AROUND_S
    clocks = offsets_of(parse_zone(campaign.timezone), from_s, min(until_s, from_s + _CLOCKS_MAX_S))
    return [(since_s * 1_000, minutes) for since_s, minutes in clocks]


def _round(campaign: Campaign, round_: Round, terms: PageTerms) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": round_.id,
        "name": terms.names.get(round_.id),
        "opens": round_.opens_us // 1_000,
        "closes": round_.closes_us // 1_000,
        "shake": round_.release_per_s is not None,
    }
    if round_.line is not None:
        told["line"] = {"opens_before_ms": round_.line.opens_before_us // 1_000, "order": round_.line.order}
    return told | _of_kind(campaign, round_)


def _of_kind(campaign: Campaign, round_: Round) -> dict[str, Any]:
    def money(minor: int) -> str:
        return format_amount(minor, campaign.currency)

    if (draw := round_.draw) is not None:
        prizes = [
            {"name": prize.name, "count": prize.count, "odds": prize.odds}
            | ({"amount": money(prize.each_minor)} if prize.holds is PrizeKind.MONEY else {})
            for prize in draw.prizes
        ]
        return {"kind": "draw", "prizes": prizes, "plays": {"per_user": draw.per_user, "per_day": draw.per_day}}
    if (sale := round_.sale) is not None:
        held = {"limit": sale.limit_per_user, "hold_ms": sale.hold_us // 1_000, "secret": sale.secret_url}
        held |= {"shop": sale.shop is not None}
        return {"kind": "sale", "units": round_.slots.count, "price": money(sale.price_minor), **held}
    return {
        "kind": "packets",
        "packets": round_.slots.count,
        "total": money(round_.total_minor),
        "min": money(round_.min_minor),
        "max": money(round_.max_minor),
        "share": round_.share is not None,
    }
