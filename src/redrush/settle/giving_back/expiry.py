"""Ends group packets: at their deadline, or before it when the sender says so. What is left goes back to who paid.

Three steps, each named by the packet and done once, whoever repeats them: what is left is *taken* out of the pot, which
nobody can claim from any more then; the sender's balance is *credited* with what it was worth; the book says that the
packet is *over*. A crash in between leaves it open in the book, and due, so the next life takes the same steps again.

Who is due is found by the book's index on the deadline, a few at a time: a million packets that sleep cost nothing, and
a hundred thousand that end in one minute are ended in small parts, between which claims are served.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from redrush.core.money.ledger import SPONSOR
from redrush.core.nobody import ignore, never
from redrush.core.rush.group import Packet, rest_transfer
from redrush.errors import RedrushError
from redrush.ports.cashier import Cashier, Spending
from redrush.ports.packets import PacketBook, Stage
from redrush.ports.store import Store, StoreUnavailable

LOOK_S: Final = 0.2
"""How soon a deadline is noticed."""

TAKEN_AT_ONCE: Final = 32
"""Packets whose rest is taken in one turn of the loop: some two milliseconds."""

ENDED_AT_ONCE: Final = 256
"""Packets that are ended together: credited in one step, and over in one."""

REST_S: Final = 0.01
"""Between two parts: claims go first. With both figures some 2,500 packets a second are ended."""


class GivingBack:
    """Gives back what is left of packets; see the module. Lives on the event loop."""

    def __init__(
        self,
        campaign: str,
        book: PacketBook,
        cashier: Cashier,
        store_of: Callable[[str], Store],
        *,
        ended: Callable[[str], None] = ignore,
    ) -> None:
        """`store_of` returns the store of the set that a packet, by its id, is at home in; `ended` hears of packets
        that nobody can get anything of any more."""
        self._campaign = campaign
        self._book = book
        self._cashier = cashier
        self._store_of = store_of
        self._ended = ended
        self.given_back = 0
        """Packets that were ended with something left."""

    async def end(self, packet: Packet) -> int:
        """End one packet, and return what went back, in minor units. Ended before, it returns the same. Raises
        BookFailed, RecordsFailed and what stores raise."""
        (rest_minor,) = await self.end_all([packet])
        return rest_minor

    async def end_all(self, packets: Sequence[Packet]) -> list[int]:
        """The same for many."""
        rests: list[int] = []
        for first in range(0, len(packets), TAKEN_AT_ONCE):
            if first:
                await asyncio.sleep(REST_S)
            rests += await asyncio.gather(*map(self._take, packets[first : first + TAKEN_AT_ONCE]))
        credits_ = [
            Spending(rest_transfer(packet.id), packet.sender, rest)
            for packet, rest in zip(packets, rests, strict=True)
            if rest and not packet.sponsored
        ]
        if credits_:
            await self._cashier.credit_each(credits_, campaign=self._campaign, account=SPONSOR)
        await asyncio.to_thread(self._book.turn, [packet.id for packet in packets], Stage.OVER)
        self.given_back += len(credits_)
        return rests

    async def _take(self, packet: Packet) -> int:
        """Take what is left of the packet, and return what it is worth."""
        store = self._store_of(packet.id)
        self._ended(packet.id)
        try:
            state = await store.state(packet.pot)
            if state.claimed_ever >= packet.count:
                return 0
            runs = await store.take(packet.pot, packet.count, rest_transfer(packet.id))
        except KeyError:
            raise StoreUnavailable(f"packet {packet.id} is not open in its set now") from None
        return sum(sum(packet.amounts[run.first : run.end]) for run in runs)


class Expiry:
    """Ends packets at their deadlines. `run` it as a task; `stop` ends it."""

    def __init__(
        self,
        book: PacketBook,
        giving_back: GivingBack,
        now_us: Callable[[], int],
        *,
        paused: Callable[[], bool] = never,
        on_fault: Callable[[RedrushError], None] = ignore,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`paused`: operators want nothing moved now; `on_fault` hears of each fault before it is tried again."""
        self._book = book
        self._giving_back = giving_back
        self._now_us = now_us
        self._paused = paused
        self._on_fault = on_fault
        self._sleep = sleep
        self._stopping = False

    async def run(self) -> None:
        """End what is due until `stop`."""
        while not self._stopping:
            ended = 0
            if not self._paused():
                try:
                    ended = await self.look()
                except RedrushError as fault:
                    self._on_fault(fault)
            await self._sleep(REST_S if ended == ENDED_AT_ONCE else LOOK_S)

    async def look(self) -> int:
        """End some of what is due now; return how many these were. Raises BookFailed, RecordsFailed and what stores
        raise."""
        due = await asyncio.to_thread(self._book.due, self._now_us(), ENDED_AT_ONCE)
        if due:
            await self._giving_back.end_all([booked.packet for booked in due])
        return len(due)

    def stop(self) -> None:
        """End `run` at its next look."""
        self._stopping = True
