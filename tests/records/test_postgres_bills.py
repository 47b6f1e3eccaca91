"""The bill book on PostgreSQL: who looks after the bills, and how they are found. What every book does is in
tests/conformance/test_bill_books.py."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from redrush.ports.bill_book import KINDS, BillConflict, KeptBill, NewBill
from redrush.records.postgres.bills import PostgresBillBook
from redrush.records.postgres.link import Cursor
from redrush.sqlfiles import load_statements

HIDDEN_US = 10**9


def payout(source: str, user: str = "u1") -> NewBill:
    return NewBill(
        kind="payout", source=source, campaign="c", user=user, provider="bank", currency="CNY",
        amount_minor=100, subject="red packet", to=user,
    )  # fmt: skip


@pytest.fixture
def tellers(dsn: str) -> Iterator[list[PostgresBillBook]]:
    books = [PostgresBillBook(dsn, name) for name in ("a", "b")]
    yield books
    for book in books:
        book.close()


def take(book: PostgresBillBook, limit: int = 1) -> list[str]:
    return [bill.source for bill in book.take("bank", "start", 10, HIDDEN_US, limit)]


def run(dsn: str, query: bytes) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET redrush.recorder = 'yes'")
        cursor = connection.execute(query)
        return [] if cursor.description is None else cursor.fetchall()


def lapse(dsn: str) -> None:
    run(dsn, b"UPDATE bill_teller SET until = clock_timestamp() - interval '1 second'")


def test_one_process_looks_after_the_bills_until_it_says_nothing_any_more(
    dsn: str, tellers: list[PostgresBillBook]
) -> None:
    first, second = tellers
    first.make([payout(f"g{number}") for number in range(6)], 10)
    assert (take(first), take(second)) == (["g0"], [])
    assert (first.is_standby, second.is_standby) == (False, True)
    lapse(dsn)
    assert take(second) == ["g1"]
    assert (take(first), first.is_standby) == ([], True), "the old one is not let in before the new one is silent"
    assert (take(second), second.is_standby) == (["g2"], False)


def test_a_process_that_comes_back_under_its_name_goes_on_at_once(dsn: str, tellers: list[PostgresBillBook]) -> None:
    first, other = tellers
    first.make([payout("g1"), payout("g2")], 10)
    assert take(first) == ["g1"]
    again = PostgresBillBook(dsn, "a")
    assert (take(other), take(again)) == ([], ["g2"])
    again.close()


def test_a_lease_is_renewed_while_there_is_nothing_to_do(dsn: str, tellers: list[PostgresBillBook]) -> None:
    assert take(tellers[0]) == []
    run(dsn, b"UPDATE bill_teller SET until = clock_timestamp() + interval '1 second'")
    assert take(tellers[0]) == []
    assert run(dsn, b"SELECT until > clock_timestamp() + interval '2 seconds' FROM bill_teller") == [(True,)]


def test_a_look_for_bills_that_finds_none_writes_nothing(
    tellers: list[PostgresBillBook], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, standby = tellers
    wrote = {book: wrote_of(book, monkeypatch) for book in tellers}
    assert take(first) == []
    assert (take(first), take(standby), take(first)) == ([], [], [])
    assert (wrote[first], wrote[standby]) == ([True, False, False], [False]), "the first look takes the lease"
    first.make([payout("g1")], 10)
    assert (take(first), wrote[first][-1]) == (["g1"], True)


def wrote_of(book: PostgresBillBook, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Return to what is appended, of each transaction, whether it has changed or locked anything."""
    wrote: list[bool] = []
    transaction = book._writer.transaction

    @contextmanager
    def noted() -> Iterator[Cursor]:
        with transaction() as at:
            yield at
            wrote.append(at.execute(b"SELECT pg_current_xact_id_if_assigned() IS NOT NULL").fetchall() == [(True,)])

    monkeypatch.setattr(book._writer, "transaction", noted)
    return wrote


def test_who_was_taken_over_from_while_it_looked_for_bills_takes_none(
    dsn: str, tellers: list[PostgresBillBook], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tellers
    assert take(first) == []
    first.make([payout("g1"), payout("g2")], 10)
    hold = first._lease.hold
    meanwhile: list[list[str]] = []

    def hold_late(at: Cursor) -> bool:
        lapse(dsn)
        meanwhile.append(take(second))
        return hold(at)

    monkeypatch.setattr(first._lease, "hold", hold_late)
    assert (take(first), first.is_standby) == ([], True)
    assert meanwhile == [["g2"]], "the other waits for no bill, and takes what is not being looked at"
    assert (take(second), second.is_standby) == (["g1"], False), "it was not asked for"


def test_many_who_take_at_once_never_take_the_same_bill(dsn: str) -> None:
    books = [PostgresBillBook(dsn) for _ in range(4)]
    books[0].make([payout(f"g{number}") for number in range(200)], 10)
    taken: list[str] = []

    def work(book: PostgresBillBook) -> None:
        while sources := take(book, 7):
            taken.extend(sources)

    threads = [threading.Thread(target=work, args=(book,)) for book in books]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(f"g{number}" for number in range(200))
    for book in books:
        book.close()


def test_the_same_bill_twice_in_a_batch_is_one_and_two_that_differ_are_none(dsn: str) -> None:
    book = PostgresBillBook(dsn)
    first, second = book.make([payout("g1"), payout("g1")], 10)
    assert first == second
    with pytest.raises(BillConflict):
        book.make([payout("g2", "u1"), payout("g2", "u2")], 10)
    assert book.find("payout", "g2") is None
    book.close()


@pytest.mark.parametrize("step", ["start", "ask"])
def test_what_is_due_is_found_by_its_index_alone(dsn: str, step: str) -> None:
    book = PostgresBillBook(dsn)
    book.make([payout(f"g{number}", f"u{number}") for number in range(3_000)], 10)
    with book._writer.transaction() as at:
        wanted = {"provider": "bank", "kinds": list(KINDS), "now_us": 10, "limit": 10, "hidden_until_us": HIDDEN_US}
        plan = at.execute(b"EXPLAIN " + book._sql[f"to_{step}"], wanted).fetchall()
    text = "\n".join(line for (line,) in plan)
    assert f"Index Scan using bills_to_{step} on bills" in text
    assert "Seq Scan" not in text
    book.close()


def test_every_query_that_gives_a_bill_has_its_columns_in_the_order_of_its_fields(dsn: str) -> None:
    sql = load_statements("redrush.records.postgres.bills", "queries.sql")
    names = {"receiver": "to", "of_source": "of"}
    for name in ("found_each", "make", "to_start", "to_ask", "change", "numbered", "untold", "listed", "moved"):
        text = sql[name]
        listed = text.rpartition("RETURNING")[2] if "RETURNING" in text else text.partition("FROM")[0][len("SELECT") :]
        columns = [column.strip(' ";\n').removeprefix("bills.") for column in listed.split(",")]
        start = len(columns) - len(KeptBill.__struct_fields__)
        assert tuple(names.get(column, column) for column in columns[start:]) == KeptBill.__struct_fields__, name
