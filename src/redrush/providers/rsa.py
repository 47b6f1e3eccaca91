"""RSA as payment providers use it: keys in PEM or bare base64, and signatures by RSA-SHA256 (PKCS #1 v1.5) in base64.

Needs the extra `payments`.
"""

import base64
import binascii

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)
from cryptography.x509 import Certificate, load_pem_x509_certificate

from redrush.errors import ConfigError


def sign(key: rsa.RSAPrivateKey, text: bytes) -> str:
    """Return the signature of these bytes."""
    return base64.b64encode(key.sign(text, padding.PKCS1v15(), SHA256())).decode("ascii")


def fits(key: rsa.RSAPublicKey, signature: str, text: bytes) -> bool:
    """Whether the signature is of these bytes, by the other half of this key."""
    try:
        key.verify(base64.b64decode(signature, validate=True), text, padding.PKCS1v15(), SHA256())
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def private_key_of(text: str, whose: str) -> rsa.RSAPrivateKey:
    """Return the key that a text states. ConfigError, which names `whose` it is, for what is none."""
    try:
        if "-----" in text:
            key = load_pem_private_key(text.encode(), None)
        else:
            key = load_der_private_key(base64.b64decode("".join(text.split()), validate=True), None)
    except (binascii.Error, ValueError, TypeError):
        raise ConfigError(f"{whose} is no private key in PEM without a password") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ConfigError(f"{whose} is no RSA key")
    return key


def public_key_of(text: str, whose: str) -> rsa.RSAPublicKey:
    """Return the key of a public key or a certificate. ConfigError, which names `whose` it is, for anything else."""
    try:
        if "CERTIFICATE" in text:
            key = load_pem_x509_certificate(text.encode()).public_key()
        elif "-----" in text:
            key = load_pem_public_key(text.encode())  # type: ignore[assignment] # the narrower of both is checked below
        else:
            key = load_der_public_key(base64.b64decode("".join(text.split()), validate=True))  # type: ignore[assignment] # likewise
    except (binascii.Error, ValueError):
        raise ConfigError(f"{whose} is no public key and no certificate in PEM") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise ConfigError(f"{whose} is no RSA key")
    return key


def certificate_of(text: str, whose: str) -> Certificate:
    """Return the first certificate of a text. ConfigError, which names `whose` it is, if it has none."""
    try:
        return load_pem_x509_certificate(text.encode())
    except ValueError:
        raise ConfigError(f"{whose} is no certificate in PEM") from None
