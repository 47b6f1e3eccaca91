"""What everybody must do who is asked who follows whom: a file, a service, a database."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from redrush.errors import ConfigError
from redrush.ports.audience import Followers, FollowersAway
from redrush.providers import followers as module
from redrush.providers.followers import followers_at

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
async def from_file(directory: Path) -> AsyncIterator[Followers]:
    path = directory / "followers.csv"
    path.write_text("".join(f"{user}, {follower}\n" for user, follower in PAIRS) + "\n")
    yield followers_at(str(path), asyncio.get_running_loop().time)


@asynccontextmanager
async def from_service(_directory: Path) -> AsyncIterator[Followers]:
    server = await asyncio.start_server(Service().serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    asked = followers_at(f"http://127.0.0.1:{port}/follows?v=1", asyncio.get_running_loop().time)
    yield asked
    asked.close()
    server.close()


ADAPTERS: dict[str, Callable[[Path], AbstractAsyncContextManager[Followers]]] = {
    "file": from_file,
    "service": from_service,
}


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_it_is_told_who_follows_whom(adapter: str, tmp_path: Path) -> None:
    async with ADAPTERS[adapter](tmp_path) as followers:
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
