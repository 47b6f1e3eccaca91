"""The mark of a book: how many commits it has had, in a small file beside it, for the case that the book is not there
any more, was emptied, or is an older copy.

To whom money is due stands in a book and nowhere else. One that lacks commits would pay twice, or split a packet anew;
so it is not opened until an operator has put it back, or goes on with what is there.

Commits are counted in the book itself, and the count is written into the mark after each commit and before anybody is
told of it: of two places in turns, so that one is whole whatever happens. As the witness of a journal does
(`redrush.control.witness`) it knows of all that was acknowledged while the machine keeps its power; after a loss of
power it may know of less, which refuses nothing that is right. A mark that is lost or damaged says nothing, but that
there was a book.
"""

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw
import msgspec

from redrush.errors import ConfigError
from redrush.ports.journal import digest
from redrush.records.sqlite.transactions import transaction
from redrush.sqlfiles import load_statements

PACKAGE: Final = "redrush.records.sqlite"
PLACES: Final = 2
PLACE_BYTES: Final = 256
ID_BYTES: Final = 8


class Life(msgspec.Struct, frozen=True):
    """Which book it is, and how many commits it has had."""

    book: str
    commits: int


def mark_path(book: Path) -> Path:
    """Return where the mark of a book is."""
    return book.with_suffix(".mark")


def begin_mark(book: Path) -> None:
    """Make the mark of a book that is in use from now on, if it has none: it must not be begun anew. ConfigError if the
    disk refuses."""
    try:
        os.close(os.open(mark_path(book), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as fault:
        raise ConfigError(f"{mark_path(book)}: cannot be written: {fault.strerror}") from fault


def read_mark(book: Path) -> Life | None:
    """Return what the mark of the book says; None if there is none, or it says nothing. Raises OSError."""
    try:
        content = mark_path(book).read_bytes()
    except FileNotFoundError:
        return None
    places = [content[start : start + PLACE_BYTES] for start in range(0, PLACES * PLACE_BYTES, PLACE_BYTES)]
    lives = [life for place in places if (life := _life_of(place)) is not None]
    return max(lives, key=lambda life: life.commits, default=None)


def lacks(known: Life | None, found: Life) -> str | None:
    """Return what a book lacks of what its mark knows, in words; None: nothing."""
    if known is None or (known.book == found.book and known.commits <= found.commits):
        return None
    if known.book != found.book and found.commits:
        return "is another book than the one that was used here"
    return f"lacks the last {known.commits - found.commits} of {known.commits} changes that were made: an older copy?"


def life_in(book: Path) -> Life:
    """Return what a book that nobody has open says of itself; no commits where it is empty. Raises apsw.Error if it
    cannot be read."""
    connection = apsw.Connection(os.fspath(book), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        return _life_of_book(connection, load_statements(PACKAGE, "book_mark.sql"))
    finally:
        connection.close(True)


class MarkedBook:
    """The connection that writes to a book, each commit counted. Not thread-safe: its book has a lock."""

    def __init__(self, connection: apsw.Connection, path: Path, refused: str | None = None) -> None:
        """Raises ConfigError if the book lacks something. To be called within the transaction that has made it.

        One that is only read says in `refused` why each change is.
        """
        self.connection = connection
        self._path = path
        self._sql = load_statements(PACKAGE, "book_mark.sql")
        self._fd = -1
        self._refused = refused
        known = read_mark(path)  # first: a commit that is made meanwhile is in the book before it is in the mark
        if refused is None:
            connection.execute(self._sql["create"])
            connection.execute(self._sql["begin"], {"book": secrets.token_hex(ID_BYTES)})
        self._life = _life_of_book(connection, self._sql)
        why = lacks(known, self._life)
        if why is not None:
            raise ConfigError(refusal(path, why))

    @contextmanager
    def committing(self) -> Iterator[None]:
        """Change the book within: all of it durably, or nothing. Raises apsw.Error, OSError if the mark cannot be
        written: then it is done, and nobody may be told; ConfigError for a book that is only read."""
        if self._refused is not None:
            raise ConfigError(self._refused)
        before = self.connection.total_changes()
        with transaction(self.connection):
            yield
            changed = self.connection.total_changes() != before
            if changed:
                self.connection.execute(self._sql["count"])
        if changed:
            self._note()

    def close(self) -> None:
        """Let go of the files."""
        self.connection.close(True)
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _note(self) -> None:
        """Write down how many commits there are now; another process, as a command, may have made some."""
        self._life = _read(self.connection, self._sql["life"])
        if self._fd < 0:
            self._fd = os.open(mark_path(self._path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        body = msgspec.json.encode(self._life)
        line = b"%b %b\n" % (body, digest(body).encode())
        os.pwrite(self._fd, line.ljust(PLACE_BYTES), self._life.commits % PLACES * PLACE_BYTES)


def refusal(path: Path, why: str) -> str:
    """Return the sentence about a book that is not to be opened, with what helps."""
    data = path.parent
    return (
        f"{path}: {why}; `redrush restore BACKUP --data {data} --only {path.name}` puts it back from a backup that was "
        f"made since, or `redrush book accept --data {data} --why …` goes on without what is missing: docs/promises.md "
        "says what follows from that"
    )


def _life_of_book(connection: apsw.Connection, sql: Mapping[str, str]) -> Life:
    """Return what it says of itself; no commits where it says nothing."""
    return _read(connection, sql["life"]) if connection.execute(sql["has_life"]).get else Life("", 0)


def _read(connection: apsw.Connection, query: str) -> Life:
    ((book, commits),) = connection.execute(query).fetchall()
    return Life(str(book), int(str(commits)))


def _life_of(place: bytes) -> Life | None:
    body, _, kept = place.strip().rpartition(b" ")
    if not body or digest(body).encode() != kept:
        return None
    return msgspec.json.decode(body, type=Life)
