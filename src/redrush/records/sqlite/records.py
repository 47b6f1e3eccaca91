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
from contextlib import closing, contextmanager
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Self

import apsw
import msgspec

from redrush.core.money.ledger import GrantRule
from redrush.core.nobody import ignore
from redrush.ports.log_rows import Row, chain_after, granted_row, row_of, users_text
from redrush.ports.records import (
    Balance,
    Change,
    GrantRun,
    Posted,
    RecordedGrant,
    RecordsConflict,
    RecordsDamaged,
    RecordsFailed,
    RecordsMark,
    ScatteredGrants,
    Totals,
    ends_of,
    unposted_of,
)
from redrush.ports.store import Confirmed, Grant, Granted, Released
from redrush.records.sqlite.examining import ExaminedFile
from redrush.records.sqlite.file import BUSY_WAIT_MS, PACKAGE, failures, open_file, set_aside
from redrush.records.sqlite.migrations import Tell
from redrush.records.sqlite.transactions import transaction
from redrush.sqlfiles import load_statements

POTS_MAX = 100_000
"""Numbers of pots that are remembered; one that is not is looked up again."""

_encode = msgspec.json.Encoder().encode


class SqliteRecords:
    """Fulfils `redrush.ports.records.Records`. Calls may come from any thread.

    One connection writes, another reads, each under its own lock: a query never waits for a batch.
    """

    commits_are_durable = False

    def __init__(self, path: Path, writer: apsw.Connection, reader: apsw.Connection) -> None:
        self._path = path
        self._campaigns: dict[str, int] = {}
        self._pots: dict[tuple[int, str], int] = {}
        self._ruled: set[int] = set()  # pots whose rule is among the fresh ones
        self._writer = writer
        self._reader = reader
        self._sql = load_statements(PACKAGE, "queries.sql")
        self._examining = load_statements(PACKAGE, "examining.sql")
        self._data_version: int | None = None
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()

    @classmethod
    def open_path(cls, path: Path, tell: Tell = ignore) -> Self:
        """Open the records at `path`, creating them if the file is missing or empty. Those of an older version are
        brought to this one first; `tell` hears how far that is.

        Raises ConfigError if the file is something else or of another version, RecordsFailed if the disk fails.
        """
        return cls(path, *open_file(path, tell))

    def mark(self) -> RecordsMark:
        """Return how far the records are. Raises RecordsDamaged if that was changed by anybody else."""
        with self._read_lock, failures(self._path):
            seq, chain, log, digest = self._row(self._reader, "mark")
        if (seq or digest) and digest != _digest(seq, chain, log):
            raise RecordsDamaged(f"{self._path}: its cursor was changed")
        return RecordsMark(log, seq, chain)

    def belong_to(self, log: str) -> None:
        """Write down which log these are the records of."""
        with self._write_lock, failures(self._path), transaction(self._writer):
            seq, chain, _, _ = self._row(self._writer, "mark")
            self._move_cursor(seq, chain, log)

    def journal(self) -> Iterator[Row]:
        """Yield the rows of the log that these records were made from, in order. RecordsDamaged if they are not what
        was written: those before were."""
        mark = self.mark()
        chain, seq = "", 0
        with self._read_lock, failures(self._path):
            for row in self._reader.execute(self._sql["journal"]):
                chain, seq = chain_after(chain, row), row[0]
                yield row
        if (seq, chain) != (mark.seq, mark.chain):
            raise RecordsDamaged(f"{self._path}: its copy of the journal was changed")

    def cursor(self) -> int:
        """See the port."""
        with self._read_lock, failures(self._path):
            return int(self._row(self._reader, "cursor")[0])

    def apply(self, changes: Sequence[Change]) -> int:
        """See the port."""
        if any(earlier.seq >= later.seq for earlier, later in pairwise(changes)):
            raise ValueError("changes must come in ascending order of seq")
        with self._write_lock, failures(self._path), self._numbering(), transaction(self._writer):
            cursor, chain, log, _ = self._row(self._writer, "mark")
            new = [change for change in changes if change.seq > cursor]
            if not new:
                return int(cursor)
            for (campaign, ends_holds), group in groupby(new, lambda change: (change.campaign, ends_of(change))):
                number, alike = self._campaign(campaign), list(group)
                if ends_holds:
                    self._end_holds(alike, number)
                self._load(alike, number)
                self._keep(number)
            rows = [_row_of(change) for change in new]
            for row in rows:
                chain = chain_after(chain, row)
            self._writer.executemany(self._sql["keep_log"], rows)
            self._move_cursor(new[-1].seq, chain, log)
            if unposted := sum(map(unposted_of, new)):
                self._writer.execute(self._sql["add_unposted"], {"unposted": unposted})
            return new[-1].seq

    def grants_of(self, user: str) -> list[RecordedGrant]:
        """See the port."""
        with self._read_lock, failures(self._path):
            return [RecordedGrant(*row) for row in self._reader.execute(self._sql["grants_of"], {"user": user})]

    def holds_due(self, campaign: str, until_us: int, skip: int, limit: int) -> list[Grant]:
        """See the port."""
        asked = {"campaign": campaign, "until_us": until_us, "skip": skip, "limit": limit}
        with self._read_lock, failures(self._path):
            return [Grant(*row) for row in self._reader.execute(self._sql["holds_due"], asked)]

    def balance(self, campaign: str, account: str) -> Balance:
        """See the port."""
        asked = {"campaign": campaign, "account": account}
        with self._read_lock, failures(self._path):
            row = self._reader.execute(self._sql["balance"], asked).fetchone()
        return Balance(0, 0) if row is None else Balance(*row)

    def totals(self) -> Totals:
        """See the port."""
        with self._read_lock, failures(self._path):
            return Totals(*self._row(self._reader, "totals"))

    @contextmanager
    def examined(self, campaign: str) -> Iterator[ExaminedFile]:
        """See `redrush.ports.examined`. On a connection of its own, so that nobody waits for anybody."""
        with (
            failures(self._path),
            closing(apsw.Connection(os.fspath(self._path), flags=apsw.SQLITE_OPEN_READONLY)) as reading,
        ):
            reading.set_busy_timeout(BUSY_WAIT_MS)
            reading.execute("BEGIN")
            yield ExaminedFile(reading, self._examining, campaign)

    def changed_by_others(self) -> list[str]:
        """See `redrush.ports.examined`. SQLite tells a connection of commits that were made through others, and the
        writer's is the only one that ever writes."""
        with self._write_lock, failures(self._path):
            version = int(self._writer.pragma("data_version"))
        seen, self._data_version = self._data_version, version
        return [] if seen in (None, version) else [f"{self._path} was written to by somebody else than its recorder"]

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
            self._writer, self._reader = open_file(self._path, ignore)
            self._forget_numbers()
            self._data_version = None
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
        self._ruled.clear()
        self._campaigns.clear()
        self._pots.clear()

    def _load(self, changes: Iterable[Change], campaign: int) -> None:
        """Fill the connection's own tables of fresh grants, rules and postings from the changes."""
        for change in changes:
            if isinstance(change, GrantRun):
                self._load_run(change, campaign)
                continue
            if isinstance(change, ScatteredGrants):
                self._load_scattered(change, campaign)
            for posting in change.postings:
                self._writer.execute(self._sql["load_posting"], msgspec.structs.asdict(posting))

    def _load_run(self, run: GrantRun, campaign: int) -> None:
        pot = self._load_rule(campaign, run.pot, run.rule)
        columns = (run.users, run.amounts_minor) if run.holds is None else (run.users, run.amounts_minor, run.holds)
        worth = _encode(list(zip(*columns, strict=True))).decode()
        placed = {"first_slot": run.first_slot, "pot": pot, "at_us": run.at_us, "grants": worth}
        self._writer.execute(self._sql["load_grants"], placed)

    def _load_scattered(self, change: ScatteredGrants, campaign: int) -> None:
        pots = {name: self._load_rule(campaign, name, rule) for name, rule in change.rules.items()}
        grants = change.record.grants
        rows = [
            (pots[grant.pot], grant.slot, grant.user, amount_minor, grant.request, grant.number, grant.until_us, holds)
            for grant, amount_minor, holds in zip(
                grants, change.amounts_minor, change.holds or [None] * len(grants), strict=True
            )
        ]
        placed = {"at_us": change.record.at_us, "grants": _encode(rows).decode()}
        self._writer.execute(self._sql["load_scattered"], placed)

    def _load_rule(self, campaign: int, name: str, rule: GrantRule) -> int:
        """Say how the pot's grants are posted; return its number."""
        pot = self._pot(campaign, name)
        if pot not in self._ruled:
            self._ruled.add(pot)
            self._writer.execute(self._sql["load_rule"], {"pot": pot, **msgspec.structs.asdict(rule)})
        return pot

    def _end_holds(self, changes: Sequence[Change], campaign: int) -> None:
        """Make holds permanent, or take them away."""
        for change in changes:
            assert isinstance(change, Posted)
            assert isinstance(change.record, Confirmed | Released)
            name = "confirm" if isinstance(change.record, Confirmed) else "release"
            for hold in change.record.holds:
                which = {"pot": self._pot(campaign, hold.pot), "slot": hold.slot, "number": hold.number}
                self._writer.execute(self._sql[name], which)
                if self._writer.changes() != 1:
                    raise RecordsConflict(
                        f"{self._path}: log record {change.seq} ends a hold that is not there: {hold}"
                    )

    def _keep(self, campaign: int) -> None:
        of_campaign = {"campaign": campaign}
        if self._ruled:
            self._writer.execute(self._sql["keep_grants"])
            for name in ("debit_pots", "credit_users"):
                self._writer.execute(self._sql[name], of_campaign)
            self._writer.execute(self._sql["clear_fresh_grants"])
            self._writer.execute(self._sql["clear_fresh_rules"])
            self._ruled.clear()
        for name in ("keep_postings", "debit_accounts", "credit_accounts"):
            self._writer.execute(self._sql[name], of_campaign)
        self._writer.execute(self._sql["clear_fresh_postings"])

    def _row(self, connection: apsw.Connection, name: str, /, **values: Any) -> tuple[Any, ...]:
        row: tuple[Any, ...] | None = connection.execute(self._sql[name], values or None).fetchone()
        if row is None:
            raise RecordsFailed(f"{self._path} answers {name} with nothing: it is damaged; move it away to rebuild it")
        return row


def _row_of(change: Change) -> Row:
    """Return the row of the log record that the change was made from."""
    if not isinstance(change, GrantRun):
        return row_of(change.record)
    users = tuple(change.users)
    return granted_row(Granted(change.seq, change.pot, change.first_slot, users, change.at_us), users_text(users))


def _digest(seq: int, chain: str, log: str) -> str:
    return hashlib.blake2b(f"{seq} {chain} {log}".encode(), digest_size=8).hexdigest()
