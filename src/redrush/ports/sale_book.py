"""The book of a sale's orders: what became of each hold that somebody paid for, gave back, or let expire.

Not a projection: nothing else remembers to whom money is due. Every change is durable when the call returns. All calls
block. All adapters pass one suite, `tests/conformance/test_sale_books.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from redrush.core.rush.sale_order import HoldKey, SaleOrder, State
from redrush.errors import RedrushError

__all__ = ["BookFailed", "HoldKey", "SaleBook", "SaleOrder", "State"]


class BookFailed(RedrushError):
    """The book cannot be read or written now. Of what was to be kept it is unknown whether it was: read it again."""


class SaleBook(Protocol):
    """See the module. Every call may raise BookFailed."""

    def keep(self, orders: Sequence[SaleOrder]) -> list[SaleOrder | None]:
        """Write each down if it is still of the version that it says (0: there is none yet), durably and all in one
        step; return it with its new version, or None where somebody else was first. A hold stands in one order only."""

    def get(self, order_id: str) -> SaleOrder | None:
        """Return an order."""

    def of_user(self, user: str) -> list[SaleOrder]:
        """Return a user's orders, in the order in which they were begun."""

    def due(self, now_us: int, limit: int) -> list[SaleOrder]:
        """Return orders that are to be looked at by now, those first that have waited longest."""

    def holds_known(self, holds: Sequence[HoldKey]) -> set[HoldKey]:
        """Return those of these holds that stand in the book."""

    def counts(self) -> Mapping[State, int]:
        """Return how many orders are in each state."""

    def all(self) -> list[SaleOrder]:
        """Return every order, for reports and audits."""

    def close(self) -> None:
        """Release what is open."""
