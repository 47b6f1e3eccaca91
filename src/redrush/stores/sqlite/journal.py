"""The journal file: opened safely, checked, recovered, and read by others.

The writing connection runs in WAL mode with `synchronous=FULL`, which is what makes a commit durable, so both are read
back. `open_journal` ends with a truncating checkpoint: after a failed fsync the kernel may hold pages as clean that the
disk never got, and a WAL recovered from such pages could break under commits appended to it. Writing its verified
content anew into the database file, with an fsync that succeeds, removes the doubt before anything is acknowledged.

Source: sqlite.org/wal.html, sqlite.org/pragma.html; Rebello et al., "Can Applications Recover from fsync Failures?",
USENIX ATC 2020.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import apsw

from redrush.errors import ConfigError
from redrush.ports.log_rows import record_of
from redrush.ports.store import LogRecord, StoreCorrupt, StoreFailed
from redrush.stores.pots import Pots
from redrush.stores.sqlite.statements import sql

APPLICATION_ID: Final = 0x7264726A
"""Marks a SQLite file as a journal of redrush: "rdrj" in ASCII."""

SCHEMA_VERSION: Final = 1

BUSY_TIMEOUT_MS: Final = 5_000
"""How long to wait for a reader of another process to end its transaction; readers of ours take milliseconds."""

SYNCHRONOUS_FULL: Final = 2

READ_PAGE_ROWS: Final = 1_000
"""Rows per query of an iterating reader, so that no read transaction holds the WAL for long."""

ALL_ROWS: Final = -1  # LIMIT -1 of SQLite


def open_journal(path: Path, vfs: str | None) -> tuple[apsw.Connection, Pots]:
    """Open or create the journal for writing; return the connection and what the log adds up to.

    Raises ConfigError for a file that is not a journal or of a newer version, StoreCorrupt for a log that contradicts
    itself, StoreFailed when the disk fails. The caller holds the lock.
    """
    try:
        connection = apsw.Connection(os.fspath(path), vfs=vfs)
    except apsw.Error as error:
        raise StoreFailed(f"{path}: {error}") from error
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        is_new = _check_identity(connection, path)
        _make_durable(connection, path)
        if is_new:
            _create(connection, path)
        pots = _recover(connection)
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.BusyError as error:
        connection.close(True)
        raise StoreFailed(f"{path}: another process keeps reading it, end that one first ({error})") from error
    except (apsw.Error, OSError) as error:
        _close_untouched(connection)
        raise StoreFailed(f"{path}: {error}") from error
    except BaseException:
        _close_untouched(connection)
        raise
    return connection, pots


def _close_untouched(connection: apsw.Connection) -> None:
    """Close without the checkpoint that closing implies: what is wrong on the disk stays as it was found."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.close(True)


def _check_identity(connection: apsw.Connection, path: Path) -> bool:
    """Return whether the file is new (empty). Raises ConfigError if it is no journal, or one of a newer version."""
    try:
        application_id = connection.pragma("application_id")
        version = connection.pragma("user_version")
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
    except apsw.NotADBError:
        raise ConfigError(f"{path} is not a journal of redrush, not even a SQLite file") from None
    if (application_id, version, tables) == (0, 0, 0):
        return True
    if application_id != APPLICATION_ID:
        raise ConfigError(f"{path} is a SQLite file of another program, not a journal of redrush")
    if version != SCHEMA_VERSION:
        raise ConfigError(
            f"{path} is a journal of version {version}; this redrush reads version {SCHEMA_VERSION}, use a newer one"
        )
    return False


def _make_durable(connection: apsw.Connection, path: Path) -> None:
    """Switch to WAL and full synchronisation, and read both back."""
    mode = connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.pragma("wal_autocheckpoint", 0)  # the writer thread chooses the moment
    synchronous = connection.pragma("synchronous")
    if mode != "wal" or synchronous != SYNCHRONOUS_FULL:
        raise StoreFailed(f"{path}: SQLite gives journal_mode={mode}, synchronous={synchronous} instead of wal, full")


def _create(connection: apsw.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(sql("schema"))
    connection.pragma("application_id", APPLICATION_ID)
    connection.pragma("user_version", SCHEMA_VERSION)
    connection.execute("COMMIT")
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)  # SQLite does this for the WAL, not for the database file itself
    finally:
        os.close(directory)


def _recover(connection: apsw.Connection) -> Pots:
    pots = Pots()
    try:
        for row in connection.execute(sql("read"), (0, ALL_ROWS)):
            pots.restore(record_of(row))
    except apsw.CorruptError as error:
        raise StoreCorrupt(pots.seq + 1, f"cannot be read, the file is damaged ({error})") from error
    return pots


class LogReader:
    """Reads the log of a journal, from any process, while a server may be writing it. Sees durable records only.

    Raises ConfigError if the file is missing or no journal, StoreFailed when the disk fails. Each read is a short
    transaction of its own. For one thread at a time.
    """

    def __init__(self, path: Path, vfs: str | None = None) -> None:
        self._path = path
        try:
            self._connection = apsw.Connection(os.fspath(path), flags=apsw.SQLITE_OPEN_READONLY, vfs=vfs)
        except apsw.CantOpenError:
            raise ConfigError(f"{path} is missing or cannot be read") from None
        self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)  # a reader changes nothing
        self._read = sql("read")
        try:
            self._connection.set_busy_timeout(BUSY_TIMEOUT_MS)
            if _check_identity(self._connection, path):
                raise ConfigError(f"{path} is empty, no journal of redrush yet")
        except BaseException:
            self._connection.close(True)
            raise

    def read(self, after: int, limit: int) -> list[LogRecord]:
        """Return up to `limit` records with seq > `after`, in order."""
        try:
            return [record_of(row) for row in self._connection.execute(self._read, (after, max(limit, 0)))]
        except apsw.Error as error:
            raise StoreFailed(f"{self._path}: {error}") from error

    def records(self, after: int = 0) -> Iterator[LogRecord]:
        """Yield every record with seq > `after`, those included that are appended meanwhile."""
        while page := self.read(after, READ_PAGE_ROWS):
            yield from page
            after = page[-1].seq

    def close(self) -> None:
        self._connection.close(True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_log(path: Path, after: int, limit: int) -> list[LogRecord]:
    """Return up to `limit` durable records of the journal with seq > `after` (see LogReader)."""
    with LogReader(path) as reader:
        return reader.read(after, limit)
