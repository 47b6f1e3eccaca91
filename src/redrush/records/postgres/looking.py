"""The records of a deployment for people who look through them, while recorders write."""

from collections.abc import Sequence
from typing import Any

import psycopg

from redrush.core.money.ledger import held_account, pot_account
from redrush.ports.grant_pages import PAGE_MAX, PATIENCE_S, GrantShown, LedgerPage, LedgerPart, PostingShown
from redrush.records.ledger_pages import ledger_page
from redrush.records.postgres.link import Link
from redrush.sqlfiles import load_statements

ROUND = pot_account("")
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
        """See the port. Plain grants are added from the sums of their pots; where holds are of money, they are posted
        one by one, and are in the sums of postings already."""
        pots = {account.removeprefix(ROUND): account for account in accounts if account.startswith(ROUND)}
        asked = [*accounts, *map(held_account, pots)]
        sums = {account: (int(out), int(into)) for account, out, into in self._rows("sums", accounts=asked)}
        for pot, minor in self.granted(list(pots)).items():
            if held_account(pot) not in sums:
                out, into = sums.get(pots[pot], (0, 0))
                sums[pots[pot]] = (out + minor, into)
        return {account: sums[account] for account in accounts if account in sums}

    def granted(self, pots: Sequence[str]) -> dict[str, int]:
        """See the port."""
        return dict(self._rows("totals", pots=list(pots)))

    def ledger(self, part: LedgerPart, after: str, limit: int) -> LedgerPage:
        """See the port."""
        return ledger_page(self._rows, part, after, limit)

    def close(self) -> None:
        """See the port."""
        self._link.close()

    def _rows(self, name: str, **values: Any) -> list[Any]:
        with self._link.transaction() as cursor:
            return cursor.execute(self._sql[name].encode(), {**values, "campaign": self._campaign}).fetchall()

    def _greet(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute(self._sql["bound"].encode(), {"milliseconds": str(int(PATIENCE_S * 1_000))})
