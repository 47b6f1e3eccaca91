"""The crowd's persistent connections: one request under way on each, no pipelining, re-made when they break.

A browser on a phone sends its next request on a connection only after the answer to the last one, so a connection is
either idle or busy. Which request goes where is the crowd's business; a connection only carries bytes and tells what
became of them.
"""

import asyncio
import random
import time
from collections import deque
from typing import Protocol, cast

from redrush.drill.answers import Answer, MalformedAnswer, closes_connection, read_answer
from redrush.drill.observations import Ending

CONNECTING_MAX = 64
"""Connections being made at once: below every listen backlog, so that set-up itself is no flood."""
RECONNECT_TRIES_MAX = 8
"""Failed attempts in a row before a connection is given up: with the backoff below, some ten seconds."""
BACKOFF_FIRST_S = 0.05
BACKOFF_MAX_S = 2.0
CONNECT_DEADLINE_S = 5.0


class Owner(Protocol):
    """What a connection reports to. Calls come from the event loop, never nested into `send`."""

    def connected(self, connection: "Connection") -> None:
        """The connection is idle for the first time."""

    def answered(self, connection: "Connection", answer: Answer, now_s: float) -> None:
        """The request under way got this answer; the connection is idle unless it is closing."""

    def broke(self, connection: "Connection", ending: Ending, now_s: float) -> None:
        """The request under way ended without an answer; the connection is lost."""

    def lost(self, connection: "Connection") -> None:
        """The connection is gone (after `broke`, if a request was under way)."""


class Connection(asyncio.Protocol):
    """One keep-alive connection. `intended_s` and so on describe the request under way while `busy`."""

    __slots__ = (
        "_data",
        "_owner",
        "_transport",
        "busy",
        "closed",
        "intended_s",
        "round_index",
        "sent_s",
        "tries",
        "user",
    )

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._data = b""
        self.busy = False
        self.closed = False
        self.intended_s = self.sent_s = 0.0
        self.round_index = self.user = self.tries = 0

    def send(self, request: bytes, now_s: float) -> None:
        """Write the bytes of one request. The connection must be idle."""
        assert self._transport is not None
        assert not self.busy
        self.busy = True
        self.sent_s = now_s
        self._transport.write(request)

    def abort(self, ending: Ending) -> None:
        """Drop the connection at once; a request under way ends with `ending`."""
        self.closed = True
        if self.busy:
            self.busy = False
            self._owner.broke(self, ending, time.perf_counter())
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._owner.connected(self)

    def data_received(self, data: bytes) -> None:
        if self._data:
            data = self._data + data
        try:
            answer = read_answer(data)
            if answer is None:
                self._data = data
                return
            if not self.busy or answer.end != len(data):
                raise MalformedAnswer("bytes that nobody asked for")
        except MalformedAnswer:
            self.abort(Ending.MALFORMED)
            return
        self._data = b""
        self.busy = False
        if answer.status != 200 and closes_connection(answer.head):
            self.closed = True
            if self._transport is not None:
                self._transport.close()
        self._owner.answered(self, answer, time.perf_counter())

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self.busy:
            self.busy = False
            self._owner.broke(self, Ending.LOST, time.perf_counter())
        self._owner.lost(self)


class ConnectionPool:
    """Keeps `size` connections to one address alive, and hands out the idle ones in turn.

    `made`, `reconnects` and `given_up` count what happened to them; a pool whose connections are all given up is dead.
    """

    def __init__(self, host: str, port: int, size: int, seed: int) -> None:
        self._host, self._port, self._size = host, port, size
        self._random = random.Random(seed)  # noqa: S311 - jitter, replayable by its seed
        self._connecting = asyncio.Semaphore(CONNECTING_MAX)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self.idle: deque[Connection] = deque()
        self.all: set[Connection] = set()
        self.made = self.reconnects = self.given_up = 0
        self.last_fault = ""

    async def open(self, owner: Owner) -> None:
        """Make all connections; returns when each is made or given up."""
        await asyncio.gather(*(self._connect(owner, first=True) for _ in range(self._size)))

    @property
    def dead(self) -> bool:
        """Whether no connection is left and none is being made."""
        return not self.all and not self._tasks

    def replace(self, owner: Owner, connection: Connection) -> None:
        """Make a new connection in the place of a lost one, in the background, with backoff."""
        self.all.discard(connection)
        if not self._closing:
            self.reconnects += 1
            task = asyncio.get_running_loop().create_task(self._connect(owner, first=False))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Drop all connections and attempts."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in tuple(self.all):
            connection.abort(Ending.LOST)
        self.all.clear()
        self.idle.clear()

    async def _connect(self, owner: Owner, *, first: bool) -> None:
        loop = asyncio.get_running_loop()
        for tries in range(RECONNECT_TRIES_MAX):
            if tries or not first:
                await asyncio.sleep(self._random.uniform(0, min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2**tries)))
            try:
                async with self._connecting, asyncio.timeout(CONNECT_DEADLINE_S):
                    _, connection = await loop.create_connection(lambda: Connection(owner), self._host, self._port)
            except OSError as error:  # includes TimeoutError
                self.last_fault = str(error) or type(error).__name__
                continue
            if not connection.closed:
                self.all.add(connection)
            self.made += 1
            return
        self.given_up += 1
