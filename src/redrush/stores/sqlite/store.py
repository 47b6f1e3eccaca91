"""The embedded store: decides in memory, answers when the journal has it on the disk.

A call decides on the event loop, at once and in order (`redrush.stores.pots`), and hands its log rows to the writer
thread; it returns when these, and all before them, are durable. Reads wait for what was decided before them, so that
nothing is shown that a power loss could take back. Deciding on the loop rather than in the thread leaves the thread a
single SQLite call per commit, most of it without the GIL.

Decisions of a failed batch stay in memory, but no call succeeds any more, so nobody sees them.
"""

import asyncio
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Self

import apsw

from redrush.core.nobody import ignore
from redrush.core.rush.campaign import Slots
from redrush.ports.journal import Identity, Keeper, NobodyElse
from redrush.ports.log_rows import granted_row, row_of, scattered_row, users_text
from redrush.ports.noted_pots import NotedPot, Watched
from redrush.ports.store import (
    FIRST_HISTORY,
    Claim,
    Claimed,
    ClaimResult,
    Grant,
    Granted,
    History,
    HoldState,
    LogRecord,
    PotState,
    PotTerms,
    Scattered,
    StoreFailed,
    Transfers,
)
from redrush.stores.pots import EntryRefused, Pots, users_of_one_pot
from redrush.stores.sqlite.guard import GUARD_S, Guard
from redrush.stores.sqlite.journal import LogReader, Recovered, keep_identity, open_journal
from redrush.stores.sqlite.lock import JournalLock
from redrush.stores.sqlite.writer import WAL_PAGES_MAX, JournalWriter

OPENED_MAX: Final = 1_000
"""Pots opened in one transaction: some milliseconds of the loop's time."""


class SqliteStore:
    """The `redrush.ports.store.Store` on a SQLite file. Open it with `open_path`; use it from one event loop."""

    knows_all = True

    def __init__(
        self, pots: Pots, identity: Identity, writer: JournalWriter, reader: LogReader, lock: JournalLock, guard: Guard
    ) -> None:
        self._pots = pots
        self.identity = identity
        """Which journal this is."""
        self._writer = writer
        self._reader = reader
        self._lock = lock
        self._opened_seq = 0
        """The last record that opened a pot."""
        self._durable_seq = 0
        """Up to where `noted` has waited for records to be durable."""
        self._guarding = asyncio.create_task(self._guard(guard), name="journal guard")
        # Reads of the log have a thread of their own: neither the loop nor a commit waits for them.
        self._reading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="redrush-log")

    @classmethod
    async def open_path(
        cls,
        path: Path,
        *,
        vfs: str | None = None,
        keeper: Keeper | None = None,
        on_failure: Callable[[StoreFailed], None] = ignore,
        wal_pages_max: int = WAL_PAGES_MAX,
    ) -> Self:
        """Open or create the journal at `path` and recover what it holds.

        `keeper` compares it with what is known of it elsewhere before it is used. `on_failure` is called once, on the
        loop, when the disk fails, or the journal is not where it was any more: the server should stop then. `vfs` names
        a registered APSW VFS to run on; a WAL of `wal_pages_max` pages is checkpointed even under load.
        Raises StoreInUse (another process has the journal), ConfigError (not a journal, or of a newer version),
        StoreCorrupt, StoreFailed, and what the keeper raises.
        """
        keeper = keeper or NobodyElse()
        lock = JournalLock(path)
        try:
            connection, recovered, identity = await asyncio.to_thread(_open, path, vfs, lock, keeper)
            reader = LogReader(path, vfs)
        except BaseException:
            lock.release()
            raise
        writer = JournalWriter(connection, str(path), recovered.chain, keeper, on_failure, wal_pages_max)
        return cls(recovered.pots, identity, writer, reader, lock, Guard(path))

    async def _guard(self, guard: Guard) -> None:
        """Fail as soon as the journal is not the file that this process writes any more."""
        while (moved := guard.look()) is None:
            await asyncio.sleep(GUARD_S)
        self._writer.condemn(moved)

    @property
    def failure(self) -> StoreFailed | None:
        """What made the store fail, or None while it works."""
        return self._writer.failure

    async def open(self, pots: Sequence[PotTerms]) -> None:
        _check_text(*(terms.pot for terms in pots))
        for start in range(0, len(pots), OPENED_MAX):
            await self._writer.room()
            records = self._pots.open(pots[start : start + OPENED_MAX])
            if records:
                self._opened_seq = records[-1].seq
            await self._append(records)

    async def until_free(self) -> None:
        """Return at once: claims are decided as they come, and share the fsync."""

    async def claim(self, claims: Sequence[Claim], at_us: int) -> list[ClaimResult]:
        users = users_of_one_pot(claims)
        if users is None:
            return await self._claim_each(claims, at_us)
        text = users_text(users)  # what cannot be written must fail before it is granted anything
        await self._writer.room()
        results, records = self._pots.claim_for(claims[0].pot, users, at_us)
        if len(records) == 1 and isinstance(record := records[0], Granted) and len(record.users) == len(users):
            await self._writer.append([granted_row(record, text)])
        else:
            await self._append(records)
        return results

    async def _claim_each(self, claims: Sequence[Claim], at_us: int) -> list[ClaimResult]:
        text = users_text([claim.user for claim in claims])
        requests = [claim.request for claim in claims]
        if any(requests):
            users_text(requests)
        await self._writer.room()
        results, records = self._pots.claim_each(claims, at_us)
        if len(records) == 1 and isinstance(record := records[0], Scattered) and len(record.grants) == len(claims):
            await self._writer.append([scattered_row(record, text)])
        else:
            await self._append(records)
        return results

    async def confirm(self, holds: Sequence[Grant], at_us: int) -> list[HoldState]:
        await self._writer.room()
        states, records = self._pots.confirm(holds, at_us)
        await self._append(records)
        return states

    async def release(self, holds: Sequence[Grant], at_us: int) -> list[HoldState]:
        await self._writer.room()
        states, records = self._pots.release(holds, at_us)
        await self._append(records)
        return states

    async def offer(self, pots: Sequence[str]) -> int:
        await self._writer.room()
        count, records = self._pots.offer(pots)
        await self._append(records)
        return count

    async def _append(self, records: Iterable[LogRecord]) -> None:
        await self._writer.append([row_of(record) for record in records])

    async def take(self, pot: str, count: int, transfer: str) -> tuple[Slots, ...]:
        _check_text(pot, transfer)
        await self._writer.room()
        slots, record = self._pots.take(pot, count, transfer)
        await self._writer.append([row_of(record)] if record else ())
        return slots

    async def give(self, pot: str, slots: tuple[Slots, ...], transfer: str) -> None:
        _check_text(pot, transfer)
        await self._writer.room()
        record = self._pots.give(pot, slots, transfer)
        await self._writer.append([row_of(record)] if record else ())

    async def enter(self, pot: str, slot: int, user: str, at_us: int) -> str | None:
        """Grant this very slot to the user, durably: a grant that was lost. Return None, or why it cannot be.

        Raises KeyError for a pot that was never opened, StoreFailed.
        """
        _check_text(user)
        await self._writer.room()
        entered = self._pots.enter(pot, slot, user, at_us, self.identity.generation)
        if isinstance(entered, EntryRefused):
            return entered.value
        await self._append(entered)
        return None

    async def transfers(self) -> Transfers:
        self._writer.check()
        transfers = self._pots.transfers()
        await self._writer.settled()
        return transfers

    async def find(self, pot: str, user: str, request: str = "") -> Claimed | None:
        self._writer.check()
        claimed = self._pots.find(pot, user, request)
        if claimed is not None:
            await self._writer.settled()
        return claimed

    def known(self, pot: str) -> Mapping[str, Claimed]:
        return self._pots.known(pot)

    def holders(self, pot: str) -> Container[str]:
        return self._pots.holders(pot)

    async def state(self, pot: str) -> PotState:
        self._writer.check()
        state = self._pots.state(pot)
        await self._writer.settled()
        return state

    def watch(self, pot: str) -> Watched:
        return self._pots.watch(pot)

    def forget(self, pot: str) -> None:
        """See the port: what is known here is what there is."""

    async def noted(self, pots: Sequence[str]) -> list[NotedPot | None]:
        self._writer.check()
        noted, asleep = self._pots.noted(pots)
        # Of pots that sleep nothing but their opening can be under way: who wakes one waits for nobody's claims.
        if self._opened_seq > self._durable_seq or not asleep:
            seq = self._pots.seq
            await self._writer.settled()
            self._durable_seq = max(self._durable_seq, seq)
        return noted

    async def lacks_nothing(self) -> bool:
        self._writer.check()
        return True

    async def granted(self, pot: str) -> Mapping[str, Claimed]:
        self._writer.check()
        granted = dict(self._pots.known(pot))
        await self._writer.settled()
        return granted

    @property
    def log_is_readable(self) -> bool:
        """Whether the log can be read to its end: also where the journal was taken away under this process."""
        return self.failure is None or self._writer.condemned is not None

    async def log(self, after: int, limit: int) -> list[LogRecord]:
        if self._writer.condemned is None:
            self._writer.check()
        return await asyncio.get_running_loop().run_in_executor(self._reading, self._reader.read, after, limit)

    def last_seq(self) -> int:
        return self._pots.seq

    def history(self) -> History:
        return FIRST_HISTORY

    async def close(self) -> None:
        """Finish what was accepted, then close and unlock the journal. May be called again."""
        self._guarding.cancel()
        self._writer.refuse()
        self._reading.shutdown()
        self._reader.close()  # before the writing connection, which folds the WAL into the file that nobody reads
        await self._writer.close()
        self._lock.release()


def _open(
    path: Path, vfs: str | None, lock: JournalLock, keeper: Keeper
) -> tuple[apsw.Connection, Recovered, Identity]:
    """Open the journal and have it compared; return its connection, what it holds, and who it is from now on."""
    asked = keeper.asks(path)
    try:
        lock.take_journal()
        connection, recovered = open_journal(path, vfs, asked)
    except OSError as fault:
        keeper.close()
        raise StoreFailed(f"{path}: cannot be opened: {fault.strerror}") from fault
    except BaseException:
        keeper.close()
        raise
    try:
        identity = keeper.admit(recovered)
        if identity != recovered.identity:
            keep_identity(connection, identity)
    except BaseException:
        connection.close(True)
        raise
    return connection, recovered, identity


def _check_text(*texts: str) -> None:
    """Raise UnicodeEncodeError for text that SQLite could not store."""
    for text in texts:
        text.encode()
