"""A set on Valkey Cluster: all its keys are in one slot, and the store goes where that slot goes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from redrush.core.rush.campaign import Slots
from redrush.ports.store import Claimed, PotTerms, claims_of
from redrush.processes.loopback import free_port
from redrush.processes.valkey_server import ValkeyServer
from redrush.stores.valkey import Access, Terms, ValkeyStore
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.link import Link
from redrush.stores.valkey.terms import fence
from tests.integration.valkey_sets import (
    AT_US,
    BIG_POT,
    CAMPAIGN,
    POT,
    SET,
    Crowd,
    ask,
    connected,
    granted_in_log,
    persistently,
    store_on,
    until,
)

SLOTS: Final = 16_384
MASTERS: Final = 3
KILLS: Final = 3
UNATTENDED_S: Final = 1.5
"""Longer than a WAIT."""


class Node(ValkeyServer):
    """A server of a cluster. Its bus listens on a port of its own: the default one may be beyond the last port."""

    def __init__(self, directory: Path) -> None:
        self.bus_port = free_port()
        settings = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", str(self.bus_port))
        super().__init__(directory, settings=settings)
        self.id = b""

    async def join(self, other: "Node") -> None:
        self.id = await ask(self.address, "CLUSTER", "MYID")
        await ask(self.address, "CLUSTER", "MEET", other.address.host, other.address.port, other.bus_port)


@asynccontextmanager
async def cluster(directory: Path) -> AsyncIterator[list[Node]]:
    """Three masters that share all slots, and a fourth node that has none."""
    nodes = [Node(directory / f"node-{number}") for number in range(MASTERS + 1)]
    try:
        for node in nodes:
            await node.start()
            await node.join(nodes[0])
        for number, node in enumerate(nodes[:MASTERS]):
            first, end = SLOTS * number // MASTERS, SLOTS * (number + 1) // MASTERS
            await ask(node.address, "CLUSTER", "ADDSLOTSRANGE", first, end - 1)
        for node in nodes:
            await until(lambda node=node: _is_complete(node))  # type: ignore[misc]
        yield nodes
    finally:
        for node in nodes:
            node.kill()


async def _is_complete(node: Node) -> bool:
    info = await ask(node.address, "CLUSTER", "INFO")
    return b"cluster_state:ok" in info and f"cluster_known_nodes:{MASTERS + 1}".encode() in info


async def _slot_and_owner(nodes: list[Node]) -> tuple[int, Node]:
    slot = await ask(nodes[0].address, "CLUSTER", "KEYSLOT", SetKeys(CAMPAIGN, SET).meta)
    return slot, nodes[slot * MASTERS // SLOTS]


async def _migrate(slot: int, source: Node, target: Node) -> None:
    """Move the slot key by key, as an operator's tool does; calls meet every state between."""
    await ask(target.address, "CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
    await ask(source.address, "CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
    while keys := await ask(source.address, "CLUSTER", "GETKEYSINSLOT", slot, 1):
        await ask(source.address, "MIGRATE", target.address.host, target.address.port, "", 0, 5_000, "KEYS", *keys)
        await asyncio.sleep(0.02)  # so that the crowd meets it half done
    for node in (target, source):
        await ask(node.address, "CLUSTER", "SETSLOT", slot, "NODE", target.id)


def test_a_set_goes_on_when_its_slot_moves_to_another_node(tmp_path: Path) -> None:
    async def run() -> None:
        async with cluster(tmp_path) as nodes:
            slot, owner = await _slot_and_owner(nodes)
            target = next(node for node in nodes[:MASTERS] if node is not owner)
            async with store_on(target) as store:  # one seed, and not the owner
                assert store.address == owner.address
                await store.open([PotTerms(POT, BIG_POT)])
                crowd, stop = Crowd(store, "u"), asyncio.Event()
                rushing = asyncio.create_task(crowd.rush(stop))
                await until(lambda: asyncio.sleep(0, len(crowd.acknowledged) > 100))
                await _migrate(slot, owner, target)
                before = len(crowd.acknowledged)
                await until(lambda: asyncio.sleep(0, len(crowd.acknowledged) > before + 100))
                stop.set()
                await rushing
                assert store.address == target.address
                logged = await persistently(lambda: granted_in_log(store))
                assert crowd.acknowledged.items() <= logged.items()
                assert sorted(logged.values()) == list(range(1_000, 1_000 + len(logged)))

    asyncio.run(run())


def test_a_set_goes_on_after_the_failover_of_its_node(tmp_path: Path) -> None:
    async def run() -> None:
        async with cluster(tmp_path) as nodes:
            slot, owner = await _slot_and_owner(nodes)
            replica = nodes[MASTERS]
            await until(lambda: _replicates(replica, owner))
            others = [node for node in nodes[:MASTERS] if node is not owner]
            async with store_on(*others, replicas_needed=1) as store:
                await persistently(lambda: store.open([PotTerms(POT, Slots(100, 10))]))
                granted = await store.claim(claims_of(POT, ["a", "b"]), AT_US)
                owner.kill()
                await ask(replica.address, "CLUSTER", "FAILOVER", "TAKEOVER")
                await until(lambda: _owns(replica, slot, others[0]))
                link, _ = await Link.connect(replica.address, Access())
                await fence(link, SetKeys(CAMPAIGN, SET), Terms(2, 0))
                await link.close()
                again = await persistently(lambda: store.claim(claims_of(POT, ["a", "b", "c"]), AT_US + 1))
                assert again == [
                    *(Claimed(claimed.slot, AT_US, repeat=True) for claimed in granted if isinstance(claimed, Claimed)),
                    Claimed(102, AT_US + 1, repeat=False),
                ]
                assert (store.address, store.terms) == (replica.address, Terms(2, 0))
                async with connected(others[1].address) as late:
                    assert late.address == replica.address

    asyncio.run(run())


def test_nothing_acknowledged_is_lost_when_the_cluster_is_told_to_fail_over_in_the_rush(tmp_path: Path) -> None:
    async def run() -> None:
        async with cluster(tmp_path) as nodes, _rush_on_a_pair(nodes) as pair:
            await ask(pair.replica.address, "CLUSTER", "FAILOVER")
            await until(lambda: _owns(pair.replica, pair.slot, pair.others[0]))
            await pair.goes_on()
            assert pair.store.address == pair.replica.address

    asyncio.run(run())


@pytest.mark.soak
def test_nothing_acknowledged_is_lost_when_the_cluster_replaces_masters_that_are_killed_in_the_rush(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with cluster(tmp_path) as nodes, _rush_on_a_pair(nodes) as pair:
            owner, replica = pair.owner, pair.replica
            for _ in range(KILLS):
                owner.kill()
                await until(lambda heir=replica: _owns(heir, pair.slot, pair.others[0]))  # type: ignore[misc]
                acknowledged = len(pair.crowd.acknowledged)
                await asyncio.sleep(UNATTENDED_S)
                assert len(pair.crowd.acknowledged) == acknowledged, "its terms want a replica, and there is none"
                await owner.start()
                await pair.goes_on()
                owner, replica = replica, owner

    asyncio.run(run())


class Pair:
    """A master and its replica in a cluster, with a set on them whose grants need both, and a rush on it."""

    def __init__(self, slot: int, owner: Node, replica: Node, others: list[Node], store: ValkeyStore) -> None:
        self.slot = slot
        self.owner = owner
        self.replica = replica
        self.others = others
        self.store = store
        self.crowd = Crowd(store, "u")

    async def goes_on(self) -> None:
        before = len(self.crowd.acknowledged)
        await until(lambda: asyncio.sleep(0, len(self.crowd.acknowledged) > before + 100))


@asynccontextmanager
async def _rush_on_a_pair(nodes: list[Node]) -> AsyncIterator[Pair]:
    """Yield the pair while the rush goes on; at the end everything acknowledged must be there, once."""
    slot, owner = await _slot_and_owner(nodes)
    replica = nodes[MASTERS]
    await until(lambda: _replicates(replica, owner))
    others = [node for node in nodes[:MASTERS] if node is not owner]
    async with store_on(*nodes, replicas_needed=1) as store:
        await persistently(lambda: store.open([PotTerms(POT, BIG_POT)]))
        pair, stop = Pair(slot, owner, replica, others, store), asyncio.Event()
        rushing = asyncio.create_task(pair.crowd.rush(stop))
        try:
            await pair.goes_on()
            yield pair
        finally:
            stop.set()
            await rushing
        logged = await persistently(lambda: granted_in_log(store))
        assert pair.crowd.acknowledged.items() <= logged.items()


async def _replicates(replica: Node, owner: Node) -> bool:
    nodes = await ask(replica.address, "CLUSTER", "NODES")
    if owner.id not in bytes(nodes):
        return False
    if (await ask(replica.address, "ROLE"))[0] == b"master":
        await ask(replica.address, "CLUSTER", "REPLICATE", owner.id)
        return False
    role = await ask(replica.address, "ROLE")
    return bool(role[3] == b"connected")


async def _owns(node: Node, slot: int, asked: Node) -> bool:
    for first, last, (_, port, *_), *_ in await ask(asked.address, "CLUSTER", "SLOTS"):
        if first <= slot <= last:
            return bool(port == node.address.port)
    return False
