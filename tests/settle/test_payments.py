"""The payments part over a real book and the sandbox's bank, by a provider that loses answers before and after."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from redrush.core.money.numbers import bill_number
from redrush.core.nobody import never
from redrush.errors import RedrushError
from redrush.ports.bill_book import BillState, Entered, KeptBill, NewBill
from redrush.ports.cashier import Spending
from redrush.ports.provider import Absent, Notice, Paid, Rejected, Terms, Unknown
from redrush.ports.records import Balance
from redrush.providers.sandbox.bank import Bank, BankTerms
from redrush.providers.sandbox.direct import DirectPayIn, DirectPayOut
from redrush.records.sqlite.bills import SqliteBillBook
from redrush.settle.paying import steps
from redrush.settle.paying.owners import UNHEARD_MAX_S
from redrush.settle.paying.payments import Payments
from redrush.settle.paying.teller import RUSH_CALLS_PER_S, Provider
from tests.patience import PATIENCE_S

TERMS = Terms(
    currency="CNY", calls_per_s=5_000, queries_per_s=5_000, longest_silence_s=0.05, deadline_s=2.0,
    looks_s=(0.02, 0.05, 0.1), expires_min_s=0.1,
)  # fmt: skip


class Clock:
    """The loop's time as an instant; `ahead_us` can be moved."""

    def __init__(self) -> None:
        self.ahead_us = 1_800_000_000_000_000

    def __call__(self) -> int:
        return self.ahead_us + int(asyncio.get_running_loop().time() * 1e6)


class Lossy:
    """Loses a share of all calls: half of them before they are heard, half of them after they had their effect."""

    def __init__(self, inner: Any, share: float, seed: int) -> None:
        self._inner = inner
        self._share = share
        self._draw = random.Random(seed)

    @property
    def terms(self) -> Terms:
        return TERMS

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: object) -> Any:
            lost = self._draw.random()
            if lost < self._share / 2:
                return Unknown("lost before")
            answer = await getattr(self._inner, name)(*arguments)
            return Unknown("lost after") if lost < self._share else answer

        return call


class Won:
    """Everybody was granted this much."""

    def __init__(self, granted_minor: int = 0) -> None:
        self.granted_minor = granted_minor

    def balance(self, campaign: str, account: str) -> Balance:
        return Balance(0, self.granted_minor)


LOOKED_AT_S = 0.3
"""In which the book is surely looked at."""


class World(msgspec.Struct):
    payments: Payments
    bank: Bank
    book: SqliteBillBook
    clock: Clock


@asynccontextmanager
async def world(
    path: Path, *, lost: float = 0.0, seed: int = 1, bank: Bank | None = None, terms: BankTerms | None = None,
    granted_minor: int = 0, busy: Callable[[], bool] = never, ahead_us: int = 0,
) -> AsyncIterator[World]:  # fmt: skip
    clock = Clock()
    clock.ahead_us += ahead_us
    bank = bank or Bank(terms=terms)
    book = SqliteBillBook.open_path(path / "payments.db")
    pay_in: Any = Lossy(DirectPayIn(bank, clock), lost, seed)
    pay_out: Any = Lossy(DirectPayOut(bank, clock), lost, seed + 1)
    provider = Provider("bank", pay_in, pay_out)
    payments = Payments(book, Won(granted_minor), {"bank": provider}, clock, busy=busy)
    payments.start()
    try:
        yield World(payments, bank, book, clock)
    finally:
        await payments.stop()
        book.close()


def payout(source: str, amount_minor: int = 100, user: str = "u") -> NewBill:
    return NewBill(
        kind="payout", source=source, campaign="c", user=user, provider="bank", currency="CNY",
        amount_minor=amount_minor, subject="red packet", to=user,
    )  # fmt: skip


async def charge(one: World, source: str = "hold:1", amount_minor: int = 500, lasts_s: float = 60.0) -> KeptBill:
    return await charge_of(one.payments, one.clock, source, amount_minor, lasts_s)


async def charge_of(
    payments: Payments, clock: Clock, source: str = "hold:1", amount_minor: int = 500, lasts_s: float = 60.0
) -> KeptBill:
    return await payments.charge(
        source, campaign="c", user="u", provider="bank", currency="CNY", amount_minor=amount_minor,
        subject="a phone", expires_us=clock() + int(lasts_s * 1e6),
    )  # fmt: skip


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await story()

    asyncio.run(main())


def sums(bank: Bank) -> dict[tuple[str, str], tuple[int, int, int]]:
    return {(one.kind, one.state): (one.count, one.amount_minor, one.fee_minor) for one in bank.sums()}


@pytest.mark.parametrize("seed", [1])
def test_everybody_is_paid_once_whatever_gets_lost(tmp_path: Path, seed: int) -> None:
    async def story() -> None:
        async with world(tmp_path, lost=0.4, seed=seed) as one:
            one.book.make([payout(f"g{number}", 100 + number) for number in range(60)], one.clock())
            await until(lambda: len(one.book.listed(states=[BillState.DONE])) == 60)
            total = sum(100 + number for number in range(60))
            assert sums(one.bank) == {("payout", "done"): (60, total, 0)}
            assert one.book.balance("c", "clearing:bank").net_minor == total
            assert one.book.balance("c", "payouts:bank").net_minor == 0

    run(story)


def test_a_payment_is_shown_and_its_owner_hears_of_it_once_it_is_paid(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as one:
            heard: list[KeptBill] = []
            failures = iter([RedrushError("not now")])

            async def hear(bill: KeptBill) -> None:
                if (fault := next(failures, None)) is not None:
                    raise fault
                heard.append(bill)

            one.payments.on_ended("hold:", hear)
            opened = await charge(one)
            assert opened.state is BillState.OPEN
            assert opened.detail == f"qr:sandbox://pay/{opened.number}"
            assert (await charge(one)).number == opened.number
            one.bank.pay(opened.number, one.clock())
            paid = await one.payments.ask("hold:1")
            assert paid is not None
            await until(lambda: bool(heard))
            assert [(bill.source, bill.state, bill.fee_minor) for bill in heard] == [("hold:1", BillState.DONE, 3)]
            assert one.book.balance("c", "sales").net_minor == 500

    run(story)


def test_what_is_left_goes_back_whatever_parts_went_before(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as one:
            for source in ("hold:1", "hold:2"):
                one.bank.pay((await charge(one, source)).number, one.clock())
                assert await one.payments.ask(source) is not None
            await one.payments.refund("hold:1/part/1", of="hold:1", amount_minor=120, reason="a scratch")
            rest = await one.payments.refund_rest("hold:1", of="hold:1", reason="cancelled")
            assert rest is not None
            assert rest.amount_minor == 380
            again = await one.payments.refund_rest("hold:1", of="hold:1", reason="cancelled")
            assert again is not None
            assert again.number == rest.number
            await one.payments.refund("hold:2/part/1", of="hold:2", amount_minor=500, reason="a scratch")
            assert await one.payments.refund_rest("hold:2", of="hold:2", reason="cancelled") is None
            await until(lambda: sums(one.bank).get(("refund", "done"), (0,))[0] == 3)
            assert sums(one.bank)["refund", "done"][:2] == (3, 1_000)
            with pytest.raises(RedrushError, match="nothing was paid in for hold:3"):
                await one.payments.refund_rest("hold:3", of="hold:3", reason="cancelled")

    run(story)


def test_an_owner_who_breaks_off_or_is_gone_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as one:
            heard: list[str] = []

            async def hear(bill: KeptBill) -> None:
                heard.append(bill.source)

            async def break_off(bill: KeptBill) -> None:
                raise RuntimeError(f"no thread for {bill.source}")

            async def pay(source: str) -> None:
                opened = await charge(one, source)
                one.bank.pay(opened.number, one.clock())
                await one.payments.ask(source)

            one.payments.on_ended("gone:", break_off)
            one.payments.on_ended("hold:", hear)
            await pay("gone:1")
            await pay("hold:1")
            await until(lambda: heard == ["hold:1"])
            one.payments.hears_no_more("gone:")
            await pay("gone:2")
            await pay("hold:2")
            await until(lambda: heard == ["hold:1", "hold:2"])
            one.payments.on_ended("gone:", hear)  # its owner is there again, and hears of what it missed
            await until(lambda: sorted(heard[2:]) == ["gone:1", "gone:2"])

    run(story)


def test_a_page_full_of_bills_that_cannot_be_told_keeps_nobody_else_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redrush.settle.paying.payments.AT_ONCE_MAX", 2)
    monkeypatch.setattr("redrush.settle.paying.owners.AT_ONCE_MAX", 2)

    async def story() -> None:
        async with world(tmp_path) as one:
            heard: list[str] = []
            whole = [False]

            async def hear(bill: KeptBill) -> None:
                if bill.source.startswith("gone:") and not whole[0]:
                    raise RedrushError("their disk is full")
                heard.append(bill.source)

            one.payments.on_ended("gone:", hear)
            one.payments.on_ended("hold:", hear)
            broken = [f"gone:{number}" for number in range(5)]
            for source in (*broken, "hold:1"):
                await charge(one, source)
                await one.payments.close(source)
            await until(lambda: heard == ["hold:1"])
            whole[0] = True  # and what could not be told is told once it can be
            await until(lambda: sorted(heard) == [*broken, "hold:1"])

    run(story)


def test_what_is_closed_is_closed_at_the_provider_first(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path, lost=0.3) as one:
            opened = await charge(one)
            closed = await one.payments.close("hold:1", wait_s=10)
            assert closed is not None
            assert closed.state is BillState.CLOSED
            assert one.bank.pay(opened.number, one.clock()) == one.bank.state(opened.number, one.clock())
            assert sums(one.bank) == {("payin", "closed"): (1, 500, 0)}

    run(story)


def test_an_order_that_nobody_pays_is_closed_when_its_time_is_over(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as one:
            await charge(one, lasts_s=0.3)
            await until(lambda: bool(one.book.listed(states=[BillState.CLOSED])))
            assert one.book.balance("c", "sales").net_minor == 0

    run(story)


def test_who_pays_while_it_is_closed_has_paid(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as one:
            opened = await charge(one)
            one.bank.pay(opened.number, one.clock())
            ended = await one.payments.close("hold:1")
            assert ended is not None
            assert ended.state is BillState.DONE

    run(story)


@pytest.mark.parametrize("its_owner", ["is there", "sleeps"])
def test_what_was_said_to_be_closed_and_is_paid_goes_back(tmp_path: Path, its_owner: str) -> None:
    """No provider should do so: it is booked as it is, and refunded whole."""

    async def hear(_bill: KeptBill) -> None:
        pass

    async def story() -> None:
        async with world(tmp_path) as one:
            one.payments.on_ended("hold:", hear)
            opened = await charge(one)
            await one.payments.close("hold:1")
            if its_owner == "sleeps":
                await until(lambda: not one.book.untold(["hold:"], 1))
                one.payments.hears_no_more("hold:")
            one.bank._run("move", number=opened.number, state="paid", done_us=one.clock(), fee_minor=0)
            notice = Notice(
                id="n1", kind="payin", number=opened.number, state=Paid(500, 1, "r", "CNY"), amount_minor=500,
                currency="CNY", merchant="m", made_us=1,
            )  # fmt: skip
            await one.payments.notices_kept("bank", [notice])
            if its_owner == "sleeps":
                await until(lambda: bool(one.book.paid_late(1)))
                one.clock.ahead_us += int(UNHEARD_MAX_S * 1e6)
            await until(lambda: bool(one.book.listed(kind="refund", states=[BillState.DONE])))
            late = one.book.find("payin", "hold:1")
            assert late is not None
            assert late.state is BillState.PAID_LATE
            assert one.book.balance("c", "clearing:bank").net_minor == 0
            assert sums(one.bank)["refund", "done"] == (1, 500, 0)
            assert not one.book.paid_late(1)
            one.payments.on_ended("hold:", hear)  # who wakes hears of both
            await until(lambda: not one.book.untold(["hold:"], 1))
            assert len(one.book.listed(kind="refund")) == 1

    run(story)


async def pay_late(one: World) -> None:
    """Have a pay-in paid at the bank that was closed here, and looked at again."""
    opened = await charge(one)
    await one.payments.close("hold:1")
    one.bank._run("move", number=opened.number, state="paid", done_us=one.clock(), fee_minor=0)
    closed = one.book.find("payin", "hold:1")
    assert closed is not None
    one.book.change([steps.look(closed, one.clock())])
    one.payments.wake()


def test_what_came_late_waits_a_minute_for_an_owner_that_cannot_be_told_and_no_longer(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as one:
            asked = [0]

            async def hear(bill: KeptBill) -> None:
                asked[0] += bill.state is BillState.PAID_LATE
                raise RedrushError("their disk is full")

            one.payments.on_ended("hold:", hear)
            await pay_late(one)
            await until(lambda: asked[0] > 1)
            assert one.book.paid_late(1)
            assert not one.book.listed(kind="refund")
            one.clock.ahead_us += int(UNHEARD_MAX_S * 1e6)
            await until(lambda: bool(one.book.listed(kind="refund", states=[BillState.DONE])))
            kept = await one.payments.keep_late("hold:1")
            assert kept is not None
            assert kept.state is BillState.PAID_LATE, "it went back"

    run(story)


def test_what_came_late_before_a_process_began_waits_for_an_owner_that_begins_after_it(tmp_path: Path) -> None:
    """As when the payments role is started again: its loop runs before the campaigns behind the first one are there."""

    async def story() -> None:
        async with world(tmp_path) as one:
            await pay_late(one)
            await until(lambda: bool(one.book.paid_late(1)))
            bank = one.bank
        kept = []
        async with world(tmp_path, bank=bank, ahead_us=int(UNHEARD_MAX_S * 1e6)) as one:

            async def hear(bill: KeptBill) -> None:
                if bill.state is BillState.PAID_LATE:
                    kept.append(await one.payments.keep_late(bill.source))

            await asyncio.sleep(LOOKED_AT_S)
            assert one.book.paid_late(1)
            one.payments.on_ended("hold:", hear)
            await until(lambda: bool(kept) and not one.book.untold(["hold:"], 1))
            assert [bill.state for bill in kept if bill is not None] == [BillState.DONE]
            assert not one.book.listed(kind="refund")

    run(story)


def test_a_notice_that_is_not_our_bill_is_not_believed(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as one:
            opened = await charge(one)
            right = Notice(
                id="n1", kind="payin", number=opened.number, state=Paid(500, 1, "r", "CNY"), amount_minor=500,
                currency="CNY", merchant="m", made_us=1,
            )  # fmt: skip
            wrong = [
                msgspec.structs.replace(right, id="n2", amount_minor=501),
                msgspec.structs.replace(right, id="n3", number=bill_number("payin", "other")),
                msgspec.structs.replace(right, id="n4", kind="payout"),
                msgspec.structs.replace(right, id="n5", currency="USD"),
            ]
            await one.payments.notices_kept("bank", [right, *wrong])
            await until(lambda: not one.book.inbox(1))
            assert one.payments.refused_notices == 4
            assert (await one.payments.ask("hold:1", 0.3)) is not None
            assert one.book.balance("c", "sales").net_minor == 0, "nobody has paid, whatever was said"

    run(story)


def test_refused_payouts_go_back_and_can_be_paid_out_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path, terms=BankTerms(min_minor=50), granted_minor=200) as one:
            one.book.make([payout("g1", 49)], one.clock())
            await until(lambda: bool(one.book.listed(states=[BillState.FAILED])))
            assert (await one.payments.owned("c", "u")).available_minor == 200
            one.book.make([payout("g2", 150)], one.clock())
            await until(lambda: bool(one.book.listed(states=[BillState.DONE])))
            owned = await one.payments.owned("c", "u")
            assert (owned.available_minor, owned.waiting_minor, owned.paid_minor) == (50, 0, 150)

    run(story)


def test_what_nobody_confirms_goes_back_to_the_balance(tmp_path: Path) -> None:
    async def story() -> None:
        terms = BankTerms(confirms=True, confirm_within_us=400_000)
        async with world(tmp_path, terms=terms, granted_minor=200) as one:
            one.book.make([payout("g1"), payout("g2")], one.clock())
            await until(lambda: len(one.book.listed(states=[BillState.CONFIRMING])) == 2)
            assert (await one.payments.owned("c", "u")).available_minor == 0
            confirmed = one.book.find("payout", "g1")
            assert confirmed is not None
            assert confirmed.detail
            one.bank.confirm(confirmed.number, one.clock())
            await until(lambda: len(one.book.listed(states=[BillState.DONE, BillState.CANCELLED])) == 2)
            owned = await one.payments.owned("c", "u")
            assert (owned.available_minor, owned.paid_minor) == (100, 100)

    run(story)


def test_balances_are_spent_and_credited_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path, granted_minor=100) as one:
            paying = {"campaign": "c", "account": "sponsor"}
            first, second = Spending("packet:1", "u", 80), Spending("packet:2", "u", 21)
            assert await one.payments.spend_each([first], **paying) == [Entered.NOW]
            assert await one.payments.spend_each([first], **paying) == [Entered.BEFORE]
            assert await one.payments.spend_each([second], **paying) == [Entered.NOT_COVERED]
            back = [Spending("packet:1", "u", 30)]
            assert await one.payments.credit_each(back, **paying) == [Entered.NOW]
            assert (await one.payments.owned("c", "u")).available_minor == 50

    run(story)


def test_a_provider_that_is_away_is_left_alone_and_then_everything_is_paid(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path, lost=1.0) as one:
            one.book.make([payout(f"g{number}") for number in range(40)], one.clock())
            teller = one.payments.tellers["bank"]
            await until(lambda: teller.away_s > 0.2)
            asked = teller.counts.starts
            assert asked < 40
            await until(lambda: one.payments.under_way.behind_s().get("c", 0.0) > 0.2)
            lossy: Any = teller.provider.pay_out
            lossy._share = 0.0
            await until(lambda: len(one.book.listed(states=[BillState.DONE])) == 40)
            assert sums(one.bank)["payout", "done"] == (40, 4_000, 0)
            await until(lambda: one.payments.under_way.behind_s() == {})

    run(story)


def test_what_a_provider_raises_counts_as_an_answer_that_was_lost(tmp_path: Path) -> None:
    async def story() -> None:
        async with world(tmp_path) as one:
            teller = one.payments.tellers["bank"]
            pay_out: Any = teller.provider.pay_out
            starts, broken = pay_out._inner.start, [True]

            async def start(bill: object) -> Any:
                answer = await starts(bill)
                if broken.pop() if broken else False:
                    raise KeyError("of a library")
                return answer

            pay_out._inner.start = start
            one.book.make([payout("g1")], one.clock())
            one.payments.wake()
            await until(lambda: len(one.book.listed(states=[BillState.DONE])) == 1)
            assert teller.counts.unclear == 1
            assert sums(one.bank)["payout", "done"] == (1, 100, 0)

    run(story)


def test_a_payments_part_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    """Cut off in the midst, again and again: what was asked is asked for."""
    bank = Bank(terms=BankTerms(takes_us=1_000))

    async def life(seed: int) -> bool:
        draw = random.Random(seed)
        book = SqliteBillBook.open_path(tmp_path / "payments.db")
        clock = Clock()
        clock.ahead_us += seed * 1_000_000  # what a life has taken is seen to again seconds later
        book.make([payout(f"g{number}") for number in range(50)], clock())
        slow: Any = Lossy(DirectPayOut(bank, clock), 0.1, seed)
        payments = Payments(book, Won(), {"bank": Provider("bank", None, slow)}, clock)
        payments.start()
        await asyncio.sleep(draw.uniform(0.0, 0.1))
        done = len(book.listed(states=[BillState.DONE])) == 50
        for task in payments._tasks:
            task.cancel()
        await asyncio.gather(*payments._tasks, return_exceptions=True)
        payments._thread.shutdown()
        book.close()
        return done

    lives = 0
    while not asyncio.run(life(lives)):
        lives += 1
        assert lives < 200
    assert lives > 1
    assert sums(bank)["payout", "done"] == (50, 5_000, 0)


def test_nobody_is_said_to_have_failed_on_one_refusal(tmp_path: Path) -> None:
    """A refusal after an answer that was lost: the first try had been heard."""
    bank = Bank()

    class Strange(DirectPayOut):
        async def start(self, bill: Any) -> Any:
            await super().start(bill)
            return Rejected("the number was used", final=True)

    async def story() -> None:
        book = SqliteBillBook.open_path(tmp_path / "payments.db")
        clock = Clock()
        strange = Strange(bank, clock, TERMS)
        payments = Payments(book, Won(), {"bank": Provider("bank", None, strange)}, clock)
        payments.start()
        book.make([payout("g1")], clock())
        await until(lambda: bool(book.listed(states=[BillState.DONE, BillState.FAILED])))
        assert [bill.state for bill in book.listed()] == [BillState.DONE]
        assert await strange.find(bill_number("payout", "g1", 2)) == Absent()
        await payments.stop()
        book.close()

    run(story)


async def test_in_a_rush_who_waits_to_pay_is_served_and_payouts_go_on_at_a_trickle(tmp_path: Path) -> None:
    rushing = [True]
    async with world(tmp_path, granted_minor=100_000, busy=lambda: rushing[0]) as one:
        one.book.make([payout(f"grant:{k}") for k in range(300)], one.clock())
        one.payments.wake()
        began_s = asyncio.get_running_loop().time()
        for k in range(3):
            assert (await charge(one, f"hold:{k}")).state is BillState.OPEN

        def begun() -> int:
            return sum(bill.state is not BillState.NEW for bill in one.book.listed(kind="payout"))

        await until(lambda: begun() > 0)  # never at a standstill
        await asyncio.sleep(0.5)
        count, took_s = begun(), asyncio.get_running_loop().time() - began_s
        assert count <= 1 + RUSH_CALLS_PER_S * took_s
        rushing[0] = False
        async with asyncio.timeout(PATIENCE_S):
            while one.book.listed(kind="payout", states=[state for state in BillState if state is not BillState.DONE]):
                await asyncio.sleep(0.05)
