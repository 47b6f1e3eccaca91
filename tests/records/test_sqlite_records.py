"""What only the SQLite adapter has: its file."""

import sqlite3
from pathlib import Path

import apsw
import pytest

from redrush.core.money.ledger import GrantRule
from redrush.errors import ConfigError
from redrush.ports.records import GrantRun, RecordsFailed
from redrush.records.sqlite import SqliteRecords


def run_of(count: int, seq: int = 1, first_slot: int = 0) -> GrantRun:
    return GrantRun(
        seq=seq,
        campaign="c",
        pot="r1",
        first_slot=first_slot,
        at_us=1,
        users=[f"u{first_slot + k}" for k in range(count)],
        amounts_minor=[1] * count,
        rule=GrantRule("grant:c-r1-", "round:r1", "user:"),
    )


def test_a_full_disk_keeps_nothing_and_can_be_tried_again(tmp_path: Path) -> None:
    records = SqliteRecords.open_path(tmp_path / "records.db")
    records.apply([run_of(10)])
    records._writer.pragma("max_page_count", records._writer.pragma("page_count") + 4)  # SQLite's own way to be full
    with pytest.raises(RecordsFailed, match="full"):
        records.apply([run_of(5_000, seq=2, first_slot=10)])
    assert (records.cursor(), records.totals().grants) == (1, 10)
    records._writer.pragma("max_page_count", 1_000_000)
    records.apply([run_of(5_000, seq=2, first_slot=10)])
    assert (records.cursor(), records.totals().grants) == (2, 5_010)
    records.close()


def test_what_is_recorded_and_the_cursor_stand_or_fall_together(tmp_path: Path) -> None:
    records = SqliteRecords.open_path(tmp_path / "records.db")
    records.apply([run_of(10)])

    def all_but_the_cursor(action: int, table: str | None, *_: str | None) -> int:
        return apsw.SQLITE_DENY if (action, table) == (apsw.SQLITE_UPDATE, "cursor") else apsw.SQLITE_OK

    records._writer.authorizer = all_but_the_cursor
    with pytest.raises(RecordsFailed):
        records.apply([run_of(5, seq=2, first_slot=10)])
    records._writer.authorizer = None
    assert (records.cursor(), records.totals().grants) == (1, 10)
    records.close()


def test_a_query_does_not_wait_for_a_batch(tmp_path: Path) -> None:
    records = SqliteRecords.open_path(tmp_path / "records.db")
    records.apply([run_of(1)])
    with records._write_lock:
        assert records.cursor() == 1
        assert len(records.grants_of("u0")) == 1
    records.close()


@pytest.mark.parametrize("content", ["other", "text", "newer", "foreign id"])
def test_a_file_that_is_something_else_is_refused_untouched(tmp_path: Path, content: str) -> None:
    path = tmp_path / "records.db"
    if content == "text":
        path.write_bytes(b"this is no database, but it is long enough to be looked at as one" * 20)
    else:
        if content == "newer":
            SqliteRecords.open_path(path).close()
        connection = sqlite3.connect(path)
        statement = {
            "other": "CREATE TABLE shopping (item TEXT)",
            "newer": "PRAGMA user_version = 99",
            "foreign id": "PRAGMA application_id = 7",
        }[content]
        connection.execute(statement)
        connection.commit()
        connection.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"records\.db"):
        SqliteRecords.open_path(path)
    assert path.read_bytes() == before


def test_a_missing_directory_is_a_failure_with_the_path(tmp_path: Path) -> None:
    with pytest.raises(RecordsFailed, match="nowhere"):
        SqliteRecords.open_path(tmp_path / "nowhere" / "records.db")


def test_records_that_nobody_touched_are_sound(tmp_path: Path) -> None:
    records = SqliteRecords.open_path(tmp_path / "records.db")
    assert records.is_sound()
    records.close()


def test_a_slice_is_examined_by_its_slots_and_not_by_going_through_its_pot(tmp_path: Path) -> None:
    records = SqliteRecords.open_path(tmp_path / "records.db")
    values = {"places": "[]", "campaign": 1, "name": "c"}
    plan = [
        row[3] for row in records._reader.execute(f"EXPLAIN QUERY PLAN {records._examining['examined_grants']}", values)
    ]
    assert plan[0].startswith("SCAN json_each")
    assert any(step.startswith("SEARCH grants USING PRIMARY KEY (pot=? AND slot>? AND slot<?)") for step in plan), plan
    records.close()
