"""What `redrush sandbox --as NAME` plays: keys of both sides in a directory, and a payments file that fits them.

The directory is made at the first start and read at the next ones. It holds what a merchant would be given and what the
provider would keep: nothing in it is worth a secret, for no money moves.
"""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from redrush.control.durable_file import create_durably
from redrush.errors import ConfigError
from redrush.extras import require
from redrush.providers.sandbox.bank import Bank
from redrush.sandbox.face import Face

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

FACES: Final = ("wechat", "alipay", "stripe")
MCHID: Final = "1900000001"
SERIAL: Final = "5157F09EFDC096DE15EBE81A47057A7232F1B8E1"
APPID: Final = "2021000000000001"
SELLER: Final = "2088000000000001"

_NOTICES: Final = """[notices]
listen = "{listen}"

"""
_FILES: Final = {
    "wechat": """[[provider]]
name = "wechat"
kind = "wechat"
url = "{url}"
appid = "wx8888888888888888"
mchid = "{mchid}"
serial = "{serial}"
key = {{ file = "merchant.pem" }}
api_key = {{ file = "api_key" }}
public_keys = {{ {wechat_serial} = {{ file = "provider.pub" }} }}
notify = "https://sandbox.invalid/notices/wechat"
scene = "1000"
reports = {{ "活动名称" = "sandbox", "奖励说明" = "red packet" }}
""",
    "alipay": """[[provider]]
name = "alipay"
kind = "alipay"
url = "{url}/gateway.do"
appid = "{appid}"
seller = "{seller}"
key = {{ file = "merchant.pem" }}
public_keys = {{ sandbox = {{ file = "provider.pub" }} }}
notify = "https://sandbox.invalid/notices/alipay"
""",
    "stripe": """[[provider]]
name = "stripe"
kind = "stripe"
url = "{url}"
key = {{ file = "key" }}
secret = {{ file = "secret" }}
back = "{url}/"
""",
}


def face_of(name: str, directory: Path, bank: Bank, now_us: Callable[[], int]) -> Face:
    """Return the face, with the keys of a directory, which are made if they are missing. ConfigError for a name that is
    none, an extra that is missing, or a directory that cannot be used."""
    if name not in FACES:
        raise ConfigError(f"--as {name}: the sandbox plays {', '.join(FACES)}, or itself without --as")
    require("payments", f"redrush sandbox --as {name}")
    from redrush.sandbox.alipay import AlipaySandbox  # noqa: PLC0415 - an extra
    from redrush.sandbox.stripe import StripeSandbox  # noqa: PLC0415
    from redrush.sandbox.wechat import WeChatSandbox  # noqa: PLC0415

    try:
        directory.mkdir(parents=True, exist_ok=True)
        if name == "stripe":
            key, secret = _text(directory / "key", "sk_test_"), _text(directory / "secret", "whsec_")
            return StripeSandbox(bank, now_us, key=key, secret=secret)
        merchant, provider = _pair(directory, "merchant"), _pair(directory, "provider")
        if name == "alipay":
            return AlipaySandbox(bank, now_us, appid=APPID, seller=SELLER, app=merchant.public_key(), alipay=provider)
        api_key = _text(directory / "api_key", "").encode()
        return WeChatSandbox(
            bank, now_us, mchid=MCHID, merchant=merchant.public_key(), platform=provider, api_key=api_key
        )
    except OSError as fault:
        raise ConfigError(f"{directory}: cannot be used: {fault.strerror}") from fault


def write_payments_file(name: str, directory: Path, url: str, listen: str | None) -> Path:
    """Write the payments file with which a server speaks to this face; return where. ConfigError if it cannot be."""
    from redrush.sandbox.wechat import SERIAL as WECHAT_SERIAL  # noqa: PLC0415 - an extra

    fields = {"mchid": MCHID, "serial": SERIAL, "appid": APPID, "seller": SELLER, "wechat_serial": WECHAT_SERIAL}
    heard = "" if listen is None else _NOTICES.format(listen=listen)
    path = directory / "payments.toml"
    try:
        path.write_text(heard + _FILES[name].format(url=url, **fields), encoding="utf-8")
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be written: {fault.strerror}") from fault
    return path


def _text(path: Path, prefix: str) -> str:
    create_durably(path, f"{prefix}{secrets.token_hex(16)}".encode())
    return path.read_text(encoding="utf-8")


def _pair(directory: Path, name: str) -> "RSAPrivateKey":
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    from redrush.providers.rsa import private_key_of  # noqa: PLC0415

    path = directory / f"{name}.pem"
    if not path.exists():  # a tenth of a second, or several: not at every start
        made = rsa.generate_private_key(65_537, 2_048)
        create_durably(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key = private_key_of(path.read_text(encoding="ascii"), path.name)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    create_durably(directory / f"{name}.pub", public)
    return key
