"""A thousand campaigns on one server, three of them in a rush: those three are as fast as if they were alone.

For a quiet machine: the same three campaigns are rushed for on a server that has no others and on one that has, in
turns, and the slowest hundredth of the answers is compared. The rest sleep, and cost no CPU while nobody asks.
"""

import asyncio
import os
import statistics
import sys
import time
from pathlib import Path

import pytest

from redrush.config import parse_campaign
from redrush.control.campaigns import directory_of
from redrush.control.data_dir import DataDir
from redrush.control.issuing import plan_tickets
from redrush.operate.campaigns import add_campaign
from redrush.operate.switching import Holder
from redrush.processes.loopback import free_port
from redrush.processes.server import ServerProcess
from tests.acceptance.rushing import p99_ms
from tests.patience import PATIENCE_S
from tests.wiring.test_campaigns import FAR, NOW, TEXT, running

CAMPAIGNS = 1_000
RUSHED = ("first", "rush-a", "rush-b")
TURNS = 6
TURN_S = 5.0
CONNECTIONS = 48
SLOWER_MAX = 1.1
SETTLE_S = 5.0
"""Until both servers have done what a start brings."""
IDLE_S = 30.0
IDLE_CPU_MAX = 1.02


async def _event(directory: Path, campaigns: int) -> DataDir:
    first = parse_campaign(TEXT.format(id="first", opens=NOW, round="r1", packets=50_000), "first.toml")
    (directory.parent / f"{directory.name}.toml").write_text(
        TEXT.format(id="first", opens=NOW, round="r1", packets=50_000), encoding="utf-8"
    )
    async with running(directory, first):
        pass
    data_dir = DataDir(directory)
    for name in RUSHED[1:]:
        text = TEXT.format(id=name, opens=NOW, round="r1", packets=50_000)
        await asyncio.to_thread(add_campaign, parse_campaign(text, name), data_dir, Holder())
    for number in range(campaigns - len(RUSHED)):
        text = TEXT.format(id=f"s{number}", opens=FAR, round="r1", packets=3)
        await asyncio.to_thread(add_campaign, parse_campaign(text, "s"), data_dir, Holder())
    return data_dir


def _tickets(data_dir: DataDir, name: str, turn: int) -> list[str]:
    own = data_dir if name == "first" else directory_of(data_dir, name)
    users = [f"u{turn}-{number}" for number in range(20_000)]
    return [line.split("\t")[1] for line in plan_tickets(own, users, None, "2h", int(time.time())).lines()]


async def _rush_ms(port: int, tickets: dict[str, list[str]]) -> float:
    """Rush for all three at once; return the slowest hundredth of the answers."""
    each = CONNECTIONS // len(RUSHED)
    errands = [
        (f"/v1/campaigns/{name}/rounds/r1", tickets[name][number::each]) for name in RUSHED for number in range(each)
    ]
    slowest_ms, answers = await p99_ms(port, errands, until_s=time.monotonic() + TURN_S)
    told = {"refused" if answer.status == 503 else answer.outcome for answer in answers}
    assert told <= {"refused", "granted", "empty"}
    return slowest_ms


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.soak
@pytest.mark.timeout(1_800)
async def test_a_rush_is_as_fast_beside_a_thousand_campaigns_as_alone(tmp_path: Path) -> None:
    servers = {}
    for name, campaigns in (("alone", len(RUSHED)), ("many", CAMPAIGNS)):
        data_dir, port = await _event(tmp_path / name, campaigns), free_port()
        command = [sys.executable, "-m", "redrush", "serve", str(tmp_path / f"{name}.toml"), "--data", data_dir.root]
        server = ServerProcess([*map(str, command), "--port", str(port)], tmp_path / f"{name}.log")
        server.start(PATIENCE_S)
        servers[name] = (server, port, data_dir)
    try:
        await asyncio.sleep(SETTLE_S)
        before = {name: _cpu_s(server.pid) for name, (server, _, _) in servers.items()}
        await asyncio.sleep(IDLE_S)  # nobody has asked for anything yet: what is recorded is not compared all the time
        idle_s = {name: _cpu_s(server.pid) - before[name] for name, (server, _, _) in servers.items()}
        seen_ms: dict[str, list[float]] = {"alone": [], "many": []}
        for turn in range(TURNS):
            for name in ("alone", "many") if turn % 2 else ("many", "alone"):
                _, port, data_dir = servers[name]
                tickets = {campaign: _tickets(data_dir, campaign, turn) for campaign in RUSHED}
                seen_ms[name].append(await _rush_ms(port, tickets))
    finally:
        for server, _, _ in servers.values():
            server.kill()
    sys.stdout.write(f"p99 in ms: {seen_ms}; CPU of {IDLE_S:g} idle seconds in s: {idle_s}\n")
    assert statistics.median(seen_ms["many"]) <= SLOWER_MAX * statistics.median(seen_ms["alone"]), seen_ms
    assert idle_s["many"] <= IDLE_CPU_MAX * idle_s["alone"] + 0.05, idle_s
