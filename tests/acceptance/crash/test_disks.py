"""The whole embedded server on disks that fail, fill up, lose power and lie: below the real store, above nothing."""

import asyncio
import json
import random
import re
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest

from tests.acceptance.crash import evidence
from tests.acceptance.crash.deaths import Death, DiskFault, Plan, Point
from tests.acceptance.crash.event import Ended, Event, EventWentWrong
from tests.commands import run_command

SEALING_CALLS = 10
"""fsyncs, renames and links of a first start: the journal's directory, and three each for amounts, seal and keys."""

CASES_AT_ONCE = 4

Case = TypeVar("Case")

ONE_SENTENCE = re.compile(r"redrush: [^\n]+\n")


def an_event(directory: Path, name: str = "event") -> Event:
    return Event(name, directory / name, random.Random(name))


def each(cases: Mapping[str, Case], directory: Path, run: Callable[[Event, Case], Awaitable[None]]) -> None:
    """Run every case on an event of its own, some at the same time, for each mostly waits; a failure names its case."""
    free = asyncio.Semaphore(CASES_AT_ONCE)

    async def one(name: str, case: Case) -> None:
        async with free:
            try:
                await run(an_event(directory, name), case)
            except Exception as fault:
                fault.add_note(f"case: {name}")
                raise

    async def every() -> None:
        async with asyncio.TaskGroup() as group:
            for name, case in cases.items():
                group.create_task(one(name, case))

    asyncio.run(every())


def journal(**fault: int | bool) -> DiskFault:
    return DiskFault(files=("journal.db",), **fault)  # type: ignore[arg-type] # a table of ints and flags


def check_one_sentence(ended: Ended) -> None:
    # What the server logged before, such as a round that is over by now, is a JSON object a line.
    told = [line for line in ended.said.splitlines(keepends=True) if not line.startswith("{")]
    assert ONE_SENTENCE.fullmatch("".join(told)), ended.said


def check_stopped_with_one_sentence(ended: Ended, event: Event) -> None:
    assert ended.code == 1, ended
    check_one_sentence(ended)
    assert str(event.data / "journal.db") in ended.said


FAULTS_UNDER_LOAD = {
    # With a tiny WAL every few batches end in a checkpoint, so neighbours among these are of batches and checkpoints.
    **{f"fsync {number} fails": journal(sync_fails_at=number) for number in (1, 13, 14, 15, 60)},
    "full at the first write": journal(write_full_at=1),
    "full in the middle of a batch": journal(write_full_at=4),
    "full later": journal(write_full_at=150),
}


def test_a_failing_disk_under_load_grants_nothing_more_and_recovers_everything(tmp_path: Path) -> None:
    async def run(event: Event, disk: DiskFault) -> None:
        ended = await event.suffer(Plan(disk=disk))
        assert ended.was_ready
        check_stopped_with_one_sentence(ended, event)
        assert event.witness.answers["503"] > 0, "nobody was told to come back"
        acknowledged_before = dict(event.witness.acknowledged)
        await event.finish()
        assert acknowledged_before.items() <= event.witness.acknowledged.items()

    each(FAULTS_UNDER_LOAD, tmp_path, run)


FAULTS_AT_START = {
    "first fsync": journal(sync_fails_at=1, from_first_claim=False),
    "second fsync": journal(sync_fails_at=2, from_first_claim=False),
    "third fsync": journal(sync_fails_at=3, from_first_claim=False),
    "full at once": journal(write_full_at=1, from_first_claim=False),
    "full soon": journal(write_full_at=5, from_first_claim=False),
}


def test_a_server_whose_disk_fails_at_the_start_is_never_ready_and_says_why(tmp_path: Path) -> None:
    async def run(event: Event, disk: DiskFault) -> None:
        ended = await event.suffer(Plan(disk=disk))
        assert not ended.was_ready
        check_stopped_with_one_sentence(ended, event)
        await event.finish()

    each(FAULTS_AT_START, tmp_path, run)


RECORDS_ON_A_FULL_DISK = {
    "for good": (1_000_000, False),
    "until somebody makes room": (2, True),
}


def test_a_full_disk_under_the_records_does_not_disturb_claims(tmp_path: Path) -> None:
    async def run(event: Event, case: tuple[int, bool]) -> None:
        full_for_writes, catches_up = case
        full = DiskFault(files=("records.db",), write_full_at=3, full_for_writes=full_for_writes)
        ended = await event.suffer(Plan(disk=full), loads_s=(0.4, 0.4))
        assert ended.was_ready
        assert ended.code == 0, ended
        assert event.witness.answers["503"] == 0
        assert len(event.witness.acknowledged) > 100
        recorded = evidence.read_records(event.data).cursor
        assert (recorded == evidence.read_journal(event.data)[-1].seq) is catches_up
        await event.finish()  # on a healthy disk: the records catch up, to the cent

    each(RECORDS_ON_A_FULL_DISK, tmp_path, run)


def test_a_full_disk_at_the_first_start_seals_nothing_by_half(tmp_path: Path) -> None:
    async def run(event: Event, call: int) -> None:
        ended = await event.suffer(Plan(point=Point.SEALING, on_pass=call, full_instead_of_dead=True))
        assert not ended.was_ready
        assert ended.code in {1, 2}
        check_one_sentence(ended)
        await event.finish()

    each({f"call {call}": call for call in range(1, SEALING_CALLS + 1)}, tmp_path, run)


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
