import numpy as np
import pytest

from redrush.drill.schedules import constant_rate, pick_people, plan, rush, think_times


def test_a_constant_rate_is_evenly_spaced() -> None:
    times_s = constant_rate(2000, 1.5)
    assert len(times_s) == 3000
    assert np.allclose(np.diff(times_s), 1 / 2000)
    assert times_s[0] == 0.0
    assert times_s[-1] < 1.5


def test_a_rush_begins_just_before_the_opening_peaks_at_it_and_decays() -> None:
    times_s = rush(50_000, decay_s=1.5, skew_s=0.2, lasts_s=5.0, seed=7)
    assert len(times_s) == 50_000
    assert -0.6 <= times_s.min() < 0
    assert times_s.max() <= 5.0
    early = float((times_s < 0).mean())
    assert 0.03 < early < 0.08  # 0.4 * skew_s / decay_s = 0.053
    per_second = np.histogram(times_s, bins=np.arange(0.0, 5.01, 1.0))[0]
    assert list(per_second) == sorted(per_second, reverse=True)
    assert per_second[0] / per_second[2] == pytest.approx(np.exp(2 / 1.5), rel=0.15)


def test_equal_seeds_give_equal_crowds_and_others_differ() -> None:
    first, again, other = (rush(1000, decay_s=1, skew_s=0.1, lasts_s=4, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_think_times_spread_around_their_median_within_bounds() -> None:
    pauses_s = think_times(20_000, median_s=0.8, seed=1)
    assert np.median(pauses_s) == pytest.approx(0.8, rel=0.03)
    assert pauses_s.min() >= 0.2
    assert pauses_s.max() <= 3.2
    assert pauses_s.std() > 0.2


def test_people_are_picked_once_each() -> None:
    people = pick_people(1000, 400, seed=5)
    assert len(set(people.tolist())) == 400
    assert people.max() < 1000


def test_a_plan_is_in_order_of_time_and_keeps_who_asks_for_what() -> None:
    schedule = plan([(1, np.array([5.0, 7.0]), np.array([10, 11])), (0, np.array([6.0]), np.array([12]))])
    assert schedule.times_s.tolist() == [5.0, 6.0, 7.0]
    assert schedule.users.tolist() == [10, 12, 11]
    assert schedule.rounds.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: constant_rate(0, 1),
        lambda: rush(10, decay_s=0, skew_s=0, lasts_s=1, seed=1),
        lambda: pick_people(3, 4, seed=1),
        lambda: plan([]),
        lambda: plan([(0, np.array([1.0]), np.array([1, 2]))]),
    ],
)
def test_an_impossible_schedule_is_refused(attempt: object) -> None:
    assert callable(attempt)
    with pytest.raises(ValueError, match=r"needs|cannot pick"):
        attempt()
