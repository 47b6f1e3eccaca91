"""Whoever's clock is wrong, by how much and since when: nothing is granted before the opening or after the close by the
set's time, and who deviates is named in readiness, log and metrics within two seconds."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import product
from pathlib import Path
from typing import Final

import pytest

from redrush.ports.store import StoreUnavailable
from redrush.processes.valkey_server import ValkeyServer
from redrush.wiring.gate_role import GateRole
from tests.clocks.event import Running, running, tickets_for

OFFSETS_S: Final = (-600.0, -30.0, -1.0, 1.0, 30.0, 600.0)
MATRIX: Final = list(product(("gate", "control", "set"), OFFSETS_S, ("start", "amid")))
SHORT: Final = [("gate", 30.0, "start"), ("gate", -30.0, "amid"), ("set", -1.0, "start"), ("control", 600.0, "start")]
OPENS_IN_S: Final = 1.2
LASTS_S: Final = 3.0
CLAIMS_AFTER: Final = 20
"""Claims that each gate has answered after the close before a case ends."""
FAILOVER_LASTS_S: Final = 8.0
UNTIL_MAX_S: Final = 60.0


async def case(directory: Path, who: str, offset_s: float, when: str) -> None:
    at_start = {who: offset_s} if when == "start" else {}
    async with running(directory, OPENS_IN_S, LASTS_S, at_start) as event, claiming(event):
        if when == "start":
            await named(event, who, offset_s)
        closes_in_s = event.closes_s - event.gates[1].clock.wall_us() / 1e6
        closes = asyncio.create_task(asyncio.sleep(closes_in_s))
        if when == "amid":
            await until(lambda: event.gates[1].granted() > 0)
            go_wrong(event, who, offset_s)
            await named(event, who, offset_s)
        await closes
    assert event.outside() == []
    # The round is over, or not begun, for who is further off than it lasts.
    assert event.gates[1].granted() or (who == "set" and abs(offset_s) > event.lasts_s)
    if who == "gate" and when == "start":
        assert {asked.status for asked in event.gates[0].asked} == {503}


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(UNTIL_MAX_S):
        while not holds():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def claiming(event: Running) -> AsyncIterator[None]:
    """Claim at every gate all the while, and until each has answered some more claims after that."""
    claims = [
        asyncio.create_task(gate.claim(tickets_for(event.data, f"u{number}-")))
        for number, gate in enumerate(event.gates)
    ]
    try:
        yield
        enough = {gate.port: len(gate.asked) + CLAIMS_AFTER for gate in event.gates}
        await until(lambda: all(len(gate.asked) > enough[gate.port] for gate in event.gates))
        for task in claims:
            assert not task.done(), task
    finally:
        for task in claims:
            task.cancel()


def go_wrong(event: Running, who: str, offset_s: float) -> None:
    if who == "set":
        for process in event.everybody():
            process.clock.jump(-offset_s)
    else:
        (event.gates[0] if who == "gate" else event.control).clock.set_wall(offset_s)


async def named(event: Running, who: str, offset_s: float) -> None:
    """Return once everybody who should say so says who deviates, and to which side."""
    if who == "set":
        side = "ahead of" if offset_s > 0 else "behind"
        await asyncio.gather(
            *(gate.names("set s1", f"s {side} that of this gate") for gate in event.gates),
            event.control.names("set s1"),
        )
        assert (await event.gates[1].ready())[0] == 200, "a set alone takes no gate out"
    elif who == "gate":
        await event.gates[0].names("clock", "this gate")
        assert (await event.gates[0].ready())[0] == 503
        assert (await event.gates[1].ready())[0] == 200
    else:
        await event.control.names("clock", "this control role")
        assert (await event.control.ready())[0] == 503
        assert (await event.gates[0].ready())[0] == 200
    seen = event.gates[1] if who == "set" else event.gates[0] if who == "gate" else event.control
    assert max(abs(ahead_s) for ahead_s in offsets(await seen.metrics())) == pytest.approx(abs(offset_s), abs=0.2)


def offsets(metrics: str) -> list[float]:
    return [float(found) for found in re.findall(r"^redrush_clock_ahead_seconds\{.*\} (\S+)$", metrics, re.MULTILINE)]


def test_a_wrong_clock_grants_nothing_outside_the_round_and_is_named(tmp_path: Path) -> None:
    """Four cases at once: most of a case is waiting."""

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as cases:
            for number, one in enumerate(SHORT):
                (directory := tmp_path / str(number)).mkdir()
                cases.create_task(case(directory, *one), name=str(one))

    asyncio.run(all_of_them())


@pytest.mark.soak
@pytest.mark.parametrize(("who", "offset_s", "when"), MATRIX)
def test_the_whole_matrix_of_wrong_clocks(who: str, offset_s: float, when: str, tmp_path: Path) -> None:
    asyncio.run(case(tmp_path, who, offset_s, when))


async def failover(directory: Path, offset_s: float) -> None:
    """The primary is killed, and the replica that takes its place is on a machine whose clock is off."""
    async with running(directory, OPENS_IN_S, FAILOVER_LASTS_S, {}, replicas=1) as event, claiming(event):
        await until(lambda: event.gates[1].granted() > 0)
        go_wrong(event, "set", offset_s)
        event.server.kill()
        (replica,) = event.replicas
        for gate in event.gates:
            assert isinstance(gate.role, GateRole)
            await until(partial(_uses, gate.role, replica))
        await named(event, "set", offset_s)
        await asyncio.sleep(max(0.0, event.closes_s - time.time()))
    assert event.outside() == []


def _uses(role: GateRole, server: ValkeyServer) -> bool:
    try:
        return role._stores["s1"].address == server.address
    except StoreUnavailable:
        return False


def test_a_failover_to_a_server_of_another_clock_grants_nothing_outside_the_round_and_it_is_named(
    tmp_path: Path,
) -> None:
    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as cases:
            for number, offset_s in enumerate((-600.0, -30.0, 30.0, 600.0)):
                (directory := tmp_path / str(number)).mkdir()
                cases.create_task(failover(directory, offset_s), name=str(offset_s))

    asyncio.run(all_of_them())
