"""How long tests wait, and what they may say of time on a machine whose cores others have as well.

Whoever waits for something waits for it, not for a time: PATIENCE_S only ends a wait for what never comes. Where it is
the point how long something takes, OwnTime says it without the time in which others had the cores.
"""

import os
import time
from pathlib import Path
from typing import Final

PATIENCE_S: Final = 60.0
"""Until something must have happened that takes moments, and much longer while the machine is busy."""


def waited_s(pid: int) -> float:
    """Return for how long the threads of a process were ready to run and others had the cores. Ended ones are not
    counted."""
    waited_ns = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            waited_ns += int((thread / "schedstat").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
    return waited_ns / 1e9


class OwnTime:
    """The time since it was made, without what this process, and others named by their ids, waited for a core."""

    def __init__(self, *pids: int) -> None:
        self._pids = (os.getpid(), *pids)
        self._waited_s = {pid: waited_s(pid) for pid in self._pids}
        self._began_s = time.monotonic()

    @property
    def passed_s(self) -> float:
        """Seconds."""
        passed_s = time.monotonic() - self._began_s
        return passed_s - sum(waited_s(pid) - before_s for pid, before_s in self._waited_s.items())


def until_no_midnight_is_near() -> None:
    """Return when no day ends within a minute, whatever the zone: for what has to be of one day."""
    left_s = 3_600 - time.time() % 3_600
    if left_s < PATIENCE_S:
        time.sleep(left_s)
