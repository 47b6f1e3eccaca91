"""What the slots of group packets hold, found in the book for whoever finds the tables of pots that are no rounds."""

from array import array

from redrush.core.rush.group import packet_of
from redrush.core.rush.holding import PotTables, SlotTable
from redrush.ports.packets import PacketBook


def with_packets(book: PacketBook, others: PotTables) -> PotTables:
    """Return what finds the tables of packets in the book, and those of all other pots where `others` does."""

    def table(pot: str) -> SlotTable | None:
        packet = packet_of(pot)
        if packet is None:
            return others(pot)
        booked = book.find(packet)
        if booked is None or not booked.packet.amounts:
            return None
        return SlotTable(array("q", booked.packet.amounts))

    return table
