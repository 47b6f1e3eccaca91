import asyncio
import random
import signal
import sys
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from redrush.core.money.ledger import LedgerFault
from redrush.core.rush.campaign import Campaign
from redrush.errors import RedrushError
from redrush.ports.records import Change, Records, RecordsFailed
from redrush.ports.store import History, LogRecord, StoreFailed, StoreUnavailable
from redrush.records.sqlite import SqliteRecords
from redrush.settle import recorder as recorder_module
from redrush.settle.reconcile import reconcile
from redrush.settle.recorder import RULE, Recorder
from redrush.stores.memory import MemoryStore
from redrush.stores.sqlite import SqliteStore
from tests.patience import PATIENCE_S
from tests.settle.event import campaign_of, open_pots, rush, write_terms

KILLS = 6

Terms = tuple[Campaign, "array[int]"]


@pytest.fixture
def terms() -> Terms:
    return campaign_of(1000, 500)


@pytest.fixture
def records(tmp_path: Path) -> Iterator[SqliteRecords]:
    opened = SqliteRecords.open_path(tmp_path / "records.db")
    yield opened
    opened.close()


@asynccontextmanager
async def running(recorder: Recorder, *, drain: bool = True) -> AsyncIterator[Recorder]:
    task = asyncio.create_task(recorder.run())
    try:
        yield recorder
    finally:
        await recorder.stop(drain=drain)
        await task


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.005)


async def within(awaitable: Awaitable[None]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await awaitable


def test_a_pace_holds_recording_back_until_it_is_lifted_or_somebody_waits(
    records: SqliteRecords, terms: Terms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "RUSH_SLICE_RECORDS_MAX", 4)

    async def scenario() -> None:
        store = MemoryStore()
        await open_pots(store, terms[0])
        await rush(store, terms[0].rounds[0], users=900)
        pace: list[float | None] = [100.0]
        async with running(Recorder(store, records, *terms, grants_per_s_max=lambda: pace[0]), drain=False) as recorder:
            await until(lambda: records.totals().grants > 0)
            assert records.totals().grants <= 200, "one slice, which is two seconds' worth"
            began_s = asyncio.get_running_loop().time()
            pace[0] = 2_000.0
            await until(lambda: recorder.lag == 0)
            assert asyncio.get_running_loop().time() - began_s >= 0.2, "the first four slices have their time"
            pace[0] = 1.0
            await rush(store, terms[0].rounds[1], users=400)
            await within(recorder.caught_up())

    asyncio.run(scenario())


def test_the_recorder_follows_the_log_into_grants_and_ledger(records: SqliteRecords, terms: Terms) -> None:
    async def scenario() -> None:
        campaign, amounts = terms
        store = MemoryStore()
        await open_pots(store, campaign)
        async with running(Recorder(store, records, campaign, amounts)) as recorder:
            await rush(store, campaign.rounds[0], users=700)
            await within(recorder.caught_up())
            assert recorder.lag == 0
            await rush(store, campaign.rounds[1], users=700)
            await within(recorder.caught_up())
        assert records.cursor() == store.last_seq()
        assert records.totals().grants == 700 + 500
        assert [grant.slot for grant in records.grants_of("u3")] == [3, 1003]
        assert records.balance(campaign.id, "user:u3").net_minor == amounts[3] + amounts[1003]
        assert records.balance(campaign.id, "sponsor").net_minor == -sum(amounts)

    asyncio.run(scenario())


def test_lag_counts_what_is_not_recorded_yet(records: SqliteRecords, terms: Terms) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        await open_pots(store, terms[0])
        recorder = Recorder(store, records, *terms)
        assert recorder.lag == store.last_seq() == 3
        async with running(recorder):
            await within(recorder.caught_up())
            assert recorder.lag == 0

    asyncio.run(scenario())


def test_how_long_the_records_lack_something_begins_when_they_had_all(records: SqliteRecords, terms: Terms) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        await open_pots(store, terms[0])
        paused = [False]
        now_s = asyncio.get_running_loop().time
        async with running(Recorder(store, records, *terms, paused=lambda: paused[0])) as recorder:
            await within(recorder.caught_up())
            assert recorder.behind_s() == 0.0
            paused[0] = True
            rested_until_s = now_s() + 0.2
            await until(lambda: now_s() > rested_until_s)
            assert recorder.behind_s() == 0.0, "nothing is missing"
            began_s = now_s()
            await rush(store, terms[0].rounds[0], users=10)
            await until(lambda: recorder.behind_s() > 0.05)
            assert recorder.behind_s() < now_s() - began_s + 0.15, "the rest before is no lag"
            paused[0] = False
            await until(lambda: recorder.behind_s() == 0.0)

    asyncio.run(scenario())


def test_stopping_with_drain_records_the_rest_even_in_a_rush(records: SqliteRecords, terms: Terms) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        await open_pots(store, terms[0])
        async with running(Recorder(store, records, *terms, busy=lambda: True)):
            await rush(store, terms[0].rounds[0], users=300)
        assert records.cursor() == store.last_seq()

    asyncio.run(scenario())


def test_a_rush_holds_the_recorder_back_until_it_is_over(records: SqliteRecords, terms: Terms) -> None:
    async def scenario() -> None:
        store = WatchedStore()
        await open_pots(store, terms[0])
        rushing = True
        polled = asyncio.Event()

        def busy() -> bool:
            if rushing:
                store.polls += 1
                if store.polls == 10:
                    polled.set()
            return rushing

        async with running(Recorder(store, records, *terms, busy=busy), drain=False):
            await within(wait_for(polled))
            assert store.reads == 0
            rushing = False
            await within(wait_for(store.was_read_to_the_end))
        assert records.cursor() == store.last_seq()

    asyncio.run(scenario())


def test_a_rush_without_end_cannot_starve_the_recorder(
    records: SqliteRecords, terms: Terms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "LAG_MAX_S", 0.1)

    async def scenario() -> None:
        store = WatchedStore()
        await open_pots(store, terms[0])
        await rush(store, terms[0].rounds[0], users=1000, batch=5)
        async with running(Recorder(store, records, *terms, busy=lambda: True), drain=False):
            await within(wait_for(store.was_read_to_the_end))
        assert records.cursor() == store.last_seq()

    asyncio.run(scenario())


def test_a_fault_of_the_records_is_reported_and_tried_again(records: SqliteRecords, terms: Terms) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        await open_pots(store, terms[0])
        await rush(store, terms[0].rounds[0], users=1000)
        faults: list[RedrushError] = []
        pages = records._writer.pragma("page_count")
        records._writer.pragma("max_page_count", pages)

        def on_fault(fault: RedrushError) -> None:
            faults.append(fault)
            if len(faults) == 2:
                records._writer.pragma("max_page_count", 1_000_000)

        async with running(Recorder(store, records, *terms, on_fault=on_fault)) as recorder:
            for _ in range(2):
                with pytest.raises(RecordsFailed, match="full"):
                    await within(recorder.caught_up())
            await within(recorder.caught_up())
        assert [type(fault) for fault in faults] == [RecordsFailed, RecordsFailed]
        assert records.totals().grants == 1000

    asyncio.run(scenario())


class NeverReached(MemoryStore):
    """A set that no server may be used of: not even its history is known."""

    def history(self) -> History:
        raise StoreUnavailable("not reached yet")


def test_a_set_that_was_never_reached_is_asked_with_growing_pauses(records: SqliteRecords, terms: Terms) -> None:
    async def scenario() -> None:
        now_s, faulted_at_s = asyncio.get_running_loop().time, list[float]()
        recorder = Recorder(NeverReached(), records, *terms, on_fault=lambda _fault: faulted_at_s.append(now_s()))
        async with running(recorder):
            await until(lambda: len(faulted_at_s) == 3)
            assert recorder.log_breaker.away_s(now_s()) > 0
            assert not recorder.records_away_s()
        pauses_s = [later - earlier for earlier, later in pairwise(faulted_at_s)]
        assert pauses_s[0] >= 0.9 * RULE.pause_s
        assert pauses_s[1] >= 0.9 * 2 * RULE.pause_s

    asyncio.run(scenario())


def test_stopping_does_not_wait_for_a_fault_to_pass(terms: Terms, records: SqliteRecords) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        await open_pots(store, terms[0])
        failing: Records = FailingRecords()
        told = asyncio.Event()
        async with running(Recorder(store, failing, *terms, on_fault=lambda _: told.set())):
            await within(wait_for(told))

    asyncio.run(scenario())


def test_a_failed_store_ends_the_recorder_with_a_report(records: SqliteRecords, terms: Terms) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        await store.close()
        faults: list[RedrushError] = []
        recorder = Recorder(store, records, *terms, on_fault=faults.append)
        waiting = asyncio.create_task(recorder.caught_up())
        await asyncio.sleep(0)
        await within(recorder.run())
        with pytest.raises(StoreFailed):
            await waiting
        assert [type(fault) for fault in faults] == [StoreFailed]

    asyncio.run(scenario())


def test_who_waits_for_a_recorder_that_is_stopped_is_told(records: SqliteRecords, terms: Terms) -> None:
    async def scenario() -> None:
        recorder = Recorder(MemoryStore(), records, *terms)
        waiting = asyncio.create_task(recorder.caught_up())
        await asyncio.sleep(0)
        await recorder.stop(drain=False)
        await within(recorder.run())
        with pytest.raises(RedrushError, match="ended"):
            await waiting

    asyncio.run(scenario())


def test_a_log_of_another_campaign_is_a_fault_and_changes_nothing(records: SqliteRecords, terms: Terms) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        await open_pots(store, campaign_of(7, 9, 11)[0])
        faults: list[RedrushError] = []
        async with running(Recorder(store, records, *terms, on_fault=faults.append)) as recorder:
            while not faults:
                await asyncio.sleep(0)
            assert recorder.lag == store.last_seq()
        assert isinstance(faults[0], LedgerFault)
        assert records.cursor() == 0

    asyncio.run(scenario())


def test_a_killed_recorder_records_everything_exactly_once(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when the test fails
    draw = random.Random(seed)
    campaign, amounts = campaign_of(30_000, 10)
    write_terms(tmp_path, campaign, amounts)

    async def fill() -> None:
        store = await SqliteStore.open_path(tmp_path / "journal.db")
        await open_pots(store, campaign)
        claims = (rush(store, campaign.rounds[0], 30_000 // 20, batch=4, prefix=f"{part}-") for part in range(20))
        await asyncio.gather(*claims)
        await store.close()

    async def record_until_killed(after_s: float) -> bool:
        """Return whether the child was still at work when the kill came."""
        script = Path(__file__).with_name("record_in_slices.py")
        child = await asyncio.create_subprocess_exec(
            sys.executable, str(script), str(tmp_path), stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        assert await child.stdout.readline() == b"recording\n"
        try:
            async with asyncio.timeout(after_s):
                await child.wait()
        except TimeoutError:
            child.kill()
        return await child.wait() == -signal.SIGKILL

    async def scenario() -> int:
        await fill()
        return sum([await record_until_killed(draw.uniform(0.0, 0.1)) for _ in range(KILLS)])

    assert asyncio.run(scenario()) > 0, "no kill came in time: nothing was tested"
    interrupted = reconcile(tmp_path)
    assert interrupted.ok, interrupted.to_text()

    async def catch_up() -> None:
        store = await SqliteStore.open_path(tmp_path / "journal.db")
        records = SqliteRecords.open_path(tmp_path / "records.db")
        async with running(Recorder(store, records, campaign, amounts)):
            pass
        records.close()
        await store.close()

    asyncio.run(catch_up())
    report = reconcile(tmp_path)
    assert report.ok, report.to_text()
    assert (report.behind, report.grants) == (0, 30_000)


def test_deleted_records_are_made_anew_from_the_journal(tmp_path: Path, terms: Terms) -> None:
    async def record() -> tuple[object, ...]:
        store = MemoryStore()
        await open_pots(store, terms[0])
        await rush(store, terms[0].rounds[0], users=800)
        (tmp_path / "records.db").unlink(missing_ok=True)
        records = SqliteRecords.open_path(tmp_path / "records.db")
        async with running(Recorder(store, records, *terms)):
            pass
        state = (records.totals(), records.cursor(), records.grants_of("u5"))
        records.close()
        return state

    assert asyncio.run(record()) == asyncio.run(record())


class WatchedStore(MemoryStore):
    """Tells when its log was read, and when it had nothing more."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.polls = 0
        self.was_read_to_the_end = asyncio.Event()

    async def log(self, after: int, limit: int) -> list[LogRecord]:
        self.reads += 1
        found = await super().log(after, limit)
        if not found:
            self.was_read_to_the_end.set()
        return found


class FailingRecords(SqliteRecords):
    """Records on a disk that never recovers."""

    def __init__(self) -> None:
        """Open nothing."""

    def cursor(self) -> int:
        raise RecordsFailed("the disk is full")

    def apply(self, changes: Sequence[Change]) -> int:
        raise RecordsFailed("the disk is full")


async def wait_for(event: asyncio.Event) -> None:
    await event.wait()
