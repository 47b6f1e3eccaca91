"""Who signs what with Alipay: our requests with the app's key, theirs with one of a ring that is known here.

A request and a notice are signed over their parameters, sorted, as `name=value` with `&` between; an answer over the
text of one member, as it came: it is cut out of the raw bytes, for nothing that is written anew has the same bytes.

In certificate mode each side names its certificate by a number: MD5 over issuer and serial. MD5 is Alipay's choice and
only a name here: what is verified is the RSA signature.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509 import Certificate, load_pem_x509_certificates
from cryptography.x509.oid import NameOID

from redrush.errors import ConfigError
from redrush.http.bodies import UNREADABLE
from redrush.providers.rsa import certificate_of, fits, private_key_of, public_key_of, sign

SIGN_TYPE: Final = "RSA2"
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
"""Leaves each member as it came."""
_RSA_OIDS: Final = "1.2.840.113549.1.1."
"""So begin the ids of signature algorithms with RSA: certificates of other kinds in the root file do not count."""

_ISSUER: Final = (
    ("CN", NameOID.COMMON_NAME),
    ("OU", NameOID.ORGANIZATIONAL_UNIT_NAME),
    ("O", NameOID.ORGANIZATION_NAME),
    ("C", NameOID.COUNTRY_NAME),
)


class App(msgspec.Struct, frozen=True):
    """Who we are: the app, the merchant's account (2088…), the app's key; the numbers of its certificates."""

    appid: str
    seller: str
    key: rsa.RSAPrivateKey
    cert_sn: str = ""
    root_sn: str = ""

    def signed(self, fields: Mapping[str, str]) -> dict[str, str]:
        """Return the parameters with their signature."""
        return {**fields, "sign": sign(self.key, signed_text(fields))}


class KeyRing:
    """Alipay's public keys, by the numbers of their certificates; by any name where there are no certificates."""

    def __init__(self, keys: Mapping[str, rsa.RSAPublicKey]) -> None:
        self._keys = dict(keys)

    def doubt(self, signature: object, signed: bytes, cert_sn: object) -> str | None:
        """Return None if a known key has signed just these bytes, the named one if one is named; else why not."""
        if not isinstance(signature, str) or not signature:
            return "it has no signature"
        keys = list(self._keys.values())
        if isinstance(cert_sn, str) and cert_sn:
            if cert_sn not in self._keys:
                return f"it is signed with the certificate {cert_sn[:64]!r}, which is not known here"
            keys = [self._keys[cert_sn]]
        return None if any(fits(key, signature, signed) for key in keys) else "no known key has signed it"


def signed_text(fields: Mapping[str, str]) -> bytes:
    """Return what is signed of parameters: all that are not empty, sorted."""
    return "&".join(f"{name}={value}" for name, value in sorted(fields.items()) if value != "").encode()


def member_of(raw: bytes, name: str) -> bytes | None:
    """Return the text of a member that is an object, byte for byte; None if this is no JSON object with one."""
    try:
        found = _MEMBERS.decode(raw).get(name)
    except UNREADABLE:
        return None
    text = b"" if found is None else bytes(found)
    return text if text.startswith(b"{") else None


def cert_sn(certificate: Certificate) -> str:
    """Return the number that Alipay names a certificate by."""
    return hashlib.md5(_named(certificate), usedforsecurity=False).hexdigest()


def root_sn(text: str) -> str:
    """Return the number of the file of root certificates: of those with RSA, joined. ConfigError if it has none."""
    try:
        found = load_pem_x509_certificates(text.encode())
    except ValueError:
        raise ConfigError("the root certificates of Alipay are no certificates in PEM") from None
    numbers = [cert_sn(one) for one in found if one.signature_algorithm_oid.dotted_string.startswith(_RSA_OIDS)]
    if not numbers:
        raise ConfigError("the root certificates of Alipay have none with RSA; it is the file alipayRootCert.crt")
    return "_".join(numbers)


def app_of(appid: str, seller: str, key: str, cert: str | None, root: str | None) -> App:
    """Return who we are; with `cert` and `root` in certificate mode. ConfigError for what is no key, or another's."""
    private = private_key_of(key, "the key of the Alipay app")
    if cert is None or root is None:
        return App(appid, seller, private)
    certificate = certificate_of(cert, "the certificate of the Alipay app")
    if certificate.public_key() != private.public_key():
        raise ConfigError("the certificate of the Alipay app is not of its key: both are made together")
    return App(appid, seller, private, cert_sn(certificate), root_sn(root))


def ring_of(texts: Mapping[str, str]) -> KeyRing:
    """Return the ring of keys or certificates, by names that only people see. ConfigError for what is neither."""
    keys = {}
    for name, text in texts.items():
        whose = f"the key {name} of Alipay"
        known_as = cert_sn(certificate_of(text, whose)) if "CERTIFICATE" in text else name
        keys[known_as] = public_key_of(text, whose)
    return KeyRing(keys)


def _named(certificate: Certificate) -> bytes:
    """Return issuer and serial as they are written for the number; a part that is not there is None."""
    issuer = {oid: [str(one.value) for one in certificate.issuer.get_attributes_for_oid(oid)] for _, oid in _ISSUER}
    parts = (f"{name}={(issuer[oid] or ['None'])[-1]}" for name, oid in _ISSUER)
    return (",".join(parts) + str(certificate.serial_number)).encode()
