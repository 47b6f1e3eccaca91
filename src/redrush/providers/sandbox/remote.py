"""The sandbox in another process, over HTTP: `redrush sandbox`. Its answers and notices are signed.

Whatever is not a signed, whole answer is Unknown, also when its status is one of success: the money may have moved.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

import msgspec

from redrush.http.bodies import UNREADABLE
from redrush.http.fetch import Fetcher, Unfetched
from redrush.ports.provider import (
    Absent,
    Accepted,
    Answer,
    Bill,
    BillLine,
    Cancelled,
    Cancelling,
    Closed,
    Done,
    Forged,
    NeedsConfirmation,
    Notice,
    Order,
    Paid,
    PayInStart,
    PayInState,
    PayOutStart,
    PayOutState,
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
from redrush.providers import signing
from redrush.providers.sandbox.direct import bounds_of, closed_state, payin_state, payout_state, refund_state

SECRET: Final = signing.secret_of(b"redrush sandbox, no secret")
"""What a sandbox signs with unless it is told another: it moves no money, so everybody may know it."""

MERCHANT: Final = "sandbox-merchant"

PROBE_ID: Final = "probe"
BILL_BYTES_MAX: Final = 512_000_000

TERMS: Final = Terms(
    currency="CNY", longest_silence_s=2.0, deadline_s=2.0, looks_s=(0.2, 0.5, 1, 2, 5, 10, 30), expires_min_s=1.0
)

_S = TypeVar("_S")
_Said = Started | Accepted | NeedsConfirmation | Rejected | Cancelling | State | Absent


_DECODER: Final = msgspec.json.Decoder[Any](_Said)


class SandboxLink:
    """What all parts of the adapter share: where it is, and whom to believe."""

    def __init__(self, url: str, secrets: Sequence[str], now_us: Callable[[], int], terms: Terms = TERMS) -> None:
        """`secrets` is the ring of keys whose signatures count."""
        self.terms = terms
        self._url = url.rstrip("/")
        self._keys = [signing.key_of(secret) for secret in secrets]
        self._now_us = now_us
        self._fetcher = Fetcher()

    async def ask(self, method: str, path: str, what: object = None) -> _Said | Unknown:
        """Return what the sandbox says."""
        body = b"" if what is None else msgspec.json.encode(what)
        try:
            answer = await self._fetcher.fetch(
                method,
                self._url + path,
                headers={"Content-Type": "application/json"} if body else {},
                body=body,
                deadline_s=self.terms.deadline_s,
            )
        except Unfetched as fault:
            return Unknown(str(fault))
        if answer.status == 429:
            # Whoever asks too often is turned away before anything is looked at: this need not be signed.
            return Rejected("too many calls", final=False, retry_after_s=answer.retry_after_s())
        if answer.status != 200:
            return Unknown(f"status {answer.status}")
        now_s = self._now_us() // 1_000_000
        if (doubt := signing.verify(self._keys, answer.headers, answer.body, now_s)) is not None:
            return Unknown(f"an answer that is not believed: {doubt.why}")
        try:
            said: _Said = _DECODER.decode(answer.body)
            return said
        except UNREADABLE as fault:
            return Unknown(f"an answer that cannot be read: {fault}")

    async def lines(self, day: str) -> Sequence[BillLine] | Unknown:
        """Return the daily bill."""
        try:
            answer = await self._fetcher.fetch(
                "GET", f"{self._url}/bill?day={day}", deadline_s=60.0, bytes_max=BILL_BYTES_MAX
            )
            if answer.status != 200:
                return Unknown(f"status {answer.status}")
            return msgspec.json.decode(answer.body, type=list[BillLine])
        except (Unfetched, *UNREADABLE) as fault:
            return Unknown(str(fault))

    def close(self) -> None:
        """End the connections."""
        self._fetcher.close()


class SandboxPayIn:
    """Fulfils `redrush.ports.provider.PayIn`."""

    def __init__(self, link: SandboxLink) -> None:
        self._link = link

    @property
    def terms(self) -> Terms:
        """What the sandbox allows."""
        return self._link.terms

    async def start(self, order: Order) -> PayInStart:
        """See the port."""
        answer = await self._link.ask("POST", "/v1/orders", order)
        return answer if isinstance(answer, Started | Rejected | Unknown) else _strange(answer)

    async def find(self, number: str, reference: str = "") -> PayInState:
        """See the port."""
        return _state(await self._link.ask("GET", f"/v1/orders/{number}"), payin_state)

    async def close(self, number: str, reference: str = "") -> Closed | Paid | Unknown:
        """See the port."""
        return _state(await self._link.ask("POST", f"/v1/orders/{number}/close"), closed_state)

    async def refund(self, refund: Refund) -> RefundStart:
        """See the port."""
        answer = await self._link.ask("POST", "/v1/refunds", refund)
        return answer if isinstance(answer, Accepted | Rejected | Unknown) else _strange(answer)

    async def find_refund(self, number: str, of: str) -> RefundState:
        """See the port."""
        return _state(await self._link.ask("GET", f"/v1/refunds/{number}"), refund_state)


class SandboxPayOut:
    """Fulfils `redrush.ports.provider.PayOut`."""

    def __init__(self, link: SandboxLink) -> None:
        self._link = link

    @property
    def terms(self) -> Terms:
        """What the sandbox allows."""
        return self._link.terms

    async def start(self, bill: Bill) -> PayOutStart:
        """See the port."""
        answer = await self._link.ask("POST", "/v1/transfers", bill)
        if isinstance(answer, Accepted | NeedsConfirmation | Rejected | Unknown):
            return answer
        return _strange(answer)

    async def find(self, number: str) -> PayOutState:
        """See the port."""
        return _state(await self._link.ask("GET", f"/v1/transfers/{number}"), payout_state)

    async def cancel(self, number: str) -> Cancelling | Done | Cancelled | Unknown:
        """See the port."""
        answer = await self._link.ask("POST", f"/v1/transfers/{number}/cancel")
        return answer if isinstance(answer, Cancelling | Done | Cancelled | Unknown) else _strange(answer)


class SandboxBills:
    """Fulfils `redrush.ports.provider.DailyBills`. Days are those of UTC."""

    def __init__(self, link: SandboxLink) -> None:
        self._link = link

    def bounds(self, day: str) -> tuple[int, int]:
        """See the port."""
        return bounds_of(day)

    async def daily(self, day: str) -> Sequence[BillLine] | Unknown:
        """See the port."""
        return await self._link.lines(day)


class SandboxNotices:
    """Fulfils `redrush.ports.provider.Notices`."""

    def __init__(self, secrets: Sequence[str], merchant: str = MERCHANT) -> None:
        self._keys = [signing.key_of(secret) for secret in secrets]
        self._merchant = merchant

    def read(self, headers: Mapping[str, str], body: bytes, now_us: int) -> Notice | Forged | Stale | Probe:
        """See the port."""
        if headers.get("webhook-id") == PROBE_ID:
            return Probe()
        if (doubt := signing.verify(self._keys, headers, body, now_us // 1_000_000)) is not None:
            return doubt
        try:
            notice = msgspec.json.decode(body, type=Notice)
        except UNREADABLE as fault:
            return Forged(f"it cannot be read: {fault}")
        if notice.merchant != self._merchant:
            return Forged(f"it is for the merchant {notice.merchant}")
        return notice

    def answer(self, how: Literal["kept", "later", "refused"]) -> Answer:
        """See the port."""
        return {"kept": (204, b""), "later": (503, b""), "refused": (401, b"")}[how]


def _strange(answer: object) -> Unknown:
    return Unknown(f"an answer that does not belong here: {type(answer).__name__}")


def _state(answer: _Said | Unknown, read: Callable[[State | Absent], _S]) -> _S | Unknown:
    """Return the state; being turned away tells nothing of it."""
    if isinstance(answer, Rejected):
        return Unknown(answer.why, answer.retry_after_s)
    if isinstance(answer, Unknown):
        return answer
    return read(answer) if isinstance(answer, State | Absent) else _strange(answer)
