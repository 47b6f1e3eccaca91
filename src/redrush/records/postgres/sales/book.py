"""Orders of a campaign's sales in PostgreSQL: a call is one transaction, however many orders it is about.

Several processes may use a book at once: an order is changed only from the version that was read, so of two that lead
it on one is first, and the other is told so.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from redrush.core.nobody import ignore
from redrush.ports.sale_book import BookFailed, HoldKey, SaleOrder, State
from redrush.records.postgres.book import PostgresBook, failing_as, json_rows, one_each
from redrush.records.postgres.link import Cursor, Link
from redrush.records.postgres.migrations import Tell

_decode = msgspec.json.Decoder(SaleOrder).decode


class PostgresSaleBook(PostgresBook):
    """Fulfils `redrush.ports.sale_book.SaleBook` for one campaign. Calls may come from any thread; reads wait for no
    write. ConfigError for a database that cannot be used."""

    def __init__(self, dsn: str, campaign: str, *, tell: Tell = ignore, as_it_is: bool = False) -> None:
        """Connects to nothing yet."""
        super().__init__(__package__, dsn, {"campaign": campaign}, tell, as_it_is=as_it_is)

    def keep(self, orders: Sequence[SaleOrder]) -> list[SaleOrder | None]:
        """See the port."""
        kept: list[SaleOrder | None] = [None] * len(orders)
        with self._using(self._writer) as at:
            for batch in one_each(list(enumerate(orders)), key=lambda one: one[1].id):
                changed = self._written(at, [order for _, order in batch])
                for place, order in batch:
                    if order.id in changed:
                        kept[place] = msgspec.structs.replace(order, version=order.version + 1)
        return kept

    def _written(self, at: Cursor, orders: Sequence[SaleOrder]) -> set[str]:
        """Write these down, each of another id; return the ids of those of which nobody else was first."""
        changed: set[str] = set()
        for name in ("insert", "update"):
            some = [_columns(order) for order in orders if (order.version > 0) is (name == "update")]
            if some:
                changed.update(id_ for (id_,) in self._run(at, name, orders=json_rows(some)))
        return changed

    def get(self, order_id: str) -> SaleOrder | None:
        """See the port."""
        return self._one("get", id=order_id)

    def of_user(self, user: str) -> list[SaleOrder]:
        """See the port."""
        return self._several("of_user", user=user)

    def due(self, now_us: int, limit: int) -> list[SaleOrder]:
        """See the port."""
        return self._several("due", now_us=now_us, limit=limit)

    def holds_known(self, holds: Sequence[HoldKey]) -> set[HoldKey]:
        """See the port."""
        asked = [dict(zip(("set", "pot", "slot", "number"), hold, strict=True)) for hold in holds]
        return {tuple(row) for row in self._rows("holds_known", holds=json_rows(asked))}

    def counts(self) -> Mapping[State, int]:
        """See the port."""
        return {State(state): count for state, count in self._rows("counts")}

    def all(self) -> list[SaleOrder]:
        """See the port."""
        return self._several("all")

    def _one(self, name: str, **asked: Any) -> SaleOrder | None:
        found = self._several(name, **asked)
        return found[0] if found else None

    def _several(self, name: str, **asked: Any) -> list[SaleOrder]:
        return [_decode(body) for (body,) in self._rows(name, **asked)]

    def _rows(self, name: str, **asked: Any) -> list[Any]:
        with self._using(self._reader) as at:
            return self._run(at, name, **asked).fetchall()

    @contextmanager
    def _using(self, link: Link) -> Iterator[Cursor]:
        with failing_as(BookFailed), link.transaction() as at:
            yield at


def _columns(order: SaleOrder) -> dict[str, Any]:
    set_, pot, slot, number = order.hold
    fresh = msgspec.structs.replace(order, version=order.version + 1)
    return {
        "id": order.id,
        "version": order.version,
        "set": set_,
        "pot": pot,
        "slot": slot,
        "number": number,
        "user": order.user,
        "state": order.state.value,
        "due_us": order.due_us,
        "body": msgspec.json.encode(fresh).decode(),
    }
