"""What a stack says, read without any code of redrush: SQL of its own, raw RESP, and files in their documented formats.

The journal of a set is what the database holds of its log and behind it what only the set's servers still have. Where
both have a record it must be the same one, byte for byte: a failover that took back what was recorded shows here.
"""

import socket
import tomllib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg

from tests.acceptance.crash.evidence import LogRow, Recorded, RecordedGrant, log_rows

REPLY_S: Final = 5.0
RUN_BYTES: Final = 7
"""Of a slot, and of an instant, in the value of a grant."""

SMALL: Final = b"\xff"
"""Field of a small pot's hash that has all but its grants, packed; these are the other fields."""

_COLUMNS: Final = ("seq", "kind", "pot", "first_slot", "count", "at_us", "users", "slots", "transfer")
_INTEGERS: Final = frozenset({"seq", "first_slot", "count", "at_us"})

Row = dict[str, Any]


@dataclass
class SetEvidence:
    """What one set's primary holds, and the whole of its log; `problems` is what is wrong with the log itself."""

    last_seq: int = 0
    log: list[LogRow] = field(default_factory=list)
    holders: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
    """By pot: (slot, µs) by user."""
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By pot: left and claimed."""
    problems: list[str] = field(default_factory=list)


class ServerAway(Exception):
    """No server of a set says that it is the primary."""


class Resp:
    """A connection to a Valkey server that speaks RESP2, blocking."""

    def __init__(self, address: str, password: str | None = None) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), REPLY_S)
        self._file = self._socket.makefile("rb")
        if password is not None:
            self.call("AUTH", "redrush-admin", password)

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def call(self, *command: str | int) -> Any:
        """Return the reply: bytes, int, None, or a list of these. Raises RuntimeError for an error reply."""
        words = [str(word).encode() for word in command]
        packed = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        self._socket.sendall(b"*%d\r\n%s" % (len(words), packed))
        return self._read()

    def _read(self) -> Any:
        line = self._file.readline()
        if not line:
            raise ConnectionError("the server ended the connection")
        kind, rest = line[:1], line[1:-2]
        match kind:
            case b"+":
                return rest
            case b":":
                return int(rest)
            case b"$":
                return None if rest == b"-1" else self._file.read(int(rest) + 2)[:-2]
            case b"*":
                return None if rest == b"-1" else [self._read() for _ in range(int(rest))]
        raise RuntimeError(rest.decode())


def set_addresses(directory: Path) -> dict[str, list[str]]:
    """Return the servers of each set."""
    deployment = tomllib.loads((directory / "deployment.toml").read_text(encoding="utf-8"))
    return {entry["id"]: entry["addresses"] for entry in deployment["set"]}


def dsn(directory: Path) -> str:
    """Return where the records are."""
    return (directory / "records.dsn").read_text(encoding="utf-8")


def last_seqs(directory: Path, campaign: str) -> dict[str, int]:
    """Return the seq of the last record in each set's log. Raises ServerAway or OSError while a set has no primary."""
    found = {}
    for set_id, addresses in set_addresses(directory).items():
        with closing(_primary(directory, addresses, campaign, set_id)) as server:
            found[set_id] = int(server.call("HGET", f"{{{campaign}/{set_id}}}:meta", "seq"))
    return found


def recorded_seqs(directory: Path) -> dict[str, int]:
    """Return the seq of the last record of each set's log that the records hold. Raises psycopg.Error."""
    with psycopg.connect(dsn(directory), connect_timeout=5) as connection:
        return dict(connection.execute("SELECT log, seq FROM cursors").fetchall())


def read_sets(directory: Path, campaign: str) -> dict[str, SetEvidence]:
    """Return what each set says now. No claim may be under way."""
    journal = _journal(directory)
    sets = {}
    for set_id, addresses in set_addresses(directory).items():
        with closing(_primary(directory, addresses, campaign, set_id)) as server:
            sets[set_id] = _read_set(server, f"{{{campaign}/{set_id}}}:", journal.get(set_id, []))
    return sets


def read_records(directory: Path, last_seq: int) -> Recorded:
    """Return what the records hold. The sum of the cursors stands for one: `last_seq` is that of the logs."""
    with psycopg.connect(dsn(directory), connect_timeout=5) as connection:
        cursor = connection.execute("SELECT coalesce(sum(seq), 0)::bigint FROM cursors").fetchone()
        grants = connection.execute(
            'SELECT slot, name, "user", amount_minor, at_us FROM grants JOIN pots USING (pot)'
        ).fetchall()
        posted = connection.execute(
            "SELECT account, sum(minor)::bigint FROM ("
            " SELECT credit_account AS account, amount_minor AS minor FROM ledger"
            " UNION ALL SELECT debit_account, -amount_minor FROM ledger) AS entries GROUP BY account"
        ).fetchall()
        own = connection.execute(
            "SELECT account, sum(minor)::bigint FROM ("
            " SELECT credit_account AS account, amount_minor AS minor FROM postings"
            " UNION ALL SELECT debit_account, -amount_minor FROM postings"
            " UNION ALL SELECT 'user:' || \"user\", amount_minor FROM grants"
            " UNION ALL SELECT 'round:' || name, -amount_minor FROM grants JOIN pots USING (pot)) AS entries"
            " GROUP BY account"
        ).fetchall()
    assert cursor is not None
    return Recorded(
        cursor=cursor[0],
        grants=tuple(RecordedGrant(*row) for row in grants),
        balances_kept_minor=dict(own),
        balances_posted_minor=dict(posted),
    )


def _journal(directory: Path) -> dict[str, list[Row]]:
    with psycopg.connect(dsn(directory), connect_timeout=5) as connection:
        rows = connection.execute(f"SELECT log, {', '.join(_COLUMNS)} FROM journal ORDER BY log, seq").fetchall()
    logs: dict[str, list[Row]] = {}
    for log, *values in rows:
        logs.setdefault(log, []).append(
            {name: value for name, value in zip(_COLUMNS, values, strict=True) if value is not None}
        )
    return logs


def _primary(directory: Path, addresses: list[str], campaign: str, set_id: str) -> Resp:
    """Return a connection to the set's primary: of those that say they are one, that of the highest epoch."""
    password = (directory / "valkey" / "admin.password").read_text(encoding="ascii")
    found: list[tuple[int, Resp]] = []
    for address in addresses:
        try:
            server = Resp(address, password)
        except (OSError, RuntimeError):
            continue
        try:
            role = server.call("ROLE")[0]
            epoch = server.call("HGET", f"{{{campaign}/{set_id}}}:meta", "epoch")
        except (OSError, RuntimeError):
            server.close()
            continue
        if role == b"master" and epoch is not None:
            found.append((int(epoch), server))
        else:
            server.close()
    if not found:
        raise ServerAway(f"set {set_id}: none of {', '.join(addresses)} is the primary")
    found.sort(key=lambda entry: entry[0])
    for _, server in found[:-1]:
        server.close()
    return found[-1][1]


def _read_set(server: Resp, tag: str, recorded: list[Row]) -> SetEvidence:
    found = SetEvidence(last_seq=int(server.call("HGET", f"{tag}meta", "seq")))
    rows = {row["seq"]: row for row in recorded}
    if len(rows) != len(recorded):
        found.problems.append("the journal holds a record twice")
    for entry in server.call("XRANGE", f"{tag}log", "-", "+"):
        row = _stream_row(entry)
        if rows.setdefault(row["seq"], row) != row:
            found.problems.append(f"FORK: recorded was {rows[row['seq']]}, the set has {row}")
    if sorted(rows) != list(range(1, found.last_seq + 1)):
        missing = set(range(1, found.last_seq + 1)) - rows.keys()
        beyond = rows.keys() - set(range(1, found.last_seq + 1))
        found.problems.append(f"the log ends at {found.last_seq}; missing {missing}, beyond its end {beyond}")
    found.log = [said for seq in sorted(rows) for said in log_rows([rows[seq].get(name) for name in _COLUMNS])]
    for pot in {row.pot for row in found.log}:
        own = dict(_pairs(server.call("HGETALL", f"{tag}pot:{pot}")))
        if (packed := own.pop(SMALL, None)) is None:
            found.counts[pot] = int(own[b"left"]), int(own[b"claimed"])
            values = _pairs(server.call("HGETALL", f"{tag}grants:{pot}"))
        else:
            found.counts[pot], values = _small_counts(packed), own
        found.holders[pot] = {
            user.decode(): (int.from_bytes(value[:RUN_BYTES]), int.from_bytes(value[RUN_BYTES:]))
            for user, value in values.items()
        }
    return found


def _small_counts(packed: bytes) -> tuple[int, int]:
    """Return how many slots a small pot has left, and how many were claimed."""
    _, count, claimed, *more = msgspec.msgpack.decode(packed)
    return (more[4] if more else count - claimed), claimed


def _stream_row(entry: list[Any]) -> Row:
    row: Row = {"seq": int(entry[0].partition(b"-")[0])}
    for name, value in _pairs(entry[1]).items():
        key = name.decode()
        if key == "before":  # the fingerprint of what comes before it, which is no part of the record
            continue
        row[key] = int(value) if key in _INTEGERS else value.decode()
    return row


def _pairs(values: list[bytes]) -> Mapping[bytes, bytes]:
    return dict(zip(values[::2], values[1::2], strict=True))
