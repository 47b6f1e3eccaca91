"""WeChat Pay: what is believed of notices and answers, and what is sent."""

import asyncio
import base64
import json
import os
from pathlib import Path
from urllib.parse import unquote

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from redrush.config import load_payments_file
from redrush.http.fetch import Fetcher
from redrush.http.small_server import Asked, Reply, SmallServer
from redrush.http.sockets import Reserved
from redrush.ports.provider import (
    Bill,
    Device,
    Done,
    Forged,
    Notice,
    Open,
    Order,
    Paid,
    Probe,
    Refund,
    Stale,
    Started,
    Unknown,
)
from redrush.providers.sandbox.bank import Bank
from redrush.providers.wechat.adapters import WeChatNotices, WeChatPayIn, WeChatPayOut, payin_state, payout_state
from redrush.providers.wechat.keys import KeyRing, Merchant
from redrush.sandbox.wechat import SERIAL
from redrush.wiring.providers import connected
from tests.config.test_payments_file import WECHAT
from tests.conformance.providers import API_KEY, MCHID, MERCHANT_KEY, PLATFORM_KEY, Clock, wechat_link, wechat_sandbox

OTHER_KEY = rsa.generate_private_key(65_537, 2_048)
MERCHANT = Merchant(MCHID, "5157", MERCHANT_KEY, API_KEY)
RING = KeyRing({"OLD": OTHER_KEY.public_key(), SERIAL: PLATFORM_KEY.public_key()})
NOTICES = WeChatNotices(MERCHANT, RING)


def made(clock: Clock) -> tuple[dict[str, str], bytes]:
    """Return the notice of a transfer that has arrived."""
    bank = Bank()
    bank.transfer(Bill(number="N1", amount_minor=888, currency="CNY", to="u", subject="s"), clock())
    row = bank.row("N1")
    assert row is not None
    return wechat_sandbox(bank, clock).notice_of(row, "notice-1")


def signed(body: bytes, clock: Clock, key: rsa.RSAPrivateKey = PLATFORM_KEY, serial: str = SERIAL) -> dict[str, str]:
    timestamp = str(clock() // 1_000_000)
    text = f"{timestamp}\nabc\n".encode() + body + b"\n"
    return {
        "wechatpay-timestamp": timestamp, "wechatpay-nonce": "abc", "wechatpay-serial": serial,
        "wechatpay-signature": base64.b64encode(key.sign(text, padding.PKCS1v15(), SHA256())).decode(),
    }  # fmt: skip


def test_a_genuine_notice_is_read() -> None:
    clock = Clock()
    notice = NOTICES.read(*made(clock), clock())
    assert isinstance(notice, Notice)
    assert (notice.id, notice.kind, notice.number, notice.amount_minor) == ("notice-1", "payout", "N1", 888)
    assert isinstance(notice.state, Done)


def test_refunds_and_payments_are_told_apart() -> None:
    clock = Clock()
    bank = Bank()
    bank.order(Order(number="O1", amount_minor=500, currency="CNY", subject="s", expires_us=clock() + 10**9), clock())
    bank.pay("O1", clock())
    bank.refund(Refund(number="R1", of="O1", amount_minor=200, paid_minor=500, currency="CNY", reason="late"), clock())
    sandbox, found = wechat_sandbox(bank, clock), []
    for number in ("O1", "R1"):
        row = bank.row(number)
        assert row is not None
        notice = NOTICES.read(*sandbox.notice_of(row, number), clock())
        assert isinstance(notice, Notice), notice
        found.append((notice.kind, notice.number, notice.amount_minor, type(notice.state).__name__))
    assert found == [("payin", "O1", 500, "Paid"), ("refund", "R1", 200, "Done")]


def changed(what: str, headers: dict[str, str], body: bytes, clock: Clock) -> tuple[dict[str, str], bytes]:
    """Return the notice with this wrong."""
    headings = {
        "an unknown serial": {"wechatpay-serial": "PUB_KEY_ID_9"},
        "no signature": {"wechatpay-signature": ""},
        "no base64": {"wechatpay-signature": "§"},
        "no timestamp": {"wechatpay-timestamp": "-1"},
        "no nonce": {"wechatpay-nonce": ""},
        "a probe": {"wechatpay-signature": "WECHATPAY/SIGNTEST/x"},
    }
    match what:
        case "a body written anew":
            return headers, json.dumps(json.loads(body)).encode()
        case "the key of another serial":
            return signed(body, clock, OTHER_KEY), body
        case "our own key":
            return signed(body, clock, MERCHANT_KEY), body
        case "no headers":
            return {}, body
        case "no resource" | "no JSON":
            other = b"{}" if what == "no resource" else b"["
            return signed(other, clock), other
    return headers | headings[what], body


@pytest.mark.parametrize(
    "what",
    [
        "a body written anew", "an unknown serial", "the key of another serial", "our own key", "no signature",
        "no base64", "no timestamp", "no nonce", "no headers", "no resource", "no JSON", "a probe",
    ],
)  # fmt: skip
def test_what_was_changed_is_refused(what: str) -> None:
    clock = Clock()
    said = NOTICES.read(*changed(what, *made(clock), clock), clock())
    assert isinstance(said, Probe if what == "a probe" else Forged)


def test_an_old_notice_and_one_from_the_future_are_stale() -> None:
    clock = Clock()
    notice = made(clock)
    for seconds in (-301, 301):
        assert isinstance(NOTICES.read(*notice, clock() + seconds * 1_000_000), Stale)


def test_another_merchants_notice_and_one_of_another_key_are_refused() -> None:
    clock = Clock()
    notice = made(clock)
    other = WeChatNotices(msgspec.structs.replace(MERCHANT, mchid="1900000002"), RING)
    assert "merchant" in getattr(other.read(*notice, clock()), "why", "")
    strange = WeChatNotices(msgspec.structs.replace(MERCHANT, api_key=bytes(32)), RING)
    assert "APIv3" in getattr(strange.read(*notice, clock()), "why", "")


def test_answers_are_said_to_be_kept_only_by_204() -> None:
    assert NOTICES.answer("kept") == (204, b"")
    assert [NOTICES.answer(how)[0] for how in ("later", "refused")] == [503, 401]


@pytest.mark.parametrize("state", ["", "SOMETHING_NEW", None])
def test_a_state_that_is_not_known_is_unknown(state: str | None) -> None:
    assert isinstance(payin_state({"trade_state": state}), Unknown)
    assert isinstance(payout_state({"state": state}), Unknown)
    assert isinstance(payout_state({"state": "SUCCESS", "transfer_amount": "8"}), Unknown)


def test_an_answer_that_cannot_be_verified_is_unknown_whatever_its_status() -> None:
    async def story() -> None:
        clock = Clock()
        replies = iter([
            Reply(200, b'{"state":"SUCCESS"}'),
            Reply(400, b'{"code":"PARAM_ERROR"}'),
            Reply(200, b"{}", headers=tuple(signed(b"{}", clock, OTHER_KEY).items())),
            Reply(500, b"{}", headers=tuple(signed(b"{}", clock).items())),
        ])  # fmt: skip

        async def answer(_asked: Asked) -> Reply:
            return next(replies)

        server = SmallServer(answer)
        link = wechat_link(f"http://127.0.0.1:{await server.serve(Reserved.at('127.0.0.1', 0))}", clock)
        pay_out = WeChatPayOut(link, scene="1000", reports={"活动名称": "gala"})
        bill = Bill(number="N1", amount_minor=888, currency="CNY", to="u", subject="s")
        for _ in range(4):
            assert isinstance(await pay_out.start(bill), Unknown)
        link.close()
        await server.stop()

    asyncio.run(story())


def test_a_request_says_what_wechat_wants() -> None:
    async def story() -> None:
        clock = Clock()
        heard: list[Asked] = []

        async def hear(asked: Asked) -> Reply:
            heard.append(asked)
            body = b'{"prepay_id":"wx201410272009395522657a690389285100"}'
            return Reply(200, body, headers=tuple(signed(body, clock).items()))

        server = SmallServer(hear)
        link = wechat_link(f"http://127.0.0.1:{await server.serve(Reserved.at('127.0.0.1', 0))}", clock)
        order = Order(
            number="N1", amount_minor=1, currency="CNY", subject="s", expires_us=clock() + 60_000_000, how="jsapi",
            payer="openid-1",
        )  # fmt: skip
        started = await WeChatPayIn(link).start(order)
        assert isinstance(started, Started)
        shown = json.loads(started.payload)
        text = "".join(f"{shown[name]}\n" for name in ("appId", "timeStamp", "nonceStr", "package"))
        MERCHANT_KEY.public_key().verify(
            base64.b64decode(shown["paySign"]), text.encode(), padding.PKCS1v15(), SHA256()
        )
        bill = Bill(number="N2", amount_minor=200_000, currency="CNY", to="openid-2", subject="红包" * 40, name="张三")
        await WeChatPayOut(link, scene="1000", reports={"活动名称": "gala"}, perception="活动奖励").start(bill)
        link.close()
        await server.stop()
        assert heard[0].path == "/v3/pay/transactions/jsapi"
        assert json.loads(heard[0].body)["payer"] == {"openid": "openid-1"}
        assert json.loads(heard[0].body)["time_expire"] == "2027-01-15T08:01:00+00:00"
        assert heard[0].headers["wechatpay-serial"] == SERIAL, "in every request, else another key signs"
        sent = json.loads(heard[1].body)
        assert (len(sent["transfer_remark"]), sent["transfer_amount"]) == (32, 200_000)
        assert sent["transfer_scene_report_infos"] == [{"info_type": "活动名称", "info_content": "gala"}]
        oaep = padding.OAEP(padding.MGF1(SHA1()), SHA1(), None)
        assert PLATFORM_KEY.decrypt(base64.b64decode(sent["user_name"]), oaep).decode() == "张三"

    asyncio.run(story())


def test_a_telephone_outside_of_wechat_is_sent_there_with_its_address_and_comes_back() -> None:
    async def story() -> None:
        clock, bank, heard = Clock(), Bank(), list[Asked]()
        sandbox = wechat_sandbox(bank, clock)

        async def hear(asked: Asked) -> Reply:
            heard.append(asked)
            return await sandbox.handle(asked)

        server = SmallServer(hear)
        link = wechat_link(f"http://127.0.0.1:{await server.serve(Reserved.at('127.0.0.1', 0))}", clock)
        pay_in = WeChatPayIn(link, ways=("qr", "redirect"), back="https://rush.example/?a=1&b")
        how, payer = pay_in.terms.way_of(Device("redirect", "2001:db8::7"), "ann")
        order = Order(
            number="N1", amount_minor=9_900, currency="CNY", subject="s", expires_us=clock() + 60_000_000, how=how,
            payer=payer,
        )  # fmt: skip
        started = await pay_in.start(order)
        assert isinstance(started, Started)
        assert started.kind == "redirect"
        scene = {"payer_client_ip": "2001:db8::7", "h5_info": {"type": "Wap"}}
        said = json.loads(heard[0].body)
        assert (heard[0].path, said["scene_info"]) == ("/v3/pay/transactions/h5", scene)
        assert "payer" not in said
        gone_to, _, back = started.payload.partition("&redirect_url=")
        assert unquote(back) == "https://rush.example/?a=1&b"
        assert await pay_in.find("N1") == Open()
        fetcher = Fetcher()
        assert (await fetcher.fetch("GET", gone_to)).status == 200
        fetcher.close()
        assert isinstance(await pay_in.find("N1"), Paid)
        link.close()
        await server.stop()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("device", "shown"),
    [
        (Device(), ("qr", "")),
        (Device("jsapi", "192.0.2.1"), ("jsapi", "ann")),
        (Device("redirect", "192.0.2.1"), ("redirect", "192.0.2.1")),
        (Device("redirect"), ("qr", "")),
        (Device("form"), ("qr", "")),
    ],
)
def test_an_address_is_told_only_where_it_is_needed_and_a_code_is_shown_where_nothing_else_fits(
    device: Device, shown: tuple[str, str]
) -> None:
    link = wechat_link("http://127.0.0.1:1", Clock())
    terms = WeChatPayIn(link, ways=("qr", "jsapi", "redirect")).terms
    assert terms.way_of(device, "ann") == shown
    assert WeChatPayIn(link).terms.way_of(device, "ann") == ("qr", ""), "a merchant without these products"
    link.close()


def test_random_bytes_are_signed_and_verified_and_one_changed_bit_is_seen() -> None:
    clock = Clock()
    for size in range(0, 400, 7):
        body = os.urandom(size)
        headers = signed(body, clock)
        assert RING.doubt(headers, body, clock() // 1_000_000) is None
        if body:
            changed = bytes([body[0] ^ 1]) + body[1:]
            assert isinstance(RING.doubt(headers, changed, clock() // 1_000_000), Forged)


def test_a_payments_file_makes_the_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = MERCHANT_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "merchant.pem").write_bytes(pem)
    public = PLATFORM_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "wechat.pem").write_bytes(public)
    (tmp_path / "payments.toml").write_text(WECHAT)
    monkeypatch.setenv("API_KEY", API_KEY.decode())
    (spec,) = load_payments_file(tmp_path / "payments.toml").providers
    one = connected(spec, Clock(), "CNY")
    assert one.provider.pay_out is not None
    assert one.provider.terms.calls_per_s == 100
    assert one.provider.terms.confirms
    one.close()
