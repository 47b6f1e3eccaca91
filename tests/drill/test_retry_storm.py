"""The drill `retry-storm` in its short form on real processes, and its figures on made-up observations."""

import json
from pathlib import Path
from typing import Any

import pytest

from redrush.cli.main import main
from redrush.drill.crowd import CrowdResult
from redrush.drill.drills import DRILLS, drill_named
from redrush.drill.observations import Ending, ObservationColumns
from redrush.drill.retry_storm import (
    SHORT,
    Phase,
    recovered_after_s,
    requests_per_claim,
    requests_per_claim_broken,
    served_share,
)
from redrush.drill.schedules import constant_rate
from redrush.errors import ConfigError


def ran(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["redrush", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_real_server_outlives_the_short_storm_and_the_polite_hardly_ask_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = ran(monkeypatch, "drill", "retry-storm", "--short", "--json", "--data", str(tmp_path))
    printed = capsys.readouterr()
    found: dict[str, Any] = json.loads(printed.out)
    assert (code, found["drill"], found["passed"]) == (0, "retry-storm", True), printed.out
    figures = found["figures"]
    assert figures["polite_requests"] > figures["polite_intended_claims"] == SHORT.polite  # somebody had to come again
    assert figures["polite_requests_per_claim"] <= 1.1
    assert figures["rude_requests_per_claim_in_outage"] >= 2
    assert figures["polite_outage_s"] >= SHORT.outage_s
    assert json.loads((tmp_path / "report.json").read_bytes()) == found
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 4  # two plots, each for wide screens and for telephones
    assert "requests per intended claim" in page
    assert "{%" not in page


def test_the_drills_are_listed_and_an_unknown_one_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ran(monkeypatch, "drill", "list") == 0
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == [drill.name for drill in DRILLS]
    assert ran(monkeypatch, "drill", "sharknado") == 2
    assert '"sharknado" is no drill; there are: ' in capsys.readouterr().err
    with pytest.raises(ConfigError):
        drill_named("list")


Row = tuple[float, float, Ending, int]
"""(sent, ended, how, user) of one request."""

RATE_PER_S = 100
BROKEN_S = (1.0, 2.0)


def phase(rows: list[Row]) -> Phase:
    columns = ObservationColumns(len(rows))
    for sent_s, ended_s, ending, user in rows:
        columns.add(sent_s, ended_s - sent_s, 0.0, 200, ending, 0, False, user)
    result = CrowdResult(
        rounds=("r1",), observations=columns.finish(), acknowledged=[], breaches={}, connections=1, reconnects=0,
        given_up=0, held_back=0, starts_us=0,
    )  # fmt: skip
    return Phase(result, constant_rate(RATE_PER_S, 4.0), 1_000, BROKEN_S)


def served_at_once(users: range) -> list[Row]:
    return [(user / RATE_PER_S, user / RATE_PER_S + 0.01, Ending.GRANTED, 1_000 + user) for user in users]


def test_requests_are_counted_against_the_people_who_wanted_a_packet() -> None:
    again = [(1.0 + user / 1_000, 2.5, Ending.TIMEOUT, 1_000 + user) for user in range(100)]
    unsent = [(1.5, 1.5, Ending.NOT_SENT, 1_000)]
    stormy = phase(served_at_once(range(400)) + again + unsent)
    assert requests_per_claim(stormy) == pytest.approx(500 / 400)
    assert requests_per_claim_broken(stormy) == pytest.approx((100 + 100) / 100)


def test_who_never_heard_of_a_packet_is_not_served() -> None:
    rows = served_at_once(range(400))
    rows[7] = (*rows[7][:2], Ending.TIMEOUT, rows[7][3])
    assert served_share(phase(rows)) == 1 - 1 / 400


def test_recovery_is_when_all_who_come_are_served_as_usual_from_then_on() -> None:
    assert recovered_after_s(phase(served_at_once(range(400)))) == 0.0
    late = [(sent, ended + 0.5 * (230 <= user - 1_000 < 240), how, user) for sent, ended, how, user in
            served_at_once(range(400))]  # fmt: skip
    assert recovered_after_s(phase(late)) == pytest.approx(0.4)
    waited = [(sent, max(ended, 2.0), how, user) for sent, ended, how, user in served_at_once(range(400))]
    assert recovered_after_s(phase(waited)) == 0.0  # who waited through the outage came before its end
