"""`[round.share]` of a campaign file: what a winner shares with friends."""

from typing import Literal

import msgspec

from redrush.config.toml_file import Wrong, wrong_at
from redrush.core.money.currency import format_amount, parse_amount
from redrush.core.rush.durations import parse_duration_us
from redrush.core.rush.group import GREETING_SIGNS_MAX
from redrush.core.rush.share import ShareTerms

COUNT_MAX = 1_000
EXPIRES_US_MAX = 30 * 86_400_000_000


class ShareTable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[round.share]`; see docs/how-to/group.md."""

    total: str
    count: int
    kind: Literal["lucky", "equal"] = "lucky"
    expires: str = "24h"
    greeting: str = ""

    def terms(self, at: str, currency: str) -> ShareTerms:
        """Return what is shared. Raises Wrong for what nobody could have a part of."""
        with wrong_at(f"{at}.total"):
            total_minor = parse_amount(self.total, currency)
        if not 1 <= self.count <= COUNT_MAX:
            raise Wrong(f"{at}.count", f"must be from 1 to {COUNT_MAX:,} shares")
        if total_minor < self.count:
            least = format_amount(self.count, currency)
            raise Wrong(f"{at}.total", f'"{self.total}" is too little: {self.count} shares need at least {least}')
        with wrong_at(f"{at}.expires"):
            expires_us = parse_duration_us(self.expires)
        if not 1_000_000 <= expires_us <= EXPIRES_US_MAX:
            raise Wrong(f"{at}.expires", f'"{self.expires}" is not from 1 second to 30 days')
        if len(self.greeting) > GREETING_SIGNS_MAX or not self.greeting.isprintable():
            raise Wrong(f"{at}.greeting", f"is up to {GREETING_SIGNS_MAX} signs that can be seen")
        return ShareTerms(
            total_minor=total_minor,
            count=self.count,
            equal=self.kind == "equal",
            expires_us=expires_us,
            greeting=self.greeting,
        )
