"""SQLite files of ours: the records', opened for a writer and a reader, put aside; and books, which keep each commit.

What SQLite says of either is told in our words.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import apsw
import msgspec

from redrush.errors import ConfigError, NewerVersion, RedrushError
from redrush.ports.records import RecordsConflict, RecordsDamaged, RecordsFailed
from redrush.records.sqlite.book_mark import MarkedBook, mark_path, refusal
from redrush.records.sqlite.migrations import Tell, migrate
from redrush.records.sqlite.transactions import transaction
from redrush.sqlfiles import load_statements

APPLICATION_ID = 0x52525243
"""In the file's header, so that no other SQLite file is taken for records ("RRRC")."""

ASIDE_MAX = 99
"""Damaged files kept beside the one in use; then somebody should look."""

FILES = ("", "-wal", "-shm")
"""What belongs to a SQLite file, by the ends of the names."""

CACHE_KIB = 32 * 1024
"""Page cache of the writer. Users arrive in no order, so every batch touches pages all over the user indexes."""

BUSY_WAIT_MS = 5_000
"""Longest wait for a lock that another process holds, such as a backup; then the call fails and is tried again."""

PACKAGE = "redrush.records.sqlite"


def open_file(path: Path, tell: Tell) -> tuple[apsw.Connection, apsw.Connection]:
    """Return a connection that writes and one that reads; see `redrush.records.sqlite.SqliteRecords.open_path`."""
    sql = load_statements(PACKAGE, "queries.sql")
    with ExitStack() as opened, failures(path):
        _make_private(path)
        writer = _connect(path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
        opened.callback(writer.close, force=True)
        with transaction(writer):
            _create_or_migrate(writer, path, sql["tables"], tell)
        _tune(writer)
        writer.execute(sql["create_fresh_grants"])
        writer.execute(sql["create_fresh_rules"])
        writer.execute(sql["create_fresh_postings"])
        reader = _connect(path, apsw.SQLITE_OPEN_READWRITE)
        opened.callback(reader.close, force=True)
        _tune(reader)
        reader.pragma("query_only", True)
        opened.pop_all()
    return writer, reader


class Book(NamedTuple):
    """What a file is that is no projection: to whom money is due stands nowhere else."""

    name: str
    """What people are told that it is."""
    used: str
    """What was done with it, for who lacks it, as "people were paid"."""
    application_id: int
    """In the file's header, so that no other SQLite file is taken for one."""
    versions: Mapping[int, str]
    """The scripts that make the tables, each by the version that it leads to."""


def open_durable(path: Path, book: Book) -> MarkedBook:
    """Open a book, or begin one, its owner's alone; each commit is synced (`synchronous=FULL`), and counted.

    For servers: a file of an older version is brought to the newest one, all or none. Raises NewerVersion, and
    ConfigError for a file of something else, for one that lacks commits which were made, or that cannot be opened at
    all.
    """
    with ExitStack() as opened, _opening(path, book):
        check_there(path, book)
        _make_private(path)
        connection = _connect(path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
        opened.callback(connection.close, force=True)
        with transaction(connection):
            _begin(connection, path, book)
            marked = MarkedBook(connection, path)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
        opened.pop_all()
    return marked


def open_as_it_is(path: Path, book: Book) -> MarkedBook:
    """Open a book for a command, as `open_durable` does, but leave it of the version that it is of: a server of the
    redrush before may have it open, or has to be able to start again.

    One of an older version can be read, for none has lost what commands read; each change is refused with ConfigError.
    """
    with ExitStack() as opened, _opening(path, book):
        check_there(path, book)
        version, newest = version_at(path, book), max(book.versions)
        if version in {0, newest}:
            return open_durable(path, book)
        connection = read_durable(path)
        opened.callback(connection.close, force=True)
        marked = MarkedBook(
            connection,
            path,
            refused=(
                f"{path} is {book.name} of version {version}, this redrush writes version {newest}: start the server "
                "by this redrush first, which brings it there; nothing was changed"
            ),
        )
        opened.pop_all()
    return marked


def version_at(path: Path, book: Book) -> int:
    """Return the version of a book, whoever has it open; 0 where there is none yet. Raises NewerVersion, ConfigError
    for a file of something else, and apsw.Error."""
    if not path.exists():
        return 0
    with closing(_connect(path, apsw.SQLITE_OPEN_READONLY)) as connection:
        return _version_of(connection, path, book)


@contextmanager
def _opening(path: Path, book: Book) -> Iterator[None]:
    """Raise ConfigError for what SQLite or the disk says of a book that is opened."""
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise ConfigError(refusal(path, f"cannot be opened as {book.name}: {error}")) from error
    except (apsw.Error, OSError) as error:
        raise ConfigError(f"{path}: cannot be opened as {book.name}: {error}") from error


def check_there(path: Path, book: Book) -> None:
    """Raise ConfigError if a book is gone that was in use: begun anew, it would do once more what it did."""
    if not path.exists() and mark_path(path).exists():
        raise ConfigError(refusal(path, f"is gone, and {book.used} from here"))


def read_durable(path: Path) -> apsw.Connection:
    """Return a connection that only reads a book, which is open."""
    connection = _connect(path, apsw.SQLITE_OPEN_READWRITE)
    connection.pragma("query_only", True)
    return connection


def _begin(connection: apsw.Connection, path: Path, book: Book) -> None:
    version = _version_of(connection, path, book)
    if not version:
        connection.pragma("application_id", book.application_id)
    for target, script in book.versions.items():
        if version < target:
            connection.execute(script)
            connection.pragma("user_version", target)


def _version_of(connection: apsw.Connection, path: Path, book: Book) -> int:
    """Return the version, 0 of a file that is empty. Raises ConfigError for a file of something else, NewerVersion."""
    newest, version = max(book.versions), int(str(connection.pragma("user_version")))
    if connection.pragma("application_id") != book.application_id:
        if version or connection.execute("SELECT count(*) FROM sqlite_schema").get:
            raise ConfigError(f"{path} is not {book.name} of redrush: move it away, or give another directory")
        return 0
    if version > newest:
        raise NewerVersion(
            f"{path} is {book.name} of version {version}, this redrush reads version {newest}: "
            "use the redrush that wrote it"
        )
    return version


def set_aside(path: Path) -> Path:
    """Move the records away, under a name that is free, with what SQLite keeps beside them; return that name.

    Nobody may have them open. Raises RecordsFailed if the disk refuses.
    """
    for number in range(1, ASIDE_MAX + 1):
        aside = path.with_name(f"{path.name}.aside-{number}")
        if not aside.exists():
            break
    else:
        raise RecordsFailed(f"{path}: {ASIDE_MAX} files were put aside already, look into them and delete them")
    try:
        for end in FILES:
            with suppress(FileNotFoundError):
                path.with_name(path.name + end).rename(aside.with_name(aside.name + end))
    except OSError as fault:
        raise RecordsFailed(f"{path}: cannot be put aside: {fault.strerror}") from fault
    return aside


def _create_or_migrate(writer: apsw.Connection, path: Path, tables_query: str, tell: Tell) -> None:
    """Bring the file to the newest version; refuse one that is something else."""
    application_id = writer.pragma("application_id")
    if application_id != APPLICATION_ID:
        if (application_id, writer.pragma("user_version"), writer.execute(tables_query).get) != (0, 0, 0):
            raise ConfigError(
                f"{path} is not a records file of redrush: move it away, it is made anew from the journal"
            )
        writer.pragma("application_id", APPLICATION_ID)
    migrate(writer, path, tell)


@contextmanager
def failures(path: Path) -> Iterator[None]:
    """Tell apart what SQLite raises: a contradiction, a foreign file, and everything else, which is a failure."""
    try:
        yield
    except apsw.ConstraintError as error:
        raise RecordsConflict(
            f"{path} contradicts the journal ({error}): move it away, it is made anew from the journal"
        ) from error
    except apsw.NotADBError as error:
        raise ConfigError(f"{path} is not a records file of redrush: {error}") from error
    except (apsw.CorruptError, UnicodeDecodeError) as error:
        raise RecordsDamaged(f"{path} is damaged: {error}") from error
    except apsw.Error as error:
        raise RecordsFailed(f"{path}: {error}") from error


@contextmanager
def book_failures(path: Path, failed: Callable[[str], RedrushError]) -> Iterator[None]:
    """Raise `failed` with what SQLite or the disk says, also of the mark of the book, or with what is wrong with what
    stands in it; the path is in the sentence."""
    try:
        yield
    except (apsw.Error, OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise failed(f"{path}: {error}") from error


def _make_private(path: Path) -> None:
    """See to it that the file is its owner's alone; SQLite makes what it has beside it alike.

    It is not opened for that: as it is closed, those who have it open by SQLite in this process would lose their locks.
    """
    with suppress(OSError):
        if not path.exists():
            os.mknod(path, 0o600)
        path.chmod(0o600)


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
