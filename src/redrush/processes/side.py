"""Crowds in processes of their own: how one is started, and how it is ended whatever happens to whoever started it."""

import signal
from multiprocessing.context import SpawnProcess
from typing import Final

ENDING_DEADLINE_S: Final = 5.0
"""How long a process may take to end after its work, or after being told to."""


def start_deaf(process: SpawnProcess) -> None:
    """Start the process, deaf to Ctrl-C: that is the parent's to handle, and it ends the process. For the main thread.

    What is ignored when a child starts stays so in it.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, before)


def end(process: SpawnProcess) -> None:
    """Return when the process has ended, by itself or by force."""
    process.join(ENDING_DEADLINE_S)
    if process.is_alive():
        process.kill()
        process.join()
    process.close()
