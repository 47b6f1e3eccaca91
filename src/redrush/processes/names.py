"""Which process is which: a process id with its start time, which together are never given twice."""

import os
import signal
from pathlib import Path

import msgspec


class ProcessName(msgspec.Struct, frozen=True):
    """A process, even after its id has been given to another one. `started` is in clock ticks since the boot."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return _started(self.pid) == self.started

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it, and to nobody else. It may have ended already."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if self.alive:
                signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return
        finally:
            os.close(descriptor)


def process_name(pid: int) -> ProcessName | None:
    """Return the name of the process with this id, or None if there is none, or only its corpse."""
    started = _started(pid)
    return None if started is None else ProcessName(pid, started)


def _started(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # After the command's name, which is in parentheses and may hold anything: the state, and 19 fields on the start.
    fields = stat.rpartition(b") ")[2].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])
