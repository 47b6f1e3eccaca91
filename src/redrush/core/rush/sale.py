"""What is sealed of a flash sale, and when units that came back are offered again.

Units that came back are gathered and offered together, every `return_every_us` from the opening on. Who finds all units
held is told the next such instant, and nobody has to ask in between: one at a time they would make "sold out" flap.
"""

from typing import Final

import msgspec

HOLD_GRACE_US: Final = 15 * 60 * 1_000_000
"""A hold may outlast its round by this much. What comes back later than the close can be sold to nobody."""

LIMIT_PER_USER_MAX: Final = 100
"""Units of one user, each claimed by a request of its own."""


class SaleTerms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A sale as it is sealed: `price_minor` for each unit, which is held for `hold_us` until it is paid."""

    price_minor: int
    hold_us: int
    return_every_us: int
    limit_per_user: int = 1
    admit_first: int | None = None
    """So many users are let through to the store; all others are told that it has ended. None: everybody."""
    secret_url: bool = False
    """Whether claims have to name a key that is drawn at the opening."""
    pay: str | None = None
    """Who takes the money, as a payments file names them; None: the only one that is named there."""
    shop: str | None = None
    """Whose order system is handed what is sold, by the same file; None: nobody's."""
    items: tuple[str, ...] = ()
    """The ids of what is sold, one for each slot; none: the units are all alike."""


def next_chance_us(opens_us: int, return_every_us: int, now_us: int) -> int:
    """Return the next instant after `now_us` at which units that came back are offered."""
    passed = max(0, now_us - opens_us) // return_every_us
    return opens_us + (passed + 1) * return_every_us


def request_of(unit: int) -> str:
    """Return the name of the request by which a user claims their `unit`-th unit, from 1. The first has none, as the
    claim of whoever may have but one."""
    return "" if unit == 1 else str(unit)


def units_of(terms: SaleTerms) -> list[str]:
    """Return the requests that a user may have claimed units by."""
    return [request_of(unit) for unit in range(1, terms.limit_per_user + 1)]
