"""Alipay's bills of a day: trades and refunds from the bill of the business, transfers from that of the account.

Each is a zip file with CSV in GBK: lines with `#` about it, a heading, rows whose values end with tabs, and a line that
ends the list, which tells that the file is whole. Columns are found by their names.
"""

import csv
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import Final

from redrush.ports.provider import Absent, BillLine, Rejected, Unknown
from redrush.providers import beijing
from redrush.providers.alipay.link import AlipayLink, Asked
from redrush.providers.bill_amounts import (
    BILL_BYTES_MAX,
    NOT_YET,
    BillUnreadable,
    Row,
    is_ready,
    lines_of,
    minor_of,
    text_of,
)

QUERY: Final = "alipay.data.dataservice.bill.downloadurl.query"
BUSINESS: Final = "业务明细"
ACCOUNT: Final = "账务明细"
_NO_BILL: Final = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError, ValueError)
"""What the library raises for a file that is no zip, is cut, packed in another way, or needs a password."""


class AlipayBills:
    """Fulfils `redrush.ports.provider.DailyBills`. Days are Beijing's; a bill is there from nine in the morning on."""

    def __init__(self, link: AlipayLink) -> None:
        self._link = link

    def bounds(self, day: str) -> tuple[int, int]:
        """See the port."""
        return beijing.day_of(day)

    async def daily(self, day: str) -> Sequence[BillLine] | Unknown:
        """See the port."""
        business = await self._file("trade", day, BUSINESS)
        if isinstance(business, Unknown):
            return business
        account = await self._file("signcustomer", day, ACCOUNT)
        if isinstance(account, Unknown):
            return account
        try:
            return [*trade_lines(business), *transfer_lines(account)]
        except BillUnreadable as fault:
            return Unknown(str(fault))

    async def _file(self, kind: str, day: str, name: str) -> str | Unknown:
        """Return a bill's text, nothing if there is none for a day that is long over."""
        named = await self._link.ask(QUERY, {"bill_type": kind, "bill_date": day})
        if isinstance(named, Absent):
            return "" if is_ready(self.bounds(day), self._link.now_us()) else Unknown(NOT_YET)
        if not isinstance(named, Asked):
            return Unknown(named.why) if isinstance(named, Rejected) else named
        answer = await self._link.fetch(str(named.fields.get("bill_download_url", "")), BILL_BYTES_MAX)
        return answer if isinstance(answer, Unknown) else _unpacked(answer.body, name)


def trade_lines(text: str) -> Iterator[BillLine]:
    """Yield what was paid and given back. BillUnreadable if it is not whole, or says something that is no bill."""
    for row in _rows(text, BUSINESS):
        if row["业务类型"] not in ("交易", "退款"):
            continue  # what else stands in a bill is none of ours, and may have no time and no fee
        amount, fee, at_us = minor_of(row["订单金额（元）"]), -minor_of(row["服务费（元）"]), row.at_us("完成时间")
        if row["业务类型"] == "交易":
            yield BillLine("payin", row["商户订单号"], amount, fee, row["支付宝交易号"], at_us)
        else:
            yield BillLine("refund", row["退款批次号/请求号"], abs(amount), fee, row["支付宝交易号"], at_us)


def transfer_lines(text: str) -> Iterator[BillLine]:
    """Yield the transfers that left the account. Raises as `trade_lines`."""
    for row in _rows(text, ACCOUNT):
        out = abs(minor_of(row["支出金额（-元）"]))
        if "转账" in row["业务类型"] and out and row["商户订单号"]:
            yield BillLine("payout", row["商户订单号"], out, 0, row["业务流水号"], row.at_us("发生时间"))


def lines_of_file(content: bytes) -> list[BillLine]:
    """Return what stands in a file that somebody has fetched from Alipay: the zip file, or a list out of it.
    BillUnreadable for any other."""
    found: list[BillLine] = []
    is_one = False
    for name, read in ((BUSINESS, trade_lines), (ACCOUNT, transfer_lines)):
        text = _unpacked(content, name) if zipfile.is_zipfile(io.BytesIO(content)) else text_of(content)
        if isinstance(text, str) and f"{name}列表" in text:
            is_one = True
            found += read(text)
    if not is_one:
        raise BillUnreadable(f"has neither {BUSINESS} nor {ACCOUNT} of Alipay in it")
    return found


def _rows(text: str, name: str) -> Iterator[Row]:
    """Yield the rows; BillUnreadable if the line that ends the list is not there."""
    if not text:
        return
    lines, names, ends = lines_of(text), None, f"{name}列表结束"
    for at, line in enumerate(lines):
        if line.startswith("#") and ends in line:
            return
        if line.startswith("#") or not line.strip():
            continue
        try:
            values = [one.strip() for one in next(csv.reader([line]))]
        except csv.Error as fault:
            raise BillUnreadable(f"line {at + 1} of the bill is no CSV: {fault}") from None
        if names is None:
            names = values
            continue
        if len(values) < len(names):
            raise BillUnreadable(f"line {at + 1} of the bill has {len(values)} values instead of {len(names)}")
        yield Row(zip(names, values, strict=False))
    raise BillUnreadable(f"the bill is not whole: it does not end with {ends}")


def _unpacked(content: bytes, name: str) -> str | Unknown:
    """Return the list of the zip file that has this name, and is not the one of its totals."""
    try:
        with zipfile.ZipFile(io.BytesIO(content), metadata_encoding="gbk") as packed:
            found = [one for one in packed.infolist() if name in one.filename and "汇总" not in one.filename]
            if len(found) != 1 or found[0].file_size > BILL_BYTES_MAX:
                return Unknown(f"the bill that was fetched has no one list {name}, or one that is too large")
            return packed.read(found[0]).decode("gb18030")
    except _NO_BILL as fault:
        return Unknown(f"the bill that was fetched cannot be unpacked: {fault}")
