"""SQLite on the real disk, in a process that kills itself at a named operation on a named file.

Reads, locks and shared memory are SQLite's own; only writes and syncs pass through here. A torn write puts the first
half of the bytes into the file and dies.
"""
# ruff: noqa: N802 - the names of the methods are SQLite's

from collections.abc import Callable
from pathlib import Path
from typing import Final

import apsw

from tests.acceptance.crash.deaths import Point

VFS_NAME: Final = "killing"

Passed = Callable[[Point], bool]
"""Counts a pass of the point; True if the process must die at this one."""

_WRITES: Final = {
    "journal.db-wal": (Point.BEFORE_WRITE, Point.TORN_WRITE),
    "journal.db": (Point.CHECKPOINT_WRITE, Point.RECOVERY),
    "records.db-wal": (Point.RECORDER_COMMIT,),
}
_TORN: Final = frozenset({Point.TORN_WRITE, Point.CHECKPOINT_WRITE, Point.RECOVERY, Point.RECORDER_COMMIT})
_SYNCS: Final = {"journal.db-wal": (Point.BEFORE_SYNC,), "journal.db": (Point.CHECKPOINT_SYNC,)}


class KillingVFS(apsw.VFS):
    """Registered as `VFS_NAME` while the object lives. `die` does not return."""

    def __init__(self, passed: Passed, die: Callable[[], None]) -> None:
        super().__init__(VFS_NAME, "")
        self.passed = passed
        self.die = die

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        if name is None:
            return apsw.VFSFile("", name, flags)
        return _KillingFile(self, name, flags)


class _KillingFile(apsw.VFSFile):
    def __init__(self, vfs: KillingVFS, name: str | apsw.URIFilename, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._vfs = vfs
        self._name = Path(name if isinstance(name, str) else name.filename()).name

    def xWrite(self, data: bytes, offset: int) -> None:
        for point in _WRITES.get(self._name, ()):
            if self._vfs.passed(point):
                if point in _TORN:
                    super().xWrite(data[: len(data) // 2], offset)
                self._vfs.die()
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        for point in _SYNCS.get(self._name, ()):
            if self._vfs.passed(point):
                self._vfs.die()
        super().xSync(flags)
        if self._name == "journal.db-wal" and self._vfs.passed(Point.AFTER_SYNC):
            self._vfs.die()
