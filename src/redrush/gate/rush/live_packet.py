"""A packet between people that somebody asks for, as its gate knows it."""

import asyncio
from collections.abc import Mapping

import msgspec

from redrush.core.rush.group import Packet
from redrush.gate.lanes import Desk, Lane
from redrush.gate.rush.packet_homes import PacketHome
from redrush.ports.store import Claimed


class LivePacket(msgspec.Struct, eq=False, gc=False):
    """A packet that is paid, as its gate knows it: an `AskedPot`, whose desk is the gate's `GroupPackets`.

    The garbage collector does not see it, for it would walk a hundred thousand of them, again and again while they
    wake. So it is its desk that has to let go of it (`GroupPackets.close`).
    """

    id: str
    lane: Lane
    desk: Desk
    known: Mapping[str, Claimed]
    complete: bool
    amounts: tuple[int, ...]
    """As the packet says. This and the next two stand here, too, for a grab is then over one object the less: where a
    hundred thousand are live, each that is touched has to come from memory."""
    closes_us: int
    for_all: bool
    """Whether whoever has the link may grab."""
    packet: Packet
    home: PacketHome
    sold_out: bool = False
    """Whether every share is known to be granted."""
    ended: bool = False
    """Whether what was left went back to whoever paid."""
    open: bool = True
    dry_until_us: int = 0
    looked_us: int = 0
    """When it was looked who has won at any gate."""
    looking: asyncio.Task[None] | None = None
    """Who looks now."""

    def closed(self, now_us: int) -> bool:
        """Whether what is left of it goes back, or went back, to whoever paid."""
        return self.ended or now_us >= self.closes_us

    def over(self, now_us: int) -> bool:
        """Whether nobody gets anything of it any more, as far as is known here."""
        return self.sold_out or self.closed(now_us)
