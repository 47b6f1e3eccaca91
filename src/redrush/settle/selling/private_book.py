"""A book of orders in which addresses are hidden, whatever keeps it (`redrush.ports.veil`)."""

from collections.abc import Mapping, Sequence

import msgspec

from redrush.ports.sale_book import HoldKey, SaleBook, SaleOrder, State
from redrush.ports.veil import Veil


class PrivateSaleBook:
    """Fulfils `redrush.ports.sale_book.SaleBook` over another. Calls may also raise what the veil raises."""

    def __init__(self, book: SaleBook, veil: Veil) -> None:
        self._book = book
        self._veil = veil

    def hide_old(self) -> int:
        """Hide what a release before has written down; return how many orders that were. Reads them all. Raises what
        the veil does, if it cannot hide or read an address: no order that has one could be written down any more."""
        plain = [
            order for order in self._book.all() if order.address and self._veil.show(order.address) == order.address
        ]
        self._book.keep([self._hidden(order) for order in plain])
        return len(plain)

    def forget(self, before_us: int, user: str | None = None) -> tuple[int, int]:
        """Remove the addresses of orders that came into their state before that and are settled, of one user or of all;
        return how many were removed, and how many of theirs are still needed. Reads all orders, or all of the user."""
        orders = self._book.all() if user is None else self._book.of_user(user)
        known = [order for order in orders if order.address is not None and order.since_us < before_us]
        settled = [msgspec.structs.replace(order, address=None) for order in known if order.settled]
        removed = sum(order is not None for order in self._book.keep(settled))
        return removed, len(known) - removed

    def keep(self, orders: Sequence[SaleOrder]) -> list[SaleOrder | None]:
        """See the port."""
        kept = self._book.keep([self._hidden(order) for order in orders])
        return [
            None if fresh is None else msgspec.structs.replace(fresh, address=order.address)
            for order, fresh in zip(orders, kept, strict=True)
        ]

    def get(self, order_id: str) -> SaleOrder | None:
        """See the port."""
        return self._one(self._book.get(order_id))

    def of_user(self, user: str) -> list[SaleOrder]:
        """See the port."""
        return [self._shown(order) for order in self._book.of_user(user)]

    def due(self, now_us: int, limit: int) -> list[SaleOrder]:
        """See the port."""
        return [self._shown(order) for order in self._book.due(now_us, limit)]

    def holds_known(self, holds: Sequence[HoldKey]) -> set[HoldKey]:
        """See the port."""
        return self._book.holds_known(holds)

    def counts(self) -> Mapping[State, int]:
        """See the port."""
        return self._book.counts()

    def all(self) -> list[SaleOrder]:
        """See the port."""
        return [self._shown(order) for order in self._book.all()]

    def close(self) -> None:
        """See the port."""
        self._book.close()

    def _one(self, order: SaleOrder | None) -> SaleOrder | None:
        return None if order is None else self._shown(order)

    def _shown(self, order: SaleOrder) -> SaleOrder:
        if order.address is None:
            return order
        return msgspec.structs.replace(order, address=self._veil.show(order.address))

    def _hidden(self, order: SaleOrder) -> SaleOrder:
        if order.address is None:
            return order
        return msgspec.structs.replace(order, address=self._veil.hide(order.address))
