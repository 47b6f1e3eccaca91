"""The drills on real processes, in their short forms, and that each of them can say no."""

import json
from pathlib import Path
from typing import Any

import pytest

from redrush.cli.main import main
from redrush.drill import hot_user, slow_clients
from redrush.drill.faults import FAULTS


def played(
    name: str, directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Play a drill by its command; it must pass. Return what it printed."""
    monkeypatch.setattr("sys.argv", ["redrush", "drill", name, "--short", "--json", "--data", str(directory)])
    with pytest.raises(SystemExit) as ended:
        main()
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (ended.value.code, found["drill"], found["passed"]) == (0, name, True), found["verdicts"]
    page = (directory / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") >= 1
    assert "{%" not in page
    figures: dict[str, Any] = found["figures"]
    return figures


def test_a_real_gate_in_a_tenfold_rush_gives_out_packets_and_answers_everybody_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = played("overload", tmp_path, capsys, monkeypatch)
    assert figures["store_offered_over_peak"] >= 4  # a busy machine cannot offer more than it can
    assert figures["store_goodput_over_peak"] > 0
    assert figures["store_memory_during_mb"] > 0
    assert "malformed" not in figures["store_endings"]


def test_good_clients_of_a_real_gate_are_served_beside_hundreds_of_slow_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = played("slow-clients", tmp_path, capsys, monkeypatch)
    assert figures["slow_connected_max"] >= 0.9 * slow_clients.SHORT.slow
    assert figures["good_served_share"] == 1
    assert figures["good_p99_beside_ms"] > 0


@pytest.mark.soak
def test_a_user_of_a_hundred_requests_a_second_gets_one_packet_and_nobody_else_loses_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = played("hot-user", tmp_path, capsys, monkeypatch)
    shape = hot_user.SHORT
    assert figures["hot_requests"] == shape.hot_per_s * shape.windows.window_s * shape.windows.pairs
    assert figures["others_served_share"] == 1


@pytest.mark.soak
def test_a_real_stack_gets_over_deaths_and_stops_and_nothing_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = played("faults", tmp_path, capsys, monkeypatch)
    assert figures["served_share"] == 1
    for fault in FAULTS:
        assert f"{fault.name.replace(' ', '_')}_normal_after_s" in figures


def test_packets_between_people_add_up_in_the_eyes_of_an_auditor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = played("group-packets", tmp_path, capsys, monkeypatch)
    assert figures["packets"] == 36
    assert 90 < figures["shares_granted"] < 36 * 4, "some packets are not emptied"
