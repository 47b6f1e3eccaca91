"""Who may steer an event: the event's own token, and operators with names and tokens of their own.

A change stands in the audit log under the name that its token belongs to, not under one that somebody writes into a
request. `control-token` is the event's own: its processes have it, and so has everybody who may read the directory, so
what is done with it stands under `EVENTS_OWN`. Everybody else gets a token with `redrush operator add`; only its hash
is kept, in `operators.json`. A token has 256 random bits, so a fast hash is as good as a slow one here.

A running server follows the file: who was removed, or whose time is over, is refused from the next request on.
"""

import hashlib
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hmac import compare_digest
from pathlib import Path
from typing import Final

import msgspec

from redrush.control.control_access import TOKEN_BYTES, load_token_if_any
from redrush.control.data_dir import DataDir
from redrush.control.durable_file import stamp_of, write_durably
from redrush.control.json_file import keep_json, load_json
from redrush.core.identity.tickets import Ticket
from redrush.core.rush.instants import rfc3339_s
from redrush.errors import ConfigError

EVENTS_OWN: Final = "event"
"""The name of whoever has the event's own token."""
OPERATORS_MAX: Final = 200
"""A token is compared with each; more than these are a directory of people, which is elsewhere."""
USED_EVERY_S: Final = 60
"""How exactly it is known when a token was used last."""
_NEVER_S: Final = 1 << 62


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody with a token of their own."""

    name: str
    sha256: str
    created_s: int
    expires_s: int | None = None


class _File(msgspec.Struct, frozen=True):
    operators: tuple[Operator, ...] = ()


def load_operators(data_dir: DataDir) -> tuple[Operator, ...]:
    """Return who has a token of their own. ConfigError if the file cannot be read."""
    return load_json(data_dir.operators, _File, _File(), "a list of operators").operators


def add_operator(data_dir: DataDir, name: str, now_s: int, lasts_s: int | None = None) -> str:
    """Add an operator and return the token, which is kept nowhere. ConfigError if the name is taken."""
    operators = load_operators(data_dir)
    if name == EVENTS_OWN or any(one.name == name for one in operators):
        raise ConfigError(f'"{name}" has a token already; `redrush operator remove {name}` takes it back')
    if len(operators) >= OPERATORS_MAX:
        raise ConfigError(f"{data_dir.operators}: has {OPERATORS_MAX} operators, no more are possible; remove some")
    token = secrets.token_urlsafe(TOKEN_BYTES)
    expires_s = None if lasts_s is None else now_s + lasts_s
    new = Operator(name=name, sha256=_digest(token.encode()), created_s=now_s, expires_s=expires_s)
    _keep(data_dir, (*operators, new))
    return token


def remove_operator(data_dir: DataDir, name: str) -> None:
    """Take the operator's token back. ConfigError if there is no such operator."""
    if name == EVENTS_OWN:
        raise ConfigError(
            f"{data_dir.control_token}: is what the event's own processes have; stop them, delete it, and start them "
            "again for another one"
        )
    operators = load_operators(data_dir)
    if not any(one.name == name for one in operators):
        known = ", ".join(one.name for one in operators) or "none"
        raise ConfigError(f'"{name}" is no operator of {data_dir.root}; there are {known}')
    _keep(data_dir, tuple(one for one in operators if one.name != name))


def last_used(data_dir: DataDir) -> dict[str, str]:
    """Return when each token was used last, to the minute, as far as a server has noted it."""
    try:
        return msgspec.json.decode(data_dir.operators_used.read_bytes(), type=dict[str, str])
    except (OSError, ValueError):
        return {}  # nothing rests on it


def _keep(data_dir: DataDir, operators: tuple[Operator, ...]) -> None:
    keep_json(data_dir.operators, _File(operators))


def _digest(token: bytes) -> str:
    return hashlib.sha256(token).hexdigest()


class OperatorVerifier:
    """Checks tokens where a site checks tickets, and says whose they are. It follows the files of the directory."""

    def __init__(
        self,
        data_dir: DataDir,
        now_us: Callable[[], int],
        used: Path | None = None,
    ) -> None:
        """`used` is the file to note in when a token was used last; None: it is not noted. ConfigError if the files of
        the directory cannot be read now; later what was read last holds."""
        token = load_token_if_any(data_dir)
        self._own = None if token is None else _digest(token.encode("ascii"))
        self._data_dir = data_dir
        self._now_us = now_us
        self._used = used
        self._executor: ThreadPoolExecutor | None = None
        self._noted_s: dict[str, int] = {}
        self._seen = stamp_of(data_dir.operators)  # before it is read: a change between the two is read again
        self._operators = load_operators(data_dir)

    def verify(self, ticket: bytes) -> Ticket | None:
        """Return the ticket of the token's holder, else None, in a time that does not tell how wrong it is."""
        self._follow()
        digest, now_s = _digest(ticket), self._now_us() // 1_000_000
        found = None
        if self._own is not None and compare_digest(digest, self._own):
            found = Ticket(EVENTS_OWN, _NEVER_S)
        for one in self._operators:
            expires_s = _NEVER_S if one.expires_s is None else one.expires_s
            if compare_digest(digest, one.sha256) and expires_s > now_s:
                found = Ticket(one.name, expires_s)
        if found is not None:
            self._note(found.user, now_s)
        return found

    def _follow(self) -> None:
        if (stamp := stamp_of(self._data_dir.operators)) != self._seen:
            with suppress(ConfigError):  # half a file, or none: what was read last holds, until it can be read
                self._operators = load_operators(self._data_dir)
                self._seen = stamp

    def _note(self, name: str, now_s: int) -> None:
        """Note that a token was used: at most once in `USED_EVERY_S`, and off the loop, for a disk may be slow."""
        if self._used is None or name == EVENTS_OWN or now_s - self._noted_s.get(name, -USED_EVERY_S) < USED_EVERY_S:
            return
        self._noted_s[name] = now_s
        noted = {holder: rfc3339_s(at_s) for holder, at_s in self._noted_s.items()}
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, "operators")
        self._executor.submit(_note_used, self._used, noted)


def _note_used(path: Path, noted: dict[str, str]) -> None:
    try:
        before = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except (OSError, ValueError):
        before = {}
    with suppress(OSError):
        write_durably(path, msgspec.json.format(msgspec.json.encode(before | noted)))
