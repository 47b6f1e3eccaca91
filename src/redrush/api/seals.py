"""Tokens that say what somebody has seen: signed by this process, good for it and for them alone, and for a while."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

_Seen = TypeVar("_Seen")

SEEN_MAX_S: Final = 300
"""How long what was seen may be confirmed."""
SEEN_BEFORE: Final = "this was seen too long ago, or by somebody else; look again"
COUNTED_BEFORE: Final = "this was counted too long ago, or by somebody else; count again"
MAC_BYTES: Final = 32
NOT_OURS: Final = "this was not seen here, or the console was started again since; look again"


class Refused(Exception):
    """Something that is not done, with the status that says why."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class _Sealed(msgspec.Struct, frozen=True):
    who: str
    expires_s: int
    seen: msgspec.Raw


class Seals:
    """Makes and opens them."""

    def __init__(self, now_s: Callable[[], int], stale: str) -> None:
        """`stale` is what somebody is told whose token is too old, or somebody else's."""
        self._now_s = now_s
        self._stale = stale
        self._key = secrets.token_bytes(MAC_BYTES)

    def seal(self, who: str, seen: object) -> str:
        """Return the token of what this person has seen."""
        body = msgspec.json.encode(_Sealed(who, self._now_s() + SEEN_MAX_S, msgspec.Raw(msgspec.json.encode(seen))))
        return base64.urlsafe_b64encode(hmac.digest(self._key, body, hashlib.sha256) + body).decode("ascii")

    def opened(self, who: str, token: str, kind: type[_Seen]) -> _Seen:
        """Return what this person has seen. Refused for a token that is none of ours or theirs, or too old."""
        try:
            signed = base64.urlsafe_b64decode(token.encode("ascii"))
        except (binascii.Error, UnicodeEncodeError, ValueError):
            signed = b""
        mac, body = signed[:MAC_BYTES], signed[MAC_BYTES:]
        if not body or not hmac.compare_digest(mac, hmac.digest(self._key, body, hashlib.sha256)):
            raise Refused(409, NOT_OURS)
        sealed = msgspec.json.decode(body, type=_Sealed)
        try:
            seen = msgspec.json.decode(sealed.seen, type=kind)
        except msgspec.DecodeError:
            raise Refused(409, NOT_OURS) from None
        if sealed.who != who or sealed.expires_s <= self._now_s():
            raise Refused(409, self._stale)
        return seen
