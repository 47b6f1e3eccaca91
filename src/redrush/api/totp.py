"""Codes of a second factor: RFC 6238 with SHA-1, six digits, half a minute, as every authenticator has them."""

import base64
import hashlib
import hmac
import secrets
from typing import Final
from urllib.parse import quote

STEP_S: Final = 30
DIGITS: Final = 6
SECRET_BYTES: Final = 20


def new_secret() -> str:
    """Return a secret for an authenticator, in Base32."""
    return base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii")


def bytes_of(secret: str) -> bytes:
    """Return the secret; none for what is no Base32."""
    try:
        return base64.b32decode(secret)
    except ValueError:
        return b""


def code_at(secret: str, step: int) -> str:
    """Return the code of a time step."""
    digest = hmac.digest(base64.b32decode(secret), step.to_bytes(8, "big"), hashlib.sha1)
    start = digest[-1] & 15
    number = int.from_bytes(digest[start : start + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def step_of(secret: str, code: str, now_s: int) -> int | None:
    """Return the time step that this is the code of, a step early or late included; None: of none."""
    now = now_s // STEP_S
    plain = code.replace(" ", "")
    for step in (now, now - 1, now + 1):
        if hmac.compare_digest(code_at(secret, step).encode(), plain.encode()):
            return step
    return None


def address_of(secret: str, name: str, issuer: str) -> str:
    """Return what an authenticator takes the secret from (otpauth)."""
    return f"otpauth://totp/{quote(issuer)}:{quote(name)}?secret={secret}&issuer={quote(issuer)}"
