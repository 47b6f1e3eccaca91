"""A small real server that speaks the contract of `POST /v1/rounds/{round}/grab`, for tests of the crowd.

It answers over real sockets from memory, and can be told to stall, refuse, drop connections or lie.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import cast

import msgspec


class ServerRound:
    """One round: packets in order, the first grant of each user kept."""

    def __init__(self, name: str, packets: int, opens_s: float, closes_s: float, miss_first: int = 0) -> None:
        self.name, self.packets, self.opens_s, self.closes_s = name, packets, opens_s, closes_s
        self.miss_first = miss_first
        self.misses: dict[str, int] = {}
        self.slots: dict[str, int] = {}

    def grab(self, user: str) -> dict[str, object]:
        now_s = time.time()
        if now_s < self.opens_s:
            return {"outcome": "not_open", "opens_at": instant(self.opens_s)}
        if user in self.slots:
            return self.granted(user, repeat=True)
        if now_s >= self.closes_s:
            return {"outcome": "closed"}
        if len(self.slots) >= self.packets:
            return {"outcome": "empty"}
        if self.misses.setdefault(user, 0) < self.miss_first:
            self.misses[user] += 1
            return {"outcome": "missed"}
        self.slots[user] = len(self.slots)
        return self.granted(user, repeat=False)

    def granted(self, user: str, *, repeat: bool) -> dict[str, object]:
        slot = self.slots[user]
        grant = {
            "id": f"t-{self.name}-{slot}", "round": self.name, "slot": slot, "amount": f"{slot % 7 + 1}.00",
            "currency": "CNY", "granted_at": instant(self.opens_s), "receipt": f"receipt-{slot}",
        }  # fmt: skip
        return {"outcome": "granted", "grant": grant, "repeat": repeat}


def instant(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Reply = tuple[int, dict[str, str], bytes]
Twist = Callable[["ServerConnection", str, str], Reply | None]
"""Called with (connection, round, user) before the normal answer; a reply from it goes out instead."""


def refusal(status: int, **headers: str) -> Reply:
    """A refusal as the contract has it; `Retry_After` becomes Retry-After."""
    fields = {"Content-Type": "application/problem+json", **{k.replace("_", "-"): v for k, v in headers.items()}}
    problem = {"type": "about:blank", "title": "No", "status": status, "detail": "not now"}
    return status, fields, msgspec.json.encode(problem)


class RushServer:
    """`port` after start; `requests` counts complete requests; `stall_until_s` holds all answers back."""

    def __init__(self, *rounds: ServerRound, twist: Twist | None = None) -> None:
        self.rounds = {r.name: r for r in rounds}
        self.twist = twist
        self.requests = 0
        self.stall: tuple[float, float] = (0.0, 0.0)
        self.port = 0

    def answer(self, connection: "ServerConnection", round_id: str, user: str) -> Reply:
        self.requests += 1
        reply = self.twist(connection, round_id, user) if self.twist else None
        if reply is not None:
            return reply
        return 200, {}, msgspec.json.encode(self.rounds[round_id].grab(user))


class ServerConnection(asyncio.Protocol):
    def __init__(self, server: RushServer) -> None:
        self.server = server
        self.data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            head, self.data = self.data[:end].decode(), self.data[end + 4 :]
            line, *fields = head.split("\r\n")
            headers = dict(field.split(": ", 1) for field in fields)
            assert len(headers) == 12
            assert headers["Content-Length"] == "0"
            user = headers["Authorization"].removeprefix("Bearer ticket-of-")
            status, extra, body = self.server.answer(self, line.split(" ")[1].split("/")[3], user)
            lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *(f"{k}: {v}" for k, v in extra.items())]
            self.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def write(self, data: bytes) -> None:
        begins_s, ends_s = self.server.stall
        now_s = time.time()
        if begins_s <= now_s < ends_s:
            asyncio.get_running_loop().call_later(ends_s - now_s, self.transport.write, data)
        else:
            self.transport.write(data)


@asynccontextmanager
async def serving(server: RushServer) -> AsyncIterator[RushServer]:
    listening = await asyncio.get_running_loop().create_server(lambda: ServerConnection(server), "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


def tickets_for(count: int) -> list[tuple[str, str]]:
    return [(f"u{number}", f"ticket-of-u{number}") for number in range(count)]
