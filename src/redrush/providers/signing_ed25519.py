"""ed25519 signatures of Standard Webhooks (`v1a`). Needs the extra `payments`."""

import base64

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from redrush.errors import ConfigError
from redrush.providers.signing import CHECKS, SIGNS


class PairedKey:
    """Fulfils `redrush.providers.signing.Key` with a half of a pair."""

    version = "v1a"

    def __init__(self, key: bytes, *, signs: bool) -> None:
        """`key` has 32 bytes: the seed of what signs, or the public half. ConfigError if it is no key."""
        self._private = Ed25519PrivateKey.from_private_bytes(key) if signs else None
        try:
            self._public = self._private.public_key() if self._private else Ed25519PublicKey.from_public_bytes(key)
        except ValueError:
            raise ConfigError("a webhook's key whpk_ is no ed25519 key") from None

    def sign(self, signed: bytes) -> bytes:
        """See `Key`."""
        if self._private is None:
            raise ConfigError("a key whpk_ only checks; what signs is whsk_")
        return self._private.sign(signed)

    def fits(self, signed: bytes, signature: bytes) -> bool:
        """See `Key`."""
        try:
            self._public.verify(signature, signed)
        except InvalidSignature:
            return False
        return True

    @property
    def public(self) -> str:
        """The half that is given to whoever checks, as it is written."""
        return CHECKS + base64.b64encode(self._public.public_bytes_raw()).decode("ascii")


def new_pair() -> tuple[str, str]:
    """Return a new pair: what signs, and what checks."""
    private = Ed25519PrivateKey.generate().private_bytes_raw()
    return SIGNS + base64.b64encode(private).decode("ascii"), PairedKey(private, signs=True).public
