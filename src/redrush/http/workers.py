"""Worker processes of one role: one event loop uses one processor, so a gate on many is many processes on one port.

The parent does nothing but keep them: it starts each by forking, before there is any loop or thread, so that what it
has loaded (the amounts, the audience) is shared memory; it starts anew whoever has died, later each time if they die at
once; when it is told to stop (SIGTERM, SIGINT, SIGHUP) it tells them, and ends when they have ended. A worker whose
configuration is wrong would only do the same again, so then all end. Should the parent be killed, the kernel ends the
workers (on Linux).
"""

import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

from redrush.core.nobody import ignore
from redrush.errors import ConfigError, RedrushError
from redrush.http.ending import stop_signals

BACKOFF_FIRST_S: Final = 0.1
BACKOFF_MAX_S: Final = 5.0
"""Wait before a worker is started anew, doubled for each death soon after its start."""

HEALTHY_S: Final = 10.0
"""A worker that lived so long has not died of its start."""

STOP_DEADLINE_S: Final = 30.0
"""How long workers may take to finish what they accepted; then they are killed."""

LOOK_S: Final = 0.5
"""Longest sleep between two looks; a child's death and a signal end it at once."""

_PR_SET_PDEATHSIG: Final = 1


def run_workers(count: int, work: Callable[[int], None], *, died: Callable[[int, int], None] = ignore) -> int:
    """Run `work(number)` in `count` processes until told to stop (`stop_signals`); return the exit status.

    `work` gets 0 … count − 1, must end on SIGTERM by itself, and may raise RedrushError, whose text goes to stderr.
    `died` hears the number and exit status (negative: the signal) of each worker that ended without being told to.
    Call it in the main thread, before any other thread and any loop.
    """
    with _Signals() as signals:
        return _Workers(count, work, died, signals).run()


class _Signals:
    """Signals as something to wait for: the interpreter writes the number of each to a pipe."""

    def __enter__(self) -> "_Signals":
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._stop = stop_signals()
        self._watched = {*self._stop, signal.SIGCHLD}
        self._handlers = {number: signal.signal(number, _handled) for number in self._watched}
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_fault: object) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)

    def wait(self, timeout_s: float) -> bool:
        """Sleep until a signal comes; return whether it says to stop."""
        readable, _, _ = select.select([self._read], [], [], timeout_s)
        return bool(readable) and any(number in self._stop for number in os.read(self._read, 4_096))

    def fork(self) -> int:
        """Fork; in the child signals do again what they did before. Returns as `os.fork`."""
        # What comes for the child before its handlers are its own must wait, or it would be taken for the parent's.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, self._watched)
        pid = os.fork()
        if pid == 0:
            self.__exit__()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid


class _Workers:
    def __init__(
        self, count: int, work: Callable[[int], None], died: Callable[[int, int], None], signals: _Signals
    ) -> None:
        self._signals = signals
        self._work = work
        self._died = died
        self._numbers: dict[int, int] = {}  # by process id
        self._started_s = [0.0] * count
        self._backoff_s = [BACKOFF_FIRST_S] * count
        self._due_s: dict[int, float] = dict.fromkeys(range(count), 0.0)
        self._status = 0
        self._stop_by_s: float | None = None

    def run(self) -> int:
        while self._stop_by_s is None or self._numbers:
            now_s = time.monotonic()
            if self._stop_by_s is None:
                for number in [n for n, due_s in self._due_s.items() if due_s <= now_s]:
                    del self._due_s[number]
                    self._start(number)
            elif now_s >= self._stop_by_s:
                self._signal(signal.SIGKILL)
            if self._signals.wait(self._sleep_s(now_s)):
                self._stop()
            self._reap()
        return self._status

    def _sleep_s(self, now_s: float) -> float:
        return max(0.0, min([LOOK_S, *(due_s - now_s for due_s in self._due_s.values())]))

    def _start(self, number: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = self._signals.fork()
        if pid == 0:
            os._exit(_be_worker(parent, self._work, number))
        self._numbers[pid] = number
        self._started_s[number] = time.monotonic()

    def _reap(self) -> None:
        for pid, number in tuple(self._numbers.items()):
            ended, waited = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._numbers[pid]
                self._ended(number, os.waitstatus_to_exitcode(waited))

    def _ended(self, number: int, status: int) -> None:
        if self._stop_by_s is not None:
            return
        self._died(number, status)
        if status == ConfigError.exit_code:
            self._status = status
            self._stop()
            return
        now_s = time.monotonic()
        if now_s - self._started_s[number] >= HEALTHY_S:
            self._backoff_s[number] = BACKOFF_FIRST_S
        self._due_s[number] = now_s + self._backoff_s[number]
        self._backoff_s[number] = min(2 * self._backoff_s[number], BACKOFF_MAX_S)

    def _stop(self) -> None:
        if self._stop_by_s is None:
            self._stop_by_s = time.monotonic() + STOP_DEADLINE_S
            self._due_s.clear()
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._numbers:
            os.kill(pid, number)


def _be_worker(parent: int, work: Callable[[int], None], number: int) -> int:
    """Do the work in the process that was just forked; return its exit status."""
    status = 1
    try:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # it died before that
                return status
        work(number)
        status = 0
    except RedrushError as fault:
        print(f"redrush: {fault}", file=sys.stderr)  # noqa: T201 - a process of its own, whose stderr is its log
        status = fault.exit_code
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - whatever it was: the parent's code behind the fork must not go on here
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return status


def _handled(_number: int, _frame: FrameType | None) -> None:
    """Only a signal with a handler is written to the pipe."""
