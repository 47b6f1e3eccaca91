"""The arrivals are simulated: time and the lots are handed in. Every draw comes from one seed."""

import math
import random
from collections.abc import Iterator
from itertools import pairwise

import pytest

from redrush.core.rush.release import WINDOW_US, ReleaseFilter

SEED = 20270206
START_US = 1_800_000_000_000_000
SECOND_US = 1_000_000
PACE = 1_000
SHARE = PACE * WINDOW_US // SECOND_US
BURST = 2 * SHARE

Steps = list[tuple[float, float]]
"""Seconds, and requests per second during them."""


def arrivals(steps: Steps, rng: random.Random | None) -> Iterator[int]:
    """Instants of requests in µs: a Poisson stream, or evenly spaced without a generator."""
    begins_us = float(START_US)
    for seconds, rate in steps:
        ends_us = begins_us + seconds * SECOND_US
        at_us = begins_us
        while True:
            at_us += SECOND_US * rng.expovariate(rate) if rng else SECOND_US / rate
            if at_us >= ends_us:
                break
            yield int(at_us)
        begins_us = ends_us


def released(shake_filter: ReleaseFilter, steps: Steps, *, evenly: bool = False) -> list[int]:
    """Return the packets that were released in each window, the empty ones included."""
    rng = random.Random(SEED)
    windows = [0] * math.ceil(sum(seconds for seconds, _ in steps) * SECOND_US / WINDOW_US)
    for at_us in arrivals(steps, None if evenly else rng):
        windows[(at_us - START_US) // WINDOW_US] += shake_filter.admit(at_us, rng.random())
    return windows


@pytest.mark.parametrize("evenly", [True, False], ids=["evenly", "at random"])
@pytest.mark.parametrize("times_the_pace", [0.1, 0.5, 1, 2, 10])
def test_packets_are_released_at_the_pace_or_as_fast_as_they_are_asked_for(times_the_pace: float, evenly: bool) -> None:
    seconds = 15
    total = sum(released(ReleaseFilter(PACE), [(seconds, PACE * times_the_pace)], evenly=evenly))
    wanted = seconds * PACE * min(1, times_the_pace)
    assert total == pytest.approx(wanted, rel=0.04)
    assert total <= seconds * PACE + BURST


def test_the_pace_holds_against_a_thousand_times_as_many_requests() -> None:
    windows = released(ReleaseFilter(PACE), [(1.5, 1_000 * PACE)], evenly=True)
    assert sum(windows) == pytest.approx(1.5 * PACE, rel=0.04)
    assert max(windows) <= BURST


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([(1, 100_000)], id="a wall of requests at the opening"),
        pytest.param([(1, 10), (1, 200_000), (1, 10)], id="one wave"),
        pytest.param([(0.25, 2_000), (0.25, 100_000)] * 4, id="waves that cut windows in halves"),
        pytest.param([(2, 1), (1, 300_000)], id="silence, then everybody"),
    ],
)
def test_no_window_and_no_row_of_windows_releases_more_than_its_shares_and_a_burst(steps: Steps) -> None:
    windows = released(ReleaseFilter(PACE), steps)
    assert max(windows) <= BURST
    for length in range(1, len(windows) + 1):
        rows = (sum(windows[first : first + length]) for first in range(len(windows) - length + 1))
        assert max(rows) <= length * SHARE + BURST


def test_after_each_step_of_the_crowd_the_pace_is_found_again() -> None:
    steps: Steps = [(3, 3_000), (3, 60_000), (3, 1_500), (3, 20_000)]
    windows = released(ReleaseFilter(PACE), steps)
    seconds = [sum(windows[first : first + 10]) for first in range(0, 120, 10)]
    settled = [second for number, second in enumerate(seconds) if number % 3]
    assert settled == pytest.approx([PACE] * 8, rel=0.15)
    assert sum(seconds) == pytest.approx(12 * PACE, rel=0.03)


def test_the_first_window_releases_one_share_although_the_rate_is_not_known() -> None:
    assert released(ReleaseFilter(PACE), [(0.1, 500_000)]) == [SHARE]


@pytest.mark.parametrize(("pace", "rate", "expected"), [(3, 1_000, 3), (3, 0.5, 0.5), (0.5, 100, 0.5), (15, 4_000, 15)])
def test_a_pace_of_a_few_packets_a_second_is_met_over_time(pace: float, rate: float, expected: float) -> None:
    seconds = 120
    windows = released(ReleaseFilter(pace), [(seconds, rate)])
    assert max(windows) <= max(4, 2 * pace / 10)
    assert sum(windows) <= seconds * pace + 4
    assert sum(windows) == pytest.approx(sum(1 for _ in arrivals([(seconds, rate)], None)) * expected / rate, abs=14)


@pytest.mark.parametrize("pace", [50, 1_000])
def test_early_and_late_requests_of_a_window_have_the_same_chance_once_the_rate_is_known(pace: int) -> None:
    rng = random.Random(SEED)
    shake_filter = ReleaseFilter(pace)
    fifths = [0] * 5
    seconds = 10_000 // pace
    for at_us in arrivals([(0.5, 20 * pace), (seconds, 20 * pace)], rng):
        won = shake_filter.admit(at_us, rng.random())
        if at_us >= START_US + SECOND_US // 2:
            fifths[(at_us - START_US) % WINDOW_US * 5 // WINDOW_US] += won
    assert sum(fifths) == pytest.approx(10_000, rel=0.03)
    for wins in fifths:  # 4.5 standard deviations of a fair fifth
        assert abs(wins - sum(fifths) / 5) < 4.5 * (sum(fifths) * 0.2 * 0.8) ** 0.5


def test_no_pace_admits_everybody() -> None:
    steps: Steps = [(0.3, 1_000), (0.3, 200_000), (0.3, 10)]
    total = sum(1 for _ in arrivals(steps, None))
    assert sum(released(ReleaseFilter(None), steps, evenly=True)) == total


@pytest.mark.parametrize("before", [None, 20_000.0, 100.0])
@pytest.mark.parametrize("after", [2_000.0, 20.0])
def test_a_changed_pace_holds_at_once_and_without_a_long_silence(before: float | None, after: float) -> None:
    shake_filter = ReleaseFilter(before)
    released(shake_filter, [(1.05, 30_000)], evenly=True)
    now_us = START_US + 1_050_000
    shake_filter.set_pace(after, now_us)
    rng = random.Random(SEED)
    wins = [at for at in range(now_us, now_us + 5 * SECOND_US, 33) if shake_filter.admit(at, rng.random())]
    burst = max(4.0, after / 5)
    assert sum(at < START_US + 1_100_000 for at in wins) <= burst, "the window under way keeps to the new pace"
    assert len(wins) == pytest.approx(5 * after, rel=0.1, abs=15)
    assert len(wins) <= 5 * after + burst
    gaps_us = [later - earlier for earlier, later in pairwise([now_us, *wins])]
    assert max(gaps_us) < 15 * SECOND_US / after + 3 * WINDOW_US


def test_taking_the_pace_away_admits_everybody_from_the_next_request_on() -> None:
    shake_filter = ReleaseFilter(PACE)
    released(shake_filter, [(1.05, 300_000)])
    now_us = START_US + 1_050_000
    shake_filter.set_pace(None, now_us)
    assert all(shake_filter.admit(at_us, 0.999_999) for at_us in range(now_us, now_us + SECOND_US, 10))


def test_setting_paces_again_and_again_does_not_earn_packets() -> None:
    shake_filter = ReleaseFilter(PACE)
    wins = 0
    for number in range(20_000):  # one second, a change every millisecond
        at_us = START_US + number * 50
        if number % 20 == 0:
            shake_filter.set_pace(PACE if number % 40 else 2 * PACE, at_us)
        wins += shake_filter.admit(at_us, 0.0)
    assert wins <= 2 * PACE + 2 * BURST


def test_a_pace_of_zero_releases_nothing_until_it_is_raised() -> None:
    shake_filter = ReleaseFilter(0)
    assert not any(shake_filter.admit(START_US + number * 1_000, 0.0) for number in range(3_000))
    shake_filter.set_pace(PACE, START_US + 3 * SECOND_US)
    assert shake_filter.admit(START_US + 3 * SECOND_US, 0.0)
    shake_filter.set_pace(0, START_US + 3 * SECOND_US)
    wins = [shake_filter.admit(START_US + 3 * SECOND_US + number * 1_000, 0.0) for number in range(3_000)]
    assert not any(wins), "nothing is carried over into the silence"


@pytest.mark.parametrize("pace", [-1, float("nan")])
def test_a_pace_below_zero_is_refused(pace: float) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        ReleaseFilter(pace)
    with pytest.raises(ValueError, match="cannot be"):
        ReleaseFilter(1.0).set_pace(pace, START_US)


def test_who_comes_after_a_silence_is_not_measured_by_the_crowd_before_it() -> None:
    shake_filter = ReleaseFilter(PACE)
    released(shake_filter, [(1, 100_000)])
    later_us = START_US + 3 * SECOND_US
    assert all(shake_filter.admit(later_us + number, 0.999) for number in range(SHARE))
