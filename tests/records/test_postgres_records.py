"""What only the PostgreSQL adapter has: a server that comes and goes, many recorders, a schema that grows."""

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import psycopg
import pytest

from redrush.core.money.ledger import GrantRule, Posting
from redrush.core.rush.campaign import Slots
from redrush.errors import ConfigError, NewerVersion
from redrush.ports.records import Change, GrantRun, Posted, RecordsConflict, RecordsFailed
from redrush.ports.store import FIRST_HISTORY, Fork, Given, Granted, History, Opened, Taken
from redrush.processes.postgres_server import PostgresServer
from redrush.records.postgres import PostgresRecords, RoundTotals
from redrush.records.postgres.bills import PostgresBillBook
from redrush.records.postgres.messages import PostgresMessageBook
from redrush.records.postgres.migrations import migrate, migrations
from redrush.records.postgres.packets import PostgresPacketBook
from redrush.records.postgres.sales import PostgresSaleBook
from tests.conftest import Databases

Connect = Callable[..., PostgresRecords]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Opens records that are closed with the test."""
    with ExitStack() as closing_all:

        def opened(dsn: str, log: str, query_max_s: float = 60.0) -> PostgresRecords:
            return closing_all.enter_context(closing(PostgresRecords(dsn, log, query_max_s=query_max_s)))

        yield opened


@pytest.fixture
def records(dsn: str, connect: Connect) -> PostgresRecords:
    return connect(dsn, "s1")


def run_of(seq: int, first_slot: int, users: Sequence[str], round_id: str = "r1", campaign: str = "c") -> GrantRun:
    return GrantRun(
        seq=seq,
        campaign=campaign,
        pot=round_id,
        first_slot=first_slot,
        at_us=seq,
        users=users,
        amounts_minor=[1] * len(users),
        rule=GrantRule(f"grant:{campaign}-{round_id}-", f"round:{round_id}", "user:"),
    )


def asked(dsn: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode()).fetchall()


def told(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement.encode())


def test_the_journal_holds_every_record_as_the_store_wrote_it(
    dsn: str, records: PostgresRecords, connect: Connect
) -> None:
    opened = Opened(1, "r1", Slots(0, 50))
    granted = Granted(2, "r1", 0, ("ann", "张伟 \\ \t\n🧧"), 2)
    taken = Taken(5, "r1", (Slots(2, 3), Slots(9, 1)), "leftover:r1")
    given = Given(6, "r2", (Slots(2, 3), Slots(9, 1)), "leftover:r1")
    records.apply([Posted(record=opened, campaign="c", postings=()), run_of(2, 0, granted.users)])
    records.apply([Posted(record=taken, campaign="c", postings=()), Posted(record=given, campaign="c", postings=())])
    assert list(records.journal()) == [opened, granted, taken, given]
    assert list(records.journal(after=2)) == [taken, given]
    assert list(connect(dsn, "s2").journal()) == []


def test_whoever_stops_reading_the_journal_midway_keeps_nobody_waiting(records: PostgresRecords) -> None:
    """A command that fails while it reads several logs has all others half read when it closes them."""
    records.apply([Posted(record=Opened(seq, f"r{seq}", Slots(0, 5)), campaign="c", postings=()) for seq in (1, 2)])
    rows = records.journal()
    assert next(rows).seq == 1

    def go_on() -> None:
        assert records.totals().grants == 0
        records.close()
        ended.append(True)

    ended: list[bool] = []
    other = threading.Thread(target=go_on, daemon=True)
    other.start()
    other.join(20)
    assert ended == [True]
    assert [row.seq for row in rows] == [2]


def test_totals_by_round_are_those_of_all_logs(dsn: str, records: PostgresRecords, connect: Connect) -> None:
    other = connect(dsn, "s2")
    records.apply([run_of(1, 0, ["ann"]), run_of(2, 1, ["bob"], "r2")])
    records.apply([run_of(3, 2, ["cy"])])
    other.apply([run_of(1, 10, ["dee", "eve"])])
    assert records.round_totals("c", ["r1", "r2", "r3"]) == [RoundTotals("r1", 4, 4), RoundTotals("r2", 1, 1)]
    assert (records.cursor(), other.cursor()) == (3, 1)


def test_the_ledger_has_a_posting_for_every_grant(dsn: str, records: PostgresRecords) -> None:
    funding = Posting("fund:r1/s1", "sponsor", "round:r1", 100, 5)
    records.apply(
        [Posted(record=Opened(1, "r1", Slots(0, 9)), campaign="c", postings=(funding,)), run_of(2, 7, ["ann"])]
    )
    assert asked(dsn, "SELECT * FROM ledger ORDER BY id") == [
        (1, "fund:r1/s1", "sponsor", "round:r1", 100, 5),
        (1, "grant:c-r1-7", "round:r1", "user:ann", 1, 2),
    ]


def test_a_user_who_won_twice_in_a_round_is_a_contradiction_whatever_the_set(
    dsn: str, records: PostgresRecords, connect: Connect
) -> None:
    other = connect(dsn, "s2")
    records.apply([run_of(1, 0, ["ann"])])
    with pytest.raises(RecordsConflict, match="ann"):
        other.apply([run_of(1, 10, ["bob", "ann"])])
    assert (other.cursor(), other.totals().grants) == (0, 1)


def test_records_of_another_campaign_are_refused(dsn: str, records: PostgresRecords, connect: Connect) -> None:
    records.apply([run_of(1, 0, ["ann"])])
    with pytest.raises(RecordsConflict, match="another event"):
        connect(dsn, "s1").apply([run_of(2, 1, ["bob"], campaign="other")])


def test_recorders_of_many_sets_record_the_same_rounds_at_once(dsn: str, connect: Connect) -> None:
    """All of them meet each new round at the same time, and none waits for ever or loses anything."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when the test fails
    logs, rounds, slices, users = 6, 5, 4, 40

    def record(log: int) -> None:
        draw = random.Random(seed + log)
        records = connect(dsn, f"s{log}")
        order = list(range(rounds))
        draw.shuffle(order)
        seq = 0
        for part in range(slices):
            batch: list[Change] = []
            for round_ in order:
                seq += 1
                first = ((round_ * logs + log) * slices + part) * users
                batch.append(run_of(seq, first, [f"u{first + k}" for k in range(users)], f"r{round_}"))
            records.apply(batch)
        assert records.cursor() == seq

    with ThreadPoolExecutor(logs) as threads:
        list(threads.map(record, range(logs)))
    records = connect(dsn, "s0")
    totals = records.totals()
    assert totals.grants == totals.granted_minor == logs * rounds * slices * users
    assert [total.grants for total in records.round_totals("c", [f"r{k}" for k in range(rounds)])] == [
        logs * slices * users
    ] * rounds
    assert asked(dsn, "SELECT count(*) FROM journal") == [(logs * slices * rounds,)]


def test_two_recorders_of_one_log_race_and_record_it_once(dsn: str, connect: Connect) -> None:
    changes: list[Change] = [run_of(seq, seq * 10, [f"u{seq}-{k}" for k in range(10)]) for seq in range(1, 200)]

    def record(pace: int) -> None:
        records = connect(dsn, "s1")
        for start in range(0, len(changes), pace):
            records.apply(changes[start : start + pace])

    # Each starts over what the other has done: equal positions mean equal changes, the cursor tells what is new.
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(record, (3, 7, 11)))
    assert asked(dsn, "SELECT count(*), count(DISTINCT slot) FROM grants") == [(1990, 1990)]
    assert asked(dsn, "SELECT seq FROM cursors") == [(199,)]


SCHEMA = """
    SELECT 'column', table_name, column_name, data_type, is_nullable, column_default, collation_name
      FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL
    SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', '', ''
      FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL
    SELECT 'index', tablename, indexname, indexdef, '', '', '' FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT 'view', viewname, definition, '', '', '', '' FROM pg_views WHERE schemaname = 'public'
    UNION ALL
    SELECT 'function', proname, prosrc, '', '', '', '' FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    ORDER BY 1, 2, 3
"""


def test_a_schema_that_was_migrated_step_by_step_equals_a_fresh_one(databases: Databases, connect: Connect) -> None:
    fresh, grown = databases.fresh(), databases.fresh()
    connect(fresh, "s1").cursor()
    for version in range(1, len(migrations()) + 1):
        with psycopg.connect(grown, autocommit=True) as connection:
            migrate(connection, "grown", version_max=version)
            assert asked(grown, "SELECT max(version) FROM schema_version") == [(version,)]
    assert asked(fresh, SCHEMA) == asked(grown, SCHEMA)
    assert len(asked(fresh, SCHEMA)) > 30


def test_roles_that_start_at_once_make_the_schema_once(dsn: str, connect: Connect) -> None:
    with ThreadPoolExecutor(8) as threads:
        cursors = list(threads.map(lambda log: connect(dsn, f"s{log}").cursor(), range(8)))
    assert cursors == [0] * 8
    assert asked(dsn, "SELECT count(*) FROM schema_version") == [(len(migrations()),)]


def test_a_database_of_a_newer_redrush_is_refused(dsn: str, records: PostgresRecords, connect: Connect) -> None:
    records.cursor()
    told(dsn, "INSERT INTO schema_version VALUES (99)")
    with pytest.raises(ConfigError, match="version 99"):
        connect(dsn, "s1").cursor()


def test_what_is_no_address_is_refused_without_telling_its_password() -> None:
    with pytest.raises(ConfigError) as refusal:
        PostgresRecords("postgres//user:hunter2@somewhere", "s1")
    assert "hunter2" not in str(refusal.value)


def test_commits_are_synchronous_whatever_the_server_prefers(dsn: str, records: PostgresRecords) -> None:
    told(dsn, "ALTER DATABASE " + dsn.rpartition("/")[2] + " SET synchronous_commit = off")
    with records._writer.transaction() as cursor:
        assert cursor.execute(b"SHOW synchronous_commit").fetchone() == ("on",)
    assert asked(dsn, "SHOW synchronous_commit") == [("off",)]


def test_a_server_that_does_not_sync_is_refused(own_postgres: PostgresServer, connect: Connect) -> None:
    own_postgres.start()
    told(own_postgres.dsn(), "ALTER SYSTEM SET fsync = off")
    own_postgres.stop()
    own_postgres.start()
    with pytest.raises(ConfigError, match="fsync"):
        connect(own_postgres.dsn(), "s1").cursor()


def test_reading_connections_cannot_write_and_give_up_in_time(
    records: PostgresRecords, dsn: str, connect: Connect
) -> None:
    impatient = connect(dsn, "s1", query_max_s=0.05)
    with pytest.raises(RecordsFailed, match="timeout"), impatient._reader.transaction() as cursor:
        cursor.execute(b"SELECT pg_sleep(10)")
    with pytest.raises(RecordsFailed, match="read-only"), records._reader.transaction() as cursor:
        cursor.execute(b"DELETE FROM cursors")


def test_a_server_that_is_away_is_told_with_what_to_do(own_postgres: PostgresServer, connect: Connect) -> None:
    own_postgres.start()
    records = connect(own_postgres.dsn(), "s1")
    records.cursor()
    own_postgres.stop()
    for _ in range(2):  # once it breaks off, and once there is nothing to connect to
        with pytest.raises(RecordsFailed, match="start it, or correct its address, and do this again"):
            records.cursor()


def test_a_killed_server_is_a_failure_and_its_successor_goes_on_where_it_was(
    own_postgres: PostgresServer, connect: Connect
) -> None:
    own_postgres.start()
    records = connect(own_postgres.dsn(), "s1")
    records.apply([run_of(1, 0, ["ann"])])
    assert records.totals().grants == 1
    own_postgres.kill()
    for call in (records.cursor, records.totals, lambda: records.apply([run_of(2, 1, ["bob"])])):
        with pytest.raises(RecordsFailed):
            call()
    own_postgres.start()
    assert records.cursor() == 1
    assert records.apply([run_of(1, 0, ["ann"]), run_of(2, 1, ["bob"])]) == 2
    assert records.totals().grants == 2


def test_what_is_recorded_and_the_cursor_stand_or_fall_together(dsn: str, records: PostgresRecords) -> None:
    records.apply([run_of(1, 0, ["ann"])])
    told(dsn, "ALTER TABLE cursors ADD CHECK (seq < 2)")
    with pytest.raises(RecordsConflict):
        records.apply([run_of(2, 1, ["bob"])])
    assert (records.cursor(), records.totals().grants) == (1, 1)
    assert asked(dsn, "SELECT count(*) FROM journal") == [(1,)]
    assert records.round_totals("c", ["r1"]) == [RoundTotals("r1", 1, 1)]


def test_a_batch_of_a_history_that_was_given_up_is_refused_however_late_it_comes(dsn: str, connect: Connect) -> None:
    stopped, rebuilding, later = (connect(dsn, "s1") for _ in range(3))
    assert stopped.begin(FIRST_HISTORY) == 0
    assert stopped.apply([run_of(1, 0, ["a"])]) == 1
    assert rebuilding.begin(History(7)) == 1
    with pytest.raises(RecordsConflict, match="is in generation 7 now, not 1"):
        stopped.apply([run_of(2, 1, ["b"])])
    with pytest.raises(RecordsConflict, match="the set was made anew elsewhere"):
        stopped.begin(FIRST_HISTORY)
    assert asked(dsn, "SELECT seq FROM journal") == [(1,)]
    assert later.begin(History(7, (Fork(7, 1),))) == 1
    assert later.apply([run_of(2, 1, ["c"])]) == 2


@pytest.mark.parametrize(
    ("forks", "lost"),
    [
        ((Fork(4, 3),), False),
        ((Fork(4, 2),), True),
        ((Fork(4, 2), Fork(5, 9)), True),
        ((Fork(4, 3), Fork(5, 9)), False),
    ],
)
def test_a_history_that_lacks_what_is_recorded_is_not_followed(
    records: PostgresRecords, forks: tuple[Fork, ...], lost: bool
) -> None:
    records.begin(FIRST_HISTORY)
    records.apply([run_of(1, 0, ["a", "b"]), run_of(3, 2, ["c"])])
    if lost:
        with pytest.raises(RecordsConflict, match="recorded up to 3, and the set goes on after 2 with other grants"):
            records.begin(History(forks[-1].generation, forks))
        assert records.begin(FIRST_HISTORY) == 3, "nothing has changed"
    else:
        assert records.begin(History(forks[-1].generation, forks)) == 3


READS = {"records": "cursor", "bills": "listed", "messages": "listed", "sales": "all", "packets": "any_under_way"}
OPENED: dict[str, Callable[[str], Any]] = {
    "records": lambda dsn: PostgresRecords(dsn, "s1", as_it_is=True),
    "bills": lambda dsn: PostgresBillBook(dsn, as_it_is=True),
    "messages": lambda dsn: PostgresMessageBook(dsn, as_it_is=True),
    "sales": lambda dsn: PostgresSaleBook(dsn, "c", as_it_is=True),
    "packets": lambda dsn: PostgresPacketBook(dsn, "c", as_it_is=True),
}


def ask(name: str, dsn: str) -> None:
    """Read something, as a command does."""
    with closing(OPENED[name](dsn)) as opened:
        getattr(opened, READS[name])()


def test_commands_do_not_bring_the_database_of_a_running_stack_to_another_version(databases: Databases) -> None:
    """They say what does; what a newer redrush has written is told as such."""
    dsn, newest = databases.fresh(), len(migrations())
    with psycopg.connect(dsn) as connection:
        migrate(connection, "before", version_max=newest - 1)
    before = asked(dsn, "SELECT version FROM schema_version ORDER BY version")
    for name in OPENED:
        with pytest.raises(ConfigError, match=f"version {newest - 1}, this redrush reads version {newest}: start the"):
            ask(name, dsn)
        assert asked(dsn, "SELECT version FROM schema_version ORDER BY version") == before, name
    with psycopg.connect(dsn) as connection:
        migrate(connection, "now")
    for name in OPENED:
        ask(name, dsn)
    told(dsn, f"INSERT INTO schema_version VALUES ({newest + 1})")
    for name in OPENED:
        with pytest.raises(NewerVersion, match=f"of version {newest + 1}, this redrush knows {newest}"):
            ask(name, dsn)
