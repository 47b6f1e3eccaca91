"""What the examination of a book finds, what an operator goes on with, and what is no damage."""

from contextlib import closing
from pathlib import Path

import apsw

from redrush.ports.bill_book import NewBill
from redrush.ports.provider import Failed, Terms
from redrush.records.sqlite.bills import SqliteBillBook
from redrush.records.sqlite.book_examining import problems_of
from redrush.settle.paying import steps

TERMS = Terms(currency="CNY")


def payout(source: str, to: str = "u1") -> NewBill:
    return NewBill(
        kind="payout", source=source, campaign="c", user="u1", provider="bank", currency="CNY",
        amount_minor=100, subject="red packet", to=to,
    )  # fmt: skip


def bills_at(path: Path, *sources: str) -> Path:
    """Return a bill book in which these payouts have failed, each to a receiver that is more than the user's id."""
    with closing(SqliteBillBook.open_path(path)) as book:
        made = book.make([payout(source, f"p1:{source}") for source in sources], 10)
        book.change([steps.after(bill, Failed("no"), TERMS, 20) for bill in made])
    return path


def damage(path: Path, *statements: str) -> None:
    with closing(apsw.Connection(str(path))) as connection:
        connection.pragma("ignore_check_constraints", True)
        for statement in statements:
            connection.execute(statement)


def test_a_receiver_that_was_erased_is_no_damage(tmp_path: Path) -> None:
    path = bills_at(tmp_path / "payments.db", "g1", "g2")
    with closing(SqliteBillBook.open_path(path)) as book:
        assert book.forget_receivers(30) == 2
    assert problems_of(path) == []
    damage(path, "UPDATE bills SET receiver = 'p1:somebody' WHERE source = 'g1'")
    assert problems_of(path) == ["bill payout g1 is not what was written"]


def test_erasing_hides_no_damage(tmp_path: Path) -> None:
    path = bills_at(tmp_path / "payments.db", "g1", "g2")
    damage(path, "UPDATE bills SET subject = 'another' WHERE source = 'g1'")
    with closing(SqliteBillBook.open_path(path)) as book:
        assert book.forget_receivers(30) == 2
    assert problems_of(path) == ["bill payout g1 is not what was written"]
