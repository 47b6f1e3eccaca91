"""The records of a deployment for people who look through them, while recorders write."""

from collections.abc import Sequence
from typing import Any

import psycopg

from redrush.ports.grant_pages import PAGE_MAX, PATIENCE_S, GrantShown, PostingShown
from redrush.records.postgres.link import Link
from redrush.sqlfiles import load_statements

GRACE_S = 1.0
"""So much longer than the server gives itself it is waited for."""


class PostgresPages:
    """Fulfils `redrush.ports.grant_pages.GrantPages` over a connection that cannot write."""

    def __init__(self, dsn: str, campaign: str) -> None:
        """Connects to nothing yet."""
        self._campaign = campaign
        self._sql = load_statements("redrush.records.postgres", "looking.sql")
        self._link = Link(dsn, self._greet, PATIENCE_S + GRACE_S)

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
        return [PostingShown.of(row) for row in (*granted, *self._rows("postings", ids=list(ids)))]

    def balances(self, accounts: Sequence[str]) -> dict[str, tuple[int, int]]:
        """See the port. The database keeps no sums by account: none is told."""
        return {}

    def close(self) -> None:
        """See the port."""
        self._link.close()

    def _rows(self, name: str, **values: Any) -> list[Any]:
        with self._link.transaction() as cursor:
            return cursor.execute(self._sql[name].encode(), {**values, "campaign": self._campaign}).fetchall()

    def _greet(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute(self._sql["bound"].encode(), {"milliseconds": str(int(PATIENCE_S * 1_000))})
