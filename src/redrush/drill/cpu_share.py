"""A share of a core for a process, by a control group of the kernel: the process runs for a part of every ten
milliseconds and waits for the rest, as in a container with a small CPU limit.

Only where this account may make a group (as root, or in a delegated one); there is no other fair way: stopping and
continuing a process (SIGSTOP) in such short turns is done late by whoever does it, and its priority says nothing while
nobody else wants the core. Both versions of control groups are known; what a machine has is told by `find_groups`.
"""

import os
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec

PERIOD_US: Final = 10_000
"""Short next to the latencies that are judged; the kernel's own choice, a tenth of a second, would be the latency."""
REMOVED_WITHIN_S: Final = 5.0
"""A group goes when its last process has: the kernel may take a moment."""
POLL_S: Final = 0.02


class Groups(msgspec.Struct, frozen=True):
    """The group in which others may be made, and which version of control groups it is of."""

    parent: Path
    version: int


def find_groups(own: Path = Path("/proc/self/cgroup"), mounts: Path = Path("/sys/fs/cgroup")) -> Groups | None:
    """Return where this account may make groups that share out CPU time, or None."""
    try:
        lines = [line.split(":", 2) for line in own.read_text(encoding="ascii").splitlines()]
    except OSError:
        return None
    for _, controllers, path in lines:
        if "cpu" in controllers.split(","):
            group = mounts / controllers / path.lstrip("/")
            if os.access(group, os.W_OK) and (group / "cpu.cfs_quota_us").exists():
                return Groups(group, 1)
        elif not controllers:
            ours = mounts / path.lstrip("/")
            # A group that has processes may have no children with limits, so ours would be beside us, if not the root.
            for group in (ours, ours.parent):
                if os.access(group, os.W_OK) and "cpu" in _words(group / "cgroup.subtree_control"):
                    return Groups(group, 2)
    return None


class CpuShare:
    """A context: a group with a share of one core, which `take` puts processes into. They must have ended before."""

    def __init__(self, groups: Groups, share: float) -> None:
        """`share` of one core, from 0.1: less is not shared out evenly in turns this short."""
        self._groups = groups
        self._share = share
        self._path = groups.parent / f"redrush-drill-{os.getpid()}"

    def __enter__(self) -> "CpuShare":
        """Raises OSError if the group cannot be made after all."""
        self._path.mkdir()
        quota_us = round(self._share * PERIOD_US)
        if self._groups.version == 1:
            (self._path / "cpu.cfs_period_us").write_text(str(PERIOD_US), encoding="ascii")
            (self._path / "cpu.cfs_quota_us").write_text(str(quota_us), encoding="ascii")
        else:
            (self._path / "cpu.max").write_text(f"{quota_us} {PERIOD_US}", encoding="ascii")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        until_s = time.monotonic() + REMOVED_WITHIN_S
        while time.monotonic() < until_s:
            with suppress(OSError):
                self._path.rmdir()
                return
            time.sleep(POLL_S)

    def take(self, pid: int) -> None:
        """Let the process, with all its threads, have the share and no more. Raises OSError."""
        (self._path / "cgroup.procs").write_text(str(pid), encoding="ascii")


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:
        return []
