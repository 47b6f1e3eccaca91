"""What a server exports is what the table of figures says of the embedded form, neither less nor more."""

import asyncio
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from redrush.config import parse_campaign
from redrush.control.data_dir import DataDir
from redrush.core.steering.figure import EMBEDDED
from redrush.core.steering.rules import READINGS
from redrush.wiring.embedded import Embedded, Ports
from tests.campaigns import a_round, campaign
from tests.figures import scraped, with_circumstances, without_circumstances
from tests.gate.world import read_answer, request, to_this_machine


async def _get(port: int, path: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(to_this_machine(request("GET", path)))
    received = b""
    while (found := read_answer(received)) is None:
        received += await reader.read(65_536)
    writer.close()
    return found[0].body.decode()


async def test_the_embedded_form_exports_its_rows_and_no_others(tmp_path: Path) -> None:
    file = parse_campaign(campaign(a_round("r1", "1.00", 1)), "c.toml")
    embedded = Embedded(file, DataDir(tmp_path / "d"), Ports("127.0.0.1", 0, 0))
    ports = await embedded.start()
    try:
        await _get(ports["control"], "/metrics")
        text = await _get(ports["control"], "/metrics")
    finally:
        await embedded.stop()
    names = scraped(text)
    assert without_circumstances(EMBEDDED) - names == set()
    assert names - with_circumstances(EMBEDDED) == set()
    buckets = [
        (sample.labels["le"], sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "redrush_answer_seconds_bucket" and sample.labels["interface"] == "control"
    ]
    assert [le for le, _ in buckets[:2]] == ["3.2e-05", "6.4e-05"]
    assert buckets[-1] == ("+Inf", 1.0)  # the first scrape, which the second tells of
    assert [count for _, count in buckets] == sorted(count for _, count in buckets)


async def test_the_rules_of_the_embedded_form_have_every_reading_of_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redrush.core.steering.quantiles.WINDOW_S", 0.0)
    monkeypatch.setattr("redrush.gate.readings.WINDOW_S", 0.0)
    file = parse_campaign(campaign(a_round("r1", "1.00", 1)), "c.toml")
    embedded = Embedded(file, DataDir(tmp_path / "d"), Ports("127.0.0.1", 0, 0))
    await embedded.start()
    try:
        told = embedded.event.steering.readings()
    finally:
        await embedded.stop()
    assert set(told) == {name for name in READINGS if not name.startswith(("query.", "payments."))}
