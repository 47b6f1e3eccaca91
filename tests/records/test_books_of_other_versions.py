"""Books of an earlier redrush, which commands find under its server, and of a newer one: none is changed, or taken for
damaged."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw
import msgspec
import pytest

from redrush.core.rush.campaign import Kind
from redrush.errors import ConfigError, NewerVersion
from redrush.ports.bill_book import BillState, NewBill
from redrush.ports.message_book import Fate, MessageState, NewMessage
from redrush.ports.packets import Booked, Packet, Stage
from redrush.ports.sale_book import SaleOrder, State
from redrush.records.sqlite import bills, messages, packets, sales
from redrush.records.sqlite.bills import SqliteBillBook
from redrush.records.sqlite.book_examining import check_whole
from redrush.records.sqlite.book_mark import mark_path
from redrush.records.sqlite.file import Book
from redrush.records.sqlite.messages import SqliteMessageBook
from redrush.records.sqlite.packets import SqlitePacketBook
from redrush.records.sqlite.sales import SqliteSaleBook
from redrush.settle.reconcile.evidence import READABLE

PACKET: Final = Packet(id="p1", sender="ann", kind=Kind.LUCKY, total_minor=100, count=2, created_us=1, amounts=(40, 60))
BILL: Final = NewBill(
    kind="payout", source="g1", campaign="c", user="u1", provider="bank", currency="CNY",
    amount_minor=100, subject="red packet", to="u1",
)  # fmt: skip
MESSAGE: Final = NewMessage(by="mail", campaign="c", grant="g1", user="u1", at_us=1, fields={"worth": "1.00"})
ORDER: Final = SaleOrder(
    set="", id="c-sale-7#1", grant="c-sale-7", pot="sale", user="u1", slot=7, number=1, request="", until_us=9,
    price_minor=100, state=State.PAYING, due_us=9, since_us=1, charged=True, address="",
)  # fmt: skip


class Sort(NamedTuple):
    """A book, and what commands do with one."""

    name: str
    book: Book
    opens: Any
    fill: Callable[[Any], object]
    read: Callable[[Any], object]
    change: Callable[[Any], object]
    back: dict[int, tuple[str, ...]]
    """What makes of a book of the version above one of this version."""


def _read_messages(book: SqliteMessageBook) -> object:
    new = [MessageState.NEW]
    return [book.listed(), book.listed(states=new), book.listed(user="u1", states=new), book.missing("mail", ["g1"])]


def _read_bills(book: SqliteBillBook) -> object:
    (bill,) = book.listed()
    in_state = book.listed(kind="payout", states=[BillState.NEW], user="u1")
    spent = book.spendings("c", "u1", 0, 9)
    return [bill, in_state, book.numbered(bill.number), spent, book.moved("bank", 0, 99), book.left_of("g1")]


SORTS: Final = (
    Sort(
        "packets.db", packets.BOOK, SqlitePacketBook,
        lambda book: book.add([Booked(PACKET, Stage.OPEN)]),
        lambda book: [book.find("p1"), book.find_each(["p1"]), book.of_sender("ann", 9)],
        lambda book: book.turn(["p1"], Stage.OVER),
        {
            3: (
                "DROP INDEX paying", "DROP INDEX due",
                "CREATE INDEX under_way ON packets (stage, closes_us) WHERE stage IN (1, 2)",
            ),
            2: ("DROP INDEX given",),
            1: ("ALTER TABLE packets DROP COLUMN digest",),
        },
    ),
    Sort(
        "messages.db", messages.BOOK, SqliteMessageBook,
        lambda book: book.put([MESSAGE], 10),
        _read_messages,
        lambda book: book.change([
            Fate(id=1, version=0, state=MessageState.SENT, tries=1, next_us=None, changed_us=20)
        ]),
        {
            2: ("DROP INDEX messages_of_state", "CREATE INDEX messages_of_state ON messages (state, notifier, id)"),
            1: ("ALTER TABLE messages DROP COLUMN digest",),
        },
    ),
    Sort(
        "payments.db", bills.BOOK, SqliteBillBook,
        lambda book: book.make([BILL], 10),
        _read_bills,
        lambda book: book.make([msgspec.structs.replace(BILL, source="g2")], 20),
        {1: ("ALTER TABLE bills DROP COLUMN digest",)},
    ),
    Sort(
        "sales.db", sales.BOOK, SqliteSaleBook,
        lambda book: book.keep([ORDER]),
        lambda book: [book.get(ORDER.id), book.of_user("u1"), book.all(), book.counts()],
        lambda book: book.keep([book.get(ORDER.id)]),
        {1: ("ALTER TABLE orders DROP COLUMN digest",)},
    ),
)  # fmt: skip
OLDER: Final = [(sort, version) for sort in SORTS for version in sort.back]
EACH: Final = pytest.mark.parametrize("sort", SORTS, ids=[sort.name for sort in SORTS])


def filled(sort: Sort, directory: Path) -> Path:
    path = directory / sort.name
    with closing(sort.opens.open_path(path)) as book:
        sort.fill(book)
    return path


def all_of(path: Path) -> object:
    """Return its version, its tables and indexes, and each row of them, and what stands in its mark."""
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        schema = connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name").fetchall()
        tables = [str(name) for kind, name, _ in schema if kind == "table"]
        rows = {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in tables}
        return connection.pragma("user_version"), schema, rows, mark_path(path).read_bytes()


def test_each_version_of_before_is_tried() -> None:
    for sort in SORTS:
        assert sorted(sort.back) == sorted(sort.book.versions)[:-1]


@pytest.mark.parametrize(("sort", "version"), OLDER, ids=[f"{sort.name}-{version}" for sort, version in OLDER])
def test_a_command_reads_a_book_of_before_as_it_is_and_a_server_brings_it_to_this_version(
    sort: Sort, version: int, tmp_path: Path
) -> None:
    path = filled(sort, tmp_path)
    with closing(sort.opens.open_as_it_is(path)) as book:
        told = sort.read(book)
    with closing(apsw.Connection(str(path))) as connection:
        for target, statements in sort.back.items():
            if target >= version:
                for statement in statements:
                    connection.execute(statement)
        connection.pragma("user_version", version)
    before = all_of(path)
    with closing(sort.opens.open_as_it_is(path)) as book:
        assert sort.read(book) == told
        with pytest.raises(ConfigError, match=f"of version {version}, .*: start the server by this redrush first"):
            sort.change(book)
    assert all_of(path) == before
    with closing(sort.opens.open_path(path)) as book:
        assert sort.read(book) == told
        sort.change(book)
    with closing(apsw.Connection(str(path))) as connection:
        assert connection.pragma("user_version") == max(sort.book.versions)


@EACH
def test_a_command_changes_a_book_of_this_version(sort: Sort, tmp_path: Path) -> None:
    path = filled(sort, tmp_path)
    before = all_of(path)
    with closing(sort.opens.open_as_it_is(path)) as book:
        sort.read(book)
        assert all_of(path) == before
        sort.change(book)
    assert all_of(path) != before


@EACH
def test_a_book_of_before_that_lacks_commits_is_refused_to_who_looks_too(sort: Sort, tmp_path: Path) -> None:
    path = filled(sort, tmp_path)
    with closing(apsw.Connection(str(path))) as connection:
        connection.pragma("user_version", 1)
        connection.execute("UPDATE life SET commits = 0")
    with pytest.raises(ConfigError, match="lacks the last 1 of 1 changes"):
        sort.opens.open_as_it_is(path)


@EACH
def test_a_newer_book_is_not_taken_for_a_damaged_one(sort: Sort, tmp_path: Path) -> None:
    path = filled(sort, tmp_path)
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(f"ALTER TABLE {_table(connection)} RENAME TO of_later")  # nobody knows what else is other
        connection.pragma("user_version", 99)
    before = all_of(path)
    opens: tuple[Callable[[], object], ...] = (
        lambda: sort.opens.open_path(path),
        lambda: sort.opens.open_as_it_is(path),
        lambda: check_whole(path, sort.book),
    )
    for open_ in opens:
        with pytest.raises(NewerVersion, match=r"of version 99, .*: use the redrush that wrote it$"):
            open_()
    assert all_of(path) == before


def _table(connection: apsw.Connection) -> str:
    names = {str(name) for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    (found,) = names & {"packets", "messages", "bills", "orders"}
    return found


def test_reconciliation_reads_the_version_that_servers_write() -> None:
    for sort in SORTS:
        if sort.name in READABLE:
            readable = READABLE[sort.name]
            assert (readable.application_id, readable.newest) == (sort.book.application_id, max(sort.book.versions))
