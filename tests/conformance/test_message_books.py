"""What every book of messages must do (`redrush.ports.message_book`)."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from redrush.errors import ConfigError
from redrush.ports.message_book import Fate, KeptMessage, MessageBook, MessageState, NewMessage
from redrush.records.postgres.messages import PostgresMessageBook
from redrush.records.sqlite.messages import SqliteMessageBook
from tests.conftest import Databases

AT_US = 1_800_000_000_000_000
Opens = Callable[[Path], AbstractContextManager[MessageBook]]


@contextmanager
def sqlite(directory: Path) -> Iterator[MessageBook]:
    book = SqliteMessageBook.open_path(directory / "messages.db")
    try:
        yield book
    finally:
        book.close()


def sqlite_books(_request: pytest.FixtureRequest) -> Opens:
    return sqlite


def postgres_books(request: pytest.FixtureRequest) -> Opens:
    databases: Databases = request.getfixturevalue("databases")
    dsn = databases.fresh()

    @contextmanager
    def opens(_directory: Path) -> Iterator[MessageBook]:
        with closing(PostgresMessageBook(dsn, "a")) as book:
            yield book

    return opens


BOOKS: dict[str, Callable[[pytest.FixtureRequest], Opens]] = {"sqlite": sqlite_books, "postgres": postgres_books}


@pytest.fixture(params=list(BOOKS.values()), ids=list(BOOKS))
def opens(request: pytest.FixtureRequest) -> Opens:
    adapter: Callable[[pytest.FixtureRequest], Opens] = request.param
    return adapter(request)


def message(grant: str = "c-r1-0", user: str = "ann", by: str = "mail") -> NewMessage:
    return NewMessage(by=by, campaign="c", grant=grant, user=user, at_us=AT_US, fields={"worth": "1.00 CNY"})


def sent(one: KeptMessage) -> Fate:
    return Fate(
        id=one.id, version=one.version, state=MessageState.SENT, tries=one.tries + 1, next_us=None, changed_us=AT_US + 5
    )


def test_a_grant_and_a_notifier_make_one_message_and_the_cursor_moves_with_it(opens: Opens, tmp_path: Path) -> None:
    with opens(tmp_path) as book:
        assert book.cursor("log") == 0
        assert book.put([message(), message(by="shop")], AT_US, ("log", 7)) == 2
        assert book.put([message(), message(grant="c-r1-1")], AT_US + 9, ("log", 8)) == 1
    with opens(tmp_path) as book:
        assert book.cursor("log") == 8
        first, second, third = book.listed()
        assert (first.by, first.grant, first.state, first.fields) == ("mail", "c-r1-0", "new", {"worth": "1.00 CNY"})
        assert len({first.number, second.number, third.number}) == 3
        assert first.next_us == AT_US, "what is put in twice stays as it was"


def test_a_message_is_sending_before_anybody_has_it_and_stays_so_for_the_next_process(
    opens: Opens, tmp_path: Path
) -> None:
    with opens(tmp_path) as book:
        book.put([message(grant=f"c-r1-{slot}") for slot in range(5)], AT_US)
        taken = book.take("mail", AT_US, 2)
        assert [one.grant for one in taken] == ["c-r1-0", "c-r1-1"]
        assert {one.state for one in taken} == {MessageState.SENDING}
        assert book.take("shop", AT_US, 2) == []
        assert book.take("mail", AT_US - 1, 2) == [], "their time has not come"
        assert book.change([sent(taken[0])]) == 1
    with opens(tmp_path) as book:
        assert [one.grant for one in book.under_way("mail", 10)] == ["c-r1-1"]
        assert len(book.take("mail", AT_US, 10)) == 3


def test_who_sends_alone_has_one_turn(opens: Opens, tmp_path: Path) -> None:
    with opens(tmp_path) as book:
        first = book.turn()
        assert (first, book.turn()) == (1, 1)


def test_many_who_take_at_once_never_take_the_same_message(opens: Opens, tmp_path: Path) -> None:
    taken: list[str] = []

    def work(book: MessageBook) -> None:
        while some := book.take("mail", AT_US, 7):
            taken.extend(one.grant for one in some)

    with opens(tmp_path) as one, opens(tmp_path) as other:
        grants = [f"c-r1-{slot}" for slot in range(210)]
        one.put([message(grant=grant) for grant in grants], AT_US)
        threads = [threading.Thread(target=work, args=(book,)) for book in (one, one, other, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(taken) == sorted(grants)


def test_a_change_applies_to_what_it_was_derived_from_or_not_at_all(opens: Opens, tmp_path: Path) -> None:
    with opens(tmp_path) as book:
        book.put([message()], AT_US)
        (before,) = book.listed()
        (taken,) = book.take("mail", AT_US, 1)
        assert book.change([sent(before)]) == 0
        assert book.change([sent(taken), sent(taken)]) == 1
        (after,) = book.listed()
        assert (after.state, after.tries, after.next_us, after.changed_us) == ("sent", 1, None, AT_US + 5)


def test_it_tells_what_there_is_and_what_is_missing(opens: Opens, tmp_path: Path) -> None:
    with opens(tmp_path) as book:
        book.put([message(), message("c-r1-1", "bob"), message("c-r1-1", "bob", by="shop")], AT_US)
        book.change([sent(one) for one in book.take("mail", AT_US, 1)])
        assert [one.user for one in book.listed(states=[MessageState.SENT])] == ["ann"]
        assert [one.by for one in book.listed(user="bob")] == ["mail", "shop"]
        assert [one.grant for one in book.listed(by="mail", after=book.listed()[0].id)] == ["c-r1-1"]
        assert book.missing("shop", ["c-r1-0", "c-r1-1"]) == {"c-r1-0"}


def test_messages_are_listed_by_id_whatever_their_state(opens: Opens, tmp_path: Path) -> None:
    with opens(tmp_path) as book:
        book.put([message(f"c-r1-{slot}", "ann", by=by) for slot in range(3) for by in ("mail", "shop")], AT_US)
        book.change([sent(one) for one in book.take("shop", AT_US, 2)])
        both = [MessageState.NEW, MessageState.SENT]
        everything = [(one.by, one.grant) for one in book.listed()]
        assert [(one.by, one.grant) for one in book.listed(states=both)] == everything
        assert [(one.by, one.grant) for one in book.listed(states=both, limit=3)] == everything[:3]
        assert [one.grant for one in book.listed(states=both, by="shop")] == ["c-r1-0", "c-r1-1", "c-r1-2"]
        assert [one.grant for one in book.listed(states=[MessageState.NEW], user="ann", by="shop")] == ["c-r1-2"]


def test_no_code_and_no_address_is_in_the_file_and_it_is_its_owners_alone(tmp_path: Path) -> None:
    with sqlite(tmp_path) as book:
        book.put([message()], AT_US)
    assert (tmp_path / "messages.db").stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(tmp_path / "messages.db")) as file:
        columns = {row[1] for row in file.execute("PRAGMA table_info(messages)")}
    assert columns.isdisjoint({"to", "receiver", "address", "code", "text", "title"})


def test_what_is_due_is_found_by_an_index_however_much_is_done(tmp_path: Path) -> None:
    with sqlite(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / "messages.db")) as file:
        for state, order in (("state = 'new' AND notifier = 'm' AND next_us <= 5", "next_us"),
                             ("state = 'sending' AND notifier = 'm'", "id")):  # fmt: skip
            (plan,) = file.execute(f"EXPLAIN QUERY PLAN SELECT id FROM messages WHERE {state} ORDER BY {order} LIMIT 8")
            assert "INDEX messages_" in plan[3], plan


def test_another_file_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "messages.db")) as file:
        file.execute("CREATE TABLE other (a)")
        file.commit()
    with pytest.raises(ConfigError, match="is not a book of messages of redrush"):
        SqliteMessageBook.open_path(tmp_path / "messages.db")
