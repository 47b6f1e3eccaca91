"""A payout that failed is tried again only while its money is still in the balance that it went back to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from redrush.core.money.clearing import credited, spent
from redrush.core.money.ledger import user_account
from redrush.errors import RedrushError
from redrush.operate.paying import NAMED_MAX, is_given_back, refund_again, retry
from redrush.ports.bill_book import BillState, Change, Entered, Entry, KeptBill, NewBill
from redrush.records.sqlite.bills import SqliteBillBook
from redrush.settle.paying import steps

WON_MINOR = 500


def granted(campaign: str, user: str) -> int:
    assert (campaign, user) == ("c", "ann")
    return WON_MINOR


def payout(source: str, amount_minor: int = WON_MINOR) -> NewBill:
    return NewBill(
        kind="payout", source=source, campaign="c", user="ann", provider="bank", currency="CNY",
        amount_minor=amount_minor, subject="New Year", to="ann", covered_minor=WON_MINOR,
    )  # fmt: skip


def ended(book: SqliteBillBook, bill: KeptBill, state: BillState, at_us: int) -> KeptBill:
    failed = state is BillState.FAILED
    postings = bill.billed.ended(at_us) if failed else bill.billed.moved(0, at_us)
    change = Change(
        id=bill.id, version=bill.version, state=state, next_us=None, looks=0, changed_us=at_us, postings=postings
    )
    (changed,) = book.change([change])
    return changed


def net_minor(book: SqliteBillBook) -> int:
    return book.balance("c", user_account("ann")).net_minor


@pytest.fixture
def book(tmp_path: Path) -> Iterator[SqliteBillBook]:
    opened = SqliteBillBook.open_path(tmp_path / "payments.db")
    yield opened
    opened.close()


@pytest.fixture
def failed(book: SqliteBillBook) -> KeptBill:
    """All that was won, on its way to the winner once, and back in the balance."""
    (first,) = book.make([payout("c-r1-7")], 1)
    return ended(book, first, BillState.FAILED, 10)


def spend(book: SqliteBillBook, source: str, amount_minor: int, at_us: int = 20) -> None:
    posting = spent("ann", "sponsor", source, amount_minor, at_us)
    assert book.post_each("c", [Entry(posting, WON_MINOR)]) == [Entered.NOW]


@pytest.mark.parametrize("state", [BillState.NEW, BillState.DONE])
def test_what_the_balance_has_paid_since_is_not_paid_twice(
    book: SqliteBillBook, failed: KeptBill, state: BillState
) -> None:
    (second,) = book.make([payout("c/ann/of-500-500")], 20)
    if state is BillState.DONE:
        ended(book, second, state, 25)
    with pytest.raises(RedrushError, match=f"{second.number} was paid since: `redrush payout make`"):
        retry(book, failed, 30, granted)
    assert net_minor(book) == -WON_MINOR


def test_what_failed_is_tried_again_beside_payouts_of_other_grants(book: SqliteBillBook) -> None:
    (first,) = book.make([payout("c-r1-7", 200)], 1)
    failed = ended(book, first, BillState.FAILED, 10)
    book.make([payout("c-r2-3", 300)], 20)
    (of_balance,) = book.make([payout("c/ann/1", 100)], 21)
    ended(book, of_balance, BillState.FAILED, 25)
    tried = retry(book, failed, 30, granted)
    assert (tried.state, tried.attempt) == (BillState.NEW, failed.attempt + 1)
    assert net_minor(book) == -WON_MINOR


def test_what_the_balance_was_spent_on_since_is_named_and_not_paid_out_too(
    book: SqliteBillBook, failed: KeptBill
) -> None:
    spend(book, "packet:c:p1", 1)
    with pytest.raises(RedrushError, match=r"from which packet:c:p1 was paid since: `redrush payout make`"):
        retry(book, failed, 30, granted)
    assert (net_minor(book), book.numbered(failed.number)) == (-1, failed)
    book.post_each("c", [Entry(credited("ann", "sponsor", "packet:c:p1", 1, 40))])
    assert retry(book, failed, 50, granted).attempt == 2, "the packet expired, and its money is back"
    assert net_minor(book) == -WON_MINOR


def test_what_was_spent_before_a_payout_ended_is_not_what_its_money_went_to(
    book: SqliteBillBook,
) -> None:
    spend(book, "packet:c:p0", 100, at_us=1)
    (first,) = book.make([payout("c/ann/1", 400)], 2)
    failed = ended(book, first, BillState.FAILED, 10)
    for number in range(NAMED_MAX + 1):
        spend(book, f"packet:c:p{number + 1}", 1)
    with pytest.raises(RedrushError, match=r"packet:c:p1, .*packet:c:p5 and more was paid since") as refused:
        retry(book, failed, 30, granted)
    assert "p0" not in str(refused.value)
    assert "p6" not in str(refused.value)


def test_a_win_that_is_not_recorded_is_no_reason_to_pay(book: SqliteBillBook, failed: KeptBill) -> None:
    with pytest.raises(RedrushError, match=r"the balance has 1\.00 CNY now, less than it would pay; a win counts once"):
        retry(book, failed, 30, lambda _campaign, _user: 100)
    assert net_minor(book) == 0


def test_who_retries_what_another_has_retried_is_told_so(
    book: SqliteBillBook, failed: KeptBill, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = book.change

    def overtaken(changes: list[Change]) -> list[KeptBill]:
        monkeypatch.undo()
        change([steps.again(failed, 29, covered_minor=WON_MINOR)])
        return change(changes)

    monkeypatch.setattr(book, "change", overtaken)
    with pytest.raises(RedrushError, match="is new by now: somebody else has retried it"):
        retry(book, failed, 30, granted)
    assert net_minor(book) == -WON_MINOR


def test_a_refund_that_another_has_made_good_is_not_given_again(book: SqliteBillBook) -> None:
    paid = NewBill(
        kind="payin", source="o1", campaign="c", user="ann", provider="bank", currency="CNY", amount_minor=500,
        subject="a phone", account="sales",
    )  # fmt: skip
    (payin,) = book.make([paid], 1)
    ended(book, payin, BillState.DONE, 2)

    def refund(source: str, amount_minor: int) -> KeptBill:
        (made,) = book.make([
            NewBill(kind="refund", source=source, of="o1", campaign="c", user="ann", provider="bank", currency="CNY",
                    amount_minor=amount_minor, subject="back", account="sales")
        ], 3)  # fmt: skip
        return made

    failed = ended(book, refund("r1", 500), BillState.FAILED, 4)
    assert not is_given_back(book, failed)
    part = refund("r2", 1)
    assert is_given_back(book, failed)
    with pytest.raises(RedrushError, match="given back by another refund since: nothing was done"):
        refund_again(book, failed, 5)
    assert book.balance("c", "sales").net_minor == 499
    ended(book, part, BillState.FAILED, 6)
    assert refund_again(book, failed, 7).attempt == 2
    assert book.balance("c", "sales").net_minor == 0
