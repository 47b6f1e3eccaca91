"""Splitting: a total becomes packets, before anybody can draw. Exact to the minor unit, within bounds, shuffled.

`equal`: all the same. What does not divide evenly goes out one minor unit each, so amounts differ by at most 1.

`lucky`: a bell between the bounds. A normal distribution cut off at min and max, with its centre moved so that its mean
is total / packets. Its standard deviation is half the way from the mean to the nearer bound: wide enough for real luck,
narrow enough that only 2-5% of a free normal would be cut, so that neither bound is crowded. With min 0.50, max 200.00
and mean 2.50, 95 of 100 people get between 0.80 and 4.40, the luckiest of ten thousand about 6.10, and 3 of ten
thousand the bare minimum.

`lucky_double_mean` (二倍均值): draw after draw, uniform from min to twice the mean of what is left, less min. Near the
upper bound the range is mirrored (twice the mean less max … max), so that the mean of a draw is always the mean of what
is left. Cutting the range at max instead would starve the first draws and leave a heap of maximal packets for the last
ones. What is left stays feasible by itself; `split_double_mean` shows why.

How `lucky` reaches the exact sum: the draws are rounded and miss the total by some D. Each packet then takes a share of
D in proportion to its own way to the bound, in integers, with running remainders: one rule for everybody, nobody is
pushed over a bound, nobody heaped onto it. Rejected: clipping (heaps at the bounds), giving D to one packet (a jackpot
or a pauper), drawing again until the sum fits (no end in sight).

Totals above a limit are cut into parts with proportional shares of packets and money, each split by itself (B5), and
the whole is shuffled. Parts are rows of one array, so a thousand parts cost no more than one. A double-mean chain is
sequential, so there a part has at most `CHAIN_PACKETS_MAX` packets and all parts take the same step at once. Up to that
size it is the textbook law; above it, the law of parts: the last draws of a chain vary more than the others, and they
now come once in a thousand packets instead of once in the pot.

The same seed gives the same amounts with the same release of numpy, whose Generator may change its streams between
releases (NEP 19). What was committed to is therefore the table of amounts, never the seed alone.
"""

import hashlib
import math
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from redrush.core.money.feasibility import check_feasible
from redrush.core.rush.campaign import Kind

PART_TOTAL_MINOR_MAX = 10_000_000
"""100,000.00 in a currency of two places: what the platform that the figure comes from splits in one piece."""

PART_PACKETS_MIN = 100
"""A part keeps at least so many packets, even above the limit: n packets of a fixed sum lose 1/n of their variance."""

CHAIN_PACKETS_MAX = 1_000
"""Steps of a double-mean chain. With 1,000 chains side by side numpy's cost per step and per packet are about equal."""

BLOCK_PACKETS = 1 << 20
"""Packets split at a time where parts allow: bounds the memory for intermediate results to some 8 MB each."""

REDRAWS_MAX = 32
"""Rounds of redrawing what fell outside the bounds. One leaves under 5%, so even two hundred million need about 7."""

_BISECTIONS = 60
"""Halvings of a bracket two deviations wide: more than a float64 can tell apart."""

_SAFE_PRODUCT = 2**63 - 1

Amounts = npt.NDArray[np.int64]
_Splitter = Callable[[np.random.Generator, Amounts, int, int, int], Amounts]


def split(
    kind: Kind,
    total_minor: int,
    packets: int,
    min_minor: int,
    max_minor: int,
    seed: bytes,
    part_total_minor_max: int = PART_TOTAL_MINOR_MAX,
) -> Amounts:
    """Return `packets` amounts in minor units, int64, shape (packets,), whose sum is exactly `total_minor`.

    Every amount is within [min_minor, max_minor] and no position differs from another in law. The amounts and their
    order depend on `seed` (any length) and the arguments alone. Totals above `part_total_minor_max` (≥ 1) are split
    in parts of at most so much, unless a part would have fewer than `PART_PACKETS_MIN` packets.
    Raises ImpossibleSplit, before any work, if the demands contradict each other or exceed a limit.
    """
    check_feasible(total_minor, packets, min_minor, max_minor)
    assert part_total_minor_max >= 1
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(seed).digest())))
    if kind is Kind.EQUAL:
        amounts = _equal(total_minor, packets)
    else:
        part_packets = max(PART_PACKETS_MIN, part_total_minor_max * packets // total_minor)
        splitter: _Splitter = split_lucky
        if kind is Kind.LUCKY_DOUBLE_MEAN:
            part_packets, splitter = min(part_packets, CHAIN_PACKETS_MAX), split_double_mean
        amounts = np.empty(packets, np.int64)
        done = 0
        for totals, columns in blocks(total_minor, packets, part_packets):
            block = splitter(rng, totals, columns, min_minor, max_minor)
            amounts[done : done + block.size] = block.reshape(-1)
            done += block.size
        assert done == packets
    rng.shuffle(amounts)
    return amounts


def blocks(total_minor: int, packets: int, part_packets_max: int) -> Iterator[tuple[Amounts, int]]:
    """Yield (totals of some parts, packets of each of them); all yields together are the whole pot.

    Parts differ by at most one packet. Part totals are differences of the rounded-down running share, so each is its
    exact proportional share rounded down or up, which keeps every part between its packets × min and packets × max.
    """
    parts = -(-packets // part_packets_max)
    smaller, count_of_larger = divmod(packets, parts)
    mean_minor, remainder = divmod(total_minor, packets)
    packets_before = money_before = 0
    for columns, rows in ((smaller + 1, count_of_larger), (smaller, parts - count_of_larger)):
        rows_at_once = max(1, BLOCK_PACKETS // columns)
        for first in range(0, rows, rows_at_once):
            count = min(rows_at_once, rows - first)
            packets_up_to = packets_before + columns * np.arange(1, count + 1)
            # total × packets_up_to // packets, in an order in which no product leaves 64 bits
            money_up_to = mean_minor * packets_up_to + remainder * packets_up_to // packets
            yield np.diff(money_up_to, prepend=money_before), columns
            packets_before, money_before = int(packets_up_to[-1]), int(money_up_to[-1])


def _equal(total_minor: int, packets: int) -> Amounts:
    each_minor, remainder = divmod(total_minor, packets)
    amounts = np.full(packets, each_minor, np.int64)
    amounts[:remainder] += 1
    return amounts


def split_lucky(rng: np.random.Generator, totals: Amounts, packets: int, low: int, high: int) -> Amounts:
    """Return amounts of shape (len(totals), packets), row k adding up to totals[k]; see the module for the law."""
    # The bounds that the sum leaves free: with two packets and a total of 10, a maximum of 200 means 10 - min.
    largest, least = int(totals.max()), int(totals.min())
    high = min(high, largest - (packets - 1) * low)
    low = max(low, least - (packets - 1) * high)
    mean = float(totals.mean()) / packets
    deviation = min(mean - low, high - mean) / 2
    draws = rng.standard_normal(len(totals) * packets)
    if deviation > 0:
        centre = _centre(mean, deviation, low, high)
        lowest, highest = (low - centre) / deviation, (high - centre) / deviation
        outside = np.flatnonzero((draws < lowest) | (draws > highest))
        for _ in range(REDRAWS_MAX):
            if not len(outside):
                break
            fresh = draws[outside] = rng.standard_normal(len(outside))
            outside = outside[(fresh < lowest) | (fresh > highest)]
        draws *= deviation
        draws += centre
        np.rint(draws, out=draws)
    else:
        draws.fill(round(mean))
    amounts = draws.astype(np.int64)
    np.clip(amounts, low, high, out=amounts)
    return _reach(amounts.reshape(len(totals), packets), totals, low, high)


def _centre(mean: float, deviation: float, low: int, high: int) -> float:
    """Return where to put a normal distribution so that its mean, once cut to [low, high], is `mean`.

    The mean of the cut distribution grows with the centre, so bisection finds it. With the nearer bound two deviations
    from the mean the answer is within one deviation of it.
    """
    nearest, farthest = mean - deviation, mean + deviation
    for _ in range(_BISECTIONS):
        centre = (nearest + farthest) / 2
        lowest, highest = (low - centre) / deviation, (high - centre) / deviation
        kept = (math.erf(highest / math.sqrt(2)) - math.erf(lowest / math.sqrt(2))) / 2
        drift = (math.exp(-lowest * lowest / 2) - math.exp(-highest * highest / 2)) / math.sqrt(2 * math.pi) / kept
        if centre + deviation * drift < mean:
            nearest = centre
        else:
            farthest = centre
    return (nearest + farthest) / 2


def _reach(amounts: Amounts, totals: Amounts, low: int, high: int) -> Amounts:
    """Return `amounts` moved within [low, high] so that row k adds up to totals[k]; changes them in place.

    A row that misses by D moves each packet by D × (its way to the bound) / (all ways to the bound), rounded so that
    the running sum is exact. No packet passes the bound: D is at most the sum of the ways, so the share is at most the
    packet's own way, which is an integer.
    """
    missing = totals - amounts.sum(axis=1)
    for rising in (True, False):
        rows = np.flatnonzero(missing > 0) if rising else np.flatnonzero(missing < 0)
        if not len(rows):
            continue
        ways = (high - amounts[rows]) if rising else (amounts[rows] - low)
        reached = _share_up_to(np.cumsum(ways, axis=1, out=ways), np.abs(missing[rows]))
        shares = np.diff(reached, axis=1, prepend=0)
        amounts[rows] += shares if rising else -shares
    return amounts


def _share_up_to(ways_up_to: Amounts, missing: Amounts) -> Amounts:
    """Return missing × ways_up_to // (the row's last ways_up_to), exactly."""
    all_ways = ways_up_to[:, -1:]
    if int(missing.max()) * int(all_ways.max()) <= _SAFE_PRODUCT:
        return np.asarray(ways_up_to * missing[:, None] // all_ways)
    # Beyond 64 bits, for pots of billions in few packets: Python's integers, some thirty times slower.
    wide = ways_up_to.astype(object) * missing[:, None].astype(object) // all_ways.astype(object)
    return np.asarray(wide.astype(np.int64))


def split_double_mean(rng: np.random.Generator, totals: Amounts, packets: int, low: int, high: int) -> Amounts:
    """Return amounts of shape (packets, len(totals)), column k adding up to totals[k]; all columns draw at once.

    In terms of what lies above `low`: of an excess e over n packets, one packet gets a uniform integer from 0 to t,
    where t is 2e/n rounded at random to a neighbour, so that the draw's mean is e/n exactly. If t is above the width w
    of the bounds the range is t - w … w, with the same mean. What is left always fits: e - t ≥ 0 for n ≥ 2, because
    2e/n ≤ e and e is an integer; the upper bound is the mirror image.
    """
    width = min(high - low, int(totals.max()) - packets * low)
    excess = totals - packets * low
    amounts = np.empty((packets, len(totals)), np.int64)
    for left in range(packets, 1, -1):
        twice_mean, remainder = np.divmod(2 * excess, left)
        twice_mean += rng.integers(left, size=len(excess)) < remainder
        lowest, highest = np.maximum(twice_mean - width, 0), np.minimum(twice_mean, width)
        drawn = rng.integers(lowest, highest, endpoint=True)
        amounts[left - 1] = drawn
        excess -= drawn
    amounts[0] = excess
    amounts += low
    return amounts
