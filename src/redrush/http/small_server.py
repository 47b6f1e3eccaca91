"""A small HTTP/1.1 server for what is no rush: notices of providers, and the sandbox. Any method, headers and raw body.

The participants' server (`redrush.http.connection`) decides from a head what serves it and looks at bodies as JSON
only. A notice is verified over its raw bytes and its headers, and a sandbox has to misbehave; both see few requests. So
this one is streams and llhttp, bounded in connections, bytes and time.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import httptools
import msgspec

from redrush.http.sockets import Reserved

CONNECTIONS_MAX: Final = 1_024
BODY_BYTES_MAX: Final = 65_536
HEAD_BYTES_MAX: Final = 32_768
READ_MAX_S: Final = 10.0
"""For one request, whole."""
IDLE_MAX_S: Final = 75.0
SEND_MAX_S: Final = 10.0

_CHUNK_BYTES: Final = 65_536
_PHRASES: Final = {200: "OK", 204: "No Content", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}


class Asked(msgspec.Struct, frozen=True):
    """A request, whole. Names of headers are in small letters."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class Reply(msgspec.Struct, frozen=True):
    """What to answer. `status` 0: the connection is cut without a word; `drips`: byte for byte, a second each."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    drips: bool = False


Handler = Callable[[Asked], Awaitable[Reply]]


class _Request:
    """Collects what the parser finds."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.is_whole = False

    def on_url(self, part: bytes) -> None:
        self.url += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, part: bytes) -> None:
        self.body += part
        if len(self.body) > BODY_BYTES_MAX:
            raise ValueError("the body is too long")

    def on_message_complete(self) -> None:
        self.is_whole = True


class SmallServer:
    """See the module. `serve`, then `stop`."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()

    async def serve(self, reserved: Reserved) -> int:
        """Serve at a port that was taken before; returns the port."""
        for listening in reserved.sockets:
            self._servers.append(await asyncio.start_server(self._connected, sock=listening))
        return reserved.port

    async def stop(self) -> None:
        """Take no more connections and end those that there are."""
        for server in self._servers:
            server.close()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= CONNECTIONS_MAX:
            writer.transport.abort()
            return
        self._connections.add(task)
        try:
            with contextlib.suppress(OSError, TimeoutError, ValueError, httptools.HttpParserError):
                await self._answer_all(reader, writer)
        except asyncio.CancelledError:
            pass  # the server stops
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        keep_alive = True
        while keep_alive:
            read = await self._read(reader)
            if read is None:
                return
            asked, keep_alive = read
            reply = await self._handler(asked)
            if reply.status == 0:
                writer.transport.abort()
                return
            await _send(writer, reply, keep_alive=keep_alive)

    async def _read(self, reader: asyncio.StreamReader) -> tuple[Asked, bool] | None:
        """Return the next request, and whether another may follow; None: there is none."""
        request = _Request()
        parser = httptools.HttpRequestParser(request)
        async with asyncio.timeout(IDLE_MAX_S):
            part = await reader.read(_CHUNK_BYTES)
        read = 0
        async with asyncio.timeout(READ_MAX_S):
            while part:
                read += len(part)
                if read > HEAD_BYTES_MAX + 2 * BODY_BYTES_MAX:
                    raise ValueError("the request is too long")
                parser.feed_data(part)
                if request.is_whole:
                    break
                part = await reader.read(_CHUNK_BYTES)
        if not request.is_whole:
            return None
        url = urlsplit(request.url.decode("latin-1"))
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        asked = Asked(parser.get_method().decode("ascii"), url.path, query, request.headers, bytes(request.body))
        return asked, parser.should_keep_alive()


async def _send(writer: asyncio.StreamWriter, reply: Reply, *, keep_alive: bool) -> None:
    lines = [
        f"HTTP/1.1 {reply.status} {_PHRASES.get(reply.status, 'Said')}",
        f"Content-Type: {reply.content_type}",
        f"Content-Length: {len(reply.body)}",
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
        *(f"{name}: {value}" for name, value in reply.headers),
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    if reply.drips:
        for byte in reply.body:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(1)
        return
    writer.write(reply.body)
    async with asyncio.timeout(SEND_MAX_S):
        await writer.drain()
