"""People who are added to an audience while the event runs: a durable file beside the campaign, and the audit of it.

Every line of `audience-additions.jsonl` says who was added, when, by whom and why. It is only appended to, by one
command at a time, and every server of the directory looks at it once a second and reads what is new: nobody restarts.
A server that starts reads the list of the campaign file first, and then all of this.

Nobody is taken off an audience here. Gates answer from memory whom they have let in, on many machines at once, and
what somebody has won stays theirs: a list with fewer people counts from the next start on, for what is not won yet.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from redrush.control.data_dir import DataDir
from redrush.core.rush.instants import rfc3339
from redrush.errors import ConfigError

ADDED_MAX: Final = 1_000_000
"""People added in one event; more are another audience. A gate keeps some 60 bytes of each."""

USERS_OF_A_LINE_MAX: Final = 500
READ_BYTES_MAX: Final = 256 << 10
"""Read at a time, in the loop that serves claims: a millisecond's work. A line is always shorter."""


class Addition(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the file."""

    at: str
    who: str
    why: str
    users: tuple[str, ...]


_decode = msgspec.json.Decoder(Addition).decode


def additions_of(data_dir: DataDir) -> Iterator[Addition]:
    """Yield every line that was ever written. ConfigError if the file cannot be read."""
    path = data_dir.audience_additions
    try:
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):  # else its writer was killed, and the next one takes it away
                    yield _decode(line)
    except FileNotFoundError:
        return
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from fault
    except msgspec.DecodeError as fault:
        raise ConfigError(f"{path}: is not a file of additions: {fault}") from fault


def add_to_audience(data_dir: DataDir, users: Iterable[str], who: str, why: str, now_us: int) -> int:
    """Add users, ids in their normal form, durably; return how many were not added before.

    Adding somebody again changes nothing. ConfigError for more than `ADDED_MAX`, or if the disk refuses.
    """
    data_dir.require()
    path = data_dir.audience_additions
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be written: {fault.strerror}") from fault
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        known = {user for addition in additions_of(data_dir) for user in addition.users}
        new = [user for user in dict.fromkeys(users) if user not in known]
        if len(known) + len(new) > ADDED_MAX:
            raise ConfigError(
                f"{data_dir.root}: {len(known):,} people were added before, and {len(new):,} more are beyond the most, "
                f"{ADDED_MAX:,}; put them into the audience's file and restart"
            )
        _cut_half_line(descriptor)
        for first in range(0, len(new), USERS_OF_A_LINE_MAX):
            some = tuple(new[first : first + USERS_OF_A_LINE_MAX])
            line = msgspec.json.encode(Addition(at=rfc3339(now_us), who=who, why=why, users=some)) + b"\n"
            _write_all(descriptor, line)
        os.fsync(descriptor)
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be written: {fault.strerror}") from fault
    finally:
        os.close(descriptor)
    return len(new)


def _cut_half_line(descriptor: int) -> None:
    """Take away what a writer that was killed has left behind the last whole line."""
    size = os.fstat(descriptor).st_size
    tail = os.pread(descriptor, READ_BYTES_MAX, max(0, size - READ_BYTES_MAX))
    os.ftruncate(descriptor, size - (len(tail) - tail.rfind(b"\n") - 1))


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


class AudienceFollower:
    """Tells a server whom the file has that it has not heard of yet. `look` is cheap where nothing is new."""

    def __init__(self, data_dir: DataDir, add: Callable[[Sequence[str]], None]) -> None:
        self._path: Path = data_dir.audience_additions
        self._add = add
        self._read_bytes = 0

    def look(self) -> None:
        """Hear of the next users, `READ_BYTES_MAX` at most. A file that cannot be read is looked at again next time."""
        self._look()

    def look_at_all(self) -> None:
        """Hear of everybody, at a start."""
        while self._look():
            pass

    def _look(self) -> bool:
        """Return whether more may follow."""
        try:
            size = self._path.stat().st_size
            if size <= self._read_bytes:
                return False
            with self._path.open("rb") as file:
                file.seek(self._read_bytes)
                data = file.read(READ_BYTES_MAX)
        except OSError:
            return False
        whole = data[: data.rfind(b"\n") + 1]
        for line in whole.splitlines():
            try:
                self._add(_decode(line).users)
            except msgspec.DecodeError:
                continue  # `redrush audience list` tells of it
        self._read_bytes += len(whole)
        return bool(whole) and self._read_bytes < size
