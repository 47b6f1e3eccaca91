"""A real gate on loopback sockets whose clock, store and lots are in the test's hands.

Nothing here sleeps: an instant is set, a second passes when `advance` says so, and the store decides when it is let.
The client reads answers by the letter of RFC 9112, with code that shares nothing with the gate's.
"""

import asyncio
import json
import re
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable, Container, Mapping, Sequence
from contextlib import asynccontextmanager
from socket import SO_LINGER, SOL_SOCKET
from typing import Any
from unittest.mock import patch

import msgspec

from redrush.core.identity.proof_of_work import ProofOfWork
from redrush.core.identity.tickets import KeyRing, sign_ticket
from redrush.core.rush.campaign import Campaign, Kind, Leftover, Round, Slots
from redrush.core.rush.line import LineTerms
from redrush.gate.assembly import build_gate
from redrush.gate.campaign import Event
from redrush.gate.manners import Home
from redrush.http.answers import CONTINUE
from redrush.http.asking_limits import AskingLimits, AskingRules
from redrush.http.connection import Connection
from redrush.http.reader import Limits
from redrush.http.server import Server
from redrush.ports.store import (
    EMPTY,
    FIRST_HISTORY,
    Claim,
    Claimed,
    ClaimResult,
    Grant,
    History,
    HoldState,
    LogRecord,
    PotState,
    PotTerms,
    StoreFailed,
    Transfers,
)

OPENS_US = 1_800_000_000_000_000
"""2027-01-15T08:00:00Z, the opening of round r1."""
LASTS_US = 60_000_000
CLOSES_US = OPENS_US + LASTS_US
SECOND_US = 1_000_000

TICKET_RING = KeyRing("k1", {"k1": b"t" * 32})
RECEIPT_RING = KeyRing("k1", {"k1": b"r" * 32})
SEED = b"s" * 32
AMOUNTS_MINOR = (120, 5, 33_300, 700, 20_000)

BROWSER_HEADERS = (
    "Host: hongbao.example",
    "User-Agent: Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/126.0 Mobile Safari/537.36",
    "Accept: application/json",
    "Accept-Language: zh-CN,zh;q=0.9,en;q=0.8",
)


class ManualClock:
    """A clock that stands still until the test sets it."""

    def __init__(self, now_us: int) -> None:
        self.now_us = now_us

    def __call__(self) -> int:
        return self.now_us


class ScriptedStore:
    """A `redrush.ports.store.Store` in memory whose claims can be held back, or made to fail."""

    knows_all = True

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.fault: BaseException | None = None
        self._free = asyncio.Event()
        self._free.set()
        self._left: dict[str, deque[int]] = {}
        self._winners: dict[str, dict[str, Claimed]] = {}

    def hold(self) -> None:
        """Let every call wait from now on."""
        self._free.clear()

    def let_go(self) -> None:
        """Let the calls that wait, and later ones, be decided."""
        self._free.set()

    def fail(self) -> None:
        """Let the calls that wait, and later ones, fail."""
        self.fault = StoreFailed("the disk is gone")
        self._free.set()

    async def _decided(self) -> None:
        await self._free.wait()
        if self.fault is not None:
            raise self.fault

    def last_seq(self) -> int:
        return len(self.calls)

    def history(self) -> History:
        return FIRST_HISTORY

    async def open(self, pots: Sequence[PotTerms]) -> None:
        for terms in pots:
            self._left.setdefault(terms.pot, deque(range(terms.slots.first, terms.slots.end)))
            self._winners.setdefault(terms.pot, {})

    async def until_free(self) -> None:
        pass

    async def claim(self, claims: Sequence[Claim], at_us: int) -> list[ClaimResult]:
        self.calls.append(tuple(claim.user for claim in claims))
        # Like the real ones it decides at once, and knows what it decided before that is durable.
        results = [self._claim_one(claim.pot, claim.user, at_us) for claim in claims]
        await self._decided()
        return results

    def _claim_one(self, pot: str, user: str, at_us: int) -> ClaimResult:
        winners, left = self._winners[pot], self._left[pot]
        if user in winners:
            return winners[user]
        if not left:
            return EMPTY
        slot = left.popleft()
        winners[user] = Claimed(slot, at_us, repeat=True)
        return Claimed(slot, at_us, repeat=False)

    async def confirm(self, holds: Sequence[Grant], at_us: int) -> list[HoldState]:
        raise NotImplementedError("this store holds nothing")

    async def release(self, holds: Sequence[Grant], at_us: int) -> list[HoldState]:
        raise NotImplementedError("this store holds nothing")

    async def offer(self, pots: Sequence[str]) -> int:
        raise NotImplementedError("this store holds nothing")

    async def take(self, pot: str, count: int, transfer: str) -> tuple[Slots, ...]:
        raise NotImplementedError("the gate takes nothing")

    async def give(self, pot: str, slots: tuple[Slots, ...], transfer: str) -> None:
        for run in slots:
            self._left[pot].extend(range(run.first, run.end))

    async def transfers(self) -> Transfers:
        return Transfers({}, {})  # no gate moves slots

    async def find(self, pot: str, user: str, request: str = "") -> Claimed | None:
        await self._decided()
        return self._winners[pot].get(user)

    def known(self, pot: str) -> Mapping[str, Claimed]:
        return self._winners[pot]

    def holders(self, pot: str) -> Container[str]:
        return self._winners[pot]

    async def state(self, pot: str) -> PotState:
        return PotState(left=len(self._left[pot]), claimed_ever=len(self._winners[pot]))

    async def log(self, after: int, limit: int) -> list[LogRecord]:
        raise NotImplementedError("the gate reads no log")

    async def close(self) -> None:
        """There is nothing to close."""


class Answer(msgspec.Struct, frozen=True):
    """One HTTP answer as it came; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def outcome(self) -> Any:
        return self.json["outcome"]


_STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Za-z ]+\r\n")


def read_answer(received: bytes, *, to_head: bool = False) -> tuple[Answer, bytes] | None:
    """Return the first answer in what was received and the bytes after it, or None while it is incomplete.

    Fails the test if the bytes can never become an answer. A word before it that the body may come is passed over.
    `to_head`: the request was HEAD, so no body follows.
    """
    received = received.removeprefix(CONTINUE)
    head, blank, rest = received.partition(b"\r\n\r\n")
    if not blank:
        assert b"HTTP/1.1 ".startswith(received[:9]) or received.startswith(b"HTTP/1.1 "), received[:80]
        return None
    status = _STATUS_LINE.match(head + b"\r\n")
    assert status is not None, head[:80]
    lines = head.split(b"\r\n")[1:]
    headers = {}
    for line in lines:
        name, colon, value = line.decode("ascii").partition(": ")
        assert colon, line
        assert name.lower() not in headers, f"{name} stands twice"
        headers[name.lower()] = value
    size = 0 if to_head or int(status[1]) == 304 else int(headers["content-length"])
    if len(rest) < size:
        return None
    answer = Answer(int(status[1]), headers, rest[:size], head + blank + rest[:size])
    return answer, rest[size:]


class Client:
    """A raw socket: sends bytes as they are given, reads whole answers."""

    def __init__(self, gate: "RunningGate", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._gate = gate
        self._reader = reader
        self._writer = writer
        self._received = b""

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def send_in_pieces(self, *pieces: bytes) -> None:
        """Send so that the gate reads each piece by itself."""
        for piece in pieces:
            read_after = self._gate.bytes_seen + len(piece)
            await self.send(piece)
            while self._gate.bytes_seen < read_after:
                await asyncio.sleep(0)

    async def answer(self, *, to_head: bool = False) -> Answer:
        """Read the next answer; fails the test if the connection ends before it is whole."""
        while True:
            found = read_answer(self._received, to_head=to_head)
            if found is not None:
                self._received = found[1]
                return found[0]
            more = await self._reader.read(65_536)
            assert more, f"the connection ended in the middle of an answer: {self._received!r}"
            self._received += more

    async def next_bytes(self, count: int) -> bytes:
        """Return the next bytes as they are; fails the test if the connection ends before they came."""
        while len(self._received) < count:
            more = await self._reader.read(65_536)
            assert more, f"the connection ended after {self._received!r}"
            self._received += more
        found, self._received = self._received[:count], self._received[count:]
        return found

    async def ask(self, data: bytes) -> Answer:
        await self.send(data)
        return await self.answer()

    async def grab(self, user: str, round_id: str = "r1") -> Answer:
        return await self.ask(self._gate.grab(user, round_id))

    def end_sending(self) -> None:
        self._writer.write_eof()

    async def rest(self) -> bytes:
        """Read until the gate has closed the connection; returns what was still to be read."""
        rest, self._received = self._received, b""
        try:
            while more := await self._reader.read(65_536):
                rest += more
        except ConnectionError:
            pass
        return rest

    async def answers_until_closed(self) -> list[Answer]:
        rest, found = await self.rest(), []
        while rest:
            first = read_answer(rest)
            assert first is not None, f"the connection ended in the middle of an answer: {rest!r}"
            found.append(first[0])
            rest = first[1]
        return found

    async def closed(self) -> bool:
        """Whether the gate closes the connection without another byte."""
        return not await self.rest()

    def leave(self, *, reset: bool = False) -> None:
        """Close at once; with `reset` as a host does that has crashed, without the end of the stream."""
        if reset:
            self._writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
        self._gate.clients.discard(self)


class RunningGate:
    """The gate under test and the handles on it."""

    def __init__(
        self,
        *,
        limits: Limits,
        store: ScriptedStore,
        clock: ManualClock,
        audience: Container[str] | None,
        release_per_s: float | None,
        draw: Callable[[], float],
        packets: int,
        tickets: KeyRing,
        proof_of_work: ProofOfWork | None,
        asking: AskingRules,
        line: LineTerms | None,
    ) -> None:
        self.clock = clock
        self.store = store
        self.tickets = tickets
        self.faults: list[StoreFailed] = []
        self.unhandled: list[dict[str, Any]] = []
        self.bytes_seen = 0
        self.clients: set[Client] = set()
        self.campaign = Campaign(id="cny", name="春节", currency="CNY", rounds=rounds_of(packets, release_per_s, line))
        amounts = [AMOUNTS_MINOR[slot % len(AMOUNTS_MINOR)] for slot in range(2 * packets)]
        self.gate = build_gate(
            Event(self.campaign, amounts, tickets, RECEIPT_RING, audience, proof_of_work=proof_of_work, seed=SEED),
            limits,
            lambda round_: [Home("only", store, round_.slots)],
            now_us=clock,
            failed=self.faults.append,
            draw=draw,
            asking=AskingLimits(asking, lambda: clock.now_us / SECOND_US),
        )
        self.site = self.gate.site
        self.gauge = self.gate.gauge
        self.rounds = self.gate.rounds
        self.server = Server([self.gate.tick])

    async def start(self) -> None:
        gate = self

        class CountingConnection(Connection):
            """Tells the test how much the gate has read, so that it can hand over piece by piece."""

            def data_received(self, data: bytes) -> None:
                gate.bytes_seen += len(data)
                super().data_received(data)

        self._counting = patch("redrush.http.server.Connection", CountingConnection)
        self._counting.start()
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self.unhandled.append(context))
        for round_ in self.campaign.rounds:
            await self.rounds[round_.id].warm_up()
        self.port = await self.server.listen(self.site, "127.0.0.1", 0)

    async def stop(self) -> None:
        for client in tuple(self.clients):
            client.leave()
        await self.server.stop()
        self._counting.stop()
        assert self.unhandled == []

    # -- time

    def at(self, now_us: int) -> None:
        """Set the clock; the gate is not told."""
        self.clock.now_us = now_us

    def advance(self, seconds: float) -> None:
        """Let time pass, second by second, with the tick of each."""
        for _ in range(int(seconds)):
            self.clock.now_us += SECOND_US
            self.tick()

    def tick(self) -> None:
        self.site.tick()
        self.gate.tick()

    # -- clients

    async def connect(self) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        client = Client(self, reader, writer)
        self.clients.add(client)
        return client

    def ticket(self, user: str, lasts_s: int = 3_600) -> str:
        return sign_ticket(self.tickets, user, self.clock.now_us // SECOND_US + lasts_s)

    def grab(self, user: str, round_id: str = "r1", lasts_s: int = 3_600) -> bytes:
        return request("POST", f"/v1/rounds/{round_id}/grab", self.ticket(user, lasts_s))

    async def parked(self, count: int) -> None:
        """Return when so many claims wait for the store."""
        await until(lambda: self.gauge.parked == count)

    async def connected(self, count: int) -> None:
        """Return when the gate has so many connections."""
        await until(lambda: len(self.site.connections) == count)

    async def asked(self, times: int) -> None:
        """Return when the store has been asked to decide so many batches."""
        await until(lambda: len(self.store.calls) == times)

    async def still_serves(self) -> None:
        """Fail the test unless a good client gets its answers."""
        client = await self.connect()
        assert (await client.ask(request("GET", "/livez"))).json == {"status": "alive"}
        assert (await client.grab("good-client")).outcome in {"granted", "empty"}
        client.leave()


def request(
    method: str, target: str, ticket: str | None = None, body: bytes = b"", headers: Sequence[str] = ()
) -> bytes:
    """Return a request with a browser's headers; `headers` are extra lines."""
    lines = [f"{method} {target} HTTP/1.1", *BROWSER_HEADERS, *headers]
    if ticket is not None:
        lines.insert(3, f"Authorization: Bearer {ticket}")
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def to_this_machine(data: bytes) -> bytes:
    """Return the request as it is sent to a control port, which does not answer under a participants' name."""
    return data.replace(b"Host: hongbao.example", b"Host: localhost", 1)


async def until(holds: Callable[[], bool]) -> None:
    """Return as soon as it holds; the loop turns meanwhile. The time-out of the test run bounds it."""
    while not holds():
        await asyncio.sleep(0)


def rounds_of(packets: int, release_per_s: float | None, line: LineTerms | None = None) -> tuple[Round, ...]:
    return tuple(
        Round(
            id=f"r{index + 1}",
            opens_us=OPENS_US + index * 3_600 * SECOND_US,
            closes_us=OPENS_US + index * 3_600 * SECOND_US + LASTS_US,
            kind=Kind.LUCKY,
            total_minor=1,
            min_minor=1,
            max_minor=1,
            slots=Slots(index * packets, packets),
            leftover=Leftover.RETURN,
            release_per_s=release_per_s,
            line=line if index == 0 else None,
        )
        for index in range(2)
    )


@asynccontextmanager
async def running_gate(
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    store: ScriptedStore | None = None,
    now_us: int = OPENS_US,
    audience: Container[str] | None = None,
    release_per_s: float | None = None,
    draw: Callable[[], float] = lambda: 0.0,
    packets: int = 3,
    tickets: KeyRing = TICKET_RING,
    proof_of_work: ProofOfWork | None = None,
    asking: AskingRules = AskingRules(),  # noqa: B008 - frozen
    line: LineTerms | None = None,
) -> AsyncIterator[RunningGate]:
    """Run a gate with the rounds r1, open from `OPENS_US` for a minute, and r2 an hour later; `line` is before r1."""
    gate = RunningGate(
        limits=limits,
        store=store or ScriptedStore(),
        clock=ManualClock(now_us),
        audience=audience,
        release_per_s=release_per_s,
        draw=draw,
        packets=packets,
        tickets=tickets,
        proof_of_work=proof_of_work,
        asking=asking,
        line=line,
    )
    await gate.start()
    try:
        yield gate
    finally:
        await gate.stop()
