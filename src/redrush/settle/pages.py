"""What is done for each grant of a log, once, as it is recorded: page after page, beside everything else.

Whoever does it keeps a cursor in a book of their own and moves it in the same commit, so it is done once, whoever is
killed. The log is read only up to what is recorded, and rests while claims wait.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from redrush.errors import RedrushError
from redrush.ports.store import LogRecord

PAGE_RECORDS: Final = 64
"""Log records that are seen to in one commit."""

LOOK_AGAIN_S: Final = 0.25

ReadLog = Callable[[int, int], Awaitable[Sequence[LogRecord]]]
"""Returns records after a seq, up to so many, all of them recorded."""


class Recorded(Protocol):
    """Records that say how far they are."""

    def cursor(self) -> int:
        """Return the seq of the last record they hold, 0 before the first."""


class ReadableLog(Protocol):
    """A store, as far as it is read here."""

    async def log(self, after: int, limit: int) -> Sequence[LogRecord]:
        """Return records with seq > `after`."""


def recorded_pages(records: Recorded, store: ReadableLog) -> ReadLog:
    """Return what reads a store's log up to what the records have of it."""

    async def read(after: int, limit: int) -> list[LogRecord]:
        last = await asyncio.to_thread(records.cursor)
        page = await store.log(after, limit) if last > after else []
        return [record for record in page if record.seq <= last]

    return read


async def follow(
    page: Callable[[], Awaitable[int]],
    may: Callable[[], bool],
    stopping: asyncio.Event,
    on_fault: Callable[[RedrushError], None],
) -> None:
    """Call `page`, which returns how many records it has seen to, until `stopping`, as long as it `may`."""
    while not stopping.is_set():
        try:
            seen = await page() if may() else 0
        except RedrushError as fault:
            on_fault(fault)
            seen = 0
        if not seen:
            try:
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await stopping.wait()
            except TimeoutError:
                continue
