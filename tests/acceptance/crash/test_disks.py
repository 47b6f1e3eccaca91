"""The whole embedded server on disks that fail, fill up, lose power and lie: below the real store, above nothing."""

import asyncio
import json
import random
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.crash import evidence
from tests.acceptance.crash.deaths import Death, DiskFault, Plan, Point
from tests.acceptance.crash.event import Ended, Event, EventWentWrong
from tests.acceptance.crash.server import run_command

SEALING_CALLS = 10
"""fsyncs and renames of a first start: the journal's directory, and three each for amounts, seal and keys."""

ONE_SENTENCE = re.compile(r"redrush: [^\n]+\n")


def an_event(directory: Path, seed: int = 1) -> Event:
    return Event("disk", directory / "event", random.Random(seed))


def journal(**fault: int | bool) -> DiskFault:
    return DiskFault(files=("journal.db",), **fault)  # type: ignore[arg-type] # a table of ints and flags


def check_stopped_with_one_sentence(ended: Ended, directory: Path) -> None:
    assert ended.code == 1, ended
    assert ONE_SENTENCE.fullmatch(ended.said), ended.said
    assert str(directory) in ended.said
    assert "journal.db" in ended.said


FAULTS_UNDER_LOAD = {
    "first fsync fails": journal(sync_fails_at=1),
    "an fsync fails": journal(sync_fails_at=60),
    "an fsync of a checkpoint fails": journal(sync_fails_at=13),
    "full at the first write": journal(write_full_at=1),
    "full in the middle of a batch": journal(write_full_at=4),
    "full later": journal(write_full_at=333),
}


@pytest.mark.parametrize("disk", FAULTS_UNDER_LOAD.values(), ids=FAULTS_UNDER_LOAD.keys())
def test_a_failing_disk_under_load_grants_nothing_more_and_recovers_everything(disk: DiskFault, tmp_path: Path) -> None:
    async def run() -> None:
        event = an_event(tmp_path)
        ended = await event.suffer(Plan(disk=disk))
        assert ended.was_ready
        check_stopped_with_one_sentence(ended, tmp_path)
        assert event.witness.answers["503"] > 0, "nobody was told to come back"
        acknowledged_before = dict(event.witness.acknowledged)
        await event.finish()
        assert acknowledged_before.items() <= event.witness.acknowledged.items()

    asyncio.run(run())


FAULTS_AT_START = {
    "first fsync": journal(sync_fails_at=1, from_first_claim=False),
    "second fsync": journal(sync_fails_at=2, from_first_claim=False),
    "third fsync": journal(sync_fails_at=3, from_first_claim=False),
    "full at once": journal(write_full_at=1, from_first_claim=False),
    "full soon": journal(write_full_at=5, from_first_claim=False),
}


@pytest.mark.parametrize("disk", FAULTS_AT_START.values(), ids=FAULTS_AT_START.keys())
def test_a_server_whose_disk_fails_at_the_start_is_never_ready_and_says_why(disk: DiskFault, tmp_path: Path) -> None:
    async def run() -> None:
        event = an_event(tmp_path)
        ended = await event.suffer(Plan(disk=disk))
        assert not ended.was_ready
        check_stopped_with_one_sentence(ended, tmp_path)
        await event.finish()

    asyncio.run(run())


RECORDS_ON_A_FULL_DISK = {
    "for good": (1_000_000, False),
    "until somebody makes room": (2, True),
}


@pytest.mark.parametrize(
    ("full_for_writes", "catches_up"), RECORDS_ON_A_FULL_DISK.values(), ids=RECORDS_ON_A_FULL_DISK.keys()
)
def test_a_full_disk_under_the_records_does_not_disturb_claims(
    full_for_writes: int, catches_up: bool, tmp_path: Path
) -> None:
    full = DiskFault(files=("records.db",), write_full_at=3, full_for_writes=full_for_writes)

    async def run() -> None:
        event = an_event(tmp_path)
        ended = await event.suffer(Plan(disk=full), loads_s=(0.4, 0.4))
        assert ended.was_ready
        assert ended.code == 0, ended
        assert event.witness.answers["503"] == 0
        assert len(event.witness.acknowledged) > 100
        recorded = evidence.read_records(event.data).cursor
        assert (recorded == evidence.read_journal(event.data)[-1].seq) is catches_up
        await event.finish()  # on a healthy disk: the records catch up, to the cent

    asyncio.run(run())


@pytest.mark.parametrize("call", range(1, SEALING_CALLS + 1))
def test_a_full_disk_at_the_first_start_seals_nothing_by_half(call: int, tmp_path: Path) -> None:
    async def run() -> None:
        event = an_event(tmp_path)
        ended = await event.suffer(Plan(point=Point.SEALING, on_pass=call, full_instead_of_dead=True))
        assert not ended.was_ready
        assert ended.code in {1, 2}
        assert ONE_SENTENCE.fullmatch(ended.said), ended.said
        await event.finish()

    asyncio.run(run())


def test_the_audit_notices_a_server_on_a_disk_that_lies(tmp_path: Path) -> None:
    """The proof that a lost acknowledgement is found: fsync does nothing here, then the power fails."""
    lying = DiskFault(files=("journal.db",), sync_lies=True, power_fails_at_event=500, from_first_claim=False)

    async def run() -> None:
        with pytest.raises(EventWentWrong, match="LOST"):
            await an_event(tmp_path).die(Death(name="lying disk", plan=Plan(disk=lying)))

    asyncio.run(run())


def test_reconcile_says_so_when_records_contradict_the_journal(tmp_path: Path) -> None:
    """What a recorder would leave that kept its cursor apart from its ledger; see `Point.RECORDER_CURSOR`."""

    async def run() -> None:
        event = an_event(tmp_path)
        await event.finish()
        with closing(sqlite3.connect(event.data / "records.db")) as connection:
            connection.execute("UPDATE cursor SET seq = 4")
            connection.commit()
        code, report, said = await run_command("reconcile", "--data", str(event.data), "--json")
        assert code == 1, said
        assert json.loads(report)["ok"] is False

    asyncio.run(run())
