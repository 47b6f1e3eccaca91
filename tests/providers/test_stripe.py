"""Stripe: what is believed of events and answers, and what is sent; its library is the oracle of signatures."""

import asyncio
import hashlib
import hmac
import json
import random
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from stripe import SignatureVerificationError, WebhookSignature

from redrush.config import load_payments_file
from redrush.errors import ConfigError
from redrush.http.small_server import Asked, Reply, SmallServer
from redrush.http.sockets import Reserved
from redrush.ports.provider import (
    Absent,
    Bill,
    Cancelled,
    Closed,
    Done,
    Failed,
    Forged,
    Notice,
    Open,
    Order,
    Paid,
    Pending,
    Refund,
    Rejected,
    Stale,
    Started,
    Unknown,
)
from redrush.providers.sandbox.bank import Bank
from redrush.providers.stripe.adapters import (
    StripeNotices,
    StripePayIn,
    StripePayOut,
    doubt_of,
    payout_state,
    refund_state,
)
from redrush.providers.stripe.link import API_VERSION, StripeLink
from redrush.wiring.providers import connected
from tests.conformance.providers import NOON_US, STRIPE_KEY, STRIPE_SECRET, Clock, stripe_sandbox

NOTICES = StripeNotices(["whsec_the_old_one", STRIPE_SECRET], is_live=False)
NUMBER = "NUMBER000000000000000001"
SECOND_US = 1_000_000
NOW_S = NOON_US // SECOND_US
BILL = Bill(number="N1", amount_minor=888, currency="USD", to="acct_1", subject="red packet")


def order(number: str = NUMBER) -> Order:
    return Order(number=number, amount_minor=888, currency="CNY", subject="a phone", expires_us=NOON_US + 10**9)


def made(kind: str, *, paid: bool = True) -> tuple[dict[str, str], bytes]:
    """Return a genuine event."""
    clock = Clock()
    bank = Bank()
    if kind == "payout":
        bank.transfer(Bill(number=NUMBER, amount_minor=888, currency="CNY", to="acct_1", subject="s"), clock())
    else:
        bank.order(order(), clock())
        if paid:
            bank.pay(NUMBER, clock())
    if kind == "refund":
        refund = Refund(number="R1", of=NUMBER, amount_minor=200, paid_minor=888, currency="CNY", reason="late")
        bank.refund(refund, clock())
    row = bank.row("R1" if kind == "refund" else NUMBER)
    assert row is not None
    event = stripe_sandbox(bank, clock).notice_of(row, "evt_1")
    bank.close()
    return event


def signed(body: bytes, secret: str = STRIPE_SECRET, at_s: int = NOW_S) -> dict[str, str]:
    signature = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return {"stripe-signature": f"t={at_s},v1={signature}"}


@pytest.mark.parametrize(
    ("kind", "number", "minor", "state"),
    [("payin", NUMBER, 888, Paid), ("refund", "R1", 200, Done), ("payout", NUMBER, 888, Done)],
)
def test_a_genuine_event_is_read(kind: str, number: str, minor: int, state: type) -> None:
    notice = NOTICES.read(*made(kind), NOON_US)
    assert isinstance(notice, Notice)
    assert (notice.id, notice.kind, notice.number, notice.amount_minor) == ("evt_1", kind, number, minor)
    assert isinstance(notice.state, state)
    assert notice.currency == "CNY"


def test_an_event_of_a_session_that_is_not_paid_yet_says_so() -> None:
    notice = NOTICES.read(*made("payin", paid=False), NOON_US)
    assert isinstance(notice, Notice)
    assert notice.state == Open()


def anew(change: Callable[[bytes], bytes]) -> Callable[[dict[str, str], bytes], tuple[dict[str, str], bytes]]:
    """Return what changes a body and signs it for that."""

    def changed(_headers: dict[str, str], body: bytes) -> tuple[dict[str, str], bytes]:
        other = change(body)
        return signed(other), other

    return changed


FORGED: dict[str, Callable[[dict[str, str], bytes], tuple[dict[str, str], bytes]]] = {
    "amount off by one": lambda headers, body: (headers, body.replace(b":888,", b":889,")),
    "a body written anew": lambda headers, body: (headers, json.dumps(json.loads(body)).encode()),
    "another secret": lambda _headers, body: (signed(body, "whsec_of_another_endpoint"), body),
    "no signature": lambda _headers, body: ({}, body),
    "no timestamp": lambda headers, body: ({"stripe-signature": headers["stripe-signature"].partition(",")[2]}, body),
    "another timestamp": lambda h, body: ({"stripe-signature": h["stripe-signature"].replace("t=18", "t=19")}, body),
    "another scheme": lambda h, body: ({"stripe-signature": h["stripe-signature"].replace("v1=", "v0=")}, body),
    "live mode": anew(lambda body: body.replace(b'"livemode":false', b'"livemode":true')),
    "no mode": anew(lambda body: body.replace(b'"livemode":false', b'"livemode":0')),
    "no number": anew(lambda body: body.replace(b'"client_reference_id"', b'"other"')),
    "no id": anew(lambda body: body.replace(b'"evt_1"', b"1")),
    "something else": anew(lambda body: body.replace(b'"checkout.session"', b'"customer"')),
    "no object": anew(lambda body: body.replace(b'"data"', b'"date"')),
    "no JSON": anew(lambda _body: b"["),
}


@pytest.mark.parametrize("what", list(FORGED))
def test_what_is_not_stripes_or_not_ours_is_refused(what: str) -> None:
    headers, body = made("payin")
    assert isinstance(NOTICES.read(*FORGED[what](headers, body), NOON_US), Forged), what


def test_an_old_event_and_one_from_the_future_are_stale() -> None:
    for seconds in (-301, 301):
        assert isinstance(NOTICES.read(*made("payin"), NOON_US + seconds * SECOND_US), Stale)


def test_the_library_believes_what_we_believe() -> None:
    draw = random.Random(20_270_206)
    for _ in range(300):
        body = json.dumps({"t": "红" * draw.randint(0, 9), "n": draw.random()}, ensure_ascii=False).encode()
        secrets = [f"whsec_{draw.getrandbits(96):x}" for _ in range(2)]
        headers = signed(body, draw.choice(secrets), at_s=draw.randint(10**9, 2 * 10**9))
        at_s = int(headers["stripe-signature"][2:].partition(",")[0])
        other = body.replace(b"{", b"{ ", 1)
        believed = []
        for secret in secrets:
            try:
                believed.append(WebhookSignature.verify_header(body, headers["stripe-signature"], secret))
            except SignatureVerificationError:
                believed.append(False)
            with pytest.raises(SignatureVerificationError):
                WebhookSignature.verify_header(other, headers["stripe-signature"], secret)
        assert [doubt_of([secret], headers, body, at_s) is None for secret in secrets] == believed
        assert doubt_of(secrets, headers, body, at_s) is None
        assert isinstance(doubt_of(secrets, headers, other, at_s), Forged)


def test_states_of_refunds_and_transfers() -> None:
    said = {"id": "x", "amount": 5, "currency": "usd", "created": NOW_S}
    for status, state in (("pending", Pending), ("succeeded", Done), ("canceled", Failed), ("new", Unknown)):
        assert isinstance(refund_state({**said, "status": status}), state)
    assert payout_state(said) == Done(5, NOON_US, "x", "USD")
    assert isinstance(payout_state({**said, "reversed": True}), Cancelled)
    assert isinstance(payout_state({**said, "amount": "5"}), Unknown)


def said_to(replies: list[Reply]) -> tuple[list[object], list[Asked]]:
    """Return what transfers come to at a server that answers this, and what it heard."""

    async def story() -> tuple[list[object], list[Asked]]:
        heard: list[Asked] = []

        async def answer(asked: Asked) -> Reply:
            heard.append(asked)
            return replies[len(heard) - 1]

        server = SmallServer(answer)
        link = StripeLink("sk_test_x", url=f"http://127.0.0.1:{await server.serve(Reserved.at('127.0.0.1', 0))}")
        said: list[object] = [await StripePayOut(link).start(BILL) for _ in replies]
        link.close()
        await server.stop()
        return said, heard

    return asyncio.run(story())


def fault(status: int, kind: str, code: str = "", **headers: str) -> Reply:
    body = json.dumps({"error": {"type": kind, "code": code, "message": "no"}}).encode()
    return Reply(status, body, headers=tuple(headers.items()))


def test_what_is_not_clear_is_unknown_and_sent_once() -> None:
    replies = [
        Reply(0),
        Reply(500, b"<html>"),
        fault(500, "api_error"),
        fault(401, "invalid_request_error"),
        fault(403, "invalid_request_error"),
        fault(409, "idempotency_error", "idempotency_key_in_use"),
    ]
    said, heard = said_to(replies)
    assert [type(one) for one in said] == [Unknown] * len(replies)
    assert len(heard) == len(replies), "its library repeats nothing"


def test_refusals_are_for_good_or_for_now() -> None:
    said, _ = said_to([
        fault(400, "invalid_request_error", "amount_too_small"),
        fault(400, "idempotency_error"),
        fault(404, "invalid_request_error", "resource_missing"),
        fault(400, "invalid_request_error", "balance_insufficient"),
        fault(429, "invalid_request_error", "rate_limit", **{"Retry-After": "7"}),
    ])  # fmt: skip
    assert all(isinstance(one, Rejected) for one in said)
    assert [getattr(one, "final", None) for one in said] == [True, True, True, True, False]
    assert getattr(said[-1], "retry_after_s", None) == 7


def test_a_request_carries_its_number_as_the_key_and_a_version_that_is_pinned() -> None:
    transfer = {"id": "tr_1", "object": "transfer", "amount": 888, "currency": "usd", "created": NOW_S}
    said, heard = said_to([Reply(200, json.dumps(transfer).encode())])
    assert getattr(said[0], "reference", "") == "tr_1"
    [asked] = heard
    assert (asked.method, asked.path) == ("POST", "/v1/transfers")
    assert asked.headers["idempotency-key"] == "N1"
    assert asked.headers["stripe-version"] == API_VERSION
    assert dict(parse_qsl(asked.body.decode())) == {
        "amount": "888", "currency": "usd", "destination": "acct_1", "transfer_group": "N1",
        "description": "red packet",
    }  # fmt: skip


def test_an_order_lives_from_its_session_to_its_refund() -> None:
    async def story() -> None:
        clock = Clock()
        bank = Bank()
        server = SmallServer(stripe_sandbox(bank, clock).handle)
        url = f"http://127.0.0.1:{await server.serve(Reserved.at('127.0.0.1', 0))}"
        link = StripeLink(STRIPE_KEY, url=url, back="https://rush.example/")
        pay_in = StripePayIn(link)
        started = await pay_in.start(order())
        assert isinstance(started, Started)
        assert started.payload.startswith("https://")
        assert await pay_in.find("ANOTHER0000000000000000", started.reference) == Unknown("the session is another's")
        assert await pay_in.close(NUMBER) == Absent(), "who does not know the session cannot end it"
        assert await pay_in.close(NUMBER, started.reference) == Closed()
        again = await pay_in.start(order())
        assert again == started, "what was answered to this number stays its answer"
        stranger = StripeLink("sk_test_other", url=url, back="https://rush.example/")
        assert isinstance(await StripePayIn(stranger).find(NUMBER), Unknown)
        for one in (link, stranger):
            one.close()
        await server.stop()
        bank.close()

    asyncio.run(story())


STRIPE = """[[provider]]
name = "stripe"
kind = "stripe"
key = { env = "STRIPE_KEY" }
secret = { env = "STRIPE_SECRET" }
back = "https://rush.example/"
calls_per_second = 20
"""


def test_a_payments_file_makes_the_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "payments.toml"
    path.write_text(STRIPE)
    monkeypatch.setenv("STRIPE_KEY", "sk_live_x")
    monkeypatch.setenv("STRIPE_SECRET", f"whsec_new {STRIPE_SECRET}")
    (spec,) = load_payments_file(path).providers
    one = connected(spec, Clock(), "EUR")
    assert one.notices is not None
    assert (one.provider.terms.currency, one.provider.terms.calls_per_s) == ("EUR", 20)
    headers, body = made("payin")
    assert "test mode" in getattr(one.notices.read(headers, body, NOON_US), "why", "")
    live = body.replace(b'"livemode":false', b'"livemode":true')
    assert isinstance(one.notices.read(signed(live), live, NOON_US), Notice)
    one.close()
    path.write_text(STRIPE.replace("https://rush", "rush"))
    with pytest.raises(ConfigError, match="come back"):
        load_payments_file(path)
