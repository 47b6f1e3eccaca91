"""Claims of several campaigns of a gate on one server: they go together, and what happens to one is not the others'."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from redrush.core.sets.address import Address
from redrush.core.sets.failover import Terms
from redrush.ports.set_servers import ForkedOff
from redrush.ports.store import Claimed, ClaimResult, PotTerms, StoreUnavailable, claims_of
from redrush.processes.valkey_server import ValkeyServer
from redrush.stores.valkey import Access, ValkeyStore, establish_set
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.link import Link
from redrush.stores.valkey.terms import fence
from tests.integration.valkey_sets import (
    AT_US,
    BIG_POT,
    POT,
    SET,
    Wire,
    ask,
    follow,
    nothing_lacks,
    persistently,
    servers,
    until,
)


@asynccontextmanager
async def campaigns(*where: Address, replicas_needed: int = 0) -> AsyncIterator[list[ValkeyStore]]:
    """The store of a campaign for each of the addresses, at which the same server is."""
    async with AsyncExitStack() as closing:
        stores = []
        for number, address in enumerate(where):
            name = f"campaign-{number}"
            await establish_set([address], name, SET, replicas_needed)
            store = await ValkeyStore.connect([address], name, SET, prover=nothing_lacks)
            closing.push_async_callback(store.close)
            await store.open([PotTerms(POT, BIG_POT)])
            stores.append(store)
        yield stores


def claim(store: ValkeyStore, *users: str) -> asyncio.Task[list[ClaimResult]]:
    return asyncio.create_task(store.claim(claims_of(POT, users), AT_US))


async def calls_of(server: ValkeyServer, command: str) -> int:
    """Return how often the server was sent a command."""
    said = bytes(await ask(server.address, "INFO", "commandstats")).decode()
    found = re.search(rf"cmdstat_{command}:calls=(\d+)", said)
    return int(found[1]) if found else 0


async def settled(*tasks: asyncio.Task[list[ClaimResult]]) -> list[str]:
    """Return how each claim ended."""
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    return ["granted" if isinstance(end, list) and isinstance(end[0], Claimed) else type(end).__name__ for end in ends]


async def in_one_party(
    server: ValkeyServer, before: ValkeyStore, *stores: ValkeyStore
) -> list[asyncio.Task[list[ClaimResult]]]:
    """Have a claim of one store under way, and behind it one of each other, over the link of the first of them.

    The server stands still then, until SIGCONT."""
    server.signal(signal.SIGSTOP)
    first = claim(before, "first")
    await asyncio.sleep(0.05)
    behind = [claim(store, "second") for store in stores]
    await asyncio.sleep(0.05)
    return [first, *behind]


@asynccontextmanager
async def by_wire_and_direct(directory: Path) -> AsyncIterator[tuple[ValkeyServer, Wire, ValkeyStore, ValkeyStore]]:
    """Have a server, a wire to it, a campaign's store that is connected by the wire, and another's that is not."""
    async with (
        servers(directory, 1) as (server,),
        Wire(server.address).laid() as wire,
        campaigns(wire.address, server.address) as (at_wire, direct),
    ):
        yield server, wire, at_wire, direct


def test_who_waits_behind_a_call_goes_in_one_write_with_one_proof(tmp_path: Path) -> None:
    async def run() -> None:
        async with servers(tmp_path, 1) as (server,), campaigns(*[server.address] * 3) as stores:
            before = await calls_of(server, "waitaof"), await calls_of(server, "fcall")
            tasks = await in_one_party(server, stores[0], *stores)
            server.signal(signal.SIGCONT)
            assert await settled(*tasks) == ["granted"] * 4
            proofs, calls = await calls_of(server, "waitaof") - before[0], await calls_of(server, "fcall") - before[1]
            assert (proofs, calls >= 4) == (2, True), "one for the first, and one for all who have waited"

    asyncio.run(run())


def test_of_those_who_went_together_who_asks_little_is_answered_first(tmp_path: Path) -> None:
    async def run() -> None:
        async with servers(tmp_path, 1) as (server,), campaigns(*[server.address] * 3) as stores:
            server.signal(signal.SIGSTOP)
            first, answered = claim(stores[0], "first"), list[str]()
            await asyncio.sleep(0.05)
            crowd = claim(stores[1], *(f"user-{number}" for number in range(20)))
            few = claim(stores[2], "second")
            for name, task in (("crowd", crowd), ("few", few)):
                task.add_done_callback(lambda _, name=name: answered.append(name))  # type: ignore[misc]
            server.signal(signal.SIGCONT)
            assert await settled(first, crowd, few) == ["granted"] * 3
            assert answered == ["few", "crowd"]

    asyncio.run(run())


async def sent_one_by_one(server: ValkeyServer, wire: Wire, store: ValkeyStore) -> None:
    """Have two claims made on a server that decides and cannot prove: the second is not sent while that may come."""
    wire.sent.clear()
    decided_before = await calls_of(server, "xadd")
    first, second = claim(store, "first"), claim(store, "second")

    async def is_decided() -> bool:
        return await calls_of(server, "xadd") > decided_before

    await until(is_decided)
    while not first.done():
        assert b"second" not in wire.sent
        await asyncio.sleep(0.01)
    assert await settled(first, second) == ["StoreUnavailable"] * 2
    assert b"first" in wire.sent


def test_who_waits_is_not_sent_before_the_disk_has_proven_what_went_before(tmp_path: Path) -> None:
    async def run() -> None:
        async with by_wire_and_direct(tmp_path) as (server, wire, at_wire, _):
            await ask(server.address, "CONFIG", "SET", "appendfsync", "no")
            await sent_one_by_one(server, wire, at_wire)

    asyncio.run(run())


def test_who_waits_is_not_sent_before_replicas_have_proven_what_went_before(tmp_path: Path) -> None:
    """On a link that waits for replicas it would lie at the server, and then hold the proof back by its own fsync."""

    async def run() -> None:
        async with servers(tmp_path, 2) as (server, replica), Wire(server.address).laid() as wire:
            await follow(replica, server)
            async with campaigns(wire.address, replicas_needed=1) as (store,):
                replica.signal(signal.SIGSTOP)
                await sent_one_by_one(server, wire, store)
                replica.signal(signal.SIGCONT)
                await persistently(lambda: store.claim(claims_of(POT, ["second"]), AT_US))

    asyncio.run(run())


def test_what_is_read_is_proven_to_be_on_replicas_without_a_flush(tmp_path: Path) -> None:
    """Each reader of a log would keep claims waiting for the disk otherwise."""

    async def size_of_file(server: ValkeyServer) -> int:
        said = bytes(await ask(server.address, "INFO", "persistence")).decode()
        found = re.search(r"aof_current_size:(\d+)", said)
        assert found is not None
        return int(found[1])

    async def run() -> None:
        async with servers(tmp_path, 2) as (server, replica):
            await follow(replica, server)
            async with campaigns(server.address, replicas_needed=1) as (store,):
                assert await settled(claim(store, "first")) == ["granted"]
                before, file_before = await calls_of(replica, "hincrby"), await size_of_file(server)
                for _ in range(5):
                    assert len(await store.log(0, 10)) == 2
                assert await calls_of(replica, "hincrby") >= before + 5
                assert await size_of_file(server) == file_before
                replica.signal(signal.SIGSTOP)
                with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
                    await store.log(0, 10)
                replica.signal(signal.SIGCONT)

    asyncio.run(run())


def test_with_replicas_a_party_waits_for_as_many_as_the_strictest_of_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with servers(tmp_path, 2) as (server, replica):
            await follow(replica, server)
            async with (
                campaigns(server.address, replicas_needed=1) as (strict,),
                campaigns(*[server.address] * 2) as (_, easy),
            ):
                replica.signal(signal.SIGSTOP)
                assert await settled(claim(easy, "alone")) == ["granted"]
                tasks = await in_one_party(server, easy, easy, strict)
                server.signal(signal.SIGCONT)
                assert await settled(*tasks) == ["granted", "granted", "StoreUnavailable"]
                replica.signal(signal.SIGCONT)
                await persistently(lambda: strict.claim(claims_of(POT, ["second"]), AT_US))

    asyncio.run(run())


def test_a_lost_link_takes_its_party_along_which_finds_its_grants_then(tmp_path: Path) -> None:
    async def run() -> None:
        async with by_wire_and_direct(tmp_path) as (server, wire, at_wire, direct):
            tasks = await in_one_party(server, direct, at_wire, direct)
            wire.replies_flow.clear()
            server.signal(signal.SIGCONT)
            assert await settled(tasks[0]) == ["granted"]

            async def is_sent() -> bool:
                return (await direct.state(POT)).claimed_ever == 2

            await until(is_sent)
            wire.cut()
            wire.replies_flow.set()
            assert await settled(*tasks[1:]) == ["StoreUnavailable", "StoreUnavailable"]
            for store in (at_wire, direct):
                (found,) = await persistently(lambda store=store: store.claim(claims_of(POT, ["second"]), AT_US))  # type: ignore[misc]
                assert isinstance(found, Claimed)
                assert found.repeat

    asyncio.run(run())


def test_whose_own_link_was_lost_while_they_waited_is_not_taken_along(tmp_path: Path) -> None:
    async def run() -> None:
        async with by_wire_and_direct(tmp_path) as (server, wire, at_wire, direct):
            tasks = await in_one_party(server, direct, at_wire, direct)
            wire.cut()
            await asyncio.sleep(0.05)
            server.signal(signal.SIGCONT)
            assert await settled(*tasks) == ["granted", "StoreUnavailable", "granted"]

    asyncio.run(run())


def test_who_gives_up_while_they_wait_holds_nobody_up(tmp_path: Path) -> None:
    async def run() -> None:
        async with servers(tmp_path, 1) as (server,), campaigns(*[server.address] * 3) as stores:
            first, second, gone, left = await in_one_party(server, stores[0], *stores)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            server.signal(signal.SIGCONT)
            assert await settled(first, second, left) == ["granted"] * 3
            assert await settled(claim(stores[1], "third")) == ["granted"]

    asyncio.run(run())


def test_a_set_that_is_made_anew_meanwhile_is_told_nothing_of_its_past_over_the_link_of_another(tmp_path: Path) -> None:
    async def run() -> None:
        async with by_wire_and_direct(tmp_path) as (server, wire, at_wire, direct):
            first, *carried = await in_one_party(server, direct, at_wire, direct)
            wire.replies_flow.clear()
            server.signal(signal.SIGCONT)
            assert await settled(first) == ["granted"]
            history = direct.history()
            link, _ = await Link.connect(server.address, Access())
            fork = ForkedOff(direct.last_seq())
            await fence(link, SetKeys("campaign-1", SET), Terms(2, 0), named=True, fork=fork)
            await link.close()

            async def is_told() -> bool:
                return direct.history() != history

            await until(is_told)
            wire.replies_flow.set()
            assert await settled(*carried) == ["granted", "StoreUnavailable"]
            with pytest.raises(StoreUnavailable, match="made anew"):
                await carried[1]

    asyncio.run(run())
