"""Recorders and a PostgreSQL that hangs (SIGSTOP): the sockets stay open, nobody answers, and nothing is lost."""

import asyncio
import random
from array import array
from collections.abc import Callable

import pytest

from redrush.core.load.breaker import State
from redrush.core.rush.campaign import Campaign
from redrush.errors import RedrushError
from redrush.ports.records import RecordsFailed, RecordsLate
from redrush.ports.store import LogRecord
from redrush.processes.postgres_server import PostgresServer
from redrush.records.postgres import PostgresRecords
from redrush.settle import recorder as recorder_module
from redrush.settle.recorder import Recorder
from redrush.stores.memory import MemoryStore
from tests.conftest import Databases
from tests.patience import PATIENCE_S, OwnTime
from tests.settle.event import campaign_of, open_pots, rush
from tests.stopping import stopped

ANSWER_MAX_S = 0.3
STOPS = 4
RECOVERED_S = 10.0
"""A pause of five seconds at most, an attempt to connect that was under way, and a machine with much to do."""

Terms = tuple[Campaign, "array[int]"]


@pytest.fixture
def terms() -> Terms:
    return campaign_of(20_000, 500)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.01)


async def all_recorded(recorder: Recorder) -> None:
    """Return when everything is recorded, through faults."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await recorder.caught_up()
                return
            except RecordsFailed:
                continue


async def whole_log(store: MemoryStore) -> list[LogRecord]:
    return await store.log(0, 1_000_000)


async def test_a_database_that_hangs_at_any_moment_loses_nothing_and_records_nothing_twice(
    own_postgres: PostgresServer, terms: Terms, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when the test fails
    draw = random.Random(seed)
    monkeypatch.setattr(recorder_module, "SLICE_RECORDS_MAX", 8)  # many commits, so that stops fall inside them
    campaign, amounts = terms
    own_postgres.start()
    records, store = PostgresRecords(own_postgres.dsn(), "s1", answer_max_s=ANSWER_MAX_S), MemoryStore()
    await open_pots(store, campaign)
    faults: list[RedrushError] = []
    recorder = Recorder(store, records, campaign, amounts, on_fault=faults.append)
    running = asyncio.create_task(recorder.run())
    await all_recorded(recorder)  # a database that hangs while its tables are made is waited for, for minutes
    for stop in range(STOPS):
        await rush(store, campaign.rounds[0], users=4_900, batch=10, prefix=f"{stop}-")
        await asyncio.sleep(draw.uniform(0.0, 0.2))
        seen = len(faults)
        with stopped(own_postgres.pid):
            # A recorder that was done already asks the database for nothing.
            await rush(store, campaign.rounds[0], users=100, batch=10, prefix=f"{stop}-late-")
            await until(lambda seen=seen: len(faults) > seen)  # type: ignore[misc]  # a default binds it now
    await all_recorded(recorder)
    await recorder.stop()
    await running
    assert {type(fault) for fault in faults} <= {RecordsLate, RecordsFailed}
    assert RecordsLate in {type(fault) for fault in faults}, "no silence was noticed: nothing was tested"
    assert list(records.journal()) == await whole_log(store)
    totals = records.totals()
    assert (totals.grants, totals.granted_minor) == (20_000, sum(amounts[:20_000]))
    records.close()


async def test_a_recorder_says_that_its_records_are_away_and_the_others_and_the_claims_go_on(
    own_postgres: PostgresServer, databases: Databases, terms: Terms
) -> None:
    campaign, amounts = terms
    own_postgres.start()
    stuck_records = PostgresRecords(own_postgres.dsn(), "s1", answer_max_s=ANSWER_MAX_S)
    other_records = PostgresRecords(databases.fresh(), "s2")
    stores = MemoryStore(), MemoryStore()
    faults: list[RedrushError] = []
    stuck = Recorder(stores[0], stuck_records, campaign, amounts, on_fault=faults.append)
    other = Recorder(stores[1], other_records, campaign, amounts)
    for store in stores:
        await open_pots(store, campaign)
    running = [asyncio.create_task(recorder.run()) for recorder in (stuck, other)]
    await all_recorded(stuck)
    assert (stuck.records_away_s(), stuck.lag) == (0.0, 0)

    loop = asyncio.get_running_loop()
    with stopped(own_postgres.pid):
        began_s = loop.time()
        for store in stores:
            await rush(store, campaign.rounds[0], users=3_000)
        await all_recorded(other)
        await until(lambda: len(faults) >= 2)
        assert {type(fault) for fault in faults} == {RecordsLate}
        away_s = stuck.records_away_s()
        assert 0.0 < away_s <= loop.time() - began_s
        assert stuck.records_breaker.state is State.AWAY
        assert stuck.log_breaker.state is State.UP
        assert stuck.lag == stores[0].last_seq() - stuck._recorded > 0, "the log keeps what is not recorded"
        await until(lambda: stuck.records_away_s() > away_s)
        assert (other.records_away_s(), other_records.totals().grants) == (0.0, 3_000)
    taken = OwnTime()
    await all_recorded(stuck)
    assert taken.passed_s < RECOVERED_S
    assert stuck.records_away_s() == 0.0
    for recorder in (stuck, other):
        await recorder.stop()
    await asyncio.gather(*running)
    assert list(stuck_records.journal()) == await whole_log(stores[0])
    stuck_records.close()
    other_records.close()


async def test_with_nothing_to_record_a_database_that_hangs_is_noticed_before_the_rush_and_does_not_hold_up_a_stop(
    own_postgres: PostgresServer, terms: Terms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "CHECKED_S", 0.05)
    monkeypatch.setattr(recorder_module, "HANGS_S", 0.2)
    own_postgres.start()
    records, store = PostgresRecords(own_postgres.dsn(), "s1", answer_max_s=1.0), MemoryStore()
    await open_pots(store, terms[0])
    recorder = Recorder(store, records, *terms)
    running = asyncio.create_task(recorder.run())
    await all_recorded(recorder)
    with stopped(own_postgres.pid):
        await until(lambda: recorder.records_away_s() > 0.0)
        assert recorder.records_breaker.failures == 0, "it is told before the call has failed"
        async with asyncio.timeout(PATIENCE_S):
            await recorder.stop()
            await running
        records.close()
