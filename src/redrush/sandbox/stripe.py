"""Stripe's API over the sandbox's bank: the same bills, asked for and told as Stripe does.

Requests carry the secret key, events are signed with the endpoint's secret. An idempotency key is kept for good: the
same request is answered as before, another one under the same key is refused.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from redrush.http.small_server import Asked, Reply
from redrush.ports.provider import Bill, Order, Refund, Rejected
from redrush.providers.sandbox.bank import SECOND_US, Bank, Row

_SESSION: Final = {"open": ("open", "unpaid"), "paid": ("complete", "paid"), "closed": ("expired", "unpaid")}
_REFUND: Final = {"pending": "pending", "done": "succeeded", "failed": "failed"}

Fields = dict[str, Any]
Said = tuple[int, Fields]


class StripeSandbox:
    """Answers Stripe's paths; `notice_of` makes an event's headers and body."""

    def __init__(self, bank: Bank, now_us: Callable[[], int], *, key: str, secret: str) -> None:
        self._bank = bank
        self._now_us = now_us
        self._key = key
        self._secret = secret
        self._kept: dict[str, tuple[bytes, Said]] = {}
        self._of: dict[str, list[str]] = {}

    async def handle(self, asked: Asked) -> Reply:
        """Answer a request, if it has the key."""
        status, fields = self._checked(asked)
        return Reply(status, msgspec.json.encode(fields))

    def _checked(self, asked: Asked) -> Said:
        if asked.headers.get("authorization") != f"Bearer {self._key}":
            return 401, {"error": {"type": "invalid_request_error", "message": "Invalid API Key provided"}}
        key = asked.headers.get("idempotency-key")
        if asked.method != "POST" or key is None:
            return self._do(asked)
        print_of = asked.path.encode() + b"?" + asked.body
        if key in self._kept:
            before, said = self._kept[key]
            return said if before == print_of else _refused(400, "idempotency_error", "", "other parameters before")
        said = self._do(asked)
        self._kept[key] = (print_of, said)
        return said

    def _do(self, asked: Asked) -> Said:
        said = asked.query if asked.method == "GET" else dict(parse_qsl(asked.body.decode(), keep_blank_values=True))
        match asked.method, asked.path.strip("/").split("/")[1:]:
            case "POST", ["checkout", "sessions"]:
                return self._order(said)
            case "GET", ["checkout", "sessions", session]:
                return self._session(session)
            case "POST", ["checkout", "sessions", session, "expire"]:
                return self._expire(session)
            case "GET", ["charges"]:
                return 200, _list(self._charges(said["transfer_group"]))
            case "POST", ["refunds"]:
                return self._refund(said)
            case "GET", ["refunds"]:
                return 200, _list(self._refunds(said["charge"]))
            case "POST", ["transfers"]:
                return self._transfer(said)
            case "GET", ["transfers"]:
                row = self._row(said["transfer_group"], "payout")
                return 200, _list([] if row is None else [self._transfer_fields(row)])
        return _missing(asked.path)

    def _order(self, said: Fields) -> Said:
        item = "line_items[0][price_data]"
        order = Order(
            number=said["client_reference_id"], amount_minor=int(said[f"{item}[unit_amount]"]),
            currency=said[f"{item}[currency]"].upper(), subject=said[f"{item}[product_data][name]"],
            expires_us=int(said["expires_at"]) * SECOND_US,
        )  # fmt: skip
        taken = self._bank.order(order, self._now_us())
        if isinstance(taken, Rejected):
            return _refused(400, "invalid_request_error", "parameter_invalid_integer", taken.why)
        return self._session(f"cs_test_{order.number}")

    def _session(self, session: str) -> Said:
        row = self._row(session.removeprefix("cs_test_"), "payin")
        return _missing(session) if row is None else (200, self._session_fields(row))

    def _expire(self, session: str) -> Said:
        row = self._row(session.removeprefix("cs_test_"), "payin")
        if row is None:
            return _missing(session)
        if row.state != "open":
            return _refused(
                400, "invalid_request_error", "", "Only Checkout Sessions with a status of open can be expired."
            )
        self._bank.shut(row.number, self._now_us())
        return self._session(session)

    def _charges(self, number: str) -> list[Fields]:
        row = self._row(number, "payin")
        if row is None or row.state != "paid" or row.done_us is None:
            return []
        currency = self._bank.terms.currency.lower()
        return [{
            "id": f"ch_{row.number}", "object": "charge", "amount": row.amount_minor, "currency": currency,
            "paid": True, "status": "succeeded", "created": row.done_us // SECOND_US, "transfer_group": row.number,
            "balance_transaction": {"object": "balance_transaction", "fee": row.fee_minor, "currency": currency},
        }]  # fmt: skip

    def _refund(self, said: Fields) -> Said:
        number, of = said["metadata[number]"], said["charge"].removeprefix("ch_")
        refund = Refund(
            number=number, of=of, amount_minor=int(said["amount"]), paid_minor=0, currency=self._bank.terms.currency,
            reason="",
        )  # fmt: skip
        taken = self._bank.refund(refund, self._now_us())
        if isinstance(taken, Rejected):
            return _refused(400, "invalid_request_error", "charge_already_refunded", taken.why)
        row = self._row(number, "refund")
        assert row is not None
        self._of.setdefault(of, []).append(number)
        return 200, self._refund_fields(row)

    def _refunds(self, charge: str) -> list[Fields]:
        rows = [self._row(number, "refund") for number in self._of.get(charge.removeprefix("ch_"), [])]
        return [self._refund_fields(row) for row in rows if row is not None]

    def _transfer(self, said: Fields) -> Said:
        bill = Bill(
            number=said["transfer_group"], amount_minor=int(said["amount"]), currency=said["currency"].upper(),
            to=said["destination"], subject=said["description"],
        )  # fmt: skip
        taken = self._bank.transfer(bill, self._now_us())
        if isinstance(taken, Rejected):
            return _refused(400, "invalid_request_error", "parameter_invalid_integer", taken.why)
        row = self._row(bill.number, "payout")
        assert row is not None
        return 200, self._transfer_fields(row)

    # -- as Stripe tells of a bill

    def _session_fields(self, row: Row) -> Fields:
        status, payment_status = _SESSION[row.state]
        url = f"https://checkout.stripe.example/c/pay/cs_test_{row.number}" if row.state == "open" else None
        return {
            "id": f"cs_test_{row.number}", "object": "checkout.session", "client_reference_id": row.number,
            "status": status, "payment_status": payment_status, "amount_total": row.amount_minor,
            "currency": self._bank.terms.currency.lower(), "url": url, "metadata": {"number": row.number},
        }  # fmt: skip

    def _refund_fields(self, row: Row) -> Fields:
        return {
            "id": f"re_{row.number}", "object": "refund", "amount": row.amount_minor, "charge": f"ch_{row.party}",
            "currency": self._bank.terms.currency.lower(), "status": _REFUND[row.state],
            "created": (row.done_us or row.made_us) // SECOND_US, "metadata": {"number": row.number},
        }  # fmt: skip

    def _transfer_fields(self, row: Row) -> Fields:
        return {
            "id": f"tr_{row.number}", "object": "transfer", "amount": row.amount_minor, "destination": row.party,
            "currency": self._bank.terms.currency.lower(), "created": (row.done_us or row.made_us) // SECOND_US,
            "transfer_group": row.number, "reversed": row.state in ("failed", "cancelled"),
        }  # fmt: skip

    def notice_of(self, row: Row, event_id: str) -> tuple[dict[str, str], bytes]:
        """Return headers and body of the event of what has become of a bill."""
        name, fields = {
            "payin": ("checkout.session.completed", self._session_fields),
            "refund": ("refund.updated", self._refund_fields),
            "payout": ("transfer.created", self._transfer_fields),
        }[row.kind]
        now_s = self._now_us() // SECOND_US
        body = msgspec.json.encode({
            "id": event_id, "object": "event", "type": name, "created": now_s, "livemode": False,
            "data": {"object": fields(row)},
        })  # fmt: skip
        signature = hmac.new(self._secret.encode(), f"{now_s}.".encode() + body, hashlib.sha256).hexdigest()
        return {"stripe-signature": f"t={now_s},v1={signature}", "content-type": "application/json"}, body

    def spoilt(self, reply: Reply, fault: str) -> Reply:
        """See `redrush.sandbox.face.Face`: Stripe's answers are not signed, TLS says whose they are."""
        return reply

    def forged(self, told: tuple[dict[str, str], bytes]) -> tuple[dict[str, str], bytes]:
        """See `redrush.sandbox.face.Face`."""
        headers, body = told
        return headers | {"stripe-signature": headers["stripe-signature"][:-4] + "0000"}, body

    def _row(self, number: str, kind: str) -> Row | None:
        self._bank.state(number, self._now_us())
        row = self._bank.row(number)
        return row if row is not None and row.kind == kind else None


def _list(data: list[Fields]) -> Fields:
    return {"object": "list", "data": data, "has_more": False, "url": "/v1/list"}


def _refused(status: int, kind: str, code: str, why: str) -> Said:
    return status, {"error": {"type": kind, "message": why} | ({"code": code} if code else {})}


def _missing(what: str) -> Said:
    return _refused(404, "invalid_request_error", "resource_missing", f"No such thing: {what}")
