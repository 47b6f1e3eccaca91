"""What every adapter of `redrush.ports.packets.PacketBook` must do. A new adapter joins by one entry in `ADAPTERS`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from redrush.core.rush.campaign import Kind
from redrush.errors import ConfigError
from redrush.ports.packets import Booked, Packet, PacketBook, Stage
from redrush.records.postgres.packets import PostgresPacketBook
from redrush.records.sqlite.file import open_durable, read_durable
from redrush.records.sqlite.packets import BOOK, SqlitePacketBook
from tests.conftest import Databases

Opener = Callable[[], PacketBook]
"""Opens the same book each time: what an earlier one kept, the next one finds."""


def sqlite_book(request: pytest.FixtureRequest) -> Opener:
    directory: Path = request.getfixturevalue("tmp_path")
    return lambda: SqlitePacketBook.open_path(directory / "packets.db")


def postgres_book(request: pytest.FixtureRequest) -> Opener:
    databases: Databases = request.getfixturevalue("databases")
    dsn = databases.fresh()
    return lambda: PostgresPacketBook(dsn, "c")


ADAPTERS: dict[str, Callable[[pytest.FixtureRequest], Opener]] = {"sqlite": sqlite_book, "postgres": postgres_book}


@pytest.fixture(params=list(ADAPTERS.values()), ids=list(ADAPTERS))
def opener(request: pytest.FixtureRequest) -> Opener:
    adapter: Callable[[pytest.FixtureRequest], Opener] = request.param
    return adapter(request)


@pytest.fixture
def book(opener: Opener) -> Iterator[PacketBook]:
    opened = opener()
    yield opened
    opened.close()


def booked(id_: str = "p1", stage: Stage = Stage.UNPAID, **fields: Any) -> Booked:
    packet = Packet(id=id_, sender="ann", kind=Kind.LUCKY, total_minor=100, count=2, created_us=1)
    return Booked(msgspec.structs.replace(packet, **fields), stage)


def test_what_was_written_is_there_after_the_next_opening(opener: Opener) -> None:
    first = opener()
    packet = booked(greeting="恭喜", named=("bob", "张伟"), word="k1:00", amounts=(40, 60), paid_us=3, closes_us=9)
    assert first.add([packet]) == [packet]
    first.close()
    second = opener()
    assert second.find("p1") == packet
    assert second.find("p2") is None
    assert second.find_each(["p2", "p1"]) == [None, packet]
    assert second.find_each([]) == []
    second.close()


def test_adding_a_known_packet_leaves_it_as_it_is(book: PacketBook) -> None:
    book.add([booked(greeting="one")])
    book.add([booked(greeting="two"), booked("p2")])
    found = book.find("p1")
    assert found is not None
    assert found.packet.greeting == "one"
    assert book.find("p2") == booked("p2")


def test_one_named_request_of_a_sender_creates_one_packet(book: PacketBook) -> None:
    first, again = booked("p1", request="r"), booked("p2", request="r")
    assert book.add([first, again]) == [first, first]
    assert book.add([booked("p3", request="r")]) == [first]
    assert book.find("p2") is None
    other = booked("p4", request="r", sender="bob")
    assert book.add([other]) == [other]
    assert book.add([booked("p5"), booked("p6")]) == [booked("p5"), booked("p6")], "those without a name are apart"


def test_packets_are_kept_and_turned(book: PacketBook) -> None:
    book.add([booked("p1"), booked("p2")])
    split = booked("p1", Stage.PAYING, amounts=(1, 99), paid_us=5, closes_us=7)
    book.keep([split])
    assert book.find("p1") == split
    book.turn(["p1", "p2"], Stage.OVER)
    assert book.find("p1") == Booked(split.packet, Stage.OVER)
    assert book.find("p2") == booked("p2", Stage.OVER)


def test_a_sender_finds_their_last_packets_first(book: PacketBook) -> None:
    book.add([booked(f"p{number}", created_us=number) for number in range(5)] + [booked("q", sender="bob")])
    assert [one.packet.id for one in book.of_sender("ann", 3)] == ["p4", "p3", "p2"]
    assert book.of_sender("nobody", 3) == []


def test_what_was_given_counts_since_an_instant_what_was_split_to_be_paid(book: PacketBook) -> None:
    book.add(
        [
            booked("p1", Stage.OPEN, paid_us=10),
            booked("p2", Stage.OVER, paid_us=11),
            booked("p3", Stage.PAYING, paid_us=12),
            booked("early", Stage.OPEN, paid_us=9),
            booked("unpaid", Stage.UNPAID, paid_us=12),
            booked("cancelled", Stage.OVER),
            booked("shared", Stage.OPEN, paid_us=12, sponsored=True, request="share:c-r1-1"),
            booked("another's", Stage.OPEN, paid_us=12, sender="bob"),
        ]
    )
    assert book.given_minor(["ann", "bob", "nobody"], 10) == {"ann": 300, "bob": 100, "nobody": 0}
    assert book.given_minor(["ann"], 13) == {"ann": 0}
    assert book.given_minor([], 0) == {}


def test_packets_that_are_being_paid_come_in_order_of_their_ids(book: PacketBook) -> None:
    assert not book.any_under_way()
    book.add([booked(id_, Stage.PAYING) for id_ in ("c", "a", "b")] + [booked("d", Stage.OPEN)])
    assert [one.packet.id for one in book.paying("", 2)] == ["a", "b"]
    assert [one.packet.id for one in book.paying("b", 2)] == ["c"]
    book.turn(["a", "b", "c"], Stage.UNPAID)
    assert book.any_under_way(), "one is open"
    book.turn(["d"], Stage.OVER)
    assert not book.any_under_way()


def test_open_packets_are_due_at_their_deadline_the_earliest_first(book: PacketBook) -> None:
    book.add([booked(f"p{at}", Stage.OPEN, closes_us=at) for at in (30, 10, 20, 40)])
    book.add([booked("q", Stage.PAYING, closes_us=5), booked("r", Stage.OVER, closes_us=5)])
    assert [one.packet.id for one in book.due(30, 9)] == ["p10", "p20", "p30"]
    assert [one.packet.id for one in book.due(30, 1)] == ["p10"]
    assert book.due(9, 9) == []


def test_books_of_two_campaigns_in_one_database_are_apart(request: pytest.FixtureRequest) -> None:
    databases: Databases = request.getfixturevalue("databases")
    dsn = databases.fresh()
    one, other = PostgresPacketBook(dsn, "c"), PostgresPacketBook(dsn, "d")
    one.add([booked("p1", Stage.OPEN, request="r", closes_us=1)])
    assert other.add([booked("p2", Stage.PAYING, request="r")]) == [booked("p2", Stage.PAYING, request="r")]
    assert (one.find("p2"), other.find("p1")) == (None, None)
    assert (one.paying("", 9), other.due(9, 9)) == ([], [])
    assert other.of_sender("ann", 9) == [booked("p2", Stage.PAYING, request="r")]
    one.hear("s1", 7, [booked("p3", Stage.OPEN)])
    one.hear("s1", 5, [booked("p3", Stage.OPEN)])
    assert (one.heard("s1"), one.heard("s2")) == (7, 0)
    one.close()
    other.close()


def test_a_file_of_the_version_before_is_brought_to_this_one_with_all_its_packets(tmp_path: Path) -> None:
    path = tmp_path / "packets.db"
    version = max(BOOK.versions) - 1
    writer = open_durable(path, BOOK._replace(versions={to: BOOK.versions[to] for to in range(1, version + 1)}))
    old = SqlitePacketBook(path, writer, read_durable(path))
    old.add([booked("p1", Stage.OPEN, closes_us=5), booked("p2", Stage.PAYING), booked("p3", Stage.OVER, closes_us=5)])
    old.close()
    book = SqlitePacketBook.open_path(path)
    assert book.due(9, 9) == [booked("p1", Stage.OPEN, closes_us=5)]
    assert book.paying("", 9) == [booked("p2", Stage.PAYING)]
    assert book.any_under_way()
    book.close()


def test_a_file_of_something_else_is_no_book(tmp_path: Path) -> None:
    (tmp_path / "packets.db").write_bytes(b"no database" * 100)
    with pytest.raises(ConfigError, match=r"packets\.db"):
        SqlitePacketBook.open_path(tmp_path / "packets.db")
