import random

import pytest

from redrush.core.release import BUDGET_WINDOWS_MAX, WINDOW_US, ReleaseFilter

SEED = 20270206


def released_per_window(release_per_s: float, arrivals_per_s: list[float], seed: int = SEED) -> list[int]:
    """Return the packets released in each window while requests come evenly, each second at its own rate."""
    draw = random.Random(seed).random
    shake_filter = ReleaseFilter(release_per_s)
    released: dict[int, int] = {}
    start_us = 1_800_000_000_000_000
    for second, rate in enumerate(arrivals_per_s):
        for number in range(round(rate)):
            now_us = start_us + second * 1_000_000 + int(number * 1_000_000 / rate)
            released[now_us // WINDOW_US] = released.get(now_us // WINDOW_US, 0) + shake_filter.admit(now_us, draw())
    return list(released.values())


@pytest.mark.parametrize("times_the_pace", [0.1, 1, 3, 10, 100])
def test_packets_are_released_at_the_pace_or_as_fast_as_they_are_asked_for(times_the_pace: float) -> None:
    pace = 2_000
    released = sum(released_per_window(pace, [pace * times_the_pace] * 5))
    wanted = 5 * min(pace, pace * times_the_pace)
    assert 0.95 * wanted <= released <= 1.02 * wanted + pace * WINDOW_US / 1e6


@pytest.mark.parametrize(
    "arrivals_per_s",
    [[100_000], [10, 100_000, 10], [2_000, 200_000, 2_000, 200_000], [1, 300_000]],
    ids=["a wall of requests at the opening", "one wave", "waves", "silence, then everybody"],
)
def test_no_window_releases_more_than_its_budget_whatever_comes(arrivals_per_s: list[float]) -> None:
    pace = 1_000
    assert max(released_per_window(pace, arrivals_per_s)) <= BUDGET_WINDOWS_MAX * pace * WINDOW_US / 1e6


def test_the_first_window_releases_its_share_although_the_rate_is_not_known() -> None:
    assert released_per_window(1_000, [50_000])[0] == 100


def test_a_pace_below_one_packet_a_window_is_met_over_time() -> None:
    released = sum(released_per_window(3, [1_000] * 20))
    assert 50 <= released <= 63


def test_early_and_late_requests_of_a_window_have_the_same_chance_once_the_rate_is_known() -> None:
    draw = random.Random(SEED).random
    shake_filter = ReleaseFilter(1_000)
    halves = [0, 0]
    for number in range(400_000):  # 20 seconds at 20,000 requests/s: twenty times the pace
        now_us = 1_800_000_000_000_000 + number * 50
        won = shake_filter.admit(now_us, draw())
        if number >= 20_000:
            halves[(now_us % WINDOW_US) * 2 // WINDOW_US] += won
    assert abs(halves[0] - halves[1]) < 0.12 * sum(halves)


def test_a_changed_pace_holds_from_the_next_window_on() -> None:
    shake_filter = ReleaseFilter(1_000)
    start_us = 1_800_000_000_000_000
    assert sum(shake_filter.admit(start_us, 0.0) for _ in range(1_000)) == 100
    shake_filter.set_pace(50)
    later_us = start_us + 10 * WINDOW_US
    assert sum(shake_filter.admit(later_us, 0.0) for _ in range(1_000)) <= BUDGET_WINDOWS_MAX * 5


def test_a_pace_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        ReleaseFilter(0)
