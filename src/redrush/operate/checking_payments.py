"""What `redrush check` says of who moves money: whether it knows who asks, and how long so many winners take."""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import msgspec

from redrush.config import (
    CampaignFile,
    DeploymentFile,
    PaymentsFile,
    load_campaign_file,
    load_deployment_file,
    load_payments_file,
)
from redrush.control.campaigns import directory_of, load_listings
from redrush.control.data_dir import DataDir
from redrush.control.event import load_event
from redrush.core.identity.user_ids import visible
from redrush.core.money.payout_terms import PayoutTerms
from redrush.core.rush.draw import PrizeKind
from redrush.errors import ConfigError, RedrushError
from redrush.operate.merchants import doubts_of, payouts_last_s, prove


class _Campaign(msgspec.Struct, frozen=True):
    """A campaign whose winners are to be paid."""

    id: str
    currency: str
    terms: PayoutTerms | None
    winners: int


def check_payments(file: Path, payments: Path, now_us: Callable[[], int]) -> tuple[dict[str, Any], list[str]]:
    """Return whether the providers of a payments file know who asks, and how long the campaign's payouts take.

    ConfigError for the first mistake, RedrushError for a provider that does not answer as it should.
    """
    campaign = load_campaign_file(file)
    one = _Campaign(campaign.id, campaign.currency, campaign.payout, _wins(campaign, {PrizeKind.MONEY}))
    fields, lines = _checked(load_payments_file(payments), [one], now_us)
    return {**fields, "payouts_last_s": fields["payouts_last_s"].get(campaign.id)}, lines


def check_deployed_payments(
    file: Path, payments: Path | None, now_us: Callable[[], int]
) -> tuple[dict[str, Any], list[str]]:
    """Do the same for a deployment: its payments file, unless another is given, and the campaigns that are sealed in
    its directory. Nothing is said of one without a payments file."""
    deployment = load_deployment_file(file)
    named = payments or deployment.payments.file
    if named is None:
        return {}, []
    return _checked(load_payments_file(named), list(_sealed_in(deployment)), now_us)


def _wins(campaign: CampaignFile, kinds: Collection[PrizeKind]) -> int:
    """Return how many wins there may be of what holds one of these. Units of a sale are sold, not won."""
    wins = 0
    for round_ in campaign.rounds:
        if round_.draw is not None:
            wins += sum(prize.count for prize in round_.draw.prizes if prize.holds in kinds)
        elif round_.sale is None and PrizeKind.MONEY in kinds:
            wins += round_.packets
    return wins


def _sealed_in(deployment: DeploymentFile) -> Iterator[_Campaign]:
    """Yield the campaigns of a deployment; none if its directory is not on this machine."""
    first = DataDir(deployment.data)
    if not first.event.exists():
        return
    others = [directory_of(first, listing.id) for listing in load_listings(first) if listing.ended_at is None]
    for data_dir in (first, *others):
        event = load_event(data_dir)
        campaign = event.sealed.campaign
        winners = sum(1 for amount_minor in event.sealed.amounts if amount_minor)
        yield _Campaign(campaign.id, campaign.currency, event.open.payout, winners)


def _checked(
    file: PaymentsFile, campaigns: list[_Campaign], now_us: Callable[[], int]
) -> tuple[dict[str, Any], list[str]]:
    last_s: dict[str, float] = {}
    more = []
    for campaign in campaigns:
        if (terms := campaign.terms) is None:
            continue
        lasts_s = payouts_last_s(file, terms.provider, campaign.winners)
        if lasts_s is None:
            raise ConfigError(f"{file.path}: has no provider {terms.provider!r}, which [payout] of {campaign.id} names")
        last_s[campaign.id] = lasts_s
        of = f" of {campaign.id}" if len(campaigns) > 1 else ""
        lasts = f"{campaign.winners:,} wins take {lasts_s / 60:,.1f} minutes at least"
        more.append(f"  payouts{of}: {terms.policy}, by {terms.provider}; {lasts}")
    proven = prove(file, campaigns[0].currency if campaigns else "", now_us)
    if failed := [f"provider {one.provider} ({one.kind}): {one.why_not}" for one in proven if one.why_not is not None]:
        raise RedrushError("; ".join(failed))
    warnings = doubts_of(file)
    lines = [f"  provider {one.provider} ({one.kind}): {one.shows}" for one in proven]
    lines += [*more, *(f"  warning: {visible(warning)}" for warning in warnings)]
    return {"providers": msgspec.to_builtins(proven), "payouts_last_s": last_s, "warnings": warnings}, lines
