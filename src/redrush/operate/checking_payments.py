"""What `redrush check` says of who moves money and who tells winners: whether they know who asks, and how long so many
winners take."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from redrush.config import (
    CampaignFile,
    DeploymentFile,
    PaymentsFile,
    load_deployment_file,
    load_payments_file,
)
from redrush.control.campaigns import directory_of, load_listings
from redrush.control.data_dir import DataDir
from redrush.control.event import load_event
from redrush.core.identity.user_ids import visible
from redrush.core.money.payout_terms import PayoutTerms
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.draw import PrizeKind
from redrush.core.rush.group import BALANCE, GroupTerms
from redrush.core.rush.sale import SaleTerms
from redrush.errors import ConfigError, RedrushError
from redrush.operate.merchants import Proven, doubts_of, lasts_s, payouts_last_s, prove
from redrush.operate.proving_notifiers import prove_notifiers
from redrush.settle.selling.steps import lacking


class _Campaign(msgspec.Struct, frozen=True):
    """A campaign whose winners are to be paid."""

    id: str
    currency: str
    terms: PayoutTerms | None
    winners: int
    tellers: tuple[str, ...] = ()
    """Notifiers that its messages are to be sent by."""
    sales: Mapping[str, SaleTerms] = {}
    """By round."""
    packets_by: str = BALANCE
    """Who takes the money for packets between people."""


def check_payments(
    campaign: CampaignFile, payments: Path, now_us: Callable[[], int]
) -> tuple[dict[str, Any], list[str]]:
    """Return whether the providers and notifiers of a payments file know who asks, and how long it takes to pay the
    campaign's winners and to tell them.

    ConfigError for the first mistake, RedrushError for whoever does not answer as they should.
    """
    named = load_payments_file(payments)
    messages_last_s = _messages_last_s(named, campaign)
    one = _Campaign(
        campaign.id, campaign.currency, campaign.payout, _wins(campaign, {PrizeKind.MONEY}),
        sales=_sales(campaign), packets_by=_packets_by(campaign.group),
    )  # fmt: skip
    fields, lines = _checked(named, [one], now_us)
    proven = _proven_notifiers(named, now_us, lines)
    for terms in campaign.messages:
        told = f"{_wins(campaign, terms.of):,} wins take {messages_last_s[terms.by] / 60:,.1f} minutes at least"
        lines.append(f"  messages about {', '.join(terms.of)}: by {terms.by}; {told}")
    return {
        **fields,
        "payouts_last_s": fields["payouts_last_s"].get(campaign.id),
        "notifiers": proven,
        "messages_last_s": messages_last_s,
    }, lines


def needs_payments(campaign: CampaignFile) -> list[str]:
    """Return what of a campaign waits for a payments file."""
    needs = [f"sale {name}" for name, sale in _sales(campaign).items() if sale.price_minor]
    needs += [] if campaign.payout is None else ["[payout]"]
    needs += [] if _packets_by(campaign.group) == BALANCE else ["packets between people"]
    return needs + [f"messages about {', '.join(terms.of)}" for terms in campaign.messages]


def check_deployed_payments(
    file: Path, payments: Path | None, now_us: Callable[[], int]
) -> tuple[dict[str, Any], list[str]]:
    """Do the same for a deployment: its payments file, unless another is given, and the campaigns that are sealed in
    its directory. Nothing is said of one without a payments file."""
    deployment = load_deployment_file(file)
    named = payments or deployment.payments.file
    if named is None:
        return {}, []
    file_, campaigns = load_payments_file(named), list(_sealed_in(deployment))
    for campaign in campaigns:
        _refuse_strange(file_, campaign.id, campaign.tellers)
    fields, lines = _checked(file_, campaigns, now_us)
    return {**fields, "notifiers": _proven_notifiers(file_, now_us, lines)}, lines


def _proven_notifiers(file: PaymentsFile, now_us: Callable[[], int], lines: list[str]) -> Any:
    """Return how the file's notifiers answered, as builtins, with a line for each. RedrushError for one that does
    not."""
    proven = prove_notifiers(file.notifiers, now_us)
    _refuse_silent("notifier", [(one.notifier, one.kind, one.why_not) for one in proven])
    lines += [f"  notifier {one.notifier} ({one.kind}): {one.shows}" for one in proven]
    return msgspec.to_builtins(proven)


def _refuse_strange(payments: PaymentsFile, campaign_id: str, tellers: Iterable[str]) -> None:
    """ConfigError for a notifier that the payments file does not have."""
    known = {one.name for one in payments.notifiers}
    if strange := [by for by in tellers if by not in known]:
        raise ConfigError(
            f"{payments.path}: has no notifier {strange[0]!r}, which a [[message]] of {campaign_id} names"
        )


def _messages_last_s(payments: PaymentsFile, campaign: CampaignFile) -> dict[str, float]:
    """Return how long each notifier takes for what the campaign wants told. ConfigError for a notifier that is none."""
    _refuse_strange(payments, campaign.id, [terms.by for terms in campaign.messages])
    per_s = {one.name: one.messages_per_s for one in payments.notifiers}
    return {terms.by: lasts_s(_wins(campaign, terms.of), per_s[terms.by]) for terms in campaign.messages}


def _refuse_silent(what: str, answers: Iterable[tuple[str, str, str | None]]) -> None:
    """Raise RedrushError if any of them, a name with its kind and why not, does not answer as it should."""
    if failed := [f"{what} {name} ({kind}): {why_not}" for name, kind, why_not in answers if why_not is not None]:
        raise RedrushError("; ".join(failed))


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
        tellers = tuple(terms.by for terms in event.open.messages)
        yield _Campaign(
            campaign.id, campaign.currency, event.open.payout, winners, tellers,
            _sales(campaign), _packets_by(event.open.group),
        )  # fmt: skip


def _sales(campaign: CampaignFile | Campaign) -> dict[str, SaleTerms]:
    return {one.id: one.sale for one in campaign.rounds if one.sale is not None}


def _packets_by(group: GroupTerms | None) -> str:
    return BALANCE if group is None else group.pay


def _refuse_unpaid(file: PaymentsFile, campaigns: Iterable[_Campaign], proven: Iterable[Proven]) -> None:
    """ConfigError for a sale, or packets between people, whose money nobody of the file takes, or whose shop it has
    not."""
    take_money = {one.provider for one in proven if one.takes_money}
    shops = {one.provider for one in proven if one.is_shop}
    for campaign in campaigns:
        lacks = lacking(campaign.sales, take_money, shops)
        if campaign.packets_by != BALANCE and campaign.packets_by not in take_money:
            lacks.append(f'packets cannot be paid: it has no provider "{campaign.packets_by}" that takes money')
        if lacks:
            raise ConfigError(f"{file.path}: does not fit {campaign.id}: {'; '.join(lacks)}")


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
    _refuse_unpaid(file, campaigns, proven)
    _refuse_silent("provider", [(one.provider, one.kind, one.why_not) for one in proven])
    warnings = doubts_of(file)
    lines = [f"  provider {one.provider} ({one.kind}): {one.shows}" for one in proven]
    lines += [*more, *(f"  warning: {visible(warning)}" for warning in warnings)]
    return {"providers": msgspec.to_builtins(proven), "payouts_last_s": last_s, "warnings": warnings}, lines
