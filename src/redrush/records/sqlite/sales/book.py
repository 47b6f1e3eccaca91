"""Orders of sales in a SQLite file of their own.

Apart from `records.db`, which is a projection, synced at checkpoints only and put aside where it is damaged: to whom
money is due stands nowhere else, so each commit here is synced (`synchronous=FULL`). One commit takes many orders.
"""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import apsw
import msgspec

from redrush.errors import ConfigError
from redrush.ports.sale_book import BookFailed, SaleOrder, State
from redrush.sqlfiles import load_statements

APPLICATION_ID = 0x52525353
"""In the file's header ("RRSS"): no other SQLite file is taken for a book of sales."""
VERSION = 1
BUSY_WAIT_MS = 5_000

_decode = msgspec.json.Decoder(SaleOrder).decode


class SqliteSaleBook:
    """Fulfils `redrush.ports.sale_book.SaleBook`. Calls may come from any thread."""

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        self._path = path
        self._connection = connection
        self._sql = load_statements(__package__, "queries.sql")
        self._lock = threading.Lock()

    @classmethod
    def open_path(cls, path: Path) -> Self:
        """Open the book at `path`, or begin one. Raises ConfigError for a file of something else, BookFailed."""
        with suppress(OSError):
            os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        sql = load_statements(__package__, "queries.sql")
        with _failures(path):
            connection = apsw.Connection(os.fspath(path))
            connection.set_busy_timeout(BUSY_WAIT_MS)
            found = connection.pragma("application_id"), connection.pragma("user_version")
            if found == (0, 0) and not connection.execute("SELECT count(*) FROM sqlite_schema").get:
                with connection:
                    connection.execute(sql["create"])
                    connection.pragma("application_id", APPLICATION_ID)
                    connection.pragma("user_version", VERSION)
            elif found != (APPLICATION_ID, VERSION):
                connection.close()
                raise ConfigError(
                    f"{path} is no book of sales that this redrush reads (version {VERSION}): put back the right file "
                    "from a backup, or use the redrush that wrote it"
                )
            connection.pragma("journal_mode", "wal")
            connection.pragma("synchronous", "full")
        return cls(path, connection)

    def keep(self, orders: Sequence[SaleOrder]) -> list[SaleOrder | None]:
        """See the port."""
        kept: list[SaleOrder | None] = []
        with self._using() as connection, connection:
            for order in orders:
                fresh = msgspec.structs.replace(order, version=order.version + 1)
                name = "update" if order.version else "insert"
                connection.execute(self._sql[name], _columns(order, fresh))
                kept.append(fresh if connection.changes() else None)
        return kept

    def get(self, order_id: str) -> SaleOrder | None:
        """See the port."""
        return self._one("get", id=order_id)

    def of_hold(self, pot: str, slot: int, number: int) -> SaleOrder | None:
        """See the port."""
        return self._one("of_hold", pot=pot, slot=slot, number=number)

    def of_user(self, user: str) -> list[SaleOrder]:
        """See the port."""
        return self._several("of_user", user=user)

    def due(self, now_us: int, limit: int) -> list[SaleOrder]:
        """See the port."""
        return self._several("due", now_us=now_us, limit=limit)

    def holds_known(self, holds: Sequence[tuple[str, int, int]]) -> set[tuple[str, int, int]]:
        """See the port."""
        asked = {"holds": msgspec.json.encode(holds).decode()}
        with self._using() as connection:
            return {(pot, slot, number) for pot, slot, number in connection.execute(self._sql["holds_known"], asked)}

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
            self._connection.close()

    def _one(self, name: str, **asked: Any) -> SaleOrder | None:
        found = self._several(name, **asked)
        return found[0] if found else None

    def _several(self, name: str, **asked: Any) -> list[SaleOrder]:
        with self._using() as connection:
            rows = connection.execute(self._sql[name], asked).fetchall()
        return [_decode(str(body)) for (body,) in rows]

    @contextmanager
    def _using(self) -> Iterator[apsw.Connection]:
        with self._lock, _failures(self._path):
            yield self._connection


def _columns(order: SaleOrder, fresh: SaleOrder) -> dict[str, Any]:
    return {
        "id": order.id,
        "version": order.version,
        "pot": order.pot,
        "slot": order.slot,
        "number": order.number,
        "user": order.user,
        "state": order.state.value,
        "due_us": order.due_us,
        "body": msgspec.json.encode(fresh).decode(),
    }


@contextmanager
def _failures(path: Path) -> Iterator[None]:
    try:
        yield
    except apsw.Error as fault:
        raise BookFailed(f"{path}: {fault}") from fault
