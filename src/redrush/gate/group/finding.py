"""Finds packets for a gate: in the book of this process, or by the notes of their pots.

Either way those that are looked for at the same time are found together.
"""

from collections.abc import Sequence

from redrush.core.rush.group import POT_PREFIX
from redrush.core.rush.packet_note import NotAPacket, packet_in
from redrush.gate.group.counter import Counter
from redrush.gate.rush.group import Found
from redrush.gate.rush.packet_homes import PacketHome
from redrush.ports.noted_pots import NotedPot
from redrush.ports.packets import Booked, BookFailed, PerhapsPaid, Stage


class InBook:
    """Finds packets in the book, and what is left of them in the store of this process."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter

    async def __call__(self, home: PacketHome, packets: Sequence[str]) -> list[Found | BookFailed | None]:
        """See `redrush.gate.rush.group.Find`."""
        booked = await self._counter.find_each(packets)
        noted = await home.store.noted([POT_PREFIX + packet for packet in packets])
        return [_split(one, pot) for one, pot in zip(booked, noted, strict=True)]


def _split(booked: Booked | None, pot: NotedPot | None) -> Found | PerhapsPaid | None:
    if booked is None:
        return None
    if pot is None or not booked.packet.amounts:
        return PerhapsPaid(booked.packet.id) if may_be_paid(booked) else None
    return Found(booked.packet, pot.state)


def may_be_paid(booked: Booked) -> bool:
    """Whether a packet whose pot is not open may be paid all the same, by what the book says of it."""
    return booked.stage in (Stage.PAYING, Stage.OPEN)


async def by_note(home: PacketHome, packets: Sequence[str]) -> list[Found | BookFailed | None]:
    """Find packets by what their pots say, in their set: no other process is asked, and no database. Of one that is not
    there nothing is certain while the set may lack what it had, or is to have.

    See `redrush.gate.rush.group.Find`.
    """
    noted = await home.store.noted([POT_PREFIX + packet for packet in packets])
    found = [_said(packet, pot) for packet, pot in zip(packets, noted, strict=True)]
    if None not in found or await home.store.lacks_nothing():
        return found
    return [PerhapsPaid(packet) if one is None else one for packet, one in zip(packets, found, strict=True)]


def _said(packet: str, pot: NotedPot | None) -> Found | BookFailed | None:
    if pot is None:
        return None
    try:
        return Found(packet_in(pot.note, packet), pot.state)
    except NotAPacket as fault:
        return BookFailed(str(fault))
