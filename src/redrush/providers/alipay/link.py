"""Speaking with Alipay's gateway: every request signed, every answer verified or *unknown*.

The outcome is in `code` and `sub_code`, never in the status. Only a code that says "it was never accepted" is a
refusal. 20000, SYSTEM_ERROR and whatever is not known here are unknown: the same number is asked for.
"""

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from redrush.http.bodies import json_object
from redrush.http.fetch import Fetched, Fetcher, Unfetched
from redrush.ports.provider import Absent, Rejected, Terms, Unknown
from redrush.providers import beijing
from redrush.providers.alipay.keys import SIGN_TYPE, App, KeyRing, member_of

GATEWAY: Final = "https://openapi.alipay.com/gateway.do"

TERMS: Final = Terms(
    currency="CNY", min_minor=10, max_minor=10**10, calls_per_s=50, queries_per_s=50, at_once_max=32, deadline_s=15.0,
    longest_silence_s=60.0, expires_min_s=60.0, opens_late=True, tells_fees=False,
)  # fmt: skip
"""A transfer is of ¥0.10 at least."""

DONE_CODES: Final = frozenset({"10000", "10003"})
ABSENT_CODES: Final = frozenset({
    "ACQ.TRADE_NOT_EXIST", "TRADE_NOT_EXIST", "ORDER_NOT_EXIST", "isp.bill_not_exist", "isv.bill_not_exist",
})  # fmt: skip
BUSY_CODES: Final = frozenset({
    "isv.app-call-limited", "isv.method-call-limited", "ACQ.SELLER_BALANCE_NOT_ENOUGH", "PAYER_BALANCE_NOT_ENOUGH",
    "BALANCE_IS_NOT_ENOUGH", "EXCEED_LIMIT_DM_AMOUNT", "EXCEED_LIMIT_MM_AMOUNT",
})  # fmt: skip
"""Later: too many calls, too little money with the merchant, or as much as it may move in a day or month."""

REFUSED_CODES: Final = frozenset({
    "ACQ.CONTEXT_INCONSISTENT", "ACQ.TRADE_HAS_SUCCESS", "ACQ.TRADE_HAS_CLOSE", "ACQ.TRADE_HAS_FINISHED",
    "ACQ.INVALID_PARAMETER", "ACQ.TRADE_STATUS_ERROR", "ACQ.REASON_TRADE_STATUS_INVALID", "ACQ.TRADE_NOT_ALLOW_REFUND",
    "ACQ.REASON_TRADE_REFUND_FEE_ERR", "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "ACQ.DISCORDANT_REPEAT_REQUEST",
    "ACQ.TOTAL_FEE_EXCEED", "ACQ.BUYER_NOT_EXIST", "INVALID_PARAMETER", "PAYEE_NOT_EXIST", "PAYEE_USER_INFO_ERROR",
    "PAYEE_ACC_OCUPIED", "PERM_AML_NOT_REALNAME_REV", "PERMIT_NON_BANK_LIMIT_PAYEE", "PAYMENT_INFO_INCONSISTENCY",
    "EXCEED_LIMIT_SM_AMOUNT", "EXCEED_LIMIT_SM_MIN_AMOUNT", "MONEY_PAY_CLOSED", "NO_ACCOUNT_RECEIVE_PERMISSION",
    "ILLEGAL_OPERATION",
})  # fmt: skip
"""It was not accepted. Whether it was before, under the same number, is asked for afterwards."""


class Asked(msgspec.Struct, frozen=True):
    """A verified answer that was a success."""

    fields: dict[str, Any]


class AlipayLink:
    """See the module."""

    def __init__(
        self,
        app: App,
        ring: KeyRing,
        now_us: Callable[[], int],
        *,
        url: str = GATEWAY,
        notify_url: str = "",
        terms: Terms = TERMS,
    ) -> None:
        self.app = app
        self.ring = ring
        self.notify_url = notify_url
        self.terms = terms
        self.now_us = now_us
        self._url = url
        self._fetcher = Fetcher()

    def request(self, method: str, business: dict[str, Any], **more: str) -> dict[str, str]:
        """Return the parameters of a request, signed. `more` are those besides the business ones."""
        fields = {
            "app_id": self.app.appid,
            "method": method,
            "format": "JSON",
            "charset": "utf-8",
            "sign_type": SIGN_TYPE,
            "timestamp": beijing.text_of(self.now_us()),
            "version": "1.0",
            "app_cert_sn": self.app.cert_sn,
            "alipay_root_cert_sn": self.app.root_sn,
            "biz_content": msgspec.json.encode(business).decode(),
            **more,
        }
        return self.app.signed({name: value for name, value in fields.items() if value})

    def address(self, method: str, business: dict[str, Any], **more: str) -> str:
        """Return where a browser goes to have this request answered by a page."""
        return f"{self._url}?{urlencode(self.request(method, business, **more))}"

    async def ask(self, method: str, business: dict[str, Any], **more: str) -> Asked | Absent | Rejected | Unknown:
        """Return what Alipay answers."""
        try:
            answer = await self._fetcher.fetch(
                "POST",
                self._url,
                headers={"Content-Type": "application/x-www-form-urlencoded;charset=utf-8"},
                body=urlencode(self.request(method, business, **more)).encode(),
                deadline_s=self.terms.deadline_s,
            )
        except Unfetched as fault:
            return Unknown(str(fault))
        return self._read(answer, method.replace(".", "_") + "_response")

    async def fetch(self, url: str, bytes_max: int) -> Fetched | Unknown:
        """Return a file that an answer has named."""
        try:
            answer = await self._fetcher.fetch("GET", url, deadline_s=60.0, bytes_max=bytes_max)
        except Unfetched as fault:
            return Unknown(str(fault))
        return answer if answer.status == 200 else Unknown(f"status {answer.status} instead of a file")

    def _read(self, answer: Fetched, name: str) -> Asked | Absent | Rejected | Unknown:
        whole = json_object(answer.body)
        if whole is None:
            return Unknown(f"status {answer.status}, an answer that is no JSON", answer.retry_after_s())
        signed = member_of(answer.body, name)
        if signed is None:
            signed = member_of(answer.body, "error_response")
        if signed is None:
            return Unknown(f"status {answer.status}, an answer without {name}")
        doubt = self.ring.doubt(whole.get("sign"), signed, whole.get("alipay_cert_sn"))
        if doubt is not None:
            return Unknown(f"an answer that is not believed: {doubt}")
        fields = json_object(signed)
        return Unknown("an answer that cannot be read") if fields is None else _meant(fields)

    def close(self) -> None:
        """End the connections."""
        self._fetcher.close()


def _meant(fields: dict[str, Any]) -> Asked | Absent | Rejected | Unknown:
    code, sub_code = str(fields.get("code", "")), str(fields.get("sub_code", ""))
    sub_code = sub_code.removeprefix("aop.")
    why = f"{sub_code or code}: {str(fields.get('sub_msg', fields.get('msg', '')))[:200]}"
    if code in DONE_CODES:
        return Asked(fields)
    if sub_code in ABSENT_CODES:
        return Absent()
    if sub_code in BUSY_CODES:
        return Rejected(why, final=False)
    return Rejected(why, final=True) if sub_code in REFUSED_CODES else Unknown(why)
