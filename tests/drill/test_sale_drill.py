"""The auditor of a sale finds each kind of wrong that is planted; and the drill is played, with its kill, in `soak`."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from redrush.drill.drills import play_drill
from redrush.drill.sale_audit import audit_sale, open_orders
from redrush.drill.sale_on_a_stack import units_of_logs

PRICE_MINOR = 4_999
Log = list[tuple[str, list[str], list[int], list[int]]]


class Books:
    """Journal, bank and shop of a sale in which ann has bought unit 0, bob's money went back, and carl gave back."""

    def __init__(self) -> None:
        self.log: Log = [
            ("scattered", ["ann", "bob", "carl"], [0, 1, 2], [1, 2, 3]),
            ("confirmed", ["ann"], [0], [1]),
            ("released", ["bob", "carl"], [1, 2], [2, 3]),
        ]
        self.bills = [
            ("payin", "paid", "A", PRICE_MINOR, ""),
            ("payin", "paid", "B", PRICE_MINOR, ""),
            ("payin", "closed", "C", PRICE_MINOR, ""),
            ("refund", "done", "R", PRICE_MINOR, "B"),
        ]
        self.late = ["B"]
        self.payers = {"A": "ann", "B": "bob", "C": "carl"}
        self.shop = [("ann", 1), ("bob", 0)]

    def write(self, root: Path) -> None:
        journal = sqlite3.connect(root / "journal.db")
        journal.execute("CREATE TABLE log (seq INTEGER PRIMARY KEY, kind, users, slots)")
        for kind, users, slots, numbers in self.log:
            columns = json.dumps([["sale"] * len(users), slots, [""] * len(users), numbers])
            journal.execute("INSERT INTO log (kind, users, slots) VALUES (?, ?, ?)", (kind, json.dumps(users), columns))
        bank = sqlite3.connect(root / "sandbox.db")
        bank.execute("CREATE TABLE bills (kind, state, number, amount_minor, party)")
        bank.executemany("INSERT INTO bills VALUES (?, ?, ?, ?, ?)", self.bills)
        bank.execute("CREATE TABLE taken_late (number)")
        bank.executemany("INSERT INTO taken_late VALUES (?)", [(number,) for number in self.late])
        bank.execute("CREATE TABLE notices (id)")
        bank.execute("INSERT INTO notices VALUES ('C-closed')")
        shop = sqlite3.connect(root / "sandbox.db.shop")
        shop.execute("CREATE TABLE orders (taken, body)")
        shop.executemany(
            "INSERT INTO orders VALUES (?, ?)", [(taken, json.dumps({"user": u})) for u, taken in self.shop]
        )
        orders = sqlite3.connect(root / "sales.db")
        orders.execute("CREATE TABLE orders (id, state)")
        orders.executemany("INSERT INTO orders VALUES (?, ?)", [("a", "delivered"), ("b", "refunded"), ("c", "paying")])
        payments = sqlite3.connect(root / "payments.db")
        payments.execute("CREATE TABLE bills (source, state, kind, next_us, is_told)")
        payments.executemany(
            "INSERT INTO bills VALUES (?, ?, 'payin', ?, ?)",
            [("A", "done", None, 1), ("B", "paid_late", None, 0), ("C", "open", 1, 0)],
        )
        payments.execute("CREATE TABLE inbox (notice, is_seen)")
        payments.executemany("INSERT INTO inbox VALUES (?, ?)", [("A-paid", 1), ("B-paid", 0)])
        for book in (journal, bank, shop, orders, payments):
            book.commit()
            book.close()


def failed(root: Path, books: Books, units: int = 3) -> list[str]:
    books.write(root)
    return [one.name for one in audit_sale(root, units, PRICE_MINOR, books.payers)[0] if not one.holds]


def test_books_that_agree_are_fine(tmp_path: Path) -> None:
    books = Books()
    books.write(tmp_path)
    verdicts, counts = audit_sale(tmp_path, 3, PRICE_MINOR, books.payers)
    assert [one.name for one in verdicts if not one.holds] == []
    assert counts == {
        "units_sold": 1, "payments": 2, "given_back": 1, "paid_after_close": 1, "paid_after_close_given_back": 1,
        "shop_refused": 1,
    }  # fmt: skip
    assert open_orders(tmp_path) == [
        ("c", "paying"), ("B", "paid_late"), ("C", "open"), ("B-paid", "not looked into"), ("C-closed", "to be told"),
    ]  # fmt: skip


def test_what_came_late_may_have_bought_a_unit(tmp_path: Path) -> None:
    books = Books()
    books.late = ["A", "B"]
    assert failed(tmp_path, books) == []


def _held_twice(books: Books) -> None:
    books.log.insert(1, ("scattered", ["zoe"], [1], [4]))


def _never_resolved(books: Books) -> None:
    books.log[2] = ("released", ["carl"], [2], [3])


def _sold_without_money(books: Books) -> None:
    books.bills[0] = ("payin", "closed", "A", PRICE_MINOR, "")


def _money_kept_without_a_unit(books: Books) -> None:
    del books.bills[3]


def _part_of_it_back(books: Books) -> None:
    books.bills[3] = ("refund", "done", "R", PRICE_MINOR - 1, "B")


def _a_unit_by_the_money_of_another(books: Books) -> None:
    books.bills[3] = ("refund", "done", "R", PRICE_MINOR, "A")


def _late_money_of_one_who_has_nothing(books: Books) -> None:
    _a_unit_by_the_money_of_another(books)
    del books.payers["B"]


def _not_at_the_shop(books: Books) -> None:
    books.shop[0] = ("ann", 0)


def _at_the_shop_alone(books: Books) -> None:
    books.shop.append(("zoe", 1))


@pytest.mark.parametrize(
    ("plant", "names"),
    [
        (_held_twice, {"a unit of two", "holds"}),
        (_never_resolved, {"holds"}),
        (_sold_without_money, {"money"}),
        (_money_kept_without_a_unit, {"money", "paid after close"}),
        (_a_unit_by_the_money_of_another, {"money", "paid after close"}),
        (_late_money_of_one_who_has_nothing, {"paid after close"}),
        (_part_of_it_back, {"money"}),
        (_not_at_the_shop, {"the shop"}),
        (_at_the_shop_alone, {"the shop"}),
    ],
)
def test_each_wrong_is_found(plant: Callable[[Books], None], names: set[str], tmp_path: Path) -> None:
    books = Books()
    plant(books)
    assert names <= set(failed(tmp_path, books))


def test_more_than_there_were_is_found(tmp_path: Path) -> None:
    assert failed(tmp_path, Books(), units=0) == ["oversold"]


@pytest.mark.soak
def test_a_sale_whose_server_dies_sells_every_unit_once(tmp_path: Path) -> None:
    report = play_drill("sale", tmp_path, lambda _: None, short=True)
    assert report.passed, report.verdicts
    sold = report.figures["units_sold"]
    assert isinstance(sold, int)
    assert sold > 0


Row = tuple[str, str, int | None, int | None, str | None, str | None]


def of_users(log: str, kind: str, *named: tuple[str, int, int]) -> Row:
    users, slots, numbers = [list(column) for column in zip(*named, strict=True)]
    columns = [["sale"] * len(users), slots, [""] * len(users), numbers]
    return log, kind, None, None, json.dumps(users), json.dumps(columns)


def moved(log: str, kind: str, first: int, count: int = 1) -> Row:
    return log, kind, None, None, None, json.dumps([[first, count]])


def logs_of_two_sets() -> list[Row]:
    """Ann has bought unit 0 in s1; unit 1 was given back there, moved on, and is bob's in s2; unit 2 is left."""
    return [
        ("s1", "opened", 0, 2, None, None),
        of_users("s1", "scattered", ("ann", 0, 1), ("carl", 1, 2)),
        of_users("s1", "confirmed", ("ann", 0, 1)),
        of_users("s1", "released", ("carl", 1, 2)),
        moved("s1", "taken", 1),
        ("s2", "opened", 2, 1, None, None),
        moved("s2", "given", 1),
        of_users("s2", "scattered", ("bob", 1, 1)),
        of_users("s2", "confirmed", ("bob", 1, 1)),
    ]


def test_the_logs_of_two_sets_say_whose_each_unit_is() -> None:
    found = units_of_logs(logs_of_two_sets(), 3)
    assert (found.sold, found.held, found.wrong) == ({0: "ann", 1: "bob"}, {}, [])
    assert units_of_logs(logs_of_two_sets()[:-1], 3).held == {1: "bob"}


@pytest.mark.parametrize(
    ("place", "planted", "unit"),
    [
        (9, of_users("s2", "scattered", ("dora", 0, 2)), 0),  # it is in the other set
        (8, of_users("s2", "scattered", ("dora", 1, 2)), 1),  # it is bob's
        (9, of_users("s2", "released", ("bob", 1, 1)), 1),  # it was sold
        (9, of_users("s2", "confirmed", ("dora", 2, 2)), 2),  # she never held it
        (9, moved("s2", "taken", 1), 1),  # it is bob's
        (9, moved("s2", "given", 2), 2),  # it is there
        (9, moved("s2", "given", 0), 0),  # nobody took it
        (9, ("s2", "opened", 0, 1, None, None), 0),  # the other set has it
    ],
)
def test_what_cannot_be_in_the_logs_of_two_sets_is_found(place: int, planted: Row, unit: int) -> None:
    rows = logs_of_two_sets()
    rows.insert(place, planted)
    assert f"unit {unit}" in units_of_logs(rows, 3).wrong


@pytest.mark.soak
def test_a_sale_on_a_stack_whose_payments_role_dies_sells_every_unit_once(tmp_path: Path) -> None:
    report = play_drill("sale-on-a-stack", tmp_path, lambda _: None, short=True)
    assert report.passed, report.verdicts
    assert report.figures["units_sold"] != 0
