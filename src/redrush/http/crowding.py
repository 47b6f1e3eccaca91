"""Who has to go when there are nearly as many connections as there may be.

The address with the most connections gives first, its longest idle one; then whoever has the most. So many addresses
that have a few keep theirs, and one that fills the gate loses what it took. Where no address has more than another,
which is so behind a proxy of ours, it is the longest idle of all.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from redrush.http.site import Idler


class Crowded(msgspec.Struct, frozen=True):
    """An idle connection, whose it is (None: nobody's alone), and since when nothing was heard."""

    connection: "Idler"
    crowd: bytes | None
    since_s: int


def idlest_of_the_greediest(idle: Iterable[Crowded], crowds: Mapping[bytes | None, int], count: int) -> "list[Idler]":
    """Return which idle connections to end, at most `count`. `crowds` tells how many connections each crowd has."""
    of_crowd: dict[object, list[Crowded]] = defaultdict(list)
    for number, one in enumerate(idle):
        of_crowd[number if one.crowd is None else one.crowd].append(one)
    heap: list[tuple[int, int, int, list[Crowded]]] = []
    for order, found in enumerate(of_crowd.values()):
        found.sort(key=lambda one: -one.since_s)
        crowd = found[0].crowd
        heap.append((-(1 if crowd is None else crowds[crowd]), found[-1].since_s, order, found))
    heapify(heap)
    chosen: list[Idler] = []
    while heap and len(chosen) < count:
        size, _, order, found = heappop(heap)
        chosen.append(found.pop().connection)
        if found:
            heappush(heap, (size + 1, found[-1].since_s, order, found))
    return chosen
