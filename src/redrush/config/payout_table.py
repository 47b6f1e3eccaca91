"""The `[payout]` table of campaign files: whether, when and by whom winners are paid."""

import msgspec

from redrush.config.toml_file import Wrong, check_id, wrong_at
from redrush.core.money.currency import parse_amount
from redrush.core.money.payout_terms import PayoutTerms, Policy


class PayoutTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[payout]`; without it balances stay with the campaign."""

    provider: str
    policy: Policy = Policy.WINNER
    threshold: str | None = None
    approve: bool = False


def payout_terms(table: PayoutTable | None, currency: str) -> PayoutTerms | None:
    """Return the terms that the table states. Raises Wrong."""
    if table is None:
        return None
    check_id("payout.provider", table.provider)
    threshold_minor = 1
    if table.threshold is not None:
        if table.policy not in (Policy.THRESHOLD, Policy.END):
            raise Wrong("payout.threshold", f'has no meaning for the policy "{table.policy}"')
        with wrong_at("payout.threshold"):
            threshold_minor = max(1, parse_amount(table.threshold, currency))
    elif table.policy is Policy.THRESHOLD:
        raise Wrong("payout.threshold", 'is missing: from which balance on people are paid, like "10.00"')
    return PayoutTerms(
        policy=table.policy, provider=table.provider, threshold_minor=threshold_minor, approve=table.approve
    )
