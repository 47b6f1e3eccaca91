"""Switches over the processes of a stack: every gate within a tenth of a second, through the death of whoever tells."""

import asyncio
import json
import os
import signal
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from redrush.control.control_access import load_address, load_token
from redrush.control.data_dir import DataDir
from redrush.http.ask import ask
from tests.acceptance.stack.running_stack import RunningStack, kill, stack_up
from tests.campaigns import campaign
from tests.commands import redrush
from tests.gate.world import read_answer, request
from tests.patience import PATIENCE_S, OwnTime

CAMPAIGN: Final = campaign(
    id="stack",
    tables="""\
[[playbook]]
name = "calm"
description = "no packets"
settings = { "release.r1.per_second" = 0 }
[[rule]]
name = "crowded"
playbook = "calm"
reading = "gate.connections"
leaves_at = 40
returns_at = 30
after = "100ms"
hold = "100ms"
""",
)
CONNECTIONS: Final = 16
"""The kernel spreads them over both gates; that all fall to one is as likely as sixteen tosses alike."""
EFFECT_MAX_S: Final = 0.1


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    directory = tmp_path_factory.mktemp("stack")
    (directory / "c.toml").write_text(CAMPAIGN)
    with stack_up(directory / "c.toml", directory / "d", "--sets", 1, "--gates", 2) as running:
        yield running


async def _until_all(stack: RunningStack, state: str) -> None:
    """Return when the round is in that state on every one of many connections."""
    streams = [await asyncio.open_connection("127.0.0.1", stack.port) for _ in range(CONNECTIONS)]
    try:
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(_until(reader, writer, state) for reader, writer in streams))
    finally:
        for _, writer in streams:
            writer.close()


async def _until(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: str) -> None:
    while True:
        writer.write(request("GET", "/v1/rounds/r1"))
        received = b""
        while (found := read_answer(received)) is None:
            more = await reader.read(65_536)
            assert more, received
            received += more
        if found[0].json["state"] == state:
            return


async def _seconds_to_every_gate(stack: RunningStack, pids: list[int], value: bool, state: str) -> float:
    directory = DataDir(stack.data)
    address, token = load_address(DataDir(stack.data / "control")), load_token(directory)
    waiting = asyncio.create_task(_until_all(stack, state))
    await asyncio.sleep(0.2)  # the connections are there
    assert not waiting.done()
    taken = OwnTime(*pids)
    answered = await ask(address, token, "PUT", "/v1/switches/answer_ended", {"value": value}, PATIENCE_S)
    assert answered.status == 200, answered
    await waiting
    return taken.passed_s


def _switch(stack: RunningStack, *arguments: str) -> Any:
    ran = redrush("switch", *arguments, "--data", stack.data, "--json")
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


async def test_a_change_is_in_every_gate_within_a_tenth_of_a_second(stack: RunningStack) -> None:
    pids = [process["pid"] for process in stack.processes() if process["role"] in {"control", "gate"}]
    taken_s = []
    for _ in range(3):
        taken_s.append(await _seconds_to_every_gate(stack, pids, True, "closed"))
        taken_s.append(await _seconds_to_every_gate(stack, pids, False, "open"))
    assert statistics.median(taken_s) <= EFFECT_MAX_S, taken_s


async def test_what_was_switched_outlives_the_control_role_and_the_gates(stack: RunningStack) -> None:
    assert _switch(stack, "set", "answer_ended", "on")["live"] is True
    await _until_all(stack, "closed")
    before = {process["name"]: process["pid"] for process in stack.processes()}
    os.kill(before["control"], signal.SIGSTOP)  # nobody tells the new gates anything
    for gate in ("gate-1", "gate-2"):
        kill(before[gate])
    stack.wait_until(
        lambda now: all(
            now[gate]["state"] == "ready" and now[gate]["pid"] not in {None, before[gate]}
            for gate in ("gate-1", "gate-2")
        )
    )
    await _until_all(stack, "closed")
    kill(before["control"])
    stack.wait_until(lambda now: now["control"]["state"] == "ready" and now["control"]["pid"] != before["control"])
    await _until_all(stack, "closed")
    assert _switch(stack, "release", "answer_ended")["changes"] == [
        {"switch": "answer_ended", "from": True, "to": False}
    ]
    await _until_all(stack, "open")


def test_the_control_role_may_be_asked_from_anywhere_with_the_deployment_file(stack: RunningStack) -> None:
    deployment = stack.data / "deployment.toml"
    ran = redrush("switch", "set", "sampling.non_core", "0.5", "--deploy", deployment, "--who", "ann", "--json")
    assert json.loads(ran.out)["live"] is True, ran.err
    listed = {row["name"]: row["set_by"] for row in _switch(stack, "list")["switches"]}
    assert listed["sampling.non_core"] == "event"
    _switch(stack, "release", "sampling.non_core")
    for neither in ((), ("--data", stack.data, "--deploy", deployment)):
        ran = redrush("switch", "list", *neither)
        assert (ran.code, "say which event" in ran.err) == (2, True)


async def test_a_rule_acts_on_what_the_gates_tell(stack: RunningStack) -> None:
    async def until_pace(value: object) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                listed = await asyncio.to_thread(_switch, stack, "list")
                if next(r["value"] for r in listed["switches"] if r["name"] == "release.r1.per_second") == value:
                    return

    crowd = [await asyncio.open_connection("127.0.0.1", stack.port) for _ in range(100)]
    await until_pace(0)
    for _, writer in crowd:
        writer.close()
    await until_pace("off")
    entries = [entry for entry in _switch(stack, "log")["entries"] if entry["who"] == "rule crowded"]
    assert [entry["what"]["action"] for entry in entries] == ["apply", "undo"]
    assert entries[0]["why"].startswith("gate.connections is ")


def test_the_gates_share_the_release_pace_by_how_many_of_them_live(stack: RunningStack) -> None:
    gates = {name: found for name, found in stack.wait_until(_all_ready).items() if found["role"] == "gate"}

    def shared_by(name: str) -> str:
        arguments = Path(f"/proc/{gates[name]['pid']}/cmdline").read_text().split("\0")
        port = int(arguments[arguments.index("--control-port") + 1])
        lines = stack.get(port, "/metrics").body.decode().splitlines()
        return next(line.split()[1] for line in lines if line.startswith("redrush_release_gates "))

    stack.wait_until(lambda _: shared_by("gate-1") == shared_by("gate-2") == "2.0")
    os.kill(gates["gate-2"]["pid"], signal.SIGSTOP)
    try:
        stack.wait_until(lambda _: shared_by("gate-1") == "1.0")
    finally:
        os.kill(gates["gate-2"]["pid"], signal.SIGCONT)
    stack.wait_until(lambda _: shared_by("gate-1") == "2.0")


def _all_ready(now: dict[str, dict[str, Any]]) -> bool:
    return all(process["state"] == "ready" for process in now.values())


def _reports(stack: RunningStack, port: int) -> dict[str, float]:
    """Return what became of the reports of a role, from its metrics."""
    metrics = stack.get(port, "/metrics").raw.decode()
    lines = [line for line in metrics.splitlines() if line.startswith("redrush_reports_total{")]
    return {line.split('"')[1]: float(line.rpartition(" ")[2]) for line in lines}


def test_reports_are_dropped_while_operators_want_it_so(stack: RunningStack) -> None:
    address = next(process["address"] for process in stack.processes() if process["role"] == "recorder")
    port = int(address.rpartition(":")[2])

    def grows(fate: str) -> dict[str, float]:
        deadline_s = time.monotonic() + PATIENCE_S
        before = now = _reports(stack, port)
        while now[fate] < before[fate] + 2:
            assert time.monotonic() < deadline_s, now
            time.sleep(0.1)
            now = _reports(stack, port)
        return now

    grows("told")
    _switch(stack, "set", "reporting.dropped", "on")
    dropping = grows("dropped")
    assert grows("dropped")["told"] == dropping["told"]
    _switch(stack, "release", "reporting.dropped")
    grows("told")
