"""The SQLite store on disks that lose power, fail, fill up and lie. Killing a whole server is tested elsewhere."""

import asyncio
import multiprocessing
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from redrush.core.rush.campaign import Slots
from redrush.ports.store import Claimed, PotTerms, StoreFailed, claims_of
from redrush.stores.sqlite import SqliteStore
from tests.integration.faulty_vfs import VFS_NAME, Faults, FaultyVFS
from tests.integration.store_run import POT, Acknowledged, audit, claim_until_failure, reopen, run_to_the_end

POWER_LOSSES = 60
"""Moments at which the power fails in one run of the test, spread over all writes."""

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["tests.integration.store_run"])  # else each process loads the store by itself


def run_child(path: Path, faults: Faults) -> tuple[list[Acknowledged], int | None, int | None]:
    """Run a rush in a new process; return acknowledgements, its exit code and the events of a run that ended."""
    told, telling = _processes.Pipe(duplex=False)
    child = _processes.Process(target=run_to_the_end, args=(path, faults, telling))
    child.start()
    telling.close()
    acknowledged: list[Acknowledged] = []
    events: int | None = None
    try:
        while True:
            message = told.recv()
            if isinstance(message, int):
                events = message
            else:
                acknowledged.append(message)
    except EOFError:
        child.join()
    return acknowledged, child.exitcode, events


@pytest.fixture(scope="module")
def events_of_a_run(tmp_path_factory: pytest.TempPathFactory) -> int:
    path = tmp_path_factory.mktemp("whole") / "journal.db"
    acknowledged, exit_code, events = run_child(path, Faults())
    assert exit_code == 0
    assert audit(path, acknowledged) == []
    assert events is not None
    assert len(acknowledged) > 200
    return events


def test_a_power_loss_at_any_moment_takes_back_nothing_acknowledged(tmp_path: Path, events_of_a_run: int) -> None:
    most_acknowledged = 0
    for k in range(POWER_LOSSES):
        event = 1 + k * (events_of_a_run - 1) // POWER_LOSSES
        path = tmp_path / f"{event}.db"
        acknowledged, exit_code, _ = run_child(path, Faults(seed=event, power_fails_at_event=event))
        assert exit_code in {-signal.SIGKILL, 0}, f"event {event}"  # group sizes differ from run to run
        if acknowledged:
            assert audit(path, acknowledged) == [], f"power lost at event {event}"
        asyncio.run(reopen(path))
        assert audit(path, acknowledged) == [], f"after reopening, power lost at event {event}"
        most_acknowledged = max(most_acknowledged, len(acknowledged))
    assert most_acknowledged > 150


def test_the_audit_notices_a_disk_that_lies_about_synchronising(tmp_path: Path, events_of_a_run: int) -> None:
    path = tmp_path / "journal.db"
    acknowledged, exit_code, _ = run_child(path, Faults(power_fails_at_event=events_of_a_run // 3, sync_lies=True))
    assert exit_code == -signal.SIGKILL
    assert acknowledged
    asyncio.run(reopen(path))
    lost = [problem for problem in audit(path, acknowledged) if "not in the journal" in problem]
    assert len(lost) == len(acknowledged)


@contextmanager
def faulty_disk(faults: Faults) -> Iterator[Faults]:
    vfs = FaultyVFS(faults)
    yield faults
    vfs.unregister()


async def check_fail_stop(path: Path, faults: Faults, reason: str) -> None:
    acknowledged, store = await claim_until_failure(path, faults)
    for _ in range(2):
        for call in (
            store.claim(claims_of(POT, ["late"]), 1),
            store.find(POT, "user-0-0-0"),
            store.state(POT),
            store.open([PotTerms("r9", Slots(0, 1))]),
            store.take(POT, 1, "t"),
            store.give(POT, (), "t"),
            store.log(0, 10),
        ):
            with pytest.raises(StoreFailed, match=reason):
                await call
    await store.close()
    assert faults.failed
    assert faults.touched_after_failure == 0
    # The next life reads the real file: what reached it is what was synchronised.
    assert audit(path, acknowledged) == []
    await reopen(path)
    assert audit(path, acknowledged) == []


@pytest.mark.parametrize("sync", [1, 2, 3, 5, 8, 13])
def test_a_failed_sync_stops_the_store_for_good(sync: int, tmp_path: Path) -> None:
    with faulty_disk(Faults(sync_fails_at=sync, armed=False)) as faults:
        asyncio.run(check_fail_stop(tmp_path / "journal.db", faults, "IOError"))


def test_a_disk_that_fails_while_the_store_closes_is_not_touched_again(tmp_path: Path) -> None:
    async def run(faults: Faults) -> None:
        store = await SqliteStore.open_path(tmp_path / "journal.db", vfs=VFS_NAME)
        await store.open([PotTerms(POT, Slots(0, 10))])
        faults.armed = True
        accepted = asyncio.create_task(store.claim(claims_of(POT, ["a"]), 1))
        await asyncio.sleep(0)  # the claim has begun
        await store.close()
        with pytest.raises(StoreFailed, match="IOError"):
            await accepted
        assert faults.touched_after_failure == 0

    with faulty_disk(Faults(sync_fails_at=1, armed=False)) as faults:
        asyncio.run(run(faults))


@pytest.mark.parametrize("sync", [1, 2, 3, 4, 5, 6])
def test_commits_after_a_failed_sync_do_not_stand_on_pages_the_disk_never_got(sync: int, tmp_path: Path) -> None:
    """The next life reads the page cache, which has what the disk lost; then the power fails."""
    path, after_power_loss = tmp_path / "journal.db", tmp_path / "real" / "journal.db"

    async def run(faults: Faults) -> None:
        acknowledged, failed = await claim_until_failure(path, faults)
        await failed.close()
        faults.armed = False
        store = await SqliteStore.open_path(path, vfs=VFS_NAME)
        for result in await store.claim(claims_of(POT, ["next life"]), 99):
            assert isinstance(result, Claimed)
            acknowledged.append((POT, "next life", result.slot, result.at_us))
        after_power_loss.parent.mkdir()
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{after_power_loss}{suffix}")
        await store.close()
        assert audit(after_power_loss, acknowledged) == []

    with faulty_disk(Faults(sync_fails_at=sync, armed=False)) as faults:
        asyncio.run(run(faults))


@pytest.mark.parametrize("write", [1, 2, 3, 5, 8, 13, 21])
def test_a_full_disk_stops_the_store_for_good(write: int, tmp_path: Path) -> None:
    with faulty_disk(Faults(write_full_at=write, armed=False)) as faults:
        asyncio.run(check_fail_stop(tmp_path / "journal.db", faults, "FullError"))
