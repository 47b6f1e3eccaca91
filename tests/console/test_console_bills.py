"""Bills against a provider's, and what is granted and not delivered, in the console: found, counted, delivered once."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Final

import msgspec
import pytest

from redrush.console.wording import in_chinese
from redrush.control.data_dir import DataDir
from redrush.http.sockets import Reserved
from redrush.ports.bill_book import BillBook, NewBill
from redrush.ports.provider import Done, Order, Paid, Terms
from redrush.providers import beijing
from redrush.providers.sandbox.bank import Bank
from redrush.records.postgres.bills import PostgresBillBook
from redrush.records.sqlite.bills import SqliteBillBook
from redrush.sandbox.server import Sandbox
from redrush.settle.paying import steps
from redrush.settle.paying.comparing import WHAT_TO_DO
from redrush.wiring.sandbox_faces import face_of, write_payments_file
from tests.campaigns import OFF, a_round, campaign
from tests.conftest import Databases
from tests.console.console_world import World, get, post, with_server, without_server
from tests.console.test_console_proving import win
from tests.patience import until_no_midnight_is_near

PAYOUT: Final = '[payout]\nprovider = "bank"\npolicy = "auto"\n'
TEXT: Final = campaign(a_round("r1", "100.00", 1_000), tables=OFF + PAYOUT)
TERMS: Final = Terms(currency="CNY")
HIDDEN_US: Final = 10**15
HOUR_US: Final = 3_600_000_000


def now_us() -> int:
    return time.time_ns() // 1_000


@asynccontextmanager
async def a_bank(directory: Path) -> AsyncIterator[Path]:
    """Yield a payments file whose only provider is a sandbox that runs."""
    sandbox = Sandbox(Bank(), now_us)
    port = await sandbox.serve(Reserved.at("127.0.0.1", 0))
    file = directory / "payments.toml"
    file.write_text(f'[[provider]]\nname = "bank"\nkind = "sandbox"\nurl = "http://127.0.0.1:{port}"\n')
    try:
        yield file
    finally:
        await sandbox.stop()


@asynccontextmanager
async def a_merchant(directory: Path, bank: Bank) -> AsyncIterator[Path]:
    """Yield a payments file whose only provider tells its fees by its bills alone."""
    sandbox = Sandbox(bank, now_us, face=face_of("wechat", directory, bank, now_us))
    port = await sandbox.serve(Reserved.at("127.0.0.1", 0))
    try:
        yield write_payments_file("wechat", directory, f"http://127.0.0.1:{port}", None)
    finally:
        await sandbox.stop()


def moved_here_alone(book: BillBook) -> str:
    """Write into the book that a payout has arrived of which the bank knows nothing; return its number."""
    bill = NewBill(
        kind="payout", source="g1", campaign="c", user="ann", provider="bank", currency="CNY", amount_minor=250,
        subject="red packet", to="ann",
    )  # fmt: skip
    book.make([bill], now_us())
    (taken,) = book.take("bank", "start", now_us(), HIDDEN_US, 1)
    book.change([steps.after(taken, Done(250, now_us(), "r", "CNY"), TERMS, now_us())])
    return taken.number


async def compared(world: World, number: str) -> None:
    async with world.client("olga", **{"Accept-Language": "zh-CN"}) as olga:
        found = await get(olga, "/bills/compare")
        (one,) = found["differences"]
        assert (found["ours"], found["theirs"], found["difference_minor"]) == (1, 0, -250)
        assert (one["kind"], one["number"], one["ours_minor"], one["theirs_minor"]) == ("ours_only", number, 250, None)
        page = (await olga.get("/bills?provider=bank")).text
        assert number in page
        assert in_chinese(one["says"]) in page
        assert in_chinese(one["says"]) != one["says"]
        assert (await get(olga, "/bills/compare?provider=nosuch", 400))["detail"]
        for none in ("today", "0000-01-01"):
            assert "is no day" in (await get(olga, f"/bills/compare?day={none}", 400))["detail"]
        for to_come in ("2099-01-01", "9999-12-31"):
            assert "has not begun" in (await get(olga, f"/bills/compare?day={to_come}", 400))["detail"]


async def test_what_differs_from_a_provider_s_bill_is_named_with_what_to_do(tmp_path: Path) -> None:
    until_no_midnight_is_near()
    async with without_server(tmp_path, TEXT) as world:
        with closing(SqliteBillBook.open_path(world.data_dir.payments)) as book:
            number = moved_here_alone(book)
        async with world.client("olga") as olga:
            assert "--payments" in (await get(olga, "/bills/compare", 409))["detail"]
            assert "--payments" in (await olga.get("/bills")).text
        async with a_bank(tmp_path) as file:
            world.desk.bills._payments = file
            await compared(world, number)


async def test_a_deployment_names_its_payments_file_itself(tmp_path: Path, databases: Databases) -> None:
    until_no_midnight_is_near()
    dsn = databases.fresh()
    async with without_server(tmp_path, TEXT) as made, a_bank(tmp_path):
        (tmp_path / "records.dsn").write_text(dsn)
        made.data_dir.deployment.write_text(
            '[event]\ndata = "."\nrecords = { file = "records.dsn" }\n[payments]\nfile = "payments.toml"\n'
            '[[set]]\nid = "s1"\naddresses = ["127.0.0.1:1"]\n'
        )
        with closing(PostgresBillBook(dsn)) as book:
            number = moved_here_alone(book)
        made.desk.let_go()  # one console at a time
        world = World(DataDir(tmp_path), {})
        await compared(world, number)
        await world.desk.stop()


def bought(book: BillBook, bank: Bank, source: str, amount_minor: int) -> None:
    """Have a buyer pay, of which the provider has told us all but its fee."""
    bill = NewBill(
        kind="payin", source=source, campaign="c", user="ann", provider="wechat", currency="CNY",
        amount_minor=amount_minor, subject="a seat", account="sales", expires_us=now_us() + HOUR_US,
    )  # fmt: skip
    book.make([bill], now_us())
    (taken,) = book.take("wechat", "start", now_us(), HIDDEN_US, 1)
    order = Order(
        number=taken.number,
        amount_minor=amount_minor,
        currency="CNY",
        subject="a seat",
        expires_us=now_us() + HOUR_US,
    )
    bank.order(order, now_us())
    paid = bank.pay(taken.number, now_us())
    assert isinstance(paid, Paid)
    assert paid.fee_minor > 0
    book.change([steps.after(taken, msgspec.structs.replace(paid, fee_minor=0), TERMS, now_us())])


async def test_fees_that_a_bill_alone_tells_are_written_down_once_if_they_are_those_that_were_seen(
    tmp_path: Path,
) -> None:
    until_no_midnight_is_near()
    bank, today = Bank(), beijing.text_of(now_us())[:10]
    async with (
        without_server(tmp_path / "d", TEXT) as world,
        a_merchant(tmp_path / "merchant", bank) as file,
        world.client("olga") as olga,
    ):
        world.desk.bills._payments = file
        with closing(SqliteBillBook.open_path(world.data_dir.payments)) as book:
            bought(book, bank, "o1", 10_000)
            async with world.client("vera") as vera, world.client("otto") as otto:
                await post(vera, "/bills/fees/count", 403, day=today)
                seen = await post(olga, "/bills/fees/count", day=today)
                assert (seen["provider"], seen["count"], seen["total_minor"]) == ("wechat", 1, 60)
                assert "somebody else" in (await post(otto, "/bills/fees", 409, token=seen["token"], why="x"))["detail"]
                assert "say why" in (await post(olga, "/bills/fees", 400, token=seen["token"], why=" "))["detail"]
            bought(book, bank, "o2", 5_000)
            refused = await post(olga, "/bills/fees", 409, token=seen["token"], why="the month ends")
            assert "2 fees of 90 minor units now, not 1 of 60" in refused["detail"]
            assert book.net_of("fees:wechat") == 0

            page = (await olga.get(f"/bills?provider=wechat&day={today}")).text
            assert "2 fees are told by this bill alone, in minor units 90" in page
            page = (await olga.post("/bills/fees/count", data={"provider": "wechat", "day": today})).text
            token = page.partition('name="token" value="')[2].partition('"')[0]
            answer = await olga.post("/bills/fees", data={"token": token, "why": "the month ends"})
            assert answer.status_code == 303
            page = (await olga.get(answer.headers["location"])).text
            assert "2 fees are in our books now" in page
            assert "told by this bill alone" not in page
            assert book.net_of("fees:wechat") == -90
            assert "is in our books" in (await olga.post("/bills/fees/count", data={"day": today})).text
            nothing = await post(olga, "/bills/fees/count", day=today)
            assert (
                "is in our books" in (await post(olga, "/bills/fees", 409, token=nothing["token"], why="x"))["detail"]
            )
            noted = [(line.who, line.about, line.why) for line in world.desk.diary.lines() if line.what == "book fees"]
            assert noted[-1] == ("olga", f"2 fees of wechat, {today}: 90 minor units", "the month ends")


async def test_what_was_granted_and_not_paid_is_counted_and_then_paid_once(tmp_path: Path) -> None:
    async with with_server(tmp_path, TEXT) as world, a_bank(tmp_path) as file:
        await win(world, "ann", "bob")
        world.desk.bills._payments = file
        async with world.client("olga") as olga, world.client("otto") as otto, world.client("vera") as vera:
            await post(vera, "/reissue/count", 403)
            found = await post(olga, "/reissue/count")
            assert (found["count"], found["undelivered"]["payouts"], found["total"]) == (2, 2, "0.20")
            await win(world, "cid")
            refused = await post(olga, "/reissue", 409, token=found["token"], why="the bank was away")
            assert "there are 3 now, not 2" in refused["detail"]
            page = (await olga.post("/bills/reissue/count", data={"campaign": "c"})).text
            token = page.partition('name="token" value="')[2].partition('"')[0]
            assert "count again" in (await post(otto, "/reissue", 409, token=token, why="mine"))["detail"]
            assert "say why" in (await post(olga, "/reissue", 400, token=token, why=" "))["detail"]
            answer = await olga.post("/bills/reissue", data={"token": token, "why": "the bank was away"})
            assert answer.status_code == 303
            assert "3" in (await olga.get(answer.headers["location"])).text
            assert (await post(olga, "/reissue/count"))["count"] == 0
            with closing(SqliteBillBook.open_path(world.data_dir.payments)) as book:
                assert [bill.user for bill in book.listed(kind="payout")] == ["ann", "bob", "cid"]
            (entry,) = [one for one in (await get(olga, "/audit"))["entries"] if "reissue" in one["what"]]
            assert (entry["who"], entry["why"]) == ("olga", "the bank was away")


@pytest.mark.parametrize("says", WHAT_TO_DO.values())
def test_what_to_do_is_said_in_chinese_too(says: str) -> None:
    assert in_chinese(says) != says
