"""The records in `records.db`, written without getting in the way of the gate that lives in the same process.

A batch becomes JSON once; splitting it into grants, postings and balances is SQL from table to table, which runs with
the interpreter lock released. Rejected: executemany over Python rows, which holds the lock for about as long as
the database works; one row per statement with an index on everything, which is slower still.

WAL with `synchronous=NORMAL`: a commit is atomic but may be lost to power failure together with the commits after it.
That is enough for a projection. Cursor and data are one transaction, so they go back together, and everything above
the older cursor is still in the journal, which is FULL. It also spares the disk: NORMAL syncs at checkpoints only,
not once per batch next to the journal's own syncs, which claims wait for.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import apsw
import msgspec

from redrush.errors import ConfigError
from redrush.ports.records import (
    Balance,
    Change,
    GrantRun,
    RecordedGrant,
    RecordsConflict,
    RecordsFailed,
    Totals,
)
from redrush.sqlfiles import load_script, load_statements

APPLICATION_ID = 0x52525243
"""In the file's header, so that no other SQLite file is taken for records ("RRRC")."""

SCHEMA_VERSION = 1

CACHE_KIB = 32 * 1024
"""Page cache of the writer. Users arrive in no order, so every batch touches pages all over the user indexes."""

BUSY_WAIT_MS = 5_000
"""Longest wait for a lock that another process holds, such as a backup; then the call fails and is tried again."""

_PACKAGE = "redrush.records.sqlite"
_encode = msgspec.json.Encoder().encode


class SqliteRecords:
    """Fulfils `redrush.ports.records.Records`. Calls may come from any thread.

    One connection writes, another reads, each under its own lock: a query never waits for a batch.
    """

    commits_are_durable = False

    def __init__(self, path: Path, writer: apsw.Connection, reader: apsw.Connection) -> None:
        self._path = path
        self._writer = writer
        self._reader = reader
        self._sql = load_statements(_PACKAGE, "queries.sql")
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()

    @classmethod
    def open_path(cls, path: Path) -> Self:
        """Open the records at `path`, creating them if the file is missing or empty.

        Raises ConfigError if the file is something else or of another version, RecordsFailed if the disk fails.
        """
        sql = load_statements(_PACKAGE, "queries.sql")
        with _failures(path):
            writer = _connect(path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
            with _transaction(writer):
                _create_or_recognise(writer, path, sql["tables"])
            _tune(writer)
            writer.execute(sql["create_fresh_grants"])
            writer.execute(sql["create_fresh_postings"])
            reader = _connect(path, apsw.SQLITE_OPEN_READWRITE)
            _tune(reader)
            reader.pragma("query_only", True)
        return cls(path, writer, reader)

    def cursor(self) -> int:
        """See the port."""
        with self._read_lock, _failures(self._path):
            return int(self._row(self._reader, "cursor")[0])

    def apply(self, changes: Sequence[Change]) -> int:
        """See the port."""
        if any(earlier.seq >= later.seq for earlier, later in pairwise(changes)):
            raise ValueError("changes must come in ascending order of seq")
        with self._write_lock, _failures(self._path), _transaction(self._writer):
            cursor = int(self._row(self._writer, "cursor")[0])
            new = [change for change in changes if change.seq > cursor]
            if not new:
                return cursor
            self._load(new)
            self._keep()
            self._writer.execute(self._sql["move_cursor"], {"seq": new[-1].seq})
            return new[-1].seq

    def grants_of(self, user: str) -> list[RecordedGrant]:
        """See the port."""
        with self._read_lock, _failures(self._path):
            return [RecordedGrant(*row) for row in self._reader.execute(self._sql["grants_of"], {"user": user})]

    def balance(self, account: str) -> Balance:
        """See the port."""
        with self._read_lock, _failures(self._path):
            row = self._reader.execute(self._sql["balance"], {"account": account}).fetchone()
        return Balance(0, 0) if row is None else Balance(*row)

    def totals(self) -> Totals:
        """See the port."""
        with self._read_lock, _failures(self._path):
            return Totals(*self._row(self._reader, "totals"))

    def close(self) -> None:
        """See the port."""
        with self._write_lock, self._read_lock:
            self._reader.close()
            self._writer.close()

    def _load(self, changes: Sequence[Change]) -> None:
        """Fill the connection's own tables of fresh grants and postings from the changes."""
        grants_loaded = 0
        for change in changes:
            if isinstance(change, GrantRun):
                self._load_run(change, after_row=grants_loaded)
                grants_loaded += len(change.users)
            else:
                for posting in change.postings:
                    self._writer.execute(self._sql["load_posting"], msgspec.structs.asdict(posting))

    def _load_run(self, run: GrantRun, after_row: int) -> None:
        worth = _encode(list(zip(run.users, run.amounts_minor, strict=True))).decode()
        placed = {"first_slot": run.first_slot, "round": run.round, "at_us": run.at_us, "grants": worth}
        self._writer.execute(self._sql["load_grants"], placed)
        self._writer.execute(
            self._sql["load_grant_postings"], {**msgspec.structs.asdict(run.rule), "after_row": after_row}
        )

    def _keep(self) -> None:
        for name in (
            "keep_grants",
            "keep_postings",
            "debit_accounts",
            "credit_accounts",
            "clear_fresh_grants",
            "clear_fresh_postings",
        ):
            self._writer.execute(self._sql[name])

    def _row(self, connection: apsw.Connection, name: str) -> tuple[Any, ...]:
        row: tuple[Any, ...] | None = connection.execute(self._sql[name]).fetchone()
        if row is None:
            raise RecordsFailed(f"{self._path} answers {name} with nothing: it is damaged; move it away to rebuild it")
        return row


def _create_or_recognise(writer: apsw.Connection, path: Path, tables_query: str) -> None:
    """Create the schema in an empty file; refuse a file that is something else."""
    application_id = writer.pragma("application_id")
    version = writer.pragma("user_version")
    tables = writer.execute(tables_query).get
    if (application_id, version, tables) == (0, 0, 0):
        writer.execute(load_script(_PACKAGE, "schema.sql"))
        writer.pragma("application_id", APPLICATION_ID)
        writer.pragma("user_version", SCHEMA_VERSION)
    elif application_id != APPLICATION_ID:
        raise ConfigError(f"{path} is not a records file of redrush: move it away, it is made anew from the journal")
    elif version != SCHEMA_VERSION:
        raise ConfigError(
            f"{path} has records of version {version}, this redrush reads {SCHEMA_VERSION}: "
            "move it away, it is made anew from the journal"
        )


@contextmanager
def _transaction(writer: apsw.Connection) -> Iterator[None]:
    writer.execute("BEGIN IMMEDIATE")
    try:
        yield
        writer.execute("COMMIT")
    except BaseException:
        if writer.in_transaction:  # SQLite has already rolled back after some errors, such as a full disk
            writer.execute("ROLLBACK")
        raise


@contextmanager
def _failures(path: Path) -> Iterator[None]:
    """Tell apart what SQLite raises: a contradiction, a foreign file, and everything else, which is a failure."""
    try:
        yield
    except apsw.ConstraintError as error:
        raise RecordsConflict(
            f"{path} contradicts the journal ({error}): move it away, it is made anew from the journal"
        ) from error
    except apsw.NotADBError as error:
        raise ConfigError(f"{path} is not a records file of redrush: {error}") from error
    except apsw.Error as error:
        raise RecordsFailed(f"{path}: {error}") from error


def _connect(path: Path, flags: int) -> apsw.Connection:
    connection = apsw.Connection(os.fspath(path), flags=flags)
    connection.set_busy_timeout(BUSY_WAIT_MS)
    return connection


def _tune(connection: apsw.Connection) -> None:
    # After the file is known to be ours: the switch to WAL writes to it.
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "normal")
    connection.pragma("cache_size", -CACHE_KIB)
    connection.pragma("temp_store", "memory")
