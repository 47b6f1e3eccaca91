"""WeChat Pay as `PayIn`, `PayOut` and `Notices`. States: pay.weixin.qq.com/doc/v3, as of autumn 2026."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypeVar
from urllib.parse import quote

import msgspec

from redrush.core.money.way_to_pay import How
from redrush.core.rush.instants import rfc3339_s, to_us
from redrush.http.bodies import json_object
from redrush.ports.provider import (
    Absent,
    Accepted,
    Answer,
    Bill,
    Cancelled,
    Cancelling,
    Closed,
    Confirming,
    Done,
    Failed,
    Forged,
    NeedsConfirmation,
    Notice,
    Open,
    Order,
    Paid,
    PayInStart,
    PayInState,
    PayOutStart,
    PayOutState,
    Pending,
    Probe,
    Refund,
    RefundStart,
    RefundState,
    Rejected,
    Stale,
    Started,
    State,
    Terms,
    Unknown,
)
from redrush.providers.about import state_of
from redrush.providers.wechat.keys import KeyRing, Merchant
from redrush.providers.wechat.link import Asked, WeChatLink

_M = TypeVar("_M", Paid, Done)

CONFIRM_WITHIN_US: Final = 24 * 3_600 * 1_000_000
"""So long a winner has to confirm a transfer; then it goes back."""

REMARK_SIGNS_MAX: Final = 32
NAME_FROM_MINOR: Final = 30
"""A receiver's name may be given from ¥0.30 on, and must be from ¥2,000 on."""

TRANSFERS: Final = "/v3/fund-app/mch-transfer/transfer-bills"
ORDERS: Final = "/v3/pay/transactions/out-trade-no"
REFUNDS: Final = "/v3/refund/domestic/refunds"


LINK_S: Final = 240.0
"""An h5_url is good for five minutes; who comes in the last of them might not get through."""

PRODUCTS: Final[Mapping[How, str]] = {"qr": "native", "jsapi": "jsapi", "redirect": "h5"}
SHOWN: Final[Mapping[How, str]] = {"qr": "code_url", "jsapi": "prepay_id", "redirect": "h5_url"}
"""What an answer names to pay by."""


class WeChatPayIn:
    """Fulfils `redrush.ports.provider.PayIn`: `qr` is Native, `jsapi` for pages within WeChat, `redirect` is H5, for
    the browser of a telephone outside of WeChat."""

    def __init__(self, link: WeChatLink, *, ways: Sequence[How] = ("qr",), back: str = "") -> None:
        """`ways` are those of the products that the merchant has, the first for whom none fits; `back` is the page that
        payers come back to from H5, "": the one they came from."""
        self._link = link
        self._back = f"&redirect_url={quote(back, safe='')}" if back else ""
        self._terms = msgspec.structs.replace(
            link.terms, min_minor=1, ways=tuple(ways), wants_address=True, link_s=LINK_S
        )

    @property
    def terms(self) -> Terms:
        """What WeChat allows, and the merchant's contract."""
        return self._terms

    async def start(self, order: Order) -> PayInStart:
        """See the port."""
        link = self._link
        fields: dict[str, Any] = {
            "appid": link.appid,
            "mchid": link.merchant.mchid,
            "description": order.subject[:127],
            "out_trade_no": order.number,
            "time_expire": rfc3339_s(order.expires_us // 1_000_000).replace("Z", "+00:00"),
            "notify_url": link.notify_url,
            "amount": {"total": order.amount_minor, "currency": order.currency},
        }
        if order.how not in PRODUCTS:
            return Rejected(f"WeChat Pay is asked here by {', '.join(PRODUCTS)}, not by {order.how}", final=True)
        if order.how == "jsapi":
            fields["payer"] = {"openid": order.payer}
        elif order.how == "redirect":
            fields["scene_info"] = {"payer_client_ip": order.payer, "h5_info": {"type": "Wap"}}
        answer = await link.ask("POST", f"/v3/pay/transactions/{PRODUCTS[order.how]}", fields)
        if not isinstance(answer, Asked):
            return Unknown("it is not there") if isinstance(answer, Absent) else answer
        found = answer.fields.get(SHOWN[order.how])
        if not isinstance(found, str):
            return Unknown("the answer names nothing to pay by")
        return Started(order.how, self._payload(order.how, found), order.expires_us)

    def _payload(self, how: How, found: str) -> str:
        if how == "jsapi":
            return self._jsapi(found)
        return found + self._back if how == "redirect" else found

    def _jsapi(self, prepay_id: str) -> str:
        """Return what the page hands to WeixinJSBridge, as JSON."""
        link = self._link
        timestamp, nonce, package = str(link.now_us() // 1_000_000), link.nonce(), f"prepay_id={prepay_id}"
        signature = link.merchant.sign(f"{link.appid}\n{timestamp}\n{nonce}\n{package}\n")
        fields = {
            "appId": link.appid, "timeStamp": timestamp, "nonceStr": nonce, "package": package, "signType": "RSA",
            "paySign": signature,
        }  # fmt: skip
        return msgspec.json.encode(fields).decode()

    async def find(self, number: str, reference: str = "") -> PayInState:
        """See the port."""
        answer = await self._link.ask("GET", f"{ORDERS}/{number}?mchid={self._link.merchant.mchid}")
        return state_of(answer, {"out_trade_no": number}, payin_state)

    async def close(self, number: str, reference: str = "") -> Closed | Paid | Unknown:
        """See the port."""
        answer = await self._link.ask("POST", f"{ORDERS}/{number}/close", {"mchid": self._link.merchant.mchid})
        if isinstance(answer, Unknown):
            return answer
        found = await self.find(number)  # whatever was said to the wish: what holds is what can be found
        if isinstance(found, Absent):
            return Closed()
        return Unknown("it is still open") if isinstance(found, Open) else found

    async def refund(self, refund: Refund) -> RefundStart:
        """See the port."""
        fields = {
            "out_trade_no": refund.of,
            "out_refund_no": refund.number,
            "reason": refund.reason[:80],
            "notify_url": self._link.notify_url,
            "amount": {"refund": refund.amount_minor, "total": refund.paid_minor, "currency": refund.currency},
        }
        answer = await self._link.ask("POST", REFUNDS, fields)
        if isinstance(answer, Asked):
            return Accepted(str(answer.fields.get("refund_id", "")))
        return Rejected("nothing was paid under that number", final=True) if isinstance(answer, Absent) else answer

    async def find_refund(self, number: str, of: str) -> RefundState:
        """See the port."""
        answer = await self._link.ask("GET", f"{REFUNDS}/{number}")
        asked = {"out_refund_no": number, "out_trade_no": of}
        return state_of(answer, asked, lambda said: refund_state(said, said.get("status")))


class WeChatPayOut:
    """Fulfils `redrush.ports.provider.PayOut` by the merchant transfer of 2025: winners confirm within a day."""

    def __init__(self, link: WeChatLink, *, scene: str, reports: Mapping[str, str], perception: str = "") -> None:
        """`scene` is the transfer scene that the merchant was granted, "1000" for marketing; `reports` what has to be
        stated in it, such as 活动名称 and 奖励说明; `perception` how winners see it, one of the scene's."""
        self._link = link
        self._scene = scene
        self._reports = [{"info_type": name, "info_content": text[:32]} for name, text in reports.items()]
        self._perception = perception

    @property
    def terms(self) -> Terms:
        """What WeChat allows, and the merchant's contract."""
        return self._link.terms

    async def start(self, bill: Bill) -> PayOutStart:
        """See the port."""
        link = self._link
        fields: dict[str, Any] = {
            "appid": link.appid,
            "out_bill_no": bill.number,
            "transfer_scene_id": self._scene,
            "openid": bill.to,
            "transfer_amount": bill.amount_minor,
            "transfer_remark": bill.subject[:REMARK_SIGNS_MAX],
            "notify_url": link.notify_url,
            "transfer_scene_report_infos": self._reports,
        }
        if self._perception:
            fields["user_recv_perception"] = self._perception
        if bill.name and bill.amount_minor >= NAME_FROM_MINOR:
            fields["user_name"] = link.ring.encrypt(bill.name)
        answer = await link.ask("POST", TRANSFERS, fields)
        if not isinstance(answer, Asked):
            return Unknown("it is not there") if isinstance(answer, Absent) else answer
        reference = str(answer.fields.get("transfer_bill_no", ""))
        if answer.fields.get("state") == "WAIT_USER_CONFIRM":
            package = str(answer.fields.get("package_info", ""))
            made_us = _instant_us(answer.fields.get("create_time")) or link.now_us()
            return NeedsConfirmation(package, made_us + CONFIRM_WITHIN_US, reference)
        return Accepted(reference)

    async def find(self, number: str) -> PayOutState:
        """See the port."""
        answer = await self._link.ask("GET", f"{TRANSFERS}/out-bill-no/{number}")
        return state_of(answer, {"out_bill_no": number}, payout_state)

    async def cancel(self, number: str) -> Cancelling | Done | Cancelled | Unknown:
        """See the port."""
        answer = await self._link.ask("POST", f"{TRANSFERS}/out-bill-no/{number}/cancel")
        if isinstance(answer, Unknown):
            return answer
        found = await self.find(number)
        if isinstance(found, Done | Cancelled | Unknown):
            return found
        return Unknown("there is no such number") if isinstance(found, Absent) else Cancelling()


class WeChatNotices:
    """Fulfils `redrush.ports.provider.Notices`, for payments, refunds and transfers alike."""

    def __init__(self, merchant: Merchant, ring: KeyRing) -> None:
        self._merchant = merchant
        self._ring = ring

    def read(self, headers: Mapping[str, str], body: bytes, now_us: int) -> Notice | Forged | Stale | Probe:
        """See the port."""
        if (doubt := self._ring.doubt(headers, body, now_us // 1_000_000)) is not None:
            return doubt
        fields = json_object(body) or {}
        sealed = fields.get("resource")
        if not isinstance(sealed, dict) or not isinstance(fields.get("id"), str):
            return Forged("it has no resource")
        texts = [sealed.get(name, "") for name in ("nonce", "associated_data", "ciphertext")]
        if not all(isinstance(text, str) for text in texts):
            return Forged("its resource is none")
        opened = self._merchant.decrypt(*texts)
        said = None if opened is None else json_object(opened)
        if said is None:
            return Forged("it was not encrypted with our APIv3 key")
        merchant = str(said.get("mchid", said.get("mch_id", "")))
        if merchant != self._merchant.mchid:
            return Forged(f"it is for the merchant {merchant[:32]}")
        return self._notice(str(fields["id"]), said, _instant_us(fields.get("create_time")) or now_us)

    def _notice(self, notice_id: str, said: dict[str, Any], made_us: int) -> Notice | Forged:
        state: PayInState | PayOutState | RefundState
        kind: Literal["payin", "payout", "refund"]
        amount = said.get("amount")
        amounts: dict[str, Any] = amount if isinstance(amount, dict) else {}
        if "out_refund_no" in said:
            kind, number, minor = "refund", said["out_refund_no"], amounts.get("refund")
            state = refund_state(said, said.get("refund_status"))
        elif "out_bill_no" in said:
            kind, number, minor, state = "payout", said["out_bill_no"], said.get("transfer_amount"), payout_state(said)
        else:
            kind, number, minor, state = "payin", said.get("out_trade_no"), amounts.get("total"), payin_state(said)
        known = isinstance(state, State) and isinstance(number, str) and isinstance(minor, int)
        if not known or isinstance(state, Unknown | Absent):
            return Forged("it says nothing that is known here")
        return Notice(
            id=notice_id, kind=kind, number=str(number), state=state, amount_minor=int(minor or 0),
            currency=str(amounts.get("currency", "CNY")), merchant=self._merchant.mchid, made_us=made_us,
        )  # fmt: skip

    def answer(self, how: Literal["kept", "later", "refused"]) -> Answer:
        """See the port."""
        if how == "kept":
            return 204, b""
        status, message = (503, "later") if how == "later" else (401, "signature")
        return status, msgspec.json.encode({"code": "FAIL", "message": message})


def payin_state(said: Mapping[str, Any]) -> PayInState:
    """Return the state of an order as WeChat tells it."""
    match said.get("trade_state"):
        case "SUCCESS" | "REFUND":  # REFUND: it was paid, and something of it went back
            return _moved(Paid, said.get("amount"), "total", said.get("transaction_id"), said.get("success_time"))
        case "NOTPAY" | "USERPAYING" | "PAYERROR":
            return Open()
        case "CLOSED" | "REVOKED":
            return Closed()
    return Unknown(f"the state {said.get('trade_state')!r} is not known here")


def payout_state(said: Mapping[str, Any]) -> PayOutState:
    """Return the state of a transfer as WeChat tells it."""
    match said.get("state"):
        case "ACCEPTED" | "PROCESSING" | "TRANSFERING" | "CANCELING":
            return Pending()
        case "WAIT_USER_CONFIRM":
            made_us = _instant_us(said.get("create_time"))
            package = str(said.get("package_info", ""))
            return Pending() if made_us is None else Confirming(package, made_us + CONFIRM_WITHIN_US)
        case "SUCCESS":
            amounts = {"transfer_amount": said.get("transfer_amount")}
            at = said.get("update_time")
            return _moved(Done, amounts, "transfer_amount", said.get("transfer_bill_no"), at)
        case "FAIL":
            return Failed(str(said.get("fail_reason", ""))[:200])
        case "CANCELLED":
            return Cancelled(str(said.get("fail_reason", ""))[:200])
    return Unknown(f"the state {said.get('state')!r} is not known here")


def refund_state(said: Mapping[str, Any], status: object) -> RefundState:
    """Return the state of a refund as WeChat tells it; answers and notices name its status differently."""
    match status:
        case "PROCESSING":
            return Pending()
        case "SUCCESS":
            return _moved(Done, said.get("amount"), "refund", said.get("refund_id"), said.get("success_time"))
        case "CLOSED":
            return Failed("closed")
        case "ABNORMAL":
            return Pending()  # the card is gone: finance decides in the merchant's console, and then it moves
    return Unknown(f"the status {status!r} is not known here")


def _moved(value: type[_M], amounts: object, key: str, reference: object, at: object) -> _M | Unknown:
    minor = amounts.get(key) if isinstance(amounts, dict) else None
    at_us = _instant_us(at)
    if not isinstance(minor, int) or at_us is None:
        return Unknown("it has moved, and the answer does not say how much or when")
    currency = str(amounts.get("currency", "CNY")) if isinstance(amounts, dict) else "CNY"
    return value(minor, at_us, str(reference or ""), currency)


def _instant_us(text: object) -> int | None:
    """Return an instant of RFC 3339 in µs, None for anything else."""
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return None if at is None or at.tzinfo is None else to_us(at)
