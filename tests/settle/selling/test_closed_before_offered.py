"""What a hold stands for is offered again only when its payment cannot be paid any more: by the order in which the bank
and the store are called."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from redrush.core.rush.campaign import Slots, grant_id
from redrush.core.rush.sale_order import SETTLED, State
from redrush.ports.bill_book import BillState, KeptBill
from redrush.ports.buying import Wish
from redrush.ports.provider import Closed, Terms, Unknown
from redrush.ports.records import Balance
from redrush.ports.store import Claim, Grant, Held, HoldState, PotTerms
from redrush.providers.sandbox.bank import Bank
from redrush.providers.sandbox.direct import DirectPayIn
from redrush.records.sqlite.bills import SqliteBillBook
from redrush.records.sqlite.sales import SqliteSaleBook
from redrush.settle.paying import steps
from redrush.settle.paying.owners import UNHEARD_MAX_S
from redrush.settle.paying.payments import Payments
from redrush.settle.paying.teller import Provider
from redrush.settle.selling.book_writer import BookWriter
from redrush.settle.selling.desk import Desk
from redrush.settle.selling.selling import Selling
from redrush.settle.selling.steps import Partners, Steps, sources_of
from redrush.settle.selling.units import ONLY_SET, Units
from redrush.stores.memory import MemoryStore
from tests.settle.selling.world import HOLD_US, OPENS_US, PRICE_MINOR, SECOND_US, campaign
from tests.settle.test_payments import LOOKED_AT_S, TERMS, Clock, until

HOLD = PotTerms("sale", Slots(0, 1), hold_us=HOLD_US)
Calls = list[tuple[str, object]]
"""What the bank and the store were asked, with what they answered, in order."""


class HeardBank:
    """A bank that notes what it hears; while it is `mute` its answers get lost."""

    def __init__(self, bank: DirectPayIn, calls: Calls) -> None:
        self._bank = bank
        self._calls = calls
        self.mute = False

    @property
    def terms(self) -> Terms:
        return TERMS

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: object) -> object:
            answer = await getattr(self._bank, name)(*arguments)
            told = Unknown("lost") if self.mute else answer
            self._calls.append((name, told))
            return told

        return call


class HeardStore(MemoryStore):
    """A store that notes what comes back, and is offered."""

    calls: Calls

    async def release(self, holds: Sequence[Grant], at_us: int) -> list[HoldState]:
        self.calls.append(("release", None))
        return await super().release(holds, at_us)

    async def offer(self, pots: Sequence[str]) -> int:
        offered = await super().offer(pots)
        if offered:
            self.calls.append(("offer", offered))
        return offered


class NobodyWon:
    def balance(self, campaign: str, account: str) -> Balance:
        return Balance(0, 0)


class Stage:
    """One unit, held by somebody who has begun to pay."""

    def __init__(self, directory: Path) -> None:
        self.calls: Calls = []
        self.clock = Clock()
        self.store = HeardStore()
        self.store.calls = self.calls
        self.money = Bank()
        self.bank = HeardBank(DirectPayIn(self.money, self.clock), self.calls)
        pay_in: Any = self.bank
        self.bills = SqliteBillBook.open_path(directory / "payments.db")
        self.payments = Payments(self.bills, NobodyWon(), {"bank": Provider("bank", pay_in, None)}, self.clock)
        self.book = SqliteSaleBook.open_path(directory / "sales.db")
        self.writer = BookWriter(self.book)
        sold, units = campaign(1), Units.of_one(self.store)
        taken = Steps(sold, units, self.payments, Partners(frozenset({"bank"})), self.clock)
        self.selling = Selling(
            sold, units, self.book, self.writer, taken, {ONLY_SET: lambda *_: []}, self.clock, on_fault=print
        )
        self.desk = Desk(sold, units, self.book, self.writer, taken, self.clock, self.selling.nudge)

    async def begin(self) -> None:
        self.clock.ahead_us = OPENS_US + SECOND_US - int(asyncio.get_running_loop().time() * 1e6)
        await self.store.open([HOLD])
        self.payments.on_ended(sources_of("c"), self.selling.heard)
        self.payments.start()
        self.running = asyncio.create_task(self.selling.run())
        [held] = await self.store.claim([Claim("sale", "ann")], self.clock())
        assert isinstance(held, Held)
        grant = grant_id("c", "sale", held.slot)
        while (await self.desk.pay("ann", grant, Wish())).fields.get("pay") is None:
            await asyncio.sleep(0.01)
        self.calls.clear()

    def state(self) -> State:
        [order] = self.book.all()
        return order.state

    def at(self, name: str) -> int:
        return next(place for place, (called, _) in enumerate(self.calls) if called == name)

    async def end(self) -> None:
        await self.selling.stop()
        await self.running
        await self.payments.stop()
        await self.writer.close()
        self.book.close()
        self.bills.close()


@asynccontextmanager
async def stage(directory: Path) -> AsyncIterator[Stage]:
    one = Stage(directory)
    await one.begin()
    try:
        yield one
    finally:
        await one.end()


@pytest.mark.parametrize("given_back", [False, True])
async def test_a_payment_is_closed_at_the_bank_before_its_unit_is_offered_again(
    given_back: bool, tmp_path: Path
) -> None:
    async with stage(tmp_path) as one:
        if given_back:
            await one.desk.give_back("ann", grant_id("c", "sale", 0))
        else:
            one.clock.ahead_us += HOLD_US
        await until(lambda: one.state() is State.RETURNED)
        one.clock.ahead_us += 30 * SECOND_US
        await until(lambda: any(name == "offer" for name, _ in one.calls))
        asked = [place for place, (_, told) in enumerate(one.calls) if isinstance(told, Closed)]
        assert asked
        assert asked[0] < one.at("release") < one.at("offer"), one.calls


async def paid_after_all(one: Stage) -> KeptBill:
    """Let the hold end, the unit be offered again, and the bank take the money that it had said nobody can pay."""
    one.clock.ahead_us += HOLD_US
    await until(lambda: one.state() is State.RETURNED)
    one.clock.ahead_us += 30 * SECOND_US
    await until(lambda: any(name == "offer" for name, _ in one.calls))
    [order] = one.book.all()
    bill = one.bills.find("payin", f"{sources_of('c')}{order.id}")
    assert bill is not None
    one.money._run("move", number=bill.number, state="paid", done_us=one.clock(), fee_minor=0)
    return bill


async def heard_of(one: Stage, bill: KeptBill) -> None:
    """Let a notice say so, and return when all is done that follows."""
    one.bills.change([steps.look(bill, one.clock())])
    await until(lambda: bool(one.bills.listed(kind="payin", states=[BillState.DONE, BillState.PAID_LATE])))
    await until(lambda: not one.bills.untold([sources_of("c")], 1) and not one.bills.paid_late(1))
    await until(lambda: one.state() in SETTLED)
    await one.selling.quiet()
    await until(lambda: all(refund.is_final for refund in one.bills.listed(kind="refund")))


async def test_money_that_a_bank_took_after_all_buys_a_unit_in_play_and_does_not_go_back(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as one:
        await heard_of(one, await paid_after_all(one))
        assert (one.state(), one.bills.listed(kind="refund")) == (State.DELIVERED, [])
        assert (await one.store.state("sale")).left == 0
        assert one.bills.balance("c", "sales").net_minor == PRICE_MINOR


async def test_money_that_a_bank_took_after_all_goes_back_once_if_no_unit_is_left_for_it(tmp_path: Path) -> None:
    async with stage(tmp_path) as one:
        bill = await paid_after_all(one)
        [other] = await one.store.claim([Claim("sale", "bob")], one.clock())
        assert isinstance(other, Held)
        await heard_of(one, bill)
        [refund] = one.bills.listed(kind="refund")
        assert (one.state(), refund.source, refund.state) == (State.REFUNDED, bill.source, BillState.DONE)
        assert one.bills.balance("c", "sales").net_minor == 0


async def test_money_that_a_bank_took_while_its_sale_slept_buys_a_unit_when_it_wakes_in_time(tmp_path: Path) -> None:
    async with stage(tmp_path) as one:
        bill = await paid_after_all(one)
        one.payments.hears_no_more(sources_of("c"))
        one.bills.change([steps.look(bill, one.clock())])
        await until(lambda: bool(one.bills.paid_late(1)))
        one.payments.wake()
        await asyncio.sleep(LOOKED_AT_S)
        one.payments.on_ended(sources_of("c"), one.selling.heard)
        await heard_of(one, bill)
        assert (one.state(), one.bills.listed(kind="refund")) == (State.DELIVERED, [])


async def test_money_that_a_bank_took_while_its_sale_slept_too_long_goes_back_and_buys_nothing_when_it_wakes(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path) as one:
        bill = await paid_after_all(one)
        one.payments.hears_no_more(sources_of("c"))
        one.bills.change([steps.look(bill, one.clock())])
        await until(lambda: bool(one.bills.paid_late(1)))
        one.clock.ahead_us += int(UNHEARD_MAX_S * 1e6)
        await until(lambda: bool(one.bills.listed(kind="refund", states=[BillState.DONE])))
        one.payments.on_ended(sources_of("c"), one.selling.heard)
        await heard_of(one, bill)
        [refund] = one.bills.listed(kind="refund")
        assert (one.state(), refund.source) == (State.RETURNED, f"{bill.source}/late")
        assert (await one.store.state("sale")).left == 1


async def test_while_the_bank_does_not_say_that_it_is_closed_nothing_comes_back(tmp_path: Path) -> None:
    async with stage(tmp_path) as one:
        one.bank.mute = True
        one.clock.ahead_us += HOLD_US
        await until(lambda: [name for name, _ in one.calls].count("find") >= 3)
        assert one.state() is State.CLOSING
        assert {name for name, _ in one.calls} <= {"close", "find"}, one.calls
        one.bank.mute = False
        one.clock.ahead_us += 60 * SECOND_US
        await until(lambda: one.state() is State.RETURNED)
        said = [place for place, (_, told) in enumerate(one.calls) if isinstance(told, Closed)]
        assert said[0] < one.at("release"), one.calls
