"""Before a set is rebuilt nobody may have a copy of it; and a lost grant is entered wherever the primary is by then."""

import asyncio
from pathlib import Path

import pytest

from redrush.config import Secret, SetSpec
from redrush.core.rush.campaign import Slots
from redrush.core.sets.failover import Terms
from redrush.errors import RedrushError
from redrush.operate.entrance import Entrance
from redrush.operate.set_orders import NeedsYes
from redrush.operate.set_restoring import check_copies, check_recorded
from redrush.ports.records import Posted
from redrush.ports.store import Claimed, Granted, Opened, PotTerms, StoreUnavailable, claims_of
from redrush.processes.valkey_server import ValkeyServer
from redrush.records.postgres import PostgresRecords
from redrush.stores.valkey import Access
from redrush.stores.valkey.keys import SetKeys
from tests.conftest import Databases
from tests.integration.valkey_sets import AT_US, CAMPAIGN, POT, SET, servers, store_on


def _spec(*started: ValkeyServer, dsn: str = "") -> SetSpec:
    addresses = tuple(server.address for server in started)
    return SetSpec(id=SET, addresses=addresses, replicas_needed=0, from_round=None, records=Secret("", text=dsn))


async def _check(spec: SetSpec, target: ValkeyServer, *, yes: bool = False) -> None:
    await check_copies(spec, target.address, SetKeys(CAMPAIGN, SET), Access(), yes=yes)


def test_a_set_is_rebuilt_only_where_nobody_has_a_copy_or_with_a_yes(tmp_path: Path) -> None:
    async def run() -> None:
        async with servers(tmp_path, 2) as (old, fresh):
            spec = _spec(old, fresh)
            await _check(spec, fresh)
            async with store_on(old):
                with pytest.raises(NeedsYes, match=f"{old.address} has a copy, of epoch 1, .* --yes drops them all"):
                    await _check(spec, fresh)
                await _check(spec, fresh, yes=True)
                with pytest.raises(RedrushError, match="holds set s1 in epoch 1: nothing is to be rebuilt"):
                    await _check(spec, old, yes=True)
            old.kill()
            with pytest.raises(NeedsYes, match=f"whether {old.address} has a copy cannot be known"):
                await _check(spec, fresh)
            await _check(spec, fresh, yes=True)
            with pytest.raises(StoreUnavailable):
                await _check(spec, old, yes=True)

    asyncio.run(run())


def test_a_lost_grant_is_entered_under_the_terms_of_the_moment_or_it_is_said_why_not(tmp_path: Path) -> None:
    async def run() -> None:
        async with servers(tmp_path, 1) as (server,), store_on(server) as store:
            await store.open([PotTerms(POT, Slots(0, 10))])
            await store.claim(claims_of(POT, ["a"]), AT_US)
            entrance = Entrance([_spec(server)], CAMPAIGN, Access())
            assert await entrance.enter(SET, Granted(0, POT, 5, ("b",), AT_US)) is None
            await store.fence(Terms(2, 0))
            assert await entrance.enter(SET, Granted(0, POT, 6, ("c",), AT_US)) is None
            taken = await entrance.enter(SET, Granted(0, POT, 0, ("d",), AT_US))
            assert taken == "its slot was granted to somebody else since, or has left the set"
            held = await entrance.enter(SET, Granted(0, POT, 7, ("a",), AT_US))
            assert held == "the user has another grant of the round"
            entrance.close()
            assert await store.find(POT, "c") == Claimed(6, AT_US, True)

    asyncio.run(run())


def test_a_server_that_lacks_what_is_recorded_is_not_promoted(tmp_path: Path, databases: Databases) -> None:
    async def check(server: ValkeyServer, dsn: str) -> None:
        await check_recorded(_spec(server, dsn=dsn), server.address, SetKeys(CAMPAIGN, SET), Access())

    async def run() -> None:
        dsn = databases.fresh()
        records = PostgresRecords(dsn, SET)
        async with servers(tmp_path, 1) as (server,), store_on(server) as store:
            await store.open([PotTerms(POT, Slots(0, 10))])
            await check(server, dsn)
            records.apply([Posted(record=Opened(1, POT, Slots(0, 10)), campaign=CAMPAIGN, postings=())])
            await check(server, dsn)
            records.apply([Posted(record=Opened(2, "r2", Slots(10, 10)), campaign=CAMPAIGN, postings=())])
            with pytest.raises(RedrushError, match="set s1 up to log record 1, and it is recorded up to 2: promoted"):
                await check(server, dsn)
            await check(server, "postgresql://127.0.0.1:1/nobody")  # who cannot be asked is no hindrance
        records.close()

    asyncio.run(run())
