"""Stopping a server without ending it: its sockets stay open, its kernel acknowledges, and nobody answers."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a process with its children, such as PostgreSQL with one for each connection; they go on at the end."""
    os.kill(pid, signal.SIGSTOP)  # first, so that it starts no more of them
    pids = [pid, *_children(pid)]
    try:
        for child in pids[1:]:
            os.kill(child, signal.SIGSTOP)
        yield
    finally:
        for each in pids:
            os.kill(each, signal.SIGCONT)


def _children(pid: int) -> list[int]:
    """Return those that run. A stopped parent reaps nobody, so none of these ids can become another's meanwhile."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(") ")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(stat.parent.name))
    return found
