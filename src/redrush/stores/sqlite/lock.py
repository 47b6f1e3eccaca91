"""One process per journal: an advisory lock on a file beside it, which the kernel drops when its holder dies.

The journal itself is locked too, by its inode: whoever comes to the same file by another name, a hard link, meets that
lock. (`flock` and the byte ranges that SQLite locks do not meet each other.) It is taken second, so that a process
never closes a descriptor of a journal that it has open already, which would take SQLite's locks away.

SQLite's own locks last for a transaction; two servers would take turns and both believe their memory. The lock file is
never deleted: removing it while another process waits would let two of them hold "the" lock.
"""

import fcntl
import os
from pathlib import Path

from redrush.errors import ConfigError


class StoreInUse(ConfigError):
    """Another process, or another store of this one, writes the journal."""


def holder(path: Path) -> int | None:
    """Return the process that writes the journal at `path`, None if nobody does."""
    try:
        descriptor = os.open(_lock_of(path), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        said = os.pread(descriptor, 32, 0).strip()
        return int(said) if said.isdigit() else None
    finally:
        os.close(descriptor)
    return None


def _lock_of(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


class JournalLock:
    """Holds `<path>.lock` exclusively from construction to `release`. Raises StoreInUse if someone has it."""

    def __init__(self, path: Path) -> None:
        self._path = _lock_of(path)
        self._journal = path
        self._journal_fd = -1
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            raise StoreInUse(f"{path} is written by process {holder or '(unknown)'}; stop that one first") from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode("ascii"), 0)

    def take_journal(self) -> None:
        """Lock the journal's inode as well, making the file if there is none. Call it before SQLite opens the file.

        Raises StoreInUse if it is served under another name, OSError if it cannot be opened.
        """
        self._journal_fd = os.open(self._journal, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fchmod(self._journal_fd, 0o600)
        try:
            fcntl.flock(self._journal_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreInUse(
                f"{self._journal} is served under another name: it is a hard link of a journal in use; stop that "
                "server first"
            ) from None

    def release(self) -> None:
        """Let others have the journal, which must be closed by now. Does nothing the second time."""
        for descriptor in (self._journal_fd, self._fd):
            if descriptor >= 0:
                os.close(descriptor)
        self._journal_fd = self._fd = -1
