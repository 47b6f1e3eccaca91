"""Two payments processes over one book, of which one is stopped with a bill in its hands, and comes back too late."""

import asyncio
import threading
from typing import Any

import pytest

from redrush.ports.bill_book import BillState, KeptBill, Kind, NewBill
from redrush.ports.provider import Bill, Refund, Rejected
from redrush.providers.sandbox.bank import Bank
from redrush.providers.sandbox.direct import DirectPayIn, DirectPayOut
from redrush.records.postgres.bills import PostgresBillBook
from redrush.settle.hiding import running_s
from redrush.settle.paying import steps
from redrush.settle.paying.payments import Payments
from redrush.settle.paying.teller import Provider
from tests.conftest import Databases
from tests.records.test_postgres_bills import lapse
from tests.settle.test_payments import TERMS, Clock, Won, charge_of, payout, sums, until

HOUR_S = 3_600.0


class Stopping:
    """A book whose process is stopped after this call, when it has a bill to start in its hands."""

    def __init__(self, inner: PostgresBillBook, after: str) -> None:
        self._inner = inner
        self._after = after
        self._in_hands = False
        self.stopped = threading.Event()
        self.goes_on = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def take(self, *arguments: Any) -> list[KeptBill]:
        bills = self._inner.take(*arguments)
        self._in_hands = bool(bills) and arguments[1] == "start"
        self._stop("take")
        return bills

    def find(self, kind: Kind, source: str) -> KeptBill | None:
        bill = self._inner.find(kind, source)
        self._stop("find")
        return bill

    def _stop(self, call: str) -> None:
        if self._in_hands and call == self._after and not self.stopped.is_set():
            self.stopped.set()
            assert self.goes_on.wait(100)


class Till:
    """Whether the merchant has money at the provider, which says no for good without; and what it was asked to pay."""

    def __init__(self) -> None:
        self.has_money = True
        self.started: list[str] = []

    def refuses(self, number: str) -> bool:
        if self.has_money:
            self.started.append(number)
        return not self.has_money


class PayOuts(DirectPayOut):
    till: Till

    async def start(self, bill: Bill) -> Any:
        return Rejected("no money", final=True) if self.till.refuses(bill.number) else await super().start(bill)


class PayIns(DirectPayIn):
    till: Till

    async def refund(self, refund: Refund) -> Any:
        return Rejected("no money", final=True) if self.till.refuses(refund.number) else await super().refund(refund)


@pytest.mark.parametrize(
    ("kind", "stopped_after", "noticed_by"),
    [
        ("payout", "take", "the clock of the book"),
        ("payout", "take", "the clock that nobody sets"),
        ("refund", "find", "the clock of the book"),
    ],
)
async def test_what_was_paid_by_the_next_attempt_is_not_paid_by_the_first_one_too(
    databases: Databases, kind: Kind, stopped_after: str, noticed_by: str
) -> None:
    dsn = databases.fresh()
    bank, till, a_clock, b_clock, slept_s = Bank(), Till(), Clock(), Clock(), [0.0]
    pay_out, pay_in = PayOuts(bank, b_clock, TERMS), PayIns(bank, b_clock, TERMS)
    pay_out.till = pay_in.till = till
    provider = {"bank": Provider("bank", pay_in, pay_out)}
    a_book, b_book = Stopping(PostgresBillBook(dsn, "a"), stopped_after), PostgresBillBook(dsn, "b")
    a: Any = Payments(a_book, Won(100), provider, a_clock)
    b = Payments(b_book, Won(100), provider, b_clock)
    a.tellers["bank"]._running_s = lambda: running_s() + slept_s[0]
    try:
        if kind == "refund":
            b.start()
            opened = await charge_of(b, b_clock)
            bank.pay(opened.number, b_clock())
            await until(lambda: bool(b_book.listed(kind="payin", states=[BillState.DONE])))
            await b.stop()
            lapse(dsn)
        back = NewBill(
            kind="refund", source="hold:1:back", campaign="c", user="u", provider="bank", currency="CNY",
            amount_minor=100, subject="sent back", of="hold:1", account="sales",
        )  # fmt: skip
        b_book.make([payout("g1") if kind == "payout" else back], b_clock())
        a.start()
        await until(a_book.stopped.is_set)
        lapse(dsn)
        b_clock.ahead_us += int(HOUR_S * 1e6)
        if noticed_by == "the clock of the book":
            a_clock.ahead_us = b_clock.ahead_us
        else:
            slept_s[0] = HOUR_S
        till.has_money = False
        b = Payments(b_book, Won(100), provider, b_clock)
        b.start()
        await until(lambda: bool(b_book.listed(kind=kind, states=[BillState.FAILED])))
        till.has_money = True
        (failed,) = b_book.listed(kind=kind)
        assert b_book.change([steps.again(failed, b_clock(), covered_minor=None)])
        await until(lambda: bool(b_book.listed(kind=kind, states=[BillState.DONE])))
        a_book.goes_on.set()
        await until(lambda: len(till.started) > 1 or a.tellers["bank"].counts.dropped)
        (paid,) = b_book.listed(kind=kind)
        assert (paid.attempt, till.started) == (2, [paid.number])
        assert sums(bank)[kind, "done"][:2] == (1, 100)
    finally:
        a_book.goes_on.set()
        await asyncio.gather(a.stop(), b.stop())
        a_book.close()
        b_book.close()
