"""Records that an older version wrote: brought to this one with all that they hold, and gone on with."""

import sqlite3
from pathlib import Path
from typing import Final

import apsw
import psycopg
import pytest

from redrush.core.money.ledger import GrantRule, Posting
from redrush.core.nobody import ignore
from redrush.core.rush.campaign import Slots
from redrush.ports.records import Balance, GrantRun, Posted, RecordedGrant, Records, RecordsConflict, Totals
from redrush.ports.store import Opened
from redrush.records.postgres import PostgresRecords, RoundTotals
from redrush.records.postgres.migrations import migrate
from redrush.records.sqlite import SqliteRecords
from redrush.records.sqlite.file import APPLICATION_ID
from redrush.records.sqlite.migrations import migrate as migrate_file
from tests.conftest import Databases

FIXTURES: Final = Path(__file__).parent / "fixtures"
CAMPAIGN: Final = "new-year"


def old_file(path: Path, *changes: str) -> Path:
    """A records file as version 2 wrote it, after these changes."""
    connection = sqlite3.connect(path)
    connection.executescript((FIXTURES / "records_version_2.sql").read_text(encoding="utf-8"))
    for change in changes:
        connection.execute(change)
    connection.commit()
    connection.close()
    return path


def old_database(databases: Databases, *changes: str) -> str:
    """A database as version 4 wrote it, after these changes."""
    dsn = databases.fresh()
    with psycopg.connect(dsn, autocommit=True) as connection:
        migrate(connection, "old", version_max=4)
        connection.execute((FIXTURES / "records_version_4.sql").read_text(encoding="utf-8").encode())
        for change in changes:
            connection.execute(change.encode())
    return dsn


def a_grant(seq: int, slot: int, user: str, campaign: str = CAMPAIGN) -> GrantRun:
    return GrantRun(
        seq=seq,
        campaign=campaign,
        pot="r2",
        first_slot=slot,
        at_us=1_700_000_100_000_500,
        users=[user],
        amounts_minor=[7],
        rule=GrantRule(f"grant:{campaign}-r2-", "round:r2", "user:"),
    )


def holds_what_the_old_one_held(records: Records, sets: int) -> None:
    assert records.grants_of("张伟") == [
        RecordedGrant(1, "r-1", "张伟", 7, 1_700_000_000_000_001, CAMPAIGN),
        RecordedGrant(13, "r2", "张伟", 7, 1_700_000_100_000_001, CAMPAIGN),
    ]
    assert records.grants_of("bob\n") == [RecordedGrant(3, "r-1", "bob\n", 7, 1_700_000_000_000_001, CAMPAIGN)]
    assert records.balance(CAMPAIGN, "user:ann") == Balance(0, 14)
    assert records.balance(CAMPAIGN, "sponsor") == Balance(140, 0)
    assert records.balance("another", "sponsor") == Balance(0, 0)
    assert records.totals().grants == 8 * sets
    assert records.cursor() == 8


def test_a_file_of_version_2_is_brought_to_this_one_and_gone_on_with(tmp_path: Path) -> None:
    told: list[str] = []
    records = SqliteRecords.open_path(old_file(tmp_path / "records.db"), told.append)
    assert [sentence.partition("step ")[2] for sentence in told] == [
        "1 of 5: new tables",
        "2 of 5: grants",
        "3 of 5: an index of the grants by user",
        "4 of 5: postings",
        "5 of 5: accounts",
        "1 of 1: columns of holds",
        "1 of 1: a count of what has no posting",
        "1 of 1: postings of what is no plain grant",
    ]
    assert "records.db: records of version 2 become 3" in told[0]
    holds_what_the_old_one_held(records, 1)
    mark = records.mark()
    assert (mark.log, mark.seq, len(list(records.journal()))) == ("abcdef", 8, 8)
    records.apply([a_grant(9, 15, "r-1-3")])
    assert records.balance(CAMPAIGN, "user:r-1-3") == Balance(0, 14)
    assert records.totals() == Totals(9, 63, 4 + 9, 140 + 14 + 14 + 63, 231)
    records.close()
    again = SqliteRecords.open_path(tmp_path / "records.db", told.append)
    assert (again.cursor(), len(told)) == (9, 8)
    again.close()


def test_a_file_of_version_6_keeps_one_row_for_a_grant_and_loses_no_posting(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    writer = apsw.Connection(str(path))
    writer.execute("BEGIN")
    migrate_file(writer, path, ignore, version_max=6)
    writer.pragma("application_id", APPLICATION_ID)
    writer.execute(
        """INSERT INTO campaigns VALUES (1, 'c');
        INSERT INTO pots VALUES (1, 1, 'r1'), (2, 1, 'goods');
        INSERT INTO grants (pot, slot, "user", amount_minor, at_us, number, holds) VALUES
            (1, 0, 'ann', 5, 10, 0, NULL), (1, 1, 'bob', 7, 10, 0, NULL), (2, 0, 'ann', 0, 11, 0, 'goods:phone'),
            (2, 1, 'bob', 0, 11, 3, 'goods:phone');
        INSERT INTO postings VALUES (1, 'fund:r1', 'sponsor', 'round:r1', 12, 9),
            (1, 'grant:c-r1-0', 'round:r1', 'user:ann', 5, 10), (1, 'grant:c-r1-1', 'round:r1', 'user:bob', 7, 10);
        INSERT INTO accounts VALUES (1, 'sponsor', 12, 0), (1, 'round:r1', 12, 12), (1, 'user:ann', 0, 5),
            (1, 'user:bob', 0, 7);
        UPDATE cursor SET unposted = 2; -- what ann got for good, and what is held for bob
        COMMIT;"""
    )
    writer.close()
    records = SqliteRecords.open_path(path)
    assert records.totals() == Totals(4, 12, 3, 24, 24)
    records.close()
    with sqlite3.connect(path) as reading:
        assert reading.execute("SELECT id FROM postings").fetchall() == [("fund:r1",)]
        assert reading.execute("SELECT id, credit_account, amount_minor, at_us FROM ledger ORDER BY id").fetchall() == [
            ("fund:r1", "round:r1", 12, 9),
            ("grant:c-r1-0", "user:ann", 5, 10),
            ("grant:c-r1-1", "user:bob", 7, 10),
        ]
        assert reading.execute("SELECT unposted FROM cursor").fetchone() == (1,)


NO_GRANTS: Final = ("DELETE FROM grants", "DELETE FROM postings WHERE id LIKE 'grant:%'")


def test_a_file_in_which_nothing_was_granted_is_named_by_its_first_batch(tmp_path: Path) -> None:
    records = SqliteRecords.open_path(old_file(tmp_path / "records.db", *NO_GRANTS))
    records.apply([a_grant(9, 15, "ann", "beta")])
    assert records.balance("beta", "sponsor") == Balance(140, 0)
    records.close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = old_file(tmp_path / "records.db", "CREATE TABLE pots (taken INTEGER)")
    before = path.read_bytes()
    with pytest.raises(Exception, match="pots already exists"):
        SqliteRecords.open_path(path)
    assert path.read_bytes() == before


def test_a_database_of_version_4_is_brought_to_this_one_and_gone_on_with(databases: Databases) -> None:
    told: list[str] = []
    dsn = old_database(databases)
    first, second = (PostgresRecords(dsn, set_, tell=told.append) for set_ in ("s1", "s2"))
    holds_what_the_old_one_held(first, 2)
    holds_what_the_old_one_held(second, 2)
    assert [sentence.rpartition(": ")[2] for sentence in told] == [
        "10 of 16 grants moved",
        "16 of 16 grants moved",
        "indexes of 16 grants are made",
    ]
    assert "the records are brought to this version" in told[0]
    assert len(list(first.journal())) == 8
    first.apply([a_grant(9, 15, "r-1-3")])
    assert first.balance(CAMPAIGN, "user:r-1-3") == Balance(0, 14)
    assert first.round_totals(CAMPAIGN, ["r-1", "r2"]) == [RoundTotals("r-1", 10, 70), RoundTotals("r2", 7, 49)]
    with pytest.raises(RecordsConflict, match="another event"):
        second.apply([a_grant(9, 15, "zoe", "other")])
    for records in (first, second):
        records.close()


def test_a_database_in_which_nothing_was_granted_is_named_by_its_first_batch(databases: Databases) -> None:
    nothing = ("DELETE FROM grants", "DELETE FROM round_totals", "DELETE FROM rounds")
    dsn = old_database(databases, *nothing)
    records = PostgresRecords(dsn, "s1")
    records.apply([a_grant(9, 15, "ann", "beta")])
    assert records.balance("beta", "sponsor") == Balance(140, 0)
    records.close()


def test_several_campaigns_of_one_database_have_books_of_their_own(databases: Databases) -> None:
    dsn = databases.fresh()
    both = [PostgresRecords(dsn, f"{campaign}/s1") for campaign in ("a", "b")]
    for campaign, records in zip(("a", "b"), both, strict=True):
        funding = Posting("fund:r2/s1", "sponsor", "round:r2", 70, 5)
        opened = Posted(record=Opened(1, "r2", Slots(0, 10)), campaign=campaign, postings=(funding,))
        records.apply([opened, a_grant(2, 0, "ann", campaign)])
    assert [grant.campaign for grant in both[0].grants_of("ann")] == ["a", "b"]
    assert [both[0].balance(campaign, "user:ann").net_minor for campaign in ("a", "b", "c")] == [7, 7, 0]
    assert both[0].round_totals("b", ["r2"]) == [RoundTotals("r2", 1, 7)]
    for records in both:
        records.close()
