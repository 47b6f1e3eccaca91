"""The counter where group packets are created and paid.

A packet passes it in steps, each for many at once. It is *created*: written into the book, with all that its sender has
said, and answered as unpaid. It is *paid*: out of the balances of the senders of a batch, in one durable step that
leaves out whoever has not enough; or, where a provider takes the money, when that has said so. Only then it is split,
the book keeps what its shares hold, and its pot is opened: from now on there is something to be grabbed.

Each step is named by the packet and done once, whoever asks and however often. So a crash in any gap loses nothing:
what was under way is taken up again (`resume`) from the first step on.

All of it is off the path of claims: the book is read and written in threads of the counter's own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import tzinfo
from enum import Enum
from typing import Final, TypeVar

import msgspec

from redrush.core.money.ledger import SPONSOR
from redrush.core.nobody import ignore
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.group import BALANCE, GroupTerms, Packet, payment_of
from redrush.core.rush.zones import day_begins_us, parse_zone
from redrush.dependency import Unanswered
from redrush.errors import RedrushError
from redrush.gate.group.book_thread import BookThread
from redrush.gate.group.splitting import split_packet
from redrush.gate.group.together import AT_ONCE_MAX, WAITING_MAX, Together
from redrush.gate.rush.packet_homes import PacketHome
from redrush.ports.bill_book import BillState, Entered, KeptBill
from redrush.ports.cashier import Cashier, Spending
from redrush.ports.packets import Booked, BookFailed, PacketBook, Stage
from redrush.ports.provider import Device

RESUMED_MAX: Final = 1_000
"""Packets read at a time when payments are taken up again."""

LOOK_AGAIN_S: Final = 0.5
"""How soon a payment is tried again that failed because something was away."""

PAYING_MAX_US: Final = 900_000_000
"""How long a provider may be paid for a packet: 15 minutes."""

_T = TypeVar("_T")


class Unpaid(Enum):
    """Why a packet is not paid now."""

    SHORT = "short"
    DAY = "sender_day_max"
    CANCELLED = "cancelled"


class NotPaid(msgspec.Struct, frozen=True):
    """The packet stays unpaid. `available_minor`: what the sender owns, or had left to give today."""

    why: Unpaid
    available_minor: int = 0


Paying = Packet | NotPaid
"""The packet as it is open now; or why it is not."""


async def give_back(cashier: Cashier, paid: KeptBill) -> None:
    """Refund what a provider was paid for a packet that was cancelled, once however often this is done."""
    source, reason = f"{paid.source}:back", "the packet was cancelled"
    await cashier.refund(source, of=paid.source, amount_minor=paid.amount_minor, reason=reason)


class Counter:
    """See the module. Not thread-safe: it lives on the event loop."""

    def __init__(
        self,
        campaign: Campaign,
        terms: GroupTerms,
        book: PacketBook,
        cashier: Cashier,
        home_of: Callable[[str], PacketHome],
        now_us: Callable[[], int],
        *,
        failed: Callable[[RedrushError], None] = ignore,
    ) -> None:
        """`home_of` returns the set that a packet, by its id, is at home in; `failed` hears of what is tried again."""
        self.home_of = home_of
        self.terms = terms
        self.book = book
        self.cashier = cashier
        self._campaign = campaign.id
        self._currency = campaign.currency
        self._zone: tzinfo = parse_zone(campaign.timezone)
        self._now_us = now_us
        self._failed = failed
        self._writing = BookThread("redrush-packets")
        self._reading = BookThread("redrush-packet-look")
        self._finds = BookThread("redrush-packet-find")
        """Where packets are found that wake: of others' lists of packets their reading is waited for, nothing else."""
        self._finding = Together[str, Booked | None](self.find_each, at_once_max=AT_ONCE_MAX, waiting_max=WAITING_MAX)
        self._adding = Together[Booked, Booked](self._add, at_once_max=AT_ONCE_MAX, waiting_max=WAITING_MAX)
        self._paying = Together[Packet, Paying | Unanswered](
            self._pay, at_once_max=AT_ONCE_MAX, waiting_max=WAITING_MAX
        )
        self._in_payment: set[str] = set()
        self._fresh: set[str] = set()
        """Packets that were created in this life, and of which the book knows nothing more yet."""
        self._cancelling: set[str] = set()
        self._under_way: set[asyncio.Task[None]] = set()
        self.created = 0
        self.paid = 0

    # -- reading and writing the book

    async def find(self, packet: str) -> Booked | None:
        """Return the packet of that id as the book has it. Raises BookFailed; as such also where too many ask."""
        found = await self._finding.do(packet)
        if isinstance(found, Unanswered):
            raise BookFailed("too many packets are looked for at once")
        return found

    async def find_each(self, packets: Sequence[str]) -> Sequence[Booked | None]:
        """The same for many, whoever looks for others meanwhile."""
        return await self._finds.do(self.book.find_each, packets)

    async def of_sender(self, user: str, limit: int) -> list[Booked]:
        """Return the sender's last packets. Raises BookFailed."""
        return await self._reading.do(self.book.of_sender, user, limit)

    async def may_give(self, user: str) -> tuple[int, int]:
        """Return what the user may spend and what they may still give today, minor units. Raises RedrushError."""
        owned = await self.cashier.owned(self._campaign, user)
        given = await self._reading.do(self._given, [user])
        return owned.available_minor, max(0, self.terms.sender_day_minor_max - given[user])

    async def write(self, call: Callable[..., _T], *arguments: object) -> _T:
        """Return what a call of the book returns that writes. Raises BookFailed."""
        return await self._writing.do(call, *arguments)

    # -- creating

    async def create(self, packet: Packet) -> Booked | Unanswered:
        """Write a packet down, durably, and begin to pay it; return it, or the one that the same request has created
        before. FULL if too many are under way. Raises BookFailed."""
        booked = await self._adding.do(Booked(packet, Stage.PAYING if self.pays_at_once(packet) else Stage.UNPAID))
        if isinstance(booked, Booked) and booked.packet.id == packet.id:
            self.created += 1
            if self.pays_at_once(packet):
                self._fresh.add(packet.id)
                self._paying.add(packet)
        return booked

    async def _add(self, packets: Sequence[Booked]) -> Sequence[Booked]:
        return await self.write(self.book.add, packets)

    def pays_at_once(self, packet: Packet) -> bool:
        """Whether nobody has to do anything for the packet to be paid."""
        return packet.sponsored or self.terms.pay == BALANCE

    def can_be_paid(self, packet: Packet) -> bool:
        """Whether there is anybody who would take the money for it."""
        return self.pays_at_once(packet) or self.cashier.can_take(self.terms.pay)

    async def cancel(self, packet: Packet) -> bool:
        """Let a packet that is not paid never be; return False if it is, or is about to be. Raises BookFailed and
        RecordsFailed."""
        if packet.id in self._in_payment or packet.sponsored:
            return False
        self._cancelling.add(packet.id)
        try:
            if not self.pays_at_once(packet):
                bill = await self.cashier.close(self._source(packet.id))
                if bill is not None and bill.state not in (BillState.CLOSED, BillState.FAILED, BillState.CANCELLED):
                    return False
            elif await self.cashier.was_spent(self._source(packet.id), campaign=self._campaign):
                return False
            await self.write(self.book.turn, [packet.id], Stage.OVER)
        finally:
            self._cancelling.discard(packet.id)
        return True

    # -- paying

    @property
    def sources(self) -> str:
        """How the sources of all payments of its packets begin."""
        return payment_of(self._campaign, "")

    def _source(self, packet: str) -> str:
        return payment_of(self._campaign, packet)

    async def charge(self, packet: Packet, device: Device) -> KeptBill:
        """Let the sender pay a packet at the provider with this, and return how far that is. Asked again, the provider
        is asked, too: a notice may be lost. Raises RecordsFailed, and RedrushError where nobody takes money."""
        if (known := await self.cashier.look(self._source(packet.id))) is not None:
            known = known if known.is_final else await self.cashier.ask(self._source(packet.id)) or known
            if known.is_final:
                return known
        return await self.cashier.charge(
            self._source(packet.id),
            campaign=self._campaign,
            user=packet.sender,
            provider=self.terms.pay,
            currency=self._currency,
            amount_minor=packet.total_minor,
            subject=packet.greeting or packet.id,
            expires_us=packet.created_us + PAYING_MAX_US,
            account=SPONSOR,
            device=device,
        )

    async def heard(self, bill: KeptBill) -> None:
        """A provider's pay-in has ended: see to a packet that it has paid. What came too late goes back by itself.
        Raises what `pay` raises."""
        booked = await self.find(bill.source.removeprefix(self.sources))
        if booked is None or bill.kind != "payin" or bill.state is not BillState.DONE:
            return
        if booked.stage is Stage.OVER and booked.packet.amounts:
            return  # it was paid and opened before, and is over: who is told again gives nothing back
        if booked.stage is Stage.OVER:
            await give_back(self.cashier, bill)
            return
        await self.pay(booked.packet)

    async def pay(self, packet: Packet) -> Paying | Unanswered:
        """Pay a packet that is in the book, once, and open it. FULL if too many are under way. Raises BookFailed,
        RecordsFailed and what stores raise: then it may be paid, and is asked for again."""
        return await self._paying.do(packet)

    async def _pay(self, packets: Sequence[Packet]) -> Sequence[Paying | Unanswered]:
        """Pay for a batch. One that stands twice in it is paid once; one that somebody is about to cancel is asked for
        again."""
        wanted = {packet.id: packet for packet in packets}
        self._in_payment.update(wanted)
        try:
            certain = [packet for packet in wanted.values() if packet.id not in self._cancelling]
            done: dict[str, Paying | Unanswered] = dict.fromkeys(self._cancelling, Unanswered.FULL)
            done |= await self._pay_each(certain)
        except RedrushError as fault:
            self._failed(fault)
            self._again(wanted.values())
            raise
        else:
            self._again([wanted[packet] for packet in wanted if packet in self._cancelling])
        finally:
            self._in_payment.clear()
            self._fresh.difference_update(wanted)
        return [done.get(packet.id, NotPaid(Unpaid.CANCELLED)) for packet in packets]

    def _again(self, packets: Iterable[Packet]) -> None:
        """See to payments of which nobody waits to hear that they were not made."""
        for packet in packets:
            if packet.id in self._fresh:
                self._begin(self._see_through(packet))

    async def _pay_each(self, packets: Sequence[Packet]) -> dict[str, Paying]:
        """Return what became of each that the book still wants to be paid."""
        booked, given = await self._reading.do(self._look, packets)
        done: dict[str, Paying] = {one.packet.id: one.packet for one in booked if one.stage is Stage.OPEN}
        wanted = [one.packet for one in booked if one.stage in (Stage.PAYING, Stage.UNPAID)]
        paid = [packet for packet in wanted if not self._is_spent_here(packet)]
        spending = [packet for packet in wanted if self._is_spent_here(packet)]
        allowed: list[Packet] = []
        for packet in spending:
            left_minor = self.terms.sender_day_minor_max - given[packet.sender]
            if packet.paid_us is None and packet.total_minor > left_minor:
                # Who was allowed to before a crash has paid, and is not refused now.
                if not await self.cashier.was_spent(self._source(packet.id), campaign=self._campaign):
                    done[packet.id] = NotPaid(Unpaid.DAY, max(0, left_minor))
                    continue
            elif packet.paid_us is None:
                given[packet.sender] += packet.total_minor
            allowed.append(packet)
        entered = await self._spend(allowed)
        for packet, became in zip(allowed, entered, strict=True):
            if became is Entered.NOT_COVERED:
                owned = await self.cashier.owned(self._campaign, packet.sender)
                done[packet.id] = NotPaid(Unpaid.SHORT, owned.available_minor)
            else:
                paid.append(packet)
        short = [packet for packet, became in done.items() if isinstance(became, NotPaid)]
        split = await self.write(self._keep, paid, short, self._now_us())
        await self._open(split)
        return done | {packet.id: packet for packet in split}

    def _is_spent_here(self, packet: Packet) -> bool:
        """Whether the packet is paid out of its sender's balance, by this counter."""
        return self.terms.pay == BALANCE and not packet.sponsored

    async def _spend(self, packets: Sequence[Packet]) -> list[Entered]:
        if not packets:
            return []
        spendings = [Spending(self._source(packet.id), packet.sender, packet.total_minor) for packet in packets]
        return await self.cashier.spend_each(spendings, campaign=self._campaign, account=SPONSOR)

    def _look(self, packets: Sequence[Packet]) -> tuple[list[Booked], dict[str, int]]:
        """Return the packets as the book has them now, and what their senders gave today. Blocks."""
        fresh = [Booked(packet, Stage.PAYING) for packet in packets if packet.id in self._fresh]
        others = self.book.find_each([packet.id for packet in packets if packet.id not in self._fresh])
        found = [*fresh, *(one for one in others if one is not None)]
        return found, self._given({packet.sender for packet in packets})

    def _given(self, senders: Iterable[str]) -> dict[str, int]:
        return self.book.given_minor(senders, day_begins_us(self._now_us(), self._zone))

    def _keep(self, paid: Sequence[Packet], short: Sequence[str], now_us: int) -> list[Packet]:
        """Split those that are paid, unless they were before, and write it all down. Blocks."""
        split = [packet if packet.amounts else split_packet(packet, self.terms, now_us) for packet in paid]
        if split:
            self.book.keep([Booked(packet, Stage.PAYING) for packet in split])
        if short:
            self.book.turn(short, Stage.UNPAID)
        return split

    async def _open(self, split: Sequence[Packet]) -> None:
        by_home: dict[PacketHome, list[Packet]] = {}
        for packet in split:
            by_home.setdefault(self.home_of(packet.id), []).append(packet)
        await asyncio.gather(*(home.store.open(list(map(home.terms, packets))) for home, packets in by_home.items()))
        if split:
            self.paid += len(split)
            await self.write(self.book.turn, [packet.id for packet in split], Stage.OPEN)

    # -- beginning and ending

    def start(self) -> None:
        """Hear of what providers were paid, and take up payments that were under way when the last life ended."""
        self.cashier.on_ended(self.sources, self.heard)
        self._begin(self.resume())

    async def resume(self) -> None:
        """Take up payments that were under way."""
        after = ""
        while booked := await self._reading.do(self.book.paying, after, RESUMED_MAX):
            after = booked[-1].packet.id
            for one in booked:
                await self._see_through(one.packet)

    async def _see_through(self, packet: Packet) -> None:
        """Pay the packet, or find that it cannot be paid; ask again while that is not known."""
        while True:
            try:
                if not isinstance(await self.pay(packet), Unanswered):
                    return
            except RedrushError as fault:
                self._failed(fault)
            await asyncio.sleep(LOOK_AGAIN_S)

    def _begin(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(self._told(work))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _told(self, work: Awaitable[None]) -> None:
        try:
            await work
        except RedrushError as fault:
            self._failed(fault)

    async def drained(self) -> None:
        """Return when what was begun is done."""
        await self._adding.drained()
        await self._paying.drained()

    def close(self) -> None:
        """Let no thread outlive the counter, and no task."""
        self.cashier.hears_no_more(self.sources)
        for task in self._under_way:
            task.cancel()
        for thread in (self._writing, self._reading, self._finds):
            thread.close()
