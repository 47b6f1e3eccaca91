"""Replicas and failovers: nothing is acknowledged that a promoted replica lacks, nor by a primary that was replaced."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from redrush.core.rush.campaign import Slots
from redrush.ports.news import NewTerms, Refilled, SoldOut
from redrush.ports.set_servers import ForkedOff
from redrush.ports.store import (
    FIRST_HISTORY,
    Claimed,
    Fork,
    History,
    PotState,
    PotTerms,
    StoreConflict,
    StoreUnavailable,
    claims_of,
)
from redrush.processes.valkey_server import ValkeyServer
from redrush.stores.valkey import Access, Terms, ValkeyStore
from redrush.stores.valkey.keys import Library, SetKeys
from redrush.stores.valkey.link import Link, ReplyFault, pack
from redrush.stores.valkey.servers import put_under
from redrush.stores.valkey.terms import fence
from tests.integration.valkey_sets import (
    AT_US,
    BIG_POT,
    CAMPAIGN,
    POT,
    SET,
    Crowd,
    ask,
    cannot_connect,
    connected,
    follow,
    granted_in_log,
    in_sync,
    persistently,
    servers,
    store_on,
    until,
)
from tests.patience import PATIENCE_S, OwnTime


@asynccontextmanager
async def replicated(directory: Path) -> AsyncIterator[tuple[ValkeyServer, ValkeyServer, ValkeyStore]]:
    """A primary, its replica in sync, and a store under terms that need it; the pot is open."""
    async with servers(directory, 2) as (primary, replica):
        await follow(replica, primary)
        async with store_on(primary, replica, replicas_needed=1) as store:
            assert store.terms == Terms(1, 1)
            await store.open([PotTerms(POT, BIG_POT)])
            yield primary, replica, store


async def promote(replica: ValkeyServer, terms: Terms) -> None:
    """What whoever watches over the set does when its primary is gone."""
    await ask(replica.address, "REPLICAOF", "NO", "ONE")
    link, _ = await Link.connect(replica.address, Access())
    await fence(link, SetKeys(CAMPAIGN, SET), terms)
    await link.close()


def test_without_its_replica_a_set_acknowledges_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with replicated(tmp_path) as (_, replica, store):
            await cannot_connect("is a replica", replica.address)
            replica.signal(signal.SIGSTOP)
            with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
                await store.claim(claims_of(POT, ["a"]), AT_US)
            assert dict(store.known(POT)) == {}
            replica.signal(signal.SIGCONT)
            again = await persistently(lambda: store.claim(claims_of(POT, ["a", "b"]), AT_US + 1))
            assert again == [Claimed(1_000, AT_US, repeat=True), Claimed(1_001, AT_US + 1, repeat=False)]

    asyncio.run(run())


USES: dict[str, Callable[[ValkeyStore], Awaitable[object]]] = {
    "claim": lambda store: store.claim(claims_of(POT, ["a"]), AT_US + 1),
    "find": lambda store: store.find(POT, "a"),
    "state": lambda store: store.state(POT),
    "log": lambda store: store.log(0, 10),
    "transfers": lambda store: store.transfers(),
    "open": lambda store: store.open([PotTerms(POT, BIG_POT)]),
    "take": lambda store: store.take(POT, 5, "t"),
    "give": lambda store: store.give(POT, (Slots(1, 1),), "g"),
}


def test_what_another_gate_wrote_is_told_only_when_the_replica_has_it(tmp_path: Path) -> None:
    async def told(name: str, primary: ValkeyServer) -> object:
        async with connected(primary.address) as other:  # one for each: a shortage cuts the link of its own calls
            try:
                return name, await USES[name](other)
            except StoreUnavailable as error:
                return str(error)[-40:]

    async def run() -> None:
        async with replicated(tmp_path) as (primary, replica, store):
            await store.take(POT, 5, "t")
            await store.give(POT, (Slots(1, 1),), "g")
            replica.signal(signal.SIGSTOP)
            writing = asyncio.create_task(store.claim(claims_of(POT, ["a"]), AT_US))
            await until(lambda: _has_field(primary, "grants", "a"))
            answers = await asyncio.gather(*(told(name, primary) for name in USES))
            assert answers == ["0 of 1 replicas acknowledged within 1000 ms"[-40:]] * len(USES)
            with pytest.raises(StoreUnavailable):
                await writing
            replica.signal(signal.SIGCONT)
            for use in USES.values():
                await persistently(partial(use, store))

    asyncio.run(run())


async def _has_field(server: ValkeyServer, key: str, field: str) -> bool:
    return bool(await ask(server.address, "HEXISTS", f"{{{CAMPAIGN}/{SET}}}:{key}:{POT}", field))


def test_a_promoted_replica_has_all_that_was_acknowledged_and_gates_find_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with replicated(tmp_path) as (primary, replica, store):
            crowds, stop = [Crowd(store, "one"), Crowd(store, "two")], asyncio.Event()
            rushing = [asyncio.create_task(crowd.rush(stop)) for crowd in crowds]
            await until(lambda: asyncio.sleep(0, crowds[0].batches > 20))
            primary.kill()
            before = {user: slot for crowd in crowds for user, slot in crowd.acknowledged.items()}
            await promote(replica, Terms(2, 0))
            taken = OwnTime(replica.pid)
            await persistently(lambda: store.claim(claims_of(POT, ["after"]), AT_US))
            assert taken.passed_s < 2.0
            stop.set()
            await asyncio.gather(*rushing)
            assert store.terms == Terms(2, 0)
            assert store.address == replica.address
            logged = await granted_in_log(store)
            assert before
            assert before.items() <= logged.items()
            for crowd in crowds:
                assert crowd.acknowledged.items() <= logged.items()

    asyncio.run(run())


def test_a_replaced_primary_that_wakes_up_can_acknowledge_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with replicated(tmp_path) as (old, new, store), connected(old.address) as unaware:
            await store.claim(claims_of(POT, ["a"]), AT_US)
            old.signal(signal.SIGSTOP)
            await promote(new, Terms(2, 0))
            (b,) = await persistently(lambda: store.claim(claims_of(POT, ["b"]), AT_US + 1))
            assert store.address == new.address
            old.signal(signal.SIGCONT)
            # Under the old terms its replica is missing, under the new ones it refuses.
            with pytest.raises(StoreUnavailable):
                await unaware.claim(claims_of(POT, ["c"]), AT_US)
            with pytest.raises(StoreUnavailable):
                await unaware.find(POT, "a")
            keys, library = SetKeys(CAMPAIGN, SET), Library.read()
            link, _ = await Link.connect(old.address, Access())
            (refusal,) = await link.call(pack(("FCALL", library.touch, 1, keys.meta, 2, 0)))
            assert isinstance(refusal, ReplyFault)
            assert refusal.code == "TERMS"
            await link.close()
            # Whoever asks both goes to the new one.
            async with connected(old.address, new.address) as aware:
                assert (aware.address, aware.terms) == (new.address, Terms(2, 0))
                assert await aware.claim(claims_of(POT, ["b"]), AT_US) == [Claimed(b.slot, AT_US + 1, repeat=True)]  # type: ignore[union-attr]
            # As a replica it forgets what it alone had; then acknowledgements need it again.
            await follow(old, new)
            await store.fence(Terms(3, 1))
            assert await store.claim(claims_of(POT, ["c"]), AT_US + 2) == [Claimed(1_002, AT_US + 2, repeat=False)]
            assert store.terms == Terms(3, 1)
            old.signal(signal.SIGSTOP)
            with pytest.raises(StoreUnavailable, match="0 of 1"):
                await store.claim(claims_of(POT, ["d"]), AT_US)

    asyncio.run(run())


@pytest.mark.soak  # it waits for a stopped server to be given up
def test_a_gate_that_knows_newer_terms_never_goes_back(tmp_path: Path) -> None:
    async def run() -> None:
        async with replicated(tmp_path) as (old, new, store):
            old.signal(signal.SIGSTOP)
            await promote(new, Terms(2, 0))
            await persistently(lambda: store.claim(claims_of(POT, ["a"]), AT_US))
            new.kill()
            old.signal(signal.SIGCONT)
            await until(lambda: _says(store, "a newer one is known"))

    asyncio.run(run())


async def _says(store: ValkeyStore, words: str) -> bool:
    try:
        await store.state(POT)
    except StoreUnavailable as error:
        return words in str(error)
    return False


def test_terms_only_grow(tmp_path: Path) -> None:
    async def run() -> None:
        async with servers(tmp_path, 1) as (server,), store_on(server) as store, connected(server.address) as other:
            await store.fence(Terms(5, 0))
            for epoch in (4, 5):
                with pytest.raises(StoreConflict, match="epoch 5"):
                    await other.fence(Terms(epoch, 0))
            with pytest.raises(StoreUnavailable, match="needs 1 replicas"):
                await other.fence(Terms(6, 1))  # it is under these terms now, but nothing rests on them

    asyncio.run(run())


def test_gates_take_up_new_terms_without_a_failed_call(tmp_path: Path) -> None:
    async def run() -> None:
        async with servers(tmp_path, 2) as (primary, replica), store_on(primary) as store:
            await store.open([PotTerms(POT, BIG_POT)])
            async with connected(primary.address) as operator:
                await operator.fence(Terms(2, 0))
                await store.claim(claims_of(POT, ["a"]), AT_US)
                assert store.terms == Terms(2, 0)
                await operator.fence(Terms(3, 0))
                assert len(await store.log(0, 10)) == 2
                await follow(replica, primary)
                await operator.fence(Terms(4, 1))
                assert await store.state(POT) == PotState(BIG_POT.count - 1, 1)
                assert store.terms == Terms(4, 1)

    asyncio.run(run())


@pytest.mark.soak  # another second and a half
def test_a_primary_demoted_under_a_gate_is_left_at_once(tmp_path: Path) -> None:
    """An orderly change of roles: no call fails but those that hit it."""

    async def run() -> None:
        async with replicated(tmp_path) as (primary, replica, store):
            await store.claim(claims_of(POT, ["a"]), AT_US)
            await until(lambda: in_sync(primary))
            await promote(replica, Terms(2, 0))
            await ask(primary.address, "REPLICAOF", replica.address.host, replica.address.port)
            assert await persistently(lambda: store.claim(claims_of(POT, ["a"]), AT_US)) == [
                Claimed(1_000, AT_US, repeat=True)
            ]
            assert store.address == replica.address

    asyncio.run(run())


def test_news_reaches_every_listener_and_outlives_a_failover(tmp_path: Path) -> None:
    async def run() -> None:
        async with (
            replicated(tmp_path) as (primary, replica, store),
            connected(primary.address, replica.address) as gate,
        ):
            heard: list[object] = []

            async def listen() -> None:
                async for news in gate.news():
                    heard.append(news)  # noqa: PERF401 - read while it grows

            listening = asyncio.create_task(listen())
            await until(lambda: _listened_to(primary))
            await store.publish(SoldOut("r1"))
            await store.publish(Refilled("r1"))
            await until(lambda: asyncio.sleep(0, heard == [SoldOut("r1"), Refilled("r1")]))
            primary.kill()
            await promote(replica, Terms(2, 0))
            await until(lambda: _listened_to(replica))
            await persistently(lambda: store.fence(Terms(3, 0)))
            await until(lambda: asyncio.sleep(0, heard[2:] == [NewTerms(3)]))
            await gate.close()
            await asyncio.wait_for(listening, PATIENCE_S)

    asyncio.run(run())


async def _listened_to(server: ValkeyServer) -> bool:
    return bool(
        await ask(server.address, "PUBSUB", "NUMSUB", f"{{{CAMPAIGN}/{SET}}}:news")
        == [f"{{{CAMPAIGN}/{SET}}}:news".encode(), 1]
    )


def test_a_set_that_goes_on_with_another_history_is_remembered_no_more(tmp_path: Path) -> None:
    async def run() -> None:
        async with servers(tmp_path, 1) as (server,), store_on(server) as store:
            await store.open([PotTerms(POT, Slots(0, 10))])
            await store.claim(claims_of(POT, ["a"]), AT_US)
            known = store.known(POT)
            assert (store.history(), list(known)) == (FIRST_HISTORY, ["a"])
            link, _ = await Link.connect(server.address, Access())
            for epoch, fork in ((2, ForkedOff(1)), (3, None), (5, ForkedOff(7))):
                await put_under(link, SetKeys(CAMPAIGN, SET), Terms(epoch, 0), fork)
            await link.close()
            await until(lambda: asyncio.sleep(0, not known))  # without a call: the store looks after its primary
            assert store.history() == History(5, (Fork(2, 1), Fork(5, 7)))
            assert (store.history().shared_since(1), store.history().shared_since(2)) == (1, 7)
            assert (await store.claim(claims_of(POT, ["a"]), AT_US))[0] == Claimed(0, AT_US, repeat=True)

    asyncio.run(run())
