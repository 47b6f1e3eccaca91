"""What every book of a sale must do (`redrush.ports.sale_book`)."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import msgspec
import pytest

from redrush.control.data_dir import DataDir
from redrush.control.keys import load_or_create_keys
from redrush.control.personal_data import PersonalData
from redrush.core.rush.sale_order import NEVER_US, SaleOrder, State, Why, order_id
from redrush.errors import ConfigError
from redrush.ports.sale_book import BookFailed, SaleBook
from redrush.records.postgres.sales import PostgresSaleBook
from redrush.records.sqlite.sales import SqliteSaleBook
from redrush.settle.selling.private_book import PrivateSaleBook
from tests.conftest import Databases

AT_US = 1_800_000_000_000_000
Opens = Callable[[Path], AbstractContextManager[SaleBook]]


def sqlite_books(_request: pytest.FixtureRequest) -> Opens:
    @contextmanager
    def opens(directory: Path) -> Iterator[SaleBook]:
        with closing(SqliteSaleBook.open_path(directory / "sales.db")) as book:
            yield book

    return opens


def postgres_books(request: pytest.FixtureRequest) -> Opens:
    databases: Databases = request.getfixturevalue("databases")
    dsn = databases.fresh()

    @contextmanager
    def opens(_directory: Path) -> Iterator[SaleBook]:
        with closing(PostgresSaleBook(dsn, "c")) as book, closing(PostgresSaleBook(dsn, "another")) as other:
            other.keep([order(90 + slot, user="ann") for slot in range(2)])  # a campaign of its own, in the same table
            yield book

    return opens


def private_books(_request: pytest.FixtureRequest) -> Opens:
    """Return what opens a book in which addresses are hidden."""

    @contextmanager
    def opens(directory: Path) -> Iterator[SaleBook]:
        data_dir = DataDir(directory / "event")
        data_dir.create()
        load_or_create_keys(data_dir)
        with closing(PrivateSaleBook(SqliteSaleBook.open_path(directory / "sales.db"), PersonalData(data_dir))) as book:
            yield book

    return opens


BOOKS: dict[str, Callable[[pytest.FixtureRequest], Opens]] = {
    "sqlite": sqlite_books,
    "postgres": postgres_books,
    "private": private_books,
}


@pytest.fixture(params=list(BOOKS.values()), ids=list(BOOKS))
def opens(request: pytest.FixtureRequest) -> Opens:
    adapter: Callable[[pytest.FixtureRequest], Opens] = request.param
    return adapter(request)


def order(slot: int = 0, number: int = 1, user: str = "ann", due_us: int = AT_US, set_: str = "") -> SaleOrder:
    return SaleOrder(
        set=set_,
        id=order_id(f"c-sale-{slot}", number, set_),
        grant=f"c-sale-{slot}",
        pot="sale",
        user=user,
        slot=slot,
        number=number,
        request="",
        until_us=AT_US,
        price_minor=100,
        state=State.PAYING,
        due_us=due_us,
        since_us=AT_US,
        charged=True,
        address="家",
    )


def test_an_order_is_kept_whole_and_found_by_all_that_names_it(opens: Opens, tmp_path: Path) -> None:
    with opens(tmp_path) as book:
        [kept] = book.keep([order(7, 3)])
        assert kept == msgspec.structs.replace(order(7, 3), version=1)
        assert book.get("c-sale-7#3") == kept
        assert book.of_user("ann") == book.all() == [kept]
        assert book.get("c-sale-7#4") is None
    with opens(tmp_path) as again:
        assert again.all() == [kept]


def test_whoever_was_first_is_kept_and_the_other_told_so(opens: Opens, tmp_path: Path) -> None:
    with opens(tmp_path) as book:
        [first] = book.keep([order()])
        assert first is not None
        assert book.keep([order()]) == [None], "it is there already"
        returning = msgspec.structs.replace(first, state=State.RETURNING, why=Why.EXPIRED)
        sold = msgspec.structs.replace(first, state=State.SOLD)
        [kept, too_late] = book.keep([returning, sold])
        assert kept is not None
        assert too_late is None
        assert book.get(first.id) == kept == msgspec.structs.replace(returning, version=2)


def test_a_hold_stands_in_one_order_only(opens: Opens, tmp_path: Path) -> None:
    with opens(tmp_path) as book:
        [first] = book.keep([order()])
        other = msgspec.structs.replace(order(), id="other")
        assert book.keep([other]) == [None]
        assert book.all() == [first]


def test_a_slot_may_be_held_under_the_same_number_in_two_sets(opens: Opens, tmp_path: Path) -> None:
    with opens(tmp_path) as book:
        kept = book.keep([order(3, 1, "ann", set_="s1"), order(3, 1, "bob", set_="s2"), order(3, 1, "bob", set_="s2")])
        assert [one and one.user for one in kept] == ["ann", "bob", None]
        asked = [(set_, "sale", 3, 1) for set_ in ("s1", "s2", "s3", "")]
        assert book.holds_known(asked) == set(asked[:2])


def test_a_commit_is_all_or_nothing(opens: Opens, tmp_path: Path) -> None:
    with opens(tmp_path) as book:
        [one, two] = book.keep([order(1), order(2)])
        assert one is not None
        assert two is not None
        onto_another = msgspec.structs.replace(two, slot=1, number=1)
        with pytest.raises(BookFailed):
            book.keep([msgspec.structs.replace(one, address="elsewhere"), onto_another])
        assert book.all() == [one, two]


def test_due_are_those_who_wait_for_something_the_longest_first(opens: Opens, tmp_path: Path) -> None:
    with opens(tmp_path) as book:
        book.keep([order(k, due_us=AT_US + due) for k, due in enumerate((30, 10, 20, NEVER_US - AT_US))])
        assert [one.slot for one in book.due(AT_US + 30, 10)] == [1, 2, 0]
        assert [one.slot for one in book.due(AT_US + 30, 2)] == [1, 2]
        assert book.due(AT_US + 9, 10) == []


def test_holds_that_stand_in_the_book_are_told_from_others(opens: Opens, tmp_path: Path) -> None:
    with opens(tmp_path) as book:
        book.keep([order(1, 5), order(2, 6)])
        asked = [("", "sale", 1, 5), ("", "sale", 1, 6), ("", "other", 2, 6), ("", "sale", 2, 6), ("s1", "sale", 2, 6)]
        assert book.holds_known(asked) == {("", "sale", 1, 5), ("", "sale", 2, 6)}
        assert book.holds_known([]) == set()
        assert book.counts() == {State.PAYING: 2}


def test_a_file_of_something_else_is_no_book(tmp_path: Path) -> None:
    (tmp_path / "sales.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(ConfigError, match=r"sales\.db"):
        SqliteSaleBook.open_path(tmp_path / "sales.db")


def test_a_book_of_another_version_is_told_as_such(tmp_path: Path) -> None:
    SqliteSaleBook.open_path(tmp_path / "sales.db").close()
    import apsw  # noqa: PLC0415 - a newer redrush has written it

    connection = apsw.Connection(str(tmp_path / "sales.db"))
    connection.pragma("user_version", 9)
    connection.close()
    with pytest.raises(ConfigError, match="reads version 2"):
        SqliteSaleBook.open_path(tmp_path / "sales.db")
