"""Ends the server of the embedded form that runs on a data directory, from another process."""

import os
import signal
import time
from typing import Final

from redrush.control.data_dir import DataDir
from redrush.control.switch_log import SwitchLog, SwitchLogInUse
from redrush.errors import RedrushError
from redrush.stores.sqlite.lock import holder

STOP_MAX_S: Final = 120.0
"""Clients get 10 s to take their answers; the rest of the journal is recorded then, which takes a minute at most."""
POLL_S: Final = 0.05


class NoServer(RedrushError):
    """No server runs on the directory."""


def stop_server(data_dir: DataDir) -> int:
    """Tell the server to stop and return its process id once it has let go of the directory.

    NoServer if none runs there; RedrushError if it may not be told, or does not end within STOP_MAX_S.
    """
    if not data_dir.root.is_dir():
        raise NoServer(f"{data_dir.root}: is no data directory, so no server runs on it")
    pid = holder(data_dir.journal)
    if pid is None or not _serves(data_dir):
        raise NoServer(f"{data_dir.root}: no server runs here; `redrush serve FILE --data {data_dir.root}` starts one")
    try:
        os.kill(pid, signal.SIGTERM)
    except OSError as fault:
        raise RedrushError(f"process {pid} cannot be told to stop: {fault.strerror}") from fault
    deadline_s = time.monotonic() + STOP_MAX_S
    while holder(data_dir.journal) == pid:
        if time.monotonic() > deadline_s:
            raise RedrushError(f"process {pid} did not stop within {STOP_MAX_S:g} s; it goes on stopping")
        time.sleep(POLL_S)
    return pid


def _serves(data_dir: DataDir) -> bool:
    """Return whether whoever has the journal is a server: those have the switches too; `reconcile` has not."""
    if not data_dir.switches.exists():
        return False
    try:
        SwitchLog.open(data_dir.switches).close()
    except SwitchLogInUse:
        return True
    return False
