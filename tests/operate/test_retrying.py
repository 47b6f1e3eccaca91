"""A payout that failed is tried again only while its money is still in the balance that it went back to."""

from pathlib import Path

import pytest

from redrush.core.money.ledger import user_account
from redrush.errors import RedrushError
from redrush.operate.paying import retry
from redrush.ports.bill_book import BillState, Change, KeptBill, NewBill
from redrush.records.sqlite.bills import SqliteBillBook

WON_MINOR = 500


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


@pytest.mark.parametrize("state", [BillState.NEW, BillState.DONE])
def test_what_the_balance_has_paid_since_is_not_paid_twice(tmp_path: Path, state: BillState) -> None:
    book = SqliteBillBook.open_path(tmp_path / "payments.db")
    (first,) = book.make([payout("c-r1-7")], 1)
    failed = ended(book, first, BillState.FAILED, 10)
    (second,) = book.make([payout("c/ann/of-500-500")], 20)
    if state is BillState.DONE:
        ended(book, second, state, 25)
    with pytest.raises(RedrushError, match=f"{second.number} was paid since: `redrush payout make`"):
        retry(book, failed, 30)
    assert net_minor(book) == -WON_MINOR
    book.close()


def test_what_failed_is_tried_again_beside_payouts_of_other_grants(tmp_path: Path) -> None:
    book = SqliteBillBook.open_path(tmp_path / "payments.db")
    (first,) = book.make([payout("c-r1-7", 200)], 1)
    failed = ended(book, first, BillState.FAILED, 10)
    book.make([payout("c-r2-3", 300)], 20)
    (of_balance,) = book.make([payout("c/ann/1", 100)], 21)
    ended(book, of_balance, BillState.FAILED, 25)
    tried = retry(book, failed, 30)
    assert (tried.state, tried.attempt) == (BillState.NEW, failed.attempt + 1)
    assert net_minor(book) == -WON_MINOR
    book.close()
