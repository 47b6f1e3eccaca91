"""A server in the background: a process of its own that outlives the command which started it, with a log file."""

import ctypes
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from redrush.core.identity.user_ids import visible
from redrush.errors import ConfigError, RedrushError
from redrush.processes.failure import last_line

LOG_BYTES_MAX: Final = 8_000_000
"""A log that has grown beyond this is put aside at the next start, in the place of the one before."""

ROOM_BYTES: Final = 262_144
"""Kept for what a server says: it says little, and most of that at its start and its end."""

_FALLOC_FL_KEEP_SIZE: Final = 1

SAID: Final = "redrush: "
"""What a command says of how it ended begins so."""

_ADDRESS = re.compile(r"[a-z]+ http://\S+")


class _Entry(msgspec.Struct, frozen=True):
    """The fields that are read of an entry of the log."""

    event: str
    level: str


def start_detached(arguments: Sequence[str], log_path: Path) -> str:
    """Start `redrush` with these arguments in the background and return when it is ready: what it warned of, where it
    answers, and its process and log, in lines. The directory of the log must exist.

    If it ends instead, its last words are raised; if we are interrupted meanwhile, it is ended.
    """
    if log_path.exists() and log_path.stat().st_size > LOG_BYTES_MAX:
        log_path.replace(log_path.with_suffix(".log.1"))
    begins_at = log_path.stat().st_size if log_path.exists() else 0
    with log_path.open("ab") as log:
        _keep_room(log.fileno(), begins_at)
        process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "redrush", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    try:
        assert process.stdout is not None
        with process.stdout as said:
            ready = any(line == b"ready\n" for line in said)
    except BaseException:
        process.terminate()
        raise
    lines = _lines(log_path, begins_at)
    if ready:
        process.returncode = 0  # not ours to wait for any more
        addresses = [line for line in lines if _ADDRESS.fullmatch(line)]
        return "".join(
            f"{line}\n" for line in (*_warnings(lines), *addresses, f"process {process.pid}, log {log_path}")
        )
    code = process.wait()
    sentence = _last_words(lines) or f"it ended with code {code}"
    raise ConfigError(sentence) if code == ConfigError.exit_code else RedrushError(sentence)


def _keep_room(log: int, begins_at: int) -> None:
    """Take room on the disk for the log from here on, its size unchanged: a server that ends because there is none says
    so. Where the file system cannot, the log is as any other file."""
    with suppress(AttributeError):  # a system without the call
        fallocate = ctypes.CDLL(None).fallocate
        fallocate(log, _FALLOC_FL_KEEP_SIZE, ctypes.c_int64(begins_at), ctypes.c_int64(ROOM_BYTES))


def how_it_ended(log_path: Path) -> str:
    """Return what the last process that wrote this log has said of its end, as the rest of a sentence that says that
    none runs; "" if it has ended in order, or there is no log."""
    line = last_line(log_path)
    if not line.startswith(SAID) or _is_warning(line):
        return ""
    return f"; the last one ended, by {log_path}, with: {line.removeprefix(SAID)}"


@contextmanager
def directory_for(log_path: Path, create: Callable[[], None]) -> Iterator[None]:
    """Make the directory of a log; where it was not there before, and the block fails and has left nothing in it but
    the log, it is taken away again: the fault was told."""
    directory = log_path.parent
    was_there = directory.exists()
    create()
    try:
        yield
    except BaseException:
        if not was_there and [path.name for path in directory.iterdir()] == [log_path.name]:
            log_path.unlink()
            directory.rmdir()
        raise


def _is_warning(line: str) -> bool:
    return line.startswith(f"{SAID}warning: ")


def _warnings(lines: Sequence[str]) -> list[str]:
    """Return what was warned of at the start, for the person who cannot see the log."""
    told = []
    for line in lines:
        if _is_warning(line):
            told.append(line.removeprefix(SAID))
        elif line.startswith("{"):
            with suppress(msgspec.MsgspecError):
                entry = msgspec.json.decode(line, type=_Entry)
                if entry.level in {"warning", "error"}:
                    told.append(f"{entry.level}: {visible(entry.event)}")
    return told


def _last_words(lines: Sequence[str]) -> str:
    """Return the refusal with which a log ends: some have a line for each thing that is wrong."""
    begins = [number for number, line in enumerate(lines) if line.startswith(SAID)]
    return "\n".join(lines[begins[-1] :] if begins else lines[-1:]).removeprefix(SAID)


def _lines(log_path: Path, begins_at: int) -> list[str]:
    with log_path.open("rb") as log:
        log.seek(begins_at)
        return log.read().decode(errors="replace").strip().splitlines()
