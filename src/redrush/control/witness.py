"""The witness: a small file beside the journal that says how far the journal is, for the case that the journal is not
there any more, or is an older one.

    page 0      which journal it is (`redrush.ports.journal.Identity`)
    page 1, 2   in turns: the last record that may have been acknowledged, its fingerprint, and how many slots each pot
                had granted by then; the one with the greater `turn` counts

Each page begins with one line of JSON and a digest of it. A mark is written after a commit and before anybody is told
of it, so while the machine keeps its power the witness knows of all that was acknowledged, whatever happens to the
process. It is synchronised `SYNC_S` later at most: after a loss of power it may lack so much. That window needs two
faults at once to matter, for the journal itself is synchronised before every answer.

Rejected: an fsync of the witness before each answer, which doubles the time of a claim; writing a mark ahead of the
commit, which after a crash cannot be told from a loss.
"""

import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from redrush.control.durable_file import write_durably
from redrush.ports.journal import Identity, digest
from redrush.ports.log_rows import Row, pots_of

SYNC_S: Final = 0.2
"""How long a mark may be in memory only."""

PAGE_BYTES: Final = 4_096
"""The least size of a page, and its unit: as many as all pots need."""

POT_BYTES: Final = 128
"""What a pot needs in a mark at most: its id, and a number."""

MARKS: Final = 2


_Kind = TypeVar("_Kind")

POTS_MAX: Final = 500
"""Pots that are counted by name: a mark is written at every commit, whatever the number of small pots."""

OTHERS: Final = ""
"""Under this name all other pots are counted together."""

_EACH: Final = {"scattered": 1, "released": -1}
"""How many more slots are somebody's for each grant or hold of such a row."""


class Mark(msgspec.Struct):
    """How far the journal is: see the module."""

    turn: int
    seq: int
    chain: str
    granted: dict[str, int]


class Witnessed(msgspec.Struct, frozen=True):
    """The content of a witness: which journal, and how far."""

    identity: Identity
    mark: Mark


class _Head(msgspec.Struct, frozen=True):
    page_bytes: int
    identity: Identity


def read_witness(path: Path) -> Witnessed | None:
    """Return what the witness says, None if it is damaged. Raises FileNotFoundError if there is none, or OSError."""
    content = path.read_bytes()
    head = _read_line(content, _Head)
    if head is None:
        return None
    starts = [head.page_bytes * page for page in range(1, 1 + MARKS)]
    marks = [mark for start in starts if (mark := _read_line(content[start:], Mark)) is not None]
    return Witnessed(head.identity, max(marks, key=lambda mark: mark.turn)) if marks else None


def _read_line(content: bytes, kind: type[_Kind]) -> _Kind | None:
    body, _, kept = content.partition(b"\n")[0].rpartition(b" ")
    if not body or digest(body).encode() != kept:
        return None
    return msgspec.json.decode(body, type=kind)


def _line(value: msgspec.Struct) -> bytes:
    body = _encode(value)
    return b"%b %b\n" % (body, digest(body).encode())


_encode = msgspec.json.Encoder().encode


class Witness:
    """The witness of a journal in use. `note`, `sync` and `close` are for one thread."""

    def __init__(self, path: Path, identity: Identity, seq: int, chain: str, granted: dict[str, int]) -> None:
        """Make the file anew, durably, saying so. Raises OSError."""
        self._path = path
        self._identity = identity
        self._granted: Counter[str] = Counter()
        for pot, count in granted.items():
            self._granted[_name_in(self._granted, pot)] += count
        self._mark = Mark(0, seq, chain, self._granted)
        self._fd = -1
        self._make()

    def _make(self) -> None:
        pages = -(-(len(self._granted) + 1) * POT_BYTES // PAGE_BYTES) * 2  # pots that are opened later have room
        self._page_bytes = PAGE_BYTES * pages
        content = b"".join(
            _line(value).ljust(self._page_bytes) for value in (_Head(self._page_bytes, self._identity), self._mark)
        )
        write_durably(self._path, content.ljust(self._page_bytes * (1 + MARKS)))
        self.close()
        self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        self._inode = os.fstat(self._fd).st_ino
        self._is_synced = True
        self._synced_s = time.monotonic()

    def note(self, rows: Sequence[Row], chain: str) -> None:
        """Write down that these rows are durable. Raises OSError: then nobody may be told of them."""
        granted, mark = self._granted, self._mark
        for row in rows:
            kind = row[1]
            if kind == "granted":
                granted[_name_in(granted, row[2])] += row[4] or 0
            elif kind == "opened":
                granted[_name_in(granted, row[2])] += 0
            elif kind in _EACH:
                self._count(pots_of(row), _EACH[kind])
        mark.turn = turn = mark.turn + 1
        mark.seq = rows[-1][0]
        mark.chain = chain
        line = _line(mark)
        if len(line) > self._page_bytes:
            self._make()
            return
        os.pwrite(self._fd, line, self._page_bytes * (1 + turn % MARKS))
        self._is_synced = False

    def _count(self, pots: Sequence[str], each: int) -> None:
        """Count so many slots more for each of these pots, as often as it stands there. They were opened, so they have
        their names here, or are counted together."""
        granted = self._granted
        by_name = [pot for pot in pots if pot in granted]
        for pot in by_name:
            granted[pot] += each
        if len(by_name) < len(pots):
            granted[OTHERS] += each * (len(pots) - len(by_name))

    def sync_now_and_then(self) -> None:
        """Make it durable if that was not done for `SYNC_S`. Raises OSError."""
        if time.monotonic() - self._synced_s >= SYNC_S:
            self.sync()

    def sync(self) -> None:
        """Make durable what was noted; make the file anew if somebody took it away. Raises OSError."""
        if self._is_synced:
            return
        try:
            there = os.stat(self._path).st_ino == self._inode
        except FileNotFoundError:
            there = False
        if not there:
            self._make()
            return
        os.fdatasync(self._fd)
        self._is_synced = True
        self._synced_s = time.monotonic()

    def close(self) -> None:
        """Release the file. Does nothing the second time."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _name_in(granted: Counter[str], pot: str) -> str:
    """Return under which name a pot is counted: its own, while there are not too many."""
    return pot if pot in granted or len(granted) < POTS_MAX else OTHERS
