"""The books of a deployment: tables in PostgreSQL, all of one state, read as an outsider would."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg

from redrush.settle.reconcile.book_rows import AccountRow, BillRow, OrderRow, PacketRow, PostingRow
from redrush.settle.reconcile.postgres import FETCHED_ROWS, Row, connection_to
from redrush.sqlfiles import load_statements

TABLES: Final = {"bills": "bills", "packets": "packets", "orders": "sale_orders"}


class BookTables:
    """Fulfils `redrush.settle.reconcile.book_rows.Books`. Made by `one_state_of_tables`."""

    def __init__(self, connection: psycopg.Connection[Row], sql: dict[str, str], campaign: str) -> None:
        self._connection = connection
        self._sql = sql
        self._campaign = campaign
        self._readings = 0
        self._there = {str(name) for (name,) in connection.execute(sql["there"].encode())}

    def bills(self) -> Iterator[BillRow]:
        """See the protocol."""
        return map(BillRow._make, self._rows("bills"))

    def postings(self) -> Iterator[PostingRow]:
        """See the protocol."""
        return map(PostingRow._make, self._rows("bill_postings"))

    def accounts(self) -> Iterator[AccountRow]:
        """See the protocol."""
        return map(AccountRow._make, self._rows("bill_accounts"))

    def packets(self) -> Iterator[PacketRow]:
        """See the protocol."""
        return map(PacketRow._make, self._rows("packets"))

    def orders(self) -> Iterator[OrderRow]:
        """See the protocol."""
        return map(OrderRow._make, self._rows("sale_orders"))

    def name(self, what: str) -> str:
        """See the protocol."""
        return f"the table {TABLES[what]}"

    def mend(self, what: str) -> str:
        """See the protocol."""
        return (
            f"the table alarms of the database of [payments] says who changed {self.name(what)} by hand, and when; "
            "put it right from a backup of the database"
        )

    def _rows(self, table: str) -> Iterator[Any]:
        if table not in self._there:
            return
        self._readings += 1
        with self._connection.cursor(f"book_{self._readings}") as cursor:
            cursor.itersize = FETCHED_ROWS
            yield from cursor.execute(self._sql[table].encode(), {"campaign": self._campaign})


@contextmanager
def one_state_of_tables(dsn: str, name: str, campaign: str) -> Iterator[BookTables]:
    """Read the books of a campaign as they are now, whatever is written meanwhile. Raises RedrushError, in the block
    too."""
    with connection_to(dsn, name) as (connection, _):
        sql = load_statements(__package__, "book_tables.sql")
        connection.execute(sql["begin"].encode())
        yield BookTables(connection, sql, campaign)
