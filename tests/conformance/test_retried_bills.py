"""Money that went back is paid once, whatever wants it since: every bill book, asked by many at the same time.

What users were credited is added up by the test, and what left by the provider that the test plays: equal to the cent.
"""

import json
import random
import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from redrush.core.money import clearing
from redrush.core.money.ledger import user_account
from redrush.errors import RedrushError
from redrush.operate.paying import retry
from redrush.ports.bill_book import BillBook, BillState, Entered, Entry, KeptBill, NewBill, NotCovered
from redrush.ports.provider import Done, Failed, Paid, Terms
from redrush.settle.paying import steps
from tests.conformance.conftest import Place
from tests.conformance.wanting_money import SPENT_MINOR, WISHES, WON_MINOR, open_at

TERMS = Terms(currency="CNY")
HIDDEN_US = 10**9
ROOT = Path(__file__).parents[2]


def payout(number: int, amount_minor: int = WON_MINOR) -> NewBill:
    return NewBill(
        kind="payout", source=f"g{number}", campaign="c", user=f"u{number}", provider="bank", currency="CNY",
        amount_minor=amount_minor, subject="red packet", to=f"u{number}", covered_minor=WON_MINOR,
    )  # fmt: skip


def net(book: BillBook, account: str) -> int:
    return book.balance("c", account).net_minor


def with_failed_payouts(book: BillBook, count: int) -> list[KeptBill]:
    made = book.make([payout(number) for number in range(count)], 10)
    return book.change([steps.after(bill, Failed("no such wallet"), TERMS, 20) for bill in made])


def test_the_next_attempt_of_a_payout_needs_its_money_in_the_balance(book: BillBook) -> None:
    first, second = with_failed_payouts(book, 2)
    spent = clearing.spent("u1", "sponsor", "p", 1, 30)
    book.post_each("c", [Entry(spent, WON_MINOR)])
    both = [steps.again(bill, 40, covered_minor=WON_MINOR) for bill in (first, second)]
    with pytest.raises(NotCovered) as refused:
        book.change(both)
    assert refused.value.available_minor == WON_MINOR - 1
    assert [book.numbered(bill.number) for bill in (first, second)] == [first, second], "all or none"
    assert (net(book, "user:u0"), net(book, "user:u1"), net(book, "payouts:bank")) == (0, -1, 0)
    (tried,) = book.change(both[:1])
    assert (tried.attempt, net(book, "user:u0"), net(book, "payouts:bank")) == (2, -WON_MINOR, WON_MINOR)
    assert book.change(both[:1]) == [], "it was overtaken, and needs no money"
    (won_more,) = book.change([steps.again(second, 50, covered_minor=WON_MINOR + 1)])
    assert (won_more.attempt, net(book, "user:u1")) == (2, -WON_MINOR - 1)


def test_what_a_user_paid_for_by_their_balance_is_found_since_an_instant(book: BillBook) -> None:
    made = [clearing.spent("u1", "sponsor", f"p{number}", 1, 10 * number) for number in (3, 1, 2)]
    other = [clearing.spent("u2", "sponsor", "p9", 1, 30), clearing.credited("u1", "sponsor", "p1", 1, 30)]
    book.post_each("c", [Entry(posting) for posting in made + other])
    book.post_each("d", [Entry(clearing.spent("u1", "sponsor", "p8", 1, 30))])
    assert book.spendings("c", "u1", 20, 9) == [made[2], made[0]]
    assert book.spendings("c", "u1", 0, 2) == [made[1], made[2]]
    assert book.spendings("c", "u3", 0, 2) == []


def test_the_next_attempt_of_a_refund_gives_back_what_no_other_has(book: BillBook) -> None:
    bill = NewBill(
        kind="payin", source="o1", campaign="c", user="u1", provider="bank", currency="CNY", amount_minor=500,
        subject="a phone", account="sales",
    )  # fmt: skip
    (payin,) = book.make([bill], 10)
    book.change([steps.after(payin, Paid(500, 20, "r", "CNY"), TERMS, 20)])
    refund = msgspec.structs.replace(bill, kind="refund", of="o1", amount_minor=400)
    (first,) = book.make([msgspec.structs.replace(refund, source="r1")], 30)
    (failed,) = book.change([steps.after(first, Failed("closed"), TERMS, 40)])
    (second,) = book.make([msgspec.structs.replace(refund, source="r2")], 50)
    with pytest.raises(NotCovered) as refused:
        book.change([steps.again(failed, 60, covered_minor=None)])
    assert refused.value.available_minor == 100
    assert (book.numbered(failed.number), net(book, "sales")) == (failed, 100)
    book.change([steps.after(second, Failed("closed"), TERMS, 70)])
    assert [one.attempt for one in book.change([steps.again(failed, 80, covered_minor=None)])] == [2]
    assert net(book, "sales") == 100


def check_one_got_it(book: BillBook, count: int, got: dict[str, list[bool]]) -> None:
    """Of each user one wish was fulfilled, and the book says so too."""
    for number in range(count):
        wishes = [wish for wish, got_them in got.items() if got_them[number]]
        assert wishes in (["retry"], ["spend"])
        left = 0 if wishes == ["retry"] else WON_MINOR - SPENT_MINOR
        assert WON_MINOR + net(book, f"user:u{number}") == left
        bill = book.find("payout", f"g{number}")
        assert bill is not None
        assert bill.attempt == (2 if wishes == ["retry"] else 1)


def test_of_two_operators_and_the_user_one_gets_the_money(place: Place, book: BillBook) -> None:
    count = 8
    with_failed_payouts(book, count)
    ready = threading.Barrier(3)
    got: list[list[bool]] = [[], [], []]

    def want(thread: int, wish: str) -> None:
        try:
            with closing(open_at(*place)) as own:
                for number in range(count):
                    ready.wait()
                    got[thread].append(WISHES[wish](own, number))
        except BaseException:
            ready.abort()  # nobody waits for who has died
            raise

    wishes = ("retry", "retry", "spend")
    threads = [threading.Thread(target=want, args=(thread, wish)) for thread, wish in enumerate(wishes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(one) for one in got] == [count] * 3, "none has died"
    assert [sum(three) for three in zip(*got, strict=True)] == [1] * count
    retried = [one or other for one, other in zip(got[0], got[1], strict=True)]
    check_one_got_it(book, count, {"retry": retried, "spend": got[2]})


def test_of_two_processes_one_gets_the_money(place: Place, book: BillBook) -> None:
    count = 24
    with_failed_payouts(book, count)
    processes = {
        wish: subprocess.Popen(
            [sys.executable, "-m", "tests.conformance.wanting_money", *place, wish, str(count)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for wish in WISHES
    }  # fmt: skip
    got = {}
    try:
        for process in processes.values():
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
        for process in processes.values():
            assert process.stdin is not None
            process.stdin.write("begin\n")
            process.stdin.flush()
        for wish, process in processes.items():
            told, _ = process.communicate()
            assert process.returncode == 0
            got[wish] = json.loads(told)
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    check_one_got_it(book, count, got)


class Auditor:
    """Some users, a provider, and the sums that nobody tells the book."""

    def __init__(self, book: BillBook, seed: int) -> None:
        self._book = book
        self._random = random.Random(seed)
        self._users = ["ann", "bob"]
        self._wishes = [self._win, *[self._pay_out] * 2, *[self._spend] * 3, self._credit, *[self._retry] * 2]
        self.granted: Counter[str] = Counter()
        self.credited: Counter[str] = Counter()
        self.spent: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.refused = self.retried = 0
        self._now_us = 0
        self._paid_numbers: set[str] = set()

    def step(self) -> None:
        """Let one thing happen."""
        self._now_us += 1
        user = self._random.choice(self._users)
        wanted = self._random.choice(self._wishes)
        wanted(user)
        self._provide()
        self.check()

    def finish(self) -> None:
        """Let the provider answer everything."""
        while self._provide():
            pass
        self.check()
        assert not [bill for bill in self._book.listed() if not bill.is_final]

    def check(self) -> None:
        """What came in is what left, what is on its way, and what is there."""
        waiting: Counter[str] = Counter()
        for bill in self._book.listed(kind="payout"):
            waiting[bill.user] += 0 if bill.is_final else bill.amount_minor
        for user in self._users:
            left = self.granted[user] + self._book.balance("c", user_account(user)).net_minor
            gone = self.paid[user] + self.spent[user] + waiting[user]
            assert self.granted[user] + self.credited[user] == gone + left
            assert left >= 0

    def _amount(self, user: str) -> int:
        """Return about as much as the user has, and sometimes more."""
        left = self.granted[user] + self._book.balance("c", user_account(user)).net_minor
        return self._random.randint(left // 2 + 1, left + 4)

    def _win(self, user: str) -> None:
        self.granted[user] += self._random.randint(1, 60)

    def _pay_out(self, user: str) -> None:
        bill = msgspec.structs.replace(
            payout(self._now_us, self._amount(user)), user=user, covered_minor=self.granted[user]
        )
        self._book.make([bill], self._now_us, lenient=True)

    def _spend(self, user: str) -> None:
        posting = clearing.spent(user, "sponsor", f"packet:{self._now_us}", self._amount(user), self._now_us)
        if self._book.post_each("c", [Entry(posting, self.granted[user])]) == [Entered.NOW]:
            self.spent[user] += posting.amount_minor

    def _credit(self, user: str) -> None:
        posting = clearing.credited(user, "sponsor", f"packet:{self._now_us}", self._random.randint(1, 9), self._now_us)
        assert self._book.post_each("c", [Entry(posting)]) == [Entered.NOW]
        self.credited[user] += posting.amount_minor

    def _retry(self, user: str) -> None:
        failed = self._book.listed(kind="payout", states=[BillState.FAILED], user=user)
        for bill in failed:
            try:
                retry(self._book, bill, self._now_us, lambda _campaign, user: self.granted[user])
                self.retried += 1
            except RedrushError:
                self.refused += 1

    def _provide(self) -> int:
        """The provider does, or refuses, some of what it is asked; return how many that were."""
        taken = self._book.take("bank", "start", self._now_us, HIDDEN_US, self._random.randint(1, 3))
        for bill in taken:
            if self._random.random() < 0.5:
                self._book.change([steps.after(bill, Failed("no"), TERMS, self._now_us)])
                continue
            assert bill.number not in self._paid_numbers
            self._paid_numbers.add(bill.number)
            self.paid[bill.user] += bill.amount_minor
            done = Done(bill.amount_minor, self._now_us, "r", "CNY")
            self._book.change([steps.after(bill, done, TERMS, self._now_us)])
        return len(taken)


def test_what_users_were_credited_is_what_left_and_what_is_there(book: BillBook) -> None:
    auditor = Auditor(book, seed=7)
    for _ in range(60):
        auditor.step()
    auditor.finish()
    assert auditor.retried, "the history has some of both"
    assert auditor.refused


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 110))
def test_what_users_were_credited_is_what_left_in_long_histories(book: BillBook, seed: int) -> None:
    auditor = Auditor(book, seed)
    for _ in range(200):
        auditor.step()
    auditor.finish()
