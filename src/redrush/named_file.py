"""Files that somebody names, on a command line or in another file: opened without waiting, and read up to a bound.

A pipe would be waited for, for ever, if nobody writes to it, and can be read only once, where a server reads a file
again when it is asked to. So only files that are kept are read. Where a text is read once, from beginning to end, a
pipe is as good: whoever reads one says so.
"""

import errno
import os
import stat
import sys
from pathlib import Path
from typing import BinaryIO, Final

STDIN: Final = Path("-")
"""So standard input is named where a pipe may be."""

_KINDS: Final = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_named(path: Path, *, or_pipe: bool = False) -> BinaryIO:
    """Return the file, opened for reading; `or_pipe`: it may be a pipe that somebody writes to, and reading waits for
    what they write; so with STDIN. OSError as the disk does, and for what is neither, with a sentence of what to do."""
    if or_pipe and path == STDIN:
        return sys.stdin.buffer
    # O_NONBLOCK: opening a pipe waits for somebody who writes, else.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode) and not (or_pipe and stat.S_ISFIFO(mode)):
            raise NoKeptFile(path, mode)
        os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


class NoKeptFile(OSError):
    """It is no regular file."""

    def __init__(self, path: Path, mode: int) -> None:
        kind = next((kind for of_kind, kind in _KINDS if of_kind(mode)), "something else")
        super().__init__(errno.EINVAL, f"it is {kind}, not a file that is kept; save what it gives in one", str(path))


def read_named(path: Path, bytes_max: int, *, or_pipe: bool = False) -> bytes:
    """Return what is in the file, but no more than one byte more than `bytes_max`: then it is larger. OSError as
    `open_named`."""
    with open_named(path, or_pipe=or_pipe) as file:
        return file.read(bytes_max + 1)


def is_kept(path: Path) -> bool:
    """Return whether the content stays there, to be read again."""
    return path != STDIN and not path.is_fifo()
