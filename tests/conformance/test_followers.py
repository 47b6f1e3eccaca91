"""What everybody must do who is asked who follows whom: a file, a service, a database."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from redrush.errors import ConfigError
from redrush.ports.audience import Followers, FollowersAway
from redrush.providers import followers as module
from redrush.providers.followers import followers_at
from tests.conftest import Databases

PAIRS = {("ann", "bob"), ("ann", "张伟"), ("carl", "ann")}


class Service:
    """An HTTP service of somebody else, which can be silenced."""

    def __init__(self) -> None:
        self.asked = 0
        self.status = 200

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        wanted = parse_qs(urlsplit(head.split(b" ")[1].decode()).query)
        self.asked += 1
        follows = (wanted["user"][0], wanted["follower"][0]) in PAIRS
        body = b'{"follows": %b}' % (b"true" if follows else b"false")
        writer.write(
            b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (self.status, len(body)) + body
        )
        writer.close()


@asynccontextmanager
async def from_file(directory: Path, _databases: Databases) -> AsyncIterator[Followers]:
    path = directory / "followers.csv"
    path.write_text("".join(f"{user}, {follower}\n" for user, follower in PAIRS) + "\n")
    yield followers_at(str(path), asyncio.get_running_loop().time)


@asynccontextmanager
async def from_service(_directory: Path, _databases: Databases) -> AsyncIterator[Followers]:
    server = await asyncio.start_server(Service().serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    asked = followers_at(f"http://127.0.0.1:{port}/follows?v=1", asyncio.get_running_loop().time)
    yield asked
    asked.close()
    server.close()


TABLE = 'CREATE TABLE followers ("user" text, follower text, PRIMARY KEY ("user", follower))'


@asynccontextmanager
async def from_sqlite(directory: Path, _databases: Databases) -> AsyncIterator[Followers]:
    path = directory / "people.db"
    with closing(sqlite3.connect(path)) as people, people:
        people.execute(TABLE)
        people.executemany("INSERT INTO followers VALUES (?, ?)", PAIRS)
    asked = followers_at(str(path), asyncio.get_running_loop().time)
    yield asked
    asked.close()


@asynccontextmanager
async def from_postgres(_directory: Path, databases: Databases) -> AsyncIterator[Followers]:
    dsn = url_of(databases.fresh())
    with psycopg.connect(dsn) as people:
        people.execute(TABLE.encode())
        people.cursor().executemany("INSERT INTO followers VALUES (%s, %s)", list(PAIRS))
    asked = followers_at(dsn, asyncio.get_running_loop().time)
    yield asked
    asked.close()


ADAPTERS: dict[str, Callable[[Path, Databases], AbstractAsyncContextManager[Followers]]] = {
    "file": from_file,
    "service": from_service,
    "sqlite": from_sqlite,
    "postgres": from_postgres,
}


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_it_is_told_who_follows_whom(adapter: str, tmp_path: Path, databases: Databases) -> None:
    async with ADAPTERS[adapter](tmp_path, databases) as followers:
        for _ in range(2):
            assert await followers.follows("ann", "bob")
            assert await followers.follows("ann", "张伟")
            assert not await followers.follows("bob", "ann"), "that somebody is followed is not that they follow"
            assert not await followers.follows("nobody", "bob")
        assert followers.knows("ann", "bob") is True
        assert followers.knows("bob", "ann") is False


async def test_a_service_is_asked_once_and_a_no_is_forgotten_sooner() -> None:
    service, now = Service(), [100.0]
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
    asked = followers_at(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", lambda: now[0])
    assert asked.knows("ann", "bob") is None
    for _ in range(3):
        await asked.follows("ann", "bob")
        await asked.follows("ann", "eve")
    assert service.asked == 2
    now[0] += module.NO_S + 0.1
    assert asked.knows("ann", "bob") is True
    assert asked.knows("ann", "eve") is None
    service.status = 500
    with pytest.raises(FollowersAway, match="500"):
        await asked.follows("ann", "eve")
    asked.close()
    server.close()


async def test_a_file_that_was_replaced_is_read_again_and_one_that_is_broken_leaves_what_is_known(
    tmp_path: Path,
) -> None:
    path, now = tmp_path / "f.csv", [0.0]
    path.write_text("ann,bob\n")
    followers = followers_at(str(path), lambda: now[0])
    for text, knows in (("ann,carl\n", "carl"), ("broken", "carl"), ("ann,dora\n", "dora")):
        path.write_text(text)
        now[0] += 2
        assert followers.knows("ann", knows), text
    assert not followers.knows("ann", "bob")


def test_a_file_that_cannot_be_read_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("ann,bob\nann\n")
    with pytest.raises(ConfigError, match=r"f\.csv:2"):
        followers_at(str(tmp_path / "f.csv"), lambda: 0.0)
    with pytest.raises(ConfigError, match=r"none\.csv"):
        followers_at(str(tmp_path / "none.csv"), lambda: 0.0)


async def test_a_database_that_was_restarted_is_asked_over_a_new_connection(databases: Databases) -> None:
    now = [100.0]
    dsn = url_of(databases.fresh())
    with psycopg.connect(dsn, autocommit=True) as people:
        people.execute(TABLE.encode())
        asked = followers_at(dsn, lambda: now[0])
        assert not await asked.follows("ann", "bob")
        people.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
        people.execute("INSERT INTO followers VALUES ('ann', 'bob')")
        now[0] += module.NO_S + 1
        assert await asked.follows("ann", "bob")
        people.execute("DROP TABLE followers")
        with pytest.raises(FollowersAway, match="database"):
            await asked.follows("ann", "carl")
        asked.close()


def test_a_sqlite_file_without_the_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    with closing(sqlite3.connect(path)) as people, people:
        people.execute("CREATE TABLE friends (a, b)")
    with pytest.raises(ConfigError, match=r"people\.db: .*followers"):
        followers_at(str(path), lambda: 0.0)


def url_of(dsn: str) -> str:
    """Return a DSN as an address, as a campaign file has it."""
    parts = conninfo_to_dict(dsn)
    password = f":{parts['password']}" if parts.get("password") else ""
    return f"postgresql://{parts['user']}{password}@{parts['host']}:{parts['port']}/{parts['dbname']}"
