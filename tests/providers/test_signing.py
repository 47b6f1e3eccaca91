"""Standard Webhooks: signatures of both kinds, against published vectors and other libraries."""

import base64
import json
import random
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from Cryptodome.PublicKey import ECC
from Cryptodome.Signature import eddsa
from standardwebhooks import Webhook, WebhookVerificationError

from redrush.config.secret import Secret
from redrush.errors import ConfigError
from redrush.ports.provider import Forged, Stale
from redrush.providers import signing
from redrush.providers.signing_ed25519 import PairedKey, new_pair
from tests.cli.test_commands import Run, run

__all__ = ["run"]

NOW_S = 1_614_265_330
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
BODY = b'{"test": 2432232314}'

VECTORS = {
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=": (
        "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag=="
    ),
}
"""As the reference libraries have them in their tests, for ID, NOW_S and BODY."""


@pytest.mark.parametrize("secret", list(VECTORS))
def test_the_published_vectors_are_made_and_believed(secret: str) -> None:
    key = signing.key_of(secret)
    headers = signing.signed_headers([key], ID, NOW_S, BODY)
    assert headers == {"webhook-id": ID, "webhook-timestamp": str(NOW_S), "webhook-signature": VECTORS[secret]}
    assert signing.verify([key], headers, BODY, NOW_S) is None
    assert isinstance(signing.verify([key], headers, BODY + b" ", NOW_S), Forged)
    assert isinstance(signing.verify([key], headers, BODY, NOW_S + 301), Stale)


def test_a_message_signed_with_both_kinds_is_understood_by_either_side_and_the_pair_comes_first() -> None:
    signs, checks = new_pair()
    shared, strange = signing.key_of(next(iter(VECTORS))), signing.key_of(new_pair()[1])
    headers = signing.signed_headers(signing.keys_of(f"{next(iter(VECTORS))}\n{signs}"), ID, NOW_S, BODY)
    assert [one.partition(",")[0] for one in headers["webhook-signature"].split()] == ["v1a", "v1"]
    for key in (shared, signing.key_of(checks)):
        assert signing.verify([strange, key], headers, BODY, NOW_S) is None
    assert isinstance(signing.verify([strange], headers, BODY, NOW_S), Forged)


def test_a_signature_counts_for_its_own_version_only() -> None:
    key = signing.key_of(new_pair()[0])
    headers = signing.signed_headers([key], ID, NOW_S, BODY)
    headers["webhook-signature"] = headers["webhook-signature"].replace("v1a,", "v1,")
    assert isinstance(signing.verify([key], headers, BODY, NOW_S), Forged)


@pytest.mark.parametrize(
    "text",
    ["", "whsec_", "whsec_AAAA", "whsk_AAAA", "whpk_" + "A" * 43, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_§"],
)
def test_what_is_no_key_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="whsec_"):
        signing.key_of(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("sk_live_AAAA", "begins with none of them"),
        ("whsec_?unspoken?", "no base64"),
        ("whsec_c2VjcmV0", "has 6 bytes"),
        ("whpk_c2VjcmV0", "has 6 bytes"),
    ],
)
def test_what_is_wrong_with_a_key_is_told_and_nothing_of_it(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "key").write_text(text)
    secret = Secret("payments.toml: provider[0].secret", file=tmp_path / "key")
    with pytest.raises(ConfigError, match=why) as told:
        secret.read_as(signing.keys_of)
    assert str(told.value).startswith("payments.toml: provider[0].secret: a webhook's secret is whsec_")
    assert text.partition("_")[2] not in str(told.value)


def test_a_key_that_only_checks_signs_nothing_and_a_ring_is_bounded() -> None:
    signs, checks = new_pair()
    with pytest.raises(ConfigError, match="only checks"):
        signing.key_of(checks).sign(b"")
    with pytest.raises(ConfigError, match="1 to 8"):
        signing.keys_of(" ".join([signs] * 9))


def _agrees_with_others(cases: int, seed: int) -> None:
    """Sign at random with ours and let others check, and the reverse, with one bit changed besides."""
    draw, now_s = random.Random(seed), int(time.time())
    for case in range(cases):
        secret = signing.secret_of(draw.randbytes(draw.randint(24, 64)))
        body = json.dumps({"n": draw.random(), "t": "红" * draw.randint(0, 40)}, ensure_ascii=draw.random() < 0.5)
        message_id = f"msg_{draw.getrandbits(64):x}"
        theirs, shared = Webhook(secret), signing.key_of(secret)
        assert theirs.sign(message_id, datetime.fromtimestamp(now_s, UTC), body) == signing.signature(
            shared, message_id, now_s, body.encode()
        ), (seed, case)
        seed_of_key = draw.randbytes(32)
        paired = PairedKey(seed_of_key, signs=True)
        headers = signing.signed_headers([shared, paired], message_id, now_s, body.encode())
        assert theirs.verify(body, headers) == json.loads(body), (seed, case)
        other = ECC.construct(curve="Ed25519", seed=seed_of_key)
        signed = f"{message_id}.{now_s}.{body}".encode()
        by_other = eddsa.new(other, "rfc8032").sign(signed)
        assert by_other == paired.sign(signed), (seed, case)
        position = draw.randrange(len(body.encode()))
        changed = bytearray(body.encode())
        changed[position] ^= 1 << draw.randrange(7)
        both = [shared, signing.key_of(paired.public)]
        assert signing.verify(both, headers, body.encode(), now_s) is None, (seed, case)
        assert isinstance(signing.verify(both, headers, bytes(changed), now_s), Forged), (seed, case)


def test_others_agree_on_random_messages() -> None:
    _agrees_with_others(60, 20_270_206)


@pytest.mark.soak
def test_others_agree_on_ten_thousand_random_messages() -> None:
    _agrees_with_others(10_000, 20_270_207)


def test_the_other_library_refuses_what_we_refuse() -> None:
    secret = next(iter(VECTORS))
    now_s = int(time.time())
    headers = signing.signed_headers([signing.key_of(secret)], ID, now_s - 301, BODY)
    assert isinstance(signing.verify([signing.key_of(secret)], headers, BODY, now_s), Stale)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY, headers)


def test_the_command_makes_a_pair_once(run: Run) -> None:
    made = run("webhook-key", "--out", "shop.key")
    public = made.out.split()[-1]
    key = signing.key_of(Path("shop.key").read_text(encoding="utf-8").strip())
    assert isinstance(key, PairedKey)
    assert key.public == public
    assert len(base64.b64decode(public.removeprefix("whpk_"))) == 32
    assert Path("shop.key").stat().st_mode & 0o077 == 0
    again = run("webhook-key", "--out", "shop.key")
    assert again.code == 2
    assert "exists already" in again.err
