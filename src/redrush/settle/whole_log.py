"""A log of which the records hold the beginning and the store the rest, put together without a gap, while both change.

What the store has is read first and the journal afterwards: whatever was trimmed meanwhile was recorded before, so the
journal has it. What both have counts once.
"""

from collections.abc import Iterator
from typing import Final, Protocol

import msgspec

from redrush.ports.store import Confirmed, Grant, LogRecord, Store, grants_of

PAGE_RECORDS: Final = 512
"""Log records that are read at a time; each holds up to a few hundred users."""


class Journalled(Protocol):
    """Records that keep the log they were made from."""

    def cursor(self) -> int:
        """Return the seq of the last record they hold, 0 before the first."""

    def journal(self, after: int = 0) -> Iterator[LogRecord]:
        """Yield the records with seq > `after`, in order, of one state."""


class WholeLog(msgspec.Struct, frozen=True):
    """A log as of the reading of its tail. `records` blocks."""

    journalled: Journalled
    tail: list[LogRecord]

    def records(self) -> Iterator[LogRecord]:
        """Yield every record in order of seq."""
        seq = 0
        for record in self.journalled.journal():
            seq = record.seq
            yield record
        yield from (record for record in self.tail if record.seq > seq)


def permanent_of(record: LogRecord) -> Iterator[Grant]:
    """Yield every grant that is permanent by the record, in order: what it confirms, or makes and does not hold."""
    if isinstance(record, Confirmed):
        yield from record.holds
    else:
        yield from (grant for grant in grants_of(record) if not grant.number)


async def read_to_end(store: Store, after: int) -> list[LogRecord]:
    """Return all records of the store with seq > `after`. Raises what `Store.log` raises."""
    found: list[LogRecord] = []
    while True:
        page = await store.log(found[-1].seq if found else after, PAGE_RECORDS)
        found += page
        if len(page) < PAGE_RECORDS:
            return found
