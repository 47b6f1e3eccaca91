"""The journal file: opened safely, checked, recovered, and read by others.

The writing connection runs in WAL mode with `synchronous=FULL`, which is what makes a commit durable, so both are read
back. `open_journal` ends with a truncating checkpoint: after a failed fsync the kernel may hold pages as clean that the
disk never got, and a WAL recovered from such pages could break under commits appended to it. Writing its verified
content anew into the database file, with an fsync that succeeds, removes the doubt before anything is acknowledged.

Source: sqlite.org/wal.html, sqlite.org/pragma.html; Rebello et al., "Can Applications Recover from fsync Failures?",
USENIX ATC 2020.
"""

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import apsw
import msgspec

from redrush.errors import ConfigError, NewerVersion
from redrush.ports.journal import Identity, digest
from redrush.ports.log_rows import Row, chain_after, record_of
from redrush.ports.store import LogRecord, StoreCorrupt, StoreFailed
from redrush.stores.pots import Pots
from redrush.stores.sqlite.identity import new_identity
from redrush.stores.sqlite.statements import sql

APPLICATION_ID: Final = 0x7264726A
"""Marks a SQLite file as a journal of redrush: "rdrj" in ASCII."""

SCHEMA_VERSION: Final = 3
OF_RUNS_VERSION: Final = 2
"""Journals of this version know no single grants and no holds; they learn of them when they are opened for writing."""
UNCHAINED_VERSION: Final = 1
"""Journals of this version have no fingerprints and no identity either, and get both then."""

BUSY_TIMEOUT_MS: Final = 5_000
"""How long to wait for a reader of another process to end its transaction; readers of ours take milliseconds."""

SYNCHRONOUS_FULL: Final = 2

READ_PAGE_ROWS: Final = 1_000
"""Rows per query of an iterating reader, so that no read transaction holds the WAL for long."""

ALL_ROWS: Final = -1  # LIMIT -1 of SQLite

CHANGED: Final = "was changed, or another one before it: its fingerprint is wrong"


class Recovered(msgspec.Struct, frozen=True):
    """What a journal holds: its pots, who it is, and the fingerprint of its log.

    `chains` are the fingerprints after the records that were asked for, as far as the journal has them. `is_new`: it
    was made by this very call.
    """

    pots: Pots
    identity: Identity
    chain: str
    chains: dict[int, str]
    is_new: bool

    @property
    def seq(self) -> int:
        """The number of the last record."""
        return self.pots.seq

    def granted(self) -> dict[str, int]:
        """Return how many slots each pot has granted."""
        return self.pots.granted()


def open_journal(path: Path, vfs: str | None, asked: Collection[int] = ()) -> tuple[apsw.Connection, Recovered]:
    """Open or create the journal for writing; return the connection and what the log adds up to.

    `asked` are seqs whose fingerprints are wanted. Raises ConfigError for a file that is not a journal or of a newer
    version, StoreCorrupt for a log that contradicts itself or its fingerprints, StoreFailed when the disk fails. The
    caller holds the lock.
    """
    try:
        connection = apsw.Connection(os.fspath(path), vfs=vfs)
    except apsw.Error as error:
        raise StoreFailed(f"{path}: {error}") from error
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        version = check_identity(connection, path)
        _make_durable(connection, path)
        if not version:
            _create(connection, path)
        elif version < SCHEMA_VERSION:
            _migrate(connection, version)
        recovered = _recover(connection, asked, is_new=not version)
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.BusyError as error:
        connection.close(True)
        raise StoreFailed(f"{path}: another process keeps reading it, end that one first ({error})") from error
    except apsw.CorruptError as error:
        _close_untouched(connection)
        raise StoreCorrupt(0, f"{path} is damaged ({error})") from error
    except (apsw.Error, OSError) as error:
        _close_untouched(connection)
        raise StoreFailed(f"{path}: {error}") from error
    except BaseException:
        _close_untouched(connection)
        raise
    return connection, recovered


def _close_untouched(connection: apsw.Connection) -> None:
    """Close without the checkpoint that closing implies: what is wrong on the disk stays as it was found."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.close(True)


def check_identity(connection: apsw.Connection, path: Path) -> int:
    """Return the version, 0 if the file is new (empty). ConfigError if it is another program's, or of a newer version;
    StoreCorrupt if nothing can read it."""
    try:
        application_id = connection.pragma("application_id")
        version = connection.pragma("user_version")
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
    except apsw.NotADBError:
        raise StoreCorrupt(0, f"{path} is not a journal of redrush, not even a SQLite file") from None
    if (application_id, version, tables) == (0, 0, 0):
        return 0
    if application_id != APPLICATION_ID:
        raise ConfigError(f"{path} is a SQLite file of another program, not a journal of redrush")
    if version > SCHEMA_VERSION:
        raise NewerVersion(
            f"{path} is a journal of version {version}; this redrush reads version {SCHEMA_VERSION}, use a newer one"
        )
    if version not in {UNCHAINED_VERSION, OF_RUNS_VERSION, SCHEMA_VERSION}:
        raise ConfigError(
            f"{path} is a journal of version {version}, which no redrush has written; this one reads {SCHEMA_VERSION}"
        )
    return int(version)


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
    connection.execute(sql("identity"))
    keep_identity(connection, new_identity())
    connection.pragma("application_id", APPLICATION_ID)
    connection.pragma("user_version", SCHEMA_VERSION)
    connection.execute("COMMIT")
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)  # SQLite does this for the WAL, not for the database file itself
    finally:
        os.close(directory)


def _migrate(connection: apsw.Connection, version: int) -> None:
    """Bring a journal of a version before to this one, in one transaction. What is in it stays as it is."""
    connection.execute("BEGIN IMMEDIATE")
    if version == UNCHAINED_VERSION:
        _chain(connection)
    _allow_all_kinds(connection)
    connection.pragma("user_version", SCHEMA_VERSION)
    connection.execute("COMMIT")


def _allow_all_kinds(connection: apsw.Connection) -> None:
    """Let the log have rows of every kind there is: its table is declared as a new journal declares it.

    Only a CHECK is other than before, so no row has to be written anew (sqlite.org/lang_altertable.html, "Making Other
    Kinds Of Table Schema Changes"): a journal of any size opens at once.
    """
    declared = sql("schema")
    connection.pragma("writable_schema", "on")
    connection.execute(sql("declare_log"), (declared[declared.index("CREATE TABLE") :].rstrip().rstrip(";"),))
    connection.pragma("writable_schema", "reset")


def _chain(connection: apsw.Connection) -> None:
    """Give a journal of the first version its fingerprints and an identity."""
    connection.execute("ALTER TABLE log ADD COLUMN chain TEXT")
    chain = ""
    chains = []
    for row in connection.execute(sql("read"), (0, ALL_ROWS)):
        chain = chain_after(chain, _row(row))
        chains.append((row[0], chain))
    connection.executemany(sql("chain_row"), chains)
    connection.execute(sql("identity"))
    keep_identity(connection, new_identity())


def keep_identity(connection: apsw.Connection, identity: Identity) -> None:
    """Write the identity into the journal, over the one before."""
    content = msgspec.json.encode(identity)
    connection.execute(sql("keep_identity"), (content.decode(), digest(content)))


def read_identity(connection: apsw.Connection) -> Identity:
    row = connection.execute("SELECT content, digest FROM identity").fetchone()
    if row is None or digest(row[0].encode()) != row[1]:
        raise StoreCorrupt(0, "the journal's identity was changed")
    return msgspec.json.decode(row[0], type=Identity)


def _recover(connection: apsw.Connection, asked: Collection[int], *, is_new: bool) -> Recovered:
    pots = Pots()
    wanted = frozenset(asked)
    chains = {0: ""}
    chain = ""
    try:
        for row in connection.execute(sql("read_chained"), (0, ALL_ROWS)):
            *columns, kept = row
            pots.restore(record_of(tuple(columns)))
            chain = chain_after(chain, _row(columns))
            if chain != kept:
                raise StoreCorrupt(pots.seq, CHANGED)
            if pots.seq in wanted:
                chains[pots.seq] = chain
        identity = read_identity(connection)
    except apsw.CorruptError as error:
        raise StoreCorrupt(pots.seq + 1, f"cannot be read, the file is damaged ({error})") from error
    except apsw.SQLError as error:
        raise StoreCorrupt(pots.seq + 1, f"cannot be read, a table is missing ({error})") from error
    except UnicodeDecodeError as error:
        raise StoreCorrupt(pots.seq + 1, f"is not text any more ({error.reason})") from error
    return Recovered(pots, identity, chain, chains, is_new)


def _row(columns: Sequence[Any]) -> Row:
    """Return the columns of a row of the log as the row that was written."""
    return tuple(columns)


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
            self._version = check_identity(self._connection, path)
            if not self._version:
                raise ConfigError(f"{path} is empty, no journal of redrush yet")
        except apsw.CorruptError as error:
            self._connection.close(True)
            raise StoreCorrupt(1, f"cannot be read, {path} is damaged ({error})") from error
        except BaseException:
            self._connection.close(True)
            raise

    def read(self, after: int, limit: int) -> list[LogRecord]:
        """Return up to `limit` records with seq > `after`, in order."""
        return [record_of(row) for row in self._rows(self._read, after, max(limit, 0))]

    def _rows(self, query: str, after: int, limit: int) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, (after, limit)).fetchall()
        except (apsw.CorruptError, UnicodeDecodeError) as error:
            raise StoreCorrupt(after + 1, f"or one soon after it cannot be read, {self._path} is damaged") from error
        except apsw.Error as error:
            raise StoreFailed(f"{self._path}: {error}") from error

    def records(self, after: int = 0) -> Iterator[LogRecord]:
        """Yield every record with seq > `after`, those included that are appended meanwhile.

        Raises StoreCorrupt at the first that is not what was written, by its fingerprint.
        """
        if self._version == UNCHAINED_VERSION:
            while page := self.read(after, READ_PAGE_ROWS):
                yield from page
                after = page[-1].seq
            return
        query = sql("read_chained")
        chain = None if after else ""
        while rows := self._rows(query, after, READ_PAGE_ROWS):
            for *columns, kept in rows:
                after = columns[0]
                chain = kept if chain is None else chain_after(chain, _row(columns))
                if chain != kept:
                    raise StoreCorrupt(after, CHANGED)
                yield record_of(tuple(columns))

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
