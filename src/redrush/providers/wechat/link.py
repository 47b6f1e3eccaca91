"""Speaking with WeChat Pay: every request signed, every answer verified or *unknown*.

What cannot be verified is never taken for a failure: the money may have moved. Nor is any status but 200 and 204 of a
request that moves something; only the codes that say "it was never accepted" are refusals, and even they are asked for
once more by whoever keeps the bills.
"""

import secrets
from collections.abc import Callable
from typing import Any, Final

import msgspec

from redrush.core.web_address import parts_of
from redrush.http.bodies import json_object
from redrush.http.fetch import Fetched, Fetcher, Unfetched
from redrush.ports.provider import Absent, Rejected, Terms, Unknown
from redrush.providers.wechat.keys import KeyRing, Merchant

HOST: Final = "https://api.mch.weixin.qq.com"
HOSTS: Final = (HOST, "https://api2.mch.weixin.qq.com")

TERMS: Final = Terms(
    currency="CNY", min_minor=10, max_minor=20_000_000, calls_per_s=100, queries_per_s=100, at_once_max=32,
    deadline_s=10.0, longest_silence_s=60.0, expires_min_s=60.0, confirms=True, tells_fees=False,
)  # fmt: skip

ABSENT_CODES: Final = frozenset(
    {"ORDER_NOT_EXIST", "ORDERNOTEXIST", "RESOURCE_NOT_EXISTS", "NOT_FOUND", "RECORD_NOT_EXIST", "NO_STATEMENT_EXIST"}
)
BUSY_CODES: Final = frozenset(
    {"FREQUENCY_LIMITED", "FREQUENCY_LIMIT_EXCEED", "RATELIMIT_EXCEEDED", "RATE_LIMIT_EXCEEDED", "NOT_ENOUGH"}
)
"""Later: too many calls, or too little money with the merchant."""

REFUSED_CODES: Final = frozenset({
    "PARAM_ERROR", "INVALID_REQUEST", "NO_AUTH", "APPID_MCHID_NOT_MATCH", "MCH_NOT_EXISTS", "OPENID_MISMATCH",
    "ACCOUNTERROR", "TRADE_ERROR", "RULE_LIMIT", "OUT_TRADE_NO_USED", "ALREADY_EXISTS",
})  # fmt: skip
"""It was not accepted. Whether it was before, under the same number, is asked for afterwards."""


class Asked(msgspec.Struct, frozen=True):
    """A verified answer."""

    status: int
    fields: dict[str, Any]


class WeChatLink:
    """See the module."""

    def __init__(  # noqa: PLR0913 - what a merchant is given by WeChat
        self,
        merchant: Merchant,
        ring: KeyRing,
        appid: str,
        now_us: Callable[[], int],
        *,
        url: str = HOST,
        notify_url: str = "",
        terms: Terms = TERMS,
        nonce: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self.merchant = merchant
        self.ring = ring
        self.appid = appid
        self.notify_url = notify_url
        self.terms = terms
        self.now_us = now_us
        self.nonce = nonce
        self._url = url.rstrip("/")
        self._fetcher = Fetcher()

    async def ask(
        self, method: str, target: str, fields: dict[str, Any] | None = None
    ) -> Asked | Absent | Rejected | Unknown:
        """Return what WeChat answers."""
        body = b"" if fields is None else msgspec.json.encode(fields)
        now_s = self.now_us() // 1_000_000
        headers = {
            "Authorization": self.merchant.authorization(method, target, now_s, self.nonce(), body),
            "Accept": "application/json",
            "User-Agent": "redrush",
            "Wechatpay-Serial": self.ring.newest,
        }
        if body:
            headers["Content-Type"] = "application/json"
        try:
            answer = await self._fetcher.fetch(
                method, self._url + target, headers=headers, body=body, deadline_s=self.terms.deadline_s
            )
        except Unfetched as fault:
            return Unknown(str(fault))
        return self._read(answer)

    async def download(self, url: str, bytes_max: int) -> bytes | Unknown:
        """Return a file that an answer has named, at WeChat's own address; it is not signed, so compare its hash."""
        parts = parts_of(url)
        if parts is None or f"{parts.scheme}://{parts.netloc}" not in (self._url, *HOSTS):
            return Unknown(f"a file is said to be at {url[:80]!r}, which is not WeChat Pay")
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        now_s = self.now_us() // 1_000_000
        headers = {"Authorization": self.merchant.authorization("GET", target, now_s, self.nonce(), b"")}
        try:
            answer = await self._fetcher.fetch(
                "GET", url, headers=headers | {"User-Agent": "redrush"}, deadline_s=60.0, bytes_max=bytes_max
            )
        except Unfetched as fault:
            return Unknown(str(fault))
        return answer.body if answer.status == 200 else Unknown(f"status {answer.status} instead of a file")

    def _read(self, answer: Fetched) -> Asked | Absent | Rejected | Unknown:
        doubt = self.ring.doubt(answer.headers, answer.body, self.now_us() // 1_000_000)
        if doubt is not None:
            why = getattr(doubt, "why", "a probe")
            return Unknown(f"status {answer.status}, not believed: {why}", answer.retry_after_s())
        fields = json_object(answer.body)
        if fields is None:
            return Unknown("an answer that is no JSON")
        if answer.status in (200, 202, 204):
            return Asked(answer.status, fields)
        code, message = str(fields.get("code", "")), str(fields.get("message", ""))[:200]
        if code in ABSENT_CODES:
            return Absent()
        if answer.status == 429 or code in BUSY_CODES:
            return Rejected(f"{code}: {message}", final=False, retry_after_s=answer.retry_after_s())
        if code in REFUSED_CODES:
            return Rejected(f"{code}: {message}", final=True)
        return Unknown(f"status {answer.status}, {code}: {message}", answer.retry_after_s())

    def close(self) -> None:
        """End the connections."""
        self._fetcher.close()
