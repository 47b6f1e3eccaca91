"""The recorder on a server that is killed, stays away and comes back: nothing lost, nothing twice, no trim ahead."""

import asyncio
import random
import time
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from redrush.core.rush.campaign import Campaign, Slots
from redrush.errors import RedrushError
from redrush.ports.records import RecordsConflict, RecordsFailed
from redrush.ports.store import FIRST_HISTORY, Fork, History, LogRecord, PotTerms, claims_of
from redrush.processes.postgres_server import PostgresServer
from redrush.records.postgres import PostgresRecords
from redrush.records.sqlite import SqliteRecords
from redrush.settle import recorder as recorder_module
from redrush.settle.recorder import Recorder
from redrush.stores.memory import MemoryStore
from tests.conftest import Databases
from tests.patience import PATIENCE_S
from tests.settle.event import campaign_of, open_pots, rush

KILLS = 4

Terms = tuple[Campaign, "array[int]"]


class TrimmedStore(MemoryStore):
    """A store that forgets what is trimmed. Keeps all it ever logged for the test to compare."""

    def __init__(self, dsn: str | None = None) -> None:
        """With `dsn`, each trim is held against what the database has committed by then."""
        super().__init__()
        self.trimmed = 0
        self._dsn = dsn

    async def log(self, after: int, limit: int) -> list[LogRecord]:
        return await super().log(max(after, self.trimmed), limit)

    async def trim(self, seq: int) -> None:
        if self._dsn is not None and seq:
            recorded = await asyncio.to_thread(self._recorded)
            assert seq <= recorded, f"trimmed up to {seq}, but only {recorded} is committed"
        self.trimmed = max(self.trimmed, seq)

    def _recorded(self) -> int:
        assert self._dsn is not None
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            # The server may have been killed right after the commit, and be on its way back.
            try:
                with psycopg.connect(self._dsn) as connection:
                    row = connection.execute("SELECT max(seq) FROM journal").fetchone()
                    assert row is not None
                    return int(row[0])
            except psycopg.OperationalError:
                time.sleep(0.02)
        raise AssertionError("the server did not come back")


@pytest.fixture
def terms() -> Terms:
    return campaign_of(20_000, 500)


@asynccontextmanager
async def running(recorder: Recorder) -> AsyncIterator[None]:
    task = asyncio.create_task(recorder.run())
    try:
        yield
    finally:
        await recorder.stop(drain=False)
        await task


async def all_recorded(recorder: Recorder) -> None:
    """Return when everything is recorded, through faults."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await recorder.caught_up()
                return
            except RecordsFailed:
                continue


async def everything(store: MemoryStore) -> list[LogRecord]:
    return await MemoryStore.log(store, 0, 1_000_000)


def test_the_log_is_trimmed_as_it_is_recorded_and_stays_whole_in_the_journal(
    databases: Databases, terms: Terms
) -> None:
    async def scenario() -> None:
        dsn = databases.fresh()
        records = PostgresRecords(dsn, "s1")
        store = TrimmedStore(dsn)
        await open_pots(store, terms[0])
        recorder = Recorder(store, records, *terms, trim=store.trim)
        async with running(recorder):
            await rush(store, terms[0].rounds[0], users=3_000)
            await all_recorded(recorder)
            assert store.trimmed == records.cursor() == store.last_seq()
        assert list(records.journal()) == await everything(store)
        records.close()

    asyncio.run(scenario())


def test_a_recorder_that_starts_trims_what_its_predecessor_recorded_only(databases: Databases, terms: Terms) -> None:
    async def scenario() -> None:
        records = PostgresRecords(databases.fresh(), "s1")
        store = TrimmedStore()
        await open_pots(store, terms[0])
        async with running(first := Recorder(store, records, *terms)):
            await all_recorded(first)
        assert store.trimmed == 0
        async with running(second := Recorder(store, records, *terms, trim=store.trim)):
            await all_recorded(second)
        assert store.trimmed == store.last_seq()
        records.close()

    asyncio.run(scenario())


def test_a_log_is_not_trimmed_below_records_that_may_go_back(tmp_path: Path, terms: Terms) -> None:
    records = SqliteRecords.open_path(tmp_path / "records.db")
    with pytest.raises(ValueError, match="durably"):
        Recorder(MemoryStore(), records, *terms, trim=TrimmedStore().trim)
    records.close()


def test_a_fault_of_the_trim_is_tried_again_and_costs_no_record(databases: Databases, terms: Terms) -> None:
    async def scenario() -> None:
        records = PostgresRecords(databases.fresh(), "s1")
        store = TrimmedStore()
        await open_pots(store, terms[0])
        faults: list[RedrushError] = []

        async def trim(seq: int) -> None:
            if seq and len(faults) < 2:
                raise RedrushError("the store is away")
            await store.trim(seq)

        async with running(recorder := Recorder(store, records, *terms, trim=trim, on_fault=faults.append)):
            while len(faults) < 2:
                await asyncio.sleep(0)
            await all_recorded(recorder)
        assert store.trimmed == records.cursor() == store.last_seq()
        records.close()

    asyncio.run(scenario())


def test_postgres_is_killed_at_random_and_nothing_is_lost_or_recorded_twice(
    own_postgres: PostgresServer, terms: Terms, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when the test fails
    draw = random.Random(seed)
    # Many commits, so that kills fall between and inside them.
    monkeypatch.setattr(recorder_module, "SLICE_RECORDS_MAX", 8)
    campaign, amounts = terms
    own_postgres.start()
    dsn = own_postgres.dsn()

    async def scenario() -> None:
        records = PostgresRecords(dsn, "s1")
        store = TrimmedStore(dsn)
        await open_pots(store, campaign)
        faults: list[RedrushError] = []
        recorder = Recorder(store, records, campaign, amounts, trim=store.trim, on_fault=faults.append)
        async with running(recorder):
            for kill in range(KILLS):
                await rush(store, campaign.rounds[0], users=5_000, batch=10, prefix=f"{kill}-")
                await asyncio.sleep(draw.uniform(0.0, 0.4))
                own_postgres.kill()
                own_postgres.start()  # in this thread: while it is down the loop stands still, and the log waits
            await all_recorded(recorder)
        assert faults, "no kill was noticed: nothing was tested"
        assert {type(fault) for fault in faults} == {RecordsFailed}
        log = await everything(store)
        assert list(records.journal()) == log
        totals = records.totals()
        assert totals.grants == 20_000
        assert totals.granted_minor == sum(amounts[:20_000])
        assert store.trimmed == store.last_seq()
        records.close()

    asyncio.run(scenario())


def test_the_event_goes_on_while_postgres_is_away_and_the_log_drains_afterwards(
    own_postgres: PostgresServer, terms: Terms
) -> None:
    own_postgres.start()

    async def scenario() -> None:
        records = PostgresRecords(own_postgres.dsn(), "s1")
        store = TrimmedStore()
        await open_pots(store, terms[0])
        failed = asyncio.Event()
        recorder = Recorder(store, records, *terms, trim=store.trim, on_fault=lambda _: failed.set())
        async with running(recorder):
            await rush(store, terms[0].rounds[0], users=100)
            await all_recorded(recorder)
            held = store.trimmed
            own_postgres.stop()
            await rush(store, terms[0].rounds[0], users=9_000, prefix="away")
            async with asyncio.timeout(PATIENCE_S):
                await failed.wait()
            assert (store.trimmed, recorder.lag) == (held, store.last_seq() - held)
            own_postgres.start()
            await all_recorded(recorder)
        assert records.totals().grants == 9_100
        assert list(records.journal()) == await everything(store)
        records.close()

    asyncio.run(scenario())


class StoreMadeAnew(MemoryStore):
    """A store that is found to have another history, with other grants above `shared`, while its log is read."""

    def __init__(self) -> None:
        super().__init__()
        self.anew: MemoryStore | None = None
        self.past = FIRST_HISTORY
        self.found = False

    def history(self) -> History:
        return self.past

    async def log(self, after: int, limit: int) -> list[LogRecord]:
        if self.anew is None:
            return await super().log(after, limit)
        if not self.found:  # what was asked for under the old history is answered under the new one
            self.found = True
            self.past = History(5, (Fork(5, 2),))
        return await self.anew.log(after, limit)


def test_a_log_that_turns_out_to_be_another_is_read_from_where_the_records_stand(databases: Databases) -> None:
    async def scenario() -> None:
        terms = campaign_of(100)
        records = PostgresRecords(databases.fresh(), "s1")
        store, fresh = StoreMadeAnew(), MemoryStore()
        for each in (store, fresh):
            await each.open([PotTerms("r1", Slots(0, 100))])
            await each.claim(claims_of("r1", ["a"]), 1)
        await fresh.claim(claims_of("r1", ["b", "c"]), 2)
        await fresh.claim(claims_of("r1", ["d"]), 3)
        recorder = Recorder(store, records, *terms, begin=records.begin)
        async with running(recorder):
            await recorder.caught_up()
            store.anew = fresh
            await recorder.caught_up()
        assert list(records.journal()) == await everything(fresh)
        records.close()

    asyncio.run(scenario())


def test_a_recorder_does_not_follow_a_set_that_lacks_what_is_recorded(databases: Databases) -> None:
    async def scenario() -> None:
        terms = campaign_of(100)
        records = PostgresRecords(databases.fresh(), "s1")
        store, fresh = StoreMadeAnew(), MemoryStore()
        for each in (store, fresh):
            await each.open([PotTerms("r1", Slots(0, 100))])
        for number, user in enumerate("abc"):
            await store.claim(claims_of("r1", [user]), number)
        for number in range(9):
            await fresh.claim(claims_of("r1", [f"late{number}"]), number)
        recorder = Recorder(store, records, *terms, begin=records.begin)
        async with running(recorder):
            await recorder.caught_up()
            kept = list(records.journal())
            store.anew = fresh
            with pytest.raises(RecordsConflict, match="has to be rebuilt"):
                await recorder.caught_up()
        assert list(records.journal()) == kept
        records.close()

    asyncio.run(scenario())
