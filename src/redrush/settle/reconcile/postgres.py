"""Records in PostgreSQL, read as an outsider would and held against the journal: of one state, while others write."""

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg

from redrush.errors import RedrushError
from redrush.settle.reconcile.journal import RETURNED, Journal
from redrush.settle.reconcile.ledger import check_grants, check_other_postings
from redrush.settle.reconcile.report import Problems
from redrush.sqlfiles import load_statements

HOLD_MAX_S: Final = 30
"""Longest wait for a recorder's transaction to end. One takes a fraction of a second."""

FETCHED_ROWS: Final = 10_000
CONNECT_MAX_S: Final = 5

Row = tuple[Any, ...]


class Database:
    """One state of a database with records. Made by `one_state_of`."""

    def __init__(self, connection: psycopg.Connection[Row], sql: dict[str, str], campaign: str) -> None:
        self._connection = connection
        self._sql = sql
        self._campaign = campaign
        self._readings = 0
        cursors = self._rows("cursors")
        self.cursors: dict[str, int] = {str(log): int(seq) for log, seq, _ in cursors}
        self.chains: dict[str, tuple[int, str]] = {
            str(log): (int(seq), str(chain)) for log, seq, chain in cursors if chain is not None
        }
        """By log: its cursor, and the fingerprint up to there, where one was noted."""
        self.taken: set[str] = {str(transfer) for (transfer,) in self._rows("taken")}

    def journal(self, log: str) -> Iterator[Row]:
        """Yield the log's records up to its cursor: what was trimmed from the store, and what was not yet."""
        return self._stream("journal", log=log, cursor=self.cursors.get(log, 0))

    def notes(self, log: str) -> Iterator[tuple[str, str]]:
        """Yield each pot that the log opened with a note, and the note."""
        yield from self._stream("notes", log=log, cursor=self.cursors.get(log, 0))

    def check(self, sets: Collection[str], journal: Journal, problems: Problems) -> None:
        """Tell `problems` everything in which the records disagree with their sets' logs or with themselves."""
        for log, count in self._rows("foreign_records"):
            problems.add(f"the records hold {count} records of log {log} above its cursor")
        for log in sorted(self.cursors.keys() - set(sets)):
            problems.add(f"the records hold log {log}, which is no set of the deployment")
        granted = check_grants(self._stream("grants"), sets, journal, problems)
        postings = {str(row[0]): tuple(row[1:]) for row in self._rows("postings")}
        others = check_other_postings(postings.get, sets, journal, problems)
        for stray in sorted(postings.keys() - set(others)):
            problems.add(f"posting {stray} stands for nothing in the journal")
        self._check_rules(journal, problems)
        self._check_pot_totals(sets, journal, problems)
        # A grant's row is its posting: what is left to go wrong is the view that says so.
        posted_minor = granted.by_rule_minor + sum(posting[2] for posting in postings.values())
        (found,) = self._rows("ledger")
        derived = (granted.by_rule + len(postings), posted_minor)
        if found != derived:
            problems.add(f"the ledger has {found} postings and minor units, not {derived}")

    def _check_rules(self, journal: Journal, problems: Problems) -> None:
        """Whether the ledger derives each grant's posting as it must."""
        for round_id, *rule in self._rows("rules"):
            agreed = [f"grant:{journal.terms.campaign}-{round_id}-", f"round:{round_id}", "user:"]
            if rule != agreed:
                problems.add(f"round {round_id}: its grants are posted by {rule}, it must be {agreed}")

    def _check_pot_totals(self, sets: Collection[str], journal: Journal, problems: Problems) -> None:
        grants: Counter[tuple[str, str]] = Counter()
        granted_minor: Counter[tuple[str, str]] = Counter()
        for slot, number in journal.in_the_records():
            part = journal.pots[number]
            if part.set in sets and part.pot != RETURNED:
                grants[part.set, part.pot] += 1
                granted_minor[part.set, part.pot] += journal.terms.amounts[slot]
        kept = {
            (str(log), str(round_id)): (int(count), int(minor))
            for log, round_id, count, minor in self._rows("pot_totals")
        }
        derived = {key: (count, granted_minor[key]) for key, count in grants.items()}
        for key in sorted(kept.keys() | derived.keys()):
            if kept.get(key) != derived.get(key):
                set_, round_id = key
                problems.add(
                    f"round {round_id} of set {set_}: grants and minor units kept are {kept.get(key)}, "
                    f"the journal says {derived.get(key)}"
                )

    def _rows(self, name: str) -> list[Row]:
        return self._connection.execute(self._sql[name].encode(), {"campaign": self._campaign}).fetchall()

    def _stream(self, name: str, **values: Any) -> Iterator[Any]:
        """Yield a large result piece by piece; several may be under way."""
        self._readings += 1
        with self._connection.cursor(f"reading_{self._readings}") as cursor:
            cursor.itersize = FETCHED_ROWS
            yield from cursor.execute(self._sql[name].encode(), {"campaign": self._campaign, **values})


@contextmanager
def failures(place: str) -> Iterator[None]:
    """Turn what PostgreSQL raises into RedrushError."""
    try:
        yield
    except psycopg.Error as error:
        raise RedrushError(f"{place} cannot be read: {' '.join(str(error).split())}") from error


@contextmanager
def connection_to(dsn: str, name: str) -> Iterator[tuple[psycopg.Connection[Row], dict[str, str]]]:
    """Connect, and close at the end. Raises RedrushError, `name` in it, if that fails or a query in the block does."""
    with (
        failures(name),
        psycopg.connect(dsn, autocommit=True, connect_timeout=CONNECT_MAX_S, prepare_threshold=None) as connection,
    ):
        yield connection, load_statements(__package__, "postgres.sql")


@contextmanager
def recorders_held(dsn: str, name: str) -> Iterator[None]:
    """Let no recorder commit anything to the database in the block. Raises RedrushError."""
    with connection_to(dsn, name) as (connection, sql), connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = '{HOLD_MAX_S}s'".encode())
        connection.execute(sql["hold_recorders"].encode())
        yield


@contextmanager
def one_state_of(dsn: str, name: str, campaign: str) -> Iterator[Database]:
    """Read what the database has of a campaign now, whatever is written meanwhile. Raises RedrushError, in the block
    too."""
    with connection_to(dsn, name) as (connection, sql):
        connection.execute(sql["begin"].encode())
        yield Database(connection, sql, campaign)
