"""Settings on which durability rests, changed by hand on a running server: nothing is acknowledged under them."""

import asyncio
from pathlib import Path

import pytest

from redrush.core.rush.campaign import Slots
from redrush.core.sets.absence import Absence
from redrush.ports.store import Claimed, PotTerms, StoreUnavailable, claims_of
from redrush.processes.valkey_server import ValkeyServer
from redrush.stores.valkey import ValkeyStore
from tests.integration.valkey_sets import AT_US, POT, ask, persistently, servers, store_on
from tests.patience import OwnTime

NOTICED_MAX_S = 1.0

CHANGES = [
    ("appendonly", "no"),
    ("appendfsync", "everysec"),
    ("appendfsync", "no"),
    ("no-appendfsync-on-rewrite", "yes"),
    ("maxmemory-policy", "allkeys-lru"),
]


async def _refusal(store: ValkeyStore, user: str) -> StoreUnavailable | None:
    """Claim for the user; return why that was not acknowledged, None if it was."""
    try:
        await store.claim(claims_of(POT, [user]), AT_US)
    except StoreUnavailable as refusal:
        return refusal
    return None


async def _set(server: ValkeyServer, name: str, value: str) -> None:
    assert await ask(server.address, "CONFIG", "SET", name, value) == b"OK"


async def _quiet_changes(directory: Path) -> None:
    async with servers(directory, 1) as (server,), store_on(server) as store:
        await store.open([PotTerms(POT, Slots(0, 100))])
        for number, (name, value) in enumerate(CHANGES):
            wanted = (await ask(server.address, "CONFIG", "GET", name))[name.encode()]
            await _set(server, name, value)
            taken = OwnTime(server.pid)
            while store.is_attached and taken.passed_s < NOTICED_MAX_S:
                await asyncio.sleep(0.01)
            refusal = await _refusal(store, f"under-{number}")
            assert refusal is not None, f"{name} {value} was not noticed within {NOTICED_MAX_S} s"
            assert refusal.reason is Absence.SETTINGS
            assert f"{name} is {value}" in str(refusal)
            assert f"CONFIG SET {name} {wanted.decode()}" in str(refusal)
            await _set(server, name, wanted.decode())
            user = f"after-{number}"
            (claimed,) = await persistently(lambda user=user: store.claim(claims_of(POT, [user]), AT_US))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            assert isinstance(claimed, Claimed)


def test_a_setting_that_is_changed_by_hand_is_noticed_within_a_second_and_named(tmp_path: Path) -> None:
    asyncio.run(_quiet_changes(tmp_path))


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [("appendonly", "no", Absence.SETTINGS), ("appendfsync", "no", Absence.DISK)],
)
def test_between_the_change_and_its_notice_nothing_is_acknowledged_that_is_not_on_disk(
    tmp_path: Path, name: str, value: str, reason: Absence
) -> None:
    async def run() -> None:
        async with servers(tmp_path, 1) as (server,), store_on(server) as store:
            await store.open([PotTerms(POT, Slots(0, 100))])
            await store.claim(claims_of(POT, ["before"]), AT_US)
            await _set(server, name, value)
            refusal = await _refusal(store, "at-once")
            assert refusal is not None
            assert refusal.reason is reason

    asyncio.run(run())


def test_under_everysec_a_grant_is_acknowledged_only_once_it_is_fsynced(tmp_path: Path) -> None:
    async def run() -> None:
        async with servers(tmp_path, 1) as (server,), store_on(server) as store:
            await store.open([PotTerms(POT, Slots(0, 100))])
            await _set(server, "appendfsync", "everysec")
            await store.claim(claims_of(POT, ["first"]), AT_US)  # nothing may have been fsynced within the last second
            refusal = await _refusal(store, "second")
            if refusal is None:  # whoever was told so: all that is written is fsynced
                info = bytes(await ask(server.address, "INFO", "persistence")).decode()
                assert "aof_pending_bio_fsync:0" in info
                assert (await ask(server.address, "WAITAOF", 1, 0, 1))[0] == 1

    asyncio.run(run())
