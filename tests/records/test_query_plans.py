"""No statement walks a whole table where an index was meant: both databases are asked how they would run each one, on
the schema that the product makes. What reads everything does so on purpose, and says here why."""

import re
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final

import apsw
import psycopg
import pytest

import redrush
from redrush.providers.sandbox.bank import Bank
from redrush.records.postgres import PostgresRecords
from redrush.records.sqlite import SqliteRecords
from redrush.records.sqlite.bills import SqliteBillBook
from redrush.records.sqlite.book_examining import add_digest_of
from redrush.records.sqlite.messages import SqliteMessageBook
from redrush.records.sqlite.packets import SqlitePacketBook
from redrush.records.sqlite.sales import SqliteSaleBook
from redrush.sqlfiles import load_statements
from redrush.stores.sqlite.journal import open_journal

ROOT: Final = Path(redrush.__file__).parent

OPENED: Final[dict[str, Callable[[Path], object]]] = {
    "records": lambda path: SqliteRecords.open_path(path).close(),
    "packets": lambda path: SqlitePacketBook.open_path(path).close(),
    "sales": lambda path: SqliteSaleBook.open_path(path).close(),
    "payments": lambda path: SqliteBillBook.open_path(path).close(),
    "messages": lambda path: SqliteMessageBook.open_path(path).close(),
    "journal": lambda path: open_journal(path, None)[0].close(),
    "bank": lambda path: Bank(path).close(),
}
BOOKS: Final = ("packets", "sales", "payments", "messages")
ON_FILES: Final[dict[str, tuple[str, ...]]] = {
    "records/sqlite/queries.sql": ("records",),
    "records/sqlite/examining.sql": ("records",),
    "records/sqlite/looking.sql": ("records",),
    "records/sqlite/packets.sql": ("packets",),
    "records/sqlite/sales/queries.sql": ("sales",),
    "records/sqlite/bills/queries.sql": ("payments",),
    "records/sqlite/messages/queries.sql": ("messages",),
    "records/sqlite/book_mark.sql": BOOKS,
    "records/sqlite/book_examining.sql": BOOKS,
    "settle/reconcile/queries.sql": ("records", "journal"),
    "settle/reconcile/book_files.sql": BOOKS,
    "providers/sandbox/bank.sql": ("bank",),
    "stores/sqlite": ("journal",),
}
"""Which SQLite files the statements are asked of; those of a shared file are of one that has their tables."""

ON_SERVER: Final = (
    "records/postgres/queries.sql",
    "records/postgres/packets/queries.sql",
    "records/postgres/bills/queries.sql",
    "records/postgres/sales/queries.sql",
    "records/postgres/messages/queries.sql",
    "records/postgres/book.sql",
    "records/postgres/examining.sql",
    "records/postgres/lease.sql",
    "records/postgres/looking.sql",
    "settle/reconcile/book_tables.sql",
    "settle/reconcile/postgres.sql",
)

SMALL: Final = {"cursor", "life", "campaigns", "sqlite_schema", "sqlite_master", "accepted"}
"""Tables of a row or a few, whatever the event."""

MADE: Final = {
    "CONSTANT",
    "(subquery-1)",
    "(subquery-2)",
    "(subquery-5)",
    "(subquery-6)",
    "looked",
    "ledger",
    "entries",
    "sums",
}
"""What a statement makes itself: the tables in it are scanned, or searched, in lines of their own."""

WIDE: Final = {"campaign", "kind", "notifier", "pot", "provider", "stage", "state"}
"""Columns of which one value may be that of nearly all rows: an index by them alone finds everything."""

WIDE_ON_SERVER: Final = WIDE - {"pot"} | {"log"}
"""There grants and totals are looked up by their pot, and it is the campaign, and the log, that has very many pots."""

LITTLE: Final = {"bills_confirming", "bills_waiting", "inbox_unseen", "messages_under_way"}
"""Indexes of what is under way: reading one from end to end is what it is for."""

ALL_ONCE: Final = "reconciles, examines or reports: reads everything once"
BY_COMMAND: Final = "only where an operator asks for all of it"
OF_ONE: Final = "sorts what one user has"
LIMITED: Final = "has a limit"
RARE: Final = "money that came late is rare"
FIRST: Final = "reads the first row of each"
OF_BATCH: Final = "sorts or groups the batch under way"

MEANT: Final[dict[str, dict[str, str]]] = {
    "records/sqlite/queries.sql": {
        "journal": "a journal is made from it that was lost",
        "debit_pots": OF_BATCH,
        "credit_users": OF_BATCH,
        "debit_accounts": OF_BATCH,
        "credit_accounts": OF_BATCH,
        "grants_of": OF_ONE,
        "totals": ALL_ONCE,
    },
    "records/sqlite/examining.sql": {"examined_counts": ALL_ONCE},
    "records/sqlite/looking.sql": {
        "of_user": OF_ONE,
        "granted": OF_ONE,
        "moved_on": "groups what leftover moved, a few for each round",
    },
    "records/sqlite/packets.sql": {"under_way": FIRST},
    "records/sqlite/sales/queries.sql": {"counts": BY_COMMAND, "all": BY_COMMAND},
    "records/sqlite/bills/queries.sql": {
        "paid_late": RARE,
        "under_way": LIMITED,
        "accounts": LIMITED,
        "sums": BY_COMMAND,
        "net_of": BY_COMMAND,
        "forget_receivers": BY_COMMAND,
    },
    "records/sqlite/book_examining.sql": dict.fromkeys(("bills", "packets", "sales", "messages"), ALL_ONCE),
    "settle/reconcile/queries.sql": dict.fromkeys(
        ("journal", "grants", "count_postings", "stray_postings", "wrong_balances", "totals"), ALL_ONCE
    ),
    "settle/reconcile/book_files.sql": dict.fromkeys(("bills", "postings", "accounts", "packets", "orders"), ALL_ONCE),
    "providers/sandbox/bank.sql": {"lines": "sorts the bill of a day", "sums": BY_COMMAND},
    "records/postgres/queries.sql": {
        "version": "one row for each migration",
        "known": "only where a set is away",
        "totals": ALL_ONCE,
    },
    "records/postgres/bills/queries.sql": {
        "keep_late": RARE,
        "paid_late": RARE,
        "accounts": LIMITED,
        "sums": BY_COMMAND,
        "forget_receivers": BY_COMMAND,
    },
    "records/postgres/sales/queries.sql": {"counts": BY_COMMAND, "all": BY_COMMAND},
    "records/postgres/examining.sql": {
        "examined_counts": ALL_ONCE,
        "alarms": "there are none, as a rule",
        "latest_alarms": LIMITED,
    },
    "records/postgres/lease.sql": dict.fromkeys(("see_teller", "hold_teller", "turn"), "the table has one row"),
    "settle/reconcile/book_tables.sql": dict.fromkeys(
        ("bills", "bill_postings", "bill_accounts", "packets", "sale_orders"), ALL_ONCE
    ),
    "settle/reconcile/postgres.sql": dict.fromkeys(
        ("cursors", "taken", "foreign_records", "grants", "postings", "rules", "pot_totals", "ledger"), ALL_ONCE
    ),
}
"""By file and statement: why it walks, or sorts, all the same."""


def statements(file: str) -> Iterator[tuple[str, str]]:
    """Yield those of a file, or of a folder whose files are one statement each, that read or change rows."""
    path = ROOT / file
    if path.is_dir():
        found = {one.stem: one.read_text(encoding="utf-8") for one in sorted(path.glob("*.sql"))}
    else:
        found = load_statements(".".join(("redrush", *path.relative_to(ROOT).parent.parts)), path.name)
    for name, text in found.items():
        body = re.sub(r"--.*", "", text).strip().rstrip(";")
        if re.match(r"(SELECT|WITH|INSERT|UPDATE (?!sqlite_schema)|DELETE)\b", body):
            yield name, body


def test_every_file_of_statements_is_looked_at() -> None:
    looked_at = {*ON_FILES, *ON_SERVER}
    files = {path.relative_to(ROOT) for path in ROOT.rglob("*.sql") if path.parent.name != "migrations"}
    assert [str(file) for file in files if not looked_at & {str(file), str(file.parent)}] == []
    assert [file for file in looked_at if not (ROOT / file).exists()] == []


# -- SQLite


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, apsw.Connection]]:
    """The product's files, as whoever opens them finds them, and their tables of a batch."""
    directory = tmp_path_factory.mktemp("files")
    opened: dict[str, apsw.Connection] = {}
    for name, make in OPENED.items():
        make(directory / f"{name}.db")
        opened[name] = apsw.Connection(str(directory / f"{name}.db"))
        add_digest_of(opened[name])
    for name in BOOKS:
        opened[name].execute(load_statements("redrush.records.sqlite", "book_examining.sql")["make_accepted"])
    for name, script in load_statements("redrush.records.sqlite", "queries.sql").items():
        if name.startswith("create_fresh_"):
            opened["records"].execute(script)
    yield opened
    for connection in opened.values():
        connection.close()


def plan_in(connection: apsw.Connection, statement: str) -> list[str] | None:
    """Return the steps in which SQLite would run the statement; None if it is of another file's tables."""
    names = dict.fromkeys(re.findall(r":(\w+)", statement))
    places = max((int(place) for place in re.findall(r"\?(\d+)", statement)), default=statement.count("?"))
    try:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}", names or (None,) * places).fetchall()
    except apsw.SQLError as error:
        if "no such table" in str(error):
            return None
        raise
    return [str(step) for _, _, _, step in rows]


def is_walk(step: str) -> bool:
    verb, what, *_ = step.split()
    if (index := re.search(r"INDEX (\w+)", step)) and index[1] in LITTLE:
        return False
    if verb == "SCAN":
        return "VIRTUAL TABLE" not in step and not what.startswith("fresh_") and what not in SMALL | MADE
    if verb == "SEARCH" and what not in SMALL:
        asked = set(re.findall(r"(\w+)[=<>]+\?", step))
        return "AUTOMATIC" in step or (bool(asked) and asked <= WIDE)
    return "TEMP B-TREE" in step


@pytest.mark.parametrize("file", ON_FILES)
def test_no_statement_walks_through_a_whole_file(files: dict[str, apsw.Connection], file: str) -> None:
    walks: dict[str, list[str]] = {}
    for name, statement in statements(file):
        plans = [plan for which in ON_FILES[file] if (plan := plan_in(files[which], statement)) is not None]
        assert plans, f"{name} of {file} is of none of {ON_FILES[file]}"
        if found := [step for plan in plans for step in plan if is_walk(step)]:
            walks[name] = found
    meant = MEANT.get(file, {})
    assert {name: found for name, found in walks.items() if name not in meant} == {}
    assert [name for name in meant if name not in walks] == [], "they walk no more: take them off the list"


@pytest.mark.parametrize(
    ("step", "walks"),
    [
        ("SCAN packets", True),
        ("SCAN back USING COVERING INDEX refunds_of", True),
        ("USE TEMP B-TREE FOR ORDER BY", True),
        ("SEARCH kept USING AUTOMATIC COVERING INDEX (account=?) LEFT-JOIN", True),
        ("SEARCH grants USING PRIMARY KEY (pot=?)", True),
        ("SEARCH postings USING PRIMARY KEY (campaign=?)", True),
        ("SEARCH packets USING INDEX due (closes_us<?)", False),
        ("SCAN packets USING COVERING INDEX due", True),
        ("SCAN inbox USING INDEX inbox_unseen", False),
        ("SEARCH grants USING PRIMARY KEY (pot=? AND slot=?)", False),
        ("SCAN asked VIRTUAL TABLE INDEX 1:", False),
        ("SCAN cursor", False),
    ],
)
def test_a_walk_is_known_by_its_step(step: str, walks: bool) -> None:
    assert is_walk(step) is walks


# -- PostgreSQL


ROWS: Final = 3_000
AT_REST: Final = {
    "kind": "(ARRAY['payin', 'payout', 'refund'])[1 + k % 3]",
    "stage": "3",
    "state": "'done'",
    "next_us": "NULL",
    "until_us": "NULL",
    "is_told": "true",
    "is_seen": "true",
}
"""What stands in columns of rows that are done; in `WIDE` ones else the same everywhere, and in others another each."""
FILLED: Final = {
    "bill_accounts", "bill_inbox", "bill_numbers", "bill_postings", "bills", "grants", "journal", "messages", "packets",
    "postings", "pot_totals", "pots", "sale_orders",
}  # fmt: skip


def fill(connection: psycopg.Connection[Any], table: str) -> None:
    """Put rows into the table of which there is nothing to be done any more."""
    columns = connection.execute(
        """SELECT column_name, data_type FROM information_schema.columns
            WHERE table_schema = current_schema AND table_name = %s AND is_identity = 'NO'""",
        (table,),
    ).fetchall()
    values = {name: "'v' || k" if kind == "text" else "k" for name, kind in columns}
    values |= {name: "'w'" if kind == "text" else "1" for name, kind in columns if name in WIDE_ON_SERVER | {"pot"}}
    values |= {name: value for name, value in AT_REST.items() if name in values}
    if table == "journal":
        values |= {"kind": "'granted'", "transfer": "NULL"}
    if table == "pot_totals":
        values |= {"pot": "k"}
    names = ", ".join(f'"{name}"' for name in values)
    query = f"INSERT INTO {table} ({names}) SELECT {', '.join(values.values())} FROM generate_series(1, {ROWS}) AS k"
    connection.execute(query.encode())


@pytest.fixture
def server(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """A database of the product that has been used, whose planner takes an index wherever there is one."""
    records = PostgresRecords(dsn, "s1")
    records.cursor()  # makes the schema
    records.close()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("INSERT INTO campaigns (id) VALUES ('w')")
        for table in FILLED:
            fill(connection, table)
        connection.execute("ANALYZE")
        for way in ("seqscan", "bitmapscan", "hashjoin", "mergejoin"):
            connection.execute(f"SET enable_{way} = off".encode())
        connection.execute("SET plan_cache_mode = force_generic_plan")
        yield connection


Indexes = dict[str, tuple[bool, int]]
"""Of each index: whether it is partial, and how many columns find one row; 0 if it is not unique."""


def walks_on_server(connection: psycopg.Connection[Any], statement: str, indexes: Indexes) -> list[str]:
    """Return the scans of whole tables, and of indexes by nothing that tells rows apart, that PostgreSQL would make."""
    places = count(1)  # each by itself: what is asked for twice may be of two types
    numbered = re.sub(r"%\((\w+)\)s", lambda name: typed(f"${next(places)}", name[1]), statement)
    given = next(places) - 1
    connection.execute(f"PREPARE asked AS {numbered}".encode())
    try:
        nulls = f"({', '.join(['NULL'] * given)})" if given else ""
        ((plan,),) = connection.execute(f"EXPLAIN (FORMAT JSON) EXECUTE asked{nulls}".encode()).fetchall()
    finally:
        connection.execute("DEALLOCATE asked")
    return list(walks_of(plan[0]["Plan"], indexes))


def typed(place: str, name: str) -> str:
    return f"{place}::bigint" if name.endswith("_us") else place


def walks_of(node: dict[str, Any], indexes: Indexes) -> Iterator[str]:
    kind = node["Node Type"]
    if kind == "Seq Scan":
        yield f"{kind} of {node['Relation Name']}"
    elif "Index" in kind and node["Index Name"] in indexes and node.get("Relation Name") not in SMALL:
        asked = node.get("Index Cond", "")
        columns = set(re.findall(r"(\w+)\"? [=<>]", asked))
        for row in re.findall(r"ROW\((\w+, \w+)\) [<>]", asked):
            columns.update(row.split(", "))
        is_partial, unique = indexes[node["Index Name"]]
        if not is_partial and columns <= WIDE_ON_SERVER and not 0 < unique <= asked.count(" = "):
            yield f"{kind} of {node['Index Name']} {asked}"
    for part in node.get("Plans", ()):
        yield from walks_of(part, indexes)


def test_no_statement_walks_through_a_whole_table_of_a_server(server: psycopg.Connection[Any]) -> None:
    rows = server.execute(
        """SELECT indexrelid::regclass::text, indpred IS NOT NULL, CASE WHEN indisunique THEN indnkeyatts ELSE 0 END
             FROM pg_index"""
    )
    indexes = {name: (is_partial, unique) for name, is_partial, unique in rows}
    walks = {
        (file, name): found
        for file in ON_SERVER
        for name, statement in statements(file)
        if (found := walks_on_server(server, statement, indexes))
    }
    meant = {(file, name) for file in ON_SERVER for name in MEANT.get(file, {})}
    assert {place: found for place, found in walks.items() if place not in meant} == {}
    assert meant - walks.keys() == set(), "they walk no more: take them off the list"
