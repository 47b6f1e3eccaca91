"""A clock that was set under a server, and operators who accept that clocks differ."""

import asyncio
import re
import time
from pathlib import Path
from typing import Any

from redrush.config import parse_campaign
from redrush.control.control_access import load_token
from redrush.control.data_dir import DataDir
from redrush.core.steering.switches import CLOCKS_APART_MAX
from redrush.http.ask import ControlAddress, ask
from redrush.wiring.embedded import Embedded, Ports
from tests.campaigns import a_round, campaign
from tests.clocks.event import HOST, FalseClock, KeptLog, get, running, soon, tickets_for
from tests.gate.world import read_answer, request

CAMPAIGN = campaign(a_round("r1", "1.00", 100, lasts="10m"), id="clocks")


async def grab(port: int, ticket: str) -> tuple[int, dict[str, Any]]:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(request("POST", "/v1/rounds/r1/grab", ticket))
        received = b""
        while (found := read_answer(received)) is None:
            received += await reader.read(65_536)
        return found[0].status, found[0].json
    finally:
        writer.close()


async def switch(data: DataDir, control_port: int, value: float | None) -> None:
    address = ControlAddress(HOST, control_port)
    body = {"value": value, "why": "test"}
    answered = await ask(address, load_token(data), "PUT", f"/v1/switches/{CLOCKS_APART_MAX}", body, 5.0)
    assert answered.status == 200, answered


async def until_granted(port: int, ticket: str) -> None:
    async def is_granted() -> bool:
        return (await grab(port, ticket))[1].get("outcome") == "granted"

    await soon(is_granted)


async def until_ready(control_port: int, *, ready: bool) -> str:
    """Return what `GET /readyz` says as soon as it is so, or is not."""
    said = ""

    async def is_so() -> bool:
        nonlocal said
        status, said = await get(control_port, "/readyz")
        return (status == 200) is ready

    await soon(is_so)
    return said


async def _corrected(directory: Path) -> None:
    clock, log = FalseClock(30.0), KeptLog()
    data = DataDir(directory / "data")
    embedded = Embedded(
        parse_campaign(CAMPAIGN, "c.toml"), data, Ports(HOST, 0, 0), clock=clock.process
    )  # opens = "now": by the wrong clock, in 30 s by the right one
    embedded._log = log
    ports = await embedded.start()
    users = iter(tickets_for(data, "u"))
    try:
        assert (await grab(ports["gate"], next(users)))[1]["outcome"] == "granted"
        assert (await get(ports["control"], "/readyz"))[0] == 200
        clock.set_wall(0.0)
        # From the next batch on, not from the next look on.
        status, said = await grab(ports["gate"], next(users))
        assert (status, said["outcome"]) == (200, "not_open")
        why = await until_ready(ports["control"], ready=False)
        assert "the system's clock was set and is 30.000 s behind that of this server" in why
        assert f"redrush switch set {CLOCKS_APART_MAX} MS" in why
        assert any("behind that of this server" in line for line in log.lines)
        metrics = (await get(ports["control"], "/metrics"))[1]
        assert re.search(r'redrush_clock_ahead_seconds\{clock="system"\} -(30.0|29.99)', metrics)
        assert "redrush_clock_in_doubt 1.0" in metrics

        await switch(data, ports["control"], 31_000)
        await until_granted(ports["gate"], next(users))
        assert (await get(ports["control"], "/readyz"))[0] == 200
        await switch(data, ports["control"], None)
        assert (await grab(ports["gate"], next(users)))[1]["outcome"] == "not_open"

        clock.set_wall(30.0)
        await until_granted(ports["gate"], next(users))
        await until_ready(ports["control"], ready=True)
        clock.set_wall(31.0 + 600.0)  # after the close by the system's clock
        status, said = await grab(ports["gate"], next(users))
        assert (status, "outcome" in said) == (503, False), "not final: nobody knows what time it is"
    finally:
        await embedded.stop()


def test_a_server_whose_clock_is_corrected_grants_only_while_both_say_open_and_says_so(tmp_path: Path) -> None:
    asyncio.run(_corrected(tmp_path))


async def _accepted(directory: Path) -> None:
    async with running(directory, 25.0, 60.0, {"gate": 30.0}) as event:
        wrong, right = event.gates
        users = iter(tickets_for(event.data, "u"))
        await wrong.names(r"30\.0|29\.9", "this gate")
        assert wrong.port is not None
        assert right.port is not None
        assert (await grab(wrong.port, next(users)))[0] == 503
        await switch(event.data, event.control.control_port, 31_000)
        await until_granted(wrong.port, next(users))
        assert time.time() < event.opens_s, "early by the set's time, as they were told"
        assert (await grab(right.port, next(users)))[1]["outcome"] == "not_open"
        assert ((await wrong.ready())[0], (await right.ready())[0]) == (200, 200)
        await switch(event.data, event.control.control_port, None)
        port = wrong.port

        async def is_refused() -> bool:
            return (await grab(port, next(users)))[0] == 503

        await soon(is_refused)


def test_operators_can_accept_a_deviation_and_take_it_back(tmp_path: Path) -> None:
    asyncio.run(_accepted(tmp_path))
