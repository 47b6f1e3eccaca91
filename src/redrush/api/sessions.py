"""Sessions of people who have logged in, and how often somebody may try to.

A session is 256 random bits in a cookie, of which the server keeps the hash. It ends after `IDLE_S` without a
request, `WHOLE_S` after its login, and whenever its person logs out, gets another role, password or second factor, or
is removed. They are in a file, so that a console that is started again does not throw everybody out.
"""

import hashlib
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from redrush.control.durable_file import write_durably
from redrush.control.json_file import load_json
from redrush.errors import ConfigError

IDLE_S: Final = 30 * 60
WHOLE_S: Final = 12 * 3_600
PROVED_S: Final = 10 * 60
"""How long after a login, or a password that was given again, somebody has just proved who they are."""
SEEN_EVERY_S: Final = 60
"""How exactly the file knows when a session was used last."""
SESSIONS_MAX: Final = 500
SESSIONS_OF_ONE_MAX: Final = 20
"""Of one person: who logs in again and again ends their own, and nobody else's."""
TRIES_MAX: Final = 5
TRIES_S: Final = 60
TRIED_MAX: Final = 4_096
"""Names and addresses whose tries are counted at a time; the oldest are forgotten."""
TEXT_MAX: Final = 120
"""Characters kept of what a browser says of itself."""


class Session(msgspec.Struct, kw_only=True):
    """One login."""

    id: str
    """Names it in lists: no secret."""
    sha256: str
    name: str
    began_s: int
    seen_s: int
    address: str
    agent: str
    since: str = ""
    """What its person logged in with (`redrush.api.accounts.Person.since`)."""
    proved_s: int = 0
    """When they proved last who they are."""


class _File(msgspec.Struct, frozen=True):
    sessions: list[Session] = []


class Sessions:
    """See the module."""

    def __init__(self, path: Path, now_s: Callable[[], int]) -> None:
        """ConfigError if the file is there and cannot be read."""
        self._path = path
        self.now_s = now_s
        kept = load_json(path, _File, _File(), "a list of sessions").sessions
        self._by_hash = {one.sha256: one for one in kept}
        self._kept_s = now_s()

    def begin(self, name: str, address: str, agent: str, since: str) -> str:
        """Begin a session of a person who logged in with what `since` names; return what its cookie says."""
        token, now_s = secrets.token_urlsafe(32), self.now_s()
        session = Session(
            id=secrets.token_hex(6),
            sha256=_digest(token),
            name=name,
            began_s=now_s,
            seen_s=now_s,
            address=address,
            agent=agent[:TEXT_MAX],
            since=since,
            proved_s=now_s,
        )
        self._forget_old(now_s)
        own = [one for one in self._by_hash.values() if one.name == name]
        if len(own) >= SESSIONS_OF_ONE_MAX:
            del self._by_hash[min(own, key=lambda one: one.seen_s).sha256]
        if len(self._by_hash) >= SESSIONS_MAX:
            del self._by_hash[min(self._by_hash.values(), key=lambda one: one.seen_s).sha256]
        self._by_hash[session.sha256] = session
        self._keep()
        return token

    def of(self, token: str) -> Session | None:
        """Return the session that a cookie is of, and that it is in use; None if it is over, or never was."""
        session, now_s = self._by_hash.get(_digest(token)), self.now_s()
        if session is None or _is_over(session, now_s):
            return None
        session.seen_s = now_s
        if now_s - self._kept_s >= SEEN_EVERY_S:
            self._keep()
        return session

    def has_just_proved(self, session: Session) -> bool:
        """Whether the person of a session has proved a moment ago who they are."""
        return self.now_s() - session.proved_s < PROVED_S

    def prove(self, session_id: str) -> None:
        """Note that the person of a session has proved who they are."""
        for one in self._by_hash.values():
            if one.id == session_id:
                one.proved_s = self.now_s()
        self._keep()

    def all(self) -> list[Session]:
        """Return those that are not over, the newest first."""
        self._forget_old(self.now_s())
        return sorted(self._by_hash.values(), key=lambda one: -one.began_s)

    def end(self, session_id: str) -> bool:
        """End the session of this id; returns whether there was one."""
        return self._end(lambda one: one.id == session_id)

    def end_of(self, name: str) -> bool:
        """End every session of a person; returns whether there was one."""
        return self._end(lambda one: one.name == name)

    def go_on(self, session_id: str, since: str) -> None:
        """Let a session of a person go on who logs in with something else from now on, and end all others of theirs."""
        session = next((one for one in self._by_hash.values() if one.id == session_id), None)
        if session is not None:
            session.since = since
            self._end(lambda one: one.name == session.name and one is not session)
            self._keep()

    def _end(self, which: Callable[[Session], bool]) -> bool:
        ended = [key for key, one in self._by_hash.items() if which(one)]
        for key in ended:
            del self._by_hash[key]
        if ended:
            self._keep()
        return bool(ended)

    def _forget_old(self, now_s: int) -> None:
        for key in [key for key, one in self._by_hash.items() if _is_over(one, now_s)]:
            del self._by_hash[key]

    def _keep(self) -> None:
        self._kept_s = self.now_s()
        try:
            write_durably(self._path, msgspec.json.encode(_File(list(self._by_hash.values()))))
        except OSError as fault:
            raise ConfigError(f"{self._path}: cannot be written: {fault.strerror}") from fault


class Tries:
    """Counts tries to log in, by name and by address."""

    def __init__(self, now_s: Callable[[], int]) -> None:
        self._now_s = now_s
        self._tried: dict[str, list[int]] = {}

    def rest_s(self, *who: str) -> int:
        """Note a try of these, and return 0; or, without noting it, how many seconds they have to wait."""
        now_s = self._now_s()
        for one in who:
            lately = [at_s for at_s in self._tried.get(one, []) if now_s - at_s < TRIES_S]
            if len(lately) >= TRIES_MAX:
                return TRIES_S - (now_s - lately[0])
            self._tried[one] = lately
        for one in who:
            self._tried[one] = [*self._tried.pop(one, []), now_s]  # the newest ones last
        while len(self._tried) > TRIED_MAX:
            del self._tried[next(iter(self._tried))]
        return 0

    def forgive(self, *who: str) -> None:
        """Forget the tries of these: they have logged in."""
        for one in who:
            self._tried.pop(one, None)


def _is_over(session: Session, now_s: int) -> bool:
    return now_s - session.seen_s >= IDLE_S or now_s - session.began_s >= WHOLE_S


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
