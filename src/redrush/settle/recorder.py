"""The recorder: follows a store's log into the records, and stays out of the way of claims.

It asks the log for what lies above the records' cursor, interprets it, and applies it in one transaction with the new
cursor. A crash at any point loses at most work, never a record and never exactly-once: the next start asks from
whatever cursor was kept. The heavy part runs in a thread of its own, mostly without the interpreter lock.

In the embedded form it shares disk and processor with the gate, so it yields to the rush: while the gate is busy it
does nothing, not even read, until the last time it was caught up is `LAG_MAX_S` ago. From then on it works a part of the
time only (`BUSY_REST_FACTOR`), so a long rush slows the recorder down but cannot starve it.

A fault of the records (disk full, say) is reported and tried again; the log keeps everything meanwhile. A fault of the
store is final for the store and so for its recorder.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from redrush.core.campaign import Campaign
from redrush.core.ledger import SlotAmounts
from redrush.errors import RedrushError
from redrush.ports.records import Records
from redrush.ports.store import LogRecord, Store, StoreFailed
from redrush.settle.interpret import Interpreter

SLICE_RECORDS_MAX: Final = 128
"""Log records per transaction. Each may hold a batch of claims (tens to hundreds of grants). Larger slices record more
grants per second, because a page that several users share is written once; they also give way to a rush later."""

IDLE_POLL_S: Final = 0.1
"""How soon a new log record is noticed when there was none."""

BUSY_POLL_S: Final = 0.02
"""How soon the end of a rush is noticed."""

LAG_MAX_S: Final = 5.0
"""How long a rush may hold the recorder up altogether."""

BUSY_REST_FACTOR: Final = 4.0
"""After a slice in a rush, rest this many times what it took: a fifth of one core at most."""

BACKOFF_FIRST_S: Final = 0.1
BACKOFF_MAX_S: Final = 5.0
"""Wait after a fault, doubled up to the maximum: a full disk may be freed at any time, and trying costs little."""

DRAIN_MAX_S: Final = 60.0
"""Longest wait at a stop for the rest of the log. What is left then is recorded by the next start."""


def _never_busy() -> bool:
    return False


def _ignore(_fault: RedrushError) -> None:
    """Nobody asked to be told."""


class Recorder:
    """Follows one store. Create it on any thread, use it from one event loop: `run` as a task, then `stop`."""

    def __init__(
        self,
        store: Store,
        records: Records,
        campaign: Campaign,
        amounts: SlotAmounts,
        *,
        busy: Callable[[], bool] = _never_busy,
        on_fault: Callable[[RedrushError], None] = _ignore,
    ) -> None:
        """`busy` tells whether the gate is in a rush; `on_fault` hears of each fault, before it is tried again."""
        self._store = store
        self._records = records
        self._interpreter = Interpreter(campaign, amounts)
        self._busy = busy
        self._on_fault = on_fault
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="redrush-recorder")
        self._cursor = 0
        self._stopping = False
        self._in_haste = 0  # callers of `caught_up` and `stop`, for whom a rush is no reason to wait
        self._wake = asyncio.Event()
        self._caught_up = asyncio.Condition()
        self._reads_empty = 0
        self._ended = asyncio.Event()
        self._started = False

    @property
    def lag(self) -> int:
        """Log records that the store has and the records do not, as of the last slice."""
        return max(0, self._store.last_seq() - self._cursor)
