"""Gates that share a release pace, in simulated time: the sum is what was planned, however the crowd is spread."""

from collections.abc import Callable, Iterator
from random import Random

import pytest

from redrush.core.rush.pace_shares import EVEN_PART, HEARD_US, AllPaceShares, PaceShares, Released
from redrush.core.rush.release import ReleaseFilter

SECOND_US = 1_000_000
PACE = 2_000.0
TELLS_US = 200_000
LATE_US = 30_000
"""What lies between what a gate has counted, and its new share."""
STEP_US = 5_000

Crowd = Callable[[float], list[float]]
"""Requests a second of each gate, at a second."""


def released(crowd: Crowd, seconds: int, seed: int = 1, *, shared: bool = True) -> list[int]:
    """Return what all gates together let go in each step."""
    random, shares = Random(seed), PaceShares()
    gates = [ReleaseFilter(PACE / len(crowd(0.0))) for _ in crowd(0.0)]
    told: list[tuple[int, int, float]] = []  # when, to whom, and how much
    let_go = []
    for now_us in range(0, seconds * SECOND_US, STEP_US):
        while told and told[0][0] <= now_us:
            _, number, per_s = told.pop(0)
            gates[number].set_pace(per_s, now_us)
        if shared and now_us % TELLS_US == 0:
            for number, gate in enumerate(gates):
                mine = shares.hear(f"g{number}", Released(gate.released, gate.seen), now_us, PACE)
                if mine is not None:
                    told.append((now_us + LATE_US, number, mine))
        count = 0
        for gate, per_s in zip(gates, crowd(now_us / SECOND_US), strict=True):
            wanted = per_s * STEP_US / SECOND_US
            for _ in range(int(wanted) + (random.random() < wanted % 1)):
                count += gate.admit(now_us + random.randrange(STEP_US), random.random())
        let_go.append(count)
    return let_go


def over_five_seconds(let_go: list[int], from_s: int) -> Iterator[float]:
    """Yield what part of the plan was let go in any 5 s from then on."""
    span = 5 * SECOND_US // STEP_US
    first = from_s * SECOND_US // STEP_US
    for start in range(first, len(let_go) - span, 10):
        yield sum(let_go[start : start + span]) / (5 * PACE)


UNEVEN = (0.55, 0.25, 0.15, 0.05)


def jumping(second: float) -> list[float]:
    """Half as much again as may go, spread unevenly; a hundred times that from the eighth second on."""
    total = 1.5 * PACE * (100 if second >= 8 else 1)
    return [total * part for part in UNEVEN]


def calm(_second: float) -> list[float]:
    return jumping(0.0)


@pytest.mark.parametrize("seed", [1])
def test_four_gates_keep_to_the_plan_within_two_percent_over_any_five_seconds_while_the_crowd_grows_a_hundredfold(
    seed: int,
) -> None:
    parts = list(over_five_seconds(released(jumping, 13, seed), 2))
    assert min(parts) > 0.98
    assert max(parts) < 1.02


def test_with_equal_shares_what_a_gate_with_few_requests_cannot_let_go_is_lost() -> None:
    """What the shares are for: this is how it was before."""
    assert max(over_five_seconds(released(calm, 8, shared=False), 2)) < 0.9


def moving(second: float) -> list[float]:
    """The crowd goes from one gate to another, as when a balancer loses one."""
    return [3 * PACE * part for part in (UNEVEN if second < 6 else UNEVEN[::-1])]


def test_when_the_crowd_moves_to_other_gates_the_plan_is_kept_again_within_seconds_and_never_passed_in_all() -> None:
    let_go = released(moving, 16)
    assert sum(let_go) == pytest.approx(16 * PACE, rel=0.02), "what was missing was made up for, and no more"
    assert all(0.98 < part < 1.02 for part in over_five_seconds(let_go, 10))


def test_a_gate_that_is_gone_leaves_its_share_to_the_others() -> None:
    shares, pace = PaceShares(), 200.0
    let_go, mine = {"a": 0.0, "b": 0.0}, {"a": pace / 2, "b": pace / 2}
    for now_us in range(0, 8 * SECOND_US, TELLS_US):
        for gate in ("a", "b") if now_us < 2 * SECOND_US else ("a",):
            let_go[gate] += mine[gate] * TELLS_US / SECOND_US
            told = shares.hear(gate, Released(int(let_go[gate]), now_us // 1_000), now_us, pace)
            mine[gate] = mine[gate] if told is None else told
        if now_us == 2 * SECOND_US:
            assert mine["a"] == pytest.approx(100, rel=0.1)
    assert now_us > 2 * SECOND_US + HEARD_US
    assert mine["a"] == pytest.approx(200, rel=0.1)


def test_a_gate_without_a_crowd_keeps_a_little_so_that_it_does_not_begin_from_nothing() -> None:
    shares = PaceShares()
    for now_us in range(0, 5 * SECOND_US, TELLS_US):
        shares.hear("busy", Released(now_us // 10_000, now_us // 100), now_us, 100.0)
        idle = shares.hear("idle", Released(0, 0), now_us, 100.0)
    assert idle is not None
    assert 0 < idle <= 100 * 1.5 * EVEN_PART


def test_only_rounds_with_a_pace_are_shared() -> None:
    counted, shares = {"r1": Released(0, 0), "r2": Released(0, 0)}, AllPaceShares()
    assert shares.hear("a", counted, 0, {"r1": 30.0}) == {}, "there may be more gates"
    assert shares.hear("a", counted, SECOND_US, {"r1": 30.0}) == {"r1": pytest.approx(30, rel=0.5)}
