"""Before a set is rebuilt nobody may have a copy of it; and a lost grant is entered wherever the primary is by then."""

import asyncio
from pathlib import Path

import pytest

from redrush.config.deployment_file import Secret, SetSpec
from redrush.core.campaign import Slots
from redrush.core.failover import Terms
from redrush.errors import RedrushError
from redrush.ports.store import Claimed, Granted, StoreUnavailable
from redrush.stack.valkey_server import ValkeyServer
from redrush.stores.valkey import Access
from redrush.stores.valkey.keys import SetKeys
from redrush.wiring.restoring import _check_copies, _Entrance
from redrush.wiring.set_orders import NeedsYes
from tests.integration.valkey_sets import AT_US, CAMPAIGN, POT, SET, servers, store_on


def _spec(*started: ValkeyServer) -> SetSpec:
    addresses = tuple(server.address for server in started)
    return SetSpec(id=SET, addresses=addresses, replicas_needed=0, from_round=None, records=Secret("", text=""))


async def _check(spec: SetSpec, target: ValkeyServer, *, yes: bool = False) -> None:
    await _check_copies(spec, target.address, SetKeys(CAMPAIGN, SET), Access(), yes=yes)


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
            await store.open(POT, Slots(0, 10))
            await store.claim(POT, ["a"], AT_US)
            entrance = _Entrance([_spec(server)], CAMPAIGN, Access())
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
