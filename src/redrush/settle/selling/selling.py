"""Drives the orders of a campaign's sales: closes what is overdue, asks, releases, hands over, refunds, offers again.

All it knows is in the book and in the records: whoever takes it up after a crash goes on where the last one was. Each
order is led by one task at a time, and of those that wait for the same neighbour (payments, shop, store) only so many
at once: a shop that hangs leaves payments and releases their places.

A hold that nobody has begun to pay for is written down as coming back before it is released, by the same rule of the
book by which a payment begins: of the two the first one counts.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from redrush.core.nobody import ignore, never
from redrush.core.rush.campaign import Campaign, Round, grant_id
from redrush.core.rush.sale import next_chance_us
from redrush.core.rush.sale_order import LATE_PREFIX, HoldKey, SaleOrder, State, Why, order_id
from redrush.errors import RedrushError
from redrush.ports.bill_book import KeptBill
from redrush.ports.sale_book import BookFailed, SaleBook
from redrush.ports.store import Grant, StoreFailed
from redrush.settle.selling.book_writer import BookWriter
from redrush.settle.selling.steps import Steps
from redrush.settle.selling.units import Units

LOOK_S: Final = 0.25
"""How often it is looked for what is due."""

DUE_AT_ONCE_MAX: Final = 500
"""Orders, and holds, that one look takes up."""

PAYMENTS_AT_ONCE_MAX: Final = 64
SHOP_AT_ONCE_MAX: Final = 16
STORE_AT_ONCE_MAX: Final = 256
"""Orders that wait for the same neighbour at once."""

KEPT_TRIES_MAX: Final = 10
"""How often what became of a payment is written down anew, because its buyer was first."""


HoldsDue = Callable[[int, int, int], Sequence[Grant]]
"""Returns live holds whose deadline is over by the first number: so many (the third) from a place (the second) on. It
blocks."""


class Selling:
    """See the module. `run` it as a task; `stop` ends it."""

    def __init__(  # noqa: PLR0913 - its neighbours, and who is told
        self,
        campaign: Campaign,
        units: Units,
        book: SaleBook,
        writer: BookWriter,
        steps: Steps,
        holds_due: Mapping[str, HoldsDue],
        now_us: Callable[[], int],
        *,
        offered: Callable[[str], None] = ignore,
        paused: Callable[[], bool] = never,
        on_fault: Callable[[RedrushError], None] = ignore,
    ) -> None:
        """`holds_due` by set. `offered` hears of each pot that units were offered in again. While `paused` nothing is
        done."""
        self._campaign = campaign
        self._units = units
        self._book = book
        self._writer = writer
        self._steps = steps
        self._holds_due = holds_due
        self._now_us = now_us
        self._offered = offered
        self._paused = paused
        self._on_fault = on_fault
        self._led: dict[str, asyncio.Task[None]] = {}
        self._waits_for: Counter[str] = Counter()
        self._entered: set[HoldKey] = set()
        """Holds that are over and stand in the book."""
        self._offer_at_us: dict[str, int] = {}
        self._stopping = False
        self._hearing = asyncio.Lock()
        self._wake = asyncio.Event()

    def amend(self, campaign: Campaign) -> None:
        """Know the rounds of this campaign from now on."""
        self._campaign = campaign
        self._steps.amend(campaign)

    def nudge(self) -> None:
        """Look at once: something has come to be due."""
        self._wake.set()

    async def run(self) -> None:
        """Go on until `stop`, or until the store has failed."""
        try:
            while not self._stopping:
                if not self._paused():
                    try:
                        await self.look()
                    except StoreFailed as fault:
                        self._on_fault(fault)
                        return
                    except RedrushError as fault:
                        self._on_fault(fault)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._wake.wait()
                self._wake.clear()
        finally:
            await self.quiet()

    async def stop(self) -> None:
        """End `run`, after the steps under way."""
        self._stopping = True
        self._wake.set()

    async def heard(self, bill: KeptBill) -> None:
        """A payment, or a refund, has ended: write down what follows. Raises BookFailed and RecordsFailed; it is to be
        told again."""
        async with self._hearing:
            await self._heard(bill)

    async def _heard(self, bill: KeptBill) -> None:
        for _ in range(KEPT_TRIES_MAX):
            order = await self._writer.ask(self._book.get, self._steps.order_of(bill))
            if order is None:
                return
            if bill.kind == "refund":
                after = self._steps.told_of_refund(order, bill)
            else:
                after = await self._steps.told(order, bill)
            if after.state is order.state and after.paid_us == order.paid_us:
                return
            if await self._writer.keep(after) is not None:
                self.nudge()
                return
        raise BookFailed(f"order {bill.source} is being changed all the time; what became of its payment is told again")

    async def look(self) -> None:
        """Take up what is due now. Its steps go on when this has returned; `quiet` waits for them."""
        await self._enter_overdue()
        for order in await self._writer.ask(self._book.due, self._now_us(), DUE_AT_ONCE_MAX):
            self._lead(order)
        for round_ in self._campaign.rounds:
            if round_.sale is not None:
                await self._offer(round_)

    async def quiet(self) -> None:
        """Return when no step is under way, and nothing is being heard."""
        while self._led:
            await asyncio.wait(self._led.values())
        async with self._hearing:
            pass

    # -- orders

    def _lead(self, order: SaleOrder) -> None:
        """Take the order's next steps, unless that is being done, or too many wait for the same neighbour."""
        neighbour, at_once_max = _NEIGHBOURS.get(order.state, ("payments", PAYMENTS_AT_ONCE_MAX))
        if order.id in self._led or self._waits_for[neighbour] >= at_once_max:
            return
        self._waits_for[neighbour] += 1
        task = self._led[order.id] = asyncio.create_task(self._step(order), name=f"order {order.id}")
        task.add_done_callback(lambda _: self._left(order.id, neighbour))

    def _left(self, order: str, neighbour: str) -> None:
        self._waits_for[neighbour] -= 1
        self._led.pop(order, None)

    async def _step(self, order: SaleOrder) -> None:
        try:
            stepped = await self._steps.take(order)
            await self._writer.keep(stepped)  # None: its buyer was first; it is looked at again
        except RedrushError as fault:
            self._on_fault(fault)
            await asyncio.sleep(LOOK_S)  # it is due still: not again at once
        else:
            if stepped.state is not order.state:
                self._wake.set()

    # -- holds that nobody has begun to pay for

    async def _enter_overdue(self) -> None:
        """Write down, as coming back, what is held beyond its time and stands in no order. Records that are away are
        told of: what is due in others, and what stands in the book, goes on."""
        still_due: set[HoldKey] = set()
        for set_, holds_due in self._holds_due.items():
            try:
                still_due |= await self._enter_overdue_of(set_, holds_due)
            except RedrushError as fault:
                self._on_fault(fault)
                still_due |= {key for key in self._entered if key[0] == set_}
        self._entered &= still_due

    async def _enter_overdue_of(self, set_: str, holds_due: HoldsDue) -> set[HoldKey]:
        """Do so for one set; return its holds that are due by its records."""
        now_us, place = self._now_us(), 0
        still_due: set[HoldKey] = set()
        # Not in the thread of the book: buyers wait for that, and records that are away keep whoever asks waiting.
        while holds := await asyncio.to_thread(holds_due, now_us, place, DUE_AT_ONCE_MAX):
            place += len(holds)
            by_key = {(set_, hold.pot, hold.slot, hold.number): hold for hold in holds}
            still_due |= by_key.keys()
            fresh = [key for key in by_key if key not in self._entered]
            if fresh:
                known = await self._writer.ask(self._book.holds_known, fresh)
                self._entered |= known
                await asyncio.gather(*(self._enter(set_, by_key[key]) for key in fresh if key not in known))
        return still_due

    async def _enter(self, set_: str, hold: Grant) -> None:
        round_ = self._campaign.round(hold.pot)
        if round_ is None or round_.sale is None:
            return
        if hold.request.startswith(LATE_PREFIX) and await self._belongs_to_late_money(hold):
            return
        now_us = self._now_us()
        grant = grant_id(self._campaign.id, hold.pot, hold.slot)
        await self._writer.keep(
            SaleOrder(
                id=order_id(grant, hold.number, set_),
                set=set_,
                grant=grant,
                pot=hold.pot,
                user=hold.user,
                slot=hold.slot,
                number=hold.number,
                request=hold.request,
                until_us=hold.until_us or 0,
                price_minor=round_.sale.price_minor,
                state=State.RETURNING,
                due_us=now_us,
                since_us=now_us,
                why=Why.EXPIRED,
            )
        )

    async def _belongs_to_late_money(self, hold: Grant) -> bool:
        """Whether an order claimed the hold for money that came late, and has not been told so yet."""
        order = await self._writer.ask(self._book.get, hold.request.removeprefix(LATE_PREFIX))
        return order is not None and order.state is State.LATE

    # -- units that came back

    async def _offer(self, round_: Round) -> None:
        """Offer what came back, at the instants of the sale. What comes back after its close stays in the pot."""
        assert round_.sale is not None
        now_us = self._now_us()
        if now_us < round_.opens_us:
            return
        at_us = self._offer_at_us.setdefault(round_.id, now_us)
        if now_us < at_us:
            return
        self._offer_at_us[round_.id] = next_chance_us(round_.opens_us, round_.sale.return_every_us, now_us)
        if now_us < round_.closes_us and await self._units.offer(round_.id):
            self._offered(round_.id)


_NEIGHBOURS: Final = {
    State.SOLD: ("shop", SHOP_AT_ONCE_MAX),
    State.RETURNING: ("store", STORE_AT_ONCE_MAX),
    State.LATE: ("store", STORE_AT_ONCE_MAX),
}
