"""People who are added to an audience, or taken off it, while the event runs: a durable file, and the audit of it.

Every line of `audience-additions.jsonl` says who was added or removed, when, by whom and why; the last one about a
person counts. It is only appended to, by one
command at a time, and every server of the directory looks at it once a second and reads what is new: nobody restarts.
A server that starts reads the list of the campaign file first, and then all of this. How long the file is stands in a
mark beside it (`redrush.control.switch_mark`), so that one that was lost, cut, edited or wound back is told of, and not
taken for all: those who were added and are missing in it would be turned away.

What somebody has won before they were removed stays theirs, and they are told of it as before; their ticket stays good
for that, and everything else that they ask is answered with `not_eligible`.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from redrush.control.data_dir import DataDir
from redrush.control.switch_mark import SwitchMark, digest_of, keep_mark, mark_of, read_mark
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
    users: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


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


def check_additions(data_dir: DataDir) -> None:
    """Raise ConfigError if the file lacks somebody who was added, by its mark, and say what helps."""
    path = data_dir.audience_additions
    try:
        mark = read_mark(path)
        content = path.read_bytes() if path.exists() else b""
    except OSError as fault:
        raise ConfigError(f"{fault.filename or path}: cannot be read: {fault.strerror}") from fault
    if mark is None or (len(content) >= mark.bytes and digest_of(content[: mark.bytes]) == mark.digest):
        return
    lines = content.count(b"\n")
    what = f"has {lines} additions, and there were {mark.version}" if lines < mark.version else "was changed"
    raise ConfigError(
        f"{path}: {what}: people who may win would be turned away; put it back (`redrush restore BACKUP --data "
        f"{data_dir.root} --only {path.name}`), or `redrush audience accept --data {data_dir.root} --why …` goes on "
        "with it as it is"
    )


def accept_additions(data_dir: DataDir) -> int:
    """Go on with the file as it is; return how many additions it has. ConfigError if that cannot be noted, or if nobody
    was ever added."""
    path = data_dir.audience_additions
    if not path.exists() and not mark_of(path).exists():
        raise ConfigError(f"{path}: nobody was ever added, nothing is to be accepted")
    count = sum(1 for _ in additions_of(data_dir))
    try:
        content = path.read_bytes() if path.exists() else b""
        _keep_mark(path, content)
    except OSError as fault:
        raise ConfigError(f"{fault.filename or path}: cannot be written: {fault.strerror}") from fault
    return count


def _keep_mark(path: Path, content: bytes) -> None:
    whole = content[: content.rfind(b"\n") + 1]
    keep_mark(path, SwitchMark(whole.count(b"\n"), len(whole), digest_of(whole)))


def add_to_audience(data_dir: DataDir, users: Iterable[str], who: str, why: str, now_us: int) -> int:
    """Add users, ids in their normal form, durably; return how many were not added before, or were removed since.

    Adding somebody again changes nothing. ConfigError as from `remove_from_audience`.
    """
    return _append(data_dir, users, "users", who, why, now_us)


def remove_from_audience(data_dir: DataDir, users: Iterable[str], who: str, why: str, now_us: int) -> int:
    """Take users off the audience, whether they are on the campaign's list or were added; return how many were not
    removed before, or were added since.

    ConfigError for more than `ADDED_MAX`, if the disk refuses, and where earlier
    additions are missing (`check_additions`).
    """
    return _append(data_dir, users, "removed", who, why, now_us)


def _append(data_dir: DataDir, users: Iterable[str], key: str, who: str, why: str, now_us: int) -> int:
    data_dir.require()
    path = data_dir.audience_additions
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be written: {fault.strerror}") from fault
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        check_additions(data_dir)
        known: dict[str, str] = {}
        for addition in additions_of(data_dir):
            known |= dict.fromkeys(addition.users, "users") | dict.fromkeys(addition.removed, "removed")
        new = [user for user in dict.fromkeys(users) if known.get(user) != key]
        if len(known) + len(new) > ADDED_MAX:
            raise ConfigError(
                f"{data_dir.root}: {len(known):,} people were added or removed before, and {len(new):,} more are "
                f"beyond the most, {ADDED_MAX:,}; put them into the audience's file and restart"
            )
        _cut_half_line(descriptor)
        for first in range(0, len(new), USERS_OF_A_LINE_MAX):
            some = tuple(new[first : first + USERS_OF_A_LINE_MAX])
            addition = msgspec.structs.replace(Addition(at=rfc3339(now_us), who=who, why=why), **{key: some})
            _write_all(descriptor, msgspec.json.encode(addition) + b"\n")
        os.fsync(descriptor)
        _keep_mark(path, path.read_bytes())
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
    """Tells a server of whom the file says what it has not heard of yet. `look` is cheap where nothing is new."""

    def __init__(
        self, data_dir: DataDir, add: Callable[[Sequence[str]], None], remove: Callable[[Sequence[str]], None]
    ) -> None:
        self._data_dir = data_dir
        self._path: Path = data_dir.audience_additions
        self._add = add
        self._remove = remove
        self._read_bytes = 0

    def look(self) -> None:
        """Hear of the next users, `READ_BYTES_MAX` at most. A file that cannot be read is looked at again next time."""
        self._look()

    def look_at_all(self) -> None:
        """Hear of everybody, at a start. ConfigError if somebody is missing (`check_additions`)."""
        check_additions(self._data_dir)
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
                addition = _decode(line)
            except msgspec.DecodeError:
                continue  # `redrush audience list` tells of it
            self._add(addition.users)
            self._remove(addition.removed)
        self._read_bytes += len(whole)
        return bool(whole) and self._read_bytes < size
