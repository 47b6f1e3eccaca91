"""Stripe as `PayIn`, `PayOut` and `Notices`. API of `link.API_VERSION`; docs.stripe.com, as of autumn 2026.

A checkout session is found by Stripe's own id, which `start` returns and the book keeps. Without it, where the answer
was lost, what can be found by our number is a charge: money that has moved. Nobody has the page's address then either.
Transfers and charges are found by their `transfer_group`, which is our number: a list by it is never behind.

Events are hints: whatever they say, what is fetched decides.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from redrush.http.bodies import json_object
from redrush.ports.provider import (
    Absent,
    Accepted,
    Answer,
    Bill,
    Cancelled,
    Cancelling,
    Closed,
    Done,
    Failed,
    Forged,
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
from redrush.providers.stripe.link import StripeLink

SECOND_US: Final = 1_000_000
LINGERS_S: Final = 1_800
"""A session is open for half an hour at least: it is asked for so much longer, and closed at the order's end."""

CHARGE_MIN_MINOR: Final = 50
AGE_MAX_S: Final = 300


class StripePayIn:
    """Fulfils `redrush.ports.provider.PayIn` by checkout sessions: buyers go to a page of Stripe's (`redirect`)."""

    def __init__(self, link: StripeLink) -> None:
        self._link = link

    @property
    def terms(self) -> Terms:
        """What Stripe allows, and the merchant's contract."""
        return msgspec.structs.replace(self._link.terms, min_minor=CHARGE_MIN_MINOR)

    async def start(self, order: Order) -> PayInStart:
        """See the port. Everything sent follows from the order: the same number is the same request."""
        item = {"currency": order.currency.lower(), "unit_amount": order.amount_minor}
        named = {"number": order.number}
        made = await self._link.ask(
            self._link.client.v1.checkout.sessions.create_async(
                {
                    "mode": "payment",
                    "client_reference_id": order.number,
                    "line_items": [
                        {"quantity": 1, "price_data": {**item, "product_data": {"name": order.subject[:250]}}}
                    ],
                    "metadata": named,
                    "payment_intent_data": {"metadata": named, "transfer_group": order.number},
                    "expires_at": order.expires_us // SECOND_US + LINGERS_S,
                    "success_url": self._link.back,
                    "cancel_url": self._link.back,
                },
                {"idempotency_key": order.number},
            )
        )
        if isinstance(made, Rejected | Unknown):
            return made
        if isinstance(made, Absent) or not made.get("url"):
            return Unknown("the answer names no page to pay at")
        return Started("redirect", str(made["url"]), order.expires_us, str(made["id"]))

    async def find(self, number: str, reference: str = "") -> PayInState:
        """See the port."""
        if not reference.startswith("cs_"):
            return await self._charged(number)
        session = await self._link.ask(self._link.client.v1.checkout.sessions.retrieve_async(reference))
        if isinstance(session, Absent | Rejected | Unknown):
            return _asked(session)
        if session.get("client_reference_id") != number:
            return Unknown("the session is another's")
        if session.get("status") == "complete" and session.get("payment_status") == "paid":
            return await self._charged(number)
        if session.get("status") in ("open", "complete"):
            return Open()  # complete and unpaid: it is on its way, by a way that takes days
        expired = session.get("status") == "expired"
        return Closed() if expired else Unknown(f"the state {session.get('status')!r} is not known here")

    async def close(self, number: str, reference: str = "") -> Closed | Paid | Absent | Unknown:
        """See the port."""
        if reference.startswith("cs_"):
            answer = await self._link.ask(self._link.client.v1.checkout.sessions.expire_async(reference))
            if isinstance(answer, Unknown):
                return answer
        found = await self.find(number, reference)  # what holds is what can be found
        return Unknown("it is open, or being paid") if isinstance(found, Open) else found

    async def refund(self, refund: Refund) -> RefundStart:
        """See the port."""
        charge = await self._charge(refund.of)
        if isinstance(charge, Rejected | Unknown):
            return charge
        if isinstance(charge, Absent):
            return Rejected("nothing was paid under that number", final=True)
        fields = {"charge": charge["id"], "amount": refund.amount_minor, "metadata": {"number": refund.number}}
        made = await self._link.ask(
            self._link.client.v1.refunds.create_async(fields, {"idempotency_key": refund.number})
        )
        if isinstance(made, Rejected | Unknown):
            return made
        return Unknown("it is not there") if isinstance(made, Absent) else Accepted(str(made["id"]))

    async def find_refund(self, number: str, of: str) -> RefundState:
        """See the port."""
        charge = await self._charge(of)
        if isinstance(charge, Absent | Rejected | Unknown):
            return _asked(charge)
        found = await self._link.ask(self._link.client.v1.refunds.list_async({"charge": charge["id"], "limit": 100}))
        if isinstance(found, Absent | Rejected | Unknown):
            return _asked(found)
        ours = [one for one in found["data"] if (one.get("metadata") or {}).get("number") == number]
        return refund_state(ours[0]) if ours else Absent()

    async def _charged(self, number: str) -> PayInState:
        charge = await self._charge(number)
        if isinstance(charge, Absent | Rejected | Unknown):
            return _asked(charge)
        moved = charge.get("balance_transaction")
        fee = moved.get("fee") if isinstance(moved, Mapping) and moved.get("currency") == charge["currency"] else 0
        paid_us, currency = int(charge["created"]) * SECOND_US, str(charge["currency"]).upper()
        return Paid(int(charge["amount"]), paid_us, str(charge["id"]), currency, int(fee or 0))

    async def _charge(self, number: str) -> dict[str, Any] | Absent | Rejected | Unknown:
        """Return the charge of an order that was paid."""
        fields = {"transfer_group": number, "limit": 10, "expand": ["data.balance_transaction"]}
        found = await self._link.ask(self._link.client.v1.charges.list_async(fields))
        if isinstance(found, Absent | Rejected | Unknown):
            return found
        paid = [one for one in found["data"] if one.get("paid") and one.get("status") == "succeeded"]
        return paid[0] if paid else Absent()


class StripePayOut:
    """Fulfils `redrush.ports.provider.PayOut` by transfers to connected accounts: `to` of a bill is acct_…."""

    def __init__(self, link: StripeLink) -> None:
        self._link = link

    @property
    def terms(self) -> Terms:
        """What Stripe allows, and the merchant's contract."""
        return self._link.terms

    async def start(self, bill: Bill) -> PayOutStart:
        """See the port."""
        fields = {
            "amount": bill.amount_minor,
            "currency": bill.currency.lower(),
            "destination": bill.to,
            "transfer_group": bill.number,
            "description": bill.subject[:250],
        }
        made = await self._link.ask(
            self._link.client.v1.transfers.create_async(fields, {"idempotency_key": bill.number})
        )
        if isinstance(made, Rejected | Unknown):
            return made
        if isinstance(made, Absent):
            return Rejected(f"there is no connected account {bill.to[:40]}", final=True)
        return Accepted(str(made["id"]))

    async def find(self, number: str) -> PayOutState:
        """See the port."""
        found = await self._link.ask(self._link.client.v1.transfers.list_async({"transfer_group": number, "limit": 10}))
        if isinstance(found, Absent | Rejected | Unknown):
            return _asked(found)
        return payout_state(found["data"][0]) if found["data"] else Absent()

    async def cancel(self, number: str) -> Cancelling | Done | Cancelled | Unknown:
        """See the port: a transfer has arrived when it is made."""
        found = await self.find(number)
        if isinstance(found, Done | Cancelled | Unknown):
            return found
        return Unknown("there is no such number") if isinstance(found, Absent) else Cancelling()


class StripeNotices:
    """Fulfils `redrush.ports.provider.Notices` for events of checkout sessions, refunds and transfers."""

    def __init__(self, secrets: Sequence[str], *, is_live: bool) -> None:
        """`secrets` are those of the endpoint, whsec_…: two, while one is changed."""
        self._secrets = list(secrets)
        self._is_live = is_live

    def read(self, headers: Mapping[str, str], body: bytes, now_us: int) -> Notice | Forged | Stale | Probe:
        """See the port."""
        if (doubt := doubt_of(self._secrets, headers, body, now_us // SECOND_US)) is not None:
            return doubt
        event = json_object(body) or {}
        thing = (event.get("data") or {}).get("object") if isinstance(event.get("data"), dict) else None
        if not isinstance(thing, dict) or not isinstance(event.get("id"), str):
            return Forged("it is no event")
        if event.get("livemode") is not self._is_live:
            return Forged("it is of test mode" if self._is_live else "it is of live mode, and the key is one for tests")
        return _notice(event, thing)

    def answer(self, how: Literal["kept", "later", "refused"]) -> Answer:
        """See the port."""
        return {"kept": (200, b"{}"), "later": (503, b"{}"), "refused": (400, b"{}")}[how]


def doubt_of(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now_s: int) -> Forged | Stale | None:
    """Return None if one of the secrets has signed just these bytes lately; else why it is not believed."""
    said = [one.strip().partition("=") for one in headers.get("stripe-signature", "").split(",")[:16]]
    timestamp = next((text for name, _, text in said if name == "t"), "")
    if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12:
        return Forged("it has no timestamp")
    signed = f"{timestamp}.".encode() + body
    right = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode() for secret in secrets]
    signatures = [text.encode("latin-1", "replace") for name, _, text in said if name == "v1"]
    if not any(hmac.compare_digest(one, its) for one in signatures for its in right):
        return Forged("none of the known secrets has signed it")
    if abs(now_s - int(timestamp)) > AGE_MAX_S:
        return Stale(f"its timestamp is {now_s - int(timestamp)} s away from our clock")
    return None


def _notice(event: dict[str, Any], thing: dict[str, Any]) -> Notice | Forged:
    """Return the hint of an event. Of a payment it does not say when or by what charge: it is asked for anyway."""
    kind: Literal["payin", "payout", "refund"]
    state: PayInState | PayOutState | RefundState
    at_us = int(event["created"]) * SECOND_US if isinstance(event.get("created"), int) else 0
    metadata = thing.get("metadata") if isinstance(thing.get("metadata"), dict) else {}
    currency = str(thing.get("currency", "")).upper()
    match thing.get("object"):
        case "checkout.session":
            kind, number, minor = "payin", thing.get("client_reference_id"), thing.get("amount_total")
            is_paid = thing.get("payment_status") == "paid" and isinstance(minor, int)
            state = Paid(int(minor or 0), at_us, "", currency) if is_paid else Open()
            state = Closed() if thing.get("status") == "expired" else state
        case "refund":
            kind, number, minor, state = (
                "refund",
                (metadata or {}).get("number"),
                thing.get("amount"),
                refund_state(thing),
            )
        case "transfer":
            kind, number, minor, state = "payout", thing.get("transfer_group"), thing.get("amount"), payout_state(thing)
        case _:
            return Forged(f"it tells of a {str(thing.get('object'))[:32]}, which nobody asked for")
    known = isinstance(state, State) and isinstance(number, str) and isinstance(minor, int) and currency
    if not known or isinstance(state, Unknown | Absent):
        return Forged("it says nothing that is known here")
    return Notice(
        id=str(event["id"]), kind=kind, number=str(number), state=state, amount_minor=int(minor or 0),
        currency=currency, merchant=str(event.get("account", "")), made_us=at_us,
    )  # fmt: skip


def refund_state(said: Mapping[str, Any]) -> RefundState:
    """Return the state of a refund as Stripe tells it."""
    match said.get("status"):
        case "succeeded":
            return _moved(said)
        case "pending" | "requires_action":
            return Pending()
        case "failed" | "canceled":
            return Failed(str(said.get("failure_reason") or said.get("status")))
    return Unknown(f"the status {said.get('status')!r} is not known here")


def payout_state(said: Mapping[str, Any]) -> PayOutState:
    """Return the state of a transfer: it has arrived when it is made, unless somebody has taken it back by hand."""
    if said.get("reversed"):
        return Cancelled("taken back at Stripe")
    return _moved(said)


def _moved(said: Mapping[str, Any]) -> Done | Unknown:
    minor, created, currency = said.get("amount"), said.get("created"), said.get("currency")
    if not isinstance(minor, int) or not isinstance(created, int) or not isinstance(currency, str):
        return Unknown("it has moved, and the answer does not say how much or when")
    return Done(minor, created * SECOND_US, str(said.get("id", "")), currency.upper())


def _asked(answer: Absent | Rejected | Unknown) -> Absent | Unknown:
    """Return what a query says: being turned away tells nothing."""
    return Unknown(answer.why, answer.retry_after_s) if isinstance(answer, Rejected) else answer
