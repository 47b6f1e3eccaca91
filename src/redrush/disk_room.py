"""What is said besides when a disk has no room for a file: how much is left of it, and what to do.

A fault says what it is about at its head, as `DIR/journal.db: database or disk is full`: by that the disk is found.
Of a file that may not grow any more, and of an index that has no room, SQLite says no more than "disk I/O error".
"""

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

FEW_BYTES: Final = 1 << 20
"""With less than this, what cannot be written has no room, whatever else is said of it."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def with_room(sentence: str, fault: BaseException) -> str:
    """Return the sentence of a fault; where it comes of a disk without room, with what is left of it and what to do.

    One that names no place, as of standard output, says enough.
    """
    if not (kinds := set(map(_kind, _causes(fault)))) - {None}:
        return sentence
    left = _left_at(sentence.partition(": ")[0])
    if "full" in kinds or ("io" in kinds and left is not None and left < FEW_BYTES):
        if left is None:
            return sentence
        room = f"make room on its disk, where {left >> 10:,} KB are left, or raise the quota, and go on"
        return f"{sentence}; {room}: nothing else is wrong with it"
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit != resource.RLIM_INFINITY:
        return f"{sentence}; files of this process may have {limit:,} bytes at most (ulimit -f): raise that, and go on"
    return f"{sentence}; the disk may be failing: the system's log (dmesg) says more" if "io" in kinds else sentence


def _causes(fault: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = fault
    while cause is not None:
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _kind(fault: BaseException) -> str | None:
    """Return "full", "limit" or "io" for what the system, or SQLite, says of a disk. SQLite's are known by their names:
    whoever says a sentence need not load it."""
    if isinstance(fault, OSError):
        return "full" if fault.errno in _FULL else {errno.EFBIG: "limit", errno.EIO: "io"}.get(fault.errno or 0)
    if type(fault).__module__ == "apsw":
        return {"FullError": "full", "IOError": "io"}.get(type(fault).__name__)
    return None


def _left_at(named: str) -> int | None:
    """Return the bytes that this user may still fill where a sentence says; None if it names no place."""
    path = Path(named)
    if not path.exists() and (os.sep not in named or not path.parent.exists()):
        return None
    try:
        disk = os.statvfs(path if path.exists() else path.parent)
    except OSError:
        return None
    return disk.f_bavail * disk.f_frsize
