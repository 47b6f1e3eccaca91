"""Times in buckets: none is lost, each is in its own, and quantiles are as exact as the buckets are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrush.core.load.histogram import LAST, NO_COUNTS, Histogram, quantile_us, summed

INSTANTS_US = st.lists(st.integers(0, 1 << 40), max_size=300).map(sorted)


def of(*times_us: int) -> Histogram:
    times = Histogram()
    for took_us in times_us:
        times.add(took_us)
    return times


@given(since_us=INSTANTS_US, later_us=st.integers(0, 1 << 30))
def test_a_batch_is_counted_as_its_claims_would_be_one_by_one(since_us: list[int], later_us: int) -> None:
    now_us = (since_us[-1] if since_us else 0) + later_us
    whole, each = Histogram(), of(*(now_us - at_us for at_us in since_us))
    whole.add_ended(since_us, now_us)
    assert (whole.counts, whole.sum_us, whole.count) == (each.counts, each.sum_us, len(since_us))


@pytest.mark.parametrize(
    ("took_us", "bucket"), [(-3, 0), (0, 0), (1, 1), (2, 2), (3, 2), (1_023, 10), (1_024, 11), (1 << 40, LAST)]
)
def test_a_time_is_below_its_power_of_two(took_us: int, bucket: int) -> None:
    assert of(took_us).counts[bucket] == 1


def test_several_that_are_alike_and_several_histograms_are_summed() -> None:
    some = Histogram()
    some.add(700, 3)
    total = summed([some, of(700, 5)])
    assert (total.count, total.sum_us, total.counts[10]) == (5, 4 * 700 + 5, 4)
    assert summed([]).counts == list(NO_COUNTS)


@given(st.lists(st.integers(1, (1 << 24) - 1), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_right_to_a_factor_of_two(times_us: list[int], share: float) -> None:
    exact_us = next(one for rank, one in enumerate(sorted(times_us), 1) if rank >= share * len(times_us))
    found_us = quantile_us(of(*times_us).counts, share)
    assert exact_us / 2 <= found_us <= 2 * exact_us


def test_quantiles_of_nothing_and_of_what_has_no_upper_bound() -> None:
    assert quantile_us(NO_COUNTS, 0.99) == 0.0
    assert quantile_us(of(1 << 30).counts, 0.5) == 1 << 24
