"""Tickets from your own login: a few lines in the system that knows who somebody is.

    issuer = Issuer.from_file("login-company.json")
    ticket = issuer.ticket(user_id, lasts_s=7_200)

The file is what `redrush login-key add` writes. It makes tickets of one event and nothing else: no receipts. Nothing
but the standard library and msgspec is needed; docs/how-to/company-login.md has the same in other languages.
"""

import base64
import hmac
import time
from pathlib import Path

import msgspec

from redrush.core.identity.tickets import check_key_id, sign_login_ticket
from redrush.errors import ConfigError

ALGORITHM = "HMAC-SHA256, first 128 bits"
KEY_BYTES = 32


class LoginKeyFile(msgspec.Struct, frozen=True, kw_only=True):
    """What a login is given: `key` in base64."""

    id: str
    key: str
    algorithm: str = ALGORITHM


class Issuer:
    """Signs tickets with a login key. Free of I/O once it is made; may be used by any number of threads."""

    def __init__(self, key_id: str, key: bytes) -> None:
        """Raises ValueError for an id or a key that is none."""
        check_key_id(key_id)
        if len(key) != KEY_BYTES:
            raise ValueError(f"a login key is {KEY_BYTES} bytes long, this one {len(key)}")
        self._key_id = key_id
        self._key = key

    @classmethod
    def from_file(cls, path: "Path | str") -> "Issuer":
        """Return an issuer with the key in the file. ConfigError if it is missing or is no login key."""
        try:
            file = msgspec.json.decode(Path(path).read_bytes(), type=LoginKeyFile)
            if file.algorithm != ALGORITHM:
                raise ValueError(f'its algorithm is "{file.algorithm}", this redrush signs with "{ALGORITHM}"')
            return cls(file.id, base64.b64decode(file.key, validate=True))
        except OSError as fault:
            raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from fault
        except (msgspec.DecodeError, ValueError) as fault:
            raise ConfigError(f"{path}: is not a login key: {fault}") from fault

    def derived(self, purpose: bytes) -> bytes:
        """Return a key for a purpose of the login's own: from it nobody can tell the login key, nor make a ticket."""
        return hmac.digest(self._key, b"redrush.login." + purpose, "sha256")

    def ticket(self, user: str, *, lasts_s: int) -> str:
        """Return a ticket for `user` that is good for `lasts_s` seconds from now. ValueError for a bad user id."""
        return self.ticket_until(user, int(time.time()) + lasts_s)

    def ticket_until(self, user: str, expires_s: int) -> str:
        """Return a ticket for `user` that is good before `expires_s`, in seconds since the Unix epoch."""
        return sign_login_ticket(self._key_id, self._key, user, expires_s)
