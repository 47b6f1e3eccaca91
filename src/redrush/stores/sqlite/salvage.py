"""What is sound of a journal, and a journal made anew of rows: for one that was lost, wound back or damaged.

A row is sound if the fingerprints say that it and all rows before it are what was written. Nothing is changed in what
is read; a new journal is written beside, whole, before anything takes the old one's place.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import apsw
import msgspec

from redrush.errors import NewerVersion, RedrushError
from redrush.ports.journal import Identity
from redrush.ports.log_rows import Row, chain_after
from redrush.ports.store import StoreCorrupt, StoreFailed
from redrush.stores.sqlite.journal import (
    ALL_ROWS,
    APPLICATION_ID,
    SCHEMA_VERSION,
    UNCHAINED_VERSION,
    check_identity,
    keep_identity,
    read_identity,
)
from redrush.stores.sqlite.statements import sql

FILES: Final = ("", "-wal", "-shm")
"""What belongs to a SQLite file, by the ends of the names."""

REBUILT: Final = ".rebuilt"
"""The end of the name under which a new journal waits until the old one is out of the way."""

ASIDE_MAX: Final = 99
"""Old journals kept beside the one in use; then somebody should look."""


class Salvaged(msgspec.Struct, frozen=True):
    """What could be read of a journal: `why` it is not whole, None if it is."""

    identity: Identity | None
    rows: list[Row]
    chain: str
    why: str | None

    @property
    def seq(self) -> int:
        """The number of the last sound record, 0 if there is none."""
        return self.rows[-1][0] if self.rows else 0


def salvage(path: Path) -> Salvaged:
    """Read what is sound of the journal, and what is in its WAL. Nobody may write it. Raises NewerVersion alone: such a
    journal is whole."""
    rows: list[Row] = []
    identity = None
    chain = ""
    if not path.exists():
        return Salvaged(None, rows, chain, "is missing")
    try:
        connection = apsw.Connection(os.fspath(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            version = check_identity(connection, path)
            if not version:
                return Salvaged(None, rows, chain, "is empty")
            if version == UNCHAINED_VERSION:
                query = ((*row, None) for row in connection.execute(sql("read"), (0, ALL_ROWS)))
            else:
                query = (row for row in connection.execute(sql("read_chained"), (0, ALL_ROWS)))
            for *columns, kept in query:
                row = tuple(columns)
                after = chain_after(chain, row)
                if kept not in (None, after):
                    return Salvaged(identity, rows, chain, f"was changed at log record {columns[0]}")
                chain = after
                rows.append(row)
            identity = None if version == UNCHAINED_VERSION else read_identity(connection)
        finally:
            connection.close(True)
    except StoreCorrupt as fault:
        return Salvaged(None, rows, chain, str(fault))
    except NewerVersion:
        raise
    except (apsw.Error, OSError, UnicodeDecodeError, RedrushError) as fault:
        return Salvaged(identity, rows, chain, f"cannot be read ({fault})")
    return Salvaged(identity, rows, chain, None)


def replace_journal(path: Path, identity: Identity, rows: Sequence[Row]) -> Path | None:
    """Put a journal of these rows at `path`; return where the old one is now, None if there was none.

    The caller holds the lock. Cut off anywhere, the rows are in a file that `salvage` reads: at `path`, or at `path`
    with REBUILT added. Raises StoreFailed if the disk refuses.
    """
    rebuilt = path.with_name(path.name + REBUILT)
    try:
        for end in FILES:
            rebuilt.with_name(rebuilt.name + end).unlink(missing_ok=True)
        _write(rebuilt, identity, rows)
        aside = put_aside(path)
        rebuilt.rename(path)
        _sync_directory(path.parent)
    except (apsw.Error, OSError) as fault:
        raise StoreFailed(f"{path}: cannot be made anew: {fault}") from fault
    return aside


def note_heard(path: Path) -> bool:
    """Note in the journal that the winners of what it may lack were heard; return whether it was unsure until now.

    The caller holds the lock. Raises StoreCorrupt, StoreFailed if the disk refuses.
    """
    try:
        connection = apsw.Connection(os.fspath(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.pragma("synchronous", "full")
            with connection:
                identity = read_identity(connection)
                keep_identity(connection, msgspec.structs.replace(identity, is_unsure=False))
        finally:
            connection.close(True)
    except (apsw.Error, OSError) as fault:
        raise StoreFailed(f"{path}: cannot be written: {fault}") from fault
    return identity.is_unsure


def put_aside(path: Path) -> Path | None:
    """Move the journal away, under a name that is free; return that, None if there is no journal. Raises OSError."""
    if not any(path.with_name(path.name + end).exists() for end in FILES):
        return None
    for number in range(1, ASIDE_MAX + 1):
        aside = path.with_name(f"{path.name}.aside-{number}")
        if not any(aside.with_name(aside.name + end).exists() for end in FILES):
            break
    else:
        raise OSError(f"{ASIDE_MAX} old journals are beside it already, look into them and delete them")
    for end in FILES:
        old = path.with_name(path.name + end)
        if old.exists():
            old.rename(aside.with_name(aside.name + end))
    _sync_directory(path.parent)
    return aside


def _write(path: Path, identity: Identity, rows: Sequence[Row]) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = apsw.Connection(os.fspath(path))
    try:
        connection.pragma("synchronous", "full")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(sql("schema"))
        connection.execute(sql("identity"))
        keep_identity(connection, identity)
        chain = ""
        chained = []
        for row in rows:
            chain = chain_after(chain, row)
            chained.append((*row, chain))
        connection.executemany(sql("append"), chained)
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", SCHEMA_VERSION)
        connection.execute("COMMIT")
    finally:
        connection.close(True)


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
