"""Hands what was sold to a shop's order system by webhook (Standard Webhooks 1.0), at least once under one id.

A shop answers 2xx when it has the order, 409 when it had it already, and 422 when it will never take it: then unit and
money go back. Any other answer, and none, is no answer: it is told again, later.

The body is `{"type": "order.paid", "timestamp": "…", "data": {…}}`, the header `webhook-id` the order's id, the same in
every repeat. It is signed with each of the keys that are named: ed25519 (`v1a`), with which a shop can check and not
sign, and HMAC-SHA256 (`v1`), which every language has a ready-made check for.

An address in a private network is refused, for whoever can write a URL could reach what only our machines see; a file
that means such a shop says so.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from redrush.http.fetch import Fetcher, Unfetched
from redrush.ports.provider import Accepted, HandOver, Rejected, Terms, Unknown
from redrush.providers import signing

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

DEADLINE_S: Final = 20.0
"""The specification asks for 15 to 30 seconds."""

WHY_BYTES_MAX: Final = 200
"""Of what a shop says about its refusal."""

TAKEN: Final = frozenset({200, 201, 202, 204, 409})
"""It has the order, 409: since an earlier time."""
NEVER: Final = 422


class WebhookOrders:
    """Fulfils `redrush.ports.provider.Orders`."""

    def __init__(self, url: str, secret: str, now_us: Callable[[], int], terms: Terms, *, public_only: bool) -> None:
        """`secret` is `whsk_…` or `whsec_…`, or several by spaces; ConfigError if it is none that signs. `public_only`:
        addresses in private networks are refused."""
        self._url = url
        self._keys = signing.keys_of(secret)
        signing.signed_headers(self._keys, "", 0, b"")  # a key that only checks is told now
        self._now_us = now_us
        self._terms = terms
        self._fetcher = Fetcher(public_only=public_only)

    @property
    def terms(self) -> Terms:
        """What the shop allows."""
        return self._terms

    async def hand_over(self, what: HandOver) -> Accepted | Rejected | Unknown:
        """See the port."""
        body = msgspec.json.encode({"type": what.event, "timestamp": _instant(what.at_us), "data": _data(what)})
        now_s = self._now_us() // 1_000_000
        headers = {"Content-Type": "application/json"} | signing.signed_headers(self._keys, what.number, now_s, body)
        try:
            answer = await self._fetcher.fetch(
                "POST", self._url, headers=headers, body=body, deadline_s=self._terms.deadline_s
            )
        except Unfetched as fault:
            return Unknown(str(fault))
        if answer.status in TAKEN:
            return Accepted(what.number)
        said = answer.body[:WHY_BYTES_MAX].decode("utf-8", "replace")
        if answer.status == NEVER:
            return Rejected(said or "the shop refuses it", final=True)
        return Unknown(f"the shop answered {answer.status}: {said}", answer.retry_after_s())

    def close(self) -> None:
        """End the connections."""
        self._fetcher.close()


def _instant(at_us: int) -> str:
    return (_EPOCH + timedelta(microseconds=at_us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _data(what: HandOver) -> dict[str, str | int | None]:
    return {"id": what.number, "user": what.user} | what.fields
