"""What a set in Valkey lists of moves: without reading what went back from ended packets, also across an upgrade."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from redrush.core.rush.campaign import REST_PREFIX, Slots
from redrush.core.sets.failover import Terms
from redrush.ports.store import PotTerms, StoreConflict, Transfer
from redrush.processes.valkey_server import ValkeyServer
from redrush.stores.valkey import Access, ValkeyStore
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.rebuild import SetRebuild
from tests.integration.valkey_sets import CAMPAIGN, POT, SET, ask, connected, nothing_lacks, servers, store_on

KEYS: Final = SetKeys(CAMPAIGN, SET)

MANY: Final = 3_000
"""Packets that ended: more than one page of the hash."""

MOVE: Final = {"move": Transfer(POT, (Slots(9, 1),))}


@asynccontextmanager
async def with_moves(directory: Path) -> AsyncIterator[tuple[ValkeyServer, ValkeyStore]]:
    """Yield a server and its set of one pot, from which one slot was taken by a move and one as a rest."""
    async with servers(directory, 1) as (server,), store_on(server) as store:
        await store.open([PotTerms(POT, Slots(0, 10))])
        await store.take(POT, 1, "move")
        await store.take(POT, 1, f"{REST_PREFIX}p")
        yield server, store


async def _noted_before(server: ValkeyServer, transfers: dict[str, str]) -> None:
    """Note takes as functions of a release do that knows of no list: in one hash, and nowhere else."""
    fields = [part for transfer, runs in transfers.items() for part in (transfer, f"{runs} {POT}")]
    await ask(server.address, "HSET", KEYS.taken, *fields)


async def _calls(server: ValkeyServer, command: str) -> int:
    stats = bytes(await ask(server.address, "INFO", "commandstats")).decode()
    lines = [line for line in stats.splitlines() if line.startswith(f"cmdstat_{command}:calls=")]
    return int(lines[0].partition("=")[2].partition(",")[0]) if lines else 0


async def test_what_went_back_is_not_read_for_the_list(tmp_path: Path) -> None:
    async with with_moves(tmp_path) as (server, store):
        assert (await store.transfers()).taken == MOVE
        assert await ask(server.address, "HKEYS", KEYS.moved) == [b"move"]
        assert await ask(server.address, "HLEN", KEYS.taken) == 2
        assert await _calls(server, "hscan") == 0


async def test_a_set_of_the_version_before_is_gone_through_once(tmp_path: Path) -> None:
    async with with_moves(tmp_path) as (server, store):
        await _noted_before(server, {f"{REST_PREFIX}{k}": "[[99,1]]" for k in range(MANY)} | {"old": "[[77,2]]"})
        listed = MOVE | {"old": Transfer(POT, (Slots(77, 2),))}
        assert (await store.transfers()).taken == listed
        once = await _calls(server, "hscan")
        assert once > 1
        assert await store.take(POT, 3, f"{REST_PREFIX}7") == (Slots(99, 1),)  # found, and nothing is taken again
        assert await store.take(POT, 3, "old") == (Slots(77, 2),)
        await store.take(POT, 1, f"{REST_PREFIX}new")
        assert (await store.transfers()).taken == listed
        assert await _calls(server, "hscan") == once


async def test_both_versions_may_take_at_the_same_time(tmp_path: Path) -> None:
    async with with_moves(tmp_path) as (server, store):
        expected = dict(MOVE)
        for turn in range(4):
            await _noted_before(server, {f"before{turn}": "[[50,1]]", f"{REST_PREFIX}before{turn}": "[[60,1]]"})
            expected[f"before{turn}"] = Transfer(POT, (Slots(50, 1),))
            expected[f"now{turn}"] = Transfer(POT, await store.take(POT, 1, f"now{turn}"))
            assert (await store.transfers()).taken == expected
        # The version before finds in its own hash all that was taken, so it takes nothing a second time.
        known = await ask(server.address, "HGETALL", KEYS.taken)
        assert {name.decode() for name in known if not name.startswith(REST_PREFIX.encode())} == set(expected)
        assert f"{REST_PREFIX}p".encode() in known


async def test_users_with_the_rules_of_the_version_before_see_the_same(tmp_path: Path) -> None:
    async with with_moves(tmp_path) as (server, store):
        await _noted_before(server, {"old": "[[77,2]]"})
        await ask(server.address, "ACL", "SETUSER", "before", "on", ">secret", "~*", "&*", "+@all", "-hlen", "-hscan")
        theirs = await ValkeyStore.connect(
            [server.address], CAMPAIGN, SET, access=Access("before", "secret"), prover=nothing_lacks
        )
        try:
            expected = MOVE | {"old": Transfer(POT, (Slots(77, 2),))}
            assert (await theirs.transfers()).taken == expected
            expected["theirs"] = Transfer(POT, await theirs.take(POT, 1, "theirs"))
            assert (await theirs.transfers()).taken == expected
            assert (await store.transfers()).taken == expected
        finally:
            await theirs.close()


async def test_a_rebuilt_set_lists_the_same_and_knows_what_went_back(tmp_path: Path) -> None:
    async with servers(tmp_path, 2) as (old, fresh), store_on(old) as store:
        await store.open([PotTerms(POT, Slots(0, 10)), PotTerms("r2", Slots(20, 1))])
        await store.take(POT, 1, "move")
        rest = await store.take(POT, 2, f"{REST_PREFIX}p")
        await store.give("r2", (Slots(9, 1),), "move")
        rebuild = await SetRebuild.begin(fresh.address, CAMPAIGN, SET)
        await rebuild.enter(await store.log(0, 100))
        await rebuild.finish(Terms(9, 0))
        await rebuild.close()
        async with connected(fresh.address) as again:
            assert await again.transfers() == await store.transfers()
            assert await _calls(fresh, "hscan") == 0
            assert await again.take(POT, 5, f"{REST_PREFIX}p") == rest
            with pytest.raises(StoreConflict):
                await again.take("r2", 1, f"{REST_PREFIX}p")
