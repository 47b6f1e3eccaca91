"""Alipay's notices: forms, signed over their parameters. Of trades to the address of the order, of transfers to the
gateway of the app, by subscription to `alipay.fund.trans.order.changed`; both may be one address here.

A notice may be sent again for 25 hours, and says when it was sent first: one that is younger is not stale. Whoever
sends an old one again has it counted once, for its id is kept.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import parse_qsl

from redrush.http.bodies import json_object
from redrush.ports.provider import (
    Absent,
    Answer,
    Forged,
    Notice,
    PayInState,
    PayOutState,
    Probe,
    Stale,
    State,
    Unknown,
)
from redrush.providers import beijing
from redrush.providers.alipay.adapters import CURRENCY, minor_of, payin_state, payout_state
from redrush.providers.alipay.keys import App, KeyRing, signed_text

AGE_MAX_S: Final = 26 * 3_600
AHEAD_MAX_S: Final = 300
FIELDS_MAX: Final = 100
TRANSFERS: Final = "alipay.fund.trans.order.changed"


class AlipayNotices:
    """Fulfils `redrush.ports.provider.Notices`, for trades and transfers alike."""

    def __init__(self, app: App, ring: KeyRing) -> None:
        self._app = app
        self._ring = ring

    def read(self, headers: Mapping[str, str], body: bytes, now_us: int) -> Notice | Forged | Stale | Probe:
        """See the port."""
        said = _form(body)
        if said is None:
            return Forged("it is no form, or names something twice")
        if (why := self._doubt(said)) is not None:
            return Forged(why)
        if said.get("app_id") != self._app.appid:
            return Forged(f"it is for the app {said.get('app_id', '')[:32]}")
        made_us = _made_us(said)
        if made_us is None:
            return Forged("it does not say when it was sent")
        if not -AHEAD_MAX_S * 1_000_000 <= now_us - made_us <= AGE_MAX_S * 1_000_000:
            return Stale(f"it was sent {(now_us - made_us) // 1_000_000} s ago")
        if said.get("msg_method") == TRANSFERS:
            return self._of_transfer(said, made_us)
        return self._of_trade(said, made_us)

    def _doubt(self, said: dict[str, str]) -> str | None:
        """Return why it is not believed. Messages of subscriptions may be signed with `sign_type`, trades without."""
        rest = {name: value for name, value in said.items() if name not in ("sign", "sign_type")}
        signature, number = said.get("sign"), said.get("alipay_cert_sn")
        doubt = self._ring.doubt(signature, signed_text(rest), number)
        if doubt is not None and "msg_method" in said:
            rest["sign_type"] = said.get("sign_type", "")
            doubt = self._ring.doubt(signature, signed_text(rest), number)
        return doubt

    def _of_trade(self, said: dict[str, str], made_us: int) -> Notice | Forged:
        """A notice of a refund tells what went back in all: it is one of the payment, and refunds are asked for."""
        if said.get("seller_id") != self._app.seller:
            return Forged(f"it is for the merchant {said.get('seller_id', '')[:32]}")
        number, minor = said.get("out_trade_no", ""), minor_of(said.get("total_amount"))
        return self._notice("payin", said, number, minor, payin_state(said), made_us)

    def _of_transfer(self, said: dict[str, str], made_us: int) -> Notice | Forged:
        content: dict[str, Any] = json_object(said.get("biz_content", "").encode()) or {}
        number, minor = str(content.get("out_biz_no", "")), minor_of(content.get("trans_amount"))
        return self._notice("payout", said, number, minor, payout_state(content), made_us)

    def _notice(
        self,
        kind: Literal["payin", "payout"],
        said: dict[str, str],
        number: str,
        minor: int | None,
        state: PayInState | PayOutState,
        made_us: int,
    ) -> Notice | Forged:
        known = isinstance(state, State) and not isinstance(state, Unknown | Absent)
        if not known or not number or minor is None or not said.get("notify_id"):
            return Forged("it says nothing that is known here")
        assert isinstance(state, State)
        return Notice(
            id=said["notify_id"], kind=kind, number=number, state=state, amount_minor=minor, currency=CURRENCY,
            merchant=self._app.appid, made_us=made_us,
        )  # fmt: skip

    def answer(self, how: Literal["kept", "later", "refused"]) -> Answer:
        """See the port: only the seven letters of `success` end the repeats."""
        return {"kept": (200, b"success"), "later": (503, b"fail"), "refused": (401, b"fail")}[how]


def _form(body: bytes) -> dict[str, str] | None:
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=FIELDS_MAX,
        )
    except (ValueError, UnicodeDecodeError):
        return None
    found = dict(pairs)
    return found if len(found) == len(pairs) else None


def _made_us(said: Mapping[str, str]) -> int | None:
    """Return when it was sent: in Beijing's time, or in ms since the epoch where it is a message of a subscription."""
    if (text := said.get("utc_timestamp", "")).isascii() and text.isdigit() and len(text) <= 15:
        return int(text) * 1_000
    return beijing.us_of(said.get("notify_time"))
