"""Speaking with Stripe by its own library, over our own connections: one deadline, no retries but ours, no proxies.

A request that moves something carries its number as the idempotency key: for a day at least the same request is the
same thing there, and another one under the same number is refused. Later only queries tell, and they are asked first.

The version of the API is pinned: a library that is updated changes nothing of what is sent and read.
"""

from collections.abc import Awaitable, Mapping
from typing import Any, Final

import stripe

from redrush.http.fetch import Fetcher, Unfetched
from redrush.ports.provider import Absent, Rejected, Terms, Unknown

API: Final = "https://api.stripe.com"
API_VERSION: Final = "2026-10-28.endive"

TERMS: Final = Terms(
    currency="USD", min_minor=1, max_minor=99_999_999, calls_per_s=25, queries_per_s=75, at_once_max=16,
    deadline_s=30.0, longest_silence_s=60.0, expires_min_s=60.0, opens_late=True,
    ways=("redirect",),
)  # fmt: skip
"""Stripe answers 100 requests a second of an account, and takes 25 a second of some kinds."""

BUSY_CODES: Final = frozenset({"lock_timeout", "rate_limit"})
"""Later, under the same number. A balance that is too small is not among them: Stripe keeps that refusal with the
idempotency key and gives it again for a day, however much there is by then."""


class StripeLink:
    """See the module."""

    def __init__(self, key: str, *, url: str = API, terms: Terms = TERMS, back: str = "") -> None:
        """`key` is the secret key, sk_… or rk_…; `back` is where a buyer comes to after the checkout."""
        self.terms = terms
        self.back = back
        self.is_live = "_live_" in key
        self._fetcher = Fetcher()
        self.client = stripe.StripeClient(
            key,
            stripe_version=API_VERSION,
            base_addresses={"api": url.rstrip("/")},
            http_client=_OurConnections(self._fetcher, terms.deadline_s),
            max_network_retries=0,
        )

    async def ask(self, call: Awaitable[Any]) -> dict[str, Any] | Absent | Rejected | Unknown:
        """Return what Stripe answers to a call of its library."""
        try:
            answer: dict[str, Any] = (await call).to_dict()
            return answer
        except stripe.APIConnectionError as fault:
            return Unknown(str(fault)[:200])
        except stripe.StripeError as fault:
            return _meant(fault)

    def close(self) -> None:
        """End the connections."""
        self._fetcher.close()


class _OurConnections(stripe.HTTPClient):  # type: ignore[misc] # the library is checked as if it were not there
    """What the library sends, sent by the one fetcher that all adapters use."""

    name = "redrush"

    def __init__(self, fetcher: Fetcher, deadline_s: float) -> None:
        super().__init__()
        self._fetcher = fetcher
        self._deadline_s = deadline_s

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: object = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Send one request. Raises APIConnectionError: nobody knows whether it was heard."""
        body = post_data if isinstance(post_data, bytes) else str(post_data or "").encode()
        try:
            answer = await self._fetcher.fetch(
                method.upper(), url, headers=headers, body=body, deadline_s=self._deadline_s
            )
        except Unfetched as fault:
            raise stripe.APIConnectionError(str(fault), should_retry=False) from fault
        return answer.body, answer.status, answer.headers


def _meant(fault: Any) -> Absent | Rejected | Unknown:
    """Return what a fault of the library says of the request."""
    status, code, why = fault.http_status or 0, fault.code or "", f"{fault.code or type(fault).__name__}: {fault}"[:200]
    after = (fault.headers or {}).get("retry-after", "")
    retry_after_s = float(after) if after.isascii() and after.isdigit() else None
    if status == 404 or code == "resource_missing":
        return Absent()
    if status == 429 or code in BUSY_CODES:
        return Rejected(why, final=False, retry_after_s=retry_after_s)
    if status in (400, 402) and isinstance(
        fault, stripe.InvalidRequestError | stripe.CardError | stripe.IdempotencyError
    ):
        return Rejected(why, final=True)
    return Unknown(f"status {status}, {why}", retry_after_s)
