"""WeChat Pay's bills of a day: trades and refunds from the trade bill, transfers from the one of the account's flows.

Both are CSV of a kind of their own: each value begins with a backtick and nothing is quoted, so a value is what stands
between two of them. Behind the rows stand a heading and a line of totals, which tell that the file is whole. Its hash
is in a signed answer. Columns are found by their names; there are more of them every few years.

A transfer's money leaves the account when it is made, and comes back if nobody confirms it. What left and came back on
one day is no line here; over midnight, the bill of the first day has it.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from redrush.ports.provider import Absent, BillLine, Rejected, Unknown
from redrush.providers import beijing
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
from redrush.providers.wechat.link import Asked, WeChatLink

TRADES: Final = "/v3/bill/tradebill"
FLOWS: Final = "/v3/bill/fundflowbill"
TRADE_TOTALS: Final = "总交易单数"
FLOW_TOTALS: Final = "资金流水总笔数"
"""So begins the heading of a bill's totals."""


class WeChatBills:
    """Fulfils `redrush.ports.provider.DailyBills`. Days are Beijing's; a bill is there from ten in the morning on."""

    def __init__(self, link: WeChatLink, *, account: str = "BASIC") -> None:
        """`account` is the one that transfers are paid from: BASIC or OPERATION."""
        self._link = link
        self._account = account

    def bounds(self, day: str) -> tuple[int, int]:
        """See the port."""
        return beijing.day_of(day)

    async def daily(self, day: str) -> Sequence[BillLine] | Unknown:
        """See the port."""
        trades = await self._file(f"{TRADES}?bill_date={day}&bill_type=ALL", day)
        if isinstance(trades, Unknown):
            return trades
        flows = await self._file(f"{FLOWS}?bill_date={day}&account_type={self._account}", day)
        if isinstance(flows, Unknown):
            return flows
        try:
            return [*trade_lines(trades), *transfer_lines(flows)]
        except BillUnreadable as fault:
            return Unknown(str(fault))

    async def _file(self, target: str, day: str) -> str | Unknown:
        """Return a bill's text, nothing if there is none for a day that is long over."""
        named = await self._link.ask("GET", target)
        if isinstance(named, Absent):
            return "" if is_ready(self.bounds(day), self._link.now_us()) else Unknown(NOT_YET)
        if not isinstance(named, Asked):
            return Unknown(named.why) if isinstance(named, Rejected) else named
        url, digest = str(named.fields.get("download_url", "")), str(named.fields.get("hash_value", ""))
        content = await self._link.download(url, BILL_BYTES_MAX)
        if isinstance(content, Unknown):
            return content
        if hashlib.sha1(content, usedforsecurity=False).hexdigest() != digest.lower():
            return Unknown("the bill that was fetched is not the one that was named: its hash is another")
        return content.decode("utf-8-sig", "replace")


def trade_lines(text: str) -> Iterator[BillLine]:
    """Yield what was paid and given back. BillUnreadable if it is not whole, or says something that is no bill."""
    for row in _rows(text, TRADE_TOTALS):
        if row["交易状态"] == "SUCCESS":
            paid, number, reference = row.get("订单金额") or row["应结订单金额"], row["商户订单号"], row["微信订单号"]
            yield BillLine("payin", number, minor_of(paid), minor_of(row["手续费"]), reference, row.at_us("交易时间"))
        elif row["交易状态"] == "REFUND" and row["退款状态"] == "SUCCESS":
            back, number, reference = (
                row.get("申请退款金额") or row["退款金额"],
                row["商户退款单号"],
                row["微信退款单号"],
            )
            yield BillLine("refund", number, minor_of(back), minor_of(row["手续费"]), reference, row.at_us("交易时间"))


def transfer_lines(text: str) -> Iterator[BillLine]:
    """Yield the transfers that left the account and did not come back. Raises as `trade_lines`."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in _rows(text, FLOW_TOTALS):
        if "转账" in row["业务类型"] + row["业务名称"]:
            found[row["业务凭证号"]].append(row)
    for number, rows in found.items():
        net = sum(minor_of(row["收支金额(元)"]) * (1 if row["收支类型"] == "支出" else -1) for row in rows)
        at_us = rows[0].at_us("记账时间")
        if net > 0:
            yield BillLine("payout", number, net, 0, rows[0]["微信支付业务单号"], at_us)


def lines_of_file(content: bytes) -> list[BillLine]:
    """Return what stands in a file that somebody has fetched from the merchant platform: the trade bill, of all trades,
    or that of the flows. BillUnreadable for any other."""
    text = text_of(content)
    for totals, read in ((TRADE_TOTALS, trade_lines), (FLOW_TOTALS, transfer_lines)):
        if any(line.startswith(totals) for line in lines_of(text)):
            return list(read(text))
    raise BillUnreadable("is neither a trade bill of WeChat Pay nor one of the account's flows, or it is not whole")


def _rows(text: str, totals: str) -> Iterator[Row]:
    """Yield the rows; BillUnreadable if they are not as many as the totals say."""
    if not text:
        return
    lines = lines_of(text)
    names = lines[0].split(",")
    count = 0
    for at, line in enumerate(lines[1:], 1):
        if line.startswith("`"):
            count += 1
            yield Row(zip(names, line[1:].split(",`"), strict=False))
            continue
        said = lines[at + 1].lstrip("`").split(",`")[0] if line.startswith(totals) and len(lines) > at + 1 else ""
        if said == str(count):
            return
        break
    raise BillUnreadable(f"the bill is not whole: it has {count} rows, and no totals that say so")
