"""Packets between people where they are created, paid and ended: in the serving process, or in the payments role."""

import asyncio
from collections.abc import Callable

from redrush.core.rush.group import BALANCE, payment_of
from redrush.errors import RedrushError
from redrush.gate.group.counter import give_back
from redrush.gate.group.parts import Desk, ServedGroup
from redrush.ports.bill_book import BillState, KeptBill
from redrush.ports.packets import PacketBook, Stage
from redrush.ports.store import Store
from redrush.settle.giving_back.expiry import Expiry, GivingBack
from redrush.settle.paying.payments import Payments
from redrush.wiring.role import Parts


class PacketDesk:
    """See the module. Hand its `desk` to who serves packets, then `start`, then `stop`."""

    def __init__(
        self,
        campaign: str,
        book: PacketBook,
        payments: Payments,
        store_of: Callable[[str], Store],
        now_us: Callable[[], int],
        *,
        paused: Callable[[], bool],
        on_fault: Callable[[RedrushError], None],
    ) -> None:
        """`store_of` finds the set of a packet, `paused` tells whether operators want nothing moved now."""
        self._book = book
        self._payments = payments
        self._sources = payment_of(campaign, "")
        self._on_fault = on_fault
        self._served: ServedGroup | None = None
        self._expiring: asyncio.Task[None] | None = None
        giving_back = GivingBack(campaign, book, payments, store_of, ended=self._ended)
        self._expiry = Expiry(book, giving_back, now_us, paused=paused, on_fault=on_fault)
        self.desk = Desk(book, payments, giving_back.end)

    def _ended(self, packet: str) -> None:
        if self._served is not None:
            self._served.packets.ended(packet)

    def start(self, served: ServedGroup | None, parts: Parts, payments_file: str) -> None:
        """Take up what was under way, and end packets at their deadlines. `served` None: no packet is created any more,
        those that there are end. `payments_file` is what operators call it."""
        self._served = served
        if served is not None and (counter := served.counter) is not None:
            served.start()
            pay = counter.terms.pay
            if pay != BALANCE and not self._payments.can_take(pay):
                self._on_fault(RedrushError(f'packets cannot be paid: {payments_file} has no provider "{pay}"'))
        else:
            self._payments.on_ended(self._sources, self._refuse)
        self._expiring = parts.add("expiry of packets", self._expiry.run())

    async def _refuse(self, bill: KeptBill) -> None:
        """A provider was paid for a packet where none are paid any more: it was cancelled with all others that were
        not paid by then, and the money goes back. Raises BookFailed and RecordsFailed."""
        packet = bill.source.removeprefix(self._sources)
        booked = await asyncio.to_thread(self._book.find, packet)
        if booked is None or booked.packet.amounts or bill.kind != "payin" or bill.state is not BillState.DONE:
            return
        await asyncio.to_thread(self._book.turn, [packet], Stage.OVER)  # first: then it is never opened
        await give_back(self._payments, bill)

    def has_unheard(self) -> bool:
        """Whether a packet has not heard yet what became of its payment at a provider. Blocks. Raises RecordsFailed."""
        return self._payments.has_unheard(self._sources)

    async def stop(self) -> None:
        """End what was begun, after the steps under way."""
        self._payments.hears_no_more(self._sources)
        self._expiry.stop()
        if self._served is not None and self._served.counter is not None:
            await self._served.counter.drained()
        if self._expiring is not None:
            await asyncio.wait([self._expiring])
