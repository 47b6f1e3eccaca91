"""The rows of a records file, for whoever reconciles it while the recorder writes."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import apsw
import msgspec

from redrush.ports.examined import Counts, GrantFound, Place, PostingRow
from redrush.ports.log_rows import Row

_encode = msgspec.json.Encoder().encode

NOBODY: Final = -1
"""The number of a campaign that the file does not know."""


class ExaminedFile:
    """Fulfils `redrush.ports.examined.Examined`, within the transaction that the connection has begun."""

    digests_users = False

    def __init__(self, connection: apsw.Connection, sql: dict[str, str], campaign: str) -> None:
        self._connection = connection
        self._sql = sql
        number = connection.execute(sql["campaign_number"], {"name": campaign}).fetchone()
        self._of_campaign = {"campaign": NOBODY if number is None else number[0], "name": campaign}
        ((self.cursor, chain),) = self._rows("examined_cursor")
        self.chain: str | None = chain

    def journal(self, after: int, limit: int) -> list[Row]:
        """See the port."""
        return self._rows("examined_journal", after=after, limit=limit)

    def grants(self, places: Sequence[Place]) -> list[GrantFound]:
        """See the port."""
        return self._rows("examined_grants", places=_encode(places).decode())

    def postings(self, ids: Iterable[str]) -> dict[str, PostingRow]:
        """See the port."""
        return {row[0]: row[1:] for row in self._rows("examined_postings", ids=_encode(list(ids)).decode())}

    def counts(self) -> Counts:
        """See the port."""
        return Counts(*self._rows("examined_counts")[0])

    def _rows(self, name: str, **values: Any) -> list[Any]:
        return self._connection.execute(self._sql[name], {**self._of_campaign, **values}).fetchall()
