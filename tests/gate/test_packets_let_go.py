"""Live packets are not seen by the garbage collector: whoever has them lets go of them."""

import asyncio
import gc
import weakref
from collections.abc import Sequence

import msgspec
import pytest

from redrush.core.rush.campaign import Kind
from redrush.core.rush.group import Packet
from redrush.gate.rush.group import Found, GroupPackets
from redrush.gate.rush.packet_homes import PacketHome
from redrush.ports.store import PotState, StoreUnavailable
from redrush.stores.memory import MemoryStore
from tests.gate.sets import ManySets, many_sets
from tests.gate.world import OPENS_US, RECEIPT_RING, SECOND_US

PACKET = Packet(
    id="p0", sender="ann", kind=Kind.EQUAL, total_minor=100, count=1, amounts=(100,), paid_us=OPENS_US,
    closes_us=OPENS_US + 60 * SECOND_US,
)  # fmt: skip


class LostStore(MemoryStore):
    """A set that does not know its packets any more."""

    async def state(self, pot: str) -> PotState:
        raise KeyError(pot)


async def _packets_of(event: ManySets) -> GroupPackets:
    """Return the packets of a gate, some of them live; one of these was looked at in vain."""
    store = LostStore()
    gate = await event.gate()
    home = PacketHome(gate.gate.lanes["s1"], store)
    packets = [msgspec.structs.replace(PACKET, id=f"p{number}") for number in range(3)]
    await store.open([home.terms(packet) for packet in packets])

    async def find(_home: PacketHome, wanted: Sequence[str]) -> list[Found]:
        await asyncio.sleep(0)
        return [Found(packet, PotState(1, 0)) for packet in packets if packet.id in wanted]

    group = GroupPackets(event.campaign, RECEIPT_RING, [home], find, None, event.clock)
    assert await group.wake("p0") is not None
    live = await group.wake("p1")
    assert live is not None
    with pytest.raises(StoreUnavailable):
        await group.look(live)
    return group


async def test_nothing_is_left_of_packets_whose_campaign_was_removed() -> None:
    async with many_sets(["s1"]) as event:
        group = await _packets_of(event)
        assert list(group.live) == ["packet:p0"]
        waking = asyncio.create_task(group.wake("p2"))
        await asyncio.sleep(0)
        group.close()
        live = await waking
        assert live is not None, "whoever waits is answered"
        assert live.packet.id == "p2"
        assert not group.live
        gone = weakref.ref(group)
        del group, live, waking
        await asyncio.sleep(0)
        gc.collect()
        assert gone() is None
