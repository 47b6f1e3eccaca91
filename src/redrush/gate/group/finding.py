"""Finds packets for a gate: in the book of this process, or by the notes of their pots.

Either way those that are looked for at the same time are found together, and a bounded number at once.
"""

from collections.abc import Callable

from redrush.core.rush.group import POT_PREFIX
from redrush.core.rush.packet_note import NotAPacket, packet_in
from redrush.dependency import Unanswered
from redrush.gate.group.counter import AT_ONCE_MAX, WAITING_MAX, Counter
from redrush.gate.group.together import Together
from redrush.gate.rush.group import Found, PacketHome
from redrush.ports.noted_pots import NotedPot, NotedStore
from redrush.ports.packets import BookFailed


class InBook:
    """Finds packets in the book, and what is left of them in the store of this process."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter

    async def __call__(self, packet: str) -> Found | None:
        """See `redrush.gate.rush.group.Find`."""
        booked = await self._counter.find(packet)
        if booked is None or not booked.packet.amounts:
            return None
        try:
            state = await self._counter.home_of(packet).store.state(booked.packet.pot)
        except KeyError:
            return None
        return Found(booked.packet, state)


class ByNote:
    """Finds packets by what their pots say, in their sets: no other process is asked, and no database."""

    def __init__(self, home_of: Callable[[str], PacketHome]) -> None:
        self._home_of = home_of
        self._asking: dict[NotedStore, Together[str, NotedPot | None]] = {}

    async def __call__(self, packet: str) -> Found | None:
        """See `redrush.gate.rush.group.Find`."""
        store = self._home_of(packet).store
        asking = self._asking.get(store)
        if asking is None:
            asking = self._asking[store] = Together(store.noted, at_once_max=AT_ONCE_MAX, waiting_max=WAITING_MAX)
        noted = await asking.do(POT_PREFIX + packet)
        if isinstance(noted, Unanswered):
            raise BookFailed("too many packets are looked for at once")
        if noted is None or not noted.note:
            return None
        try:
            return Found(packet_in(noted.note, packet), noted.state)
        except NotAPacket as fault:
            raise BookFailed(str(fault)) from fault
