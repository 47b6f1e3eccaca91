"""A waiting room in the embedded form: over real HTTP, with switches, and over a kill of the server."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any, cast

import pytest

from redrush.cli.beginning import opening_at
from redrush.client.participant import Participant, Result
from redrush.config import parse_campaign
from redrush.control.data_dir import DataDir
from redrush.control.line_files import LineFiles
from redrush.control.orders import SetSwitch
from redrush.control.sealing import load_sealed
from redrush.core.rush.line import commitment, drawn_place, line_key
from redrush.core.rush.outcomes import Outcome
from redrush.operate.switching import Holder, operate
from redrush.processes.loopback import free_port
from redrush.processes.server import ServerProcess
from redrush.wiring.embedded import Embedded, Ports
from tests.gate.world import Answer, read_answer, request
from tests.patience import PATIENCE_S
from tests.wiring.test_campaigns import Server

TEXT = """
[campaign]
id = "rush"
name = "rush"
currency = "CNY"
[[round]]
id = "r1"
opens = {opens}
lasts = "1h"
kind = "equal"
total = "500.00"
packets = 500
[round.line]
pace = {pace}
"""
JSON = ("Content-Type: application/json",)


@asynccontextmanager
async def running(directory: Path, opens: str = '"now"', pace: float = 200, text: str = TEXT) -> AsyncIterator[Server]:
    embedded = Embedded(
        parse_campaign(text.replace("{opens}", opens).replace("{pace}", f"{pace:g}"), "rush.toml"),
        DataDir(directory),
        Ports("127.0.0.1", 0, 0, control_names=("hongbao.example",)),
    )
    ports = await embedded.start()
    try:
        yield Server(DataDir(directory), ports, embedded)
    finally:
        await embedded.stop()


ROUND = "/v1/rounds/r1"


async def ask(server: Server, path: str, ticket: str, body: Any = None, round_: str = ROUND) -> Answer:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.ports["gate"])
    data = b"" if body is None else json.dumps(body).encode()
    writer.write(request("POST", f"{round_}/{path}", ticket, data, JSON if data else ()))
    received = b""
    while (found := read_answer(received)) is None:
        more = await reader.read(65_536)
        assert more, received
        received += more
    writer.close()
    return found[0]


async def come_in(server: Server, user: str, pass_: str | None = None, round_: str = ROUND) -> str:
    """Wait in line as a client does, and return the ticket that lets claim."""
    ticket = server.ticket(None, user)
    joined = (await ask(server, "line", ticket, round_=round_)).json
    pass_ = pass_ or joined["pass"]
    async with asyncio.timeout(PATIENCE_S):
        while (await server.ask("GET", round_)).json["line"]["serving"] < joined["place"]:
            await asyncio.sleep(0.05)
    entered = (await ask(server, "enter", ticket, {"pass": pass_}, round_)).json
    assert entered["outcome"] == "admitted", entered
    return str(entered["ticket"])


async def test_people_come_in_through_the_line_and_claim(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        tickets = await asyncio.gather(*(come_in(server, f"u{number}") for number in range(20)))
        outcomes = [(await ask(server, "grab", ticket)).outcome for ticket in tickets]
        assert outcomes == ["granted"] * 20
        assert (await ask(server, "grab", server.ticket(None, "u1"))).status == 409


async def test_a_restart_keeps_places_counts_and_how_far_the_line_was(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        await come_in(server, "ann")
        before = (await server.ask("GET", "/v1/rounds/r1")).json["line"]
        bob = (await ask(server, "line", server.ticket(None, "bob"))).json
    async with running(tmp_path) as server:
        after = (await server.ask("GET", "/v1/rounds/r1")).json["line"]
        assert after["serving"] >= before["serving"]
        assert after["joined"] == 2
        assert (await ask(server, "line", server.ticket(None, "bob"))).json["pass"] == bob["pass"]
        await come_in(server, "bob", bob["pass"])
    given = list(LineFiles(DataDir(tmp_path)).given("r1"))
    assert [user for _, user in given] == ["ann", "bob"]
    assert given[1][0] == bob["place"]


async def test_early_places_are_those_that_the_published_key_draws(tmp_path: Path) -> None:
    opens = datetime.now(UTC) + timedelta(minutes=5)
    async with running(tmp_path, opens=opens.isoformat()) as server:
        joined = (await ask(server, "line", server.ticket(None, "ann"))).json
        seed = load_sealed(DataDir(tmp_path)).seed
        assert joined["place"] == drawn_place(line_key(seed, "r1"), "ann")
        line = (await server.ask("GET", "/v1/rounds/r1")).json["line"]
        assert line["commitment"] == commitment(line_key(seed, "r1"))
        assert "key" not in line


def test_killing_the_server_takes_nobodys_place(tmp_path: Path) -> None:
    file = tmp_path / "rush.toml"
    file.write_text(TEXT.format(opens='"now"', pace=200))
    data_dir = DataDir(tmp_path / "data")

    async def before(server: Server) -> tuple[Any, Any]:
        await come_in(server, "ann")
        bob = (await ask(server, "line", server.ticket(None, "bob"))).json
        async with asyncio.timeout(PATIENCE_S):  # until the kernel has it
            while len(list(LineFiles(data_dir).given("r1"))) < 2 or not data_dir.line("r1").exists():
                await asyncio.sleep(0.02)
        return bob, LineFiles(data_dir).load("r1")

    async def after(server: Server, bob: Any, kept: Any) -> None:
        line = (await server.ask("GET", "/v1/rounds/r1")).json["line"]
        assert (line["joined"], line["serving"] >= kept.serving) == (2, True)
        assert (await ask(server, "line", server.ticket(None, "bob"))).json["pass"] == bob["pass"]
        assert (await ask(server, "grab", await come_in(server, "bob", bob["pass"]))).outcome == "granted"

    port = free_port()
    command = [sys.executable, "-m", "redrush", "serve", str(file), "--data", str(data_dir.root), "--port", str(port)]
    process = ServerProcess(command, tmp_path / "log")
    server = Server(data_dir, {"gate": port}, cast(Embedded, None))
    process.start(PATIENCE_S)
    try:
        seen = asyncio.run(before(server))
        process.kill()
        process.start(PATIENCE_S)
        asyncio.run(after(server, *seen))
    finally:
        process.kill()


async def test_operators_stand_the_line_still_and_let_it_go_on(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        await come_in(server, "ann")
        paused = SetSwitch("line.r1.paused", True, "a look at the shop")
        await asyncio.to_thread(operate, DataDir(tmp_path), paused, Holder())
        async with asyncio.timeout(PATIENCE_S):
            while (await server.ask("GET", "/v1/rounds/r1")).json["line"]["state"] != "paused":
                await asyncio.sleep(0.05)
        bob = (await ask(server, "line", server.ticket(None, "bob"))).json
        stood = (await server.ask("GET", "/v1/rounds/r1")).json["line"]["serving"]
        assert stood < bob["place"]
        assert (await ask(server, "enter", server.ticket(None, "bob"), {"pass": bob["pass"]})).outcome == "waiting"
        go_on = SetSwitch("line.r1.paused", False, "")
        await asyncio.to_thread(operate, DataDir(tmp_path), go_on, Holder())
        await come_in(server, "bob", bob["pass"])


async def test_the_client_stands_in_line_by_itself(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        gate = f"http://127.0.0.1:{server.ports['gate']}"

        async def grab(user: str) -> Result:
            async with Participant([gate], server.ticket(None, user)) as participant:
                return await participant.grab("r1")

        results = await asyncio.gather(*(grab(f"u{number}") for number in range(5)))
        assert [result.outcome for result in results] == [Outcome.GRANTED] * 5
        closed = SetSwitch("line.r1.closed", True, "enough")
        await asyncio.to_thread(operate, DataDir(tmp_path), closed, Holder())
        async with asyncio.timeout(PATIENCE_S):
            while (await server.ask("GET", ROUND)).json["line"]["state"] != "closed":
                await asyncio.sleep(0.05)
        assert (await grab("late")).outcome is Outcome.LINE_CLOSED


EXAMPLE = Path(__file__).parents[2] / "examples/line.toml"


async def test_the_example_is_served_and_is_what_init_writes(tmp_path: Path) -> None:
    sample = resources.files("redrush.cli").joinpath("sample_line.toml").read_text(encoding="utf-8")
    assert EXAMPLE.read_text(encoding="utf-8") == sample.replace("{id}", "line2027")
    text = opening_at(EXAMPLE.read_text(encoding="utf-8"), "now", datetime.now(UTC))
    async with running(tmp_path, text=text) as server:
        round_ = "/v1/rounds/r20"
        ticket = await come_in(server, "ann", round_=round_)
        assert (await ask(server, "grab", ticket, round_=round_)).outcome == "granted"


SALE = 'kind = "sale"\nunits = 20\nprice = "1.00"\nhold = "10m"\n'
PRIZE = '[[round.prize]]\nid = "lamp"\nholds = "goods"\ncount = 90\nodds = "9/10"\n'
KINDS = {
    "draw": 'kind = "draw"\nplays = { per_user = 3 }\n' + PRIZE,
    "sale": SALE,
    "secret sale": SALE + "secret_url = true\n",
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_line_may_stand_before_a_round_of_any_kind(kind: str, tmp_path: Path) -> None:
    text = TEXT.replace('kind = "equal"\ntotal = "500.00"\npackets = 500\n', KINDS[kind])
    assert text != TEXT
    async with running(tmp_path, text=text) as server:
        ticket = await come_in(server, "ann")
        for path in ("grab", "grab/some-key") if kind == "secret sale" else ("grab",):
            assert (await ask(server, path, server.ticket(None, "ann"))).status == 409
        answer = await ask(server, "grab", ticket)
        assert answer.status != 409
        if kind != "secret sale":
            assert answer.outcome in {"granted", "missed"}
