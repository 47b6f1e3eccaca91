"""Who fills a gate, or its control port, with connections shuts nobody else out. From outside, over sockets."""

import asyncio
import json
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.attack.target import HOST, Crowd, Target, attacked, command_of, limited

GRAB = "/v1/rounds/r1/grab"
ANOTHER = "127.0.0.2"
SLOW = b"POST /v1/rounds/r1/grab HTTP/1.1\r\nHost: x\r\nX-Slow: "


@asynccontextmanager
async def _crowd() -> AsyncIterator[Crowd]:
    crowd = Crowd()
    try:
        yield crowd
    finally:
        await crowd.leave()


def _metric(target: Target, name: str) -> float:
    _, body = target.ask(target.control_port, "GET", "/metrics")
    (family,) = (one for one in text_string_to_metric_families(body.decode()) if one.name == name)
    return float(family.samples[0].value)


async def _operators_are_served(target: Target) -> None:
    for path in ("/livez", "/readyz", "/metrics"):
        assert (await asyncio.to_thread(target.ask, target.control_port, "GET", path))[0] == 200
    assert await asyncio.to_thread(target.switches, "answer_ended", "false") == 200


@pytest.mark.parametrize("came", [1_300, pytest.param(6_000, marks=pytest.mark.soak)])
async def test_a_gate_with_few_files_says_so_and_operators_are_served_while_a_crowd_takes_the_rest(
    tmp_path: Path, came: int
) -> None:
    with attacked(tmp_path, "[gate]\nconnections_max = 5000\n", files_max=1024) as target:
        (warning,) = (json.loads(line) for line in target.said().splitlines() if line.startswith("{"))
        most = warning["connections_max"]
        assert (warning["level"], warning["asked"], warning["files_max"]) == ("warning", 5000, 1024)
        assert "ulimit -n " in warning["event"]
        assert "LimitNOFILE=" in warning["event"]
        assert _metric(target, "redrush_connections_max") == most
        async with _crowd() as crowd:
            coming = asyncio.create_task(_come_from_everywhere(crowd, target.port, came))
            while not coming.done():
                await _operators_are_served(target)
            await coming
            await _operators_are_served(target)
            assert 128 <= _metric(target, "redrush_connections") <= most
        assert not any(line.startswith("{") for line in target.said().splitlines()[1:] if "warning" not in line)


async def _come_from_everywhere(crowd: Crowd, port: int, count: int) -> None:
    """From ten addresses, so that none has more than its share of the connections."""
    for number in range(10):
        await crowd.come(port, count // 10, source=f"127.0.0.{number + 2}")


@pytest.mark.parametrize("files_max", [256, 300])
def test_a_gate_with_hardly_any_files_does_not_start_and_says_what_to_do(tmp_path: Path, files_max: int) -> None:
    ended = subprocess.run(
        command_of(tmp_path), capture_output=True, text=True, check=False, timeout=60,
        preexec_fn=limited(files_max),
    )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"redrush: only {files_max} files may be open here, which leaves ")
    assert "`ulimit -n " in ended.stderr
    assert not (tmp_path / "data").exists(), "nothing was made"


@pytest.mark.parametrize("came", [1_000, pytest.param(5_000, marks=pytest.mark.soak)])
async def test_one_address_that_takes_all_it_can_shuts_no_other_out(tmp_path: Path, came: int) -> None:
    with attacked(tmp_path, "[gate]\nconnections_max = 1000\n") as target:
        tickets = target.tickets(60)
        async with _crowd() as crowd:
            await crowd.come(target.port, came, says=SLOW)
            await crowd.come(target.control_port, 256)
            for ticket in tickets:
                status, body = await asyncio.to_thread(target.ask, target.port, "POST", GRAB, ticket, source=ANOTHER)
                assert (status, json.loads(body)["outcome"]) == (200, "granted")
            await _operators_are_served(target)
            assert _metric(target, "redrush_connections") <= 250 + 1


async def test_silence_on_the_control_port_pushes_out_silence(tmp_path: Path) -> None:
    with attacked(tmp_path) as target:
        async with _crowd() as crowd:
            for _ in range(4):
                await crowd.come(target.control_port, 256)
                await _operators_are_served(target)
                assert await asyncio.to_thread(_metric, target, "redrush_control_guests_ended") > 0


def test_a_public_gate_keeps_its_control_port_to_itself(tmp_path: Path) -> None:
    with attacked(tmp_path, options=("--host", "0.0.0.0")) as target:
        said = target.said()
        assert f"gate http://0.0.0.0:{target.port}\n" in said
        assert f"control http://{HOST}:{target.control_port}\n" in said
        assert target.ask(target.control_port, "GET", "/livez")[0] == 200
        socket.create_connection((ANOTHER, target.port), timeout=5).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((ANOTHER, target.control_port), timeout=5)
