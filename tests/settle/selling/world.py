"""A sale without a gate: a store, a bank and a shop that are real, or break as real ones do, and a clock that obeys."""

import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from redrush.core.rush.campaign import Campaign, Kind, Leftover, Round, Slots, grant_id
from redrush.core.rush.sale import SaleTerms
from redrush.core.rush.sale_order import HoldKey, SaleOrder, Why
from redrush.errors import RedrushError
from redrush.ports.bill_book import BillState, KeptBill
from redrush.ports.buying import Told, Wish
from redrush.ports.provider import DESK, Accepted, Device, HandOver, Rejected, Terms, Unknown
from redrush.ports.records import RecordsFailed
from redrush.ports.sale_book import BookFailed
from redrush.ports.store import Claim, Confirmed, Grant, Held, PotTerms, Released, grants_of
from redrush.records.sqlite.sales import SqliteSaleBook
from redrush.settle.selling.book_writer import BookWriter
from redrush.settle.selling.desk import Desk
from redrush.settle.selling.selling import Selling
from redrush.settle.selling.steps import Partners, Steps, sources_of
from redrush.settle.selling.units import ONLY_SET, Units
from redrush.stores.memory import MemoryStore

OPENS_US = 1_800_000_000_000_000
SECOND_US = 1_000_000
HOLD_US = 60 * SECOND_US
PRICE_MINOR = 4_999
TERMS = SaleTerms(price_minor=PRICE_MINOR, hold_us=HOLD_US, return_every_us=30 * SECOND_US)


def campaign(units: int, terms: SaleTerms = TERMS) -> Campaign:
    sale = Round(
        id="sale",
        opens_us=OPENS_US,
        closes_us=OPENS_US + 3_600 * SECOND_US,
        kind=Kind.SALE,
        total_minor=0,
        min_minor=0,
        max_minor=0,
        slots=Slots(0, units),
        leftover=Leftover.RETURN,
        sale=terms,
    )
    return Campaign(id="c", name="a sale", currency="CNY", rounds=(sale,))


class Clock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.us = OPENS_US

    def __call__(self) -> int:
        return self.us


class Shop:
    """Takes each order once, refuses some for good, or is down: what it says depends on the lots that it draws."""

    def __init__(self, lots: random.Random) -> None:
        self.lots = lots
        self.down_share = 0.0
        self.refuse_share = 0.0
        self.has: dict[str, HandOver] = {}
        self.refused: set[str] = set()

    @property
    def terms(self) -> Terms:
        return Terms(currency="CNY")

    async def hand_over(self, what: HandOver) -> Accepted | Rejected | Unknown:
        if self.lots.random() < self.down_share / 2:
            return Unknown("no answer")  # nothing of it has arrived
        if what.number in self.refused:
            return Rejected("refused", final=True)
        if what.number not in self.has:
            if self.lots.random() < self.refuse_share:
                self.refused.add(what.number)
                return Rejected("refused", final=True)
            self.has[what.number] = what
        if self.lots.random() < self.down_share / 2:
            return Unknown("the answer was lost")
        return Accepted(what.number)


class ModelTill:
    """A payments part in a few lines: what it promises (`redrush.ports.cashier`), at its most unpleasant.

    Answers come before the provider has said how to pay, what has ended is told late and more than once, and some money
    comes after it was said that none can.
    """

    def __init__(self, clock: Clock, lots: random.Random) -> None:
        self._clock = clock
        self.lots = lots
        self.unsure_share = 0.0
        self.lies_share = 0.0
        self.asleep_share = 0.0
        """How often what comes late goes back before its owner is told: nobody was there."""
        self.bills: dict[str, KeptBill] = {}
        self.refunds: dict[str, KeptBill] = {}
        self.still_payable: set[str] = set()
        self.given_back: set[str] = set()
        """What came late and goes back by itself: nobody may keep it any more."""
        self.untold: list[KeptBill] = []

    def can_take(self, provider: str) -> bool:
        return True

    async def charge(
        self,
        source: str,
        *,
        campaign: str,
        user: str,
        provider: str,
        currency: str,
        amount_minor: int,
        subject: str,
        expires_us: int,
        account: str = "",
        device: Device = DESK,
        wait_s: float = 3.0,
    ) -> KeptBill:
        if source not in self.bills:
            made = KeptBill(
                id=len(self.bills), kind="payin", source=source, campaign=campaign, user=user, provider=provider,
                currency=currency, amount_minor=amount_minor, subject=subject, to="", of="", account=account, how="qr",
                attempt=1, number=source, state=BillState.OPEN, made_us=self._clock(), changed_us=self._clock(),
                asked_us=self._clock(), next_us=None, looks=0, expires_us=expires_us, detail="qr:pay me", reference="",
                fee_minor=0, done_us=None, version=1,
            )  # fmt: skip
            self.bills[source] = made
        bill = self.bills[source]
        if bill.state is BillState.OPEN and self.lots.random() < self.unsure_share:
            return msgspec.structs.replace(bill, state=BillState.ASKED, detail="")
        return bill

    async def look(self, source: str) -> KeptBill | None:
        return self.bills.get(source)

    async def close(self, source: str, wait_s: float = 3.0) -> KeptBill | None:
        bill = self.bills.get(source)
        if bill is None or bill.is_final:
            return bill
        if self.lots.random() < self.unsure_share:
            return msgspec.structs.replace(bill, state=BillState.CLOSING)
        if self.lots.random() < self.lies_share:
            self.still_payable.add(source)
        self._end(bill, BillState.CLOSED)
        return self.bills[source]

    async def refund(self, source: str, *, of: str, amount_minor: int, reason: str) -> KeptBill:
        paid = self.bills[of]
        assert paid.state is BillState.DONE, "what came late is given back by the payments part"
        if source not in self.refunds:
            self.refunds[source] = msgspec.structs.replace(
                paid, kind="refund", source=source, state=BillState.PENDING, amount_minor=amount_minor, of=of,
                done_us=None,
            )  # fmt: skip
        return self.refunds[source]

    async def refund_rest(self, source: str, *, of: str, reason: str) -> KeptBill | None:
        gone_minor = sum(one.amount_minor for key, one in self.refunds.items() if one.of == of and key != source)
        left_minor = self.bills[of].amount_minor - gone_minor
        return await self.refund(source, of=of, amount_minor=left_minor, reason=reason) if left_minor else None

    async def keep_late(self, source: str) -> KeptBill | None:
        """One choice, durable: kept, or given back. It may be lost whether it was made."""
        bill = self.bills[source]
        if self.lots.random() < self.unsure_share:
            raise RecordsFailed("the book was away before it was kept")
        if bill.state is BillState.PAID_LATE and source not in self.given_back:
            self._end(bill, BillState.DONE)
        if self.lots.random() < self.unsure_share:
            raise RecordsFailed("the book was away after it was kept")
        return self.bills[source]

    def give_back(self, source: str) -> None:
        """The payments part refunds what came late, if nobody has kept it: nobody was there to, or has let it go."""
        if self.bills[source].state is BillState.PAID_LATE:
            self.given_back.add(source)

    # -- the other end

    def pay(self, source: str) -> None:
        """Somebody pays, if that is possible."""
        bill = self.bills[source]
        if bill.state is BillState.OPEN:
            self._end(bill, BillState.DONE)
        elif source in self.still_payable:
            self.still_payable.discard(source)
            self._end(bill, BillState.PAID_LATE)
            if self.lots.random() < self.asleep_share:
                self.give_back(source)

    def payable(self) -> list[str]:
        return sorted(
            source
            for source, bill in self.bills.items()
            if bill.state is BillState.OPEN or source in self.still_payable
        )

    async def tell(self, hear: Callable[[KeptBill], Awaitable[None]]) -> None:
        """Tell of what has ended; what could not be heard is told again."""
        for source, refund in self.refunds.items():
            if refund.state is BillState.PENDING and self.lots.random() >= self.unsure_share:
                self.refunds[source] = msgspec.structs.replace(refund, state=BillState.DONE, done_us=self._clock())
                self.untold.append(self.refunds[source])
        untold, self.untold = self.untold, []
        for bill in untold:
            try:
                await hear(bill)
            except (BookFailed, RecordsFailed):
                self.untold.append(bill)
                continue
            if bill.kind == "payin":
                self.give_back(bill.source)
            if self.lots.random() < self.unsure_share:
                self.untold.append(bill)

    def _end(self, bill: KeptBill, state: BillState) -> None:
        paid = state is not BillState.CLOSED
        ended = msgspec.structs.replace(bill, state=state, done_us=self._clock() if paid else None)
        self.bills[bill.source] = ended
        self.untold.append(ended)


class MortalWriter(BookWriter):
    """Dies, now and then, between what a step did and its being written down."""

    def __init__(self, book: SqliteSaleBook, lots: random.Random) -> None:
        super().__init__(book)
        self.lots = lots
        self.dies_share = 0.0

    async def keep(self, order: SaleOrder) -> SaleOrder | None:
        if self.lots.random() < self.dies_share:
            return None
        return await super().keep(order)


class World:
    """See the module."""

    def __init__(
        self,
        directory: Path,
        units: int,
        lots: random.Random,
        *,
        shop: bool = True,
        sets: tuple[str, ...] = (ONLY_SET,),
    ) -> None:
        self.units = units
        self.clock = Clock()
        self.stores = {set_: MemoryStore() for set_ in sets}
        self.places = Units(self.stores, lambda _pot: sets)
        self.moves = 0
        self.till = ModelTill(self.clock, lots)
        self.shop = Shop(lots) if shop else None
        self.book = SqliteSaleBook.open_path(directory / "sales.db")
        self.writer = MortalWriter(self.book, lots)
        self.campaign = campaign(units, msgspec.structs.replace(TERMS, shop="shop" if shop else None))
        self.faults: list[str] = []
        self.offered: list[int] = []
        self.begin()

    def begin(self) -> None:
        """Begin as after a crash: nothing is remembered but what is in store and book."""
        partners = Partners(frozenset({"bank"}), {} if self.shop is None else {"shop": self.shop})
        steps = Steps(self.campaign, self.places, self.till, partners, self.clock)
        self.selling = Selling(
            self.campaign,
            self.places,
            self.book,
            self.writer,
            steps,
            {set_: partial(self.holds_due, set_) for set_ in self.stores},
            self.clock,
            offered=lambda _pot: self.offered.append(self.clock()),
            on_fault=self._failed,
        )
        self.desk = Desk(self.campaign, self.places, self.book, self.writer, steps, self.clock, self.selling.nudge)

    def _failed(self, fault: RedrushError) -> None:
        if not isinstance(fault, RecordsFailed):  # then the book of bills was away, and is asked again
            self.faults.append(str(fault))

    async def open(self) -> None:
        first = 0
        for number, store in enumerate(self.stores.values(), start=1):
            end = self.units * number // len(self.stores)
            await store.open([PotTerms("sale", Slots(first, end - first), hold_us=HOLD_US)])
            first = end

    async def move(self, source: str, target: str, count: int) -> None:
        """Units that nobody has go from one set to another."""
        self.moves += 1
        slots = await self.stores[source].take("sale", count, f"move {self.moves}")
        await self.stores[target].give("sale", slots, f"move {self.moves}")

    async def left(self) -> int:
        return sum([(await store.state("sale")).left for store in self.stores.values()])

    async def close(self) -> None:
        await self.selling.quiet()
        await self.writer.close()
        self.book.close()

    # -- what people do

    async def grab(self, user: str) -> str | None:
        """Return the grant that the user holds, or None."""
        store = self.stores[self.places.home("sale", user)]
        [claimed] = await store.claim([Claim("sale", user)], self.clock())
        return grant_id("c", "sale", claimed.slot) if isinstance(claimed, Held) else None

    async def pay(self, user: str, grant: str) -> Told:
        return await self.desk.pay(user, grant, Wish())

    async def look(self, times: int = 1) -> None:
        for _ in range(times):
            await self.selling.look()
            await self.selling.quiet()
            await self.till.tell(self.selling.heard)

    async def pass_time(self, seconds: float) -> None:
        self.clock.us += int(seconds * SECOND_US)

    # -- the truth

    def live(self) -> dict[HoldKey, Grant]:
        """Return every hold and sold unit, from the logs alone."""
        found: dict[HoldKey, Grant] = {}
        for set_, store in self.stores.items():
            for record in store._log:
                for grant in grants_of(record):
                    found[set_, grant.pot, grant.slot, grant.number] = grant
                if isinstance(record, Released):
                    for hold in record.holds:
                        del found[set_, hold.pot, hold.slot, hold.number]
        return found

    def sold(self) -> set[HoldKey]:
        return {
            (set_, hold.pot, hold.slot, hold.number)
            for set_, store in self.stores.items()
            for record in store._log
            if isinstance(record, Confirmed)
            for hold in record.holds
        }

    def holds_due(self, set_: str, until_us: int, place: int, limit: int) -> Sequence[Grant]:
        sold = self.sold()
        due = [
            hold
            for key, hold in self.live().items()
            if key[0] == set_ and key not in sold and (hold.until_us or 0) <= until_us
        ]
        return due[place : place + limit]

    async def audit(self) -> None:
        """Raise unless every cent that came has a unit or went back, and every unit is somebody's or left."""
        live, sold = self.live(), self.sold()
        assert len({slot for _, _, slot, _ in live}) == len(live), "a slot is held twice"
        assert await self.left() + len(live) == self.units
        assert sold <= live.keys(), "what was sold came back"
        orders = {order.id: order for order in self.book.all()}
        paid = {key for key, bill in self.till.bills.items() if bill.state is BillState.DONE}
        back = {key for key, refund in self.till.refunds.items() if refund.state is BillState.DONE}
        late = {key for key, bill in self.till.bills.items() if bill.state is BillState.PAID_LATE}
        assert late == self.till.given_back, "what came late is kept, or goes back"
        given_back_and_sold = 0
        for source in paid:
            order = orders[source.removeprefix(sources_of("c"))]
            has_unit = order.hold in sold and live[order.hold].user == order.user
            if order.why is Why.CANCELLED:
                assert source in back, f"{order}: it is cancelled, and nothing went back"
                assert has_unit or order.hold not in sold
                given_back_and_sold += has_unit
                continue
            assert has_unit != (source in back), f"{order}: has a unit: {has_unit}, went back: {source in back}"
        assert back <= paid
        assert len(sold) == len(paid) - len(back) + given_back_and_sold, "units sold are payments kept"


__all__ = ["HOLD_US", "OPENS_US", "PRICE_MINOR", "SECOND_US", "World", "campaign"]
