"""Pages of grants cost what they show: every query that a person's list makes is answered from an index, and counts
nothing, in both databases."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any, Final

import apsw
import psycopg
import pytest

from redrush.ports.grant_pages import LOOKED_MAX, PATIENCE_S, GrantPages, LedgerPart
from redrush.records.postgres import PostgresRecords
from redrush.records.postgres.looking import PostgresPages
from redrush.records.sqlite import SqliteRecords
from redrush.records.sqlite.bills import SqliteBillBook
from redrush.records.sqlite.looking import SqlitePages
from redrush.settle.recorder import Recorder
from redrush.sqlfiles import load_statements
from redrush.stores.memory import MemoryStore
from tests.conftest import Databases
from tests.settle.event import campaign_of, open_pots, rush

MANY: Final = 50_000
HOW: Final = {
    "page": {"campaign": "c", "pot": "r1", "after": MANY // 2, "limit": 200},
    "of_user": {"campaign": "c", "user": "user00000007", "limit": 200},
    "granted": {"campaign": "c", "user": "user00000007", "limit": 200},
}
FILL: Final = """
INSERT INTO campaigns (id) VALUES ('c');
INSERT INTO pots (campaign, name, id_prefix, debit_account, credit_prefix)
SELECT campaign, 'r1', 'grant:c-r1-', 'round:r1', 'user:' FROM campaigns WHERE id = 'c';
INSERT INTO grants (pot, slot, "user", amount_minor, at_us)
SELECT pot, slot, 'user' || lpad(slot::text, 8, '0'), 10, 1000000 + slot FROM pots, generate_series(0, {last}) AS slot;
ANALYZE
"""


def fill_postgres(dsn: str, grants: int) -> None:
    """Fill a new database with so many grants of one pot."""
    records = PostgresRecords(dsn, "s1")
    records.cursor()  # which makes the tables
    records.close()
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in FILL.format(last=grants - 1).split(";"):
            connection.execute(statement.encode())


def nodes_of(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every step of a plan."""
    return [plan, *(found for below in plan.get("Plans", ()) for found in nodes_of(below))]


@pytest.fixture(scope="module")
def filled(databases: Databases) -> str:
    dsn = databases.fresh()
    fill_postgres(dsn, MANY)
    return dsn


@pytest.mark.parametrize("name", HOW)
def test_postgresql_finds_a_page_by_an_index_and_reads_no_more_than_it_shows(filled: str, name: str) -> None:
    sql = load_statements("redrush.records.postgres", "looking.sql")[name]
    with psycopg.connect(filled) as connection:
        explained = connection.execute(b"EXPLAIN (ANALYZE, FORMAT JSON) " + sql.encode(), HOW[name]).fetchone()
    assert explained is not None
    nodes = nodes_of(explained[0][0]["Plan"])
    of_grants = [one for one in nodes if one.get("Relation Name") == "grants"]
    assert of_grants, json.dumps(nodes)
    for one in of_grants:
        assert "Index Scan" in one["Node Type"], json.dumps(one)
        assert one["Actual Rows"] <= HOW[name]["limit"], "it reads what it shows"
        assert not one.get("Rows Removed by Filter"), json.dumps(one)
    if name == "page":
        assert not [one for one in nodes if one["Node Type"] == "Sort"], "the index has the order of the page"


@pytest.mark.parametrize("name", ["page", "of_user"])
def test_sqlite_finds_a_page_by_an_index(tmp_path: Path, name: str) -> None:
    SqliteRecords.open_path(tmp_path / "records.db").close()
    file = apsw.Connection(str(tmp_path / "records.db"))
    sql = load_statements("redrush.records.sqlite", "looking.sql")[name]
    steps = [str(row[3]) for row in file.execute(f"EXPLAIN QUERY PLAN {sql}", HOW[name])]
    file.close()
    (of_grants,) = [step for step in steps if " grants " in f"{step} "]
    assert of_grants.startswith("SEARCH grants USING "), steps
    assert "INDEX" in of_grants or "PRIMARY KEY" in of_grants, steps
    if name == "page":
        assert not [step for step in steps if "TEMP B-TREE" in step], "the index has the order of the page"


@pytest.mark.parametrize(
    ("name", "index"),
    [("listed", "INTEGER PRIMARY KEY"), ("listed_of_user", "bills_of_user"), ("listed_in_state", "bills_of_state")],
)
def test_sqlite_finds_a_page_of_payouts_by_an_index_in_its_order(tmp_path: Path, name: str, index: str) -> None:
    SqliteBillBook.open_path(tmp_path / "payments.db").close()
    file = apsw.Connection(str(tmp_path / "payments.db"))
    sql = load_statements("redrush.records.sqlite.bills", "queries.sql")[name]
    wanted = {
        "kind": "payout",
        "provider": None,
        "after": 0,
        "limit": 50,
        "user": "u",
        "state": "failed",
        "states": "[]",
    }
    steps = [str(row[3]) for row in file.execute(f"EXPLAIN QUERY PLAN {sql}", wanted)]
    file.close()
    assert index in steps[0], steps
    assert not [step for step in steps if "TEMP B-TREE" in step or step == "SCAN bills"], steps


POSTINGS: Final = 3 * LOOKED_MAX


def test_a_page_of_one_account_looks_through_a_bounded_part_and_goes_on(tmp_path: Path, databases: Databases) -> None:
    """The account's only posting is the last one of many."""
    SqliteRecords.open_path(tmp_path / "records.db").close()
    rows = [(f"hold:c-r1-{number:08}#1", "round:r1", "held:r1", 10, number) for number in range(POSTINGS)]
    rows.append(("take:last", "round:r1", "transit", 10, 1))
    file = apsw.Connection(str(tmp_path / "records.db"))
    with file:
        file.execute("INSERT INTO campaigns (campaign, id) VALUES (1, 'c')")
        file.executemany("INSERT INTO postings VALUES (1, ?, ?, ?, ?, ?)", rows)
    file.close()
    dsn = databases.fresh()
    fill_postgres(dsn, 1)
    with psycopg.connect(dsn, autocommit=True) as connection, connection.cursor() as cursor:
        copying = "COPY postings (id, debit_account, credit_account, amount_minor, at_us, campaign) FROM STDIN"
        with cursor.copy(copying) as copy:
            for row in rows:
                copy.write_row((*row, 1))
        cursor.execute("ANALYZE postings")
    pages: list[GrantPages] = [SqlitePages(tmp_path / "records.db", "c"), PostgresPages(dsn, "c")]
    for one in pages:
        places: list[str | None] = [""]
        while (place := places[-1]) is not None:
            began_s = time.perf_counter()
            page = one.ledger(LedgerPart(account="transit"), place, 50)
            assert time.perf_counter() - began_s < PATIENCE_S / 2
            places.append(page.following)
        assert [posting.id for posting in page.postings] == ["take:last"]
        assert places[1:-1] == [f"hold:c-r1-{number * LOOKED_MAX - 1:08}#1" for number in (1, 2, 3)]
        one.close()


@pytest.mark.parametrize("package", ["redrush.records.postgres", "redrush.records.sqlite"])
def test_what_people_look_through_counts_and_skips_nothing(package: str) -> None:
    for name, text in load_statements(package, "looking.sql").items():
        assert "count(" not in text.lower(), name
        assert "offset" not in text.lower(), name


def test_both_databases_tell_the_same_of_money_and_ledger(tmp_path: Path, databases: Databases) -> None:
    """What was granted of each pot, what went through accounts, and each posting that is no plain grant's."""
    campaign, amounts = campaign_of(40, 30)
    dsn = databases.fresh()
    kept = SqliteRecords.open_path(tmp_path / "records.db"), PostgresRecords(dsn, "s1")

    async def scenario() -> None:
        store = MemoryStore()
        await open_pots(store, campaign)
        await rush(store, campaign.rounds[0], users=20)
        moved = await store.take("r1", 5, "leftover:r1")
        await store.give("r2", moved, "leftover:r1")
        await rush(store, campaign.rounds[1], users=12)
        for records in kept:
            recorder = Recorder(store, records, campaign, amounts)
            task = asyncio.create_task(recorder.run())
            await recorder.caught_up()
            assert recorder.behind_s() == 0.0
            await recorder.stop()
            await task
            records.close()

    asyncio.run(scenario())
    pots = [pot.id for pot in campaign.pots]
    accounts = ["sponsor", "transit", "round:r1", "round:r2"]
    pages: list[GrantPages] = [SqlitePages(tmp_path / "records.db", campaign.id), PostgresPages(dsn, campaign.id)]
    for one in pages:
        granted = one.granted(pots)
        assert granted == {"r1": sum(amounts[:20]), "r2": sum(amounts[40:52])}
        balances = one.balances(accounts)
        moved_minor = sum(amounts[35:40])
        assert balances["transit"] == (moved_minor, moved_minor)
        assert balances["round:r1"] == (granted["r1"] + moved_minor, sum(amounts[:40]))
        assert balances["sponsor"] == (sum(amounts), 0)
        first = one.ledger(LedgerPart(), "", 2)
        assert first.following == "fund:r2"
        rest = one.ledger(LedgerPart(), first.following, 10)
        assert rest.following is None
        assert [posting.id for posting in (*first.postings, *rest.postings)] == [
            "fund:r1", "fund:r2", "give:leftover:r1", "take:leftover:r1",
        ]  # fmt: skip
        for part, ids in (
            (LedgerPart(begins="fund:"), ["fund:r1", "fund:r2"]),
            (LedgerPart(begins="fund:r2"), ["fund:r2"]),
            (LedgerPart(account="transit"), ["give:leftover:r1", "take:leftover:r1"]),
            (LedgerPart(account="round:r1"), ["fund:r1", "take:leftover:r1"]),
            (LedgerPart(begins="take:", account="round:r1"), ["take:leftover:r1"]),
            (LedgerPart(begins="hold:"), []),
            (LedgerPart(account="nobody"), []),
        ):
            found, place = [], ""
            for _ in range(4):
                page = one.ledger(part, place, 1)
                found += [posting.id for posting in page.postings]
                if page.following is None:
                    break
                place = page.following
            assert found == ids, part
        one.close()
