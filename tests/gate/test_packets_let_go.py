"""Live packets are not seen by the garbage collector: whoever has them lets go of them."""

import asyncio
import gc
import weakref
from collections.abc import Sequence

import msgspec
import pytest

from redrush.core.rush.campaign import Kind
from redrush.core.rush.group import Packet
from redrush.gate.rush import group as group_module
from redrush.gate.rush.group import Found, GroupPackets
from redrush.gate.rush.packet_homes import PacketHome
from redrush.ports.store import Claim, ClaimResult, PotState, StoreUnavailable
from redrush.stores.memory import MemoryStore
from tests.gate.sets import Asking, ManySets, many_sets
from tests.gate.world import OPENS_US, RECEIPT_RING, SECOND_US

PACKET = Packet(
    id="p0", sender="ann", kind=Kind.EQUAL, total_minor=100, count=1, amounts=(100,), paid_us=OPENS_US,
    closes_us=OPENS_US + 60 * SECOND_US,
)  # fmt: skip


class LostStore(MemoryStore):
    """A set that does not know its packets any more."""

    async def state(self, pot: str) -> PotState:
        raise KeyError(pot)


async def _asleep(event: ManySets, store: MemoryStore) -> GroupPackets:
    """Return the packets of a gate, three that sleep in this store."""
    event.sets["s1"] = store
    gate = await event.gate()
    home = PacketHome(gate.gate.lanes["s1"], store)
    packets = [msgspec.structs.replace(PACKET, id=f"p{number}") for number in range(3)]
    await gate.stores["s1"].open([home.terms(packet) for packet in packets])

    async def find(_home: PacketHome, wanted: Sequence[str]) -> list[Found]:
        await asyncio.sleep(0)
        return [Found(packet, PotState(1, 0)) for packet in packets if packet.id in wanted]

    return GroupPackets(event.campaign, RECEIPT_RING, [home], find, None, event.clock)


async def _packets_of(event: ManySets) -> GroupPackets:
    """Return the packets of a gate, some of them live; one of these was looked at in vain."""
    group = await _asleep(event, LostStore())
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


class UnwrittenStore(MemoryStore):
    """A set that has decided claims, and makes them durable when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.durable = asyncio.Event()

    async def claim(self, claims: Sequence[Claim], at_us: int) -> list[ClaimResult]:
        results = await super().claim(claims, at_us)
        await self.durable.wait()
        return results


async def test_a_packet_that_slept_and_woke_tells_nobody_of_a_grant_that_is_not_durable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group_module, "LIVE_MAX", 1)
    async with many_sets(["s1"]) as event:
        store = UnwrittenStore()
        group = await _asleep(event, store)
        first, again = Asking(), Asking()
        live = await group.wake("p0")
        assert live is not None
        assert group.grab(live, first, "bob", None) is None
        while "bob" not in live.known:
            await asyncio.sleep(0)
        await group.wake("p1")
        assert list(group.live) == ["packet:p1"]
        woken = await group.wake("p0")
        assert woken is not None
        assert woken is not live
        assert group.winners(woken) == {}
        assert group.grab(woken, again, "bob", None) is None
        assert again.waiting
        store.durable.set()
        assert [(await one.json())["repeat"] for one in (first, again)] == [False, True]
