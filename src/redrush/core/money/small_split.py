"""Splits a small total over a few people, as a packet in a chat is split: microseconds, and no numpy.

`lucky` is the law that people know from their chats: whoever comes k-th gets a uniform amount of 1 up to twice the mean
of what is left, so everybody expects the same. It is `lucky_double_mean` of rounds (`redrush.core.money.splitting`) in
integers drawn from a SHAKE-128 stream of the seed; the draws are then put in a random order, for the spread of the law
grows with the place. `equal` gives everybody the same, and the odd minor units to some.

The same seed gives the same amounts on every machine and with every version of anything: nothing of it is left to a
library whose streams may change.
"""

from collections.abc import Iterator
from hashlib import shake_128
from struct import unpack
from typing import Final

from redrush.core.rush.campaign import Kind

SHARES_MAX: Final = 10_000
"""More are a round's, which numpy splits."""

_DRAWS_A_SHARE: Final = 3
"""At most: two for its amount, one for its place."""


def split_small(kind: Kind, total_minor: int, shares: int, seed: bytes, *, share_minor_max: int) -> list[int]:
    """Return `shares` amounts of 1 to `share_minor_max` minor units, whose sum is exactly `total_minor`.

    Raises ValueError if that cannot be. `seed`: any bytes.
    """
    if not 1 <= shares <= SHARES_MAX or not shares <= total_minor <= shares * share_minor_max:
        raise ValueError(f"{total_minor} minor units cannot be {shares} shares of 1 to {share_minor_max}")
    lots = _lots(seed, _DRAWS_A_SHARE * shares)
    if kind is Kind.EQUAL:
        each, odd = divmod(total_minor, shares)
        amounts = [each + (number < odd) for number in range(shares)]
    else:
        amounts = _double_mean(total_minor, shares, share_minor_max, lots)
    for last in range(shares - 1, 0, -1):  # Fisher and Yates
        other = _below(last + 1, lots)
        amounts[last], amounts[other] = amounts[other], amounts[last]
    return amounts


def _double_mean(total_minor: int, shares: int, most: int, lots: Iterator[int]) -> list[int]:
    """Of an excess e over what all get at least, with n to come, the next gets a uniform integer of mean e / n: from 0
    to t, where t is 2e / n rounded at random to a neighbour; above the bound w the range is t - w … w instead."""
    excess, width = total_minor - shares, most - 1
    amounts = []
    for left in range(shares, 1, -1):
        twice_mean, remainder = divmod(2 * excess, left)
        twice_mean += _below(left, lots) < remainder
        lowest = max(twice_mean - width, 0)
        drawn = lowest + _below(min(twice_mean, width) - lowest + 1, lots)
        amounts.append(1 + drawn)
        excess -= drawn
    amounts.append(1 + excess)
    return amounts


def _lots(seed: bytes, count: int) -> Iterator[int]:
    """Return so many uniform 64-bit integers, the same for a seed."""
    return iter(unpack(f"<{count}Q", shake_128(b"redrush.split" + seed).digest(8 * count)))


def _below(bound: int, lots: Iterator[int]) -> int:
    """Return a uniform integer of 0 … `bound` - 1; amounts are far below 64 bits, so the bias is below 2^-13."""
    return next(lots) * bound >> 64
