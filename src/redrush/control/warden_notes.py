"""What a warden notes before it changes the terms of a set, so that the one after it knows. See `core/sets/failover`.

A file per set, replaced as a whole and fsynced, another one for how far its log was, and one for where it ended where
all ended in good order; a lock keeps a second warden
of the same deployment away. Where the control role may move to another machine, the directory has to move with it.
Without its notes a warden waits until it has seen every server of the set.
"""

import fcntl
import os
from pathlib import Path
from typing import Self

import msgspec

from redrush.control.durable_file import write_durably
from redrush.core.sets.failover import Noted
from redrush.errors import ConfigError
from redrush.ports.store import Known


class WardenNotes:
    """The notes of one set in `directory`. Holds the lock until `close`."""

    def __init__(self, path: Path, lock: int, noted: Noted) -> None:
        self._path = path
        self._lock = lock
        self.noted = noted
        self.witnessed = _known_in(witness_of(path))
        """How far the log was that servers have held durably, as noted last; None: nothing, or the note is damaged."""
        self.ended = _known_in(_end_of(path))
        """Where the log ended when nobody was left who could have added to it; None: it may have been added to."""

    @classmethod
    def open_path(cls, directory: Path, set_id: str) -> Self:
        """Open the notes, empty ones if there are none. Raises ConfigError if another warden has them."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"warden-{set_id}.json"
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            noted = msgspec.json.decode(path.read_bytes(), type=Noted) if path.exists() else Noted()
        except BlockingIOError:
            os.close(lock)
            raise ConfigError(f"{path}: another control process watches over set {set_id}") from None
        except msgspec.DecodeError as error:
            os.close(lock)
            raise ConfigError(f"{path}: is damaged ({error}); see that all servers run, then remove it") from error
        return cls(path, lock, noted)

    def note(self, noted: Noted) -> None:
        """Keep this, durably when it returns. Raises OSError: then nothing may be done that it was to note."""
        write_durably(self._path, msgspec.json.encode(noted))
        self.noted = noted

    def note_witnessed(self, known: Known) -> None:
        """Keep this too, in a file of its own. Blocks for an fsync. Raises OSError."""
        write_durably(witness_of(self._path), msgspec.json.encode(known))
        self.witnessed = known

    def note_ended(self, known: Known) -> None:
        """Keep where the log ended: every gate has ended, and what a server that was proven all the time holds is all.
        Blocks for an fsync. Raises OSError."""
        write_durably(_end_of(self._path), msgspec.json.encode(known))
        self.ended = known

    def forget_ended(self) -> None:
        """From now on the log may be added to. Durable when it returns. Raises OSError: then nobody may use the set."""
        if self.ended is None and not _end_of(self._path).exists():
            return
        _end_of(self._path).unlink(missing_ok=True)
        directory = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        self.ended = None

    def close(self) -> None:
        """Let another warden have them."""
        os.close(self._lock)


def witness_of(notes: Path) -> Path:
    """Return the file beside the notes that says how far the set's log was."""
    return notes.with_name(notes.name.replace("warden-", "witness-", 1))


def _end_of(notes: Path) -> Path:
    return notes.with_name(notes.name.replace("warden-", "ended-", 1))


def _known_in(path: Path) -> Known | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Known)
    except (FileNotFoundError, msgspec.DecodeError):
        return None  # whoever compares has to ask others then
