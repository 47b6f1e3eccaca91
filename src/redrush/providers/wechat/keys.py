"""Who signs what with WeChat Pay: our requests with the merchant's key, theirs with one of a ring that is known here.

A request is signed over `METHOD\\nTARGET\\nTIMESTAMP\\nNONCE\\nBODY\\n`, an answer or a notice over
`TIMESTAMP\\nNONCE\\nBODY\\n`, over the raw bytes, by RSA-SHA256 (PKCS #1 v1.5). The serial says with which key: while
WeChat changes from certificates to public keys both arrive for days, so several count at a time. One that is not known
is refused, and named.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from redrush.errors import ConfigError
from redrush.ports.provider import Forged, Probe, Stale
from redrush.providers.rsa import fits, private_key_of, sign

AGE_MAX_S: Final = 300
SCHEME: Final = "WECHATPAY2-SHA256-RSA2048"
PROBE: Final = "WECHATPAY/SIGNTEST/"
"""So begin signatures that are wrong on purpose, to see whether anybody checks."""

NONCE_SIGNS_MAX: Final = 128
API_KEY_BYTES: Final = 32


class Merchant(msgspec.Struct, frozen=True):
    """Who we are: the number of the merchant, the serial of its certificate, and its key."""

    mchid: str
    serial: str
    key: rsa.RSAPrivateKey
    api_key: bytes
    """The APIv3 key: what notices are encrypted with."""

    def sign(self, text: str) -> str:
        """Return the signature of a text, in base64."""
        return sign(self.key, text.encode())

    def authorization(self, method: str, target: str, timestamp_s: int, nonce: str, body: bytes) -> str:
        """Return the header of a request; `target` is path and query."""
        signature = self.sign(f"{method}\n{target}\n{timestamp_s}\n{nonce}\n{body.decode()}\n")
        return (
            f'{SCHEME} mchid="{self.mchid}",nonce_str="{nonce}",signature="{signature}",'
            f'timestamp="{timestamp_s}",serial_no="{self.serial}"'
        )

    def decrypt(self, nonce: str, associated: str, ciphertext: str) -> bytes | None:
        """Return the resource of a notice; None if it was not encrypted with our key, or was changed."""
        try:
            sealed = base64.b64decode(ciphertext, validate=True)
            return AESGCM(self.api_key).decrypt(nonce.encode(), sealed, associated.encode())
        except (InvalidTag, binascii.Error, ValueError):
            return None


class KeyRing:
    """WeChat's public keys, by their serials."""

    def __init__(self, keys: Mapping[str, rsa.RSAPublicKey]) -> None:
        self._keys = dict(keys)

    @property
    def newest(self) -> str:
        """The serial that our requests ask to be answered with: the last one that was named."""
        return list(self._keys)[-1]

    def doubt(self, headers: Mapping[str, str], body: bytes, now_s: int) -> Forged | Stale | Probe | None:
        """Return None if a known key has signed just these bytes lately; else why it is not believed."""
        signature, serial = headers.get("wechatpay-signature", ""), headers.get("wechatpay-serial", "")
        timestamp, nonce = headers.get("wechatpay-timestamp", ""), headers.get("wechatpay-nonce", "")
        if signature.startswith(PROBE):
            return Probe()
        if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12:
            return Forged("it has no timestamp")
        if not nonce or len(nonce) > NONCE_SIGNS_MAX:
            return Forged("it has no nonce")
        key = self._keys.get(serial)
        if key is None:
            return Forged(f"it is signed with the key {serial[:64]!r}, which is not known here")
        if not fits(key, signature, f"{timestamp}\n{nonce}\n".encode() + body + b"\n"):
            return Forged(f"the key {serial[:64]} has not signed it")
        if abs(now_s - int(timestamp)) > AGE_MAX_S:
            return Stale(f"its timestamp is {now_s - int(timestamp)} s away from our clock")
        return None

    def encrypt(self, text: str) -> str:
        """Return a name as only WeChat can read it, for the newest key (RSA-OAEP with SHA-1, as they ask)."""
        from cryptography.hazmat.primitives.hashes import SHA1  # noqa: PLC0415 - named where it is excused

        oaep = padding.OAEP(padding.MGF1(SHA1()), SHA1(), None)  # noqa: S303 - what the provider's API asks for
        return base64.b64encode(self._keys[self.newest].encrypt(text.encode(), oaep)).decode("ascii")


def merchant_of(mchid: str, serial: str, key_pem: str, api_key: str) -> Merchant:
    """Return who we are. ConfigError for what is no key."""
    key = private_key_of(key_pem, "the merchant's key")
    if len(api_key.encode()) != API_KEY_BYTES:
        raise ConfigError(f"the APIv3 key has {API_KEY_BYTES} signs")
    return Merchant(mchid, serial, key, api_key.encode())
