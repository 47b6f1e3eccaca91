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
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import apsw
import msgspec

from redrush.errors import ConfigError
from redrush.ports.journal import digest
from redrush.records.sqlite.book_mark import PACKAGE, refusal
from redrush.sqlfiles import load_statements

START_S: Final = 0.5
"""Longest examination at a start."""
PROBLEMS_MAX: Final = 5
"""Problems that are told of one book."""
STEPS: Final = 10_000
"""Instructions of SQLite between two looks at the clock: well under a millisecond."""

QUESTIONS: Final = {0x52525042: "bills", 0x5252504B: "packets", 0x52525353: "sales"}
"""Which statement looks through a book, by the number in its header."""


def digest_of_row(values: Sequence[object]) -> str:
    """Return what tells that one of these values was changed."""
    (alone,) = values if len(values) == 1 else (None,)
    if isinstance(alone, bytes):
        return digest(alone)
    return digest(alone.encode() if isinstance(alone, str) else msgspec.json.encode(values))


def add_digest_of(connection: apsw.Connection) -> None:
    """Let statements of this connection call `digest_of_row`, as `digest_of`."""
    connection.create_scalar_function("digest_of", lambda *values: digest_of_row(values), deterministic=True)


def problems_of(book: Path, within_s: float | None = None) -> list[str]:
    """Return what is wrong in a book, of which `accept_problems` has not said that it is gone on with; what was not
    looked at `within_s` counts as right. A book that was never begun has no problems. Raises apsw.Error if it cannot be
    read."""
    connection = apsw.Connection(os.fspath(book), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        if within_s is not None:
            until_s = time.monotonic() + within_s
            connection.set_progress_handler(lambda: time.monotonic() > until_s, STEPS)
        connection.pragma("query_only", True)
        return _problems(connection)
    except apsw.InterruptError:
        return []
    finally:
        connection.close(True)


def _problems(connection: apsw.Connection) -> list[str]:
    question = QUESTIONS.get(int(str(connection.pragma("application_id"))))
    if question is None:
        return []
    sql = load_statements(PACKAGE, "book_examining.sql")
    add_digest_of(connection)
    found = [str(row[0]) for row in connection.execute(sql["integrity"])]
    found = [one for one in found if one != "ok"]
    if not found:
        found = [str(row[0]) for row in connection.execute(sql[question])]
    if connection.execute(sql["has_accepted"]).get:
        accepted = {str(row[0]) for row in connection.execute(sql["accepted"])}
        found = [one for one in found if one not in accepted]
    return found[:PROBLEMS_MAX]


def check_whole(book: Path) -> None:
    """Raise ConfigError, with what helps, if a look of `START_S` finds damage. Nothing is wrong with a book that is not
    there: `redrush.records.sqlite.file.open_durable` knows whether it was."""
    if not book.exists():
        return
    try:
        problems = problems_of(book, START_S)
    except apsw.Error as error:
        problems = [str(error)]
    if problems:
        raise ConfigError(refusal(book, f"is damaged: {'; '.join(problems)}"))


def accept_problems(book: Path) -> list[str]:
    """Go on with what is wrong in a book now, and return that. Raises apsw.Error."""
    problems = problems_of(book)
    connection = apsw.Connection(os.fspath(book), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        sql = load_statements(PACKAGE, "book_examining.sql")
        with connection:
            connection.execute(sql["make_accepted"])
            connection.executemany(sql["accept"], [(problem,) for problem in problems])
    finally:
        connection.close(True)
    return problems
