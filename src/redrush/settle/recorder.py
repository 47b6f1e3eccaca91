"""The recorder: follows a store's log into the records, and stays out of the way of claims.

It asks the log for what lies above the records' cursor, interprets it, and applies it in one transaction with the new
cursor. A crash at any point loses at most work, never a record and never exactly-once: the next start asks from
whatever cursor was kept. The heavy part runs in a thread of its own, mostly without the interpreter lock.

In the embedded form it shares disk and processor with the gate, so it yields to the rush: while the gate is busy it
does nothing, not even read, until it was last caught up `LAG_MAX_S` ago. From then on it works a part of the time only
(`BUSY_REST_FACTOR`), so a long rush slows the recorder down but cannot starve it.

A fault of the records (disk full, the database away) is reported and tried again; the log keeps everything meanwhile. A
`StoreFailed` is final for the store and so for its recorder. The two that it depends on, records and log, have a
breaker each (`redrush.core.load.breaker`). The recorder is its only caller, so the pauses are its own, and whoever
wants to know asks `records_away_s`. While there is nothing to record the records are asked now and then whether they
are there.

A log that is held in memory is trimmed as it is recorded, never above the records' cursor, and only where the records'
commits are durable: then what was trimmed is in their journal.

A set may be made anew while its recorder runs, holds a batch in its hands, or stands still. Each batch belongs to a
history of the log (`redrush.ports.store.History`), and the records take none of an earlier one (`begin`).
"""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Final, Protocol, TypeVar

from redrush.core.load.breaker import Breaker, Rule
from redrush.core.nobody import ignore, never
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.holding import PotTables, SlotAmounts, no_pots
from redrush.errors import RedrushError
from redrush.ports.records import Change
from redrush.ports.store import Granted, History, LogRecord, Scattered, StoreFailed
from redrush.settle.interpret import Interpreter

SLICE_RECORDS_MAX: Final = 512
RUSH_SLICE_RECORDS_MAX: Final = 64
"""Log records per transaction; each holds a batch of claims, tens to hundreds of grants. Users come in no order, so a
large slice finds several of them on each page that it writes: 512 records of 64 grants go in at 2.5 times the pace of
128 once there are a million users. In a rush what counts is how soon the slice is over."""

IDLE_POLL_S: Final = 0.1
"""How soon a new log record is noticed when there was none."""

BUSY_POLL_S: Final = 0.02
CALM_S: Final = 0.2
"""A rush is over when the gate has not been busy for this long: between two batches it looks idle for an instant."""

LAG_MAX_S: Final = 5.0
"""How long a rush may hold the recorder up altogether."""

BUSY_REST_FACTOR: Final = 4.0
"""After a slice in a rush, rest this many times what it took: at most a fifth of one core goes to recording."""

RULE: Final = Rule(failures=1, window_s=1.0, pause_s=0.1, pause_max_s=5.0, trial_max_s=60.0)
"""One fault is enough, for there is one caller. A full disk may be freed at any time, and trying costs little."""

HANGS_S: Final = 2.0
"""A call to the records that is under way for longer counts as their absence before it has failed."""

CHECKED_S: Final = 2.0
"""How often records that nothing is written to are asked whether they are there: their absence is told before the rush
and not in it."""

DRAIN_MAX_S: Final = 60.0
"""Longest wait at a stop for the rest of the log. What is left then is recorded after the next start."""

_T = TypeVar("_T")


class Followed(Protocol):
    """The part of `redrush.ports.store.Store` that a recorder follows."""

    def last_seq(self) -> int:
        """See the port."""

    def history(self) -> History:
        """See the port."""

    async def log(self, after: int, limit: int) -> list[LogRecord]:
        """See the port."""


class Recorded(Protocol):
    """The part of `redrush.ports.records.Records` that a recorder writes."""

    @property
    def commits_are_durable(self) -> bool:
        """See the port."""

    def cursor(self) -> int:
        """See the port."""

    def apply(self, changes: Sequence[Change]) -> int:
        """See the port."""


def _no_pace() -> float | None:
    return None


async def _keep_all(_seq: int) -> None:
    """This log is not trimmed."""


class Recorder:
    """Follows one store. `run` it as a task of the loop that the store is used from; `stop` ends it."""

    def __init__(  # noqa: PLR0913 - a rush, faults and trims are each somebody else's to know, and told apart by name
        self,
        store: Followed,
        records: Recorded,
        campaign: Campaign,
        slots: SlotAmounts,
        *,
        set_id: str | None = None,
        pots: PotTables = no_pots,
        noted: Callable[[str, str], object] = ignore,
        begin: Callable[[History], int] | None = None,
        trim: Callable[[int], Awaitable[object]] | None = None,
        busy: Callable[[], bool] = never,
        paused: Callable[[], bool] = never,
        grants_per_s_max: Callable[[], float | None] = _no_pace,
        on_fault: Callable[[RedrushError], None] = ignore,
    ) -> None:
        """`slots` says what the campaign's slots hold, `pots` finds the tables of its pots that are no rounds,
        `noted` hears what those were opened with.
        `set_id` names the set, where rounds are divided over several. `begin` has the records follow a history of
        the log and returns their cursor, where the log may have more than one. `trim(seq)` removes log records up to
        `seq`, all of them recorded durably: ValueError if these records cannot promise that. `busy` tells whether the
        gate is in a rush, `paused` whether operators want nothing recorded now, `grants_per_s_max` how much of it,
        unless somebody waits for the rest; `on_fault` hears of each fault before it is tried again.
        """
        if trim is not None and not records.commits_are_durable:
            raise ValueError("a log may only be trimmed below what its records hold durably; these do not promise it")
        self._store = store
        self._records = records
        self._interpreter = Interpreter(campaign, slots, set_id, pots, noted)
        self._begin = begin or (lambda _history: records.cursor())
        self._history: History | None = None  # that of the cursor
        self._trim = _keep_all if trim is None else trim
        self._busy = busy
        self._paused = paused
        self._grants_per_s_max = grants_per_s_max
        self._last_slice = (-math.inf, 0)  # when it began, and how many grants it had
        self._on_fault = on_fault
        self.records_breaker = Breaker(RULE)
        self.log_breaker = Breaker(RULE)
        self._asked_records_s: float | None = None  # since when a call is under way
        self._answered_s = 0.0
        self._cursor: int | None = None  # None: ask the records
        self._recorded = 0  # the last cursor that was known
        self._caught_up_at_s = 0.0
        self._busy_at_s = -math.inf
        self._waiting: list[asyncio.Future[None]] = []
        self._running = False
        self._stopping = False
        self._draining = False
        self._wake = asyncio.Event()
        self._ended = asyncio.Event()

    def amend(self, campaign: Campaign) -> None:
        """Know the rounds of this campaign from now on. The amounts table has grown in its place."""
        self._interpreter = self._interpreter.amended(campaign)

    @property
    def lag(self) -> int:
        """Log records that the store has and the records do not have yet."""
        return max(0, self._store.last_seq() - self._recorded)

    def behind_s(self) -> float:
        """Return for how long the records have not had everything; 0 while they have."""
        return asyncio.get_running_loop().time() - self._caught_up_at_s if self._running and self.lag else 0.0

    def records_away_s(self) -> float:
        """Return for how long the records have answered nothing; 0 while they do."""
        now_s = asyncio.get_running_loop().time()
        away_s = self.records_breaker.away_s(now_s)
        if not away_s and self._asked_records_s is not None and now_s - self._asked_records_s > HANGS_S:
            return now_s - self._asked_records_s
        return away_s

    async def run(self) -> None:
        """Follow the log until `stop`, or until the store has failed. Raises nothing that `on_fault` was told."""
        self._running = True
        self._caught_up_at_s = asyncio.get_running_loop().time()
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="redrush-recorder")
        try:
            await self._follow(thread)
        finally:
            self._ended.set()
            thread.shutdown(wait=False)
            self._fail_waiting(RedrushError("the recorder has ended before everything was recorded"))

    async def caught_up(self) -> None:
        """Return when all that is in the log now is recorded, rush or no rush.

        Raises the first fault that happens meanwhile (the recorder itself tries on), or RedrushError if it ends before.
        """
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._wake.set()
        try:
            await waiter
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    async def stop(self, *, drain: bool = True) -> None:
        """End `run`: with `drain`, after the rest of the log is recorded, a fault occurs, or `DRAIN_MAX_S` is over.

        Where `run` has not begun yet, return at once; it will then end in the same way when it begins.
        """
        self._stopping = True
        self._draining = drain
        self._wake.set()
        if not self._running:
            return
        try:
            async with asyncio.timeout(DRAIN_MAX_S):
                await self._ended.wait()
        except TimeoutError:
            self._draining = False
            await self._ended.wait()

    async def _follow(self, thread: Executor) -> None:
        while await self._may_work():
            try:
                recorded = await self._record_slice(thread)
            except StoreFailed as fault:
                self._on_fault(fault)
                self._fail_waiting(fault)
                return
            except RedrushError as fault:
                self._on_fault(fault)
                self._fail_waiting(fault)
                if self._stopping:
                    return
                self._note_if_caught_up()
                self._cursor = None
                now_s = asyncio.get_running_loop().time()
                # Never without a pause, whoever raised it: a fault that stays would take a whole core.
                pauses_s = (breaker.retry_in_s(now_s) for breaker in (self.records_breaker, self.log_breaker))
                await self._back_off(max(RULE.pause_s, *pauses_s))
                continue
            self.records_breaker.succeeded()
            self.log_breaker.succeeded()
            if not recorded:
                if self._stopping:
                    return
                await self._rest(IDLE_POLL_S)

    async def _may_work(self) -> bool:
        """Wait while the gate is in a rush, up to `LAG_MAX_S`, and while operators want it so, for as long as they do.
        Return False when there is nothing to do any more; paused, a stop leaves the rest to the next start."""
        while self._paused():
            if self._stopping:
                return False
            self._note_if_caught_up()
            await self._back_off(BUSY_POLL_S)
        now_s = asyncio.get_running_loop().time
        while self._ahead_of_pace(now_s()) and not self._hasty() and not self._stopping:
            await self._rest(BUSY_POLL_S)
        while self._rushing() and not self._hasty() and not self._stopping:
            if now_s() - self._caught_up_at_s >= LAG_MAX_S:
                break
            await self._rest(BUSY_POLL_S)
        return self._draining or not self._stopping

    async def _record_slice(self, thread: Executor) -> int:
        """Record the next slice of the log; return 0 when there is none, as far as is known."""
        loop = asyncio.get_running_loop()
        waiting = tuple(self._waiting)
        history = self._log_history()
        if self._cursor is None or history != self._history:
            self._recorded = await self._in_records(thread, self._begin, history)
            self._history = history
            await self._from_log(self._trim(self._recorded))  # one before may have ended between commit and trim
            self._cursor = self._recorded
        elif not self._rushing() and loop.time() - self._answered_s >= CHECKED_S:
            self._cursor = self._recorded = await self._in_records(thread, self._records.cursor)
        small = self._rushing() or self._grants_per_s_max() is not None
        limit = RUSH_SLICE_RECORDS_MAX if small else SLICE_RECORDS_MAX
        log_records = await self._from_log(self._store.log(self._cursor, limit))
        if self._log_history() != history:  # the cursor was of another one
            self._cursor = None
            return 1
        if not log_records:
            self._caught_up_at_s = loop.time()
            for waiter in waiting:
                if not waiter.done():
                    waiter.set_result(None)
            return 0
        began_s = loop.time()
        changes = await self._from_log(loop.run_in_executor(thread, self._interpret, log_records))
        self._cursor = self._recorded = await self._in_records(thread, self._records.apply, changes)
        await self._from_log(self._trim(self._cursor))
        grants = sum(_how_many(log_record) for log_record in log_records)
        self._last_slice = began_s, grants
        if self._rushing():
            await self._rest(BUSY_REST_FACTOR * (loop.time() - began_s))
        return len(log_records)

    def _note_if_caught_up(self) -> None:
        """What comes once there was nothing to record is not late by the time before."""
        if not self.lag:
            self._caught_up_at_s = asyncio.get_running_loop().time()

    def _ahead_of_pace(self, now_s: float) -> bool:
        """Whether operators' pace says that it is too soon for the next slice."""
        pace, (began_s, grants) = self._grants_per_s_max(), self._last_slice
        return pace is not None and grants > pace * (now_s - began_s)

    def _interpret(self, log_records: list[LogRecord]) -> list[Change]:
        return [self._interpreter.change(log_record) for log_record in log_records]

    async def _in_records(self, thread: Executor, call: Callable[..., int], *arguments: object) -> int:
        """Return the cursor after the call; a fault is the records'."""
        loop = asyncio.get_running_loop()
        began_s = self._asked_records_s = loop.time()
        try:
            cursor = await loop.run_in_executor(thread, call, *arguments)
        except RedrushError:
            self.records_breaker.failed(loop.time(), began_s=began_s)
            raise
        finally:
            self._asked_records_s = None
        self._answered_s = loop.time()
        return cursor

    def _log_history(self) -> History:
        """Return the log's history; that it is not known, as before a set is first reached, is the log's fault."""
        try:
            return self._store.history()
        except RedrushError:
            self.log_breaker.failed(asyncio.get_running_loop().time())
            raise

    async def _from_log(self, answer: Awaitable[_T]) -> _T:
        """Return the answer; a fault is the log's."""
        try:
            return await answer
        except RedrushError:
            self.log_breaker.failed(asyncio.get_running_loop().time())
            raise

    def _fail_waiting(self, fault: RedrushError) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(fault)

    def _rushing(self) -> bool:
        now_s = asyncio.get_running_loop().time()
        if self._busy():
            self._busy_at_s = now_s
        return now_s - self._busy_at_s < CALM_S

    def _hasty(self) -> bool:
        """Whether someone waits for the log to be recorded, so that a rush is no reason to hold back."""
        return self._draining or any(not waiter.done() for waiter in self._waiting)

    async def _rest(self, duration_s: float) -> None:
        """Sleep, unless someone waits for the log to be recorded or the recorder is to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(duration_s):
                while not (self._stopping or self._hasty()):
                    await self._woken()

    async def _back_off(self, duration_s: float) -> None:
        """Sleep, unless the recorder is to stop: haste does not mend a fault."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(duration_s):
                while not self._stopping:
                    await self._woken()

    async def _woken(self) -> None:
        self._wake.clear()
        await self._wake.wait()


def _how_many(record: LogRecord) -> int:
    """Return how many grants the record makes."""
    if isinstance(record, Granted):
        return len(record.users)
    return len(record.grants) if isinstance(record, Scattered) else 0
