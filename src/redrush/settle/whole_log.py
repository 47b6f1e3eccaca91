"""Logs of which the records hold the beginning and the store the rest, put together without a gap, while both change.

What the store has is read first and the journal afterwards: whatever was trimmed meanwhile was recorded before, so the
journal has it. What both have counts once.
"""

import asyncio
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from heapq import merge
from typing import Final, Protocol

import msgspec

from redrush.core.rush.holding import PotTables
from redrush.ports.store import (
    Confirmed,
    Grant,
    Granted,
    LogRecord,
    Opened,
    Released,
    Scattered,
    Store,
    StoreUnavailable,
    grants_of,
)
from redrush.settle.noted_tables import NotedTables

PAGE_RECORDS: Final = 512
"""Log records that are read at a time; each holds up to a few hundred users."""


class Journalled(Protocol):
    """Records that keep the log they were made from."""

    def cursor(self) -> int:
        """Return the seq of the last record they hold, 0 before the first."""

    def journal(self, after: int = 0) -> Generator[LogRecord, None, None]:
        """Yield the records with seq > `after`, in order, of one state. Who stops in the middle closes it."""

    def note_of(self, pot: str) -> str | None:
        """Return what they say that the pot was opened with; None: nothing."""

    def notes(self, after: int, limit: int) -> Sequence[tuple[int, str, str]]:
        """Return seq, pot and note of up to so many pots that were opened with one above this seq, in order."""


class WholeLog(msgspec.Struct, frozen=True):
    """A log as of the reading of its tail. All calls block."""

    journalled: Journalled
    tail: list[LogRecord]

    def records(self) -> Generator[LogRecord, None, None]:
        """Yield every record in order of seq. Who stops in the middle closes it."""
        seq = 0
        with closing(self.journalled.journal()) as journal:
            for record in journal:
                seq = record.seq
                yield record
        yield from (record for record in self.tail if record.seq > seq)

    def note_of(self, pot: str) -> str | None:
        """Return what the log says that the pot was opened with; None: nothing."""
        late = (record.note for record in self._noted() if record.pot == pot)
        return next(late, None) or self.journalled.note_of(pot)

    def has_notes(self) -> bool:
        """Whether any pot was opened with a note."""
        return any(self._noted()) or bool(self.journalled.notes(0, 1))

    def _noted(self) -> Iterator[Opened]:
        """Yield what the tail has opened with a note."""
        return (record for record in self.tail if isinstance(record, Opened) and record.note)


def permanent_of(record: LogRecord) -> Iterator[Grant]:
    """Yield every grant that is permanent by the record, in order: what it confirms, or makes and does not hold."""
    if isinstance(record, Confirmed):
        yield from record.holds
    else:
        yield from (grant for grant in grants_of(record) if not grant.number)


def permanent_grants(log: Iterable[LogRecord]) -> Iterator[Granted | Scattered]:
    """Yield what a log from its beginning says of permanent grants, in the order in which they became so.

    A hold that was confirmed is a grant of the instant at which it was made: that is what its user's receipt says.
    """
    held: dict[tuple[str, int, int], int] = {}
    for record in log:
        if isinstance(record, Granted):
            yield record
        elif isinstance(record, Scattered):
            held |= {_hold(grant): record.at_us for grant in record.grants if grant.number}
            if granted := tuple(grant for grant in record.grants if not grant.number):
                yield Scattered(record.seq, granted, record.at_us)
        elif isinstance(record, Confirmed):
            for hold in record.holds:
                granted = (Grant(hold.pot, hold.user, hold.slot, hold.request),)
                yield Scattered(record.seq, granted, held.pop(_hold(hold), record.at_us))
        elif isinstance(record, Released):
            for hold in record.holds:
                held.pop(_hold(hold), None)


def _hold(grant: Grant) -> tuple[str, int, int]:
    return grant.pot, grant.slot, grant.number


async def read_to_end(store: Store, after: int) -> list[LogRecord]:
    """Return all records of the store with seq > `after`. Raises what `Store.log` raises."""
    found: list[LogRecord] = []
    while True:
        page = await store.log(found[-1].seq if found else after, PAGE_RECORDS)
        found += page
        if len(page) < PAGE_RECORDS:
            return found


Away = Callable[[Store, StoreUnavailable], None]
"""Hears of a store that cannot be read."""


class LogsOfSets:
    """The whole logs of all sets of a campaign, as of the reading of their tails. All calls block."""

    def __init__(self, logs: Sequence[WholeLog]) -> None:
        self._logs = logs

    @contextmanager
    def granted(self, others: PotTables) -> Iterator[tuple[Iterator[Granted | Scattered], PotTables]]:
        """Let the block have the permanent grants of all sets in order of their instants, as far as those of one set
        are, and what finds the tables of their packets, and of other pots where `others` does.

        What was read of the records is let go at the end of the block, however much that was. Raises RecordsFailed."""
        tables = NotedTables(self._note_of, others)
        with ExitStack() as opened:
            logs = [opened.enter_context(closing(log.records())) for log in self._logs]
            heard = (permanent_grants(_heard(log, tables)) for log in logs)
            yield merge(*heard, key=lambda granted: granted.at_us), tables.table

    def has_packets(self) -> bool:
        """Whether there are, or were, packets between people. Raises RecordsFailed."""
        return any(log.has_notes() for log in self._logs)

    def _note_of(self, pot: str) -> str | None:
        found = (log.note_of(pot) for log in self._logs)
        return next((note for note in found if note is not None), None)


def _heard(log: Iterable[LogRecord], tables: NotedTables) -> Iterator[LogRecord]:
    """Yield the records, and let the tables hear of pots with a note before anything of them is granted."""
    for record in log:
        if isinstance(record, Opened) and record.note:
            tables.hear(record.pot, record.note)
        yield record


async def logs_of(sets: Sequence[tuple[Journalled, Store | None]], away: Away | None = None) -> LogsOfSets:
    """Return the logs of these sets.

    Of a set whose store is None only what is recorded is in them; so it is of one that cannot be read, if `away` is
    there to hear of it. Raises RecordsFailed, or what `Store.log` raises.
    """
    logs = []
    for journalled, store in sets:
        cursor = await asyncio.to_thread(journalled.cursor)
        tail: list[LogRecord] = []
        if store is not None:
            try:
                tail = await read_to_end(store, cursor)
            except StoreUnavailable as fault:
                if away is None:
                    raise
                away(store, fault)
        logs.append(WholeLog(journalled, tail))
    return LogsOfSets(logs)
