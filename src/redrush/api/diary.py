"""What people did in the console besides switching: one JSON object a line, each with a fingerprint of all before it.

Logins, accounts, keys, approvals, and whose story somebody has read. Whoever takes a line out, or changes one, changes
every fingerprint after it; whoever has written one down elsewhere can tell.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Final

import msgspec

from redrush.control.durable_file import append_durably
from redrush.control.sole_holder import hold_alone
from redrush.core.rush.instants import rfc3339
from redrush.errors import ConfigError

NO_CHAIN: Final = "0" * 64
TEXT_MAX: Final = 500
TAIL_BYTES_MAX: Final = 1 << 20
"""How much of the end is read for a list; the file has all."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what when; `chain` is the fingerprint of this and all lines before it."""

    number: int
    at: str
    who: str
    what: str
    about: str = ""
    why: str = ""
    address: str = ""
    chain: str = NO_CHAIN


class Diary:
    """See the module. One process writes it."""

    def __init__(self, path: Path, now_us: Callable[[], int]) -> None:
        """ConfigError if what is there contradicts itself, or another process writes it."""
        self._path = path
        self._now_us = now_us
        self._writing = Lock()
        self._lock: int | None = _locked(path)
        try:
            self._number, self._chain = _checked(path)
        except ConfigError:
            self.close()
            raise

    def note(self, who: str, what: str, about: str = "", why: str = "", address: str = "") -> Line:
        """Write down what is being done, durably, before it is; from any thread. ConfigError if the disk refuses."""
        with self._writing:
            return self._note(who, what, about, why, address)

    def _note(self, who: str, what: str, about: str, why: str, address: str) -> Line:
        line = Line(
            number=self._number + 1,
            at=rfc3339(self._now_us()),
            who=who,
            what=what,
            about=about[:TEXT_MAX],
            why=why[:TEXT_MAX],
            address=address,
        )
        line = msgspec.structs.replace(line, chain=chain_after(self._chain, line))
        try:
            append_durably(self._path, msgspec.json.encode(line) + b"\n")
        except OSError as fault:
            raise ConfigError(f"{self._path}: cannot be written, nothing was done: {fault.strerror}") from fault
        self._number, self._chain = line.number, line.chain
        return line

    def close(self) -> None:
        """Let another one write it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

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


def _locked(path: Path) -> int:
    """Keep others from writing: two who count on from the same line would break the chain."""
    in_use = ConfigError(f"{path}: another console of this event runs, and writes it; use that one, or end it")
    return hold_alone(path.with_suffix(".lock"), in_use)


def chain_after(chain: str, line: Line) -> str:
    """Return the fingerprint of a line and of all before it, whose own is `chain`."""
    plain = msgspec.structs.replace(line, chain=NO_CHAIN)
    return hashlib.sha256(chain.encode() + msgspec.json.encode(plain)).hexdigest()


def _checked(path: Path) -> tuple[int, str]:
    """Return the number and the fingerprint of the last line. A line that a crash has cut never took effect."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return 0, NO_CHAIN
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from fault
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) != len(content):
        os.truncate(path, len(whole))
    number, chain = 0, NO_CHAIN
    for text in whole.splitlines():
        try:
            line = msgspec.json.decode(text, type=Line)
        except msgspec.DecodeError as fault:
            raise ConfigError(f"{path}:{number + 1}: is no line of a console's log: {fault}") from fault
        number, chain = number + 1, chain_after(chain, line)
        if line.number != number or line.chain != chain:
            raise ConfigError(
                f"{path}:{number}: does not follow from the lines before it, so somebody has changed the file; keep "
                "it, and move it away for a new one to begin"
            )
    return number, chain
