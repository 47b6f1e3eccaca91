"""Orders of sales in a SQLite file of their own.

Apart from `records.db`, which is a projection, synced at checkpoints only and put aside where it is damaged: to whom
money is due stands nowhere else, so each commit here is synced (`synchronous=FULL`). One commit takes many orders.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import apsw
import msgspec

from redrush.ports.journal import digest
from redrush.ports.sale_book import BookFailed, HoldKey, SaleOrder, State
from redrush.records.sqlite.book_mark import MarkedBook
from redrush.records.sqlite.file import Book, book_failures, open_as_it_is, open_durable
from redrush.sqlfiles import load_statements

_SQL: Final = load_statements(__package__, "queries.sql")
BOOK: Final = Book("a book of sales", "units were sold", 0x52525353, {1: _SQL["create"], 2: _SQL["with_digest"]})

_decode = msgspec.json.Decoder(SaleOrder).decode


class SqliteSaleBook:
    """Fulfils `redrush.ports.sale_book.SaleBook`. Calls may come from any thread."""

    def __init__(self, path: Path, marked: MarkedBook) -> None:
        self._path = path
        self._marked = marked
        self._connection = marked.connection
        self._sql = _SQL
        self._lock = threading.Lock()

    @classmethod
    def open_path(cls, path: Path) -> Self:
        """Open the book at `path`, or begin one. ConfigError as of `open_durable`."""
        return cls(path, open_durable(path, BOOK))

    @classmethod
    def open_as_it_is(cls, path: Path) -> Self:
        """Open the book for a command. ConfigError as of `redrush.records.sqlite.file.open_as_it_is`."""
        return cls(path, open_as_it_is(path, BOOK))

    def keep(self, orders: Sequence[SaleOrder]) -> list[SaleOrder | None]:
        """See the port."""
        kept: list[SaleOrder | None] = []
        with self._using() as connection, self._marked.committing():
            for order in orders:
                fresh = msgspec.structs.replace(order, version=order.version + 1)
                name = "update" if order.version else "insert"
                connection.execute(self._sql[name], _columns(order, fresh))
                kept.append(fresh if connection.changes() else None)
        return kept

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
        named = {(_pot(set_, pot), slot, number): (set_, pot, slot, number) for set_, pot, slot, number in holds}
        asked = {"holds": msgspec.json.encode(list(named)).decode()}
        with self._using() as connection:
            rows = connection.execute(self._sql["holds_known"], asked).fetchall()
        return {named[str(pot), int(str(slot)), int(str(number))] for pot, slot, number in rows}

    def counts(self) -> Mapping[State, int]:
        """See the port."""
        with self._using() as connection:
            return {State(state): count for state, count in connection.execute(self._sql["counts"])}

    def all(self) -> list[SaleOrder]:
        """See the port."""
        return self._several("all")

    def close(self) -> None:
        """See the port."""
        with self._lock:
            self._marked.close()

    def _one(self, name: str, **asked: Any) -> SaleOrder | None:
        found = self._several(name, **asked)
        return found[0] if found else None

    def _several(self, name: str, **asked: Any) -> list[SaleOrder]:
        with self._using() as connection:
            rows = connection.execute(self._sql[name], asked).fetchall()
            return [_decode(str(body)) for (body,) in rows]

    @contextmanager
    def _using(self) -> Iterator[apsw.Connection]:
        with self._lock, book_failures(self._path, BookFailed):
            yield self._connection


def _pot(set_: str, pot: str) -> str:
    """Return what holds are looked for by: no id has a space in it."""
    return f"{set_} {pot}" if set_ else pot


def _columns(order: SaleOrder, fresh: SaleOrder) -> dict[str, Any]:
    body = msgspec.json.encode(fresh)
    return {
        "id": order.id,
        "version": order.version,
        "pot": _pot(order.set, order.pot),
        "slot": order.slot,
        "number": order.number,
        "user": order.user,
        "state": order.state.value,
        "due_us": order.due_us,
        "body": body.decode(),
        "digest": digest(body),
    }
