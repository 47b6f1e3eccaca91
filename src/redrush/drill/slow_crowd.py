"""Clients that hold connections and hardly use them, in a process of their own (slowloris and its relatives).

A third each: *headers* come a byte at a time and never end; a *body* is announced and then comes a byte at a time;
*readers* ask for more answers than their receive buffer takes, and read a byte at a time. Who is cut off comes again
after a moment, so their number stays. They are told to come and to go, and tell how many are there.
"""

import asyncio
import multiprocessing
import os
import socket
from collections import Counter, deque
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Final, cast

import msgspec
import uvloop

from redrush.errors import RedrushError
from redrush.processes.side import end, start_deaf

KINDS: Final = ("headers", "body", "reader")
DRIP_S: Final = 1.0
"""From one byte to the next."""
TICK_S: Final = 0.01
"""Short, so that their bytes come evenly: a burst would keep the good crowd from its core, and look like the server."""
TICKS_PER_DRIP: Final = round(DRIP_S / TICK_S)
TICKS_PER_NEWS: Final = 20
NICENESS: Final = 10
"""What they do is little and may be late; the good ones are timed on the same core."""
AGAIN_S: Final = 1.0
"""How long one who was cut off stays away."""
CONNECTS_MAX: Final = 20
"""Connections begun in one tick: two thousand a second, below every listen backlog."""
RECEIVE_BYTES: Final = 2_048
"""Receive buffer of a reader; the kernel makes at least some two thousand of it."""
CONNECT_DEADLINE_S: Final = 5.0
STARTS_WITHIN_S: Final = 60.0
"""For the process to be there: a busy machine takes seconds to start a Python."""
ASKED_AT_ONCE: Final = 8
"""Requests that a reader sends before it reads: some three times the answers that its buffer takes. Dozens would make
it a flood, which is another thing than being slow, and what the limit of an address is for."""


class SlowCrowdFailed(RedrushError):
    """The process of the slow clients did not start."""


class SlowPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to bother, and with how many. `ticket` is a good one: what it opens they may ask for."""

    host: str
    port: int
    round: str
    ticket: str
    clients: int
    niceness: int = NICENESS


class SlowNews(msgspec.Struct, frozen=True):
    """How many are connected now, and what happened so far."""

    connected: int = 0
    made: int = 0
    failed: int = 0
    """Connections that were refused or timed out."""
    told: int = 0
    """Connections on which the server said something before it ended them (headers and body: a refusal)."""
    cut: int = 0
    """Connections that the server ended without a word."""


class SlowCrowd:
    """A context, for the main thread. Nobody comes before `come`."""

    def __init__(self, plan: SlowPlan, core: int | None) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, self._child_pipe = spawn.Pipe()
        self._process = spawn.Process(target=_run, args=(plan, self._child_pipe, core), daemon=True, name="slow crowd")
        self.news = SlowNews()

    def __enter__(self) -> "SlowCrowd":
        """Return when the process is there to be told. Raises SlowCrowdFailed if it does not come in time, or ends."""
        start_deaf(self._process)
        self._child_pipe.close()
        try:
            if self._pipe.poll(STARTS_WITHIN_S):
                self.news = self._pipe.recv()
                return self
            why = f"said nothing for {STARTS_WITHIN_S:g} s"
        except (EOFError, ConnectionResetError):
            why = "ended at once"
        self.__exit__(None, None, None)
        raise SlowCrowdFailed(f"the process of the slow clients {why}")

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.close()  # which ends it
        end(self._process)

    def be(self, there: bool) -> None:
        """Let them come, or go; said again, it changes nothing."""
        self._pipe.send(there)

    def listen(self) -> SlowNews:
        """Return the newest that was told."""
        while self._pipe.poll(0):
            self.news = self._pipe.recv()
        return self.news


def _run(plan: SlowPlan, pipe: "Connection[object, object]", core: int | None) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})
    os.nice(plan.niceness)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_Crowd(plan, pipe).run())
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent has left


class _Crowd:
    def __init__(self, plan: SlowPlan, pipe: "Connection[object, object]") -> None:
        self._plan = plan
        self._pipe = pipe
        self._there = False
        self.open: tuple[set[_Slow], ...] = tuple(set() for _ in range(TICKS_PER_DRIP))
        """Who is connected, by the tick in which they drip."""
        self.counts: Counter[str] = Counter()
        self._due_s: deque[float] = deque()
        """When each who is not connected comes again."""
        self._connecting: set[asyncio.Task[None]] = set()
        self._kinds = deque(KINDS)

    async def run(self) -> None:
        """Go on until the parent leaves: EOFError then."""
        tick = 0
        while True:
            while self._pipe.poll(0):
                self._turn(self._pipe.recv() is True)
            if self._there:
                self._connect()
                for client in tuple(self.open[tick % TICKS_PER_DRIP]):
                    client.drip()
            if tick % TICKS_PER_NEWS == 0:
                counts, connected = self.counts, sum(map(len, self.open))
                self._pipe.send(SlowNews(connected, counts["made"], counts["failed"], counts["told"], counts["cut"]))
            tick += 1
            await asyncio.sleep(TICK_S)

    def _turn(self, there: bool) -> None:
        if there == self._there:
            return
        self._there = there
        self._due_s.clear()
        if there:
            self._due_s.extend([0.0] * self._plan.clients)
            return
        for task in self._connecting:
            task.cancel()
        for clients in self.open:
            for client in clients:
                client.leave()
            clients.clear()

    def _connect(self) -> None:
        now_s = asyncio.get_running_loop().time()
        for _ in range(CONNECTS_MAX):
            if not self._due_s or self._due_s[0] > now_s:
                return
            self._due_s.popleft()
            self._kinds.rotate()
            task = asyncio.create_task(self._one(self._kinds[0]))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _one(self, kind: str) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as its_socket:
            its_socket.setblocking(False)
            if kind == "reader":
                its_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
            try:
                async with asyncio.timeout(CONNECT_DEADLINE_S):
                    await loop.sock_connect(its_socket, (self._plan.host, self._plan.port))
                own = its_socket.dup()
                await loop.create_connection(lambda: _Slow(self, kind, self._plan), sock=own)
            except OSError:  # includes TimeoutError
                self.counts["failed"] += 1
                self.again()

    def again(self) -> None:
        """One who has lost their connection comes back, if they still are to be there."""
        if self._there:
            self._due_s.append(asyncio.get_running_loop().time() + AGAIN_S)


class _Slow(asyncio.Protocol):
    def __init__(self, crowd: _Crowd, kind: str, plan: SlowPlan) -> None:
        self._crowd = crowd
        self._kind = kind
        self._plan = plan
        self._leaving = False
        self._told = False
        self._others = crowd.open[crowd.counts["made"] % TICKS_PER_DRIP]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._others.add(self)
        self._crowd.counts["made"] += 1
        self._transport.write(_opening(self._kind, self._plan))
        if self._kind == "reader":
            self._transport.pause_reading()

    def drip(self) -> None:
        """Do what little it does."""
        if self._kind != "reader":
            self._transport.write(b"x")
            return
        its_socket = self._transport.get_extra_info("socket")
        if its_socket is None:  # it was closed in this turn of the loop, and is about to be told
            return
        try:
            # The transport has stopped reading, so nobody else reads from its socket.
            if not os.read(its_socket.fileno(), 1):
                self._transport.abort()
        except BlockingIOError:
            return
        except OSError:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._told = True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._leaving:
            return
        self._others.discard(self)
        self._crowd.counts["told" if self._told else "cut"] += 1
        self._crowd.again()

    def leave(self) -> None:
        """End the connection, for good."""
        self._leaving = True
        self._transport.abort()


def _opening(kind: str, plan: SlowPlan) -> bytes:
    host = f"Host: {plan.host}:{plan.port}\r\n"
    if kind == "reader":
        return f"GET /v1/policy HTTP/1.1\r\n{host}\r\n".encode() * ASKED_AT_ONCE
    grab = f"POST /v1/rounds/{plan.round}/grab HTTP/1.1\r\n{host}Authorization: Bearer {plan.ticket}\r\n"
    if kind == "headers":
        return f"{grab}X-Slow: ".encode()
    return f"{grab}Content-Type: application/json\r\nContent-Length: 4000\r\n\r\n".encode()
