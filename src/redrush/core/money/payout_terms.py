"""When what people won goes to their wallets: a campaign's `[payout]`."""

from enum import StrEnum

import msgspec


class Policy(StrEnum):
    """Who starts a payout."""

    WINNER = "winner"
    """Whoever won, by a call."""
    AUTO = "auto"
    """Each win, as soon as it is recorded."""
    THRESHOLD = "threshold"
    """A balance that has come to an amount."""
    END = "end"
    """The end of the campaign: every balance."""


class PayoutTerms(msgspec.Struct, frozen=True, kw_only=True):
    """`provider` names one of the payments file; `threshold_minor` is the smallest balance that is paid by itself.

    `approve`: a person has to release each payout (`redrush payout release`).
    """

    policy: Policy
    provider: str
    threshold_minor: int = 1
    approve: bool = False
