"""The records of the embedded form for people who look through them, while the server writes."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from redrush.core.money.ledger import held_account, pot_account
from redrush.ports.grant_pages import PAGE_MAX, PATIENCE_S, GrantShown, LedgerPage, LedgerPart, PostingShown
from redrush.ports.records import RecordsFailed
from redrush.records.ledger_pages import ledger_page
from redrush.records.sqlite.file import PACKAGE, failures
from redrush.sqlfiles import load_statements

_STEPS = 2_000
"""Instructions of SQLite between two looks at the clock: some tens of microseconds."""


class SqlitePages:
    """Fulfils `redrush.ports.grant_pages.GrantPages` over a connection that cannot write."""

    def __init__(self, path: Path, campaign: str) -> None:
        """Opens nothing yet: the file may come later."""
        self._path = path
        self._campaign = campaign
        self._sql = load_statements(PACKAGE, "looking.sql")
        self._connection: apsw.Connection | None = None

    def page(self, pot: str, after: int, limit: int) -> Sequence[GrantShown]:
        """See the port."""
        return [GrantShown.of(row) for row in self._rows("page", pot=pot, after=after, limit=limit)]

    def of_user(self, user: str, limit: int) -> Sequence[GrantShown]:
        """See the port."""
        return [GrantShown.of(row) for row in self._rows("of_user", user=user, limit=limit)]

    def postings(self, user: str, ids: Sequence[str]) -> Sequence[PostingShown]:
        """See the port. A plain grant's row is its posting."""
        wanted = set(ids)
        granted = [row for row in self._rows("granted", user=user, limit=PAGE_MAX) if row[0] in wanted]
        others = [row for one in ids for row in self._rows("posting", id=one)]
        return [PostingShown.of(row) for row in (*granted, *others)]

    def balances(self, accounts: Sequence[str]) -> dict[str, tuple[int, int]]:
        """See the port."""
        found = {account: list(self._rows("balance", account=account)) for account in accounts}
        return {account: (rows[0][0], rows[0][1]) for account, rows in found.items() if rows}

    def granted(self, pots: Sequence[str]) -> dict[str, int]:
        """See the port. What holds are posted to is not told apart: a pot that holds money is not known."""
        names = [name for pot in pots for name in (pot_account(pot), held_account(pot))]
        sums, moved = self.balances(names), dict(self._rows("moved_on"))
        return {
            pot: sums[account][0] - moved.get(account, 0)
            for pot in pots
            if (account := pot_account(pot)) in sums and held_account(pot) not in sums
        }

    def ledger(self, part: LedgerPart, after: str, limit: int) -> LedgerPage:
        """See the port."""
        return ledger_page(self._rows, part, after, limit)

    def close(self) -> None:
        """See the port."""
        if self._connection is not None:
            self._connection.close(force=True)
            self._connection = None

    def _rows(self, name: str, **values: Any) -> list[tuple[Any, ...]]:
        if not self._path.exists():
            return []  # no server has run yet, and nothing was granted
        with self._asking() as connection:
            return list(connection.execute(self._sql[name], {**values, "campaign": self._campaign}))

    @contextmanager
    def _asking(self) -> Iterator[apsw.Connection]:
        """Yield the connection, which gives up after a while. A file that was put aside is opened anew."""
        deadline_s = time.monotonic() + PATIENCE_S
        try:
            with failures(self._path):
                if self._connection is None:
                    self._connection = apsw.Connection(os.fspath(self._path), flags=apsw.SQLITE_OPEN_READWRITE)
                    self._connection.pragma("query_only", True)
                    self._connection.set_busy_timeout(int(PATIENCE_S * 1e3))
                self._connection.set_progress_handler(lambda: time.monotonic() > deadline_s, _STEPS)
                yield self._connection
        except RecordsFailed:
            self.close()
            raise
