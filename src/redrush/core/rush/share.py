"""What winners of a round may share: a group packet for their friends, paid by the sponsor, one for each grant."""

import msgspec

SHARE_PREFIX = "share:"
"""What the names of requests begin with by which packets of winners are created, before the grant's id; a person's own
request has another name."""


class ShareTerms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`[round.share]`: what each grant of the round lets its winner share. Amounts are minor units.

    A campaign gives at most `total_minor` for each slot of the round, and that is known at the seal.
    """

    total_minor: int
    count: int
    equal: bool = False
    """Whether all shares are alike; else they are lucky."""
    expires_us: int = 86_400_000_000
    greeting: str = ""
