"""Levels and room: what a store of a fixed rate decides, however many come; and how a threshold moves."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrush.core.load.levels import (
    ADMITTED_MIN,
    CLAIMS_MIN,
    COUNTS,
    EVERYTHING,
    GRADES,
    LATE_WINDOWS_MIN,
    OVERLOADED_WINDOWS_MIN,
    SHED_FOR_GATE_MAX,
    WINDOW_S,
    Levels,
    Window,
    grade,
    grade_key,
)
from redrush.core.load.room import FEW, Room
from tests.core.load.simulated_gate import Shop, SimulatedGate

SECRET = b"k" * 32
EVENLY = [10] * COUNTS


def window(
    *,
    taken: int = 100,
    waited_ms: float = 1.0,
    turned_away: int = 0,
    decided: int = 100,
    asked: list[int] | None = None,
    late: bool = False,
) -> Window:
    """A window in which claims waited so long on average, where 10 ms are fine."""
    return Window(
        lasts_s=WINDOW_S,
        taken=taken,
        waited_s=taken * waited_ms / 1e3,
        turned_away=turned_away,
        decided=decided,
        waiting_more=0,
        asked=asked,
        wait_mean_max_s=0.010,
        usual_s=0.002,
        late=late,
    )


# -- a crowd before a store


@pytest.mark.parametrize("times", [1, 2, 5, 10, 20])
@pytest.mark.parametrize("shop", [Shop(per_s=2_000), Shop(per_s=500), Shop(per_s=8_000, each_s=0.002)], ids=str)
def test_a_store_decides_nearly_as_much_as_it_can_however_many_come(shop: Shop, times: int) -> None:
    seed = 17 * times
    peak = SimulatedGate(shop, seed)
    peak.run(shop.per_s, 3)
    gate = SimulatedGate(shop, seed)
    gate.run(shop.per_s / 2, 1)
    gate.run(shop.per_s * times, 4)
    gate.run(shop.per_s * 0.3, 2)
    assert gate.goodput(1, 5) >= 0.9 * peak.goodput(1, 3)
    # Once it has learned, nobody who is let in waits long: a batch before theirs, and their own.
    assert gate.took_s(2, 5, 0.99) <= 0.080
    open_again_s = next(at_s for at_s, level in gate.level_at if at_s > 5 and level == 0)
    assert open_again_s - 5 <= 1.0
    assert all(level == 0 for at_s, level in gate.level_at if at_s > open_again_s + 1)


def test_nobody_is_refused_where_the_store_has_time_left() -> None:
    gate = SimulatedGate(Shop(per_s=2_000), 1)
    gate.run(1_400, 10)
    assert (gate.refused, gate.no_place) == (0, 0)


@pytest.mark.parametrize("each_s", [0.02, 0.05, 0.2])
def test_a_store_that_is_slow_whatever_it_is_sent_is_sent_all(each_s: float) -> None:
    gate = SimulatedGate(Shop(per_s=100_000, each_s=each_s), 1)
    gate.run(5, 2)
    gate.run(2_000, 6)
    assert gate.refused == 0
    assert gate.no_place <= 0.01 * gate.offered


def test_a_store_that_becomes_slow_for_good_is_strangled_only_until_that_is_known() -> None:
    gate = SimulatedGate(Shop(per_s=100_000, each_s=0.002), 1)
    gate.run(2_000, 2)
    gate.change(Shop(per_s=100_000, each_s=0.1))
    gate.run(2_000, 8)
    assert gate.goodput(8, 10) >= 1_900


def test_a_store_that_becomes_fast_again_gets_all_within_two_seconds() -> None:
    gate = SimulatedGate(Shop(per_s=300), 1)
    gate.run(2_000, 3)
    gate.change(Shop(per_s=20_000))
    gate.run(2_000, 4)
    assert gate.goodput(5.5, 7) >= 1_900


def test_a_level_set_before_the_opening_spares_the_first_ones_the_wait() -> None:
    took_s = []
    for level in (0.0, 0.9):
        gate = SimulatedGate(Shop(per_s=2_000), 3)
        gate.levels.preset(level)
        gate.run(20_000, 0.5)
        took_s.append(gate.took_s(0, 0.5, 0.99))
    assert took_s[1] < 0.6 * took_s[0]


@pytest.mark.parametrize("shop", [Shop(per_s=2_000), Shop(per_s=8_000, each_s=0.002)], ids=str)
def test_the_first_moment_of_a_wave_does_not_become_one_batch(shop: Shop) -> None:
    for seed in range(4):
        gate = SimulatedGate(shop, seed)
        gate.run(shop.per_s / 2, 1)
        gate.run(10 * shop.per_s, 2)
        assert gate.took_s(1, 1.3, 1.0) <= 0.120, seed


# -- the threshold


def test_one_bad_window_is_a_hiccup_and_two_are_an_overload() -> None:
    levels = Levels()
    for _ in range(OVERLOADED_WINDOWS_MIN):
        assert levels.level == 0
        levels.step(window(taken=200, waited_ms=20, decided=100))
    assert 0.4 < levels.level < 0.6, "it goes at once where the store can follow"


def test_what_can_wait_makes_way_first_and_comes_back_last() -> None:
    levels = Levels()
    for _ in range(2):
        levels.step(window(taken=105, waited_ms=20, decided=100))
    assert levels.admitted < GRADES
    levels.step(window(asked=[1] * COUNTS))
    while levels.level > 0:
        levels.step(window(asked=[1] * COUNTS))
    assert levels.admitted < EVERYTHING
    for _ in range(8):
        levels.step(window())
    assert levels.admitted == EVERYTHING


def test_few_claims_that_waited_long_say_nothing() -> None:
    levels = Levels()
    for _ in range(20):
        levels.step(window(taken=CLAIMS_MIN - 1, waited_ms=900, decided=1))
    assert levels.level == 0


def test_a_gate_that_is_short_of_time_sheds_half_at_most_and_says_why() -> None:
    levels = Levels()
    for number in range(30):
        assert levels.for_gate is (number >= LATE_WINDOWS_MIN)
        levels.step(window(asked=EVENLY if levels.level else None, late=True))
    assert levels.level == pytest.approx(SHED_FOR_GATE_MAX, abs=0.01)
    for _ in range(10):
        levels.step(window(asked=EVENLY))
    assert (levels.level, levels.for_gate) == (0, False)


def test_operators_can_shut_everybody_out_and_counting_never_does() -> None:
    levels = Levels()
    levels.set_floor(1.0)
    assert levels.admitted == 0
    levels.step(window(taken=0, decided=0))
    assert levels.admitted == 0
    levels.set_floor(0.0)
    for _ in range(50):
        levels.step(window(taken=500, waited_ms=500, decided=0, asked=EVENLY))
        assert levels.admitted >= ADMITTED_MIN


@given(
    st.lists(
        st.tuples(
            st.integers(0, 5_000), st.floats(0, 2_000), st.integers(0, 5_000), st.integers(0, 5_000), st.booleans(),
            st.lists(st.integers(0, 200), min_size=COUNTS, max_size=COUNTS),
        ),
        max_size=30,
    ),
    st.floats(0, 1),
)  # fmt: skip
def test_the_threshold_stays_within_its_bounds_and_opens_within_a_second_of_quiet(
    windows: list[tuple[int, float, int, int, bool, list[int]]], floor: float
) -> None:
    levels = Levels()
    levels.set_floor(floor)
    for taken, waited_ms, turned_away, decided, late, asked in windows:
        levels.step(
            window(
                taken=taken, waited_ms=waited_ms, turned_away=turned_away, decided=decided, late=late,
                asked=asked if levels.admitted < GRADES else None,
            )
        )  # fmt: skip
        assert 0 <= levels.admitted <= EVERYTHING
        assert levels.level >= floor - 1 / GRADES
    for _ in range(math.ceil(3 / WINDOW_S)):  # the counts of a large crowd take some windows to be forgotten
        levels.step(window(taken=0, decided=0, asked=[0] * COUNTS if levels.admitted < GRADES else None))
    assert levels.level == pytest.approx(floor, abs=1 / GRADES)


# -- grades


def test_grades_are_even_and_others_in_the_next_hour_and_the_same_in_every_process() -> None:
    users = [f"user-{number}" for number in range(40_000)]
    one, other = (grade_key(SECRET, hour) for hour in (500_000, 500_001))
    first = [grade(user, one) for user in users]
    second = [grade(user, other) for user in users]
    per_eighth = Counter(found * 8 // GRADES for found in first)
    assert all(abs(count - 5_000) < 400 for count in per_eighth.values()), per_eighth
    lucky = [later for now, later in zip(first, second, strict=True) if now < GRADES // 10]
    still_lucky = sum(later < GRADES // 10 for later in lucky) / len(lucky)
    assert 0.05 < still_lucky < 0.15, "who was admitted in one hour is no likelier to be in the next"
    assert grade_key(SECRET, 500_000) == one
    assert grade_key(b"j" * 32, 500_000) != one, "nobody without the secret can tell"


# -- room


def test_one_slow_batch_makes_the_next_one_small_and_refuses_nobody() -> None:
    room = Room(1_024)
    room.learn(1, 2_000, 20_000, calm=True)
    room.learn(1_000, 200_000, 20_000, calm=True)
    assert (room.batch_max, room.waiting_max) == (100, None)
    room.learn(100, 3_000, 20_000, calm=True)
    assert (room.batch_max, room.waiting_max) == (200, None), "it was a hiccup"


def test_batches_that_were_under_way_in_the_same_hiccup_refuse_nobody() -> None:
    room = Room(1_024)
    for _ in range(4):
        room.learn(32, 2_000, 10_000, calm=True)
    room.learn(32, 40_000, 10_000, calm=True)
    assert room.suspected
    room.learn(32, 41_000, 10_000, calm=True, next_one=False)  # the other one that was on its way to the set
    assert room.waiting_max is None
    room.learn(8, 2_000, 10_000, calm=True)
    assert (room.suspected, room.waiting_max) == (False, None), "it was a hiccup"


def test_a_small_batch_that_is_slow_too_limits_who_may_wait() -> None:
    room = Room(1_024)
    room.learn(1_000, 200_000, 20_000, calm=True)
    room.learn(100, 19_000, 20_000, calm=True)
    assert room.waiting_max == room.batch_max == 105


@given(st.lists(st.tuples(st.integers(1, 1_024), st.integers(0, 10**7), st.booleans()), max_size=60))
def test_room_is_never_less_than_a_few_and_never_stays_small_before_a_quick_store(
    batches: list[tuple[int, int, bool]],
) -> None:
    room = Room(1_024)
    for claims, took_us, calm in batches:
        room.learn(min(claims, room.batch_max), took_us, 20_000.0, calm=calm)
        assert FEW <= room.batch_max <= 1_024
    for _ in range(20):
        room.learn(room.batch_max, 1_000, 20_000.0, calm=True)
    assert (room.batch_max, room.waiting_max) == (1_024, None)
