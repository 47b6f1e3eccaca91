"""Signatures of WeChat Pay and Alipay against the libraries that merchants use, on random cases.

These libraries are here for nothing else: what they get wrong besides signatures is why we have adapters of our own.
"""

import base64
import json
import random
import string
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest
from alipay import AliPay, DCAliPay
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID
from wechatpayv3 import utils as wechatpay

from redrush.ports.provider import Forged
from redrush.providers.alipay.keys import App, cert_sn, member_of, root_sn, signed_text
from redrush.providers.alipay.keys import KeyRing as AlipayRing
from redrush.providers.rsa import fits, sign
from redrush.providers.wechat.keys import KeyRing, Merchant

Play = Callable[[random.Random], None]

OURS, THEIRS = (rsa.generate_private_key(65_537, 1_024) for _ in range(2))
"""Short ones: these cases are about what is signed, not about how hard it is to sign in somebody's name."""

API_KEY = b"an APIv3 key has thirty-two sign"
SIGNS = string.ascii_letters + string.digits + "红包恭喜发财 =&+%/?#{}[]\"'\\,.:;-_~é😀"


def pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(key: rsa.RSAPrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


ALIPAY = AliPay("2021", app_private_key_string=pem(OURS), alipay_public_key_string=public_pem(THEIRS))
THEIR_SIDE = AliPay("2021", app_private_key_string=pem(THEIRS), alipay_public_key_string=public_pem(OURS))


def text(draw: random.Random, signs: str = SIGNS, most: int = 40) -> str:
    return "".join(draw.choice(signs) for _ in range(draw.randint(1, most)))


def changed(draw: random.Random, raw: bytes) -> bytes:
    at = draw.randrange(len(raw))
    return raw[:at] + bytes([raw[at] ^ (1 << draw.randrange(8))]) + raw[at + 1 :]


def wechat_request(draw: random.Random) -> None:
    """A request is signed as they sign it, to the last byte of the header."""
    merchant = Merchant(text(draw, string.digits, 10), text(draw, "0123456789ABCDEF"), OURS, API_KEY)
    method, target = draw.choice(["GET", "POST"]), "/v3/" + text(draw, string.ascii_lowercase + "/-?=&" + string.digits)
    nonce, body = text(draw, string.ascii_letters, 32), json.dumps({"k": text(draw)}, ensure_ascii=draw.random() < 0.5)
    theirs = wechatpay.build_authorization(target, method, merchant.mchid, merchant.serial, OURS, body, nonce)
    timestamp_s = int(theirs.partition('timestamp="')[2].partition('"')[0])
    assert merchant.authorization(method, target, timestamp_s, nonce, body.encode()) == theirs


def wechat_answer(draw: random.Random) -> None:
    """What they believe we believe, and neither believes one other bit."""
    nonce, body = text(draw, string.ascii_letters, 32), json.dumps({"k": text(draw)}, ensure_ascii=False)
    now_s = draw.randint(10**9, 2 * 10**9)
    signature = wechatpay.rsa_sign(THEIRS, f"{now_s}\n{nonce}\n{body}\n")
    headers = {
        "wechatpay-serial": "S", "wechatpay-nonce": nonce, "wechatpay-timestamp": str(now_s),
        "wechatpay-signature": signature,
    }  # fmt: skip
    ring = KeyRing({"S": THEIRS.public_key()})
    assert wechatpay.rsa_verify(str(now_s), nonce, body, signature, THEIRS.public_key())
    assert ring.doubt(headers, body.encode(), now_s) is None
    other = changed(draw, body.encode())
    assert isinstance(ring.doubt(headers, other, now_s), Forged)
    assert not wechatpay.rsa_verify(str(now_s), nonce, other.decode("latin-1"), signature, THEIRS.public_key())


def wechat_secrets(draw: random.Random) -> None:
    """Resources of notices and names are encrypted for the same keys."""
    merchant = Merchant("1", "S", OURS, API_KEY)
    plain, nonce, associated = text(draw), text(draw, string.ascii_letters, 12).ljust(12, "x"), text(draw, most=16)
    sealed = base64.b64encode(AESGCM(API_KEY).encrypt(nonce.encode(), plain.encode(), associated.encode())).decode()
    assert merchant.decrypt(nonce, associated, sealed) == plain.encode()
    assert wechatpay.aes_decrypt(nonce, sealed, associated, API_KEY.decode()) == plain
    name = text(draw, most=10)
    assert wechatpay.rsa_decrypt(KeyRing({"S": OURS.public_key()}).encrypt(name), OURS) == name


def alipay_request(draw: random.Random) -> None:
    """A request is signed as they sign it."""
    business = {"out_trade_no": text(draw, string.digits), "subject": text(draw), "total_amount": "0.01"}
    fields = ALIPAY.build_body(
        "alipay.trade.query", dict(business), notify_url="https://n.example/" + text(draw, "ab/")
    )
    theirs = dict(parse_qsl(ALIPAY.sign_data(fields), keep_blank_values=True))
    ours = App("2021", "2088", OURS).signed({name: value for name, value in theirs.items() if name != "sign"})
    assert ours["sign"] == theirs["sign"]


def alipay_notice(draw: random.Random) -> None:
    """What they believe of a notice we believe, and neither believes one other sign."""
    said = {text(draw, string.ascii_lowercase, 12): text(draw) for _ in range(draw.randint(1, 12))}
    signature = sign(THEIRS, signed_text(said))
    ring = AlipayRing({"": THEIRS.public_key()})
    assert ALIPAY.verify({**said, "sign_type": "RSA2"}, signature)
    assert ring.doubt(signature, signed_text(said), None) is None
    name = draw.choice(list(said))
    other = {**said, name: said[name] + draw.choice(SIGNS)}
    assert not ALIPAY.verify(dict(other), signature)
    assert ring.doubt(signature, signed_text(other), None) is not None


def alipay_answer(draw: random.Random) -> None:
    """The member that is signed is the same piece of text, wherever it stands."""
    name = "alipay_trade_query_response"
    inner: dict[str, Any] = {
        "code": "10000",
        "list": [{"n": draw.random()}],
        "t": text(draw, SIGNS.translate({123: None, 125: None})),
    }
    signed = json.dumps(inner, ensure_ascii=draw.random() < 0.5, separators=draw.choice([(",", ":"), (", ", ": ")]))
    members = [f'"{name}":{signed}', f'"sign":"{THEIR_SIDE._sign(signed)}"', '"alipay_cert_sn":"x"']
    draw.shuffle(members)
    raw = "{" + ",".join(members) + "}"
    assert ALIPAY._verify_and_return_sync_response(raw, name) == inner
    found = member_of(raw.encode(), name)
    assert found == signed.encode()
    assert fits(THEIRS.public_key(), json.loads(raw)["sign"], found)


def certificate(draw: random.Random) -> str:
    """Return a certificate whose issuer has some of the usual parts."""
    oids = [NameOID.COMMON_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME, NameOID.ORGANIZATION_NAME]
    parts = [
        x509.NameAttribute(oid, text(draw, string.ascii_letters + " 支付宝", 20)) for oid in oids if draw.random() < 0.8
    ]
    parts += [x509.NameAttribute(NameOID.COUNTRY_NAME, "CN")]
    draw.shuffle(parts)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name(parts))
        .public_key(THEIRS.public_key())
        .serial_number(draw.randint(1, 2**120))
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=1))
        .sign(THEIRS, SHA256())
    )
    return made.public_bytes(Encoding.PEM).decode()


def alipay_certificates(draw: random.Random) -> None:
    """Certificates have the same numbers, alone and in the file of roots."""
    texts = [certificate(draw) for _ in range(draw.randint(1, 3))]
    bundle = "\n".join(texts)
    ours = cert_sn(x509.load_pem_x509_certificate(texts[0].encode())), root_sn(bundle)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it asks pyOpenSSL in a way that will end
        theirs = DCAliPay.get_cert_sn(texts[0]), DCAliPay.get_root_cert_sn(bundle)
    assert ours == theirs


CASES: dict[str, Play] = {
    one.__name__: one
    for one in (
        wechat_request,
        wechat_answer,
        wechat_secrets,
        alipay_request,
        alipay_notice,
        alipay_answer,
        alipay_certificates,
    )
}


def _play(name: str, cases: int, seed: int) -> None:
    for case in range(cases):
        draw = random.Random(seed * 1_000_003 + case)
        try:
            CASES[name](draw)
        except AssertionError as fault:
            raise AssertionError(f"{name}, seed {seed}, case {case}: {fault}") from fault


@pytest.mark.parametrize("name", list(CASES))
def test_signatures_are_those_of_other_libraries(name: str) -> None:
    _play(name, 40, 20_270_206)


@pytest.mark.soak
@pytest.mark.parametrize("name", list(CASES))
def test_signatures_are_those_of_other_libraries_ten_thousand_times(name: str) -> None:
    _play(name, 10_000, 20_270_207)
