"""Splitting a packet among a few: exact whatever is asked, the same for a seed, and fair to every place."""

from statistics import mean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrush.core.money.small_split import SHARES_MAX, split_small
from redrush.core.rush.campaign import Kind

SEEDS = st.binary(max_size=64)


@st.composite
def splits(draw: st.DrawFn) -> tuple[int, int, int]:
    shares = draw(st.integers(1, 120))
    most = draw(st.integers(1, 20_000))
    return draw(st.integers(shares, shares * most)), shares, most


@given(splits(), st.sampled_from(list(Kind)), SEEDS)
def test_the_sum_is_exact_and_every_share_within_its_bounds(
    split: tuple[int, int, int], kind: Kind, seed: bytes
) -> None:
    total, shares, most = split
    amounts = split_small(kind, total, shares, seed, share_minor_max=most)
    assert (sum(amounts), len(amounts)) == (total, shares)
    assert min(amounts) >= 1
    assert max(amounts) <= most
    assert amounts == split_small(kind, total, shares, seed, share_minor_max=most)
    if kind is Kind.EQUAL:
        assert max(amounts) - min(amounts) <= 1


def test_amounts_are_those_of_the_seed_for_ever() -> None:
    """A row that was split once: another library, or machine, must not split it otherwise."""
    assert split_small(Kind.LUCKY, 1_000, 5, b"seed", share_minor_max=900) == SEED_ROW


SEED_ROW = [110, 39, 41, 552, 258]


def test_no_place_is_better_than_another_and_amounts_spread_as_people_know_it() -> None:
    rows = [split_small(Kind.LUCKY, 10_000, 10, b"%d" % number, share_minor_max=10_000) for number in range(4_000)]
    means = [mean(row[place] for row in rows) for place in range(10)]
    assert all(abs(one - 1_000) < 45 for one in means), means
    spreads = [pstdev(row[place] for row in rows) for place in range(10)]
    assert max(spreads) < 1.12 * min(spreads), spreads
    assert 500 < mean(spreads) < 900
    best = [max(range(10), key=row.__getitem__) for row in rows]
    counts = [best.count(place) for place in range(10)]
    chi_square = sum((count - 400) ** 2 / 400 for count in counts)
    assert chi_square < 27.9, counts  # of 9 degrees, 1 of 1,000


@pytest.mark.parametrize(
    ("total", "shares", "most"), [(2, 3, 9), (10, 3, 3), (0, 1, 1), (5, 0, 9), (5, SHARES_MAX + 1, 9)]
)
def test_what_cannot_be_is_refused(total: int, shares: int, most: int) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        split_small(Kind.LUCKY, total, shares, b"s", share_minor_max=most)
