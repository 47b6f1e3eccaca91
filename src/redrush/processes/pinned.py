"""Child processes of the benchmark: each pinned to one core, watched from outside, and ended with the benchmark.

CPU time is read from the process's own CPU clock (POSIX clock_getcpuclockid), which counts every thread, living or
ended, in nanoseconds; /proc/PID/stat counts in steps of 10 ms, too coarse for a few thousand grabs.
"""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import Self

import msgspec

from redrush.errors import ConfigError
from redrush.processes.failure import ProcessFailed, last_words

STOP_DEADLINE_S = 20.0
"""A server that has not ended this long after SIGTERM is killed: longer than any of them waits for its clients."""
START_DEADLINE_S = 60.0
"""Longest wait for a server to answer; a restart with a million grants is far below."""
_POLL_S = 0.005


class Cores(msgspec.Struct, frozen=True):
    """Which core the servers run on, and which the load (and Redis, and the benchmark itself)."""

    server: int
    load: int


def choose_cores(allowed: set[int] | None = None) -> Cores:
    """Return two of the cores that this process may use. Raises ConfigError when there is only one."""
    usable = sorted(os.sched_getaffinity(0) if allowed is None else allowed)
    if len(usable) < 2:
        raise ConfigError("bench needs two CPU cores: one for the server under test, one for the load")
    return Cores(server=usable[0], load=usable[1])


class Memory(msgspec.Struct, frozen=True):
    """Memory of a process in KiB: resident, and its proportional share of it."""

    rss_kib: int
    pss_kib: int


class Child:
    """A running child process, pinned to a core. Use as a context manager: it has ended after the block.

    `setpriv --pdeathsig` lets the kernel end the child when the benchmark itself is killed.
    """

    def __init__(self, argv: Sequence[str], core: int, *, log: Path, name: str | None = None) -> None:
        pinned = ["setpriv", "--pdeathsig", "KILL", "taskset", "--cpu-list", str(core), *argv]
        self.name = name or Path(argv[0]).name
        self._log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(  # noqa: S603 - programs that `find_tools` found, and ourselves
                pinned, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, text=True
            )

    @property
    def pid(self) -> int:
        """The process id: setpriv and taskset become the program, they do not start another."""
        return self.process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def kill(self) -> None:
        """End the process as a crash would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End the process as an operator would, and by force if it does not obey."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    @contextmanager
    def killed_after(self, deadline_s: float) -> Iterator[None]:
        """Bound what the block waits for: the process is killed if the block is not over by then."""
        timer = Timer(deadline_s, self.process.kill)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def failure(self, what: str) -> ProcessFailed:
        """Return a fault that says what happened, with the last words of the process."""
        words = last_words(self._log).splitlines()
        said = f': it said "{words[-1]}"' if words else ""
        return ProcessFailed(f"{self.name} {what}{said}")

    def wait_for_line(self, line: str) -> None:
        """Return when the process has printed `line` on stdout. Raises ProcessFailed if it ends without."""
        assert self.process.stdout is not None
        with self.killed_after(START_DEADLINE_S):
            for printed in self.process.stdout:
                if printed.strip() == line:
                    return
            self.process.wait()
        raise self.failure(f'ended with {self.process.returncode} before it printed "{line}"')

    def wait_for_socket(self, address: str | tuple[str, int]) -> None:
        """Return when something listens at the address (a path, or host and port). Raises ProcessFailed."""
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        deadline_s = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < deadline_s:
            if self.process.poll() is not None:
                raise self.failure(f"ended with {self.process.returncode} before it listened")
            with socket.socket(family) as attempt:
                if attempt.connect_ex(address) == 0:
                    return
            time.sleep(_POLL_S)
        raise self.failure(f"does not listen at {address}")

    def check_alive(self) -> None:
        """Raise ProcessFailed, with its last words, if the process has ended."""
        if self.process.poll() is not None:
            raise self.failure(f"ended with {self.process.returncode} under load")

    def cpu_ns(self) -> int:
        """Return the CPU time that the process has used so far, all threads together, in nanoseconds."""
        return time.clock_gettime_ns((~self.pid << 3) | 2)

    def memory(self) -> Memory:
        """Return what the process holds now, from /proc."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text(encoding="ascii")
        fields = dict(line.split(":", 1) for line in rollup.splitlines()[1:])
        return Memory(rss_kib=int(fields["Rss"].split()[0]), pss_kib=int(fields["Pss"].split()[0]))


class Target(msgspec.Struct, frozen=True):
    """A server that takes grabs at a loopback port; `child` is the process whose CPU time counts, with that of the
    `others`, if it does not serve alone."""

    child: Child
    port: int
    others: tuple[Child, ...] = ()

    def check_alive(self) -> None:
        """Raise ProcessFailed if one of the processes has ended."""
        for child in (self.child, *self.others):
            child.check_alive()

    def cpu_ns(self) -> int:
        """Return the CPU time that the processes have used so far, in nanoseconds."""
        return self.child.cpu_ns() + sum(child.cpu_ns() for child in self.others)
