"""A disk for SQLite that loses power, fails, fills up or lies on command.

Written bytes stay in the memory of this process and reach the real file only at xSync, so SIGKILL is a power loss: what
was not synchronised is gone. A real disk may also have written any part of it, in any order, so at the moment of death
a random part is written out, sometimes torn inside a write; and a sync that dies midway has done its writes in random
order. The wal-index (-shm) is not a matter of durability and stays with the system.
"""
# ruff: noqa: N802 - the names of the methods are SQLite's

import os
import random
import signal
from dataclasses import dataclass, field
from typing import Final

import apsw

from tests.raw_files import SIMULATED

VFS_NAME: Final = "faulty"
_CACHED: Final = apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL


@dataclass
class Faults:
    """What goes wrong. Events are writes by SQLite and single writes to the real file during a sync, from 1."""

    seed: int = 0
    power_fails_at_event: int | None = None
    sync_fails_at: int | None = None
    write_full_at: int | None = None
    full_for_writes: int = 1  # then somebody has made room
    sync_lies: bool = False
    armed: bool = True  # nothing is counted and nothing fails before this is set
    events: int = 0
    syncs: int = 0
    writes: int = 0
    failed: bool = False
    touched_after_failure: int = 0


@dataclass
class _Image:
    """The file as SQLite sees it, and what the disk lacks yet: writes (offset, bytes) and truncations (size)."""

    path: str
    content: bytearray
    unsynced: list[tuple[int, bytes] | int] = field(default_factory=list)

    def write_out(self, operation: tuple[int, bytes] | int) -> None:
        with open(self.path, "r+b") as real:
            if isinstance(operation, int):
                real.truncate(operation)
            else:
                real.seek(operation[0])
                real.write(operation[1])


class FaultyVFS(apsw.VFS):
    """Registered as `VFS_NAME` while the object lives."""

    def __init__(self, faults: Faults) -> None:
        super().__init__(VFS_NAME, "")
        self.faults = faults
        self.images: dict[str, _Image] = {}
        self.random = random.Random(faults.seed)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        if name is None or not flags[0] & _CACHED:
            return apsw.VFSFile("", name, flags)
        return _FaultyFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.images.pop(filename, None)
        super().xDelete(filename, syncdir)

    def image(self, path: str) -> _Image:
        """Return the one image of a file, shared by all connections of the process."""
        if path not in self.images:
            SIMULATED.add(path)
            with open(path, "rb") as real:
                self.images[path] = _Image(path, bytearray(real.read()))
        return self.images[path]

    def event(self) -> None:
        if not self.faults.armed:
            return
        self.faults.events += 1
        if self.faults.events == self.faults.power_fails_at_event:
            self._lose_power()

    def _lose_power(self) -> None:
        if not self.faults.sync_lies:
            for image in self.images.values():
                for operation in image.unsynced:
                    if self.random.random() < 0.5:
                        image.write_out(self._torn(operation))
        os.kill(os.getpid(), signal.SIGKILL)

    def _torn(self, operation: tuple[int, bytes] | int) -> tuple[int, bytes] | int:
        if isinstance(operation, int) or self.random.random() < 0.7:
            return operation
        return operation[0], operation[1][: self.random.randrange(len(operation[1]) + 1)]


class _FaultyFile(apsw.VFSFile):
    def __init__(self, vfs: FaultyVFS, name: str | apsw.URIFilename, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._vfs = vfs
        self._image = vfs.image(name if isinstance(name, str) else name.filename())

    def xRead(self, amount: int, offset: int) -> bytes:
        return bytes(self._image.content[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:
        faults, content = self._vfs.faults, self._image.content
        if faults.armed:
            faults.touched_after_failure += faults.failed
            faults.writes += 1
            full_at = faults.write_full_at
            if full_at is not None and full_at <= faults.writes < full_at + faults.full_for_writes:
                faults.failed = True
                raise apsw.FullError("no space left on the simulated disk")
        if len(content) < offset:
            content.extend(bytes(offset - len(content)))
        content[offset : offset + len(data)] = data
        self._image.unsynced.append((offset, bytes(data)))
        self._vfs.event()

    def xTruncate(self, newsize: int) -> None:
        del self._image.content[newsize:]
        self._image.unsynced.append(newsize)

    def xFileSize(self) -> int:
        return len(self._image.content)

    def xSync(self, flags: int) -> None:
        faults, image = self._vfs.faults, self._image
        if faults.armed:
            faults.touched_after_failure += faults.failed
            faults.syncs += 1
            if faults.syncs == faults.sync_fails_at:
                faults.failed = True
                # As Linux does: the error is told once, and the pages count as clean from then on.
                image.unsynced.clear()
                raise apsw.IOError("the simulated disk failed to synchronise")
        if faults.sync_lies:
            return
        for index in self._order():
            image.write_out(image.unsynced[index])
            self._vfs.event()
        image.unsynced.clear()

    def _order(self) -> list[int]:
        """Return the unsynchronised operations in the order of this sync: shuffled unless two touch the same bytes."""
        operations = self._image.unsynced
        order = list(range(len(operations)))
        offsets = [operation[0] for operation in operations if not isinstance(operation, int)]
        if len(set(offsets)) == len(operations):
            self._vfs.random.shuffle(order)
        return order
