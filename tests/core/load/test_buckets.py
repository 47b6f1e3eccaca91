"""Token buckets, with instants and digests handed in. Every draw comes from one seed or from hypothesis."""

import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrush.core.load.buckets import CELLS, REFUSED, SLOWED, WITHIN, Buckets, Rate

START_S = 5_000.0
KEY = 0x1234_5678_9ABC_DEF0
SEED = 20270206

rates = st.builds(Rate, st.floats(0.01, 5_000), st.integers(2, 500))
pauses = st.lists(st.floats(0, 3), min_size=1, max_size=400)


def passed(buckets: Buckets, instants_s: Iterable[float], key: int = KEY) -> list[float]:
    """Return the instants at which a request of the key passed."""
    return [at_s for at_s in instants_s if buckets.take(key, at_s) != REFUSED]


def instants(pauses_s: Iterable[float]) -> list[float]:
    found, at_s = [], START_S
    for pause_s in pauses_s:
        at_s += pause_s
        found.append(at_s)
    return found


@given(rates, pauses)
def test_never_more_than_burst_and_rate_pass_in_any_time(rate: Rate, pauses_s: list[float]) -> None:
    through = passed(Buckets(rate, 64), instants(pauses_s))
    for first, begins_s in enumerate(through):
        for count, ends_s in enumerate(through[first:], start=1):
            assert count <= rate.burst + rate.per_second * (ends_s - begins_s + 2e-6)


@given(rates)
def test_a_whole_burst_passes_at_once_and_again_after_a_rest(rate: Rate) -> None:
    buckets = Buckets(rate, 64)
    for rests in range(3):
        at_s = START_S + rests * (rate.recovers_s + 1)
        standings = [buckets.take(KEY, at_s) for _ in range(rate.burst + 5)]
        half = rate.burst - rate.burst // 2
        assert standings == [WITHIN] * half + [SLOWED] * (rate.burst // 2) + [REFUSED] * 5


@given(st.floats(0.01, 5_000), st.integers(2, 50))
def test_who_asks_at_the_rate_is_never_refused_and_at_half_of_it_never_slowed(per_second: float, burst: int) -> None:
    rate = Rate(per_second, burst)
    at_rate, at_half = Buckets(rate, 64), Buckets(rate, 64)
    for number in range(300):
        assert at_rate.take(KEY, START_S + number / per_second) != REFUSED
        assert at_half.take(KEY, START_S + 2 * number / per_second) == WITHIN


def test_who_hammers_gets_the_rate_and_not_less() -> None:
    rate = Rate(2, 10)
    through = passed(Buckets(rate), (START_S + number / 100 for number in range(6_000)))
    assert len(through) == pytest.approx(10 + 2 * 60, abs=2)


def test_a_refused_request_takes_nothing() -> None:
    buckets = Buckets(Rate(1, 4))
    assert len(passed(buckets, [START_S] * 1_000)) == 4
    assert buckets.take(KEY, START_S + 2) != REFUSED


def test_a_lower_rate_holds_from_the_next_request_on_and_is_taken_back_as_quickly() -> None:
    buckets = Buckets(Rate(100, 200))
    assert len(passed(buckets, [START_S] * 50)) == 50
    buckets.set_rate(Rate(1, 2))
    assert len(passed(buckets, (START_S + 10 + number / 100 for number in range(1_000)))) <= 2 + 10
    buckets.set_rate(Rate(100, 200))
    assert len(passed(buckets, (START_S + 40 + number / 100 for number in range(1_000)))) == 1_000


@pytest.mark.parametrize(("hammering", "refused_max"), [(1_000, 10), (10_000, 150)])
def test_few_polite_users_are_refused_for_the_sake_of_those_who_hammer(hammering: int, refused_max: int) -> None:
    """200,000 polite ones; expected are (h / cells)² of them: 1 for 1,000 that hammer, 73 for 10,000."""
    draw = random.Random(SEED)
    buckets = Buckets(Rate(2, 10))
    for _ in range(hammering):
        key = draw.getrandbits(62)
        for _ in range(11):
            buckets.take(key, START_S)
    standings = [buckets.take(draw.getrandbits(62), START_S + number / 50_000) for number in range(200_000)]
    assert standings.count(REFUSED) <= refused_max
    assert standings.count(SLOWED) <= 1.5 * 200_000 * hammering / CELLS + 100


def test_a_crowd_of_polite_users_is_hardly_slowed_and_never_refused_for_its_size() -> None:
    """What one gate can serve: everybody asks once a second, at half of their rate."""
    draw = random.Random(SEED)
    buckets = Buckets(Rate(2, 10))
    crowd = [draw.getrandbits(62) for _ in range(20_000)]
    standings = [
        buckets.take(key, START_S + second + number / len(crowd))
        for second in range(15)
        for number, key in enumerate(crowd)
    ]
    assert standings.count(REFUSED) <= 10
    assert standings.count(SLOWED) <= 0.04 * len(standings)


def test_a_table_that_nobody_has_asked_takes_no_memory() -> None:
    buckets = Buckets(Rate(2, 10))
    assert buckets.has_room(KEY, START_S)
    assert not buckets._first
    assert not buckets._second
    assert buckets.take(KEY, START_S) == WITHIN
    assert len(buckets._first) == len(buckets._second) == CELLS


def test_the_table_never_grows() -> None:
    buckets = Buckets(Rate(2, 10), 1_024)
    buckets.take(KEY, START_S)
    held = [cells.buffer_info()[1] * cells.itemsize for cells in (buckets._first, buckets._second)]
    draw = random.Random(SEED)
    for number in range(50_000):
        buckets.take(draw.getrandbits(62), START_S + number)
    assert [cells.buffer_info()[1] * cells.itemsize for cells in (buckets._first, buckets._second)] == held
    assert sum(held) == 16 * 1_024


@pytest.mark.parametrize(("per_second", "burst"), [(0, 10), (-1, 10), (2e6, 10), (float("nan"), 10), (2, 1), (2, 0)])
def test_rates_that_cannot_be_are_refused(per_second: float, burst: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        Rate(per_second, burst)
