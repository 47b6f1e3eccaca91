"""What a data directory says, read without any code of redrush: json, sqlite3 and the file formats as documented.

SQLite files are copied before they are opened: opening one with a WAL recovers it and closing it rewrites it, and an
auditor leaves the evidence as it is. The copy is taken when no process has the directory open.
"""

import hashlib
import json
import shutil
import sqlite3
import tempfile
from array import array
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from sys import byteorder
from typing import Any, Final


@dataclass(frozen=True)
class Acknowledged:
    """A grant as a client was told of it over HTTP, every field as received."""

    round: str
    user: str
    slot: int
    amount: str
    currency: str
    id: str
    granted_at: str
    receipt: str


@dataclass(frozen=True)
class SealedRound:
    """A round of `campaign.json`: its slots are `first` … `first` + `count` − 1; instants in µs since the epoch."""

    first: int
    count: int
    total_minor: int
    opens_us: int
    closes_us: int


@dataclass(frozen=True)
class Seal:
    """What was fixed before the opening. `fingerprint` changes with any byte of it."""

    campaign: str
    currency: str
    rounds: dict[str, SealedRound]
    amounts_minor: Sequence[int]
    fingerprint: str

    def worth_minor(self, slots: Iterable[int]) -> int:
        """Return what these slots are worth together; one that the campaign does not have is worth nothing."""
        return sum(self.amounts_minor[slot] for slot in slots if 0 <= slot < len(self.amounts_minor))


SCATTERED: Final = "scattered"


@dataclass(frozen=True)
class LogRow:
    """A row of the journal's table `log`; `slots` as (first, count) runs."""

    seq: int
    kind: str
    pot: str
    first_slot: int = 0
    count: int = 0
    at_us: int = 0
    users: tuple[str, ...] = ()
    slots: tuple[tuple[int, int], ...] = ()
    transfer: str = ""
    part: int = 0
    """Which one of the grants of one row it is."""


@dataclass(frozen=True)
class RecordedGrant:
    """A row of the table `grants` of the records."""

    slot: int
    round: str
    user: str
    amount_minor: int
    at_us: int


@dataclass(frozen=True)
class Recorded:
    """The records: cursor, grants, balances as kept (credits less debits), and as the postings add up."""

    cursor: int
    grants: tuple[RecordedGrant, ...]
    balances_kept_minor: dict[str, int]
    balances_posted_minor: dict[str, int]


def read_seal(directory: Path) -> Seal | None:
    """Return what is sealed in the directory, None if the first start did not get that far."""
    path = directory / "campaign.json"
    if not path.exists():
        return None
    text, table = path.read_bytes(), (directory / "amounts.i64").read_bytes()
    amounts = array("q", table)
    if byteorder == "big":
        amounts.byteswap()
    campaign = json.loads(text)["campaign"]
    rounds = {
        entry["id"]: SealedRound(
            entry["slots"][0], entry["slots"][1], entry["total_minor"], entry["opens_us"], entry["closes_us"]
        )
        for entry in campaign["rounds"]
    }
    fingerprint = hashlib.sha256(text + table).hexdigest()
    return Seal(campaign["id"], campaign["currency"], rounds, amounts, fingerprint)


def read_journal(directory: Path) -> list[LogRow]:
    """Return the rows of the journal in order of seq; none if there is no journal yet."""
    return [
        row
        for columns in _rows(
            directory / "journal.db",
            'SELECT seq, kind, pot, first_slot, "count", at_us, users, slots, transfer FROM log ORDER BY seq',
        )
        for row in log_rows(columns)
    ]


def log_rows(columns: Sequence[Any]) -> list[LogRow]:
    """Return what a row of the log says: of one about single grants of several pots, each as a run of its own."""
    seq, kind, pot, first, count, at_us, users, slots, transfer = columns
    if kind != SCATTERED:
        return [LogRow(seq, kind, pot, first or 0, count or 0, at_us or 0, _texts(users), _runs(slots), transfer or "")]
    pots, places, *more = json.loads(slots or "[[], []]")
    assert not more, f"seq {seq} has holds or requests, which the campaign does not offer"
    named = enumerate(zip(pots, places, _texts(users), strict=True))
    return [LogRow(seq, "granted", of, slot, 1, at_us or 0, (user,), part=k) for k, (of, slot, user) in named]


def read_records(directory: Path) -> Recorded:
    """Return what the records hold."""
    path = directory / "records.db"
    return Recorded(
        cursor=_rows(path, "SELECT seq FROM cursor")[0][0],
        grants=tuple(
            RecordedGrant(*row)
            for row in _rows(path, 'SELECT slot, name, "user", amount_minor, at_us FROM grants JOIN pots USING (pot)')
        ),
        balances_kept_minor=dict(_rows(path, "SELECT account, credits_minor - debits_minor FROM accounts")),
        balances_posted_minor=dict(
            _rows(
                path,
                "SELECT account, sum(minor) FROM (SELECT credit_account AS account, amount_minor AS minor FROM ledger"
                " UNION ALL SELECT debit_account, -amount_minor FROM ledger) GROUP BY account",
            )
        ),
    )


def receipt_keys(directory: Path) -> dict[str, str]:
    """Return the receipt keys by id, base64."""
    keys: dict[str, str] = json.loads((directory / "keys.json").read_bytes())["receipts"]["keys"]
    return keys


def leftover_moved(directory: Path, rounds: Sequence[str]) -> bool:
    """Return whether the leftover of these rounds is where it belongs, by the journal of a server that runs."""
    query = "SELECT kind, slots FROM log WHERE transfer = ?"
    with closing(sqlite3.connect(f"file:{directory / 'journal.db'}?mode=ro", uri=True)) as connection:
        for name in rounds:
            slots = dict(connection.execute(query, (f"leftover:{name}",)).fetchall())
            if "taken" not in slots or (json.loads(slots["taken"]) and "given" not in slots):
                return False
    return True


def _rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    if not path.exists():
        return []
    with tempfile.TemporaryDirectory(prefix="redrush-audit-") as copies:
        copy = Path(copies) / path.name
        for suffix in ("", "-wal"):
            beside = path.with_name(path.name + suffix)
            if beside.exists():
                shutil.copyfile(beside, copy.with_name(beside.name))
        with closing(sqlite3.connect(copy)) as connection:
            if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                return []
            return connection.execute(query).fetchall()


def _texts(users: str | None) -> tuple[str, ...]:
    return tuple(json.loads(users)) if users else ()


def _runs(slots: str | None) -> tuple[tuple[int, int], ...]:
    return tuple((first, count) for first, count in json.loads(slots)) if slots else ()
