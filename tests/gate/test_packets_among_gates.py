"""A packet between people whose set other gates grant from, too: what those hear who found nothing left."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest

from redrush.core.rush.campaign import Kind
from redrush.core.rush.group import Packet
from redrush.gate.rush import group as group_module
from redrush.gate.rush.group import Found, GroupPackets
from redrush.gate.rush.live_packet import LivePacket
from redrush.gate.rush.packet_homes import PacketHome
from redrush.ports.noted_pots import Watched
from redrush.ports.store import Claimed, PotState, claims_of
from redrush.stores.memory import MemoryStore
from tests.gate.sets import Asking, many_sets
from tests.gate.world import OPENS_US, RECEIPT_RING, SECOND_US

PACKET = Packet(
    id="p1", sender="ann", kind=Kind.EQUAL, total_minor=100, count=1, amounts=(100,), paid_us=OPENS_US,
    closes_us=OPENS_US + 60 * SECOND_US,
)  # fmt: skip


class SharedStore(MemoryStore):
    """A set that other processes use too."""

    knows_all = False

    def __init__(self) -> None:
        super().__init__()
        self.states = 0
        self.made_anew = False
        self.answers = asyncio.Event()
        """Unless it is set, questions for the winners of a pot wait."""
        self.answers.set()
        self.watched: dict[str, dict[str, Claimed]] = {}
        """What is remembered of pots."""

    async def state(self, pot: str) -> PotState:
        self.states += 1
        return await super().state(pot)

    async def granted(self, pot: str) -> Mapping[str, Claimed]:
        await self.answers.wait()
        if self.made_anew:
            raise KeyError(pot)
        granted = await super().granted(pot)
        self.watched.get(pot, {}).update(granted)
        return granted

    def watch(self, pot: str) -> Watched:
        return Watched(pot, self.watched.setdefault(pot, {}))

    def forget(self, pot: str) -> None:
        self.watched.pop(pot, None)


class World(msgspec.Struct):
    """A gate's packets, and one of them, of which somebody has the only share at another gate."""

    store: SharedStore
    packets: GroupPackets
    live: LivePacket

    def grabbed_by(self, count: int) -> list[Asking]:
        """Let so many people grab it at once: each waits for an answer."""
        asked = [Asking() for _ in range(count)]
        for number, asking in enumerate(asked):
            assert self.packets.grab(self.live, asking, f"u{number}", None) is None
        return asked


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    async with many_sets(["s1"]) as event:
        store = event.sets["s1"] = SharedStore()
        gate = await event.gate()
        home = PacketHome(gate.gate.lanes["s1"], store)
        await gate.stores["s1"].open([home.terms(PACKET)])

        async def find(_home: PacketHome, packets: Sequence[str]) -> list[Found]:
            return [Found(PACKET, await store.state(PACKET.pot)) for _ in packets]

        packets = GroupPackets(event.campaign, RECEIPT_RING, [home], find, None, event.clock)
        live = await packets.wake(PACKET.id)
        assert live is not None
        await store.claim(claims_of(PACKET.pot, ["bob"]), event.clock())
        store.states = 0
        yield World(store, packets, live)


async def test_a_crowd_of_losers_waits_for_one_look_and_nobody_is_refused_for_there_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group_module, "LATE_MAX", 2)
    async with world() as one:
        asked = one.grabbed_by(200)
        assert [(await asking.json())["outcome"] for asking in asked] == ["empty"] * 200
        assert one.packets.counts.empty == 200
        assert one.store.states <= 2


async def test_losers_of_a_packet_that_its_set_has_lost_between_two_questions_are_told_to_come_back() -> None:
    async with world() as one:
        one.store.made_anew = True
        asked = one.grabbed_by(3)
        assert [(await asking.json())["status"] for asking in asked] == [503] * 3
        assert not one.packets.live, "it is found anew"


async def test_a_winner_hears_of_the_share_though_the_packet_fell_asleep_while_it_was_looked_at() -> None:
    async with world() as one:
        one.store.answers.clear()
        looking = asyncio.create_task(one.packets.look(one.live))
        while not one.store.states:
            await asyncio.sleep(0)
        one.packets.close()
        one.store.answers.set()
        await looking
        assert one.packets.winners(one.live).keys() == {"bob"}
        asking = Asking()
        told = one.packets.grab(one.live, asking, "bob", None)
        assert told is not None
        assert b'"granted"' in told


async def test_a_set_remembers_nothing_of_packets_of_a_campaign_that_was_removed_while_they_woke() -> None:
    async with world() as one:
        waking = [asyncio.create_task(one.packets.wake(name)) for name in ("p1", "p2")]
        await asyncio.sleep(0)
        one.packets.close()
        for task in waking:
            assert await task is not None
        assert one.store.watched == {}
