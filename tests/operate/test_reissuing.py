"""What was granted and is not delivered is found, counted, and delivered once, whoever says so how often."""

import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from redrush.cli.main import main
from redrush.config import PaymentsFile, load_payments_file
from redrush.config.payments_file import ProviderSpec
from redrush.control.data_dir import DataDir
from redrush.core.money.clearing import spent
from redrush.core.rush.sale_order import SaleOrder, State
from redrush.errors import RedrushError
from redrush.operate.as_seen import Seen
from redrush.operate.paying import Books
from redrush.operate.reissuing import Reissue, Undelivered
from redrush.ports.bill_book import Entry, NewBill
from redrush.ports.message_book import Fate, MessageState, NewMessage
from redrush.ports.provider import Failed, Terms
from redrush.records.sqlite.bills import SqliteBillBook
from redrush.records.sqlite.messages import SqliteMessageBook
from redrush.records.sqlite.sales import SqliteSaleBook
from redrush.settle.paying import steps
from tests.wiring.message_world import MESSAGES, World, a_world

PAYOUT = '[payout]\nprovider = "bank"\npolicy = "auto"\n'
BANK = PaymentsFile(
    path=Path("p.toml"), providers=(ProviderSpec(name="bank", kind="sandbox", url="http://127.0.0.1:9"),)
)


def found(directory: Path, payments: PaymentsFile | None = BANK) -> Undelivered:
    with closing(Reissue(Books(DataDir(directory), None), payments, now_us())) as order:
        return order.find()


def delivered(directory: Path, count: int, total_minor: int | None = None, *, unknown: bool = False) -> Undelivered:
    with closing(Reissue(Books(DataDir(directory), None), BANK, now_us())) as order:
        return order.deliver(Seen(count, total_minor), unknown=unknown)


def now_us() -> int:
    return time.time_ns() // 1_000


async def three_wins(world: World, tables: str) -> None:
    async with world.server(messages=tables, payments=None) as people:
        await people.win("ann", "bob", "cid")


async def test_what_was_won_and_not_paid_is_paid_once_and_only_while_the_count_is_right(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await three_wins(world, PAYOUT)
    assert (found(tmp_path).payouts, found(tmp_path).payouts_total_minor) == (3, 30_000)
    assert found(tmp_path, None).left_out == ("payouts: say by whom (--payments FILE)",)
    with pytest.raises(RedrushError, match="there are 3 things to deliver by now, not 2: nothing was done"):
        delivered(tmp_path, 2)
    with pytest.raises(RedrushError, match=r"they come to 300\.00 CNY by now, not 299\.99: nothing was done"):
        delivered(tmp_path, 3, 29_999)
    assert found(tmp_path).payouts == 3
    assert delivered(tmp_path, 3, 30_000).payouts == 3
    assert found(tmp_path).count(unknown=True) == 0
    with pytest.raises(RedrushError, match="there are 0 things"):
        delivered(tmp_path, 3)
    with closing(SqliteBillBook.open_path(DataDir(tmp_path).payments)) as book:
        assert {bill.user for bill in book.listed(kind="payout")} == {"ann", "bob", "cid"}


async def test_winners_who_start_their_payouts_themselves_are_paid_by_nobody_else(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await three_wins(world, PAYOUT.replace("auto", "winner"))
    assert (found(tmp_path).payouts, len(found(tmp_path).left_out)) == (0, 1)


async def test_messages_of_a_book_that_is_lost_are_made_anew_and_those_that_failed_are_sent_again(
    tmp_path: Path,
) -> None:
    async with a_world(tmp_path) as world:
        async with world.server() as people:
            await people.win("ann", "cid")
            await world.until(lambda: {str(one.state) for one in world.kept()} == {"sent", "failed"})
            await world.until(lambda: {str(one.state) for one in world.kept("shop")} == {"sent"})
        assert (found(tmp_path).messages_missing, found(tmp_path).messages_failed) == (0, 1)
        with (tmp_path / "contacts.csv").open("a") as contacts:
            contacts.write("cid,cid@corp.example\n")
        assert delivered(tmp_path, 1).messages_failed == 1
        async with world.server():
            await world.until(lambda: "cid@corp.example" in world.mailbox.receivers())
            await world.until(lambda: {str(one.state) for one in world.kept()} == {"sent"})
        assert world.mailbox.receivers() == ["ann@corp.example", "cid@corp.example"]
        for path in tmp_path.glob("messages.*"):
            path.unlink()
        assert found(tmp_path).messages_missing == 4, "two winners, two notifiers"
        delivered(tmp_path, 4)
        assert found(tmp_path).count(unknown=True) == 0
        numbers = set(world.shop.told)
        async with world.server():
            await world.until(lambda: world.shop.asked == 4)
        assert set(world.shop.told) == numbers, "the shop sees that it knows them"


async def test_what_may_have_arrived_is_sent_only_where_that_is_asked_for(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        world.mailbox.faults.append("cut_after_the_dot")
        async with world.server(messages=MESSAGES.partition('[[message]]\nby = "shop"')[0]) as people:
            await people.win("ann")
            await world.until(lambda: [str(one.state) for one in world.kept()] == ["unknown"])
        assert (found(tmp_path).count(unknown=False), found(tmp_path).messages_unknown) == (0, 1)
        delivered(tmp_path, 1, unknown=True)
        with closing(SqliteMessageBook.open_path(DataDir(tmp_path).messages)) as book:
            assert [str(one.state) for one in book.listed()] == ["new"]


async def test_refunds_that_failed_and_orders_that_wait_for_an_operator_go_on(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await three_wins(world, "")
    common: dict[str, Any] = {"campaign": "c", "user": "ann", "provider": "bank", "currency": "CNY", "subject": "s"}
    with closing(SqliteBillBook.open_path(DataDir(tmp_path).payments)) as bills:
        (paid,) = bills.make([NewBill(kind="payin", source="sale:o1", amount_minor=500, **common)], now_us())
        _set_state(tmp_path / "payments.db", paid.id, "done")
        (refund,) = bills.make(
            [NewBill(kind="refund", source="sale:o1", of="sale:o1", amount_minor=500, **common)], now_us()
        )
        _set_state(tmp_path / "payments.db", refund.id, "failed")
    parked = SaleOrder(
        id="o2", grant="g", pot="sale", user="bob", slot=1, number=1, request="", until_us=1, price_minor=500,
        state=State.SOLD, due_us=1, since_us=1, tries=10,
    ).park()  # fmt: skip
    with closing(SqliteSaleBook.open_path(DataDir(tmp_path).sales)) as sales:
        assert sales.due(now_us(), 10) == []
        sales.keep([parked])
    assert (found(tmp_path).refunds, found(tmp_path).orders) == (1, 1)
    delivered(tmp_path, 2)
    assert found(tmp_path).count(unknown=True) == 0
    with closing(SqliteBillBook.open_path(DataDir(tmp_path).payments)) as bills:
        (again,) = bills.listed(kind="refund")
        assert (again.state, again.attempt) == ("new", 2)
    with closing(SqliteSaleBook.open_path(DataDir(tmp_path).sales)) as sales:
        (taken_up,) = sales.due(now_us() + 1, 10)
        assert (taken_up.parked, taken_up.tries) == (False, 0)


async def test_a_payout_is_tried_again_by_what_the_records_say_was_won_and_not_once_it_is_spent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_world(tmp_path) as world:
        await three_wins(world, "")
    bill = NewBill(
        kind="payout", source="c-r1-0", campaign="c", user="ann", provider="bank", currency="CNY",
        amount_minor=10_000, subject="s", to="ann",
    )  # fmt: skip
    terms = Terms(currency="CNY")
    with closing(SqliteBillBook.open_path(DataDir(tmp_path).payments)) as book:
        (made,) = book.make([bill], now_us())
        book.change([steps.after(made, Failed("no wallet"), terms, now_us())])
    run(monkeypatch, "payout", "retry", "--data", str(tmp_path), "--failed")
    with closing(SqliteBillBook.open_path(DataDir(tmp_path).payments)) as book:
        (again,) = book.listed(kind="payout")
        assert (again.attempt, str(again.state)) == (2, "new")
        book.change([steps.after(again, Failed("no wallet"), terms, now_us())])
        book.post_each("c", [Entry(spent("ann", "sponsor", "packet:c:p1", 1, now_us()), 10_000)])
    capsys.readouterr()
    run(monkeypatch, "payout", "retry", "--data", str(tmp_path), "--failed", code=1)
    assert "from which packet:c:p1 was paid since: `redrush payout make` pays what is left" in capsys.readouterr().err


async def test_what_is_of_another_campaign_of_the_process_is_left_alone(tmp_path: Path) -> None:
    async with a_world(tmp_path) as world:
        await three_wins(world, "")
    common: dict[str, Any] = {"campaign": "b", "user": "ann", "provider": "bank", "currency": "CNY", "subject": "s"}
    with closing(SqliteBillBook.open_path(DataDir(tmp_path).payments)) as bills:
        for kind in ("payin", "refund"):
            (bill,) = bills.make(
                [NewBill(kind=kind, source="sale:o1", of="sale:o1", amount_minor=500, **common)], now_us()
            )
            _set_state(tmp_path / "payments.db", bill.id, "done" if kind == "payin" else "failed")
    with closing(SqliteMessageBook.open_path(DataDir(tmp_path).messages)) as messages:
        told = [NewMessage(by="mail", campaign="b", grant=f"b-r1-{n}", user="ann", at_us=1, fields={}) for n in (0, 1)]
        messages.put(told, 1)
        states = (MessageState.FAILED, MessageState.UNKNOWN)
        messages.change([
            Fate(id=one.id, version=one.version, state=state, tries=1, next_us=None, changed_us=1)
            for one, state in zip(messages.take("mail", 1, 2), states, strict=True)
        ])  # fmt: skip
    assert found(tmp_path).count(unknown=True) == 0
    delivered(tmp_path, 0, unknown=True)
    with closing(SqliteBillBook.open_path(DataDir(tmp_path).payments)) as bills:
        assert [str(bill.state) for bill in bills.listed(kind="refund")] == ["failed"]
    with closing(SqliteMessageBook.open_path(DataDir(tmp_path).messages)) as messages:
        assert [one.state for one in messages.listed()] == list(states)


async def test_the_command_tells_before_it_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_world(tmp_path) as world:
        await three_wins(world, MESSAGES)
        for path in tmp_path.glob("messages.*"):
            path.unlink()
    run(monkeypatch, "reissue", "--data", str(tmp_path))
    assert "--yes 6 --sum 0.00 delivers them" in capsys.readouterr().out
    run(monkeypatch, "reissue", "--data", str(tmp_path), "--yes", "5", code=1)
    assert "there are 6 things to deliver by now, not 5" in capsys.readouterr().err
    run(monkeypatch, "reissue", "--data", str(tmp_path), "--yes", "6", "--sum", "0.01", code=1)
    assert "they come to 0.00 CNY by now, not 0.01: nothing was done" in capsys.readouterr().err
    for wrong in (("--sum", "0.00"), ("--yes", "6", "--sum", "x")):
        run(monkeypatch, "reissue", "--data", str(tmp_path), *wrong, code=2)
        assert "--sum" in capsys.readouterr().err
    run(monkeypatch, "reissue", "--data", str(tmp_path), "--yes", "6", "--sum", "0.00", "--json")
    told = json.loads(capsys.readouterr().out)
    assert (told["count"], told["delivered"], told["messages_missing"]) == (6, True, 6)
    run(monkeypatch, "message", "list", "--data", str(tmp_path), "--user", "ann", "--json")
    told = json.loads(capsys.readouterr().out)["messages"]
    assert [(one["by"], one["state"], one["user"]) for one in told] == [("mail", "new", "ann"), ("shop", "new", "ann")]
    run(monkeypatch, "message", "retry", "--data", str(tmp_path), code=2)
    assert "say which messages" in capsys.readouterr().err
    assert load_payments_file(tmp_path / "payments.toml").notifiers


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, code: int = 0) -> None:
    monkeypatch.setattr("sys.argv", ["redrush", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code


def _set_state(path: Path, bill_id: int, state: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE bills SET state = ?, next_us = NULL WHERE id = ?", (state, bill_id))
    connection.close()
