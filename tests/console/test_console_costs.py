"""What a crowd feels of twenty operators with live pages: its 99th percentile with and without them, in turns."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest

from redrush.api.accounts import Accounts, Role
from redrush.control.data_dir import DataDir
from redrush.control.issuing import plan_tickets
from redrush.processes.loopback import free_port
from redrush.processes.server import ServerProcess
from tests.campaigns import OFF, a_round, campaign
from tests.console.console_world import BASE, FAR_S, OURS, PASSWORD, QUICK
from tests.console.test_console_soak import PEOPLE, console_of
from tests.gate.world import read_answer, request
from tests.patience import PATIENCE_S

RUN_S: Final = int(os.environ.get("REDRUSH_CONSOLE_SOAK_S", "120"))
TURNS: Final = 12
"""Half of them with operators, every other one: what else the machine does meets both alike."""
CLAIMS_PER_S: Final = 400
CONNECTIONS: Final = 8
RATIO_MAX: Final = 1.05


async def claims_on_one(port: int, tickets: list[str], from_s: float, every_s: float) -> list[float]:
    """Claim with each ticket at its instant; return how long after that instant each answer came, in seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    took, received = [], b""
    for number, ticket in enumerate(tickets):
        due_s = from_s + number * every_s
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        writer.write(request("POST", "/v1/rounds/r1/grab", ticket))
        while (found := read_answer(received)) is None:
            more = await reader.read(65_536)
            assert more, "the gate ended the connection"
            received += more
        answer, received = found
        assert answer.status == 200, answer.raw
        took.append(time.monotonic() - due_s)
    writer.close()
    return took


@asynccontextmanager
async def operators(port: int, cookie: str) -> AsyncIterator[list[int]]:
    """Let so many people look meanwhile; yields how many bytes each was sent."""
    came = [0] * PEOPLE

    async def look(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"GET /api/v1/live/stream HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: rr={cookie}\r\n"
        writer.write(f"{head}Sec-Fetch-Site: same-origin\r\n\r\n".encode())
        try:
            while part := await reader.read(65_536):
                came[number] += len(part)
        finally:
            writer.close()

    looking = [asyncio.create_task(look(number)) for number in range(PEOPLE)]
    try:
        yield came
    finally:
        for one in looking:
            one.cancel()
        await asyncio.gather(*looking, return_exceptions=True)


def p99_ms(took: list[float]) -> float:
    return sorted(took)[int(0.99 * len(took))] * 1e3


@pytest.mark.soak
async def test_a_crowd_feels_nothing_of_twenty_operators_who_look(tmp_path: Path) -> None:
    turn_s = RUN_S / TURNS
    each = int(turn_s * CLAIMS_PER_S / CONNECTIONS)
    users = [f"u{number}" for number in range(TURNS * CONNECTIONS * each)]
    (tmp_path / "c.toml").write_text(campaign(a_round("r1", f"{len(users)}.00", len(users)), tables=OFF))
    gate, console = free_port(), free_port()
    command = [sys.executable, "-m", "redrush", "serve", str(tmp_path / "c.toml"), "--data", str(tmp_path / "d")]
    server = ServerProcess([*command, "--port", str(gate), "--control-port", "0"], tmp_path / "log")
    server.start(PATIENCE_S)
    try:
        data_dir = DataDir(tmp_path / "d")
        tickets = [line.split("\t")[1] for line in plan_tickets(data_dir, users, None, "2h", FAR_S).lines()]
        Accounts(data_dir.accounts).add("root", Role.ADMIN, QUICK.hash(PASSWORD), 0)
        with console_of(data_dir.root, console):
            url = BASE.replace("8090", str(console))
            async with httpx.AsyncClient(base_url=url, headers=OURS, timeout=30) as client:
                assert (await client.post("/api/v1/session", json={"name": "root", "password": PASSWORD})).is_success
                cookie = str(client.cookies["rr"])
            took: dict[bool, list[float]] = {False: [], True: []}
            for turn in range(TURNS):
                mine = [[tickets.pop() for _ in range(each)] for _ in range(CONNECTIONS)]
                from_s, every_s = time.monotonic() + 0.5, CONNECTIONS / CLAIMS_PER_S
                crowd = (claims_on_one(gate, some, from_s + k / CLAIMS_PER_S, every_s) for k, some in enumerate(mine))
                if turn % 2:
                    async with operators(console, cookie) as came:
                        found = await asyncio.gather(*crowd)
                    assert min(came) > 1_000, "everybody saw it go on"
                else:
                    found = await asyncio.gather(*crowd)
                took[bool(turn % 2)] += [one for some in found for one in some]
    finally:
        server.kill()
    without_ms, with_ms = p99_ms(took[False]), p99_ms(took[True])
    sys.stdout.write(
        f"p99 of {len(took[True])} claims each, {CLAIMS_PER_S}/s: {without_ms:.2f} ms without, {with_ms:.2f} ms with "
        f"{PEOPLE} operators who look: {with_ms / without_ms:.3f}x\n"
    )
    assert with_ms <= RATIO_MAX * without_ms
