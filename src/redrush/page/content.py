"""What the page is told of its campaign, as data in the document: public, and all of it known before the opening."""

from collections.abc import Sequence
from typing import Any

from redrush.core.load.client_policy import ClientPolicy
from redrush.core.money.currency import exponent_of, format_amount
from redrush.core.rush.campaign import Campaign, Round
from redrush.core.rush.draw import PrizeKind
from redrush.core.rush.group import GroupTerms
from redrush.page.terms import PageTerms


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
    sending = None if group is None else {"kinds": [str(kind) for kind in group.kinds]}
    return {
        "id": campaign.id,
        "name": campaign.name,
        "zone": campaign.timezone,
        "currency": campaign.currency,
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
            "texts": terms.texts,
        },
    }


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
