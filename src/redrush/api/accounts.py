"""Who may use the console: people with a role and a password, and programs with an API key.

Both are in `accounts.json`, which commands and the console change, one at a time; both follow it. Of a password the
argon2id hash is kept; of a key, which has 256 random bits, a fast hash is as good.
"""

import fcntl
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from hmac import compare_digest
from pathlib import Path
from typing import Final

import msgspec

from redrush.config.toml_file import Wrong, check_id
from redrush.control.durable_file import Stamp, stamp_of, write_durably
from redrush.control.json_file import load_json
from redrush.errors import ConfigError, RedrushError
from redrush.operate.noting import Noting

PEOPLE_MAX: Final = 200
KEYS_MAX: Final = 200
"""More are a directory of people, which is elsewhere."""
KEYS_OF_ONE_MAX: Final = 20
"""Of one person: whoever may look only must not take the places of all."""
SECRET_BYTES: Final = 32
KEY_PREFIX: Final = "rk1"
ENDS_SESSIONS: Final = frozenset({"password", "totp", "role"})
"""What of a person, when it is changed, ends their sessions."""
USED_EVERY_S: Final = 60
"""How exactly it is known when a key was used last."""


class Role(StrEnum):
    """What somebody may do. Each may do what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """Its place among the roles, from 0."""
        return list(Role).index(self)

    def may(self, needed: "Role") -> bool:
        """Whether it is enough where this role is needed."""
        return self.rank >= needed.rank


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who logs in."""

    name: str
    role: Role
    password: str
    """The argon2id hash, as argon2 writes it."""
    created_s: int
    totp: str | None = None
    """The secret of a second factor, in Base32; None: there is none."""
    totp_step: int = 0
    """The time step of the code that was used last: none is good twice."""
    since: str = ""
    """Names what they log in with, and as what: drawn anew with another password, second factor or role. A session is
    good for the one that it began with, whoever changed it, and where."""


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A program's way in. Its role is the least of its own and its owner's."""

    id: str
    owner: str
    role: Role
    sha256: str
    created_s: int
    expires_s: int | None = None
    note: str = ""


class _File(msgspec.Struct, frozen=True):
    people: tuple[Person, ...] = ()
    keys: tuple[ApiKey, ...] = ()


class Accounts:
    """See the module. Reads the file again whenever it has changed."""

    def __init__(self, path: Path) -> None:
        """ConfigError if the file is there and cannot be read."""
        self._path = path
        self._seen: Stamp | None = None
        self._file = _File()
        self._used_s: dict[str, int] = {}
        self._look(first=True)

    @property
    def people(self) -> tuple[Person, ...]:
        """Everybody, in the order in which they were added."""
        self._look()
        return self._file.people

    @property
    def keys(self) -> tuple[ApiKey, ...]:
        """Every key."""
        self._look()
        return self._file.keys

    def person(self, name: str) -> Person | None:
        """Return the person of that name, or None."""
        return next((one for one in self.people if one.name == name), None)

    def require_still(self, name: str, needed: Role) -> None:
        """RedrushError if who has scheduled, proposed or approved something may not do it any more: what waits is
        done in their name only as long as they could do it themselves."""
        person = self.person(name)
        if person is None or not person.role.may(needed):
            raise RedrushError(f"{name}, who stands for it, may not steer any more")

    def add(self, name: str, role: Role, password_hash: str, now_s: int, noted: Noting = None) -> None:
        """Add a person. ConfigError for a name that is taken, or is none."""
        _check_name(name)

        def added(file: _File) -> _File:
            if any(one.name == name for one in file.people):
                raise ConfigError(f'"{name}" has an account already; `redrush user reset {name}` gives a new password')
            if len(file.people) >= PEOPLE_MAX:
                raise ConfigError(f"{self._path}: has {PEOPLE_MAX} people, no more are possible; remove some")
            new = Person(name=name, role=role, password=password_hash, created_s=now_s, since=_drawn())
            return msgspec.structs.replace(file, people=(*file.people, new))

        self._change(added, noted)

    def change(self, name: str, noted: Noting = None, **fields: object) -> None:
        """Change the role, the password or the second factor of a person, after which no session of theirs is good that
        was before. ConfigError if there is no such person, or nobody would be admin any more."""
        if not ENDS_SESSIONS.isdisjoint(fields):
            fields["since"] = _drawn()

        def changed(file: _File) -> _File:
            self._known(file, name)
            people = tuple(msgspec.structs.replace(one, **fields) if one.name == name else one for one in file.people)
            return _with_admin(msgspec.structs.replace(file, people=people))

        self._change(changed, noted)

    def reset(self, name: str, password_hash: str, *, keep_keys: bool, noted: Noting = None) -> tuple[ApiKey, ...]:
        """Give a person another password and no second factor; return the API keys that they had, which are good no
        more unless they are kept. ConfigError if there is no such person."""
        keys = tuple(one for one in self.keys if one.owner == name)
        self.change(name, noted, password=password_hash, totp=None)
        if not keep_keys:
            self.remove_keys_of(name)
        return keys

    def remove_keys_of(self, name: str) -> None:
        """Take all keys of a person back."""
        self._change(
            lambda file: msgspec.structs.replace(file, keys=tuple(one for one in file.keys if one.owner != name))
        )

    def remove(self, name: str, noted: Noting = None) -> None:
        """Remove a person with their keys. ConfigError as for `change`."""

        def removed(file: _File) -> _File:
            self._known(file, name)
            people = tuple(one for one in file.people if one.name != name)
            keys = tuple(one for one in file.keys if one.owner != name)
            return _with_admin(_File(people, keys))

        self._change(removed, noted)

    def add_key(
        self, owner: str, role: Role, now_s: int, expires_s: int | None, note: str, noted: Noting = None
    ) -> str:
        """Give a person's program a key, and return it: it is kept nowhere. ConfigError if there is no such person, or
        the role is more than the person's."""
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(SECRET_BYTES)

        def added(file: _File) -> _File:
            if not self._known(file, owner).role.may(role):
                raise ConfigError(f'"{owner}" is no {role}, and a key of theirs cannot be one either')
            if sum(one.owner == owner for one in file.keys) >= KEYS_OF_ONE_MAX:
                raise ConfigError(f"{owner} has {KEYS_OF_ONE_MAX} API keys, no more are possible; take some back")
            if len(file.keys) >= KEYS_MAX:
                raise ConfigError(f"{self._path}: has {KEYS_MAX} keys, no more are possible; remove some")
            new = ApiKey(
                id=key_id,
                owner=owner,
                role=role,
                sha256=_digest(secret),
                created_s=now_s,
                expires_s=expires_s,
                note=note,
            )
            return msgspec.structs.replace(file, keys=(*file.keys, new))

        self._change(added, noted)
        return f"{KEY_PREFIX}.{key_id}.{secret}"

    def remove_key(self, key_id: str, noted: Noting = None) -> None:
        """Take a key back. ConfigError if there is none of that id."""

        def removed(file: _File) -> _File:
            if not any(one.id == key_id for one in file.keys):
                raise ConfigError(f'there is no API key "{key_id}"')
            return msgspec.structs.replace(file, keys=tuple(one for one in file.keys if one.id != key_id))

        self._change(removed, noted)

    def key_of(self, text: str, now_s: int) -> tuple[Person, ApiKey] | None:
        """Return whose key this is, or None, in a time that does not tell how wrong it is."""
        prefix, _, rest = text.partition(".")
        key_id, _, secret = rest.partition(".")
        found = next((one for one in self.keys if one.id == key_id), None)
        good = compare_digest(_digest(secret), "" if found is None else found.sha256)
        if found is None or not good or prefix != KEY_PREFIX or (found.expires_s or now_s + 1) <= now_s:
            return None
        owner = self.person(found.owner)
        if owner is None:
            return None
        if now_s - self._used_s.get(found.id, -USED_EVERY_S) >= USED_EVERY_S:
            self._used_s[found.id] = now_s
        return owner, found

    def used_s(self, key_id: str) -> int | None:
        """Return when a key was used last, to the minute, since this process started; None: it was not."""
        return self._used_s.get(key_id)

    def _known(self, file: _File, name: str) -> Person:
        for one in file.people:
            if one.name == name:
                return one
        known = ", ".join(one.name for one in file.people) or "nobody yet"
        raise ConfigError(f'"{name}" has no account of the console; there is {known}')

    def _look(self, *, first: bool = False) -> None:
        stamp = stamp_of(self._path)
        if stamp == self._seen and not first:
            return
        try:
            self._file = _load(self._path)
            self._seen = stamp
        except ConfigError:
            if first:
                raise  # later, what was read last holds until it can be read again

    def _change(self, change: Callable[[_File], _File], noted: Noting = None) -> None:
        """Change the file, one process at a time. ConfigError if the disk refuses."""
        try:
            with _locked(self._path):
                file = change(_load(self._path))
                if noted is not None:
                    noted()
                write_durably(self._path, msgspec.json.format(msgspec.json.encode(file)))
        except OSError as fault:
            raise ConfigError(f"{self._path}: cannot be written: {fault.strerror}") from fault
        self._look()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        with suppress(OSError):
            os.close(lock)


def _load(path: Path) -> _File:
    return load_json(path, _File, _File(), "a list of accounts")


def _check_name(name: str) -> None:
    try:
        check_id("NAME", name)
    except Wrong as fault:
        raise ConfigError(f"account {name}: {fault}") from None


def _with_admin(file: _File) -> _File:
    if file.people and not any(one.role is Role.ADMIN for one in file.people):
        raise ConfigError("nobody would be admin any more; make somebody else one first: redrush user role NAME admin")
    return file


def _drawn() -> str:
    return secrets.token_hex(8)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
