"""The records in `records.db`, written without getting in the way of the gate that lives in the same process.

A batch becomes JSON once; splitting it into grants, postings and balances is SQL from table to table, which runs with
the interpreter lock released. Rejected: executemany over Python rows, which holds the lock for about as long as
the database works; one row per statement with an index on everything, which is slower still.

WAL with `synchronous=NORMAL`: a commit is atomic but may be lost to power failure together with the commits after it.
That is enough for a projection. Cursor and data are one transaction, so they go back together, and everything above
the older cursor is still in the journal, which is FULL. It also spares the disk: NORMAL syncs at checkpoints only,
not once per batch next to the journal's own syncs, which claims wait for.
"""

import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import groupby, pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any, Self

import apsw
import msgspec

from redrush.errors import ConfigError
from redrush.ports.log_rows import Row, chain_after, granted_row, row_of, users_text
from redrush.ports.records import (
    Balance,
    Change,
    GrantRun,
    RecordedGrant,
    RecordsConflict,
    RecordsDamaged,
    RecordsFailed,
    RecordsMark,
    Totals,
)
from redrush.ports.store import Granted
from redrush.records.sqlite.migrations import Tell, migrate
from redrush.sqlfiles import load_statements

APPLICATION_ID = 0x52525243
"""In the file's header, so that no other SQLite file is taken for records ("RRRC")."""

ASIDE_MAX = 99
"""Damaged files kept beside the one in use; then somebody should look."""

FILES = ("", "-wal", "-shm")
"""What belongs to a SQLite file, by the ends of the names."""

POTS_MAX = 100_000
"""Numbers of pots that are remembered; one that is not is looked up again."""

CACHE_KIB = 32 * 1024
"""Page cache of the writer. Users arrive in no order, so every batch touches pages all over the user indexes."""

BUSY_WAIT_MS = 5_000
"""Longest wait for a lock that another process holds, such as a backup; then the call fails and is tried again."""

_PACKAGE = "redrush.records.sqlite"
_encode = msgspec.json.Encoder().encode


def _ignore(_what: str) -> None:
    """Nobody asked to be told."""


class SqliteRecords:
    """Fulfils `redrush.ports.records.Records`. Calls may come from any thread.

    One connection writes, another reads, each under its own lock: a query never waits for a batch.
    """

    commits_are_durable = False

    def __init__(self, path: Path, writer: apsw.Connection, reader: apsw.Connection) -> None:
        self._path = path
        self._campaigns: dict[str, int] = {}
        self._pots: dict[tuple[int, str], int] = {}
        self._writer = writer
        self._reader = reader
        self._sql = load_statements(_PACKAGE, "queries.sql")
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()

    @classmethod
    def open_path(cls, path: Path, tell: Tell = _ignore) -> Self:
        """Open the records at `path`, creating them if the file is missing or empty. Those of an older version are
        brought to this one first; `tell` hears how far that is.

        Raises ConfigError if the file is something else or of another version, RecordsFailed if the disk fails.
        """
        return cls(path, *_open(path, tell))

    def mark(self) -> RecordsMark:
        """Return how far the records are. Raises RecordsDamaged if that was changed by anybody else."""
        with self._read_lock, _failures(self._path):
            seq, chain, log, digest = self._row(self._reader, "mark")
        if (seq or digest) and digest != _digest(seq, chain, log):
            raise RecordsDamaged(f"{self._path}: its cursor was changed")
        return RecordsMark(log, seq, chain)

    def belong_to(self, log: str) -> None:
        """Write down which log these are the records of."""
        with self._write_lock, _failures(self._path), _transaction(self._writer):
            seq, chain, _, _ = self._row(self._writer, "mark")
            self._move_cursor(seq, chain, log)

    def journal(self) -> Iterator[Row]:
        """Yield the rows of the log that these records were made from, in order. RecordsDamaged if they are not what
        was written: those before were."""
        mark = self.mark()
        chain, seq = "", 0
        with self._read_lock, _failures(self._path):
            for row in self._reader.execute(self._sql["journal"]):
                chain, seq = chain_after(chain, row), row[0]
                yield row
        if (seq, chain) != (mark.seq, mark.chain):
            raise RecordsDamaged(f"{self._path}: its copy of the journal was changed")

    def cursor(self) -> int:
        """See the port."""
        with self._read_lock, _failures(self._path):
            return int(self._row(self._reader, "cursor")[0])

    def apply(self, changes: Sequence[Change]) -> int:
        """See the port."""
        if any(earlier.seq >= later.seq for earlier, later in pairwise(changes)):
            raise ValueError("changes must come in ascending order of seq")
        with self._write_lock, _failures(self._path), self._numbering(), _transaction(self._writer):
            cursor, chain, log, _ = self._row(self._writer, "mark")
            new = [change for change in changes if change.seq > cursor]
            if not new:
                return int(cursor)
            for campaign, of_campaign in groupby(new, attrgetter("campaign")):
                number = self._campaign(campaign)
                self._load(of_campaign, number)
                self._keep(number)
            rows = [_row_of(change) for change in new]
            for row in rows:
                chain = chain_after(chain, row)
            self._writer.executemany(self._sql["keep_log"], rows)
            self._move_cursor(new[-1].seq, chain, log)
            return new[-1].seq

    def grants_of(self, user: str) -> list[RecordedGrant]:
        """See the port."""
        with self._read_lock, _failures(self._path):
            return [RecordedGrant(*row) for row in self._reader.execute(self._sql["grants_of"], {"user": user})]

    def balance(self, campaign: str, account: str) -> Balance:
        """See the port."""
        asked = {"campaign": campaign, "account": account}
        with self._read_lock, _failures(self._path):
            row = self._reader.execute(self._sql["balance"], asked).fetchone()
        return Balance(0, 0) if row is None else Balance(*row)

    def totals(self) -> Totals:
        """See the port."""
        with self._read_lock, _failures(self._path):
            return Totals(*self._row(self._reader, "totals"))

    def is_sound(self) -> bool:
        """Whether the file is a whole one, page for page: reads all of it, beside whoever uses it."""
        try:
            checking = apsw.Connection(os.fspath(self._path), flags=apsw.SQLITE_OPEN_READONLY)
            try:
                checking.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
                return bool(checking.execute("PRAGMA quick_check(1)").get == "ok")
            finally:
                checking.close(True)
        except (apsw.CorruptError, apsw.NotADBError):
            return False
        except apsw.Error as error:
            raise RecordsFailed(f"{self._path}: {error}") from error

    def begin_anew(self, log: str) -> Path:
        """Put the file aside and begin an empty one, for this log; return where the old one is.

        Nobody may be in the midst of following the log: the cursor is 0 then.
        """
        with self._write_lock, self._read_lock:
            self._reader.close(True)
            self._writer.close(True)
            aside = set_aside(self._path)
            self._writer, self._reader = _open(self._path, _ignore)
            self._forget_numbers()
        self.belong_to(log)
        return aside

    def close(self) -> None:
        """See the port."""
        with self._write_lock, self._read_lock:
            self._reader.close()
            self._writer.close()

    def _move_cursor(self, seq: int, chain: str, log: str) -> None:
        to = {"seq": seq, "chain": chain, "log": log, "digest": _digest(seq, chain, log)}
        self._writer.execute(self._sql["move_cursor"], to)

    def _campaign(self, name: str) -> int:
        """Return the campaign's number, in the transaction that may make it known."""
        if name not in self._campaigns:
            self._writer.execute(self._sql["name_campaign"], {"id": name})
            rows: list[tuple[Any, ...]] = self._writer.execute(self._sql["campaigns"]).fetchall()
            self._campaigns = {id_: number for number, id_ in rows}
            if name not in self._campaigns:
                self._campaigns[name] = self._row(self._writer, "keep_campaign", id=name)[0]
        return self._campaigns[name]

    def _pot(self, campaign: int, name: str) -> int:
        """Return the pot's number, in the transaction that may make it known."""
        if (campaign, name) not in self._pots:
            if len(self._pots) >= POTS_MAX:
                self._pots.clear()
            of_pot = {"campaign": campaign, "name": name}
            found = self._writer.execute(self._sql["pot"], of_pot).fetchone() or self._row(
                self._writer, "keep_pot", **of_pot
            )
            self._pots[campaign, name] = int(found[0])
        return self._pots[campaign, name]

    @contextmanager
    def _numbering(self) -> Iterator[None]:
        """Forget the numbers if the block fails: those that it gave were taken back."""
        try:
            yield
        except BaseException:
            self._forget_numbers()
            raise

    def _forget_numbers(self) -> None:
        self._campaigns.clear()
        self._pots.clear()

    def _load(self, changes: Iterable[Change], campaign: int) -> None:
        """Fill the connection's own tables of fresh grants and postings from the changes."""
        grants_loaded = 0
        for change in changes:
            if isinstance(change, GrantRun):
                self._load_run(change, self._pot(campaign, change.pot), after_row=grants_loaded)
                grants_loaded += len(change.users)
            else:
                for posting in change.postings:
                    self._writer.execute(self._sql["load_posting"], msgspec.structs.asdict(posting))

    def _load_run(self, run: GrantRun, pot: int, after_row: int) -> None:
        worth = _encode(list(zip(run.users, run.amounts_minor, strict=True))).decode()
        placed = {"first_slot": run.first_slot, "pot": pot, "at_us": run.at_us, "grants": worth}
        self._writer.execute(self._sql["load_grants"], placed)
        self._writer.execute(
            self._sql["load_grant_postings"], {**msgspec.structs.asdict(run.rule), "after_row": after_row}
        )

    def _keep(self, campaign: int) -> None:
        self._writer.execute(self._sql["keep_grants"])
        for name in ("keep_postings", "debit_accounts", "credit_accounts"):
            self._writer.execute(self._sql[name], {"campaign": campaign})
        self._writer.execute(self._sql["clear_fresh_grants"])
        self._writer.execute(self._sql["clear_fresh_postings"])

    def _row(self, connection: apsw.Connection, name: str, /, **values: Any) -> tuple[Any, ...]:
        row: tuple[Any, ...] | None = connection.execute(self._sql[name], values or None).fetchone()
        if row is None:
            raise RecordsFailed(f"{self._path} answers {name} with nothing: it is damaged; move it away to rebuild it")
        return row


def _open(path: Path, tell: Tell) -> tuple[apsw.Connection, apsw.Connection]:
    """Return a connection that writes and one that reads; see `SqliteRecords.open_path`."""
    sql = load_statements(_PACKAGE, "queries.sql")
    with ExitStack() as opened, _failures(path):
        _make_private(path)
        writer = _connect(path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
        opened.callback(writer.close, force=True)
        with _transaction(writer):
            _create_or_migrate(writer, path, sql["tables"], tell)
        _tune(writer)
        writer.execute(sql["create_fresh_grants"])
        writer.execute(sql["create_fresh_postings"])
        reader = _connect(path, apsw.SQLITE_OPEN_READWRITE)
        opened.callback(reader.close, force=True)
        _tune(reader)
        reader.pragma("query_only", True)
        opened.pop_all()
    return writer, reader


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


def _row_of(change: Change) -> Row:
    """Return the row of the log record that the change was made from."""
    if not isinstance(change, GrantRun):
        return row_of(change.record)
    users = tuple(change.users)
    return granted_row(Granted(change.seq, change.pot, change.first_slot, users, change.at_us), users_text(users))


def _digest(seq: int, chain: str, log: str) -> str:
    return hashlib.blake2b(f"{seq} {chain} {log}".encode(), digest_size=8).hexdigest()


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
    except (apsw.CorruptError, UnicodeDecodeError) as error:
        raise RecordsDamaged(f"{path} is damaged: {error}") from error
    except apsw.Error as error:
        raise RecordsFailed(f"{path}: {error}") from error


def _make_private(path: Path) -> None:
    """See to it that the file is its owner's alone; SQLite makes what it has beside it alike."""
    with suppress(OSError):
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
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
