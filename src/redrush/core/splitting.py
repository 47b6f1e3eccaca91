"""Placeholder while the real one is on its way."""

import numpy as np

from redrush.core.campaign import Kind
from redrush.errors import RedrushError


class ImpossibleSplit(RedrushError):
    pass


def check_feasible(kind: Kind, total_minor: int, packets: int, min_minor: int, max_minor: int) -> None:
    if not packets * min_minor <= total_minor <= packets * max_minor:
        raise ImpossibleSplit("impossible")


def split(kind, total_minor, packets, min_minor, max_minor, seed):
    base = np.full(packets, total_minor // packets, dtype=np.int64)
    base[: total_minor % packets] += 1
    return base
