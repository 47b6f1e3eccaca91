"""What somebody has seen before saying yes: so many things, which come to so much. If either is another by now, nothing
is done."""

import msgspec

from redrush.core.money.currency import format_amount
from redrush.errors import RedrushError


class Seen(msgspec.Struct, frozen=True):
    """How many things there were, and what they came to, in minor units; None: that was not said."""

    count: int
    total_minor: int | None = None

    def check(self, what: str, count: int, total_minor: int, currency: str) -> None:
        """RedrushError unless there are as many of `what` now, and they come to as much."""
        if count != self.count:
            raise RedrushError(f"there are {count:,} {what} by now, not {self.count:,}: nothing was done, look again")
        if self.total_minor not in (None, total_minor):
            now, was = (format_amount(minor, currency) for minor in (total_minor, self.total_minor))
            raise RedrushError(f"they come to {now} {currency} by now, not {was}: nothing was done, look again")
