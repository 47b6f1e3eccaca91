"""The gate behind uvicorn: the same tickets, routes, claims, batches and store, with ASGI in place of our own HTTP.

It shows what the gate's own `asyncio.Protocol` is worth. Everything that could be spared is spared in favour of this
peer: no access log, no headers of uvicorn's own, heads of answers are parsed once per distinct head. What it lacks of
the gate (connection and pipelining limits, read deadlines, the public views' deadlines) costs it nothing.

Run as a process: `python -m redrush.drill.bench.asgi FILE DIR PORT`; prints `ready` when it is about to answer.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import uvloop

from redrush.config import load_campaign_file
from redrush.control.data_dir import DataDir
from redrush.http.reader import Request
from redrush.http.site import Site
from redrush.wiring.embedded import Embedded, Ports

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HEADS_REMEMBERED_MAX = 4_096
"""Distinct heads of answers: one per kind of loser and second, one per length of a grant and second."""
BACKLOG = 4_096
KEEP_ALIVE_S = 3_600


class Answer:
    """Where the gate puts the answer to a parked claim; the coroutine of the request waits for it."""

    __slots__ = ("_done",)
    address = b""

    def __init__(self) -> None:
        self._done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    @property
    def waiting(self) -> bool:
        """Whether the answer is still to come (see `redrush.http.route.Waiter`)."""
        return not self._done.done()

    def send(self, answer: bytes) -> None:
        """Take the answer (see `redrush.http.route.Waiter`)."""
        if not self._done.done():
            self._done.set_result(answer)

    async def wait(self) -> bytes:
        """Return the answer when it has come."""
        return await self._done


class GateApp:
    """An ASGI application over a gate's site."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        found = self._site.resolve(_request(scope))
        if isinstance(found, bytes):
            answer = found
        else:
            endpoint, user = found
            waiting = Answer()
            answer = endpoint.route.serve(waiting, user) or await waiting.wait()
        head, _, body = answer.partition(b"\r\n\r\n")
        status, headers = _parsed(head)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _request(scope: Scope) -> Request:
    ticket, content_type = None, b""
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, credentials = value.partition(b" ")
            if scheme.lower() == b"bearer":
                ticket = credentials.strip()
        elif name == b"content-type":
            content_type = value
    return Request(scope["method"].encode("ascii"), scope["raw_path"], ticket, content_type, b"", True)


@lru_cache(HEADS_REMEMBERED_MAX)
def _parsed(head: bytes) -> tuple[int, list[tuple[bytes, bytes]]]:
    """Return status and headers of an answer that the gate built."""
    status_line, *lines = head.split(b"\r\n")
    pairs = (line.partition(b": ") for line in lines)
    return int(status_line.split(b" ", 2)[1]), [(name.lower(), value) for name, _, value in pairs]


async def _serve(file: Path, data: Path, port: int) -> None:
    import uvicorn  # noqa: PLC0415 - a peer, not a dependency: only this process needs it

    embedded = Embedded(load_campaign_file(file), DataDir(data), Ports("127.0.0.1", 0, None))
    await embedded.start()
    config = uvicorn.Config(
        GateApp(embedded.gate.site),
        port=port,
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        ws="none",
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await uvicorn.Server(config).serve()
    await embedded.stop()


def main(arguments: list[str]) -> None:
    """Serve the event until SIGTERM."""
    file, data, port = arguments
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(Path(file), Path(data), int(port)))


if __name__ == "__main__":
    main(sys.argv[1:])
