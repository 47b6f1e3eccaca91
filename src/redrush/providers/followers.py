"""Who follows whom: from a file, from an HTTP service, or from a database.

| `followers =` | what is asked |
|---|---|
| a file | `user,follower` a line, UTF-8; read again when it was replaced |
| a SQLite file | a table or view `followers` with the columns `"user"` and `follower` |
| `https://…` or `http://…` | `GET …?user=SENDER&follower=USER`, answered with `{"follows": true}` |
| `postgresql://…` | the same in a PostgreSQL database |

A service is a dependency like any other: a bounded number of questions at once, a deadline, and a breaker. Its answers
are remembered, a yes for longer than a no, for who has just begun to follow wants to grab now.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import apsw

from redrush.dependency import USUAL_RULE, Dependency, Share, Unanswered
from redrush.errors import ConfigError
from redrush.extras import require
from redrush.http.bodies import json_object
from redrush.http.fetch import Fetcher, Unfetched
from redrush.named_file import open_named, read_named
from redrush.ports.audience import Followers, FollowersAway

FILE_BYTES_MAX: Final = 256 << 20
REMEMBERED_MAX: Final = 262_144
"""Answers that are remembered; beyond it the memory starts anew."""
YES_S: Final = 60.0
NO_S: Final = 3.0

DEADLINE_S: Final = 2.0
SHARE: Final = Share(at_once_max=32, waiting_max=1_024, deadline_s=DEADLINE_S)

LOOK_S: Final = 1.0
"""How often it is looked whether the file was replaced."""

CONNECTIONS: Final = 2
QUERY: Final = 'SELECT EXISTS (SELECT 1 FROM followers WHERE "user" = {0} AND follower = {0})'

SQLITE: Final = b"SQLite format 3\0"
"""How such a file begins."""
BUSY_MS: Final = 1_000
"""How long it is waited for whoever writes to it."""


class FileFollowers:
    """A file of pairs: each is held as one number, some 40 bytes."""

    def __init__(self, path: Path, now_s: Callable[[], float]) -> None:
        """ConfigError if the file cannot be read."""
        self._path = path
        self._now_s = now_s
        self._looked_s = now_s()
        self._pairs, self._stamp = _read(path)

    def knows(self, sender: str, user: str) -> bool | None:
        """See the port: it is always known."""
        if self._now_s() - self._looked_s >= LOOK_S:
            self._look()
        return hash((sender, user)) in self._pairs

    async def follows(self, sender: str, user: str) -> bool:
        """See the port."""
        return bool(self.knows(sender, user))

    def _look(self) -> None:
        """Read a file again that was replaced; one that cannot be read leaves what is known."""
        self._looked_s = self._now_s()
        try:
            if self._path.stat().st_mtime_ns != self._stamp:
                self._pairs, self._stamp = _read(self._path)
        except (OSError, ConfigError):
            return

    def close(self) -> None:
        """Nothing is open."""


def _read(path: Path) -> tuple[set[int], int]:
    try:
        stamp = path.stat().st_mtime_ns
        data = read_named(path, FILE_BYTES_MAX)
        if len(data) > FILE_BYTES_MAX:
            raise ConfigError(f"{path}: is larger than {FILE_BYTES_MAX >> 20} MB; this is no list of who follows whom")
        lines = data.decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{path}: who follows whom cannot be read: {fault}") from fault
    pairs = set()
    for number, line in enumerate(lines, start=1):
        sender, comma, follower = (part.strip() for part in line.partition(","))
        if not line.strip():
            continue
        if not comma or not sender or not follower:
            raise ConfigError(f"{path}:{number}: is no `user,follower`: {line[:100]!r}")
        pairs.add(hash((sender, follower)))
    return pairs, stamp


class AskedFollowers:
    """A service that is asked, and whose answers are remembered."""

    def __init__(
        self,
        name: str,
        ask: Callable[[str, str], Awaitable[bool]],
        now_s: Callable[[], float],
        close: Callable[[], None],
    ) -> None:
        """`ask` returns the answer, or raises FollowersAway."""
        self._ask = ask
        self._now_s = now_s
        self._close = close
        self._dependency = Dependency(name, SHARE, USUAL_RULE, now_s)
        self._known: dict[tuple[str, str], tuple[bool, float]] = {}

    def knows(self, sender: str, user: str) -> bool | None:
        """See the port."""
        known = self._known.get((sender, user))
        return None if known is None or known[1] < self._now_s() else known[0]

    async def follows(self, sender: str, user: str) -> bool:
        """See the port."""
        known = self.knows(sender, user)
        if known is not None:
            return known
        answer = await self._dependency.ask(lambda: self._ask(sender, user))
        if isinstance(answer, Unanswered):
            raise FollowersAway(f"{self._dependency.name}: who follows whom cannot be asked now ({answer.value})")
        if len(self._known) >= REMEMBERED_MAX:
            self._known.clear()
        self._known[sender, user] = answer, self._now_s() + (YES_S if answer else NO_S)
        return answer

    def close(self) -> None:
        """See the port."""
        self._close()


def asked_over_http(url: str, now_s: Callable[[], float]) -> AskedFollowers:
    """Return the followers that a service tells of."""
    fetcher = Fetcher()

    async def ask(sender: str, user: str) -> bool:
        asked = f"{url}{'&' if '?' in url else '?'}{urlencode({'user': sender, 'follower': user})}"
        try:
            answer = await fetcher.fetch("GET", asked, deadline_s=DEADLINE_S, bytes_max=65_536)
        except Unfetched as fault:
            raise FollowersAway(str(fault)) from fault
        follows = _field(answer.body) if answer.status == 200 else None
        if not isinstance(follows, bool):
            raise FollowersAway(f"{url}: answered {answer.status}, and not whether somebody follows")
        return follows

    return AskedFollowers(url, ask, now_s, fetcher.close)


def _field(body: bytes) -> Any:
    return (json_object(body) or {}).get("follows")


def asked_of_database(dsn: str, now_s: Callable[[], float]) -> AskedFollowers:
    """Return the followers that a PostgreSQL database knows. ConfigError where its library is not installed."""
    require("scaled", "asking a database for followers")
    import psycopg  # noqa: PLC0415 - an extra

    threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="redrush-followers")
    idle: list[psycopg.Connection[tuple[bool]]] = []

    query = QUERY.format("%s").encode()

    def look(connection: psycopg.Connection[tuple[bool]], sender: str, user: str) -> bool:
        try:
            found = connection.execute(query, (sender, user)).fetchone()
        except BaseException:
            connection.close()
            raise
        idle.append(connection)
        return found is not None and bool(found[0])

    def look_anyhow(sender: str, user: str) -> bool:
        with contextlib.suppress(IndexError, psycopg.OperationalError):
            return look(idle.pop(), sender, user)
        # There was none, or its server was restarted since.
        return look(psycopg.connect(dsn, autocommit=True, connect_timeout=int(DEADLINE_S)), sender, user)

    async def ask(sender: str, user: str) -> bool:
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, look_anyhow, sender, user)
        except psycopg.Error as fault:
            raise FollowersAway(f"who follows whom: the database says {fault}") from fault

    def close() -> None:
        threads.shutdown(wait=False, cancel_futures=True)
        while idle:
            idle.pop().close()

    return AskedFollowers("the database of followers", ask, now_s, close)


def asked_of_file(path: Path, now_s: Callable[[], float]) -> AskedFollowers:
    """Return the followers that a SQLite file has, which others may write. ConfigError if it has no such table."""
    query = QUERY.format("?")
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(BUSY_MS)
        connection.execute(query, ("", "")).fetchall()
    except apsw.Error as fault:
        raise ConfigError(f"{path}: who follows whom cannot be read: {fault}") from fault
    thread = ThreadPoolExecutor(1, thread_name_prefix="redrush-followers")

    def look(sender: str, user: str) -> bool:
        return bool(connection.execute(query, (sender, user)).get)

    async def ask(sender: str, user: str) -> bool:
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, look, sender, user)
        except apsw.Error as fault:
            raise FollowersAway(f"{path}: {fault}") from fault

    def close() -> None:
        thread.shutdown(wait=True, cancel_futures=True)
        connection.close()

    return AskedFollowers(str(path), ask, now_s, close)


def followers_at(written: str, now_s: Callable[[], float]) -> Followers:
    """Return who knows it, as a campaign file names them. ConfigError if that cannot be."""
    if written.startswith(("http://", "https://")):
        return asked_over_http(written, now_s)
    if written.startswith(("postgresql://", "postgres://")):
        return asked_of_database(written, now_s)
    path = Path(written)
    return asked_of_file(path, now_s) if _is_sqlite(path) else FileFollowers(path, now_s)


def _is_sqlite(path: Path) -> bool:
    try:
        with open_named(path) as file:
            return file.read(len(SQLITE)) == SQLITE
    except OSError:
        return False  # whoever reads it says so
