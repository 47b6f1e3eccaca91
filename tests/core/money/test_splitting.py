"""Every seed is fixed and stands in its test, so a failure replays as it is.

Statistical bounds are about 4.5 standard errors, or the 0.1% point of the Kolmogorov-Smirnov distribution (1.95). With
fixed seeds they cannot flicker; they fail when the law is wrong by a few per cent.
"""

import math
import random
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from redrush.core.money import splitting
from redrush.core.money.currency import AMOUNT_MINOR_MAX
from redrush.core.money.feasibility import PACKETS_MAX, ImpossibleSplit
from redrush.core.money.splitting import PART_PACKETS_MIN, split
from redrush.core.rush.campaign import Kind

LUCKY_KINDS = [Kind.LUCKY, Kind.LUCKY_DOUBLE_MEAN]
ONE_PART = AMOUNT_MINOR_MAX
KS_LIMIT = 1.95
STANDARD_ERRORS = 4.5

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Cdf = Callable[[Floats], Floats]


def seed_of(number: int) -> bytes:
    return b"split %d" % number


def distance(amounts: Ints, cdf: Cdf) -> float:
    """Kolmogorov-Smirnov distance of whole amounts from a law on the reals that is rounded to the nearest unit."""
    values, counts = np.unique(amounts, return_counts=True)
    empirical: Floats = np.cumsum(counts) / len(amounts)
    return float(np.max(np.abs(empirical - cdf(np.asarray(values + 0.5)))))


def distance_of_two(a: Ints, b: Ints) -> float:
    values = np.union1d(a, b)
    below_a = np.searchsorted(np.sort(a), values, side="right") / len(a)
    below_b = np.searchsorted(np.sort(b), values, side="right") / len(b)
    return float(np.max(np.abs(below_a - below_b)))


def cut_bell(mean: float, deviation: float, low: float, high: float) -> tuple[Cdf, float]:
    """CDF and standard deviation of the normal law cut to [low, high] with that mean, by quadrature."""
    x = np.linspace(low, min(high, mean + 12 * deviation), 40_001)
    nearest, farthest = mean - deviation, mean + deviation
    for _ in range(50):
        centre = (nearest + farthest) / 2
        weight = np.exp(-(((x - centre) / deviation) ** 2) / 2)
        nearest, farthest = (centre, farthest) if np.average(x, weights=weight) < mean else (nearest, centre)
    up_to = np.concatenate([[0.0], np.cumsum((weight[1:] + weight[:-1]) / 2)])
    spread = math.sqrt(np.average((x - mean) ** 2, weights=weight))

    def cdf(at: Floats) -> Floats:
        return np.asarray(np.interp(at, x, up_to / up_to[-1]), np.float64)

    return cdf, spread


def textbook_double_mean(total: int, packets: int, low: int, rng: random.Random) -> list[int]:
    amounts = []
    for left in range(packets, 1, -1):
        drawn = rng.randint(low, 2 * total // left - low)
        amounts.append(drawn)
        total -= drawn
    return [*amounts, total]


# --- what holds for every split -------------------------------------------------------------------------------------


@st.composite
def feasible(draw: st.DrawFn) -> tuple[int, int, int, int, int]:
    packets = draw(st.integers(1, 400))
    low = draw(st.integers(1, 10) | st.integers(1, 10**6) | st.integers(1, 10**12))
    width = draw(st.integers(0, 3) | st.integers(0, 10**5) | st.integers(0, 10**12))
    above = packets * width
    excess = draw(st.sampled_from([0, min(1, above), max(0, above - 1), above]) | st.integers(0, above))
    total = min(packets * low + excess, AMOUNT_MINOR_MAX)
    part_total = draw(st.integers(1, 10**4) | st.just(splitting.PART_TOTAL_MINOR_MAX) | st.just(ONE_PART))
    return total, packets, low, low + width, part_total


@given(st.sampled_from(list(Kind)), feasible(), st.binary(max_size=40))
@settings(max_examples=400, deadline=None)
@example(Kind.LUCKY, (AMOUNT_MINOR_MAX, 300, 1, 10**13, ONE_PART), b"products beyond 64 bits")
@example(Kind.LUCKY_DOUBLE_MEAN, (AMOUNT_MINOR_MAX, 300, 1, 10**13, ONE_PART), b"")
@example(Kind.LUCKY, (AMOUNT_MINOR_MAX, 3, 333_333_333_333_333, 333_333_333_333_334, ONE_PART), b"")
def test_every_feasible_split_is_exact_within_bounds_and_repeatable(
    kind: Kind, demand: tuple[int, int, int, int, int], seed: bytes
) -> None:
    total, packets, low, high, part_total = demand
    amounts = split(kind, total, packets, low, high, seed, part_total)
    assert amounts.dtype == np.int64
    assert amounts.shape == (packets,)
    assert sum(amounts.tolist()) == total
    assert low <= amounts.min()
    assert amounts.max() <= high
    assert np.array_equal(amounts, split(kind, total, packets, low, high, seed, part_total))


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize(
    ("total", "packets", "low", "high"),
    [
        pytest.param(50_000, 1_000, 50, 20_000, id="exactly the minimum each"),
        pytest.param(50_001, 1_000, 50, 20_000, id="one unit above the minimum"),
        pytest.param(20_000_000, 1_000, 50, 20_000, id="exactly the maximum each"),
        pytest.param(19_999_999, 1_000, 50, 20_000, id="one unit below the maximum"),
        pytest.param(777, 1, 1, 20_000, id="one packet"),
        pytest.param(70_000, 1_000, 70, 70, id="min equals max"),
        pytest.param(1_500, 1_000, 1, 2, id="a range of one unit"),
        pytest.param(1_001, 1_000, 1, 2, id="a range of one unit, nearly all small"),
        pytest.param(AMOUNT_MINOR_MAX, 1_000, 1, AMOUNT_MINOR_MAX, id="the largest total"),
        pytest.param(AMOUNT_MINOR_MAX, 1, 1, AMOUNT_MINOR_MAX, id="the largest packet"),
        pytest.param(30_000_000, 1_000, 50, 40_000, id="three parts"),
    ],
)
def test_extremes_are_split_exactly(kind: Kind, total: int, packets: int, low: int, high: int) -> None:
    amounts = split(kind, total, packets, low, high, b"extreme")
    assert sum(amounts.tolist()) == total
    assert low <= amounts.min()
    assert amounts.max() <= high


@pytest.mark.parametrize(
    ("total", "packets", "low", "high", "sentence"),
    [
        (999_999, 20_000, 50, 200, "at least 50 minor units need 1000000 minor units, but the total is 999999"),
        (4_000_001, 20_000, 50, 200, "at most 200 minor units hold 4000000 minor units, but the total is 4000001"),
        (100, 0, 50, 200, "0 packets cannot be filled"),
        (100, -3, 50, 200, "-3 packets cannot be filled"),
        (100, 2, 0, 200, "the smallest packet is 0 minor units"),
        (100, 2, 60, 50, "the smallest packet, 60 minor units, is above the largest, 50 minor"),
        (0, 1, 1, 1, "but the total is 0"),
        (AMOUNT_MINOR_MAX + 1, 1, 1, 2 * AMOUNT_MINOR_MAX, "above the largest, "),
        (PACKETS_MAX + 1, PACKETS_MAX + 1, 1, 2, "more than the most in one round"),
    ],
)
@pytest.mark.parametrize("kind", list(Kind))
def test_impossible_demands_are_refused_with_the_numbers(
    kind: Kind, total: int, packets: int, low: int, high: int, sentence: str
) -> None:
    with pytest.raises(ImpossibleSplit, match=sentence):
        split(kind, total, packets, low, high, b"")


@pytest.mark.parametrize("kind", LUCKY_KINDS)
def test_different_seeds_give_different_splits(kind: Kind) -> None:
    seeds = [b"", b"\0", b"\0\0", b"a", b"\0a", b"a" * 100, b"a" * 101]
    assert len({split(kind, 5_000, 20, 1, 1_000, seed).tobytes() for seed in seeds}) == len(seeds)


def test_equal_packets_differ_by_at_most_one_unit_and_the_odd_ones_are_anywhere() -> None:
    amounts = split(Kind.EQUAL, 10_003_007, 10_000, 1_000, 1_001, b"equal")
    assert np.bincount(amounts - 1_000).tolist() == [6_993, 3_007]
    larger_in_first_half = int((amounts[:5_000] == 1_001).sum())
    assert abs(larger_in_first_half - 3_007 / 2) < STANDARD_ERRORS * math.sqrt(10_000 * 0.3 * 0.7) / 2


# --- the law of `lucky` ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "low", "high"),
    [
        pytest.param(5_000, 1_000, 9_000, id="in the middle of the bounds"),
        pytest.param(250, 50, 20_000, id="near the minimum"),
        pytest.param(18_000, 50, 20_000, id="near the maximum"),
    ],
)
@pytest.mark.parametrize("part_total", [ONE_PART, splitting.PART_TOTAL_MINOR_MAX], ids=["one part", "parts"])
def test_lucky_amounts_follow_a_normal_law_cut_at_the_bounds(mean: int, low: int, high: int, part_total: int) -> None:
    packets = 200_000
    amounts = split(Kind.LUCKY, mean * packets, packets, low, high, seed_of(1), part_total)
    cdf, spread = cut_bell(mean, min(mean - low, high - mean) / 2, low, high)
    assert distance(amounts, cdf) < KS_LIMIT / math.sqrt(packets)
    assert amounts.std() == pytest.approx(spread, rel=0.01)


@pytest.mark.parametrize("packets", [5, 30])
def test_lucky_amounts_do_not_pile_up_at_the_bounds_of_small_pots(packets: int) -> None:
    low, high = 50, 450
    pots = [split(Kind.LUCKY, 250 * packets, packets, low, high, seed_of(i)) for i in range(60_000 // packets)]
    counts = np.bincount(np.concatenate(pots), minlength=high + 1)
    # The bell falls towards the bounds, so a bound itself must be rarer than the average of the 40 units beside it.
    assert counts[low] < counts[low + 1 : low + 41].mean()
    assert counts[high] < counts[high - 40 : high].mean()


# --- the law of `lucky_double_mean` ---------------------------------------------------------------------------------


@pytest.mark.parametrize("packets", [10, 200, 1_000])
def test_double_mean_has_the_marginal_law_of_the_textbook_chain(packets: int) -> None:
    chains = 60_000 // packets
    mean, low = 2_500, 50
    ours = np.concatenate(
        [split(Kind.LUCKY_DOUBLE_MEAN, mean * packets, packets, low, 10**9, seed_of(i)) for i in range(chains)]
    )
    rng = random.Random(7)
    theirs = np.array([a for _ in range(chains) for a in textbook_double_mean(mean * packets, packets, low, rng)])
    assert distance_of_two(ours, theirs) < KS_LIMIT * math.sqrt(2 / len(ours))


def test_a_large_double_mean_pot_has_the_law_of_its_parts() -> None:
    mean, packets, low = 2_500, 100_000, 50
    whole = split(Kind.LUCKY_DOUBLE_MEAN, mean * packets, packets, low, 10**9, seed_of(2), ONE_PART)
    rng = random.Random(8)
    length = splitting.CHAIN_PACKETS_MAX
    chains = [a for _ in range(packets // length) for a in textbook_double_mean(mean * length, length, low, rng)]
    assert distance_of_two(whole, np.array(chains)) < KS_LIMIT * math.sqrt(2 / packets)


def test_before_shuffling_double_mean_has_equal_means_and_the_variances_of_theory() -> None:
    chains, packets, low, mean = 40_000, 12, 100, 10_100
    rng = np.random.default_rng(3)
    totals = np.full(chains, mean * packets)
    drawn = splitting.split_double_mean(rng, totals, packets, low, 10**9)[::-1]  # in the order of drawing
    # The excess over `low`: a draw is uniform to twice the mean m of what is left, so E x² = 4/3 E m², and m then
    # gains the factor (n² - 2n + 4/3) / (n - 1)². The last packet is m itself.
    square_of_rest = float(mean - low) ** 2
    for left, amounts in zip(range(packets, 0, -1), drawn, strict=True):
        variance = (4 / 3 if left > 1 else 1) * square_of_rest - (mean - low) ** 2
        assert amounts.mean() == pytest.approx(mean, abs=STANDARD_ERRORS * math.sqrt(variance / chains))
        assert amounts.var() == pytest.approx(variance, rel=0.05)
        if left > 1:
            square_of_rest *= (left * left - 2 * left + 4 / 3) / (left - 1) ** 2
    evenly = np.arange(chains) / chains
    first_draw = np.sort(drawn[0] - low) / (2 * (mean - low))
    assert np.max(np.abs(first_draw - evenly)) < KS_LIMIT / math.sqrt(chains)


@pytest.mark.parametrize("high", [4, 1_000], ids=["a binding maximum", "a loose maximum"])
@pytest.mark.parametrize("total", [20, 23, 30, 37])
def test_double_mean_draws_of_a_few_units_have_no_rounding_bias(total: int, high: int) -> None:
    chains, packets = 40_000, 12
    drawn = splitting.split_double_mean(np.random.default_rng(9), np.full(chains, total), packets, 1, high)
    errors = drawn.std(axis=1) / math.sqrt(chains)
    assert np.all(np.abs(drawn.mean(axis=1) - total / packets) < STANDARD_ERRORS * errors)


def test_a_binding_maximum_mirrors_the_double_mean_range_and_heaps_nothing_at_the_bounds() -> None:
    packets = 50_000
    amounts = split(Kind.LUCKY_DOUBLE_MEAN, 250 * packets, packets, 1, 300, seed_of(4))
    # Uniform on 200 … 300 but for the end of each chain: 1/101 of all at each amount, and few below the range.
    assert np.count_nonzero(amounts == 300) < 0.02 * packets
    assert np.count_nonzero(amounts < 200) < 0.06 * packets
    assert amounts.std() == pytest.approx(100 / math.sqrt(12), rel=0.1)


# --- positions and parts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "high"), [(Kind.LUCKY, 20_000), (Kind.LUCKY, 300), (Kind.LUCKY_DOUBLE_MEAN, 20_000)])
def test_no_position_has_another_mean_or_variance(kind: Kind, high: int) -> None:
    runs, packets, mean = 2_500, 10, 250
    table = np.array([split(kind, mean * packets, packets, 50, high, seed_of(i)) for i in range(runs)])
    deviations = (table - mean) / table.std()
    worst_mean = np.abs(deviations.mean(axis=0)).max() * math.sqrt(runs)
    squares = deviations**2
    worst_variance = np.abs((squares.mean(axis=0) - 1) / (squares.std(axis=0) / math.sqrt(runs))).max()
    assert worst_mean < STANDARD_ERRORS
    assert worst_variance < STANDARD_ERRORS


@pytest.mark.parametrize("kind", LUCKY_KINDS)
def test_an_amount_tells_nothing_about_its_neighbour(kind: Kind) -> None:
    amounts = split(kind, 150 * 100_000, 100_000, 50, 20_000, seed_of(5)).astype(float)
    for lag in (1, 2, 1_000):
        correlation = np.corrcoef(amounts[:-lag], amounts[lag:])[0, 1]
        assert abs(correlation) < STANDARD_ERRORS / math.sqrt(len(amounts))


@pytest.mark.parametrize("kind", LUCKY_KINDS)
def test_the_first_tenth_of_a_pot_gets_a_fair_share(kind: Kind) -> None:
    amounts = split(kind, 250 * 100_000, 100_000, 50, 20_000, seed_of(6))
    error = amounts.std() * math.sqrt(0.9 / 10_000)
    for tenth in amounts.reshape(10, -1):
        assert abs(tenth.mean() - 250) < STANDARD_ERRORS * error


@given(feasible(), st.integers(1, 500))
@settings(deadline=None)
def test_parts_share_packets_and_money_in_proportion(demand: tuple[int, int, int, int, int], most: int) -> None:
    total, packets, low, high, _ = demand
    parts = [(columns, part) for totals, columns in splitting.blocks(total, packets, most) for part in totals.tolist()]
    assert sum(columns for columns, _ in parts) == packets
    assert sum(part for _, part in parts) == total
    for columns, part in parts:
        assert columns <= most
        assert columns * low <= part <= columns * high
        assert abs(part * packets - total * columns) < packets


def test_a_pot_above_the_limit_is_split_in_parts_that_keep_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    whole = splitting.split_lucky

    def watched(rng: np.random.Generator, totals: Ints, packets: int, low: int, high: int) -> Ints:
        seen.extend((total, packets) for total in totals.tolist())
        return whole(rng, totals, packets, low, high)

    monkeypatch.setattr(splitting, "split_lucky", watched)
    split(Kind.LUCKY, 25_000_001, 99_999, 50, 20_000, b"parts")
    assert len(seen) == 3
    assert max(total for total, _ in seen) <= splitting.PART_TOTAL_MINOR_MAX

    seen.clear()
    split(Kind.LUCKY, 10**10, 1_000, 50, 20_000_000, b"few packets")
    assert len(seen) == 1_000 // PART_PACKETS_MIN, "parts keep enough packets to leave room for luck"


@pytest.mark.parametrize("kind", list(Kind))
def test_a_million_packets_are_split_within_two_seconds(kind: Kind) -> None:
    started = time.process_time()
    split(kind, 250_000_000, 1_000_000, 50, 20_000, b"speed")
    assert time.process_time() - started < 2
