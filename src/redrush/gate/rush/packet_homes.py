"""Where packets between people are at home: each in one set of their campaign, by its id."""

import zlib
from collections.abc import Sequence

import msgspec

from redrush.core.rush.campaign import shared_slots
from redrush.core.rush.group import Packet
from redrush.core.rush.packet_note import note_of
from redrush.gate.lanes import Lane
from redrush.ports.noted_pots import NotedStore
from redrush.ports.store import NotedTerms, PotTerms, Store


class PacketHome(msgspec.Struct, frozen=True):
    """A set that packets are at home in: the lane to it, and its store, which is asked by the names of pots."""

    lane: Lane
    store: NotedStore

    def terms(self, packet: Packet) -> PotTerms:
        """Return what a packet that was split is opened with in this set."""
        return terms_in(self.store, packet)


def terms_in(store: Store, packet: Packet) -> PotTerms:
    """Return what a packet that was split is opened with: where gates share the set, they find it by its note."""
    slots = shared_slots(0, packet.count)
    if store.knows_all:
        return PotTerms(packet.pot, slots)
    return NotedTerms(packet.pot, slots, note=note_of(packet))


def home_among(homes: Sequence[PacketHome], packet: str) -> PacketHome:
    """Return the set that a packet is at home in, the same in every process and for ever."""
    return homes[place_of(packet, len(homes))]


def place_of(packet: str, homes: int) -> int:
    """Return which of so many sets, in their order, a packet is at home in."""
    return zlib.crc32(packet.encode()) % homes if homes > 1 else 0
