"""Personal data at rest: encrypted in the books, under a key of the event's keys, and erased by order.

A text is encrypted by itself with AES-256-GCM (NIST SP 800-38D), with a nonce of 12 random bytes, as codes are. What
stands in a book begins with `p1:`; what does not was written by a release before, and is encrypted when the book is
opened. Whoever has a copy of the books without `keys.json` has no addresses.

User ids are not hidden: the ledger, the journal and receipts stand on them. So an id should be no name.

The extra "payments" brings the library. Without it no address is taken, and nothing else is missing.
"""

import base64
import secrets
from typing import Final

from redrush import extras
from redrush.control.data_dir import DataDir
from redrush.control.keys import load_keys, personal_key
from redrush.errors import ConfigError
from redrush.extras import ExtraMissing

PREFIX: Final = "p1:"
NONCE_BYTES: Final = 12
BOUND_TO: Final = b"redrush personal data 1"
WHAT: Final = "keeping an address, which is encrypted at rest,"


class PersonalData:
    """Fulfils `redrush.ports.veil.Veil`. The key is the event's; where a release before has drawn its keys, it is made
    when something is hidden for the first time."""

    def __init__(self, data_dir: DataDir) -> None:
        self._data_dir = data_dir
        self._key: bytes | None = None

    def lacking(self) -> ExtraMissing | None:
        """Return why nothing can be hidden in this installation; None if it can."""
        try:
            extras.require("payments", WHAT)
        except ExtraMissing as fault:
            return fault
        return None

    def hide(self, text: str) -> str:
        """See the port. ExtraMissing, ConfigError."""
        if not text or text.startswith(PREFIX):
            return text
        extras.require("payments", WHAT)
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - of an extra

        self._key = self._key or personal_key(self._data_dir)
        nonce = secrets.token_bytes(NONCE_BYTES)
        hidden = nonce + AESGCM(self._key).encrypt(nonce, text.encode(), BOUND_TO)
        return PREFIX + base64.b64encode(hidden).decode("ascii")

    def show(self, kept: str) -> str:
        """See the port. ExtraMissing, ConfigError."""
        if not kept.startswith(PREFIX):
            return kept
        extras.require("payments", WHAT)
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - of an extra
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        self._key = self._key or load_keys(self._data_dir).personal
        if self._key is None:
            raise ConfigError(f"{self._data_dir.keys}: has no key of personal data; {self._restore()}")
        try:
            raw = base64.b64decode(kept.removeprefix(PREFIX), validate=True)
            return AESGCM(self._key).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], BOUND_TO).decode()
        except (InvalidTag, ValueError):
            raise ConfigError(
                f"an address of {self._data_dir.root} cannot be decrypted: it was changed, or the key is another one; "
                f"{self._restore()}"
            ) from None

    def _restore(self) -> str:
        return (
            f"`redrush restore BACKUP --data {self._data_dir.root} --only keys.json` puts it back from a later backup"
        )
