"""Bills of WeChat Pay and Alipay: what is read, what is not believed, and that nothing is missed in silence."""

import asyncio
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from redrush.config import load_payments_file
from redrush.errors import ConfigError
from redrush.http.small_server import Asked, Reply, SmallServer
from redrush.http.sockets import Reserved
from redrush.operate.paying import compare_bills
from redrush.ports.bill_book import NewBill
from redrush.ports.provider import Bill, BillLine, Order, Paid, Terms, Unknown
from redrush.providers import beijing
from redrush.providers.alipay import bills as of_alipay
from redrush.providers.alipay.bills import AlipayBills
from redrush.providers.bill_amounts import BillUnreadable, Row, minor_of
from redrush.providers.sandbox.bank import Bank
from redrush.providers.wechat import bills as of_wechat
from redrush.providers.wechat.bills import WeChatBills
from redrush.records.sqlite.bills import SqliteBillBook
from redrush.sandbox.alipay import BUSINESS_COLUMNS
from redrush.sandbox.wechat import FLOW_COLUMNS, TRADE_COLUMNS
from redrush.settle.paying import steps
from redrush.settle.paying.comparing import Kind, compare
from redrush.wiring.sandbox_faces import face_of, write_payments_file
from tests.conformance.providers import (
    DAY,
    NOON_US,
    Clock,
    alipay_link,
    alipay_sandbox,
    wechat_link,
    wechat_sandbox,
)

DAY_US = 86_400_000_000
LATE_US = NOON_US + 3 * DAY_US
Spoil = Callable[[Asked, Reply], Reply]


def kept(_asked: Asked, reply: Reply) -> Reply:
    return reply


def fetched(kind: str, spoil: Spoil, *, at_us: int = LATE_US, day: str = DAY, filled: bool = True) -> Any:
    """Return the bill of a day with a payment and a transfer, from a server whose answers are spoilt so."""

    async def story() -> Any:
        clock = Clock()
        bank = Bank()
        if filled:
            order = Order(number="O1", amount_minor=100_000, currency="CNY", subject="s", expires_us=clock() + 10**9)
            bank.order(order, clock())
            bank.pay("O1", clock())
            bank.transfer(Bill(number="T1", amount_minor=888, currency="CNY", to="u", subject="s"), clock())
        clock.us = at_us
        sandbox: Any = (wechat_sandbox if kind == "wechat" else alipay_sandbox)(bank, clock)

        async def handle(asked: Asked) -> Reply:
            return spoil(asked, await sandbox.handle(asked))

        server = SmallServer(handle)
        url = f"http://127.0.0.1:{await server.serve(Reserved.at('127.0.0.1', 0))}"
        link: Any = wechat_link(url, clock) if kind == "wechat" else alipay_link(f"{url}/gateway.do", clock)
        bills: Any = (WeChatBills if kind == "wechat" else AlipayBills)(link)
        said = await bills.daily(day)
        link.close()
        await server.stop()
        bank.close()
        return said

    return asyncio.run(story())


def is_file(reply: Reply) -> bool:
    return reply.content_type in ("text/plain", "application/zip")


@pytest.mark.parametrize("kind", ["wechat", "alipay"])
def test_a_bill_is_read_with_its_fees_and_instants(kind: str) -> None:
    assert sorted(fetched(kind, kept), key=lambda line: line.number) == [
        BillLine("payin", "O1", 100_000, 600, "sbO1", NOON_US),
        BillLine("payout", "T1", 888, 0, "sbT1", NOON_US),
    ]


@pytest.mark.parametrize("kind", ["wechat", "alipay"])
def test_a_file_that_somebody_has_fetched_says_the_same_and_another_is_none(kind: str) -> None:
    files: list[bytes] = []

    def kept_aside(_asked: Asked, reply: Reply) -> Reply:
        if is_file(reply):
            files.append(reply.body)
        return reply

    lines = fetched(kind, kept_aside)
    read = (of_wechat if kind == "wechat" else of_alipay).lines_of_file
    assert len(files) == 2, "trades, and flows of the account"
    assert sorted(line for file in files for line in map(msgspec.structs.astuple, read(file))) == sorted(
        map(msgspec.structs.astuple, lines)
    )
    for wrong in (b"", b"a,b\r\n1,2\r\n", b"\x00\xff", b"PK\x03\x04"):
        with pytest.raises(BillUnreadable):
            read(wrong)
    if kind == "wechat":
        spreadsheet = files[0].decode("utf-8-sig").encode("gb18030")
        assert read(spreadsheet) == read(files[0])


def test_books_are_compared_with_a_file_and_with_the_day_of_it_alone(tmp_path: Path) -> None:
    clock, bank = Clock(), Bank()
    bank.order(Order(number="O1", amount_minor=500, currency="CNY", subject="s", expires_us=clock() + 10**9), clock())
    bank.pay("O1", clock())
    path = tmp_path / "trade.csv"
    path.write_bytes(wechat_sandbox(bank, clock)._bill("trade", DAY))
    face_of("wechat", tmp_path, bank, clock)
    file = load_payments_file(write_payments_file("wechat", tmp_path, "http://127.0.0.1:1", None))
    book = SqliteBillBook.open_path(tmp_path / "payments.db")
    found = compare_bills(book, file, "wechat", DAY, clock, files=[path])
    assert [(one.kind, one.number) for one in found.differences] == [(Kind.THEIRS_ONLY, "O1")]
    assert compare_bills(book, file, "wechat", "2027-01-14", clock, files=[path]).theirs == 0
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        compare_bills(book, file, "wechat", DAY, clock, files=[tmp_path / "none.csv"])
    path.write_text("what is no bill")
    with pytest.raises(ConfigError, match=r"trade\.csv: is neither a trade bill of WeChat Pay nor"):
        compare_bills(book, file, "wechat", DAY, clock, files=[path])
    book.close()


@pytest.mark.parametrize("kind", ["wechat", "alipay"])
def test_a_day_without_a_bill_is_empty_only_once_it_would_be_there(kind: str) -> None:
    assert fetched(kind, kept, filled=False) == []
    early = fetched(kind, kept, filled=False, at_us=beijing.day_of(DAY)[1] + 60_000_000)
    assert early == Unknown("it is not there yet: a day's bill comes in the next morning")


def cut(asked: Asked, reply: Reply) -> Reply:
    return msgspec.structs.replace(reply, body=reply.body[:-20]) if is_file(reply) else reply


def gone(asked: Asked, reply: Reply) -> Reply:
    return Reply(404) if is_file(reply) else reply


def elsewhere(asked: Asked, reply: Reply) -> Reply:
    body = reply.body.replace(b"http://127.0.0.1", b"http://127.0.0.2")
    return msgspec.structs.replace(reply, body=body)


@pytest.mark.parametrize("spoil", [cut, gone, elsewhere])
@pytest.mark.parametrize("kind", ["wechat", "alipay"])
def test_a_bill_that_is_spoilt_is_no_bill(kind: str, spoil: Spoil) -> None:
    assert isinstance(fetched(kind, spoil), Unknown)


def test_a_list_of_alipay_that_does_not_end_is_no_bill() -> None:
    def ends_early(_asked: Asked, reply: Reply) -> Reply:
        if not is_file(reply):
            return reply
        return repacked(reply, lambda text: text.partition("列表结束")[0].rpartition("\n")[0])

    said = fetched("alipay", ends_early)
    assert isinstance(said, Unknown)
    assert "not whole" in said.why


def test_a_bill_of_wechat_whose_rows_are_not_as_many_as_it_says_is_not_whole() -> None:
    text = "交易时间,交易状态\r\n`2027-01-15 16:00:00,`NOTPAY\r\n总交易单数,手续费总金额\r\n`2,`0.00\r\n"
    with pytest.raises(BillUnreadable, match="not whole"):
        list(of_wechat.trade_lines(text))
    assert list(of_wechat.trade_lines(text.replace("`2,", "`1,"))) == []
    with pytest.raises(BillUnreadable, match="not whole"):
        list(of_alipay.trade_lines("#x\r\n业务类型\r\n"))


def renamed(column: str) -> Spoil:
    def spoil(_asked: Asked, reply: Reply) -> Reply:
        return repacked(reply, lambda text: text.replace(column, "新")) if is_file(reply) else reply

    return spoil


def repacked(reply: Reply, change: Callable[[str], str]) -> Reply:
    """Return a zip file like this one, with other texts in it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(reply.body), metadata_encoding="gbk") as old, zipfile.ZipFile(packed, "w") as new:
        for one in old.infolist():
            new.writestr(one.filename, change(old.read(one).decode("gb18030")).encode("gb18030"))
    return msgspec.structs.replace(reply, body=packed.getvalue())


@pytest.mark.parametrize(
    "column",
    ["业务类型", "订单金额（元）", "服务费（元）", "支付宝交易号", "商户订单号", "支出金额（-元）", "业务流水号"],
)
def test_a_column_of_alipay_that_was_renamed_is_told(column: str) -> None:
    assert fetched("alipay", renamed(column)) == Unknown(f"the bill has no column {column}, or a row ends before it")


def trades(**changed: str) -> str:
    """Return a bill of WeChat's with one payment."""
    values = {
        "交易时间": "2027-01-15 16:00:00", "交易状态": "SUCCESS", "商户订单号": "O1", "微信订单号": "W1",
        "订单金额": "10.00", "手续费": "0.06000",
    } | changed  # fmt: skip
    names = TRADE_COLUMNS.split(",")
    row = ",".join(f"`{values.get(name, '')}" for name in names)
    return "\r\n".join([TRADE_COLUMNS, row, "总交易单数,手续费总金额", "`1,`0.00", ""])


def test_a_column_of_wechat_that_was_renamed_is_told_and_not_taken_for_nothing() -> None:
    [line] = of_wechat.trade_lines(trades())
    assert line == BillLine("payin", "O1", 1_000, 6, "W1", NOON_US)
    for column in ("交易状态", "商户订单号", "微信订单号", "手续费"):
        with pytest.raises(BillUnreadable, match=f"no column {column}"):
            list(of_wechat.trade_lines(trades().replace(f",{column},", ",新,", 1)))
    for column in ("业务类型", "业务名称", "收支类型"):
        with pytest.raises(BillUnreadable, match=f"no column {column}"):
            list(of_wechat.transfer_lines(flows(("T1", "支出", "8.88")).replace(f",{column},", ",新,", 1)))


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1e"])
def test_a_sign_that_is_no_end_of_line_splits_no_row(sign: str) -> None:
    title = f"手机{sign}红色"
    assert len(list(of_wechat.trade_lines(trades(商品名称=title)))) == 1
    assert len(list(of_alipay.trade_lines(business(title)))) == 1
    assert len(list(of_alipay.trade_lines(business(title).replace("\r\n", "\n")))) == 1


def business(title: str, kind: str = "交易", fee: str = "-0.06", done: str = "2027-01-15 16:00:00") -> str:
    """Return a list of Alipay's with one row."""
    values = {
        "支付宝交易号": "A1", "商户订单号": "O1", "业务类型": kind, "商品名称": title, "完成时间": done,
        "订单金额（元）": "10.00", "服务费（元）": fee,
    }  # fmt: skip
    row = ",".join(f"{values.get(name, '')}\t" for name in BUSINESS_COLUMNS.split(","))
    return "\r\n".join(["#支付宝业务明细查询", BUSINESS_COLUMNS, row, "#业务明细列表结束", ""])


def test_of_rows_that_are_no_payments_nothing_is_read() -> None:
    assert [line.fee_minor for line in of_alipay.trade_lines(business("手机"))] == [6]
    assert list(of_alipay.trade_lines(business("手机", "其他", "免费", ""))) == []
    with pytest.raises(BillUnreadable, match="no time"):
        list(of_alipay.trade_lines(business("手机", done="")))
    assert list(of_wechat.trade_lines(trades(交易状态="REVOKED", 手续费="免费", 交易时间=""))) == []


def test_a_line_that_is_no_csv_is_told() -> None:
    with pytest.raises(BillUnreadable, match="line 3 of the bill is no CSV"):
        list(of_alipay.trade_lines(business("手\r机")))


def test_a_zip_file_with_a_password_is_no_bill() -> None:
    def locked(_asked: Asked, reply: Reply) -> Reply:
        if not is_file(reply):
            return reply
        body = bytearray(repacked(reply, str).body)
        for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            at = body.find(mark)
            while at >= 0:
                body[at + flags] |= 1
                at = body.find(mark, at + 4)
        return msgspec.structs.replace(reply, body=bytes(body))

    said = fetched("alipay", locked)
    assert isinstance(said, Unknown)
    assert "cannot be unpacked" in said.why


def flows(*rows: tuple[str, str, str]) -> str:
    names = FLOW_COLUMNS.split(",")
    written = []
    for number, direction, amount in rows:
        values = {
            "记账时间": "2027-01-15 16:00:00",
            "业务名称": "商家转账",
            "业务凭证号": number,
            "收支类型": direction,
        }
        written.append(",".join(f"`{(values | {'收支金额(元)': amount}).get(name, '')}" for name in names))
    return "\r\n".join([FLOW_COLUMNS, *written, "资金流水总笔数,收入笔数", f"`{len(rows)},`0", ""])


def test_a_transfer_that_came_back_on_its_day_did_not_move() -> None:
    text = flows(("T1", "支出", "8.88"), ("T2", "支出", "1.00"), ("T1", "收入", "8.88"))
    assert [(line.number, line.amount_minor) for line in of_wechat.transfer_lines(text)] == [("T2", 100)]


@pytest.mark.parametrize(("text", "minor"), [("0.00600", None), ("0.60000", 60), ("-0.02", -2), ("", 0), ("+7", 700)])
def test_amounts_of_bills_are_whole_fen(text: str, minor: int | None) -> None:
    if minor is not None:
        assert minor_of(text) == minor
        return
    with pytest.raises(BillUnreadable, match="whole fen"):
        minor_of(text)


@pytest.mark.parametrize(
    "text", ["0001-01-01 00:00:00", "0000-01-01 00:00:00", "2026-02-30 10:00:00", "2026-01-01T00:00:00", "-1", ""]
)
def test_a_time_that_is_none_makes_a_bill_unreadable(text: str) -> None:
    assert beijing.us_of(text) is None
    with pytest.raises(BillUnreadable, match="no time"):
        Row({"完成时间": text}).at_us("完成时间")


def test_fees_that_only_the_bill_tells_are_no_difference(tmp_path: Path) -> None:
    book = SqliteBillBook.open_path(tmp_path / "payments.db")
    new = NewBill(
        kind="payin", source="s", campaign="c", user="u", provider="wechat", currency="CNY", amount_minor=100_000,
        subject="s", expires_us=LATE_US,
    )  # fmt: skip
    book.make([new], NOON_US)
    [bill] = book.take("wechat", "start", NOON_US, NOON_US, 1)
    book.change([steps.after(bill, Paid(100_000, NOON_US, "r", "CNY"), Terms(currency="CNY"), NOON_US)])
    ours = book.moved("wechat", *beijing.day_of(DAY))
    theirs = [BillLine("payin", bill.number, 100_000, 600, "r", NOON_US)]
    untold = compare("wechat", DAY, ours, theirs, book, tells_fees=False)
    assert (untold.ok, untold.fees_minor, untold.difference_minor) == (True, 600, 0)
    told = compare("wechat", DAY, ours, theirs, book)
    assert [one.kind for one in told.differences] == [Kind.FEE]
    book.close()
