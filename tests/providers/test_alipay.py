"""Alipay: what is believed of notices and answers, what is sent, and how amounts are written."""

import asyncio
import base64
import json
import random
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509 import load_pem_x509_certificate

from redrush.config import load_payments_file
from redrush.core.money.currency import format_amount
from redrush.errors import ConfigError
from redrush.http.small_server import Asked, Reply, SmallServer
from redrush.http.sockets import Reserved
from redrush.operate.merchants import prove_one
from redrush.ports.provider import (
    Absent,
    Bill,
    Closed,
    Done,
    Failed,
    Forged,
    Notice,
    Order,
    Paid,
    Pending,
    Refund,
    Rejected,
    Stale,
    Started,
    Unknown,
)
from redrush.providers.alipay.adapters import (
    AlipayPayIn,
    AlipayPayOut,
    minor_of,
    payin_state,
    payout_state,
    refund_state,
)
from redrush.providers.alipay.keys import KeyRing, app_of, cert_sn, member_of, ring_of, signed_text
from redrush.providers.alipay.notices import AlipayNotices
from redrush.providers.rsa import fits, sign
from redrush.providers.sandbox.bank import Bank
from redrush.wiring.providers import connected
from tests.conformance.providers import (
    ALIPAY_KEY,
    APP,
    APP_KEY,
    APPID,
    NOON_US,
    SELLER,
    Clock,
    alipay_link,
    alipay_sandbox,
)
from tests.providers.test_oracles import certificate

RING = KeyRing({"": ALIPAY_KEY.public_key()})
NOTICES = AlipayNotices(APP, RING)
STRANGE_KEY = rsa.generate_private_key(65_537, 2_048)
SECOND_US = 1_000_000
NUMBER = "NUMBER000000000000000001"


def pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def made(kind: str) -> bytes:
    """Return the body of a genuine notice."""
    clock = Clock()
    bank = Bank()
    if kind == "payout":
        bank.transfer(Bill(number=NUMBER, amount_minor=888, currency="CNY", to="u", subject="s"), clock())
    else:
        bank.order(
            Order(number=NUMBER, amount_minor=888, currency="CNY", subject="s", expires_us=clock() + 10**9), clock()
        )
        bank.pay(NUMBER, clock())
    if kind == "refund":
        refund = Refund(number="R1", of=NUMBER, amount_minor=200, paid_minor=888, currency="CNY", reason="late")
        bank.refund(refund, clock())
    row = bank.row("R1" if kind == "refund" else NUMBER)
    assert row is not None
    _, body = alipay_sandbox(bank, clock).notice_of(row, "notice-1")
    bank.close()
    return body


def signed_anew(body: bytes, key: rsa.RSAPrivateKey = ALIPAY_KEY, **other: str) -> bytes:
    """Return the notice with other fields, signed for them."""
    said = {name: value for name, value in parse_qsl(body.decode()) if name not in ("sign", "sign_type")} | other
    said = {name: value for name, value in said.items() if value}
    return urlencode({**said, "sign": sign(key, signed_text(said)), "sign_type": "RSA2"}).encode()


@pytest.mark.parametrize(("kind", "said"), [("payin", "payin"), ("payout", "payout"), ("refund", "payin")])
def test_a_genuine_notice_is_read(kind: str, said: str) -> None:
    notice = NOTICES.read({}, made(kind), NOON_US)
    assert isinstance(notice, Notice)
    assert (notice.id, notice.kind, notice.number, notice.amount_minor) == ("notice-1", said, NUMBER, 888)
    assert isinstance(notice.state, Done if kind == "payout" else Paid)
    assert notice.merchant == APPID


def test_a_message_that_is_signed_with_its_sign_type_is_read_too() -> None:
    said = dict(parse_qsl(made("payout").decode()))
    del said["sign"]
    body = urlencode({**said, "sign": sign(ALIPAY_KEY, signed_text(said))}).encode()
    assert isinstance(NOTICES.read({}, body, NOON_US), Notice)


FORGED: dict[str, Callable[[bytes], bytes]] = {
    "amount off by one": lambda body: body.replace(b"total_amount=8.88", b"total_amount=8.89"),
    "another number": lambda body: body.replace(NUMBER.encode(), b"NUMBER000000000000000002"),
    "a field twice": lambda body: body + b"&total_amount=8.88",
    "a field more": lambda body: body + b"&more=1",
    "no signature": lambda body: signed_anew(body).partition(b"&sign=")[0],
    "no base64": lambda body: signed_anew(body).partition(b"&sign=")[0] + b"&sign=%C2%A7",
    "another key": lambda body: signed_anew(body, STRANGE_KEY),
    "our own key": lambda body: signed_anew(body, APP_KEY),
    "an unknown certificate": lambda body: signed_anew(body, alipay_cert_sn="0" * 32),
    "another app": lambda body: signed_anew(body, app_id="2021000000000002"),
    "another merchant": lambda body: signed_anew(body, seller_id="2088000000000002"),
    "no number": lambda body: signed_anew(body, out_trade_no=""),
    "no id": lambda body: signed_anew(body, notify_id=""),
    "an amount of three places": lambda body: signed_anew(body, total_amount="8.880"),
    "an amount below nothing": lambda body: signed_anew(body, total_amount="-8.88"),
    "an unknown state": lambda body: signed_anew(body, trade_status="TRADE_PENDING"),
    "no time": lambda body: signed_anew(body, notify_time=""),
    "no form": lambda _body: b"{}",
    "no text": lambda _body: b"\xff=\xff",
    "nothing": lambda _body: b"",
}  # fmt: skip


@pytest.mark.parametrize("what", list(FORGED))
def test_what_is_not_alipays_or_not_ours_is_refused(what: str) -> None:
    body = made("payin")
    other = FORGED[what](body)
    assert other != body
    assert isinstance(NOTICES.read({}, other, NOON_US), Forged), what


def test_repeats_of_a_day_are_heard_and_older_ones_and_those_from_the_future_are_stale() -> None:
    for kind in ("payin", "payout"):
        body = made(kind)
        for hours in (0, 25):
            assert isinstance(NOTICES.read({}, body, NOON_US + hours * 3_600 * SECOND_US), Notice)
        for seconds in (-301, 26 * 3_600 + 1):
            assert isinstance(NOTICES.read({}, body, NOON_US + seconds * SECOND_US), Stale)


def test_answers_are_said_to_be_kept_only_by_seven_letters() -> None:
    assert NOTICES.answer("kept") == (200, b"success")
    assert [NOTICES.answer(how) for how in ("later", "refused")] == [(503, b"fail"), (401, b"fail")]


@pytest.mark.parametrize(
    ("minor", "text"), [(1, "0.01"), (10, "0.10"), (100, "1.00"), (101, "1.01"), (9_999_999_999, "99999999.99")]
)
def test_amounts_are_written_in_yuan(minor: int, text: str) -> None:
    assert format_amount(minor, "CNY") == text
    assert minor_of(text) == minor


def test_every_amount_is_read_as_it_was_written() -> None:
    draw = random.Random(16)
    for minor in [*range(1, 3_000), *(draw.randint(1, 9_999_999_999) for _ in range(3_000))]:
        assert minor_of(format_amount(minor, "CNY")) == minor


@pytest.mark.parametrize("text", ["", "1e3", "1,00", "１.00", "+1.00", " 1.00", "1.001", "NaN", 1.0, None])
def test_what_is_no_amount_is_none(text: object) -> None:
    assert minor_of(text) is None


def test_a_trade_that_was_given_back_in_whole_was_paid() -> None:
    said = {"trade_status": "TRADE_CLOSED", "total_amount": "8.88", "trade_no": "t"}
    assert payin_state(said) == Closed()
    assert isinstance(payin_state({**said, "send_pay_date": "2027-01-15 16:00:00"}), Paid)


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ({"trade_status": "TRADE_FINISHED", "total_amount": "1"}, Unknown),
        ({"trade_status": "SOMETHING_NEW"}, Unknown),
        ({}, Unknown),
    ],
)
def test_a_trade_that_does_not_say_enough_is_unknown(said: dict[str, str], state: type) -> None:
    assert isinstance(payin_state(said), state)


def test_states_of_transfers_and_refunds() -> None:
    at = {"pay_date": "2027-01-15 16:00:00", "trans_amount": "0.10", "order_id": "o"}
    assert payout_state({**at, "status": "SUCCESS"}) == Done(10, NOON_US, "o", "CNY")
    for status, state in (("DEALING", Pending), ("REFUND", Failed), ("FAIL", Failed), ("NEW", Unknown)):
        assert isinstance(payout_state({**at, "status": status}), state)
    refund = {"out_request_no": "R", "refund_amount": "0.10"}
    assert refund_state({}) == Absent()
    for status, state in (("REFUND_PROCESSING", Pending), ("REFUND_FAIL", Failed), ("REFUND_SUCCESS", Unknown)):
        assert isinstance(refund_state({**refund, "refund_status": status}), state)


def test_a_member_is_cut_out_as_it_came() -> None:
    inner = r'{"a":"}\"}", "b":{"c":"{"}, "sub":"\\"}'
    raw = b'{"sign":"s", "x_response" : ' + inner.encode() + b',"other":{}}'
    assert member_of(raw, "x_response") == inner.encode()
    assert json.loads(inner)["sub"] == "\\"
    for other in (b"", b"{}", b'{"x_response":"{}"}', b'{"x_response":{"a":"}', b'["x_response",{}]'):
        assert member_of(other, "x_response") is None


def test_what_a_field_says_cannot_be_taken_for_the_answer() -> None:
    """Somebody's text in another member, that looks like the one that is signed, is not what is verified and read."""
    signed = b'{"code":"10000"}'
    raw = b'{"note":"\\"x_response\\":{\\"code\\":\\"9\\"}","x_response":' + signed + b"}"
    assert member_of(raw, "x_response") == signed


def test_a_member_of_a_member_cannot_be_taken_for_the_answer() -> None:
    raw = b'{"note":{"x_response":{"code":"9"}},"x_response":{"code":"10000"}}'
    assert member_of(raw, "x_response") == b'{"code":"10000"}'
    assert member_of(raw, "code") is None


def play(replies: list[Reply], *, calls: int = 1) -> list[object]:
    """Return what transfers are answered by a gateway that says this."""

    async def story() -> list[object]:
        left = iter(replies)

        async def answer(prove_one: Asked) -> Reply:
            return next(left)

        server = SmallServer(answer)
        link = alipay_link(f"http://127.0.0.1:{await server.serve(Reserved.at('127.0.0.1', 0))}/gateway.do", Clock())
        bill = Bill(number="N1", amount_minor=888, currency="CNY", to="u", subject="s")
        said: list[object] = [await AlipayPayOut(link).start(bill) for _ in replies]
        link.close()
        await server.stop()
        return said

    return asyncio.run(story())


def answer(
    fields: dict[str, str],
    *,
    key: rsa.RSAPrivateKey = ALIPAY_KEY,
    name: str = "alipay_fund_trans_uni_transfer_response",
    more: str = "",
) -> Reply:
    text = json.dumps(fields, ensure_ascii=False)
    return Reply(200, f'{{"{name}":{text}{more},"sign":"{sign(key, text.encode())}"}}'.encode())


def test_what_cannot_be_verified_or_is_not_known_is_unknown_whatever_it_says() -> None:
    done = {"code": "10000", "order_id": "o", "status": "SUCCESS"}
    genuine = answer(done)
    for said in play([
        Reply(200, b'{"alipay_fund_trans_uni_transfer_response":{"code":"10000"}}'),
        answer(done, key=STRANGE_KEY),
        answer(done, more=',"alipay_cert_sn":"unknown"'),
        answer(done, name="alipay_trade_query_response"),
        msgspec.structs.replace(genuine, body=genuine.body.replace(b": ", b":")),
        msgspec.structs.replace(genuine, body=genuine.body[:-1]),
        Reply(502, b"<html>"),
        answer({"code": "20000", "sub_code": "aop.unknow-error"}),
        answer({"code": "40004", "sub_code": "SYSTEM_ERROR"}),
        answer({"code": "40004", "sub_code": "SOMETHING_NEW"}),
        answer({"code": "40002", "sub_code": "isv.invalid-signature"}, name="error_response"),
    ]):  # fmt: skip
        assert isinstance(said, Unknown), said


def test_refusals_are_for_good_or_for_now() -> None:
    final, busy, poor = play([
        answer({"code": "40004", "sub_code": "PAYEE_NOT_EXIST", "sub_msg": "收款账号不存在"}),
        answer({"code": "40005", "sub_code": "isv.app-call-limited"}),
        answer({"code": "40004", "sub_code": "PAYER_BALANCE_NOT_ENOUGH"}),
    ])  # fmt: skip
    assert final == Rejected("PAYEE_NOT_EXIST: 收款账号不存在", final=True)
    assert isinstance(busy, Rejected)
    assert isinstance(poor, Rejected)
    assert not busy.final
    assert not poor.final


def test_a_request_says_what_alipay_wants() -> None:
    async def story() -> None:
        heard: list[dict[str, str]] = []

        async def hear(asked: Asked) -> Reply:
            heard.append(dict(parse_qsl(asked.body.decode())))
            return answer({"code": "10000", "trade_no": "2027"}, name="alipay_trade_create_response")

        server, clock = SmallServer(hear), Clock()
        url = f"http://127.0.0.1:{await server.serve(Reserved.at('127.0.0.1', 0))}/gateway.do"
        link = alipay_link(url, clock, notify_url="https://pay.example/notices/alipay")
        link.app = msgspec.structs.replace(APP, cert_sn="ab", root_sn="cd_ef")
        order = Order(
            number="N1", amount_minor=499_901, currency="CNY", subject="手机", expires_us=clock() + 60 * SECOND_US,
            how="jsapi", payer="openid-1",
        )  # fmt: skip
        pay_in = AlipayPayIn(link)
        assert await pay_in.start(order) == Started("jsapi", "2027", order.expires_us)
        bill = Bill(number="N2", amount_minor=10, currency="CNY", to="a@b.example", subject="红包", name="张三")
        await AlipayPayOut(link, payee="logon_id").start(bill)
        page = await pay_in.start(msgspec.structs.replace(order, how="redirect"))
        assert isinstance(page, Started)
        assert len(heard) == 2, "nobody is asked for a page: its buyer goes there"
        assert isinstance(await pay_in.start(msgspec.structs.replace(order, how="form")), Rejected)
        assert isinstance(await pay_in.start(msgspec.structs.replace(order, currency="USD")), Rejected)
        link.close()
        await server.stop()
        shown = dict(parse_qsl(urlsplit(page.payload).query))
        for said in (*heard, shown):
            rest = {name: value for name, value in said.items() if name != "sign"}
            assert fits(APP_KEY.public_key(), said["sign"], signed_text(rest))
            assert (said["app_cert_sn"], said["alipay_root_cert_sn"]) == ("ab", "cd_ef")
            assert said["timestamp"] == "2027-01-15 16:00:00"
        assert (shown["method"], shown["notify_url"]) == ("alipay.trade.wap.pay", "https://pay.example/notices/alipay")
        business = json.loads(heard[0]["biz_content"])
        assert (business["total_amount"], business["time_expire"]) == ("4999.01", "2027-01-15 16:01:00")
        assert business["buyer_open_id"] == "openid-1"
        sent = json.loads(heard[1]["biz_content"])
        assert sent["payee_info"] == {"identity": "a@b.example", "identity_type": "ALIPAY_LOGON_ID", "name": "张三"}
        assert (sent["trans_amount"], sent["out_biz_no"]) == ("0.10", "N2")

    asyncio.run(story())


def test_certificates_name_themselves_and_a_pair_belongs_together() -> None:
    draw = random.Random(1)
    theirs, root = certificate(draw), certificate(draw)
    ring = ring_of({"2026": theirs, "2027": public(ALIPAY_KEY)})
    number = cert_sn(load_pem_x509_certificate(theirs.encode()))
    assert ring.doubt(sign(ALIPAY_KEY, b"x"), b"x", "2027") is None
    assert ring.doubt(sign(ALIPAY_KEY, b"x"), b"x", "") is None
    assert "no known key" in str(ring.doubt(sign(ALIPAY_KEY, b"x"), b"x", number))
    with pytest.raises(ConfigError, match="not of its key"):
        app_of(APPID, SELLER, pem(APP_KEY).decode(), theirs, root)
    with pytest.raises(ConfigError, match="no private key"):
        app_of(APPID, SELLER, "AAAA", None, None)
    bare = base64.b64encode(APP_KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())).decode()
    assert app_of(APPID, SELLER, bare, None, None).key.private_numbers() == APP_KEY.private_numbers()


def public(key: rsa.RSAPrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def test_a_payments_file_makes_the_adapter(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/app.pem").write_bytes(pem(APP_KEY))
    (tmp_path / "secrets/alipay.pem").write_text(public(ALIPAY_KEY))
    (tmp_path / "payments.toml").write_text(
        '[[provider]]\nname = "alipay"\nkind = "alipay"\nappid = "2021"\nseller = "2088"\n'
        'key = { file = "secrets/app.pem" }\npublic_keys = { alipay = { file = "secrets/alipay.pem" } }\n'
        'notify = "https://pay.example/notices/alipay"\npayee = "user_id"\npage = "page"\ncalls_per_second = 20\n'
    )
    (spec,) = load_payments_file(tmp_path / "payments.toml").providers
    one = connected(spec, Clock(), "CNY")
    assert one.notices is not None
    assert one.provider.pay_out is not None
    assert (one.provider.terms.calls_per_s, one.provider.terms.min_minor) == (20, 10)
    one.close()
    with pytest.raises(ConfigError, match="moves CNY"):
        connected(spec, Clock(), "EUR")


async def test_a_merchant_is_proven_by_questions_that_move_nothing(tmp_path: Path) -> None:
    clock = Clock()
    bank = Bank()
    server = SmallServer(alipay_sandbox(bank, clock).handle)
    url = f"http://127.0.0.1:{await server.serve(Reserved.at('127.0.0.1', 0))}/gateway.do"
    for name, key in (("app.pem", pem(APP_KEY)), ("strange.pem", pem(STRANGE_KEY))):
        (tmp_path / name).write_bytes(key)
    for name, known in (("alipay.pub", public(ALIPAY_KEY)), ("strange.pub", public(STRANGE_KEY))):
        (tmp_path / name).write_text(known)

    async def proven(key: str, known: str) -> str | None:
        (tmp_path / "payments.toml").write_text(
            f'[[provider]]\nname = "alipay"\nkind = "alipay"\nappid = "{APPID}"\nseller = "{SELLER}"\nurl = "{url}"\n'
            f'key = {{ file = "{key}" }}\npublic_keys = {{ alipay = {{ file = "{known}" }} }}\n'
            'notify = "https://pay.example/notices/alipay"\n'
        )
        (spec,) = load_payments_file(tmp_path / "payments.toml").providers
        one = await prove_one(spec, connected(spec, clock, "CNY"))
        assert one.shows == "answers about payouts and payments"
        return one.why_not

    assert await proven("app.pem", "alipay.pub") is None
    assert "isv.invalid-signature" in str(await proven("strange.pem", "alipay.pub"))
    assert "no known key has signed it" in str(await proven("app.pem", "strange.pub"))
    assert bank.sums() == []
    await server.stop()
    bank.close()
