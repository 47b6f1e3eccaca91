"""The control port of the embedded form, which runs here whole: readiness and metrics, and nothing for participants."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import apsw
from prometheus_client.parser import text_string_to_metric_families

from redrush.config import parse_campaign
from redrush.control.data_dir import DataDir
from redrush.control.issuing import plan_tickets
from redrush.core.rush.instants import http_date
from redrush.core.steering.figure import readings_of
from redrush.ports.store import StoreFailed
from redrush.wiring.embedded import Embedded, Ports
from tests.campaigns import a_round, campaign
from tests.gate.world import Answer, read_answer, request, to_this_machine
from tests.patience import PATIENCE_S

TEXT = campaign(a_round("r1", "1.00", 1))
FAR_S = 4_000_000_000


@asynccontextmanager
async def _embedded(directory: Path) -> AsyncIterator[tuple[Embedded, dict[str, int]]]:
    embedded = Embedded(parse_campaign(TEXT, "c.toml"), DataDir(directory), Ports("127.0.0.1", 0, 0))
    ports = await embedded.start()
    try:
        yield embedded, ports
    finally:
        try:
            await embedded.stop()
        except StoreFailed:
            assert embedded._fault is not None


async def _ask(port: int, data: bytes) -> Answer:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(to_this_machine(data))
    received = b""
    while (found := read_answer(received)) is None:
        received += await reader.read(65_536)
    writer.close()
    return found[0]


async def _samples(port: int) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = await _ask(port, request("GET", "/metrics"))
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def _claims(outcome: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return "redrush_claims_total", (("outcome", outcome), ("round", "r1"))


async def test_the_metrics_tell_what_was_answered(tmp_path: Path) -> None:
    async with _embedded(tmp_path / "d") as (_, ports):
        users = ["alice", "bob", "alice", "bob"]
        tickets = [
            line.split("\t")[1] for line in plan_tickets(DataDir(tmp_path / "d"), users, None, "2h", FAR_S).lines()
        ]
        before = await _samples(ports["control"])
        outcomes = []
        for ticket in tickets:
            answer = await _ask(ports["gate"], request("POST", "/v1/rounds/r1/grab", ticket))
            outcomes.append(answer.json["outcome"])
        await _ask(ports["gate"], request("GET", "/nowhere"))
        await _ask(ports["gate"], b"nonsense\r\n\r\n")
        after = await _samples(ports["control"])
        assert outcomes == ["granted", "empty", "granted", "empty"]
        told = {
            outcome: after[_claims(outcome)] - before[_claims(outcome)] for outcome in ("granted", "repeat", "empty")
        }
        assert told == {"granted": 1, "repeat": 1, "empty": 2}
        assert after["redrush_refusals_total", (("reason", "refused"),)] == 1
        assert after["redrush_refusals_total", (("reason", "malformed"),)] == 1
        assert after["redrush_parked", ()] == 0
        assert ("redrush_records_behind", ()) in after


async def test_readiness_ends_with_a_stop_or_a_fault(tmp_path: Path) -> None:
    async with _embedded(tmp_path / "d") as (embedded, ports):
        ready = await _ask(ports["control"], request("GET", "/readyz"))
        assert (ready.status, ready.json) == (200, {"status": "ready"})
        embedded._fail(StoreFailed("the disk is gone"))
        unready = await _ask(ports["control"], request("GET", "/readyz"))
        assert (unready.status, unready.json["status"]) == (503, 503)
        assert unready.headers["content-type"] == "application/problem+json"
        assert (await _ask(ports["control"], request("GET", "/livez"))).status == 200


async def test_each_port_serves_its_own(tmp_path: Path) -> None:
    async with _embedded(tmp_path / "d") as (_, ports):
        for path in ("/metrics", "/readyz"):
            assert (await _ask(ports["gate"], request("GET", path))).status == 404
            assert (await _ask(ports["control"], request("POST", path))).status == 405
        for path in ("/v1/rounds/r1", "/v1/grants", "/v1/rounds/r1/grab"):
            assert (await _ask(ports["control"], request("GET", path))).status == 404
        assert (await _ask(ports["gate"], request("GET", "/livez"))).status == 200


def test_the_date_of_an_answer_is_an_http_date() -> None:
    assert http_date(1_800_000_000_999_999) == "Fri, 15 Jan 2027 08:00:00 GMT"


async def test_a_row_that_somebody_changes_while_the_server_runs_is_a_metric_within_ten_seconds(tmp_path: Path) -> None:
    async with _embedded(tmp_path / "d") as (embedded, ports):
        (line,) = plan_tickets(DataDir(tmp_path / "d"), ["alice"], None, "2h", FAR_S).lines()
        await _ask(ports["gate"], request("POST", "/v1/rounds/r1/grab", line.split("\t")[1]))
        await embedded.event.recorder.caught_up()
        problems = ("redrush_reconcile_problems", ())
        async with asyncio.timeout(PATIENCE_S):
            while (await _samples(ports["control"]))["redrush_reconcile_compared_total", ()] < 1:
                await asyncio.sleep(0.05)
        assert (await _samples(ports["control"]))[problems] == 0
        with closing(apsw.Connection(str(tmp_path / "d" / "records.db"))) as outside:
            outside.execute("UPDATE grants SET amount_minor = 1")
            assert outside.changes() == 1
        async with asyncio.timeout(PATIENCE_S):
            while (await _samples(ports["control"]))[problems] == 0:
                await asyncio.sleep(0.05)
        assert readings_of(embedded.event.readings())["reconcile.problems"] >= 1
