"""The one thread that writes the journal: group commit, fail-stop, checkpoints.

The event loop hands over jobs (rows to append) in order; the thread writes all that wait in one transaction and tells
the loop once per commit. While it is inside fsync it holds no GIL, so the loop reads requests and the next batch grows:
that is the group commit, without any timer.

After any error the thread never touches the file again, closes without a checkpoint and fails every job, written or
not: whether a failed commit reached the disk cannot be known.

Checkpoints copy the WAL into the database file and cost some milliseconds, so the thread makes them when no job has
come for IDLE_S; only a WAL of WAL_PAGES_MAX is checkpointed in the middle of a rush.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Final

import apsw

from redrush.ports.journal import Keeper
from redrush.ports.log_rows import Row, chain_after
from redrush.ports.store import StoreFailed
from redrush.stores.sqlite.statements import sql

JOBS_MAX: Final = 64
"""Jobs accepted and not yet durable. The coalescer has one on the way; more callers than this wait their turn."""

IDLE_S: Final = 0.1
"""Quiet this long, the thread uses the time for a checkpoint."""

WAL_PAGES_IDLE: Final = 256
"""About 1 MiB: a smaller WAL is not worth a checkpoint."""

WAL_PAGES_MAX: Final = 16_384
"""About 64 MiB, three million grants: the bound of the WAL, checkpointed even under load."""

PAGE_BYTES: Final = 4_096

ROW_PAGES: Final = 2
"""Pages that a row dirties at most beyond those of its text: a leaf and, when that splits, its parent."""


class _Job:
    """Rows to make durable, and who waits for that."""

    __slots__ = ("rows", "waiters")

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.waiters: list[asyncio.Future[None]] = []


class JournalWriter:
    """Owns the writing connection from construction on. Used from one event loop.

    `failure` is set, and `on_failure` called with it, once, when the disk failed; from then on everything raises it.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        name: str,
        chain: str,
        keeper: Keeper,
        on_failure: Callable[[StoreFailed], None],
        wal_pages_max: int,
    ) -> None:
        """`chain` is the fingerprint of what is in the journal; `keeper` hears of each commit before anybody else."""
        self.failure: StoreFailed | None = None
        self.condemned: str | None = None
        """Why nothing may be acknowledged any more, though the disk did not fail."""
        self._name = name
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._jobs: deque[_Job] = deque()
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()  # bounded by JOBS_MAX: it holds a part of _jobs
        self._closing = False
        self._ended = asyncio.Event()
        self._connection = connection
        self._append = sql("append")
        self._chain = chain
        self._keeper = keeper
        self._wal_pages = 0
        self._wal_pages_max = wal_pages_max
        # A daemon: a process that ends without close() must not hang; what was acknowledged is on the disk.
        self._thread = threading.Thread(target=self._run, name="redrush-journal", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise StoreFailed if nothing can be written any more."""
        if self.failure is not None:
            raise _again(self.failure)
        if self._closing:
            raise StoreFailed(f"{self._name} was closed")

    async def room(self) -> None:
        """Return as soon as a job can be added. Raises StoreFailed if the store failed or was closed meanwhile."""
        self.check()
        while len(self._jobs) >= JOBS_MAX:
            await self._durable(self._jobs[0])
            self.check()

    async def append(self, rows: Sequence[Row]) -> None:
        """Return when the rows, and all before them, are durable. Raises StoreFailed when that is in doubt.

        Rows keep the order of the calls; nothing is awaited between the call and their place in the order.
        """
        if rows:
            job = _Job(rows)
            self._jobs.append(job)
            self._queue.put(job)
        await self.settled()

    async def settled(self) -> None:
        """Return when everything appended so far is durable."""
        if self._jobs:
            await self._durable(self._jobs[-1])

    def refuse(self) -> None:
        """Accept nothing more; what was accepted will be finished."""
        if not self._closing:
            self._closing = True
            self._queue.put(None)

    async def close(self) -> None:
        """Finish the accepted jobs, end the thread and close the file. May be called again."""
        self.refuse()
        await self._ended.wait()

    def condemn(self, why: str) -> None:
        """Acknowledge nothing more, and fail. The journal is left as it is."""
        if self.condemned is None:
            self.condemned = why
            self._queue.put(_Job(()))

    async def _durable(self, job: _Job) -> None:
        # A future for each who waits: cancelling one caller leaves the others alone.
        waiter: asyncio.Future[None] = self._loop.create_future()
        job.waiters.append(waiter)
        await waiter

    def _settle(self, count: int) -> None:
        """On the loop: the `count` oldest jobs are durable."""
        for _ in range(count):
            for waiter in self._jobs.popleft().waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def _end(self, error: BaseException | None) -> None:
        """On the loop: the thread is gone and the file closed."""
        self._ended.set()
        if error is None:
            return
        why = self.condemned or f"{type(error).__name__}: {error}"
        self.failure = StoreFailed(f"{self._name} can make nothing durable any more: {why}")
        self.failure.__cause__ = error
        for job in self._jobs:
            for waiter in job.waiters:
                if not waiter.done():
                    waiter.set_exception(_again(self.failure))
        self._jobs.clear()
        self._on_failure(self.failure)

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._write_until_closed()
            self._keeper.sync()
        except BaseException as fault:  # noqa: BLE001 - whatever ended the loop, nothing more becomes durable
            error = fault
        try:
            if error is not None:
                self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            else:
                self._fold()
            self._connection.close(True)
        finally:
            self._keeper.close()
            self._tell(self._end, error)

    def _fold(self) -> None:
        """Put all that is in the WAL into the journal itself, so that the one file is everything.

        Where that cannot be (somebody reads it, the disk is full) both files are, as ever after a crash.
        """
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.Error:
            self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)

    def _write_until_closed(self) -> None:
        closing = False
        while not closing:
            try:
                job = self._queue.get(timeout=IDLE_S)
            except Empty:
                self._keeper.sync()
                if self._wal_pages >= WAL_PAGES_IDLE:
                    self._checkpoint()
                job = self._queue.get()
            group: list[_Job] = []
            while job is not None:
                group.append(job)
                if self._queue.empty():
                    break
                job = self._queue.get_nowait()
            closing = job is None
            self._check_condemned()
            if group:
                self._write([row for member in group for row in member.rows])
                self._check_condemned()
                self._tell(self._settle, len(group))
                self._keeper.sync_now_and_then()
                if self._wal_pages >= self._wal_pages_max:
                    self._checkpoint()

    def _check_condemned(self) -> None:
        if self.condemned is not None:
            raise StoreFailed(self.condemned)

    def _write(self, rows: Sequence[Row]) -> None:
        chain = self._chain
        if len(rows) == 1:
            # One call, hence one release of the GIL, for insert, commit and fsync.
            chain = chain_after(chain, rows[0])
            self._connection.execute(self._append, (*rows[0], chain))
        else:
            chained = []
            for row in rows:
                chain = chain_after(chain, row)
                chained.append((*row, chain))
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(self._append, chained)
            self._connection.execute("COMMIT")
        self._chain = chain
        self._keeper.note(rows, chain)
        self._wal_pages += sum(ROW_PAGES + len(row[6] or row[7] or "") // PAGE_BYTES for row in rows)

    def _checkpoint(self) -> None:
        try:
            frames, copied = self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.BusyError:
            return  # another process checkpoints at this moment; the next time will do
        self._wal_pages = frames - copied

    def _tell(self, callback: Callable[..., None], argument: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, argument)
        except RuntimeError:
            return  # the loop was closed without close(): nobody is left to be told


def _again(failure: StoreFailed) -> StoreFailed:
    """Return the same failure for one more who asks, with what it came of."""
    told = StoreFailed(str(failure))
    told.__cause__ = failure.__cause__
    return told
