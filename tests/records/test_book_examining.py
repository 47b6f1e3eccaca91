"""What the examination of a book finds, what an operator goes on with, and what is no damage."""

from contextlib import closing
from pathlib import Path

import apsw
import pytest

from redrush.errors import ConfigError
from redrush.operate.books import KINDS
from redrush.ports.bill_book import NewBill
from redrush.ports.message_book import Fate, MessageState, NewMessage
from redrush.ports.provider import Failed, Terms
from redrush.records.sqlite.bills import BOOK as BILLS
from redrush.records.sqlite.bills import SqliteBillBook
from redrush.records.sqlite.book_examining import accept_problems, check_whole, problems_of
from redrush.records.sqlite.messages import BOOK as MESSAGES
from redrush.records.sqlite.messages import SqliteMessageBook
from redrush.settle.paying import steps
from redrush.sqlfiles import load_statements

TERMS = Terms(currency="CNY")
LEAF_HEADER_BYTES = 8


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


def damage_index(path: Path, was: str, became: str) -> None:
    """Let an index be of other rows than it was made of, and nothing else be wrong."""
    with closing(apsw.Connection(str(path))) as connection:
        connection.pragma("writable_schema", True)
        connection.execute(
            "UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE type = 'index' AND instr(sql, ?)",
            (was, became, was),
        )
        assert connection.changes() == 1


def test_all_that_is_wrong_is_gone_on_with_however_much_is_told(tmp_path: Path) -> None:
    path = bills_at(tmp_path / "payments.db", *(f"g{number}" for number in range(12)))
    damage(path, "UPDATE bills SET subject = 'another'")
    with pytest.raises(ConfigError) as refused:
        check_whole(path, BILLS)
    assert str(refused.value).count("is not what was written") == 5
    accept_problems(path)
    check_whole(path, BILLS)
    damage(path, "UPDATE bills SET state = 'gone' WHERE source = 'g7'")
    assert problems_of(path) == ["bill payout g7 is in the state 'gone'"]


def test_a_balance_that_was_gone_on_with_is_none_the_worse_for_later_postings(tmp_path: Path) -> None:
    path = bills_at(tmp_path / "payments.db", "g1")
    damage(path, "UPDATE accounts SET debits_minor = debits_minor - 8 WHERE account = 'user:u1'")
    assert problems_of(path) == ["account user:u1 of c has -8 and +0 minor units against its postings"]
    accept_problems(path)
    with closing(SqliteBillBook.open_path(path)) as book:
        book.make([payout("g2")], 30)
    assert problems_of(path) == []
    damage(path, "UPDATE accounts SET debits_minor = debits_minor + 1 WHERE account = 'user:u1'")
    assert problems_of(path) == ["account user:u1 of c has -7 and +0 minor units against its postings"]


def test_what_sqlite_finds_and_somebody_goes_on_with_hides_nothing_that_comes_later(tmp_path: Path) -> None:
    path = bills_at(tmp_path / "payments.db", "g1", "g2")
    damage(path, "UPDATE bills SET subject = 'another' WHERE source = 'g1'")
    damage_index(path, "done_us IS NOT NULL", "done_us IS NULL")
    assert problems_of(path)
    accept_problems(path)
    assert problems_of(path) == [], "neither of the index nor of the bill"
    damage(path, "UPDATE bills SET subject = 'another' WHERE source = 'g2'")
    assert problems_of(path) == ["bill payout g2 is not what was written"]


def test_a_row_that_somebody_goes_on_without_is_not_asked_for_again(tmp_path: Path) -> None:
    path = bills_at(tmp_path / "payments.db", "g1")
    with closing(apsw.Connection(str(path))) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'postings'").get
        page_bytes = connection.pragma("page_size")
    with path.open("r+b") as file:
        file.seek((page - 1) * page_bytes + LEAF_HEADER_BYTES)
        file.write(b"\xff\xff")
    assert problems_of(path), "where a row begins is beyond the page"
    accept_problems(path)
    assert problems_of(path) == []


def test_messages_are_examined_too(tmp_path: Path) -> None:
    path = tmp_path / "messages.db"
    SqliteMessageBook.open_path(path).close()
    check_whole(path, MESSAGES)
    damage_index(path, "state = 'new'", "state = 'sent'")
    damage(
        path,
        """INSERT INTO messages (notifier, campaign, grant_id, "user", at_us, fields, number, state, tries, next_us,
                                 changed_us, why, version)
           VALUES ('n', 'c', 'g', 'u', 1, '{}', 'm', 'new', 0, 1, 1, '', 0)""",
    )
    damage_index(path, "state = 'sent'", "state = 'new'")
    with pytest.raises(ConfigError, match="messages_due"):
        check_whole(path, MESSAGES)


def messages_at(path: Path) -> Path:
    """Return a book in which two people were told."""
    with closing(SqliteMessageBook.open_path(path)) as book:
        told = [NewMessage(by="mail", campaign="c", grant=one, user="u1", at_us=1, fields={"worth": "1.00"})
                for one in ("g1", "g2")]  # fmt: skip
        book.put(told, 10)
        book.change([
            Fate(id=one.id, version=one.version, state=MessageState.SENT, tries=1, next_us=None, changed_us=20)
            for one in book.take("mail", 20, 9)
        ])  # fmt: skip
    return path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("\"user\" = 'u3'", "message by mail about g1 is not what was written"),
        ("number = lower(number)", "message by mail about g1 is not what was written"),
        ("fields = replace(fields, '1.00', '3.00')", "message by mail about g1 is not what was written"),
        ("state = 'seft'", "message by mail about g1 is in the state 'seft'"),
    ],
)
def test_what_was_written_of_a_message_is_what_is_read(tmp_path: Path, change: str, says: str) -> None:
    path = messages_at(tmp_path / "messages.db")
    check_whole(path, MESSAGES)
    damage(path, f"UPDATE messages SET {change} WHERE grant_id = 'g1'")
    with pytest.raises(ConfigError, match=says):
        check_whole(path, MESSAGES)
    assert problems_of(path) == [says]


def test_the_examination_knows_every_state_of_a_message() -> None:
    question = load_statements("redrush.records.sqlite", "book_examining.sql")["messages"]
    assert [state for state in MessageState if f"'{state}'" not in question] == []


def test_a_book_of_the_version_before_is_no_damage_and_is_brought_to_this_one(tmp_path: Path) -> None:
    for path in (messages_at(tmp_path / "messages.db"), bills_at(tmp_path / "payments.db", "g1")):
        table = "messages" if path.name == "messages.db" else "bills"
        damage(path, f"ALTER TABLE {table} DROP COLUMN digest", "PRAGMA user_version = 1")
        check_whole(path, KINDS[path.name].BOOK)
    with closing(SqliteMessageBook.open_path(tmp_path / "messages.db")) as book:
        assert [str(one.state) for one in book.listed()] == ["sent", "sent"]
    with closing(SqliteBillBook.open_path(tmp_path / "payments.db")) as bills:
        assert [str(bill.state) for bill in bills.listed()] == ["failed"]
    for name in ("messages.db", "payments.db"):
        check_whole(tmp_path / name, KINDS[name].BOOK)


def test_a_text_that_is_none_is_told_in_a_sentence(tmp_path: Path) -> None:
    path = bills_at(tmp_path / "payments.db", "g1")
    damage(path, "UPDATE bills SET subject = CAST(x'b1' AS TEXT)")
    with pytest.raises(ConfigError, match=r"payments\.db: is damaged: a text in it is none"):
        check_whole(path, BILLS)
