"""What was paid in a cancelled campaign goes back: told first, given back once, and by nobody else's count."""

import json
import time
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from redrush.cli.main import main
from redrush.config import parse_campaign
from redrush.control.data_dir import DataDir
from redrush.control.event import prepare_event
from redrush.core.money.currency import format_amount
from redrush.core.rush.sale_order import SaleOrder, State, Why
from redrush.errors import RedrushError
from redrush.operate.as_seen import Seen
from redrush.operate.campaign_books import sale_book_of
from redrush.operate.paying import Books
from redrush.operate.refunding import find_refundable, give_back
from redrush.operate.reissuing import Reissue
from redrush.records.postgres.sales import PostgresSaleBook
from redrush.records.sqlite.sales import SqliteSaleBook
from tests.conftest import Databases

PRICE = 500
DEPLOYMENT = """
[event]
data = "."
records = { file = "records.dsn" }
[[set]]
id = "s1"
addresses = ["127.0.0.1:1"]
"""
SALE = """
[campaign]
id = "c"
name = "a sale"
currency = "CNY"
[[round]]
id = "s"
kind = "sale"
opens = "now"
lasts = "2h"
units = 10
price = "5.00"
hold = "3m"
return_every = "1s"
"""
PAID = {State.SOLD, State.DELIVERED, State.REFUNDING, State.REFUNDED}
NOT_LEFT = {State.RETURNED, State.REFUNDING, State.REFUNDED}


def now_us() -> int:
    return time.time_ns() // 1_000


def an_event(directory: Path, id_: str = "c") -> DataDir:
    """Return the directory of a sale that is open."""
    data_dir = DataDir(directory)
    data_dir.create()
    prepare_event(parse_campaign(SALE.replace('"c"', f'"{id_}"'), "sale.toml"), data_dir, now_us)
    return data_dir


def order(number: int, state: State, why: Why | None = None) -> SaleOrder:
    return SaleOrder(
        id=f"o{number}", grant="g", pot="sale", user=f"u{number}", slot=number, number=1, request="", until_us=1,
        price_minor=PRICE, state=state, due_us=1, since_us=1, paid_us=5 if state in PAID else None, why=why,
    )  # fmt: skip


def test_it_is_told_first_and_given_back_once_while_the_count_is_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    books = Books(an_event(tmp_path), None)
    nothing = find_refundable(books, now_us())
    assert (nothing.orders, nothing.open_rounds[0][:10]) == (0, "s (until 2"), "nothing was ever sold here"
    states = [State.PAYING, State.SOLD, State.DELIVERED, State.DELIVERED, *sorted(NOT_LEFT)]
    kept = [order(number, state) for number, state in enumerate(states)]
    kept.append(order(9, State.DELIVERED, Why.NOT_RECALLED))
    with closing(SqliteSaleBook.open_path(DataDir(tmp_path).sales)) as sales:
        sales.keep(kept)

    def ran(*more: str) -> tuple[int, dict[str, object]]:
        monkeypatch.setattr("sys.argv", ["redrush", "refund", "--data", str(tmp_path), "--json", *more])
        with pytest.raises(SystemExit) as ended:
            main()
        code, out = ended.value.code, capsys.readouterr().out
        return int(code or 0), json.loads(out) if out else {}

    code, told = ran()
    assert (code, told["orders"], told["paid"], told["paid_total_minor"], told["not_let_go"]) == (0, 4, 3, 3 * PRICE, 1)
    for whose, count in ((("--user", "u2"), 1), (("--order", "o1"), 1), (("--user", "nobody"), 0)):
        assert ran(*whose)[1]["orders"] == count
    assert ran("--yes", "3")[0] == 1, "it is another number by now"
    assert ran("--yes", "4", "--sum", format_amount(2 * PRICE, "CNY"))[0] == 1, "it is another sum by now"
    assert ran("--sum", "1.00")[0] == ran("--yes", "4", "--sum", "1,000")[0] == 2
    with closing(SqliteSaleBook.open_path(DataDir(tmp_path).sales)) as sales:
        assert [one.state for one in sales.all()] == [one.state for one in kept], "nothing was done"
    assert ran("--yes", "4", "--sum", format_amount(3 * PRICE, "CNY"))[1]["given_back"] is True
    with closing(SqliteSaleBook.open_path(DataDir(tmp_path).sales)) as sales:
        after = {one.id: one for one in sales.all()}
        assert [after[f"o{number}"].state for number in range(4)] == [State.CLOSING] + [State.RECALLING] * 3
        assert {after[f"o{number}"].why for number in range(4)} == {Why.CANCELLED}
        assert {one.id for one in sales.due(now_us(), 10)} >= {"o0", "o1", "o2", "o3"}, "it is led on at once"
        assert [after[one.id] for one in kept[4:]] == [msgspec.structs.replace(one, version=1) for one in kept[4:]]
    found = find_refundable(books, now_us())
    assert (found.orders, found.under_way, found.refunded) == (0, 4, 0)
    with pytest.raises(RedrushError, match="there are 0 orders by now, not 4"):
        give_back(books, Seen(4), now_us())


def test_orders_of_a_deployment_are_in_its_database(tmp_path: Path, databases: Databases) -> None:
    data_dir = an_event(tmp_path)
    (tmp_path / "records.dsn").write_text(databases.fresh())
    data_dir.deployment.write_text(DEPLOYMENT)
    books = Books.at(tmp_path, None)
    with sale_book_of(books, "c") as sales:
        assert isinstance(sales, PostgresSaleBook)
        sales.keep([order(1, State.DELIVERED), msgspec.structs.replace(order(2, State.SOLD), address="p1:x").park()])
    assert find_refundable(books, now_us()).paid_total_minor == 2 * PRICE
    with closing(Reissue(books, None, now_us())) as reissue:
        assert (reissue.find().orders, reissue.find().left_out) == (1, ())
    give_back(books, Seen(2), now_us())
    with sale_book_of(books, "c") as sales:
        assert sales is not None
        assert {one.state for one in sales.all()} == {State.RECALLING}
