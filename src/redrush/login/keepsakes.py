"""What a browser keeps for us: values in cookies that nobody but us can read, change, or use after their time.

They are sealed with Fernet (AES and HMAC, with the time) under a key that is derived from the login key. So a login
keeps nothing about anybody, and each of several processes with the same key takes what another one has given.
"""

import base64
from typing import TypeVar

import msgspec
from cryptography.fernet import Fernet, InvalidToken

_Value = TypeVar("_Value")


class Keepsakes:
    """Seals and opens values for one purpose, whose key this is: 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._box = Fernet(base64.urlsafe_b64encode(key))

    def sealed(self, value: msgspec.Struct, now_s: int) -> str:
        """Return the value as text for a cookie."""
        return self._box.encrypt_at_time(msgspec.json.encode(value), now_s).decode("ascii")

    def opened(self, text: str, shape: type[_Value], lasts_s: int, now_s: int) -> _Value | None:
        """Return what was sealed at most `lasts_s` seconds ago, or None for anything else."""
        try:
            return msgspec.json.decode(self._box.decrypt_at_time(text, lasts_s, now_s), type=shape)
        except (InvalidToken, ValueError, TypeError):
            return None
