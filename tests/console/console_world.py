"""A console over an event, in this process: with the real server beside it, or with its files alone."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
from argon2 import PasswordHasher

from redrush.api.accounts import Role
from redrush.api.app import behind_door, make_app
from redrush.api.desk import Desk
from redrush.api.passwords import Passwords
from redrush.config import parse_campaign
from redrush.console.pages import PAGES, fault_page
from redrush.control.data_dir import DataDir
from redrush.control.event import prepare_event
from redrush.control.issuing import plan_tickets
from redrush.wiring.clock import system_clock
from redrush.wiring.embedded import Embedded, Ports
from tests.campaigns import OFF, a_round, campaign
from tests.gate.world import Answer, read_answer, request

TEXT: Final = campaign(
    a_round("r1", "100.00", 1_000),
    a_round("r2", "1.00", 10, opens="2090-01-01T00:00:00Z"),
    tables=f"""\
{OFF}
[[playbook]]
name = "calm"
description = "no packets, no queries"
[playbook.settings]
"release.r1.per_second" = 0
sampling.non_core = 0
""",
)
BASE: Final = "http://127.0.0.1:8090"
OURS: Final = {"Sec-Fetch-Site": "same-origin"}
FAR_S: Final = 4_000_000_000
PEOPLE: Final = {"vera": Role.VIEWER, "olga": Role.OPERATOR, "otto": Role.OPERATOR, "anna": Role.ADMIN}
QUICK: Final = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
"""Argon2 that takes a moment only; how strong it is elsewhere is its own default."""
PASSWORD: Final = "correct-horse-battery"


class World:
    """A console, and who uses it. `clock_us` can be moved."""

    def __init__(self, data_dir: DataDir, ports: dict[str, int]) -> None:
        self.data_dir = data_dir
        self.ports = ports
        self.ahead_us = 0
        self.desk = Desk(data_dir, None, lambda: system_clock().now_us() + self.ahead_us)
        self.desk.people.passwords = Passwords(QUICK)
        for name, role in PEOPLE.items():
            if self.desk.accounts.person(name) is None:
                self.desk.accounts.add(name, role, "no hash, so no password is right", self.desk.now_s())
        self.app = make_app(self.desk, secure=False, further=PAGES, elsewhere=fault_page)
        self.served: Any = behind_door(self.app, ())

    def client(self, name: str | None = None, **headers: str) -> httpx.AsyncClient:
        """Return a browser in which this person is logged in."""
        cookies = {} if name is None else {"rr": self.session_of(name)}
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.served, raise_app_exceptions=False),
            base_url=BASE,
            cookies=cookies,
            headers={**OURS, **headers},
        )

    def session_of(self, name: str) -> str:
        """Return the cookie of a new login of this person."""
        person = self.desk.accounts.person(name)
        assert person is not None
        return self.desk.sessions.begin(name, "127.0.0.1", "test", person.since)

    async def ask(self, data: bytes) -> Answer:
        """Ask the participants' port."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports["gate"])
        writer.write(data)
        received = b""
        while (found := read_answer(received)) is None:
            more = await reader.read(65_536)
            assert more, received
            received += more
        writer.close()
        return found[0]

    async def grab(self, user: str, round_id: str = "r1") -> str:
        """Return what became of a claim."""
        ticket = next(plan_tickets(self.data_dir, [user], None, "2h", FAR_S).lines()).split("\t")[1]
        return str((await self.ask(request("POST", f"/v1/rounds/{round_id}/grab", ticket))).json["outcome"])


async def post(client: httpx.AsyncClient, path: str, status: int = 200, **fields: Any) -> Any:
    """Ask the API for a change, and return the answer, which has this status."""
    answer = await client.post(f"/api/v1{path}", json=fields)
    assert answer.status_code == status, answer.text
    return json.loads(answer.text) if answer.text else None


async def get(client: httpx.AsyncClient, path: str, status: int = 200) -> Any:
    answer = await client.get(f"/api/v1{path}")
    assert answer.status_code == status, answer.text
    return answer.json()


async def change(client: httpx.AsyncClient, **asked: Any) -> dict[str, Any]:
    """Preview a change and make it."""
    seen = await post(client, "/changes/preview", **asked)
    done = await post(client, "/changes", token=seen["token"], why="test", typed=seen["type_name"] or "")
    found: dict[str, Any] = done
    return found


@asynccontextmanager
async def without_server(directory: Path, text: str = TEXT) -> AsyncIterator[World]:
    """Yield a console over the files of an event that nobody serves."""
    data_dir = DataDir(directory)
    data_dir.create()
    prepare_event(parse_campaign(text, "c.toml"), data_dir, system_clock().now_us)
    world = World(data_dir, {})
    try:
        yield world
    finally:
        await world.desk.stop()


@asynccontextmanager
async def served(directory: Path, text: str = TEXT) -> AsyncIterator[dict[str, int]]:
    """Run a server without a console; yield its ports."""
    embedded = Embedded(parse_campaign(text, "c.toml"), DataDir(directory), Ports("127.0.0.1", 0, 0))
    ports = await embedded.start()
    try:
        yield ports
    finally:
        await embedded.stop()


@asynccontextmanager
async def with_server(directory: Path, text: str = TEXT) -> AsyncIterator[World]:
    """Yield a console over a running server."""
    async with served(directory, text) as ports:
        world = World(DataDir(directory), ports)
        yield world
        await world.desk.stop()
