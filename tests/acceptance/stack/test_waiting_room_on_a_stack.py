"""A waiting room over the processes of a stack: one line for both gates, moved by the control role."""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Iterator
from typing import Any, Final

import pytest

from redrush.core.rush.serving import CATCH_UP_S
from tests.acceptance.stack.running_stack import RunningStack, kill, stack_up
from tests.campaigns import OFF, a_round, campaign
from tests.gate.world import Answer, read_answer, request
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.soak

PACE: Final = 40.0
PEOPLE: Final = 240
LINE: Final = f"""\
[round.line]
pace = {PACE:g}
order = "fifo"
grace = "20s"
"""
CAMPAIGN: Final = campaign(a_round(total="1000.00", packets=10_000) + LINE, id="line", tables=OFF)
JSON: Final = ("Content-Type: application/json",)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    directory = tmp_path_factory.mktemp("line")
    (directory / "c.toml").write_text(CAMPAIGN)
    with stack_up(directory / "c.toml", directory / "d", "--sets", 1, "--gates", 2) as running:
        yield running


async def _ask(port: int, path: str, ticket: str | None, body: Any = None) -> Answer:
    """Ask over a connection of its own: the kernel gives it to one gate or the other."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = b"" if body is None else json.dumps(body).encode()
    method = "GET" if ticket is None else "POST"
    writer.write(request(method, f"/v1/rounds/r1{path}", ticket, data, JSON if data else ()))
    received = b""
    while (found := read_answer(received)) is None:
        more = await reader.read(65_536)
        assert more, received
        received += more
    writer.close()
    return found[0]


async def _come_in(port: int, ticket: str) -> tuple[int, float, str]:
    """Join, wait for one's turn, and go in; return the place, when that was, and the ticket to claim with."""
    joined = (await _ask(port, "/line", ticket)).json
    async with asyncio.timeout(PATIENCE_S):
        while True:
            serving = (await _ask(port, "", None)).json["line"]["serving"]
            if serving >= joined["place"]:
                entered = (await _ask(port, "/enter", ticket, {"pass": joined["pass"]})).json
                if entered["outcome"] == "admitted":
                    return joined["place"], time.monotonic(), entered["ticket"]
                assert entered["outcome"] == "waiting", "the other gate has not heard of it yet"
            await asyncio.sleep(0.2)


async def _all(tasks: list[Awaitable[Any]]) -> list[Any]:
    return await asyncio.gather(*tasks)


def test_both_gates_have_one_line_that_lets_people_in_at_its_pace_and_in_order(stack: RunningStack) -> None:
    tickets = list(stack.tickets([f"u{number}" for number in range(PEOPLE)]).values())
    began_s = time.monotonic()
    entered = asyncio.run(_all([_come_in(stack.port, ticket) for ticket in tickets]))
    took_s = max(at_s for _, at_s, _ in entered) - began_s
    assert (PEOPLE - PACE * CATCH_UP_S) / took_s < PACE * 1.1, "but for the second that an empty line has saved"
    assert took_s < PEOPLE / PACE + 8
    by_place = sorted(entered)
    early, late = by_place[: PEOPLE // 4], by_place[-PEOPLE // 4 :]
    assert max(at_s for _, at_s, _ in early) < min(at_s for _, at_s, _ in late) + 1.0
    claimed = asyncio.run(_all([_ask(stack.port, "/grab", ticket) for _, _, ticket in entered[:40]]))
    assert {answer.outcome for answer in claimed} == {"granted"}
    refused = asyncio.run(_all([_ask(stack.port, "/grab", ticket) for ticket in tickets[:8]]))
    assert {answer.status for answer in refused} == {409}
    states = asyncio.run(_all([_ask(stack.port, "", None) for _ in range(8)]))
    assert {state.json["line"]["joined"] for state in states} == {PEOPLE}, "both gates say how many there are in all"


def test_killing_the_control_role_and_a_gate_takes_nobodys_place(stack: RunningStack) -> None:
    ticket = stack.tickets(["ann"])["ann"]
    before = asyncio.run(_ask(stack.port, "", None)).json["line"]
    pids = {one["name"]: one["pid"] for one in stack.processes()}
    kill(next(pid for name, pid in pids.items() if name.startswith("control")))
    kill(next(pid for name, pid in pids.items() if name.startswith("gate")))
    joined = asyncio.run(_until_joined(stack.port, ticket))
    asyncio.run(_come_in_with(stack.port, ticket, joined))
    after = asyncio.run(_until_told(stack.port))
    assert after["serving"] > before["serving"]
    assert after["joined"] >= PEOPLE


async def _until_told(port: int) -> Any:
    """Return the state of the line as a gate tells it that has heard of the control role."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(OSError, AssertionError):
                if (line := (await _ask(port, "", None)).json["line"])["joined"]:
                    return line
            await asyncio.sleep(0.2)


async def _until_joined(port: int, ticket: str) -> Any:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(OSError, AssertionError):
                return (await _ask(port, "/line", ticket)).json
            await asyncio.sleep(0.2)


async def _come_in_with(port: int, ticket: str, joined: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(OSError, AssertionError):  # of the gate that was killed
                if (await _ask(port, "/enter", ticket, {"pass": joined["pass"]})).json["outcome"] == "admitted":
                    return
            await asyncio.sleep(0.2)
