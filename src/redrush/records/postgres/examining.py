"""The rows of a database with records, for whoever reconciles it while recorders write."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import psycopg

from redrush.ports.examined import Counts, GrantFound, Place, PostingRow
from redrush.ports.log_rows import Row
from redrush.records.postgres.link import Cursor, Link
from redrush.sqlfiles import load_statements

ALARMS_MAX: Final = 10
"""Changes by others told in words at a time; the latest."""

EXAMINED_MAX_S: Final = 300.0
"""Longest a question may take: that for the counts reads every grant."""

GRACE_S: Final = 5.0
"""So much longer than the server gives itself it is waited for."""


class ExaminedLog:
    """Fulfils `redrush.ports.examined.Examined` for one log, within the transaction of the cursor."""

    digests_users = True

    def __init__(self, cursor: Cursor, sql: dict[str, str], log: str, campaign: str) -> None:
        self._cursor = cursor
        self._sql = sql
        self._named = {"log": log, "campaign": campaign}
        cursor.execute(sql["one_state"].encode())
        found = self._rows("examined_cursor")
        self.cursor: int = found[0][0] if found else 0
        self.chain: str | None = found[0][1] if found else None

    def journal(self, after: int, limit: int) -> list[Row]:
        """See the port."""
        return self._rows("examined_journal", after=after, limit=limit, cursor=self.cursor)

    def grants(self, places: Sequence[Place]) -> list[GrantFound]:
        """See the port."""
        pots, firsts, counts = ([place[column] for place in places] for column in range(3))
        return self._rows("examined_grants", pots=pots, firsts=firsts, counts=counts)

    def postings(self, ids: Iterable[str]) -> dict[str, PostingRow]:
        """See the port."""
        return {row[0]: row[1:] for row in self._rows("examined_postings", ids=list(ids))}

    def counts(self) -> Counts:
        """See the port."""
        return Counts(*self._rows("examined_counts")[0])

    def _rows(self, name: str, **values: Any) -> list[Any]:
        return self._cursor.execute(self._sql[name].encode(), {**self._named, **values}).fetchall()


class ExaminedDatabase:
    """Fulfils `redrush.ports.examined.Examinable` for one log, over a connection of its own. Calls come one by one."""

    def __init__(self, dsn: str, log: str) -> None:
        """Connects to nothing yet."""
        self._log = log
        self._sql = load_statements("redrush.records.postgres", "examining.sql")
        self._link = Link(dsn, self._greet, EXAMINED_MAX_S + GRACE_S)
        self._alarms: int | None = None

    @contextmanager
    def examined(self, campaign: str) -> Iterator[ExaminedLog]:
        """See the port."""
        with self._link.transaction() as cursor:
            yield ExaminedLog(cursor, self._sql, self._log, campaign)

    def changed_by_others(self) -> list[str]:
        """See the port. Statements of whoever is no recorder are noted by triggers."""
        with self._link.transaction() as cursor:
            ((count,),) = cursor.execute(self._sql["alarms"].encode()).fetchall()
            seen, self._alarms = self._alarms, count
            if seen is None or seen >= count:
                return []
            limit = {"limit": min(count - seen, ALARMS_MAX)}
            found = cursor.execute(self._sql["latest_alarms"].encode(), limit).fetchall()
        return [f"{self._link.name}: {what} by {who} at {at}, who is no recorder" for what, who, at in found]

    def close(self) -> None:
        """Close the connection. Waits for a question under way."""
        self._link.close()

    def _greet(self, connection: psycopg.Connection[Any]) -> None:
        bound = {"milliseconds": str(int(EXAMINED_MAX_S * 1_000))}
        connection.execute(self._sql["bound_examination"].encode(), bound)
        connection.execute(self._sql["by_index"].encode())
