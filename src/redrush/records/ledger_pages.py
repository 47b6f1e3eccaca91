"""A page of the ledger, by the statements of any database."""

from collections.abc import Sequence
from typing import Any, Protocol

from redrush.ports.grant_pages import LOOKED_MAX, LedgerPage, LedgerPart, PostingShown


class Rows(Protocol):
    """The rows of a statement that has a name."""

    def __call__(self, name: str, **values: Any) -> Sequence[Sequence[Any]]:
        """Return them."""


def ledger_page(rows: Rows, part: LedgerPart, after: str, limit: int) -> LedgerPage:
    """Return the page (`redrush.ports.grant_pages.GrantPages.ledger`)."""
    first, end = part.bounds(after)
    if not part.account:
        found = [PostingShown.of(row) for row in rows("ledger", first=first, end=end, limit=limit + 1)]
        return LedgerPage(found[:limit], found[limit - 1].id if len(found) > limit else None)
    of_account = rows(
        "ledger_of_account", first=first, end=end, account=part.account, limit=limit + 1, looked=LOOKED_MAX
    )
    found = [PostingShown.of(row) for row in of_account]
    if len(found) > limit:
        return LedgerPage(found[:limit], found[limit - 1].id)
    ((last,),) = rows("last_looked_at", first=first, end=end, looked=LOOKED_MAX)
    goes_on = last is not None and rows("ledger", first=part.bounds(last)[0], end=end, limit=1)
    return LedgerPage(found, last if goes_on else None)
