"""Packets between people where they are created, paid and ended: in the serving process, or in the payments role."""

import asyncio
from collections.abc import Callable
from typing import Final

from redrush.core.rush.group import BALANCE, GroupTerms, Packet, payment_of
from redrush.errors import RedrushError
from redrush.gate.group.counter import give_back
from redrush.gate.group.parts import Desk, ServedGroup
from redrush.gate.group.splitting import split_packet
from redrush.gate.rush.packet_homes import terms_in
from redrush.ports.bill_book import BillState, KeptBill
from redrush.ports.packets import Booked, PacketBook, Stage
from redrush.ports.store import Store
from redrush.settle.giving_back.expiry import Expiry, GivingBack
from redrush.settle.paying.payments import Payments
from redrush.wiring.role import Parts

PAYING_AT_ONCE: Final = 256
AGAIN_S: Final = 1.0
"""How soon after a fault payments are seen to again."""


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
        self._campaign = campaign
        self._book = book
        self._store_of = store_of
        self._now_us = now_us
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
            parts.add("packets that were being paid", self._end_payments())
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

    async def _end_payments(self) -> None:
        """See to packets that were being paid when the last life ended, where none are created any more."""
        while True:
            try:
                while paying := await asyncio.to_thread(self._book.paying, "", PAYING_AT_ONCE):
                    for booked in paying:
                        await self._end_payment(booked.packet)
            except RedrushError as fault:
                self._on_fault(fault)
                await asyncio.sleep(AGAIN_S)
            else:
                return

    async def _end_payment(self, packet: Packet) -> None:
        """Open what its sender has paid, so that it ends like any other, and cancel what nobody has. Raises BookFailed,
        RecordsFailed and what stores raise."""
        source = payment_of(self._campaign, packet.id)
        if not packet.amounts and not await self._payments.was_spent(source, campaign=self._campaign):
            await asyncio.to_thread(self._book.turn, [packet.id], Stage.OVER)
            return
        if not packet.amounts:
            packet = split_packet(packet, GroupTerms(), self._now_us())
            await asyncio.to_thread(self._book.keep, [Booked(packet, Stage.PAYING)])
        store = self._store_of(packet.id)
        await store.open([terms_in(store, packet)])
        await asyncio.to_thread(self._book.turn, [packet.id], Stage.OPEN)

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
