"""The sets' records of a deployment, on PostgreSQL: in one database, or in several.

Apart from the stores, for gates and settlement have these alone: they load no client of a database.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from redrush.config.deployment_file import SetSpec
from redrush.core.rush.holding import PotTables
from redrush.ports.records import Balance
from redrush.ports.store import LogRecord
from redrush.records.postgres import PostgresRecords
from redrush.records.postgres.greeting import QUERY_MAX_S
from redrush.records.postgres.link import ANSWER_MAX_S
from redrush.settle.noted_tables import NotedTables
from redrush.settle.pages import ReadLog
from redrush.watch.log import server_log

Notes = Callable[[int, int], Sequence[tuple[int, str, str]]]
"""Returns seq, pot and note of pots that a log opened above a seq, in order, up to so many. Blocks; raises
RecordsFailed."""


def open_records(
    spec: SetSpec, query_max_s: float = QUERY_MAX_S, answer_max_s: float = ANSWER_MAX_S, *, as_it_is: bool = False
) -> PostgresRecords:
    """Return the records that the set's log goes to; `as_it_is` for a command that looks. Connects to nothing yet;
    reads the DSN."""
    return PostgresRecords(
        spec.records.read(),
        spec.id,
        query_max_s=query_max_s,
        answer_max_s=answer_max_s,
        tell=server_log().info,
        as_it_is=as_it_is,
    )


class RecordedWins:
    """What winners of a campaign have won, as its sets' logs are recorded. Calls that block are made in threads."""

    def __init__(self, sets: Sequence[SetSpec]) -> None:
        """Connects to nothing yet."""
        self._of_sets = {spec.id: open_records(spec) for spec in sets}
        databases = {spec.records.read(): spec.id for spec in sets}
        self._databases = [self._of_sets[set_id] for set_id in databases.values()]

    def balance(self, campaign: str, account: str) -> Balance:
        """Return what is posted to the account, in all databases. Blocks; raises RecordsFailed."""
        parts = [records.balance(campaign, account) for records in self._databases]
        return Balance(sum(part.debits_minor for part in parts), sum(part.credits_minor for part in parts))

    async def recorded(self) -> int:
        """Return how many records of the sets' logs are counted in: it only grows. Raises RecordsFailed."""
        cursors = await asyncio.gather(*(asyncio.to_thread(records.cursor) for records in self._of_sets.values()))
        return sum(cursors)

    def notes(self) -> dict[str, Notes]:
        """Return what reads, for each set, the pots that were opened with a note, as they are recorded."""
        return {set_id: records.notes for set_id, records in self._of_sets.items()}

    def tables(self, set_id: str, others: PotTables) -> PotTables:
        """Return what finds the tables of pots whose notes are in the set's log, and of others where `others` does."""
        return NotedTables(self._of_sets[set_id].note_of, others).table

    def records(self) -> dict[str, PostgresRecords]:
        """Return the records of each set."""
        return dict(self._of_sets)

    def logs(self) -> dict[str, ReadLog]:
        """Return what reads the log of each set, as it is recorded."""
        return {set_id: self._reader(records.journal_page) for set_id, records in self._of_sets.items()}

    @staticmethod
    def _reader(page: Callable[[int, int], Sequence[LogRecord]]) -> ReadLog:
        def read(after: int, limit: int) -> Awaitable[Sequence[LogRecord]]:
            return asyncio.to_thread(page, after, limit)

        return read

    def close(self) -> None:
        """Release the connections. Waits for calls under way."""
        for records in self._of_sets.values():
            records.close()
