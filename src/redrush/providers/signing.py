"""Signatures of Standard Webhooks 1.0, symmetric (`v1`): HMAC-SHA256 over `id.timestamp.body`, by any key of a ring.

Headers: `webhook-id`, `webhook-timestamp` (seconds), `webhook-signature` with one or more of `v1,<base64>`, by spaces.
https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final

from redrush.errors import ConfigError
from redrush.ports.provider import Forged, Stale

PREFIX: Final = "whsec_"
AGE_MAX_S: Final = 300
"""So far the clock of the other side may be away from ours, in either direction."""

SIGNATURES_MAX: Final = 16
"""Signatures of one message that are looked at."""


def key_of(secret: str) -> bytes:
    """Return the key that a secret `whsec_…` states. ConfigError if it is none."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(PREFIX) or not 24 <= len(key) <= 64:
        raise ConfigError("a webhook's secret is whsec_ and 24 to 64 bytes in base64")
    return key


def secret_of(key: bytes) -> str:
    """Return how a key is written."""
    return PREFIX + base64.b64encode(key).decode("ascii")


def signature(key: bytes, message_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the signature with its version."""
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode("ascii")


def signed_headers(key: bytes, message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """Return the three headers."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": signature(key, message_id, timestamp_s, body),
    }


def verify(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now_s: int) -> Forged | Stale | None:
    """Return None if one of the keys has signed just these bytes lately; else why it is not believed."""
    message_id, said = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not message_id or not said.isascii() or not said.isdigit() or len(said) > 12:
        return Forged("it has no id or no timestamp")
    signatures = headers.get("webhook-signature", "").split(" ")[:SIGNATURES_MAX]
    right = [signature(key, message_id, int(said), body) for key in keys]
    genuine = [
        hmac.compare_digest(one.encode("latin-1", "replace"), its.encode()) for one in signatures for its in right
    ]
    if not any(genuine):
        return Forged("none of the known keys has signed it")
    if abs(now_s - int(said)) > AGE_MAX_S:
        return Stale(f"its timestamp is {now_s - int(said)} s away from our clock")
    return None
