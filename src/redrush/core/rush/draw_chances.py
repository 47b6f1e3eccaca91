"""What a draw will do, told before it: the chance that a prize runs out, and how many plays that takes."""

import math
from fractions import Fraction
from typing import Final

EXACT_MAX: Final = 20_000
"""Terms of a binomial tail that are added up; beyond, the normal law with a correction of half a step is as good."""


def runs_out(plays: int, odds: Fraction, count: int) -> float:
    """Return the chance that more than `count` of so many plays hit a prize of these odds: then somebody who hits it
    finds it gone.

    The tail of the binomial law: exact up to EXACT_MAX terms, to about 0.001 beyond.
    """
    if count >= plays or not odds:
        return 0.0
    if odds >= 1:
        return 1.0
    p = float(odds)
    if count < EXACT_MAX:
        return max(0.0, 1.0 - math.fsum(_mass(plays, p, hits) for hits in range(count + 1)))
    mean, deviation = plays * p, math.sqrt(plays * p * (1 - p))
    return 0.5 * math.erfc((count + 0.5 - mean) / (deviation * math.sqrt(2)))


def _mass(plays: int, p: float, hits: int) -> float:
    """Return the chance of exactly so many hits."""
    ways = math.lgamma(plays + 1) - math.lgamma(hits + 1) - math.lgamma(plays - hits + 1)
    return math.exp(ways + hits * math.log(p) + (plays - hits) * math.log1p(-p))
