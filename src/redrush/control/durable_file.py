"""Writing a file so that after a crash it is there whole, or not at all; and noticing that it was."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

Stamp = tuple[int, int, int]
"""When a file was written, in ns, its size in bytes, and its inode."""


def write_durably(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace `path` by `content`: written beside it, fsynced, renamed, and the directory fsynced. Raises OSError.

    Of processes that do so at once, the last one's content stays.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    _write(beside, content, mode)
    beside.replace(path)
    sync_directory(path.parent)


@contextmanager
def writing_durably(path: Path, mode: int = 0o600) -> Iterator[TextIO]:
    """Yield a file to write text to; what was written replaces `path` at the end, and nothing of it if that fails.

    Raises OSError.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def create_durably(path: Path, content: bytes, mode: int = 0o600) -> bool:
    """Make `path` with `content` as `write_durably` does, unless it is there or another process has made it first;
    return whether it was made. Raises OSError."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    _write(beside, content, mode)
    try:
        # A link, unlike a rename, does not replace what is there.
        os.link(beside, path)
    except FileExistsError:
        return False
    finally:
        beside.unlink()
    sync_directory(path.parent)
    return True


def append_durably(path: Path, line: bytes) -> None:
    """Add the line to the end of `path`, its owner's alone; it is on the disk at the return. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        write_whole(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(descriptor: int, content: bytes) -> None:
    """Write all of it: a disk that fills up may take a part first. Raises OSError."""
    while content:
        content = content[os.write(descriptor, content) :]


def stamp_of(path: Path) -> Stamp | None:
    """Return what changes whenever the file is replaced, for whoever follows it; None if it cannot be had."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Make the names in the directory durable. Raises OSError."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
