"""Alipay as `PayIn` and `PayOut`. States and codes: opendocs.alipay.com, as of autumn 2026.

An order is there only once its buyer has scanned the code or opened the page: before, Alipay knows no such trade
(`Terms.opens_late`). Amounts are texts in yuan, made and read without fractions of binary numbers.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from redrush.core.money.currency import format_amount, parse_amount
from redrush.core.money.way_to_pay import How
from redrush.ports.provider import (
    Absent,
    Accepted,
    Bill,
    Cancelled,
    Cancelling,
    Closed,
    Done,
    Failed,
    Open,
    Order,
    Paid,
    PayInStart,
    PayInState,
    PayOutStart,
    PayOutState,
    Pending,
    Refund,
    RefundStart,
    RefundState,
    Rejected,
    Started,
    Terms,
    Unknown,
)
from redrush.providers import beijing
from redrush.providers.about import state_of
from redrush.providers.alipay.link import AlipayLink, Asked

CURRENCY: Final = "CNY"
TITLE_SIGNS_MAX: Final = 128
PAYEES: Final[Mapping[str, str]] = {
    "open_id": "ALIPAY_OPEN_ID", "user_id": "ALIPAY_USER_ID", "logon_id": "ALIPAY_LOGON_ID",
}  # fmt: skip
PAGES: Final[Mapping[str, tuple[str, str]]] = {
    "page": ("alipay.trade.page.pay", "FAST_INSTANT_TRADE_PAY"),
    "wap": ("alipay.trade.wap.pay", "QUICK_WAP_WAY"),
}
TRANSFER: Final = {"product_code": "TRANS_ACCOUNT_NO_PWD", "biz_scene": "DIRECT_TRANSFER"}

_M = TypeVar("_M", Paid, Done)


class AlipayPayIn:
    """Fulfils `redrush.ports.provider.PayIn`: by code (`qr`), page (`redirect`) or mini program (`jsapi`)."""

    def __init__(self, link: AlipayLink, *, page: str = "wap", ways: Sequence[How] = ("qr",)) -> None:
        """`page`: where `redirect` leads to, one of `PAGES`: the page for phones, or that for computers. `ways` are
        those of the products that the merchant has, the first for whom none fits."""
        self._link = link
        self._page = page
        self._terms = msgspec.structs.replace(link.terms, min_minor=1, ways=tuple(ways))

    @property
    def terms(self) -> Terms:
        """What Alipay allows, and the merchant's contract."""
        return self._terms

    async def start(self, order: Order) -> PayInStart:
        """See the port."""
        if order.currency != CURRENCY:
            return Rejected(f"Alipay moves {CURRENCY}, not {order.currency}", final=True)
        fields = {
            "out_trade_no": order.number,
            "total_amount": format_amount(order.amount_minor, CURRENCY),
            "subject": order.subject[:TITLE_SIGNS_MAX],
            "time_expire": beijing.text_of(order.expires_us),
        }
        notify = self._link.notify_url
        if order.how == "redirect":
            method, product = PAGES[self._page]
            address = self._link.address(method, {**fields, "product_code": product}, notify_url=notify)
            return Started("redirect", address, order.expires_us)
        if order.how == "qr":
            answer = await self._link.ask("alipay.trade.precreate", fields, notify_url=notify)
            return _started(order, answer, "qr_code")
        if order.how == "jsapi":
            fields |= {"product_code": "JSAPI_PAY", "buyer_open_id": order.payer, "op_app_id": self._link.app.appid}
            answer = await self._link.ask("alipay.trade.create", fields, notify_url=notify)
            return _started(order, answer, "trade_no")
        return Rejected(f"Alipay is asked here by qr, redirect and jsapi, not by {order.how}", final=True)

    async def find(self, number: str, reference: str = "") -> PayInState:
        """See the port."""
        asked = {"out_trade_no": number}
        return state_of(await self._link.ask("alipay.trade.query", asked), asked, payin_state)

    async def close(self, number: str, reference: str = "") -> Closed | Paid | Absent | Unknown:
        """See the port."""
        answer = await self._link.ask("alipay.trade.close", {"out_trade_no": number})
        if isinstance(answer, Unknown):
            return answer
        found = await self.find(number)  # whatever was said to the wish: what holds is what can be found
        return Unknown("it is still open") if isinstance(found, Open) else found

    async def refund(self, refund: Refund) -> RefundStart:
        """See the port."""
        fields = {
            "out_trade_no": refund.of,
            "out_request_no": refund.number,
            "refund_amount": format_amount(refund.amount_minor, CURRENCY),
            "refund_reason": refund.reason[:TITLE_SIGNS_MAX],
        }
        answer = await self._link.ask("alipay.trade.refund", fields)
        if isinstance(answer, Asked):
            return Accepted(str(answer.fields.get("trade_no", "")))
        return Rejected("nothing was paid under that number", final=True) if isinstance(answer, Absent) else answer

    async def find_refund(self, number: str, of: str) -> RefundState:
        """See the port."""
        asked = {"out_trade_no": of, "out_request_no": number}
        fields = {**asked, "query_options": ["gmt_refund_pay"]}
        return state_of(await self._link.ask("alipay.trade.fastpay.refund.query", fields), asked, refund_state)


class AlipayPayOut:
    """Fulfils `redrush.ports.provider.PayOut` by transfers to accounts, which nobody has to confirm."""

    def __init__(self, link: AlipayLink, *, payee: str = "open_id") -> None:
        """`payee`: what `to` of a bill is, one of `PAYEES`."""
        self._link = link
        self._payee = payee

    @property
    def terms(self) -> Terms:
        """What Alipay allows, and the merchant's contract."""
        return self._link.terms

    async def start(self, bill: Bill) -> PayOutStart:
        """See the port."""
        if bill.currency != CURRENCY:
            return Rejected(f"Alipay moves {CURRENCY}, not {bill.currency}", final=True)
        payee = {"identity": bill.to, "identity_type": PAYEES[self._payee]}
        fields = {
            "out_biz_no": bill.number,
            "trans_amount": format_amount(bill.amount_minor, CURRENCY),
            "order_title": bill.subject[:TITLE_SIGNS_MAX],
            "payee_info": payee | ({"name": bill.name} if bill.name else {}),
            **TRANSFER,
        }
        answer = await self._link.ask("alipay.fund.trans.uni.transfer", fields)
        if isinstance(answer, Asked):
            return Accepted(str(answer.fields.get("order_id", "")))
        return Unknown("it is not there") if isinstance(answer, Absent) else answer

    async def find(self, number: str) -> PayOutState:
        """See the port."""
        asked = {"out_biz_no": number}
        return state_of(await self._link.ask("alipay.fund.trans.common.query", asked | TRANSFER), asked, payout_state)

    async def cancel(self, number: str) -> Cancelling | Done | Cancelled | Unknown:
        """See the port: a transfer to an account cannot be called back."""
        found = await self.find(number)
        if isinstance(found, Done | Cancelled | Unknown):
            return found
        return Unknown("there is no such number") if isinstance(found, Absent) else Cancelling()


def payin_state(said: Mapping[str, Any]) -> PayInState:
    """Return the state of a trade as Alipay tells it. One that was paid and given back in whole is CLOSED there."""
    paid_at = said.get("send_pay_date", said.get("gmt_payment"))
    match said.get("trade_status"):
        case "TRADE_SUCCESS" | "TRADE_FINISHED":
            return _moved(Paid, said.get("total_amount"), said.get("trade_no"), paid_at)
        case "TRADE_CLOSED":
            return _moved(Paid, said.get("total_amount"), said.get("trade_no"), paid_at) if paid_at else Closed()
        case "WAIT_BUYER_PAY":
            return Open()
    return Unknown(f"the state {said.get('trade_status')!r} is not known here")


def refund_state(said: Mapping[str, Any]) -> RefundState:
    """Return the state of a refund: one that there is not is answered by a success without its fields."""
    if not said.get("out_request_no") or not said.get("refund_amount"):
        return Absent()
    match said.get("refund_status"):
        case "REFUND_SUCCESS":
            return _moved(Done, said.get("refund_amount"), said.get("trade_no"), said.get("gmt_refund_pay"))
        case "REFUND_PROCESSING" | None:
            return Pending()
        case "REFUND_FAIL":
            return Failed("the refund has failed")
    return Unknown(f"the status {said.get('refund_status')!r} is not known here")


def payout_state(said: Mapping[str, Any]) -> PayOutState:
    """Return the state of a transfer. REFUND: it came back from a card, after it had left."""
    match said.get("status"):
        case "SUCCESS":
            return _moved(Done, said.get("trans_amount"), said.get("order_id"), said.get("pay_date"))
        case "INIT" | "WAIT_PAY" | "DEALING":
            return Pending()
        case "FAIL" | "REFUND" | "CLOSED":
            return Failed(str(said.get("fail_reason") or said.get("error_code") or said.get("status"))[:200])
    return Unknown(f"the status {said.get('status')!r} is not known here")


def minor_of(text: object) -> int | None:
    """Return the amount in fen that a text in yuan states; None for anything else."""
    try:
        return parse_amount(text, CURRENCY) if isinstance(text, str) else None
    except ValueError:
        return None


def _started(order: Order, answer: Asked | Absent | Rejected | Unknown, name: str) -> PayInStart:
    if not isinstance(answer, Asked):
        return Unknown("it is not there") if isinstance(answer, Absent) else answer
    found = answer.fields.get(name)
    if not isinstance(found, str):
        return Unknown("the answer names nothing to pay by")
    return Started(order.how, found, order.expires_us)


def _moved(value: type[_M], amount: object, reference: object, at: object) -> _M | Unknown:
    minor, at_us = minor_of(amount), beijing.us_of(at)
    if minor is None or at_us is None:
        return Unknown("it has moved, and the answer does not say how much or when")
    return value(minor, at_us, str(reference or ""), CURRENCY)
