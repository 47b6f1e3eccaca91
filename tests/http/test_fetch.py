"""Asking somebody else's server: connections that are kept, and answers that are not whole."""

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable

import pytest

from redrush.http import fetch
from redrush.http.fetch import Fetcher, Unfetched
from redrush.http.small_server import Asked, Reply, SmallServer
from redrush.http.sockets import Reserved
from redrush.http.trust import SystemTrust


def play(story: Callable[[str, list[Asked]], Awaitable[None]], reply: Reply | None = None) -> None:
    async def run() -> None:
        heard: list[Asked] = []

        async def handle(asked: Asked) -> Reply:
            heard.append(asked)
            return reply or Reply(200, asked.body)

        server = SmallServer(handle)
        port = await server.serve(Reserved.at("127.0.0.1", 0))
        await story(f"http://127.0.0.1:{port}", heard)
        await server.stop()

    asyncio.run(run())


def test_one_connection_serves_many_requests() -> None:
    async def story(url: str, heard: list[Asked]) -> None:
        fetcher = Fetcher()
        for number in range(5):
            answer = await fetcher.fetch("POST", f"{url}/a/b?c=d%20e", headers={"X-One": "1"}, body=b"%d" % number)
            assert (answer.status, answer.body) == (200, b"%d" % number)
        assert [len(idle) for idle in fetcher._idle.values()] == [1]
        assert {(asked.method, asked.path) for asked in heard} == {("POST", "/a/b")}
        assert heard[0].query == {"c": "d e"}
        assert heard[0].headers["x-one"] == "1"
        fetcher.close()

    play(story)


@pytest.mark.parametrize("url", ["http://[x", "http://a:99999/", "http://a:b/", "", "ftp://a/", "http:///a"])
def test_what_is_no_address_is_not_fetched(url: str) -> None:
    with pytest.raises(Unfetched, match="is no address of a web server"):
        asyncio.run(Fetcher().fetch("GET", url))


def test_a_connection_that_was_ended_meanwhile_is_not_used_again() -> None:
    async def story(url: str, heard: list[Asked]) -> None:
        fetcher = Fetcher()
        await fetcher.fetch("GET", url)
        for idle in fetcher._idle.values():
            idle[0].writer.transport.abort()
        await asyncio.sleep(0)
        assert (await fetcher.fetch("GET", url)).status == 200
        fetcher.close()

    play(story)


@pytest.mark.parametrize("reply", [Reply(0), Reply(200, b"slow", drips=True)], ids=["cut", "drips"])
def test_an_answer_that_does_not_come_whole_in_time_is_none(reply: Reply) -> None:
    async def story(url: str, heard: list[Asked]) -> None:
        fetcher = Fetcher()
        with pytest.raises(Unfetched):
            await fetcher.fetch("GET", url, deadline_s=0.2)
        assert not any(fetcher._idle.values())

    play(story, reply)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.0 200 OK\r\nServer: small\r\n\r\n", b""),
        (b"HTTP/1.0 200 OK\r\n\r\ntaken", b"taken"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\ntaken", b"taken"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\ntaken", None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ntaken", None),
        (b"HTTP/1.0 200 OK\r\nServer: sm", None),
        (b"", None),
    ],
)
def test_where_nothing_says_how_long_the_body_is_it_ends_with_the_connection(answer: bytes, body: bytes | None) -> None:
    async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(tell, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        fetcher = Fetcher()
        async with server:
            if body is None:
                with pytest.raises(Unfetched, match="ended before the answer did"):
                    await fetcher.fetch("GET", url)
            else:
                assert (await fetcher.fetch("GET", url)).body == body
            assert not any(fetcher._idle.values())

    asyncio.run(run())


def test_an_answer_that_is_too_long_is_none() -> None:
    async def story(url: str, heard: list[Asked]) -> None:
        with pytest.raises(Unfetched, match="more than 10 bytes"):
            await Fetcher().fetch("GET", url, bytes_max=10)

    play(story)


def test_a_header_with_a_line_break_is_not_sent() -> None:
    async def story(url: str, heard: list[Asked]) -> None:
        with pytest.raises(Unfetched, match="line break"):
            await Fetcher().fetch("GET", url, headers={"X": "a\r\nY: b"})
        assert not heard

    play(story)


def test_a_body_that_is_too_long_is_not_taken() -> None:
    async def story(url: str, heard: list[Asked]) -> None:
        with pytest.raises(Unfetched):
            await Fetcher().fetch("POST", url, body=bytes(70_000))
        assert not heard

    play(story)


def test_the_systems_authorities_are_read_once_and_not_on_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    real, threads = ssl.create_default_context, []

    def counted() -> ssl.SSLContext:
        threads.append(threading.current_thread())
        return real()

    async def story(url: str, heard: list[Asked]) -> None:
        fetchers = [Fetcher() for _ in range(3)]
        for _ in range(2):
            tries = [fetcher.fetch("GET", url.replace("http:", "https:")) for fetcher in fetchers]
            said = await asyncio.gather(*tries, return_exceptions=True)
            assert all(isinstance(one, Unfetched) for one in said), "the server speaks no TLS"
        for fetcher in fetchers:
            fetcher.close()

    monkeypatch.setattr(ssl, "create_default_context", counted)
    monkeypatch.setattr(fetch, "system_trust", SystemTrust())  # of a process that has asked nobody yet
    play(story)
    [thread] = threads
    assert thread is not threading.main_thread()
