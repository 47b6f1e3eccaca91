"""A real server with packets between people, whose clock the test sets on, and people who ask it over HTTP."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from redrush.config import PaymentsFile, load_campaign_file
from redrush.control.data_dir import DataDir
from redrush.control.issuing import plan_tickets
from redrush.core.rush.phase import SteadyClock
from redrush.operate.data_dir_reports import reconcile_data_dir
from redrush.wiring.embedded import Embedded, Ports
from tests import openapi
from tests.campaigns import OFF, a_round, campaign
from tests.gate.world import Answer, read_answer, request
from tests.patience import PATIENCE_S

JSON = ("Content-Type: application/json",)
SECOND_US = 1_000_000


def text(group: str = "", *, total: str = "1000.00", packets: int = 10, share: str = "") -> str:
    """Return a campaign of one round, whose packets are alike, and a `[group]`; `share`: what winners share."""
    shared = f"[round.share]\n{share}\n" if share else ""
    return campaign(a_round(total=total, packets=packets) + shared, tables=f"{OFF}[group]\n{group}\n")


class People:
    """Whoever asks the server."""

    def __init__(self, directory: Path, embedded: Embedded, port: int) -> None:
        self.embedded = embedded
        self._data_dir = DataDir(directory)
        self.port = port
        self._tickets: dict[str, str] = {}

    def ticket(self, user: str) -> str:
        if user not in self._tickets:
            line = next(plan_tickets(self._data_dir, [user], None, "9d", int(time.time())).lines())
            self._tickets[user] = line.split("\t")[1]
        return self._tickets[user]

    async def ask(self, user: str, method: str, path: str, **fields: Any) -> Answer:
        body = json.dumps(fields).encode() if fields else b""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request(method, f"/v1{path}", self.ticket(user), body, JSON if body else ()))
            received = b""
            while (found := read_answer(received)) is None:
                more = await reader.read(65_536)
                assert more, received
                received += more
            openapi.check(method, f"/v1{path}", found[0])
            return found[0]
        finally:
            writer.close()

    async def insist(self, user: str, method: str, path: str, **fields: Any) -> Answer:
        """Ask as clients do: a server that is too busy to say is asked again. What makes something has to be named."""
        async with asyncio.timeout(PATIENCE_S):
            while (answer := await self.ask(user, method, path, **fields)).status == 503:
                await asyncio.sleep(0.05)
        return answer

    async def win(self, *users: str) -> None:
        """Let them win in the round, and wait until that is recorded."""
        for user in users:
            assert (await self.ask(user, "POST", "/rounds/r1/grab")).outcome == "granted"
        await self.recorded()

    async def recorded(self) -> None:
        """Return when all that happened is in the records."""
        await self.embedded.event.recorder.caught_up()

    async def create(self, user: str, total: str = "10.00", count: int = 3, **fields: Any) -> str:
        """Create a packet, and return its id."""
        answer = await self.ask(user, "POST", "/packets", total=total, count=count, **fields)
        assert answer.status == 200, answer.raw
        assert answer.json["state"] == "unpaid"
        packet: str = answer.json["id"]
        return packet

    async def send(self, user: str, total: str = "10.00", count: int = 3, **fields: Any) -> str:
        """Create a packet that can be paid, and return its id once it is open."""
        packet = await self.create(user, total, count, **fields)
        await self.until(user, packet, "open")
        return packet

    async def until(self, user: str, packet: str, state: str) -> Any:
        """Look at the packet until it is so; return what is told of it."""
        async with asyncio.timeout(PATIENCE_S):
            while (told := await self.look(user, packet))["state"] != state:
                await asyncio.sleep(0.01)
        return told

    async def look(self, user: str, packet: str) -> Any:
        return (await self.insist(user, "GET", f"/packets/{packet}")).json

    async def grab(self, user: str, packet: str, **fields: Any) -> Answer:
        return await self.ask(user, "POST", f"/packets/{packet}/grab", **fields)

    async def balance(self, user: str) -> str:
        await self.recorded()
        balance: str = (await self.insist(user, "GET", "/packets/terms")).json["balance"]
        return balance


class Skipping:
    """The monotonic clock, set on by the test."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return time.monotonic_ns() + self.ns

    def skip(self, seconds: float) -> None:
        self.ns += int(seconds * 1e9)


@asynccontextmanager
async def group_server(
    directory: Path, group: str = "", clock: Skipping | None = None, payments: PaymentsFile | None = None, **fields: Any
) -> AsyncIterator[People]:
    """Run a server with this `[group]`, as `serving` does."""
    file = directory / "c.toml"
    file.write_text(text(group, **fields))
    async with serving(file, directory, clock, payments) as people:
        yield people


@asynccontextmanager
async def serving(
    file: Path, directory: Path, clock: Skipping | None = None, payments: PaymentsFile | None = None
) -> AsyncIterator[People]:
    """Run the server; at the end its records must agree with its journal."""
    clock = clock or Skipping()
    steady = SteadyClock(clock, (time.time_ns() + clock.ns) // 1_000)
    data_dir = DataDir(directory)
    ports_ = Ports("127.0.0.1", 0, None)
    embedded = Embedded(load_campaign_file(file), data_dir, ports_, payments=payments, clock=steady)
    ports = await embedded.start()
    try:
        yield People(directory, embedded, ports["gate"])
    finally:
        await embedded.stop()
    report = await asyncio.to_thread(reconcile_data_dir, data_dir)
    assert report.ok, report.problems
