"""The secret keys of a data directory: one ring that signs tickets, one that signs receipts, one key for addresses."""

import base64
import hashlib
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from redrush.control.data_dir import DataDir
from redrush.control.durable_file import create_durably, write_durably
from redrush.core.identity.tickets import KeyRing
from redrush.errors import ConfigError

KEY_BYTES = 32
DIGEST_BYTES = 8

_PERSONAL = "personal"


class Keys(msgspec.Struct, frozen=True):
    """Both rings. A receipt key must outlive every receipt; a ticket key may go when its tickets have expired."""

    tickets: KeyRing
    receipts: KeyRing
    codes: bytes | None = None
    """Encrypts the codes of prizes; None: there never were any."""
    personal: bytes | None = None
    """Encrypts addresses. Drawn with the rings, for a role that meets the first address may not write here; None: in
    a directory of a release before, where there never were any."""


class _RingFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    current: str
    keys: dict[str, str]


class _KeysFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    tickets: _RingFile
    receipts: _RingFile
    logins: dict[str, str] = {}
    codes: str | None = None
    personal: str | None = None


def load_or_create_keys(data_dir: DataDir, source: DataDir | None = None) -> Keys:
    """Return the keys of the directory; if there are none yet, those of `source`, by which tickets that were issued
    there are good here too, or new ones from the system's randomness.

    Processes that do so at once all get the keys of the first. ConfigError if the disk refuses, or the directory has
    others than `source`.
    """
    check_keys(data_dir, source)
    if not data_dir.keys.exists():
        if data_dir.witness.exists():
            raise ConfigError(
                f"{data_dir.keys}: is missing, and the event has begun: receipts and tickets were signed with these "
                f"keys, new ones would make them worthless; {_restore(data_dir)}"
            )
        try:
            create_durably(data_dir.keys, _new_keys() if source is None else source.keys.read_bytes())
        except OSError as fault:
            raise ConfigError(f"{data_dir.keys}: cannot be made: {fault.strerror}") from fault
    return load_keys(data_dir)


def _new_keys() -> bytes:
    rings = {
        name: _RingFile("k1", {"k1": base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode("ascii")})
        for name in ("tickets", "receipts")
    }
    personal = base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode("ascii")
    return msgspec.json.format(msgspec.json.encode(_KeysFile(rings["tickets"], rings["receipts"], personal=personal)))


def check_keys(data_dir: DataDir, source: DataDir | None = None) -> None:
    """Raise ConfigError if the keys that the directory has, or is to get from `source`, are not good. Makes none."""
    given = None if source is None else load_keys(source)
    if not data_dir.keys.exists():
        return
    held = load_keys(data_dir)
    # Login keys may have been added on either side since.
    if given is not None and (held.tickets.keys, held.receipts.keys) != (given.tickets.keys, given.receipts.keys):
        raise ConfigError(
            f"{data_dir.root}: has keys of its own, under which tickets may have been issued; --keys-from is for a new "
            "directory"
        )


def load_keys(data_dir: DataDir) -> Keys:
    """Return the keys of the directory. ConfigError if the file is missing or wrong."""
    try:
        file = msgspec.json.decode(data_dir.keys.read_bytes(), type=_KeysFile)
        own = _decoded({name: text for name in ("codes", "personal") if (text := getattr(file, name)) is not None})
        return Keys(_ring(file.tickets, file.logins), _ring(file.receipts), own.get("codes"), own.get("personal"))
    except OSError as fault:
        raise ConfigError(f"{data_dir.keys}: cannot be read: {fault.strerror}") from fault
    except ValueError as fault:  # not JSON, not these fields, not base64, not UTF-8
        raise ConfigError(f"{data_dir.keys}: is not a file of keys: {fault}; {_restore(data_dir)}") from fault


def receipt_keys(directory: str | Path) -> KeyRing:
    """Return the keys that the receipts of a data directory are verified by. ConfigError if it has none."""
    return load_keys(DataDir(Path(directory))).receipts


def key_digests(keys: Keys) -> dict[str, str]:
    """Return a digest of each key by its ring and id, and of that of addresses: enough to know it again, useless to
    whoever wants to sign or read."""
    found = {
        f"{name}/{key_id}": key
        for name, ring in (("receipts", keys.receipts), ("tickets", keys.tickets))
        for key_id, key in ring.keys.items()
    }
    if keys.personal is not None:
        found[_PERSONAL] = keys.personal
    return {
        name: hashlib.blake2b(key, digest_size=DIGEST_BYTES, person=b"redrush.keys").hexdigest()
        for name, key in found.items()
    }


def check_known_keys(data_dir: DataDir, known: Mapping[str, str], keys: Keys) -> None:
    """Raise ConfigError if a key is not the one that was used before, or one that is no ticket key is gone.

    `known` are the digests of then. Keys may be added, and a ticket key may go once its tickets have expired; not all
    of them, for that would be another file.
    """
    found = key_digests(keys)
    for name, digest in known.items():
        is_gone = name not in found
        if found.get(name, digest) != digest or (
            is_gone and (not name.startswith("tickets/") or digest in found.values())
        ):
            what = "is gone" if is_gone else "is another one"
            if name == _PERSONAL:
                raise ConfigError(
                    f"{data_dir.keys}: the key of addresses {what}, and those that are kept could not be read; "
                    f"{_restore(data_dir, 'a backup that has it')}"
                )
            raise ConfigError(
                f"{data_dir.keys}: the key {name} {what}, and what was signed with it would be worth nothing; "
                f"{_restore(data_dir)}"
            )
    if known and not known.keys() & found.keys() & {name for name in found if name.startswith("tickets/")}:
        raise ConfigError(f"{data_dir.keys}: has none of the ticket keys of before; {_restore(data_dir)}")


def _restore(data_dir: DataDir, source: str = "any backup") -> str:
    return f"`redrush restore BACKUP --data {data_dir.root} --only keys.json` puts it back from {source}"


def _ring(file: _RingFile, logins: Mapping[str, str] | None = None) -> KeyRing:
    return KeyRing(file.current, _decoded(file.keys), _decoded(logins or {}))


def _decoded(texts: Mapping[str, str]) -> dict[str, bytes]:
    keys = {key_id: base64.b64decode(text, validate=True) for key_id, text in texts.items()}
    if any(len(key) != KEY_BYTES for key in keys.values()):
        raise ValueError(f"a key is not {KEY_BYTES} bytes long")
    return keys


def add_login_key(data_dir: DataDir, key_id: str) -> bytes:
    """Return a new key, of this id, with which a login signs tickets of the event; servers know it from their next
    start on. ConfigError if there is one of that id, or the disk refuses."""
    with _changing(data_dir) as logins:
        if key_id in logins:
            raise ConfigError(
                f'{data_dir.keys}: a login key "{key_id}" exists already; remove it first, or choose another id'
            )
        key = secrets.token_bytes(KEY_BYTES)
        logins[key_id] = base64.b64encode(key).decode("ascii")
    return key


def remove_login_key(data_dir: DataDir, key_id: str) -> None:
    """Forget the login key: from the next start of the servers on no ticket signed with it is good. ConfigError if
    there is none of that id, or the disk refuses."""
    with _changing(data_dir) as logins:
        if logins.pop(key_id, None) is None:
            known = ", ".join(sorted(logins)) or "none"
            raise ConfigError(f'{data_dir.keys}: "{key_id}" is no login key; there are: {known}')


def code_key(data_dir: DataDir) -> bytes:
    """Return the key that encrypts the codes of the event, made if there is none yet. ConfigError if the disk
    refuses."""
    return load_keys(data_dir).codes or _made(data_dir, "codes")


def personal_key(data_dir: DataDir) -> bytes:
    """Return the key that encrypts personal data, as `code_key` does: it is made in directories of releases before."""
    return load_keys(data_dir).personal or _made(data_dir, "personal")


def _made(data_dir: DataDir, name: str) -> bytes:
    file = msgspec.json.decode(data_dir.keys.read_bytes(), type=_KeysFile)
    key = secrets.token_bytes(KEY_BYTES)
    changed = msgspec.structs.replace(file, **{name: base64.b64encode(key).decode("ascii")})
    try:
        write_durably(data_dir.keys, msgspec.json.format(msgspec.json.encode(changed)))
    except OSError as fault:
        raise ConfigError(f"{data_dir.keys}: cannot be written: {fault.strerror}") from fault
    return key


@contextmanager
def _changing(data_dir: DataDir) -> Iterator[dict[str, str]]:
    """Yield the login keys to be changed, and write them down at the end. One process changes them at a time."""
    load_keys(data_dir)
    file = msgspec.json.decode(data_dir.keys.read_bytes(), type=_KeysFile)
    logins = dict(file.logins)
    yield logins
    changed = msgspec.structs.replace(file, logins=logins)
    try:
        _ring(changed.tickets, logins)
        write_durably(data_dir.keys, msgspec.json.format(msgspec.json.encode(changed)))
    except ValueError as fault:
        raise ConfigError(str(fault)) from None
    except OSError as fault:
        raise ConfigError(f"{data_dir.keys}: cannot be written: {fault.strerror}") from fault
