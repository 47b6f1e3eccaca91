"""What the page is told of its campaign, as data in the document: public, and all of it known before the opening."""

from collections.abc import Sequence
from typing import Any

from redrush.core.load.client_policy import ClientPolicy
from redrush.core.money.currency import exponent_of, format_amount
from redrush.core.rush.campaign import Campaign, Round
from redrush.page.terms import PageTerms


def content_of(
    campaign: Campaign,
    policy: ClientPolicy,
    terms: PageTerms,
    *,
    proves: bool = False,
    gates: Sequence[str] = ("",),
    state: str = "",
) -> dict[str, Any]:
    """Return the data of the page. `gates` are where claims go, the preferred one first, "" the page's own origin;
    `state` is where the state file is; `proves`: tickets have to be exchanged for a proof of work."""
    return {
        "id": campaign.id,
        "name": campaign.name,
        "zone": campaign.timezone,
        "currency": campaign.currency,
        "digits": exponent_of(campaign.currency),
        "gates": list(gates),
        "state": state,
        "pow": proves,
        "policy": policy,
        "rounds": [_round(campaign, round_, terms) for round_ in campaign.rounds],
        "page": {
            "language": terms.language,
            "title": terms.title,
            "greeting": terms.greeting,
            "rules": terms.rules,
            "login": terms.login,
            "texts": terms.texts,
        },
    }


def _round(campaign: Campaign, round_: Round, terms: PageTerms) -> dict[str, Any]:
    return {
        "id": round_.id,
        "name": terms.names.get(round_.id),
        "kind": "packets",
        "opens": round_.opens_us // 1_000,
        "closes": round_.closes_us // 1_000,
        "packets": round_.slots.count,
        "total": format_amount(round_.total_minor, campaign.currency),
        "min": format_amount(round_.min_minor, campaign.currency),
        "max": format_amount(round_.max_minor, campaign.currency),
        "shake": round_.release_per_s is not None,
    }
