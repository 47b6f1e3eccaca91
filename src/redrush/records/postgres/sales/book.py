"""Orders of a campaign's sales in PostgreSQL: a call is one transaction, however many orders it is about.

Several processes may use a book at once: an order is changed only from the version that was read, so of two that lead
it on one is first, and the other is told so.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import psycopg

from redrush.core.nobody import ignore
from redrush.errors import ConfigError, RedrushError
from redrush.ports.sale_book import BookFailed, HoldKey, SaleOrder, State
from redrush.records.postgres.greeting import QUERY_MAX_S, reading, writing
from redrush.records.postgres.link import ANSWER_MAX_S, Cursor, Link
from redrush.records.postgres.migrations import Tell
from redrush.sqlfiles import load_statements

_decode = msgspec.json.Decoder(SaleOrder).decode


class PostgresSaleBook:
    """Fulfils `redrush.ports.sale_book.SaleBook` for one campaign. Calls may come from any thread; reads wait for no
    write. ConfigError for a database that cannot be used."""

    def __init__(
        self,
        dsn: str,
        campaign: str,
        *,
        answer_max_s: float = ANSWER_MAX_S,
        query_max_s: float = QUERY_MAX_S,
        tell: Tell = ignore,
    ) -> None:
        """Connects to nothing yet."""
        self._campaign = campaign
        self._sql = {name: text.encode() for name, text in load_statements(__package__, "queries.sql").items()}
        self._writer = writing(dsn, answer_max_s, tell, self._greet)
        self._reader = reading(dsn, query_max_s, tell, self._greet)

    def keep(self, orders: Sequence[SaleOrder]) -> list[SaleOrder | None]:
        """See the port."""
        kept: list[SaleOrder | None] = [None] * len(orders)
        waiting = list(enumerate(orders))
        with self._using(self._writer) as at:
            while waiting:  # once, unless an order stands several times in the call
                now: dict[str, tuple[int, SaleOrder]] = {}
                later = [one for one in waiting if now.setdefault(one[1].id, one) is not one]
                changed = self._written(at, [order for _, order in now.values()])
                for place, order in now.values():
                    if order.id in changed:
                        kept[place] = msgspec.structs.replace(order, version=order.version + 1)
                waiting = later
        return kept

    def _written(self, at: Cursor, orders: Sequence[SaleOrder]) -> set[str]:
        """Write these down, each of another id; return the ids of those of which nobody else was first."""
        changed: set[str] = set()
        for name in ("insert", "update"):
            some = [_columns(order) for order in orders if (order.version > 0) is (name == "update")]
            if some:
                rows = msgspec.json.encode(some).decode()
                changed.update(id_ for (id_,) in at.execute(self._sql[name], self._named({"orders": rows})))
        return changed

    def get(self, order_id: str) -> SaleOrder | None:
        """See the port."""
        return self._one("get", id=order_id)

    def of_hold(self, hold: HoldKey) -> SaleOrder | None:
        """See the port."""
        set_, pot, slot, number = hold
        return self._one("of_hold", set=set_, pot=pot, slot=slot, number=number)

    def of_user(self, user: str) -> list[SaleOrder]:
        """See the port."""
        return self._several("of_user", user=user)

    def due(self, now_us: int, limit: int) -> list[SaleOrder]:
        """See the port."""
        return self._several("due", now_us=now_us, limit=limit)

    def holds_known(self, holds: Sequence[HoldKey]) -> set[HoldKey]:
        """See the port."""
        asked = [dict(zip(("set", "pot", "slot", "number"), hold, strict=True)) for hold in holds]
        return {tuple(row) for row in self._rows("holds_known", holds=msgspec.json.encode(asked).decode())}

    def counts(self) -> Mapping[State, int]:
        """See the port."""
        return {State(state): count for state, count in self._rows("counts")}

    def all(self) -> list[SaleOrder]:
        """See the port."""
        return self._several("all")

    def close(self) -> None:
        """See the port."""
        self._writer.close()
        self._reader.close()

    def _one(self, name: str, **asked: Any) -> SaleOrder | None:
        found = self._several(name, **asked)
        return found[0] if found else None

    def _several(self, name: str, **asked: Any) -> list[SaleOrder]:
        return [_decode(body) for (body,) in self._rows(name, **asked)]

    def _rows(self, name: str, **asked: Any) -> list[Any]:
        with self._using(self._reader) as at:
            return at.execute(self._sql[name], self._named(asked)).fetchall()

    def _named(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {"campaign": self._campaign, **values}

    def _greet(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute(self._sql["by_index"])

    @contextmanager
    def _using(self, link: Link) -> Iterator[Cursor]:
        try:
            with link.transaction() as at:
                yield at
        except ConfigError:
            raise
        except RedrushError as fault:
            raise BookFailed(str(fault)) from fault


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
