"""A real `redrush serve` as a child process: started, watched, stopped gracefully, and its last words kept.

The server gets its own session, so that Ctrl-C in the terminal reaches only the rehearsal, which then ends it in order.
"""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from redrush.processes.failure import SAID_NOTHING, ServerFailed, last_words

READY_LINE = b"ready"


class ServerProcess:
    """One server. `start` returns once it prints `ready`; `stop` sends SIGTERM and waits."""

    def __init__(self, command: Sequence[str], log_path: Path) -> None:
        self._command = list(command)
        self._log_path = log_path
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; the server must have been started."""
        assert self._process is not None
        return self._process.pid

    def start(self, deadline_s: float) -> None:
        """Start it and wait for its `ready`. Raises ServerFailed with its own last words if that does not come."""
        with self._log_path.open("wb") as log:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own command
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,
                )
            except OSError as fault:
                raise ServerFailed(f"the server cannot be started: {fault}") from fault
        assert self._process.stdout is not None
        until_s = time.monotonic() + deadline_s
        if not _reads_line(self._process.stdout, READY_LINE, until_s):
            ended = time.monotonic() < until_s
            self.kill()
            why = "ended before it was ready" if ended else f"was not ready within {deadline_s:g} s"
            raise ServerFailed(f"the server {why}: {self.last_words()}")

    def check(self) -> None:
        """Raise ServerFailed if the server has died."""
        assert self._process is not None
        code = self._process.poll()
        if code is not None:
            raise ServerFailed(f"the server ended with code {code} during the event: {self.last_words()}")

    def pause(self) -> None:
        """Let it do nothing more until `resume`: what it was doing hangs, its sockets stay open (SIGSTOP)."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`. Nothing happens to one that is not paused."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self, deadline_s: float) -> None:
        """Ask it to finish what it accepted and wait. Raises ServerFailed if it ends badly or not in time."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailed(f"the server did not stop within {deadline_s:g} s of SIGTERM") from None
        self._close()
        if code != 0:
            raise ServerFailed(f"the server stopped with code {code}: {self.last_words()}")

    def kill(self) -> None:
        """End it at once, if it still runs. Never raises."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        self._close()

    def last_words(self) -> str:
        """Return the end of what the server wrote to stderr."""
        return last_words(self._log_path) or SAID_NOTHING

    def _close(self) -> None:
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()


def _reads_line(stream: IO[bytes], line: bytes, deadline_s: float) -> bool:
    """Read until `line` comes (True), or the stream ends or the deadline passes (False)."""
    data = b""
    while (left_s := deadline_s - time.monotonic()) > 0:
        readable, _, _ = select.select([stream], [], [], left_s)
        if not readable:
            return False
        chunk = os.read(stream.fileno(), 4096)
        if not chunk:
            return False
        data += chunk
        if line in data.split(b"\n")[:-1]:
            return True
    return False
