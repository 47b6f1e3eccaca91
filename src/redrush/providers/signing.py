"""Signatures of Standard Webhooks 1.0: HMAC-SHA256 (`v1`) and ed25519 (`v1a`), over `id.timestamp.body`.

A message may carry several signatures, and whoever reads it may know several keys: one of each that fit is enough. So
keys are changed without a gap, and who signs with both kinds is understood by everybody. ed25519 is the better one: who
only checks holds nothing that could sign.

Headers: `webhook-id`, `webhook-timestamp` (seconds), `webhook-signature` with one or more of `VERSION,<base64>`, by
spaces. Keys: `whsec_` shared, `whsk_` that signs, `whpk_` that checks what `whsk_` has signed; then base64.
https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from redrush.errors import ConfigError
from redrush.extras import require
from redrush.ports.provider import Forged, Stale

SHARED: Final = "whsec_"
SIGNS: Final = "whsk_"
CHECKS: Final = "whpk_"

AGE_MAX_S: Final = 300
"""So far the clock of the other side may be away from ours, in either direction."""

SIGNATURES_MAX: Final = 16
"""Signatures of one message that are looked at."""

KEYS_MAX: Final = 8
"""Keys of one ring: what is signed with each, or may have been signed by any."""


class Key(Protocol):
    """One key of a ring. `version` is that of its signatures."""

    version: str

    def sign(self, signed: bytes) -> bytes:
        """Return the signature. ConfigError for a key that only checks."""

    def fits(self, signed: bytes, signature: bytes) -> bool:
        """Whether the signature is of these bytes, by this key."""


class SharedKey:
    """A secret that both sides have: `v1`."""

    version = "v1"

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, signed: bytes) -> bytes:
        """See `Key`."""
        return hmac.digest(self._key, signed, hashlib.sha256)

    def fits(self, signed: bytes, signature: bytes) -> bool:
        """See `Key`."""
        return hmac.compare_digest(self.sign(signed), signature)


def key_of(text: str) -> Key:
    """Return the key that a text `whsec_…`, `whsk_…` or `whpk_…` states. ConfigError if it is none."""
    prefix = text[: text.find("_") + 1]
    try:
        key = base64.b64decode(text.removeprefix(prefix), validate=True)
    except (binascii.Error, ValueError):
        key = None
    if key is None or prefix not in (SHARED, SIGNS, CHECKS):
        pass
    elif prefix == SHARED and 24 <= len(key) <= 64:
        return SharedKey(key)
    elif prefix in (SIGNS, CHECKS) and len(key) == 32:
        require("payments", "a webhook's ed25519 key")
        from redrush.providers.signing_ed25519 import PairedKey  # noqa: PLC0415 - an extra

        return PairedKey(key, signs=prefix == SIGNS)
    raise ConfigError(
        "a webhook's secret is whsec_ and 24 to 64 bytes in base64, or whsk_ (signs) or whpk_ (checks) and 32 bytes; "
        f"{_what_else(prefix, key)}"
    )


def _what_else(prefix: str, key: bytes | None) -> str:
    """Return what is wrong with what should be a key, and nothing of the key itself: it may be a good one cut short."""
    if prefix not in (SHARED, SIGNS, CHECKS):
        return "this one begins with none of them"
    return "what follows is no base64" if key is None else f"this one has {len(key)} bytes"


def keys_of(text: str) -> list[Key]:
    """Return the keys that a text states, by spaces or lines. ConfigError if one is none, or there are too many."""
    keys = [key_of(one) for one in text.split()]
    if not 1 <= len(keys) <= KEYS_MAX:
        raise ConfigError(f"a webhook has 1 to {KEYS_MAX} keys")
    return keys


def secret_of(key: bytes) -> str:
    """Return how a shared key is written."""
    return SHARED + base64.b64encode(key).decode("ascii")


def signature(key: Key, message_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the signature with its version."""
    signed = key.sign(_signed(message_id, str(timestamp_s), body))
    return f"{key.version},{base64.b64encode(signed).decode('ascii')}"


def signed_headers(keys: Sequence[Key], message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """Return the three headers, with a signature by each of the keys, `v1a` first."""
    ordered = sorted(keys, key=lambda key: key.version, reverse=True)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(signature(key, message_id, timestamp_s, body) for key in ordered),
    }


def verify(keys: Sequence[Key], headers: Mapping[str, str], body: bytes, now_s: int) -> Forged | Stale | None:
    """Return None if one of the keys has signed just these bytes lately; else why it is not believed."""
    message_id, said = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not message_id or not said.isascii() or not said.isdigit() or len(said) > 12:
        return Forged("it has no id or no timestamp")
    signed = _signed(message_id, said, body)
    found = [one.partition(",") for one in headers.get("webhook-signature", "").split(" ")[:SIGNATURES_MAX]]
    if not any(
        key.fits(signed, _bytes_of(text)) for version, _, text in found for key in keys if key.version == version
    ):
        return Forged("none of the known keys has signed it")
    if abs(now_s - int(said)) > AGE_MAX_S:
        return Stale(f"its timestamp is {now_s - int(said)} s away from our clock")
    return None


def _signed(message_id: str, timestamp: str, body: bytes) -> bytes:
    return f"{message_id}.{timestamp}.".encode() + body


def _bytes_of(text: str) -> bytes:
    """Return what a signature states; nothing, which is no signature, for what is no base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
