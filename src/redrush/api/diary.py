"""What people did at the console besides switching: one JSON object a line, each with a fingerprint of all before it.

Logins, accounts, keys, approvals, and whose story somebody has read. Whoever takes a line out, or changes one, changes
every fingerprint after it; whoever has written one down elsewhere can tell.

The console writes it, and so do commands beside it: one line at a time, under a lock of the file, and each goes on from
what the others have written since.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Final

import msgspec

from redrush.control.durable_file import write_whole
from redrush.core.rush.instants import rfc3339
from redrush.errors import ConfigError

NO_CHAIN: Final = "0" * 64
TEXT_MAX: Final = 500
TAIL_BYTES_MAX: Final = 1 << 20
"""How much of the end is read for a list; the file has all."""
LOCK_MAX_S: Final = 1.0
"""How long another one may take for its line: an fsync."""
LOCK_AGAIN_S: Final = 0.005


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what when; `chain` is the fingerprint of this and all lines before it."""

    number: int
    at: str
    who: str
    what: str
    about: str = ""
    why: str = ""
    address: str = ""
    said: str = ""
    """Who gave the order by their own words, where `who` says only with what right."""
    chain: str = NO_CHAIN


class Diary:
    """See the module. Calls may come from any thread."""

    def __init__(self, path: Path, now_us: Callable[[], int]) -> None:
        """ConfigError if what is there contradicts itself, or cannot be read."""
        self._path = path
        self._now_us = now_us
        self._writing = Lock()
        self._number, self._chain, self._size = 0, NO_CHAIN, 0
        if path.exists():
            with self._alone() as descriptor:
                self._catch_up(descriptor)

    def note(self, who: str, what: str, about: str = "", why: str = "", address: str = "", *, said: str = "") -> Line:
        """Write down what is being done, durably, before it is. ConfigError, and nothing was done, if the disk refuses,
        or somebody has changed what was written."""
        with self._writing, self._alone() as descriptor:
            self._catch_up(descriptor)
            line = Line(
                number=self._number + 1,
                at=rfc3339(self._now_us()),
                who=who,
                what=what,
                about=about[:TEXT_MAX],
                why=why[:TEXT_MAX],
                address=address,
                said=said[:TEXT_MAX],
            )
            line = msgspec.structs.replace(line, chain=chain_after(self._chain, line))
            written = _encoded(line) + b"\n"
            write_whole(descriptor, written)
            os.fsync(descriptor)
            self._number, self._chain, self._size = line.number, line.chain, self._size + len(written)
            return line

    def lines(self) -> list[Line]:
        """Return the newest lines, oldest first. ConfigError if they cannot be read."""
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - TAIL_BYTES_MAX))
                content = file.read()
        except FileNotFoundError:
            return []
        except OSError as fault:
            raise ConfigError(f"{self._path}: cannot be read: {fault.strerror}") from fault
        whole = content[: content.rfind(b"\n") + 1].splitlines()
        return [msgspec.json.decode(one, type=Line) for one in whole[1 if size > TAIL_BYTES_MAX else 0 :]]

    def noting(
        self, who: str, what: str, about: str = "", address: str = "", *, why: str = "", said: str = ""
    ) -> Callable[[], Line]:
        """Return what writes this down: for who makes a change once nothing refuses it."""
        return lambda: self.note(who, what, about, why, address, said=said)

    @contextmanager
    def _alone(self) -> Iterator[int]:
        """Yield the file, made if it is missing, which nobody else writes meanwhile."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                self._lock(descriptor)
                yield descriptor
            finally:
                os.close(descriptor)
        except OSError as fault:
            raise ConfigError(f"{self._path}: cannot be written, nothing was done: {fault.strerror}") from fault

    def _lock(self, descriptor: int) -> None:
        deadline_s = time.monotonic() + LOCK_MAX_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline_s:
                    raise ConfigError(
                        f"{self._path}: another process writes it and does not end; nothing was done"
                    ) from None
                time.sleep(LOCK_AGAIN_S)
            else:
                return

    def _catch_up(self, descriptor: int) -> None:
        """Read what others have written since. A line that a crash has cut never took effect."""
        size = os.fstat(descriptor).st_size
        if size < self._size:
            raise ConfigError(
                f"{self._path}: is shorter than it was, so somebody has changed the file: put it back, or start the "
                "console again for a new one to begin"
            )
        content = os.pread(descriptor, size - self._size, self._size)
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) != len(content):
            os.ftruncate(descriptor, self._size + len(whole))
        for text in whole.splitlines():
            self._number, self._chain = self._followed(text)
        self._size += len(whole)

    def _followed(self, text: bytes) -> tuple[int, str]:
        """Return number and fingerprint of a line that others have written. ConfigError if it does not follow."""
        number = self._number + 1
        try:
            line = msgspec.json.decode(text, type=Line)
        except msgspec.DecodeError as fault:
            raise ConfigError(f"{self._path}:{number}: is no line of a console's log: {fault}") from fault
        chain = chain_after(self._chain, line)
        if line.number != number or line.chain != chain:
            raise ConfigError(
                f"{self._path}:{number}: does not follow from the lines before it, so somebody has changed the file; "
                "keep it, and move it away for a new one to begin"
            )
        return number, chain


def chain_after(chain: str, line: Line) -> str:
    """Return the fingerprint of a line and of all before it, whose own is `chain`."""
    plain = msgspec.structs.replace(line, chain=NO_CHAIN)
    return hashlib.sha256(chain.encode() + _encoded(plain)).hexdigest()


def _encoded(line: Line) -> bytes:
    """Return a line as it is written: what earlier releases have written has no `said`, and stays what it was."""
    fields = msgspec.structs.asdict(line)
    if not line.said:
        del fields["said"]
    return msgspec.json.encode(fields)
