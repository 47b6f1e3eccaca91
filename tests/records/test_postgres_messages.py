"""The book of messages on PostgreSQL: who sends. What every book does is in tests/conformance/test_message_books.py."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from redrush.ports.message_book import NewMessage
from redrush.records.postgres.bills import PostgresBillBook
from redrush.records.postgres.messages import PostgresMessageBook
from redrush.sqlfiles import load_statements


def messages(count: int) -> list[NewMessage]:
    return [
        NewMessage(by="mail", campaign="c", grant=f"c-r1-{slot}", user=f"u{slot}", at_us=1, fields={"worth": "1.00"})
        for slot in range(count)
    ]


@pytest.fixture
def books(dsn: str) -> Iterator[list[PostgresMessageBook]]:
    opened = [PostgresMessageBook(dsn, name) for name in ("a", "b")]
    yield opened
    for book in opened:
        book.close()


def run(dsn: str, query: bytes) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET redrush.recorder = 'yes'")
        cursor = connection.execute(query)
        return [] if cursor.description is None else cursor.fetchall()


def lapse(dsn: str) -> None:
    run(dsn, b"UPDATE bill_teller SET until = clock_timestamp() - interval '1 minute'")


def last(dsn: str) -> None:
    """Let the lease be good for as long as a test lasts on a machine that is busy."""
    run(dsn, b"UPDATE bill_teller SET until = clock_timestamp() + interval '1 hour'")


def take(book: PostgresMessageBook) -> list[str]:
    return [one.grant for one in book.take("mail", 10, 1)]


def test_one_process_sends_and_whose_turn_it_is_next_knows_that_it_is_another(
    dsn: str, books: list[PostgresMessageBook]
) -> None:
    first, second = books
    first.put(messages(4), 10)
    assert (first.turn(), first.turn()) == (1, 1)
    last(dsn)
    assert (take(first), second.turn(), take(second)) == (["c-r1-0"], 0, [])
    lapse(dsn)
    assert second.turn() == 2
    last(dsn)
    assert [one.grant for one in second.under_way("mail", 10)] == ["c-r1-0"], "of which it knows nothing"
    assert (take(second), first.turn(), take(first)) == (["c-r1-1"], 0, [])
    lapse(dsn)
    assert first.turn() == 3, "somebody else has sent in between"


def test_whoever_looks_after_the_bills_sends_the_messages(dsn: str, books: list[PostgresMessageBook]) -> None:
    bills = PostgresBillBook(dsn, "b")
    assert bills.take("bank", "start", 10, 10, 1) == []
    last(dsn)
    assert [book.turn() for book in books] == [0, 1]
    bills.close()


def test_a_lease_that_lapses_and_is_its_owners_again_is_no_other_turn(
    dsn: str, books: list[PostgresMessageBook]
) -> None:
    assert books[0].turn() == 1
    lapse(dsn)
    assert books[0].turn() == 1


def test_what_is_due_and_what_is_under_way_are_found_by_an_index(dsn: str, books: list[PostgresMessageBook]) -> None:
    books[0].put(messages(300), 10)
    sql = load_statements("redrush.records.postgres.messages", "queries.sql")
    by_index = load_statements("redrush.records.postgres", "book.sql")["by_index"]
    with psycopg.connect(dsn) as connection:
        connection.execute(by_index.encode())
        for name, index in (("take", "messages_due"), ("under_way", "messages_under_way")):
            query = f"EXPLAIN {sql[name]}"
            rows = connection.execute(query.encode(), {"by": "mail", "now_us": 10, "limit": 8}).fetchall()
            plan = "\n".join(line for (line,) in rows)
            assert index in plan, plan
            assert "Sort" not in plan, plan


def test_a_change_by_a_hand_is_told_of(dsn: str, books: list[PostgresMessageBook]) -> None:
    books[0].put(messages(1), 10)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("UPDATE messages SET state = 'sent'")
    assert run(dsn, b"SELECT what FROM alarms") == [("UPDATE of messages",)]
