"""Tokens that say what somebody has seen: signed by this process, good for it alone, and for a while."""

import base64
import binascii
import hashlib
import hmac
import secrets
from typing import Final, TypeVar

import msgspec

_Seen = TypeVar("_Seen")

MAC_BYTES: Final = 32
NOT_OURS: Final = "this was not seen here, or the console was started again since; look again"


class Refused(Exception):
    """Something that is not done, with the status that says why."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Seals:
    """Makes and opens them."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(MAC_BYTES)

    def seal(self, seen: object) -> str:
        """Return the token of what was seen."""
        body = msgspec.json.encode(seen)
        return base64.urlsafe_b64encode(hmac.digest(self._key, body, hashlib.sha256) + body).decode("ascii")

    def opened(self, token: str, kind: type[_Seen]) -> _Seen:
        """Return what was seen. Refused for a token that is none of ours."""
        try:
            signed = base64.urlsafe_b64decode(token.encode("ascii"))
        except (binascii.Error, UnicodeEncodeError, ValueError):
            signed = b""
        mac, body = signed[:MAC_BYTES], signed[MAC_BYTES:]
        if not body or not hmac.compare_digest(mac, hmac.digest(self._key, body, hashlib.sha256)):
            raise Refused(409, NOT_OURS)
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.DecodeError:
            raise Refused(409, NOT_OURS) from None
