"""How long answers took: counts in buckets that double, exact to the bucket, at one list increment an answer or less.

A mean hides who waited longest, and averages of percentiles over processes are wrong; buckets can be summed. Those here
are powers of two of microseconds, so that the bucket of a time is its `int.bit_length()`.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

LAST: Final = 25
"""The bucket of everything from 2^24 µs (17 s) on."""

NO_COUNTS: Final[tuple[int, ...]] = (0,) * (LAST + 1)


class Histogram:
    """Times in microseconds. `counts[k]` of them were under 2^k and not under 2^(k-1); none is forgotten."""

    __slots__ = ("counts", "sum_us")

    def __init__(self) -> None:
        self.counts = list(NO_COUNTS)
        self.sum_us = 0

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.counts)

    def add(self, took_us: int, times: int = 1) -> None:
        """Count a time, or several that are alike."""
        took_us = max(0, took_us)
        self.counts[min(took_us.bit_length(), LAST)] += times
        self.sum_us += took_us * times

    def add_ended(self, since_us: Sequence[int], now_us: int) -> None:
        """Count what began at these instants, which do not fall, and ended now: one step a bucket, not one a time."""
        end = len(since_us)
        if not end:
            return
        self.sum_us += end * now_us - sum(since_us)
        bucket = max(0, now_us - since_us[-1]).bit_length()
        while end and bucket < LAST:
            first = bisect_right(since_us, now_us - (1 << bucket), 0, end)
            self.counts[bucket] += end - first
            end, bucket = first, bucket + 1
        self.counts[LAST] += end


def summed(histograms: Iterable[Histogram]) -> Histogram:
    """Return one with the times of all."""
    total = Histogram()
    for one in histograms:
        total.counts = [mine + its for mine, its in zip(total.counts, one.counts, strict=True)]
        total.sum_us += one.sum_us
    return total


def quantile_us(counts: Sequence[int], share: float) -> float:
    """Return the time that this share of the counted ones did not exceed, in microseconds; 0.0 if there are none.

    Between the bounds of a bucket it is interpolated geometrically, so it is right to a factor of two at worst, and
    mostly to one of √2. Of the last bucket, which has no upper bound, it is the lower one.
    """
    rank = share * sum(counts)
    below = 0
    for bucket, count in enumerate(counts):
        if count and below + count >= rank:
            if bucket == LAST:
                return float(1 << (LAST - 1))
            return 0.5 if bucket == 0 else float(2.0 ** (bucket - 1 + (rank - below) / count))
        below += count
    return 0.0
