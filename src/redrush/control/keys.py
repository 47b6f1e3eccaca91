"""The secret keys of a data directory: one ring that signs tickets, one that signs receipts."""

import base64
import secrets

import msgspec

from redrush.control.data_dir import DataDir
from redrush.control.durable_file import write_durably
from redrush.core.tickets import KeyRing
from redrush.errors import ConfigError

KEY_BYTES = 32


class Keys(msgspec.Struct, frozen=True):
    """Both rings. A receipt key must outlive every receipt; a ticket key may go when its tickets have expired."""

    tickets: KeyRing
    receipts: KeyRing


class _RingFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    current: str
    keys: dict[str, str]


class _KeysFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tickets: _RingFile
    receipts: _RingFile


def load_or_create_keys(data_dir: DataDir) -> Keys:
    """Return the keys of the directory, made from the system's randomness if there are none yet.

    ConfigError if the file cannot be written, or read.
    """
    if not data_dir.keys.exists():
        rings = {
            name: _RingFile("k1", {"k1": base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode("ascii")})
            for name in ("tickets", "receipts")
        }
        content = msgspec.json.format(msgspec.json.encode(_KeysFile(rings["tickets"], rings["receipts"])))
        try:
            write_durably(data_dir.keys, content)
        except OSError as fault:
            raise ConfigError(f"{data_dir.keys}: cannot be written: {fault.strerror}") from fault
    return load_keys(data_dir)


def load_keys(data_dir: DataDir) -> Keys:
    """Return the keys of the directory. ConfigError if the file is missing or wrong."""
    try:
        file = msgspec.json.decode(data_dir.keys.read_bytes(), type=_KeysFile)
        return Keys(_ring(file.tickets), _ring(file.receipts))
    except OSError as fault:
        raise ConfigError(f"{data_dir.keys}: cannot be read: {fault.strerror}") from fault
    except (msgspec.DecodeError, ValueError) as fault:
        raise ConfigError(f"{data_dir.keys}: is not a file of keys: {fault}") from fault


def _ring(file: _RingFile) -> KeyRing:
    keys = {key_id: base64.b64decode(text, validate=True) for key_id, text in file.keys.items()}
    if any(len(key) != KEY_BYTES for key in keys.values()):
        raise ValueError(f"a key is not {KEY_BYTES} bytes long")
    return KeyRing(file.current, keys)
