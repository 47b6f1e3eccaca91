"""Looks through a book for damage that SQLite cannot see: what stands in it twice has to be the same in both places.

A bit that flips within a value leaves a file that can be read. In a bill it may be the amount, in a balance what is
left. But nearly everything that money rests on is written twice: a bill and its posting, a balance and its postings, a
packet or an order as a whole and the columns that it is looked for by; and what never changes of a bill, as what a
packet or an order says, has a digest beside it. SQLite's own check compares tables with their indexes.

That takes a second for some hundred thousand rows, so a start looks for `START_S` at most; `redrush book check` goes
through all of it.
"""

import os
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import apsw
import msgspec

from redrush.errors import ConfigError
from redrush.ports.journal import digest
from redrush.records.sqlite.book_mark import PACKAGE, refusal
from redrush.records.sqlite.file import Book, version_at
from redrush.sqlfiles import load_statements

START_S: Final = 0.5
"""Longest examination at a start."""
PROBLEMS_MAX: Final = 5
"""Problems that are told of one book."""
STEPS: Final = 10_000
"""Instructions of SQLite between two looks at the clock: well under a millisecond."""

NO_PROBLEM: Final = ("ok", "*** in database main ***")
"""What SQLite says when nothing is wrong, and above what is."""

QUESTIONS: Final = {
    0x52525042: ("bills", 2),
    0x5252504B: ("packets", 2),
    0x52525353: ("sales", 2),
    0x5252504D: ("messages", 2),
}
"""Which statement looks through a book, by the number in its header, and from which version on: its digests came then.
SQLite's own check is all for another, which is of an earlier redrush, and is brought to that version when it opens."""


def digest_of_row(values: Sequence[object]) -> str:
    """Return what tells that one of these values was changed."""
    (alone,) = values if len(values) == 1 else (None,)
    if isinstance(alone, bytes):
        return digest(alone)
    return digest(alone.encode() if isinstance(alone, str) else msgspec.json.encode(values))


def add_digest_of(connection: apsw.Connection) -> None:
    """Let statements of this connection call `digest_of_row`, as `digest_of`."""
    connection.create_scalar_function("digest_of", lambda *values: digest_of_row(values), deterministic=True)


def problems_of(book: Path, within_s: float | None = None, most: int | None = None) -> list[str]:
    """Return what is wrong in a book, of which `accept_problems` has not said that it is gone on with; the first `most`
    of it, if that is given. What was not looked at `within_s` counts as right. Raises apsw.Error if the book cannot be
    read."""
    connection = apsw.Connection(os.fspath(book), flags=apsw.SQLITE_OPEN_READWRITE)
    found: list[str] = []
    try:
        if within_s is not None:
            until_s = time.monotonic() + within_s
            connection.set_progress_handler(lambda: time.monotonic() > until_s, STEPS)
        connection.pragma("query_only", True)
        for problem in islice(_problems(connection), most):
            found.append(problem)  # noqa: PERF402 - each by itself: what was found before the time is over stays found
    except apsw.InterruptError:
        pass
    except UnicodeDecodeError as error:
        raise apsw.CorruptError(f"a text in it is none: {error}") from error
    finally:
        connection.close(True)
    return found


def _problems(connection: apsw.Connection) -> Iterator[str]:
    """Yield what SQLite finds, or, where that is nothing new, what it cannot see."""
    sql = load_statements(PACKAGE, "book_examining.sql")
    accepted = set()
    if connection.execute(sql["has_accepted"]).get:
        accepted = {str(row[0]) for row in connection.execute(sql["accepted"])}
    broken = _broken(connection, sql["integrity"])
    yield from sorted(broken - accepted)
    question, version = QUESTIONS.get(int(str(connection.pragma("application_id"))), ("", 0))
    if not question or int(str(connection.pragma("user_version"))) < version or broken - accepted:
        return
    add_digest_of(connection)
    try:
        for row in connection.execute(sql[question]):
            if str(row[0]) not in accepted:
                yield str(row[0])
    except apsw.CorruptError:
        if not broken:  # else it is what an operator goes on with that cannot be read
            raise


def _broken(connection: apsw.Connection, integrity: str) -> set[str]:
    """Return what SQLite says of the pages, up to where it can read no more, if it says anything. Raises apsw.Error."""
    broken: set[str] = set()
    try:
        for row in connection.execute(integrity):
            broken.update(line for line in str(row[0]).splitlines() if line not in NO_PROBLEM)
    except apsw.CorruptError:
        if not broken:
            raise
    return broken


def check_whole(path: Path, book: Book) -> None:
    """Raise ConfigError, with what helps, if a look of `START_S` finds damage; NewerVersion for a book of a newer
    redrush, of which nobody knows here what is damage. Nothing is wrong with a book that is not there:
    `redrush.records.sqlite.file.open_durable` knows whether it was."""
    if not path.exists():
        return
    try:
        version_at(path, book)
        problems = problems_of(path, START_S, PROBLEMS_MAX)
    except apsw.Error as error:
        problems = [str(error)]
    if problems:
        raise ConfigError(refusal(path, f"is damaged: {'; '.join(problems)}"))


def accept_problems(book: Path) -> None:
    """Go on with all that is wrong in a book now. Raises apsw.Error."""
    for _ in range(2):  # what SQLite finds, then what is looked for once that is accepted
        problems = problems_of(book)
        connection = apsw.Connection(os.fspath(book), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            sql = load_statements(PACKAGE, "book_examining.sql")
            with connection:
                connection.execute(sql["make_accepted"])
                connection.executemany(sql["accept"], [(problem,) for problem in problems])
        finally:
            connection.close(True)
