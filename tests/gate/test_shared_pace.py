"""A release pace is that of the whole event: each gate releases its share, by how many gates there are now."""

import asyncio
from pathlib import Path

import pytest

from redrush.control.release_api import ReleaseApi
from redrush.control.told_readings import HOLDS_S, ToldReadings
from redrush.core.steering.switches import OFF, Snapshot, pace_of, registry_of
from tests.gate.sets import ManySets, OneGate, many_sets
from tests.wiring.test_switches_of_an_event import running

PACE = 600.0
SECONDS = 5
CROWD = 3_000


async def _released(event: ManySets, gates: list[OneGate], from_s: int) -> int:
    """Return how many claims of an even crowd get through the filters of the gates in some seconds."""
    before = sum(gate.calls for gate in gates)
    for tick in range(SECONDS * 100):
        event.at(from_s + tick / 100)
        for number in range(CROWD // 100):
            event.lot = (number * 37 + tick * 11) % 101 / 101
            gates[number % len(gates)].ask(f"u{from_s}-{tick}-{number}")
        await asyncio.sleep(0)
        for gate in gates:
            await gate.gate.drained()
    return sum(gate.calls for gate in gates) - before


async def test_two_gates_release_together_what_one_does_alone() -> None:
    async with many_sets(packets=60_000, release_per_s=PACE) as event:
        gates = [await event.gate() for _ in range(2)]
        for gate in gates:
            gate.gate.switches.share_with(2)
        assert await _released(event, gates, 0) == pytest.approx(PACE * SECONDS, rel=0.1)
        gates[0].gate.switches.share_with(1)  # the other one has died
        assert await _released(event, gates[:1], SECONDS) == pytest.approx(PACE * SECONDS, rel=0.1)


async def test_a_pace_that_is_switched_is_shared_and_one_that_is_off_is_off_for_all() -> None:
    async with many_sets(packets=60_000, release_per_s=PACE) as event:
        gates = [await event.gate() for _ in range(3)]
        defaults = {name: switch.default for name, switch in registry_of([("r1", None), ("r2", None)], ()).items()}
        for gate in gates:
            gate.gate.switches.share_with(3)
            gate.gate.switches.apply(Snapshot(1, defaults | {pace_of("r1"): PACE / 2}))
        assert await _released(event, gates, 0) == pytest.approx(PACE / 2 * SECONDS, rel=0.1)
        for gate in gates:
            gate.gate.switches.apply(Snapshot(2, defaults | {pace_of("r1"): OFF}))
        assert await _released(event, gates, SECONDS) == CROWD * SECONDS


def test_a_process_counts_as_long_as_it_tells_and_among_its_kind_alone() -> None:
    now_s = 100.0
    told = ToldReadings(lambda: now_s)
    assert [told.tell(f"gate 127.0.0.1:{number} 1", {}) for number in range(3)] == [1, 2, 3]
    assert told.tell("recorder 127.0.0.1:9 1", {}) == 1
    now_s += HOLDS_S
    assert told.tell("gate 127.0.0.1:0 1", {}) == 3
    now_s += 0.1
    assert told.tell("gate 127.0.0.1:0 1", {}) == 1


async def test_who_tells_the_control_port_is_told_how_many_do(tmp_path: Path) -> None:
    async with running(tmp_path) as event:
        counted = [
            (await event.control("POST", "/v1/readings", source=source, readings={})).json["alike"]
            for source in ("gate a 1", "gate b 2", "recorder c 3", "gate a 1")
        ]
        assert counted == [1, 2, 1, 2]


async def test_a_share_that_a_gate_was_told_goes_before_an_equal_one_until_the_pace_is_switched() -> None:
    async with many_sets(packets=60_000, release_per_s=PACE) as event:
        gates = [await event.gate() for _ in range(2)]
        for gate, part in zip(gates, (0.9, 0.1), strict=True):
            gate.gate.switches.share_with(2)
            gate.gate.switches.share_out({"r1": part * PACE})
        assert await _released(event, gates[:1], 0) == pytest.approx(0.9 * PACE * SECONDS, rel=0.1)
        assert await _released(event, gates[1:], SECONDS) == pytest.approx(0.1 * PACE * SECONDS, rel=0.2)
        counted = gates[0].gate.switches.released()["r1"]
        assert counted.seen == pytest.approx(CROWD * SECONDS, rel=0.05)
        assert counted.released == pytest.approx(0.9 * PACE * SECONDS, rel=0.1)
        defaults = {name: switch.default for name, switch in registry_of([("r1", None), ("r2", None)], ()).items()}
        gates[0].gate.switches.apply(Snapshot(1, defaults | {pace_of("r1"): PACE / 2}))
        assert await _released(event, gates[:1], 2 * SECONDS) == pytest.approx(PACE / 4 * SECONDS, rel=0.1)


async def test_gates_tell_what_they_let_go_and_hear_what_they_may() -> None:
    now_us = 0
    [operation] = ReleaseApi(
        lambda: Snapshot(1, {pace_of("r1"): 100.0, pace_of("r2"): OFF}), lambda: now_us
    ).operations()
    told: dict[str, dict[str, float]] = {}
    for step in range(20):
        now_us = step * 200_000
        for gate, part in (("a", 3), ("b", 1)):
            rounds = {"r1": [step * 5 * part, step * 100 * part], "r2": [9, 9], "unknown": [0, 0]}
            _, answered = await operation.run({"gate": gate, "rounds": rounds}, "event")
            told[gate] = answered["paces"]
    assert told == {"a": {"r1": pytest.approx(74, rel=0.05)}, "b": {"r1": pytest.approx(26, rel=0.05)}}
    assert (await operation.run({"gate": "a"}, "event"))[0] == 400
