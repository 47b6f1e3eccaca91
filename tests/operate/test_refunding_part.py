"""A part of one payment goes back: once, never more than was paid, and only where what was bought is kept."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from redrush.cli.main import main
from redrush.config import parse_campaign
from redrush.control.data_dir import DataDir
from redrush.control.event import prepare_event
from redrush.core.money.clearing import credited
from redrush.core.money.ledger import SPONSOR
from redrush.core.rush.campaign import Kind
from redrush.core.rush.group import payment_of, rest_transfer
from redrush.core.rush.sale_order import SaleOrder, State
from redrush.errors import ConfigError, RedrushError
from redrush.operate import refunding_part
from redrush.operate.campaign_books import sale_book_of
from redrush.operate.paying import Books, book_of
from redrush.operate.refunding import find_refundable
from redrush.operate.refunding_part import REASON_SIGNS_MAX, PaidFor, Payment, find_payment, give_back_part
from redrush.ports.bill_book import BillBook, BillState, Change, Entry, KeptBill, NewBill
from redrush.ports.packets import Booked, Packet, Stage
from redrush.ports.records import RecordsFailed
from redrush.records.postgres.packets import PostgresPacketBook
from redrush.records.postgres.sales import PostgresSaleBook
from redrush.records.sqlite.bills import SqliteBillBook
from redrush.records.sqlite.packets import SqlitePacketBook
from redrush.records.sqlite.sales import SqliteSaleBook
from tests.conftest import Databases
from tests.operate.test_refunding import DEPLOYMENT, PRICE, SALE

ORDER = PaidFor(order="c-s-1#1")
PACKET = PaidFor(packet="a" * 32)
SHARES = (120, 380)
REST_MINOR = 120
WHY = "a scratch on the box"


def now_us() -> int:
    return time.time_ns() // 1_000


@pytest.fixture(params=["files", "tables"])
def books(tmp_path: Path, request: pytest.FixtureRequest) -> Books:
    """Those of a sale, in both forms."""
    data_dir = DataDir(tmp_path)
    data_dir.create()
    prepare_event(parse_campaign(SALE, "sale.toml"), data_dir, now_us)
    if request.param == "tables":
        databases: Databases = request.getfixturevalue("databases")
        (tmp_path / "records.dsn").write_text(databases.fresh())
        data_dir.deployment.write_text(DEPLOYMENT)
    else:
        SqliteBillBook.open_path(data_dir.payments).close()
    return Books.at(tmp_path, None)


def moved(book: BillBook, bill: KeptBill, state: BillState = BillState.DONE) -> None:
    postings = bill.billed.ended(20) if state is BillState.FAILED else bill.billed.moved(0, 20)
    change = Change(id=bill.id, version=bill.version, state=state, next_us=None, looks=0, changed_us=20, done_us=20,
                    postings=postings)  # fmt: skip
    assert book.change([change])


def paid(books: Books, source: str, account: str, *, arrived: bool = True) -> None:
    bill = NewBill(kind="payin", source=source, campaign="c", user="ann", provider="bank", currency="CNY",
                   amount_minor=PRICE, subject="a phone", account=account)  # fmt: skip
    with book_of(books) as book:
        (made,) = book.make([bill], 10)
        if arrived:
            moved(book, made)


@contextmanager
def sales_of(books: Books) -> Iterator[SqliteSaleBook | PostgresSaleBook]:
    dsn = books.data_dir.root / "records.dsn"
    if books.deployment is None:
        with closing(SqliteSaleBook.open_path(books.data_dir.sales)) as sales:
            yield sales
    else:
        with closing(PostgresSaleBook(dsn.read_text(), "c")) as sales_in_database:
            yield sales_in_database


def an_order(books: Books, state: State = State.DELIVERED) -> None:
    """Ann's order, which is paid."""
    order = SaleOrder(
        id=str(ORDER.order), grant="c-s-1", pot="s", user="ann", slot=1, number=1, request="", until_us=1,
        price_minor=PRICE, state=state, due_us=1, since_us=1, paid_us=5,
    )  # fmt: skip
    with sales_of(books) as sales:
        assert sales.keep([order]) != [None]
    paid(books, f"sale:c:{ORDER.order}", "sales")


def a_packet(books: Books, stage: Stage) -> None:
    """Ann's packet, of which somebody has a share."""
    packet = Packet(id=str(PACKET.packet), sender="ann", kind=Kind.LUCKY, total_minor=PRICE, count=2, amounts=SHARES)
    dsn = books.data_dir.root / "records.dsn"
    opened: Any = (
        SqlitePacketBook.open_path(books.data_dir.packets)
        if books.deployment is None
        else PostgresPacketBook(dsn.read_text(), "c")
    )
    with closing(opened) as packets:
        packets.add([Booked(packet, stage)])
    paid(books, payment_of("c", packet.id), SPONSOR)
    if stage is Stage.OVER:
        with book_of(books) as book:
            book.post_each("c", [Entry(credited("ann", SPONSOR, rest_transfer(packet.id), REST_MINOR, 30))])


def give(books: Books, amount_minor: int | None, part: int, what: PaidFor = ORDER, why: str = WHY) -> Payment:
    return give_back_part(books, what, amount_minor, part, why, now_us())


def refunds(books: Books) -> list[tuple[str, int]]:
    with book_of(books) as book:
        return [(one.source, one.amount_minor) for one in book.listed(kind="refund")]


def test_a_part_goes_back_once_and_the_next_one_has_a_number_of_its_own(books: Books) -> None:
    an_order(books)
    before = find_payment(books, ORDER)
    assert (before.user, before.paid_minor, before.left_minor, before.parts) == ("ann", PRICE, PRICE, ())
    first = give(books, 120, 1)
    assert give(books, 120, 1) == give(books, None, 1) == first, "the same order again is the same bill"
    assert (first.left_minor, [one.amount for one in first.parts]) == (380, ["1.20"])
    with pytest.raises(RedrushError, match=r"part 1 of it was 1\.20 CNY: nothing was done"):
        give(books, 130, 1)
    with pytest.raises(RedrushError, match="1 parts of it were given back so far, so the next one is not number 3"):
        give(books, 120, 3)
    give(books, 120, 2)
    assert give(books, None, 3).left_minor == 0
    source = f"sale:c:{ORDER.order}"
    assert refunds(books) == [(f"{source}/part/1", 120), (f"{source}/part/2", 120), (f"{source}/part/3", 260)]
    with book_of(books) as book:
        assert (book.balance("c", "sales").net_minor, book.balance("c", "refunds:bank").net_minor) == (0, PRICE)
        (kept, *_) = book.listed(kind="refund")
    assert (kept.of, kept.user, kept.provider, kept.subject, kept.state) == (source, "ann", "bank", WHY, BillState.NEW)


def test_no_more_goes_back_than_was_paid_and_what_failed_is_left_again(books: Books) -> None:
    an_order(books)
    for too_much in (PRICE + 1, 0):
        with pytest.raises(RedrushError, match=r"5\.00 of 5\.00 CNY is left to be given back: nothing was done"):
            give(books, too_much, 1)
    give(books, 400, 1)
    with pytest.raises(RedrushError, match=r"1\.00 of 5\.00 CNY is left"):
        give(books, 101, 2)
    with book_of(books) as book:
        (part,) = book.listed(kind="refund")
        moved(book, part, BillState.FAILED)
    assert give(books, 500, 2).left_minor == 0
    with pytest.raises(RedrushError, match=r"0\.00 of 5\.00 CNY is left"):
        give(books, None, 3)


def test_two_operators_who_saw_the_same_give_back_one_part(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one's order comes between our look and our commit."""
    an_order(books)

    @contextmanager
    def overtaken(where: Books) -> Iterator[BillBook]:
        monkeypatch.undo()
        with book_of(where) as book:
            make = book.make

            def making(bills: Sequence[NewBill], now: int) -> list[KeptBill]:
                give(books, 200, 1)
                return make(bills, now)

            book.make = making  # type: ignore[method-assign,assignment]
            yield book

    monkeypatch.setattr(refunding_part, "book_of", overtaken)
    with pytest.raises(RedrushError, match="somebody else has just given back part 1"):
        give(books, 120, 1)
    assert [amount for _, amount in refunds(books)] == [200]


def test_two_operators_who_give_back_the_same_give_it_back_once(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    an_order(books)

    @contextmanager
    def overtaken(where: Books) -> Iterator[BillBook]:
        monkeypatch.undo()
        with book_of(where) as book:
            left_of = book.left_of

            def looking(source: str) -> int:
                left_minor = left_of(source)
                book.left_of = left_of  # type: ignore[method-assign]
                give(books, 200, 1)
                return left_minor

            book.left_of = looking  # type: ignore[method-assign]
            yield book

    monkeypatch.setattr(refunding_part, "book_of", overtaken)
    assert give(books, 200, 1).left_minor == 300
    assert [amount for _, amount in refunds(books)] == [200]


@pytest.mark.parametrize("dies", ["before the commit", "after the commit"])
def test_whoever_dies_around_the_commit_gives_the_order_again(
    books: Books, monkeypatch: pytest.MonkeyPatch, dies: str
) -> None:
    an_order(books)

    @contextmanager
    def mortal(where: Books) -> Iterator[BillBook]:
        with book_of(where) as book:
            make = book.make

            def making(bills: Sequence[NewBill], now: int) -> list[KeptBill]:
                if dies == "after the commit":
                    make(bills, now)
                raise RecordsFailed("it is unknown whether it was kept")

            book.make = making  # type: ignore[method-assign,assignment]
            yield book

    monkeypatch.setattr(refunding_part, "book_of", mortal)
    with pytest.raises(RecordsFailed):
        give(books, 120, 1)
    monkeypatch.undo()
    assert len(refunds(books)) == (dies == "after the commit")
    assert give(books, 120, 1).left_minor == 380
    assert [amount for _, amount in refunds(books)] == [120]


@pytest.mark.parametrize("state", [State.REFUNDING, State.REFUNDED, State.RECALLING, State.RETURNING])
def test_who_gets_all_back_gets_no_part_besides(books: Books, state: State) -> None:
    an_order(books, state)
    with pytest.raises(RedrushError, match=f"is {state}: what was paid for it goes back as a whole, or is back"):
        give(books, 120, 1)
    assert refunds(books) == []


def test_only_what_somebody_has_paid_goes_back(books: Books) -> None:
    with pytest.raises(ConfigError, match="order c-s-1#1: c has none that was to be paid"):
        give(books, 1, 1)
    with pytest.raises(ConfigError, match=r"packet a+: c has none that was paid at a provider"):
        give(books, 1, 1, PACKET)
    paid(books, f"sale:c:{ORDER.order}", "sales", arrived=False)
    with pytest.raises(RedrushError, match=r"order c-s-1#1 is not paid: its bill .* is new"):
        find_payment(books, ORDER)
    paid(books, "sale:c:lost", "sales")
    with pytest.raises(ConfigError, match="order lost: is in no book of sales"):
        give(books, 1, 1, PaidFor(order="lost"))
    with book_of(books) as book:
        late = book.find("payin", "sale:c:lost")
        assert late is not None
        book.change([Change(id=late.id, version=late.version, state=BillState.PAID_LATE, next_us=None, looks=0,
                            changed_us=30)])  # fmt: skip
    with pytest.raises(RedrushError, match="was paid too late, and all of it goes back by itself"):
        give(books, 1, 1, PaidFor(order="lost"))
    for why in ("", "x" * (REASON_SIGNS_MAX + 1), "two\nlines"):
        with pytest.raises(ConfigError, match="say why, in 1 to 80 signs"):
            give(books, 1, 1, why=why)


def test_of_a_packet_goes_back_what_others_had_once_it_is_over(books: Books) -> None:
    a_packet(books, Stage.OVER)
    assert find_payment(books, PACKET).left_minor == PRICE - REST_MINOR, "its rest is in its sender's balance"
    with pytest.raises(RedrushError, match=r"3\.80 of 5\.00 CNY is left"):
        give(books, 381, 1, PACKET)
    assert give(books, 380, 1, PACKET).left_minor == 0
    with book_of(books) as book:
        assert book.balance("c", SPONSOR).net_minor == 0


def test_a_packet_that_is_open_keeps_its_money(books: Books) -> None:
    a_packet(books, Stage.OPEN)
    with pytest.raises(RedrushError, match=r"packet a+ is not over"):
        give(books, 1, 1, PACKET)


def test_what_a_cancelled_campaign_gives_back_is_told_less_the_parts(books: Books) -> None:
    an_order(books)
    give(books, 120, 1)
    found = find_refundable(books, now_us())
    assert (found.paid, found.paid_total_minor) == (1, PRICE - 120)
    with sale_book_of(books, "c") as sales:
        assert sales is not None
        (order,) = sales.all()
        assert sales.keep([msgspec.structs.replace(order, state=State.REFUNDED)]) != [None]
    assert find_refundable(books, now_us()).paid_total_minor == 0


@pytest.fixture
def ran(
    books: Books, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    def run(*more: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["redrush", "refund", "--data", str(books.data_dir.root), *more])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out + told.err

    return run


def test_the_command_tells_first_and_gives_back_by_the_number_that_it_told(
    books: Books, ran: Callable[..., tuple[int, str]]
) -> None:
    an_order(books)
    wanted = ("--order", str(ORDER.order), "--amount", "1.20", "--why", WHY)
    code, told = ran(*wanted)
    assert (code, told.splitlines()) == (
        0,
        [
            "order c-s-1#1: 5.00 CNY paid by ann at bank, of which 5.00 is left",
            "--yes 1 gives back 1.20 CNY",
        ],
    )
    assert refunds(books) == [], "it was only told"
    for _ in range(2):
        code, told = ran(*wanted, "--yes", "1", "--json")
        fields = json.loads(told)
        assert (code, fields["left_minor"], fields["given_back"]) == (0, 380, True)
        assert [(one["amount"], one["state"]) for one in fields["parts"]] == [("1.20", "new")]
    assert ran("--order", str(ORDER.order), "--amount", "all")[1].endswith("--yes 2 gives back 3.80 CNY\n")
    code, told = ran("--order", str(ORDER.order), "--amount", "3.81")
    assert (code, told.splitlines()[-1]) == (0, "so much is not left to be given back, or it is nothing")
    assert ran("--order", str(ORDER.order), "--amount", "3.81", "--why", WHY, "--yes", "2")[0] == 1


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (("--amount", "1"), "say of which payment --amount is a part"),
        (("--amount", "1", "--order", "x", "--packet", "y"), "say of which payment --amount is a part"),
        (("--amount", "1", "--order", "x", "--user", "ann"), "say of which payment --amount is a part"),
        (("--packet", "y"), "--packet and --why go with --amount"),
        (("--order", "x", "--why", "y"), "--packet and --why go with --amount"),
        (("--amount", "1", "--order", "x"), "order x: c has none that was to be paid"),
        (("--amount", "1.234", "--order", "c-s-1#1"), '--amount: "1.234" has 3 decimal places, but CNY has 2'),
    ],
)
def test_what_cannot_be_meant_is_said(
    books: Books, ran: Callable[..., tuple[int, str]], wanted: Sequence[str], said: str
) -> None:
    an_order(books)
    code, told = ran(*wanted)
    assert code == 2
    assert said in told
