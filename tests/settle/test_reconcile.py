"""Reconciliation finds nothing in a sound event, and every single thing that is broken in an unsound one."""

import asyncio
import json
import multiprocessing
import shutil
import sqlite3
from array import array
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from redrush.core.rush.campaign import Campaign
from redrush.errors import ConfigError, RedrushError
from redrush.records.sqlite import SqliteRecords
from redrush.settle.closing import close_pot
from redrush.settle.reconcile import Report, reconcile
from redrush.settle.recorder import Recorder
from redrush.stores.sqlite import SqliteStore
from tests.settle.event import campaign_of, open_pots, rush, write_terms

# r1 has slots 0…19 and grants 12, r2 has 20…34 and the 8 left of r1, and grants 20; 3 return to the sponsor.
CAMPAIGN, AMOUNTS = campaign_of(20, 15)


async def hold_event(data_dir: Path, campaign: Campaign, amounts: "array[int]", *, unrecorded_users: int = 0) -> None:
    """Hold the whole event in `data_dir`: two rushes, two closings, all recorded but the unrecorded users of r2."""
    write_terms(data_dir, campaign, amounts)
    store = await SqliteStore.open_path(data_dir / "journal.db")
    records = SqliteRecords.open_path(data_dir / "records.db")
    recorder = Recorder(store, records, campaign, amounts)
    recording = asyncio.create_task(recorder.run())
    first, second = campaign.rounds
    await open_pots(store, campaign)
    await rush(store, first, users=12, batch=4)
    await close_pot(store, campaign, first.pots[0], first.closes_us)
    await rush(store, second, users=20, batch=5)
    if not unrecorded_users:
        await close_pot(store, campaign, second.pots[0], second.closes_us)
    await recorder.stop()
    await recording
    await rush(store, second, users=unrecorded_users, batch=1, prefix="late")
    records.close()
    await store.close()


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("event")
    asyncio.run(hold_event(data_dir, CAMPAIGN, AMOUNTS))
    return data_dir


@pytest.fixture
def data_dir(event: Path, tmp_path: Path) -> Path:
    """A copy of the event to be broken."""
    return Path(shutil.copytree(event, tmp_path / "event"))


def sql(data_dir: Path, file_name: str, *statements: str) -> None:
    """Run statements that must each change something. Constraints are put aside: a bad disk knows none."""
    connection = sqlite3.connect(data_dir / file_name)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    for statement in statements:
        assert connection.execute(statement).rowcount > 0, statement
    connection.commit()
    connection.close()


def one_line(report: Report) -> str:
    return " | ".join(report.problems)


def test_a_sound_event_reconciles_to_the_minor_unit(event: Path) -> None:
    report = reconcile(event)
    assert report.ok, report.to_text()
    assert (report.grants, report.behind, report.problem_count) == (32, 0, 0)
    assert report.budget_minor == sum(AMOUNTS) == 630
    # r2 hands out its own 15 slots first, then 5 of the 8 that r1 had left; the last 3 are returned.
    granted_r1, granted_r2, returned = sum(AMOUNTS[:12]), sum(AMOUNTS[20:]) + sum(AMOUNTS[12:17]), sum(AMOUNTS[17:20])
    assert (report.granted_minor, report.returned_minor) == (granted_r1 + granted_r2, returned)
    assert (report.unclaimed_minor, report.in_transit_minor) == (0, 0)
    first, second = report.rounds
    assert (first.granted_minor, first.passed_on_minor) == (granted_r1, sum(AMOUNTS[12:20]))
    assert (second.received_minor, second.passed_on_minor) == (sum(AMOUNTS[12:20]), returned)


def test_the_report_is_json_and_text(event: Path) -> None:
    content = json.loads(json.dumps(reconcile(event).to_json()))
    assert content["ok"] is True
    assert (content["budget"], content["returned"]) == ("6.30", "0.57")
    assert [entry["round"] for entry in content["rounds"]] == ["r1", "r2"]
    assert "everything agrees" in reconcile(event).to_text()


def test_records_that_lag_are_behind_not_wrong(tmp_path: Path) -> None:
    asyncio.run(hold_event(tmp_path, CAMPAIGN, AMOUNTS, unrecorded_users=2))
    report = reconcile(tmp_path)
    assert report.ok, report.to_text()
    assert (report.behind, report.grants) == (2, 34)


def test_slots_between_two_pots_are_in_transit(data_dir: Path) -> None:
    sql(data_dir, "journal.db", "DELETE FROM log WHERE seq = (SELECT max(seq) FROM log)")
    sql(
        data_dir,
        "records.db",
        "DELETE FROM postings WHERE id = 'give:leftover:r2'",
        "UPDATE cursor SET seq = seq - 1",
        "UPDATE accounts SET credits_minor = credits_minor - 57 WHERE account = 'sponsor'",
        "UPDATE accounts SET debits_minor = debits_minor - 57 WHERE account = 'transit'",
    )
    report = reconcile(data_dir)
    assert report.ok, report.to_text()
    assert (report.in_transit_minor, report.returned_minor) == (57, 0)


def test_a_running_event_is_reconciled_without_disturbing_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        write_terms(tmp_path, CAMPAIGN, AMOUNTS)
        store = await SqliteStore.open_path(tmp_path / "journal.db")
        records = SqliteRecords.open_path(tmp_path / "records.db")
        recorder = Recorder(store, records, CAMPAIGN, AMOUNTS)
        recording = asyncio.create_task(recorder.run())
        await open_pots(store, CAMPAIGN)
        for users in (3, 6, 9):
            await rush(store, CAMPAIGN.rounds[0], users=users)
            report = await loop.run_in_executor(elsewhere, reconcile, tmp_path)
            assert report.ok, report.to_text()
            assert (report.grants, report.unclaimed_minor) == (users, 630 - report.granted_minor)
        await recorder.stop()
        await recording
        records.close()
        await store.close()

    # In a process of its own, as in earnest: reconciliation brings another SQLite, and two of them in one process undo
    # each other's locks (https://www.sqlite.org/howtocorrupt.html, 2.2.1).
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as elsewhere:
        asyncio.run(scenario())


JOURNAL = {
    "a slot granted twice": (
        "UPDATE log SET first_slot = 0 WHERE kind = 'granted' AND first_slot = 4",
        "slot 0 is granted, but it is already granted in round r1",
    ),
    "a grant repeated": (
        """INSERT INTO log (seq, kind, pot, first_slot, count, at_us, users)
           SELECT 1000, kind, pot, first_slot, count, at_us, users FROM log WHERE seq = 4""",
        "seq 1000: slot 0 is granted, but it is already granted",
    ),
    "a user twice in one batch": (
        """UPDATE log SET users = '["u0","u1","u1","u3"]' WHERE kind = 'granted' AND first_slot = 0""",
        "user u1 is granted more than once in round r1",
    ),
    "a user twice in a round": (
        """UPDATE log SET users = '["u4","u5","u1","u7"]' WHERE kind = 'granted' AND first_slot = 4 AND pot = 'r1'""",
        "user u1 is granted more than once in round r1",
    ),
    "another user": (
        """UPDATE log SET users = '["u0","u1","eve","u3"]' WHERE kind = 'granted' AND first_slot = 0""",
        "slot 2: the records say ('r1', 'u2', 3,",
    ),
    "an early grant": (
        f"UPDATE log SET at_us = {CAMPAIGN.rounds[0].opens_us} - 1 WHERE kind = 'granted' AND first_slot = 0",
        "granted 1 us before round r1 opens",
    ),
    "a late grant": (
        f"UPDATE log SET at_us = {CAMPAIGN.rounds[0].closes_us} + 40000000 WHERE kind = 'granted' AND first_slot = 0",
        "granted 40000000 us after round r1 closed",
    ),
    "a slot of another pot": (
        "UPDATE log SET first_slot = 30 WHERE kind = 'granted' AND first_slot = 8",
        "slot 30 is granted, but it is unclaimed in pot r2",
    ),
    "a slot that does not exist": (
        "UPDATE log SET first_slot = 33 WHERE kind = 'granted' AND first_slot = 8",
        "slots 33 to 36 are granted, which do not exist",
    ),
    "a slot granted after it was moved": (
        "UPDATE log SET pot = 'r1' WHERE kind = 'granted' AND first_slot = 12",
        "slot 12 is granted, but it is unclaimed in pot r2",
    ),
    "a returned slot granted": (
        """INSERT INTO log (seq, kind, pot, first_slot, count, at_us, users)
           VALUES (1000, 'granted', '$returned', 17, 1, 0, '["eve"]')""",
        "seq 1000: slots that were returned to the sponsor are granted",
    ),
    "a lost record": (
        "DELETE FROM log WHERE kind = 'granted' AND first_slot = 0",
        "slot 0: the records grant it to u0, the journal up to",
    ),
    "a lost opening": ("DELETE FROM log WHERE kind = 'opened' AND pot = 'r2'", "but it is in no pot"),
    "a pot opened twice": (
        "INSERT INTO log (seq, kind, pot, first_slot, count) VALUES (1000, 'opened', 'r1', 0, 20)",
        "pot r1 is opened a second time",
    ),
    "a pot opened larger": ("UPDATE log SET count = 21 WHERE kind = 'opened' AND pot = 'r1'", "agreed were (0, 20)"),
    "a pot that nobody agreed": ("UPDATE log SET pot = 'r9' WHERE seq = 4", "seq 4: pot 'r9' is not in the campaign"),
    "a transfer that gives other slots": (
        "UPDATE log SET slots = '[[12,7]]' WHERE kind = 'given' AND pot = 'r2'",
        "transfer leftover:r1 gives other slots than it took",
    ),
    "a transfer given twice": (
        """INSERT INTO log (seq, kind, pot, slots, transfer)
           VALUES (1000, 'given', 'r2', '[[12,8]]', 'leftover:r1')""",
        "transfer leftover:r1 gives a second time",
    ),
    "a transfer of granted slots": (
        "UPDATE log SET slots = '[[11,9]]' WHERE kind = 'taken' AND pot = 'r1'",
        "slot 11 is taken, but it is already granted in round r1",
    ),
    "users that are no list": (
        "UPDATE log SET users = '[\"u0\"' WHERE kind = 'granted' AND first_slot = 0",
        "the granted record cannot be read",
    ),
    "fewer users than announced": (
        "UPDATE log SET users = '[\"u0\"]' WHERE kind = 'granted' AND first_slot = 0",
        "4 users are announced",
    ),
    "a missing instant": (
        "UPDATE log SET at_us = NULL WHERE kind = 'granted' AND first_slot = 0",
        "the granted record cannot be read",
    ),
    "an amount of slots that is text": ("UPDATE log SET slots = '[[\"a\",1]]' WHERE kind = 'taken'", "cannot be read"),
    "an unknown kind": ("UPDATE log SET kind = 'gifted' WHERE seq = 4", "seq 4: kind 'gifted' is not known"),
    "a journal cut short": ("DELETE FROM log WHERE seq > 6", "the records hold seq"),
}

RECORDS = {
    "a grant missing": ("DELETE FROM grants WHERE slot = 3", "slot 3: granted to u3 at seq"),
    "a grant nobody made": (
        "INSERT INTO grants (pot, slot, user, amount_minor, at_us) "
        "SELECT pot, 18, 'eve', 19, 0 FROM pots WHERE name = 'r2'",
        "slot 18: the records grant it to eve, the journal up to",
    ),
    "a changed amount": ("UPDATE grants SET amount_minor = 99 WHERE slot = 3", "slot 3: the records say"),
    "a changed user": ("UPDATE grants SET user = 'eve' WHERE slot = 3", "slot 3: the records say ('r1', 'eve'"),
    "a changed round": (
        "UPDATE grants SET pot = (SELECT pot FROM pots WHERE name = 'r2') WHERE slot = 3",
        "slot 3: the records say ('r2', 'u3'",
    ),
    "a changed instant": ("UPDATE grants SET at_us = at_us + 1 WHERE slot = 3", "slot 3: the records say"),
    "a slot out of range": ("UPDATE grants SET slot = 77 WHERE slot = 3", "slot 77: the records grant it to u3"),
    "a posting beside the grant's row": (
        "INSERT INTO postings VALUES (1, 'grant:cny-r1-3', 'round:r1', 'user:u3', 28, 0)",
        "posting grant:cny-r1-3 stands for nothing",
    ),
    "a balance of another user": (
        "UPDATE accounts SET account = 'user:eve' WHERE account = 'user:u3'",
        "account user:eve",
    ),
    "a posting for nothing": (
        "INSERT INTO postings VALUES (1, 'grant:cny-r1-18', 'round:r1', 'user:eve', 5, 0)",
        "posting grant:cny-r1-18 stands for nothing",
    ),
    "a missing funding": ("DELETE FROM postings WHERE id = 'fund:r1'", "posting fund:r1 (seq 1) is None"),
    "a smaller funding": (
        "UPDATE postings SET amount_minor = amount_minor - 1 WHERE id = 'fund:r1'",
        "posting fund:r1 (seq 1) is ('sponsor', 'round:r1', 209)",
    ),
    "a missing transfer": ("DELETE FROM postings WHERE id = 'give:leftover:r1'", "posting give:leftover:r1"),
    "a transfer to the sponsor instead": (
        "UPDATE postings SET credit_account = 'sponsor' WHERE id = 'give:leftover:r1'",
        "posting give:leftover:r1",
    ),
    "a balance off by one": (
        "UPDATE accounts SET credits_minor = credits_minor + 1 WHERE account = 'user:u3'",
        "user u3 was granted 28 minor units, but owns 29",
    ),
    "a debit off by one": (
        "UPDATE accounts SET debits_minor = debits_minor - 1 WHERE account = 'round:r1'",
        "account round:r1: debits and credits kept are",
    ),
    "a missing account": ("DELETE FROM accounts WHERE account = 'user:u3'", "user u3 was granted 28 minor units"),
    "an account from nowhere": (
        "INSERT INTO accounts VALUES (1, 'user:eve', 0, 7)",
        "user eve was granted nothing, but owns 7",
    ),
    "a cursor too high": ("UPDATE cursor SET seq = 5000", "the records hold seq 5000, but the journal ends at seq"),
    "a cursor too low": ("UPDATE cursor SET seq = 5", "the records grant it to"),
}


@pytest.mark.parametrize(("statement", "problem"), JOURNAL.values(), ids=JOURNAL.keys())
def test_a_broken_journal_is_found(data_dir: Path, statement: str, problem: str) -> None:
    sql(data_dir, "journal.db", statement)
    report = reconcile(data_dir)
    assert not report.ok
    assert problem in one_line(report)
    assert report.problem_count == len(report.problems)


@pytest.mark.parametrize(("statement", "problem"), RECORDS.values(), ids=RECORDS.keys())
def test_broken_records_are_found(data_dir: Path, statement: str, problem: str) -> None:
    sql(data_dir, "records.db", statement)
    report = reconcile(data_dir)
    assert not report.ok
    assert problem in one_line(report)


def test_money_made_on_both_sides_of_the_books_is_found(data_dir: Path) -> None:
    """Grant and balances agree with each other; only the amounts that were sealed do not."""
    sql(
        data_dir,
        "records.db",
        "UPDATE grants SET amount_minor = amount_minor + 5 WHERE slot = 3",
        "UPDATE accounts SET credits_minor = credits_minor + 5 WHERE account = 'user:u3'",
        "UPDATE accounts SET debits_minor = debits_minor + 5 WHERE account = 'round:r1'",
    )
    report = reconcile(data_dir)
    assert [problem[:26] for problem in report.problems] == ["slot 3: the records say ('"]


def test_a_changed_amounts_table_is_found(data_dir: Path) -> None:
    changed = array("q", AMOUNTS)
    changed[3], changed[4] = changed[4] + 1, changed[3] - 1
    (data_dir / "amounts.i64").write_bytes(changed.tobytes())
    report = reconcile(data_dir)
    assert "amounts.i64 is not the table whose hash was sealed" in one_line(report)


def test_amounts_that_do_not_add_up_are_found(data_dir: Path) -> None:
    changed = array("q", AMOUNTS)
    changed[3] += 1
    (data_dir / "amounts.i64").write_bytes(changed.tobytes())
    assert "round r1: its slots are worth 211 minor units, agreed were 210" in one_line(reconcile(data_dir))


def test_problems_are_told_up_to_a_maximum_and_all_counted(tmp_path: Path) -> None:
    campaign, amounts = campaign_of(200, 10)
    asyncio.run(hold_event(tmp_path, campaign, amounts))
    sql(tmp_path, "records.db", "UPDATE accounts SET credits_minor = credits_minor + 1")
    sql(tmp_path, "journal.db", "UPDATE log SET count = 0 WHERE kind = 'opened'")
    report = reconcile(tmp_path)
    assert len(report.problems) == 100
    assert report.problem_count > 100
    assert f"… and {report.problem_count - 100} more" in report.to_text()


@pytest.mark.parametrize("file_name", ["campaign.json", "amounts.i64", "journal.db", "records.db"])
@pytest.mark.parametrize("state", ["missing", "foreign"])
def test_a_missing_or_foreign_file_is_named(data_dir: Path, file_name: str, state: str) -> None:
    if state == "missing":
        (data_dir / file_name).unlink()
    else:
        (data_dir / file_name).write_bytes(b"something else altogether, and long enough for a header" * 3)
    with pytest.raises(ConfigError, match=file_name):
        reconcile(data_dir)


def test_a_database_of_another_program_is_named(data_dir: Path) -> None:
    (data_dir / "records.db").unlink()
    connection = sqlite3.connect(data_dir / "records.db")
    connection.execute("CREATE TABLE shopping (item TEXT)")
    connection.commit()
    connection.close()
    with pytest.raises(ConfigError, match="not the records of redrush"):
        reconcile(data_dir)


def test_a_damaged_page_is_a_fault_with_the_file_named(data_dir: Path) -> None:
    path = data_dir / "records.db"
    content = bytearray(path.read_bytes())
    content[4096 * 2 :] = b"\xff" * (len(content) - 4096 * 2)
    path.write_bytes(content)
    with pytest.raises(RedrushError, match=r"records\.db"):
        reconcile(data_dir)
