"""A log of which the records hold the beginning and the store the rest, put together without a gap, while both change.

What the store has is read first and the journal afterwards: whatever was trimmed meanwhile was recorded before, so the
journal has it. What both have counts once.
"""

from collections.abc import Iterable, Iterator
from typing import Final, Protocol

import msgspec

from redrush.ports.store import Confirmed, Grant, Granted, LogRecord, Released, Scattered, Store, grants_of

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
