"""All lines of a campaign, told of by gates over the control API, moved by what operators have set."""

import json
from typing import Any

import pytest

from redrush.control.data_dir import DataDir
from redrush.control.line_files import LineFiles
from redrush.control.lines import Lines
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.line import NEVER, START
from redrush.core.rush.serving import SILENT_US, Kept, Told
from redrush.core.steering.switches import Snapshot, registry_of
from redrush.errors import ConfigError
from tests.core.rush.simulated_line import terms
from tests.gate.world import OPENS_US, SECOND_US, ManualClock, rounds_of

CAMPAIGN = Campaign(id="cny", name="春节", currency="CNY", rounds=rounds_of(3, None, terms(pace_per_s=50.0)))
REGISTRY = registry_of([("r1", None)], (), None, [("r1", 50.0)])


def snapshot(**changed: Any) -> Snapshot:
    values = {name: switch.default for name, switch in REGISTRY.items()}
    return Snapshot(1, values | {f"line.r1.{name}": value for name, value in changed.items()})


async def tell(lines: Lines, gate: str, **told: Any) -> Any:
    """Tell it as a gate does, as JSON."""
    [operation] = lines.operations()
    fields = {"gate": gate, "lines": {"r1": told}}
    status, answered = await operation.run(json.loads(json.dumps(fields)), "event")
    assert status == 200, answered
    return answered


def run(lines: Lines, clock: ManualClock, seconds: float, **switched: Any) -> None:
    for _ in range(int(seconds * 5)):
        clock.now_us += SECOND_US // 5
        lines.hear("still there", {"r1": Told(whole=True, until_us=clock.now_us)})
        lines.move(snapshot(**switched))


async def test_gates_tell_what_they_have_and_hear_how_the_line_stands() -> None:
    clock = ManualClock(OPENS_US)
    lines = Lines(CAMPAIGN, clock)
    first = await tell(lines, "a", whole=False, early=10)
    assert first["enough"] == {"r1": False}, "the whole is wanted of a gate that is new"
    await tell(lines, "a", whole=True, early=600)
    await tell(lines, "b", whole=True, early=400, late={str(OPENS_US // 200_000): 7}, joined_late=7)
    run(lines, clock, 2)
    answered = await tell(lines, "a", early=600, came=[40])
    assert answered["enough"] == {"r1": True}
    state = answered["lines"]["r1"]
    assert state["joined"] == 1_007
    assert 0.05 * START < state["serving"] < 0.2 * START


async def test_switches_set_the_pace_stand_the_line_still_and_close_it() -> None:
    clock = ManualClock(OPENS_US)
    lines = Lines(CAMPAIGN, clock)
    lines.hear("a", {"r1": Told(whole=True, early=10_000)})
    run(lines, clock, 2, per_second=5.0)
    slow = lines.state("r1").serving
    run(lines, clock, 2, paused=True, closed=True)
    assert (lines.state("r1").serving, lines.state("r1").paused, lines.state("r1").closed) == (slow, True, True)
    run(lines, clock, 2)
    assert lines.state("r1").serving > 3 * slow


async def test_while_no_gate_is_heard_nobody_is_called() -> None:
    """Whoever they have in line would all be passed over."""
    clock = ManualClock(OPENS_US)
    lines = Lines(CAMPAIGN, clock)
    lines.hear("a", {"r1": Told(whole=True, early=100)})
    clock.now_us += SILENT_US + 1
    for _ in range(20):
        clock.now_us += SECOND_US
        lines.move(snapshot())
    assert lines.state("r1").serving == NEVER


async def test_after_a_start_the_lines_stand_until_all_gates_have_told() -> None:
    clock = ManualClock(OPENS_US)
    lines = Lines(CAMPAIGN, clock, stand_until_us=OPENS_US + 3 * SECOND_US)
    lines.restore({"r1": Kept(serving=500, early=10, joined_late=5)})
    run(lines, clock, 2.8)
    assert lines.state("r1").serving == 500
    run(lines, clock, 1)
    assert lines.state("r1").serving > 500


async def test_what_is_no_report_is_refused() -> None:
    [operation] = Lines(CAMPAIGN, ManualClock(OPENS_US)).operations()
    assert (await operation.run({"gate": "a"}, "event"))[0] == 400
    assert list(Lines(Campaign(id="c", name="c", currency="CNY", rounds=()), ManualClock(0)).operations()) == []


def test_files_that_are_not_what_they_should_be_are_told_of_with_what_they_are_for(tmp_path: Any) -> None:
    data_dir = DataDir(tmp_path)
    files = LineFiles(data_dir)
    assert files.load("r1") is None
    assert list(files.given("r1")) == []
    files.keep("r1", Kept(serving=7, early=1, joined_late=2))
    files.append("r1", [(7, "张伟")])
    assert files.load("r1") == Kept(serving=7, early=1, joined_late=2)
    with data_dir.line_list("r1").open("a") as file:
        file.write("12\tcut")
    assert list(files.given("r1")) == [(7, "张伟")], "a line whose writer was killed is none"
    data_dir.line("r1").write_text("{")
    with pytest.raises(ConfigError, match="does not say how far the line of the round is"):
        files.load("r1")
    data_dir.line_list("r1").write_text("hello\n")
    with pytest.raises(ConfigError, match=r"line-r1\.tsv:1: is not a place, a tab, and a user"):
        list(files.given("r1"))
