"""What every adapter of `redrush.ports.bill_book` must do. A new adapter joins by one entry in `ADAPTERS`."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from redrush.core.money import clearing
from redrush.core.money.numbers import bill_number
from redrush.core.rush.group import payment_of, rest_transfer
from redrush.errors import ConfigError
from redrush.ports.bill_book import BillBook, BillConflict, BillState, Entered, Entry, KeptBill, NewBill, NotCovered
from redrush.ports.grant_pages import LedgerPart
from redrush.ports.provider import Accepted, BillLine, Closed, Done, Failed, Notice, Paid, Terms
from redrush.ports.records import Balance, RecordsFailed
from redrush.records import ledger_pages
from redrush.records.postgres.bills import PostgresBillBook
from redrush.records.sqlite import SqliteRecords
from redrush.records.sqlite.bills import SqliteBillBook
from redrush.records.sqlite.book_mark import mark_path
from redrush.settle.paying import steps
from redrush.settle.paying.comparing import compare, unbooked_fees
from tests.conftest import Databases

Opener = Callable[[], BillBook]
"""Opens the same book each time: what an earlier one kept, the next one finds."""

TERMS = Terms(currency="CNY")
HIDDEN_US = 10**9


def sqlite_book(request: pytest.FixtureRequest) -> Opener:
    directory: Path = request.getfixturevalue("tmp_path")
    return lambda: SqliteBillBook.open_path(directory / "payments.db")


def postgres_book(request: pytest.FixtureRequest) -> Opener:
    databases: Databases = request.getfixturevalue("databases")
    dsn = databases.fresh()
    return lambda: PostgresBillBook(dsn)


ADAPTERS: dict[str, Callable[[pytest.FixtureRequest], Opener]] = {"sqlite": sqlite_book, "postgres": postgres_book}


@pytest.fixture(params=list(ADAPTERS.values()), ids=list(ADAPTERS))
def opener(request: pytest.FixtureRequest) -> Opener:
    adapter: Callable[[pytest.FixtureRequest], Opener] = request.param
    return adapter(request)


@pytest.fixture
def book(opener: Opener) -> Iterator[BillBook]:
    opened = opener()
    yield opened
    opened.close()


def payout(source: str = "g1", amount_minor: int = 100, user: str = "u1", covered_minor: int | None = None) -> NewBill:
    return NewBill(
        kind="payout", source=source, campaign="c", user=user, provider="bank", currency="CNY",
        amount_minor=amount_minor, subject="red packet", to=user, covered_minor=covered_minor,
    )  # fmt: skip


def payin(source: str = "o1", amount_minor: int = 500) -> NewBill:
    return NewBill(
        kind="payin", source=source, campaign="c", user="u2", provider="bank", currency="CNY",
        amount_minor=amount_minor, subject="a phone", account="sales", expires_us=9_000,
    )  # fmt: skip


def net(book: BillBook, account: str) -> int:
    return book.balance("c", account).net_minor


def test_a_bill_is_made_once_and_set_aside(opener: Opener, book: BillBook) -> None:
    (kept,) = book.make([payout()], 10)
    assert (kept.number, kept.state, kept.attempt, kept.next_us) == (bill_number("payout", "g1"), "new", 1, 10)
    assert book.make([payout()], 20) == [kept]
    assert book.balance("c", "user:u1") == Balance(100, 0)
    assert book.balance("c", "payouts:bank") == Balance(0, 100)
    book.close()
    again = opener()
    assert again.find("payout", "g1") == kept
    assert again.numbered(kept.number) == kept
    assert again.find("payin", "g1") is None
    again.close()


def test_a_bill_of_that_source_with_other_terms_is_a_conflict(book: BillBook) -> None:
    book.make([payout()], 10)
    with pytest.raises(BillConflict):
        book.make([payout("g2"), payout(amount_minor=101)], 10)
    assert book.find("payout", "g2") is None
    assert net(book, "user:u1") == -100


def test_nobody_is_paid_more_than_their_balance(book: BillBook) -> None:
    book.make([payout("a", 60, covered_minor=100)], 10)
    with pytest.raises(NotCovered) as refused:
        book.make([payout("b", 41, covered_minor=100)], 10)
    assert refused.value.available_minor == 40
    left = [payout("c", 41, covered_minor=100), payout("b", 40, covered_minor=100)]
    assert [bill.source for bill in book.make(left, 10, lenient=True)] == ["b"]
    book.make([payout("a", 60, covered_minor=100)], 10)  # the same bill again needs no cover
    assert net(book, "user:u1") == -100


def test_a_balance_that_was_spent_is_spent_once(book: BillBook) -> None:
    spending = clearing.spent("u1", "sponsor", "packet-1", 70, 5)
    assert book.post_each("c", [Entry(spending, 100)]) == [Entered.NOW]
    assert book.post_each("c", [Entry(spending, 100)]) == [Entered.BEFORE]
    too_much = clearing.spent("u1", "sponsor", "packet-2", 31, 5)
    assert book.post_each("c", [Entry(too_much, 100)]) == [Entered.NOT_COVERED]
    assert book.post_each("c", [Entry(clearing.credited("u1", "sponsor", "packet-1", 20, 6))]) == [Entered.NOW]
    assert net(book, "user:u1") == -50
    assert net(book, "sponsor") == 50


def test_what_is_to_be_started_is_taken_once_and_asked_for_later(book: BillBook) -> None:
    book.make([payout("g1"), payout("g2"), payin()], 10)
    assert not book.take("bank", "start", 9, HIDDEN_US, 10)
    assert not book.take("other", "start", 10, HIDDEN_US, 10)
    taken = book.take("bank", "start", 10, HIDDEN_US, 2)
    assert [bill.source for bill in taken] == ["o1", "g1"], "who waits at a screen goes first"
    assert {bill.state for bill in taken} == {BillState.ASKED}
    assert {bill.asked_us for bill in taken} == {10}
    assert [bill.source for bill in book.take("bank", "start", 10, HIDDEN_US, 2)] == ["g2"]
    assert not book.take("bank", "ask", HIDDEN_US - 1, HIDDEN_US, 10)
    asked = book.take("bank", "ask", HIDDEN_US, 2 * HIDDEN_US, 10)
    assert sorted(bill.source for bill in asked) == ["g1", "g2", "o1"]
    assert not book.take("bank", "ask", HIDDEN_US, 2 * HIDDEN_US, 10)


def test_a_payout_that_arrives_is_cleared_and_one_that_fails_goes_back(book: BillBook) -> None:
    book.make([payout("g1", 100), payout("g2", 30)], 10)
    good, bad = book.take("bank", "start", 10, HIDDEN_US, 10)
    book.change([steps.after(good, Accepted("ref"), TERMS, 20)])
    (good,) = book.take("bank", "ask", 10**8, HIDDEN_US, 10)
    assert (good.state, good.reference) == (BillState.PENDING, "ref")
    done = Done(100, 30, "ref", "CNY", fee_minor=2)
    assert [bill.state for bill in book.change([steps.after(good, done, TERMS, 40)])] == [BillState.DONE]
    book.change([steps.after(bad, Failed("no such wallet"), TERMS, 40)])
    assert (net(book, "user:u1"), net(book, "payouts:bank")) == (-100, 0)
    assert (net(book, "clearing:bank"), net(book, "fees:bank")) == (102, -2)
    assert (book.net_of("clearing:bank"), book.net_of("nobody")) == (102, 0)
    failed = book.find("payout", "g2")
    assert failed is not None
    assert (failed.state, failed.detail, failed.next_us) == (BillState.FAILED, "no such wallet", None)
    (retried,) = book.change([steps.again(failed, 50, covered_minor=130)])
    assert (retried.state, retried.attempt) == (BillState.NEW, 2)
    assert retried.number == bill_number("payout", "g2", 2)
    assert book.numbered(failed.number) == book.numbered(retried.number) == retried
    assert net(book, "user:u1") == -130


def test_a_change_that_was_overtaken_is_not_made(book: BillBook) -> None:
    book.make([payout()], 10)
    (bill,) = book.take("bank", "start", 10, HIDDEN_US, 1)
    change = steps.after(bill, Done(100, 30, "r", "CNY"), TERMS, 40)
    assert len(book.change([change])) == 1
    assert not book.change([change])
    assert net(book, "clearing:bank") == 100


def test_owners_hear_of_pay_ins_until_they_say_so(book: BillBook) -> None:
    book.make([payin()], 10)
    (bill,) = book.take("bank", "start", 10, HIDDEN_US, 1)
    assert not book.untold(["o"], 10)
    book.change([steps.after(bill, Paid(500, 20, "r", "CNY", 3), TERMS, 30)])
    assert not book.untold(["x", "o2"], 10)
    untold = book.untold(["x", "o"], 10)
    assert [(one.source, one.state, one.fee_minor) for one in untold] == [("o1", BillState.DONE, 3)]
    assert book.untold(["o"], 10, untold[0].id - 1) == untold
    assert not book.untold(["o"], 10, untold[0].id)
    book.told(untold)
    assert not book.untold(["o"], 10)
    assert (net(book, "sales"), net(book, "clearing:bank"), net(book, "fees:bank")) == (500, -497, -3)


def test_fees_that_only_the_bill_of_the_day_tells_are_booked_once_and_nobody_is_told_again(book: BillBook) -> None:
    book.make([payin("o1", 100_000), payin("o2", 50_000)], 10)
    for bill in book.take("bank", "start", 10, 10, 2):
        book.change([steps.after(bill, Paid(bill.amount_minor, 20, "r", "CNY"), Terms(currency="CNY"), 20)])
    book.told(book.untold(["o"], 10))
    bills = {bill.source: bill for bill in book.listed()}
    numbers = {source: bill.number for source, bill in bills.items()}
    back = NewBill(
        kind="refund", source="o2/back", campaign="c", user="u1", provider="bank", currency="CNY", amount_minor=50_000,
        subject="back", of="o2", account=bills["o2"].account,
    )  # fmt: skip
    (refund,) = book.make([back], 30)
    (refund,) = book.change([steps.after(refund, Done(50_000, 40, "r", "CNY"), Terms(currency="CNY"), 40)])
    book.told([refund])
    lines = [
        BillLine("payin", numbers["o1"], 100_000, 600, "r", 20),
        BillLine("payin", numbers["o1"], 100_000, 600, "r", 20),
        BillLine("payin", numbers["o2"], 50_000, 300, "r", 20),
        BillLine("refund", refund.number, 50_000, -300, "r", 40),
        BillLine("payin", "STRANGE", 100, 1, "r", 20),
    ]
    for _ in range(2):  # the second time there is nothing left to book
        unbooked = unbooked_fees(lines, {}, book.numbered)
        book.change([steps.charged(bill, line.fee_minor, 50) for bill, line in unbooked])
        assert (net(book, "fees:bank"), net(book, "clearing:bank")) == (-600, 600 - 100_000)
        assert [bill.fee_minor for bill in book.listed()] == [600, 300, -300]
        assert book.untold(["o"], 10) == [], "their owners know that they have ended"
    assert unbooked == []
    with pytest.raises(ValueError, match="with a fee of 600"):
        steps.charged(book.listed()[0], 700, 60)
    stale = steps.charged(bills["o1"], 600, 60)
    assert book.change([stale]) == [], "by another command, which read it before"
    compared = compare("bank", "2027-01-01", book.listed(), [lines[0], *lines[2:4]], book, tells_fees=False)
    assert (compared.ok, compared.difference_minor, compared.unbooked_minor, compared.fees_minor) == (True, 0, 0, 600)


def test_refunds_come_to_what_was_paid_in_at_most(book: BillBook) -> None:
    def refund(source: str, amount_minor: int) -> NewBill:
        return msgspec.structs.replace(
            payin(source, amount_minor), kind="refund", of="o1", subject="late", expires_us=None
        )

    with pytest.raises(NotCovered):
        book.make([refund("r1", 1)], 10)
    book.make([payin()], 10)
    (bill,) = book.take("bank", "start", 10, HIDDEN_US, 1)
    book.change([steps.after(bill, Paid(500, 20, "r", "CNY"), TERMS, 30)])
    book.make([refund("r1", 300)], 40)
    book.make([refund("r1", 300)], 40)
    with pytest.raises(NotCovered) as refused:
        book.make([refund("r2", 201)], 40)
    assert refused.value.available_minor == 200
    (part,) = book.take("bank", "start", 40, HIDDEN_US, 1)
    book.change([steps.after(part, Failed("account closed"), TERMS, 50)])
    book.make([refund("r2", 500)], 60)
    assert (net(book, "sales"), net(book, "refunds:bank")) == (0, 500)


def test_what_of_a_packet_is_in_its_senders_balance_is_not_given_back_besides(book: BillBook) -> None:
    source, rest = payment_of("c", "a" * 32), rest_transfer("a" * 32)
    assert book.left_of(source) == 0
    book.make([payin(source), payin("o1")], 10)
    assert book.left_of(source) == 0, "nothing was paid yet"
    for bill in book.take("bank", "start", 10, HIDDEN_US, 2):
        book.change([steps.after(bill, Paid(500, 20, "r", "CNY"), TERMS, 30)])
    book.post_each("another", [Entry(clearing.credited("u2", "sponsor", rest, 400, 30))])
    assert (book.left_of(source), book.left_of("o1")) == (500, 500)
    book.post_each("c", [Entry(clearing.credited("u2", "sponsor", rest, 200, 30))])
    assert (book.left_of(source), book.left_of("o1")) == (300, 500)

    def refund(name: str, amount_minor: int) -> NewBill:
        return msgspec.structs.replace(
            payin(name, amount_minor), kind="refund", of=source, subject="back", expires_us=None
        )

    with pytest.raises(NotCovered):
        book.make([refund("r1", 301)], 40)
    book.make([refund("r1", 200)], 40)
    assert book.left_of(source) == 100
    (part,) = book.take("bank", "start", 40, HIDDEN_US, 1)
    (failed,) = book.change([steps.after(part, Failed("account closed"), TERMS, 50)])
    assert book.left_of(source) == 300
    book.make([refund("r2", 101)], 60)
    with pytest.raises(NotCovered):
        book.change([steps.again(failed, 70, covered_minor=None)])
    assert book.left_of(source) == 199


def test_what_was_paid_after_it_had_ended_is_known_until_it_is_given_back(book: BillBook) -> None:
    book.make([payin("o1"), payin("o2"), payin("o3")], 10)
    for bill in book.take("bank", "start", 10, HIDDEN_US, 3):
        if bill.source == "o3":  # in time
            book.change([steps.after(bill, Paid(500, 20, "r", "CNY"), TERMS, 30)])
            continue
        (closed,) = book.change([steps.after(bill, Closed(), TERMS, 20)])
        assert not book.paid_late(9)
        if bill.source == "o1":
            book.change([steps.after(closed, Paid(500, 25, "r", "CNY"), TERMS, 30)])
            (late,) = book.paid_late(9)
            assert (late.source, late.state) == ("o1", BillState.PAID_LATE)
            book.make(
                [msgspec.structs.replace(payin("o1/late"), kind="refund", of="o1", subject="late", expires_us=None)], 40
            )
    assert not book.paid_late(9)


def test_a_hurried_bill_is_due_at_once(book: BillBook) -> None:
    book.make([payin()], 10)
    (bill,) = book.take("bank", "start", 10, HIDDEN_US, 1)
    assert not book.take("bank", "ask", 11, HIDDEN_US, 1)
    book.hurry(bill.id, 11, expires_us=11)
    (hurried,) = book.take("bank", "ask", 11, HIDDEN_US, 1)
    assert hurried.expires_us == 11


def test_a_notice_is_kept_once(opener: Opener, book: BillBook) -> None:
    notice = Notice(
        id="n1", kind="payin", number="N", state=Paid(500, 20, "r", "CNY"), amount_minor=500, currency="CNY",
        merchant="m", made_us=20,
    )  # fmt: skip
    other = msgspec.structs.replace(notice, id="n2")
    assert book.keep_notices([("bank", notice), ("bank", notice), ("shop", notice)], 30) == 2
    assert book.keep_notices([("bank", notice), ("bank", other)], 31) == 1
    kept = book.inbox(10)
    assert [(one.provider, one.notice) for one in kept] == [("bank", notice), ("shop", notice), ("bank", other)]
    book.seen(kept[:2])
    assert [one.notice.id for one in book.inbox(10)] == ["n2"]


def test_a_cursor_moves_with_the_bills(opener: Opener, book: BillBook) -> None:
    assert book.cursor("log") == 0
    book.make([payout()], 10, ("log", 7))
    with pytest.raises(BillConflict):
        book.make([payout(amount_minor=1)], 10, ("log", 8))
    book.close()
    again = opener()
    assert again.cursor("log") == 7
    again.close()


def test_bills_are_listed_and_summed(book: BillBook) -> None:
    book.make([payout("g1"), payout("g2", 30, "u9"), payin()], 10)
    taken = book.take("bank", "start", 10, HIDDEN_US, 10)
    book.change([steps.after(bill, Done(bill.amount_minor, 30, "r", "CNY"), TERMS, 40) for bill in taken[1:2]])
    assert [bill.source for bill in book.listed()] == ["g1", "g2", "o1"]
    assert [bill.source for bill in book.listed(kind="payout", user="u9")] == ["g2"]
    assert [bill.source for bill in book.listed(states=[BillState.DONE])] == ["g1"]
    first = book.listed(limit=1)
    assert [bill.source for bill in book.listed(after=first[0].id)] == ["g2", "o1"]
    assert [bill.source for bill in book.moved("bank", 30, 31)] == ["g1"]
    assert not book.moved("bank", 31, 99)
    assert [(one.kind, str(one.state), one.count, one.amount_minor) for one in book.sums()] == [
        ("payin", "asked", 1, 500), ("payout", "asked", 1, 30), ("payout", "done", 1, 100),
    ]  # fmt: skip


def test_the_oldest_under_way_and_the_accounts_of_a_campaign_are_told(book: BillBook) -> None:
    other = msgspec.structs.replace(payout("g3"), campaign="d")
    book.make([payout("g1")], 10)
    book.make([payout("g2", 30, "u9"), payin(), other], 20)
    assert book.under_way() == {"c": 10, "d": 20}
    (first,) = book.take("bank", "start", 20, HIDDEN_US, 1, ("payout",))
    assert book.under_way() == {"c": 10, "d": 20}, "who was asked for it has not paid yet"
    book.change([steps.after(first, Done(first.amount_minor, 30, "r", "CNY"), TERMS, 40)])
    assert book.under_way() == {"c": 20, "d": 20}
    assert book.accounts("c") == {"clearing:bank": Balance(0, 100), "payouts:bank": Balance(100, 130)}
    assert book.accounts("nosuch") == {}


def test_a_file_of_something_else_is_no_book(tmp_path: Path) -> None:
    records = SqliteRecords.open_path(tmp_path / "payments.db")
    records.close()
    with pytest.raises(ConfigError, match=r"payments\.db is not a bill book"):
        SqliteBillBook.open_path(tmp_path / "payments.db")


def test_a_disk_that_takes_no_mark_is_told_as_a_failure_of_the_book(tmp_path: Path) -> None:
    path = tmp_path / "payments.db"
    with closing(SqliteBillBook.open_path(path)) as book:
        mark_path(path).unlink(missing_ok=True)
        mark_path(path).mkdir()
        with pytest.raises(RecordsFailed, match=r"payments\.db: .*payments\.mark"):
            book.make([payout()], 10)


def test_bills_in_several_states_are_listed_in_their_order_up_to_the_limit(book: BillBook) -> None:
    made = book.make([payout(f"g{number}") for number in range(6)], 10)
    book.change([steps.after(bill, Failed("no"), TERMS, 20) for bill in made[1::2]])
    states = [BillState.FAILED, BillState.NEW]
    assert [bill.source for bill in book.listed(states=states, limit=3)] == ["g0", "g1", "g2"]
    assert [bill.source for bill in book.listed(states=states, after=made[2].id, limit=2)] == ["g3", "g4"]


def test_no_more_bills_are_read_than_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(SqliteBillBook.open_path(tmp_path / "payments.db")) as book:
        made = book.make([payout(f"g{number}") for number in range(6)], 10)
        book.change([steps.after(bill, Failed("no"), TERMS, 20) for bill in made[1::2]])
        read: list[int] = []
        of_id = book._of_id

        def noted(bill_id: int) -> KeptBill:
            read.append(bill_id)
            return of_id(bill_id)

        monkeypatch.setattr(book, "_of_id", noted)
        found = book.listed(states=[BillState.FAILED, BillState.NEW], limit=3)
    assert read == [bill.id for bill in found]


def test_a_held_bill_waits_for_a_person(book: BillBook) -> None:
    (bill,) = book.make([msgspec.structs.replace(payout(), held=True)], 10)
    assert bill.state is BillState.HELD
    assert not book.take("bank", "start", 10**12, HIDDEN_US, 1)
    book.change([steps.released(bill, 20)])
    assert [one.source for one in book.take("bank", "start", 20, HIDDEN_US, 1)] == ["g1"]


def test_whom_a_bill_went_to_is_forgotten_once_it_is_final_and_nothing_else_is(book: BillBook) -> None:
    hidden = msgspec.structs.replace(payout("g1"), to="p1:secret")
    book.make([hidden, msgspec.structs.replace(hidden, source="g2"), payout("g3")], 10)
    ended = book.find("payout", "g1")
    assert ended is not None
    book.change([steps.after(ended, Failed("no"), TERMS, 20)])
    assert book.forget_receivers(20) == 0, "it changed at that instant, not before"
    assert book.forget_receivers(21, "u2") == 0
    assert (book.forget_receivers(21, "u1"), book.forget_receivers(21)) == (1, 0)
    assert [(bill.source, bill.to) for bill in book.listed()] == [("g1", ""), ("g2", "p1:secret"), ("g3", "u1")]


def ids_of(book: BillBook, part: LedgerPart, limit: int = 2) -> list[str]:
    """Return the ids of a part, page by page."""
    found: list[str] = []
    place: str | None = ""
    while place is not None:
        page = book.ledger("c", part, place, limit)
        assert len(page.postings) <= limit
        found += [one.id for one in page.postings]
        place = page.following
    return found


def test_postings_are_paged_by_their_ids_by_beginning_and_by_account(
    book: BillBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.make([payout("g1"), payout("g2", 250, "u2"), msgspec.structs.replace(payout("g3"), campaign="d")], 1)
    (taken, *_) = book.take("bank", "start", 2, HIDDEN_US, 1)
    book.change([steps.after(taken, Done(100, 3, "r", "CNY", 7), TERMS, 3)])
    posted = ["payout:g1#1", "payout:g1#1:done", "payout:g1#1:fee", "payout:g2#1"]
    assert ids_of(book, LedgerPart()) == posted
    assert ids_of(book, LedgerPart(begins="payout:g1")) == posted[:3]
    assert ids_of(book, LedgerPart(account="fees:bank")) == ["payout:g1#1:fee"]
    assert ids_of(book, LedgerPart(account="payouts:bank")) == [posted[0], posted[1], posted[3]]
    assert ids_of(book, LedgerPart(begins="refund:")) == []
    (fee,) = book.ledger("c", LedgerPart(begins="payout:g1#1:fee"), "", 5).postings
    assert (fee.debit_account, fee.credit_account, fee.amount_minor, fee.at_us) == ("fees:bank", "clearing:bank", 7, 3)
    monkeypatch.setattr(ledger_pages, "LOOKED_MAX", 2)
    assert ids_of(book, LedgerPart(account="payouts:bank")) == [posted[0], posted[1], posted[3]]
