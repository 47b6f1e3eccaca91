"""Grabs of several packets, and of a round, that go to their set together: each is granted within its own time."""

from collections.abc import Sequence

import msgspec

from redrush.core.rush.campaign import Kind
from redrush.core.rush.group import Packet
from redrush.gate.rush.group import Found, GroupPackets
from redrush.gate.rush.packet_homes import PacketHome
from redrush.ports.store import Claimed
from redrush.stores.memory import MemoryStore
from tests.gate.sets import Asking, ManySets, OneGate, many_sets
from tests.gate.world import OPENS_US, RECEIPT_RING, SECOND_US

SOON_US = OPENS_US + SECOND_US
LATER_US = OPENS_US + 2 * SECOND_US


def _packet(name: str, closes_us: int) -> Packet:
    return Packet(
        id=name, sender="ann", kind=Kind.EQUAL, total_minor=300, count=3, amounts=(100,) * 3, paid_us=OPENS_US,
        closes_us=closes_us,
    )  # fmt: skip


PACKETS = {name: _packet(name, at_us) for name, at_us in (("soon", SOON_US), ("too", SOON_US), ("later", LATER_US))}


async def _packets_of(event: ManySets, gate: OneGate) -> GroupPackets:
    store = event.sets["s1"]
    assert isinstance(store, MemoryStore)
    home = PacketHome(gate.gate.lanes["s1"], store)
    await gate.stores["s1"].open([home.terms(packet) for packet in PACKETS.values()])

    async def find(_home: PacketHome, packets: Sequence[str]) -> list[Found]:
        return [Found(PACKETS[name], await store.state(PACKETS[name].pot)) for name in packets]

    packets = GroupPackets(event.campaign, RECEIPT_RING, [home], find, None, event.clock)
    for name in PACKETS:
        await packets.wake(name)
    return packets


async def _grab(event: ManySets, gate: OneGate, packets: GroupPackets, order: str) -> list[Asking]:
    """Have one after the other ask for a packet, or for the round "r1", in one turn, just before `SOON_US`."""
    event.clock.now_us = SOON_US - 1
    asked = []
    for number, name in enumerate(order.split()):
        if name == "r1":
            asked.append(gate.ask(f"u{number}", name))
        else:
            asked.append(Asking())
            assert packets.grab(packets.live[PACKETS[name].pot], asked[-1], f"u{number}", None) is None
    return asked


async def _granted_us(event: ManySets, name: str, number: int) -> int:
    pot = name if name == "r1" else PACKETS[name].pot
    claimed = await event.sets["s1"].find(pot, f"u{number}")
    assert isinstance(claimed, Claimed)
    return claimed.at_us


async def _sent(order: str, now_us: int) -> tuple[list[int], list[tuple[str, ...]]]:
    """Return when each of those that asked in this order was granted a share, and who went to the set together, where
    it was so late when they did."""
    async with many_sets(["s1"], packets=6) as event:
        gate = await event.gate()
        packets = await _packets_of(event, gate)
        asked = await _grab(event, gate, packets, order)
        event.clock.now_us = now_us
        assert {(await asking.json())["outcome"] for asking in asked} == {"granted"}
        granted = [await _granted_us(event, name, number) for number, name in enumerate(order.split())]
        return granted, gate.stores["s1"].calls


async def test_those_of_packets_that_are_open_go_together_whatever_they_ask() -> None:
    granted, calls = await _sent("soon later r1 too soon", SOON_US - 1)
    assert granted == [SOON_US - 1] * 5
    assert calls == [("u0", "u1", "u2", "u3", "u4")]


async def test_one_whose_packet_has_closed_meanwhile_is_granted_at_its_last_instant_apart_from_the_others() -> None:
    granted, calls = await _sent("soon too later r1 soon later", SOON_US + 7)
    assert granted == [SOON_US - 1, SOON_US - 1, SOON_US + 7, SOON_US + 7, SOON_US - 1, SOON_US + 7]
    assert calls == [("u0", "u1"), ("u2", "u3"), ("u4",), ("u5",)]


async def test_one_behind_the_claims_of_a_round_that_has_another_instant_waits_for_the_next_batch() -> None:
    granted, calls = await _sent("r1 r1 soon later", SOON_US + 7)
    assert granted == [SOON_US + 7, SOON_US + 7, SOON_US - 1, SOON_US + 7]
    assert calls == [("u0", "u1"), ("u2",), ("u3",)]


async def test_where_the_clock_is_in_doubt_none_of_them_is_sent() -> None:
    async with many_sets(["s1"], packets=6) as event:
        gate = await event.gate()
        packets = await _packets_of(event, gate)
        asked = await _grab(event, gate, packets, "soon later too")
        packets.clock_in_doubt = True
        assert [(await asking.json())["status"] for asking in asked] == [503] * 3
        assert gate.stores["s1"].calls == []
        assert msgspec.structs.asdict(packets.counts)["clock_in_doubt"] == 3
