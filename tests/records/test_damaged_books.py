"""Books in which something stands that is not what they are of: it is told with the name of the book."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw
import pytest

from redrush.ports import packets, records, sale_book
from redrush.ports.packets import Booked, Stage
from redrush.ports.provider import Notice, Paid
from redrush.records.sqlite.bills import SqliteBillBook
from redrush.records.sqlite.packets import SqlitePacketBook
from redrush.records.sqlite.sales import SqliteSaleBook
from tests.records.test_books_of_other_versions import ORDER, PACKET

NOTICE: Final = Notice(
    id="n1", kind="payin", number="N", state=Paid(500, 20, "r", "CNY"), amount_minor=500, currency="CNY",
    merchant="m", made_us=20,
)  # fmt: skip


class Sort(NamedTuple):
    """A book, and where in it is what it is of."""

    opens: Callable[[Path], Any]
    fill: Callable[[Any], object]
    read: Callable[[Any], list[Any]]
    failed: type[Exception]
    damage: str


def _packets(read: Callable[[SqlitePacketBook], list[Any]]) -> Sort:
    return Sort(
        SqlitePacketBook.open_path,
        lambda book: book.add([Booked(PACKET, Stage.OPEN)]),
        read,
        packets.BookFailed,
        "UPDATE packets SET content = CAST(? AS BLOB)",
    )


SORTS: Final = {
    "packet": _packets(lambda book: [book.find("p1")]),
    "packets": _packets(lambda book: book.find_each(["p1"])),
    "packets of a sender": _packets(lambda book: book.of_sender("ann", 9)),
    "orders": Sort(
        SqliteSaleBook.open_path,
        lambda book: book.keep([ORDER]),
        lambda book: book.all(),
        sale_book.BookFailed,
        "UPDATE orders SET body = ?",
    ),
    "notices": Sort(
        SqliteBillBook.open_path,
        lambda book: book.keep_notices([("bank", NOTICE)], 30),
        lambda book: book.inbox(9),
        records.RecordsFailed,
        "UPDATE inbox SET said = ?",
    ),
}


@pytest.mark.parametrize("damage", ['{"id":"p1"', '{"id":1}', "[]"])
@pytest.mark.parametrize("sort", SORTS.values(), ids=SORTS)
def test_what_it_is_not_of_is_told_with_the_name_of_the_book(sort: Sort, damage: str, tmp_path: Path) -> None:
    path = tmp_path / "book.db"
    with closing(sort.opens(path)) as book:
        sort.fill(book)
        assert len(sort.read(book)) == 1
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(sort.damage, (damage,))
    with closing(sort.opens(path)) as book, pytest.raises(sort.failed, match=r"book\.db: "):
        sort.read(book)
