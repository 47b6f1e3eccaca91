"""Money that came after it was said that none could: kept by its owner or given back, never both and never neither."""

import threading
from contextlib import closing

from redrush.ports.bill_book import BillBook, BillState, KeptBill, NewBill, NotCovered
from redrush.ports.provider import Closed, Paid, Terms
from redrush.settle.paying import steps
from tests.conformance.conftest import Place
from tests.conformance.wanting_money import open_at

TERMS = Terms(currency="CNY")
HIDDEN_US = 10**9


def payin(source: str) -> NewBill:
    return NewBill(
        kind="payin", source=source, campaign="c", user="ann", provider="bank", currency="CNY", amount_minor=500,
        subject="a phone", account="sales", expires_us=9_000,
    )  # fmt: skip


def refund(of: str, source: str = "", *, while_late: bool = True) -> NewBill:
    return NewBill(
        kind="refund", source=source or f"{of}/late", campaign="c", user="ann", provider="bank", currency="CNY",
        amount_minor=500, subject="paid too late", account="sales", of=of, while_late=while_late,
    )  # fmt: skip


def paid_late(book: BillBook, count: int) -> list[KeptBill]:
    """Return pay-ins o0, o1, … that were closed, and paid after that."""
    book.make([payin(f"o{number}") for number in range(count)], 10)
    bills = book.take("bank", "start", 10, HIDDEN_US, count)
    closed = book.change([steps.after(bill, Closed(), TERMS, 20) for bill in bills])
    return book.change([steps.after(bill, Paid(500, 25, "r", "CNY", 3), TERMS, 30) for bill in closed])


def gave_back(book: BillBook, of: str) -> bool:
    try:
        book.make([refund(of)], 40)
    except NotCovered:
        return False
    return True


def kept(book: BillBook, source: str) -> bool:
    bill = book.keep_late(source, 40)
    assert bill is not None
    return bill.state is BillState.DONE


def test_what_its_owner_has_kept_does_not_go_back_by_itself_and_is_told_as_paid(place: Place, book: BillBook) -> None:
    [late] = paid_late(book, 1)
    book.told([late])
    assert kept(book, "o0")
    assert kept(book, "o0"), "kept is kept, however often that is asked"
    assert not gave_back(book, "o0")
    assert book.make([refund("o0")], 40, lenient=True) == []
    assert not book.paid_late(9)
    with closing(open_at(*place)) as again:
        [told] = again.untold(["o"], 9)
    assert (told.state, told.done_us, told.fee_minor) == (BillState.DONE, 25, 3)
    book.told([late])
    assert book.untold(["o"], 9), "who has heard that it came late has not heard that it was kept"
    assert book.balance("c", "sales").net_minor == 500
    assert book.make([refund("o0", "r1", while_late=False)], 50), "its owner may still give it back"


def test_what_goes_back_is_kept_by_nobody(book: BillBook) -> None:
    paid_late(book, 1)
    assert gave_back(book, "o0")
    assert gave_back(book, "o0"), "asked twice, it goes back once"
    assert not kept(book, "o0")
    assert [bill.source for bill in book.listed(kind="refund")] == ["o0/late"]
    assert book.balance("c", "refunds:bank").net_minor == 500


def test_only_what_came_late_is_kept_or_given_back_so(book: BillBook) -> None:
    assert book.keep_late("o0", 40) is None
    assert not gave_back(book, "o0")
    book.make([payin("o0")], 10)
    assert not kept(book, "o0")
    [bill] = book.take("bank", "start", 10, HIDDEN_US, 1)
    [paid] = book.change([steps.after(bill, Paid(500, 25, "r", "CNY"), TERMS, 30)])
    assert book.keep_late("o0", 40) == paid
    assert not gave_back(book, "o0")
    assert not book.listed(kind="refund")


def test_of_an_owner_and_a_refund_at_the_same_time_one_gets_it(place: Place, book: BillBook) -> None:
    count = 16
    paid_late(book, count)
    ready = threading.Barrier(2)
    got: dict[str, list[bool]] = {"kept": [], "gave back": []}

    def want(name: str) -> None:
        wish = kept if name == "kept" else gave_back
        try:
            with closing(open_at(*place)) as own:
                for number in range(count):
                    ready.wait()
                    got[name].append(wish(own, f"o{number}"))
        except BaseException:
            ready.abort()  # nobody waits for who has died
            raise

    threads = [threading.Thread(target=want, args=(name,)) for name in got]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one + other for one, other in zip(got["kept"], got["gave back"], strict=True)] == [1] * count
    back = {bill.of for bill in book.listed(kind="refund")}
    done = {bill.source for bill in book.listed(kind="payin", states=[BillState.DONE])}
    assert back == {f"o{number}" for number, went in enumerate(got["gave back"]) if went}
    assert done == {f"o{number}" for number in range(count)} - back
