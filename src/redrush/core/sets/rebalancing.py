"""Which slots move between the sets of a round, so that nobody hears "missed" while slots lie idle elsewhere.

Every set begins with an equal share, and users are spread by hash, so at first nothing has to move. Towards the end one
set is dry while others still have slots; from then on the rule is: *a needy set gets half of what the richest has
more*. Needy is a set that is dry, or will be before anyone looks again at the pace at which it is being claimed from.
Halving the difference cannot overshoot, so without new claims the moves end after at most one a set, and nothing comes
back.

Once no set has two slots any more, halving gives nothing, and the last slots may lie where nobody asks. Nobody can see
who asks at a dry set (a store does not count that), so these slots *walk*: one that nobody has claimed for a while goes
on to the next dry set, in a ring, and so comes past everyone who still asks. How long it stays doubles with every step
that found nobody, so an abandoned round costs next to nothing, and is short again after any claim.

Rejected: moving by the users who were refused, as told by the gates (one more flow of news that can be lost, for the
last few slots of a round); keeping all sets level all the time (a move for every look, and every slot in transit is one
that nobody can claim).
"""

from collections.abc import Mapping
from typing import Final

import msgspec

LOOKS_AHEAD: Final = 3
"""A set that will be dry within this many looks is needy already: a move takes about one, and claims come in bursts."""

RICHER_BY: Final = 4
"""A set that is not dry yet receives only from a set with this many times its slots: it may be the next to give."""

DWELL_FIRST_US: Final = 200_000
DWELL_MAX_US: Final = 5_000_000
"""How long one of the last slots waits to be claimed before it walks on: from about a client's shortest interval
between two tries, to more than its longest."""


class Stock(msgspec.Struct, frozen=True):
    """What a set holds of a round: `left` slots can be claimed there now, `claimed` were ever, of which `returned` came
    back. What came back and is not offered again stays where it is: it would be claimed elsewhere before its time."""

    left: int
    claimed: int
    returned: int = 0


class Move(msgspec.Struct, frozen=True):
    """`count` unclaimed slots are to go from the set `source` to the set `target`."""

    source: str
    target: str
    count: int


def even_out(left: Mapping[str, int], wanted: Mapping[str, int]) -> list[Move]:
    """Return the moves that bring slots to needy sets, given what each has `left` and is expected to need soon.

    Every dry set receives at least one slot as long as any set has two. At most one move goes to a set.
    """
    stock = dict(left)
    moves = []
    for target in sorted(stock, key=stock.__getitem__):
        source = max(stock, key=stock.__getitem__)
        has, rich = stock[target], stock[source]
        needy = has == 0 or (has < wanted.get(target, 0) and rich >= RICHER_BY * has)
        count = (rich - has) // 2
        if not needy or count == 0:
            continue
        stock[source] -= count
        stock[target] += count
        moves.append(Move(source, target, count))
    return moves


class Balancer:
    """Plans the moves of one round from one look to the next. Not thread-safe; holds a few numbers per set."""

    def __init__(self) -> None:
        self._claimed: dict[str, int] = {}
        self._held_since_us: dict[str, int] = {}
        self._dwell_us = DWELL_FIRST_US

    def plan(self, stocks: Mapping[str, Stock], now_us: int) -> list[Move]:
        """Return what is to move now, given the sets that can be reached and are not moving anything, in a fixed order.

        `now_us` only has to grow. A move is expected to be done, or to have failed, before its sets are handed in
        again.
        """
        growth = {name: stock.claimed - self._claimed.get(name, stock.claimed) for name, stock in stocks.items()}
        self._claimed.update((name, stock.claimed) for name, stock in stocks.items())
        if any(growth.values()):
            self._dwell_us = DWELL_FIRST_US
        for name, stock in stocks.items():
            if not stock.left or growth[name]:
                self._held_since_us.pop(name, None)
            if stock.left:
                self._held_since_us.setdefault(name, now_us)
        left = {name: stock.left for name, stock in stocks.items()}
        if max(left.values(), default=0) > 1:
            return even_out(left, {name: LOOKS_AHEAD * grown for name, grown in growth.items()})
        return self._walk(left, now_us)

    def _walk(self, left: Mapping[str, int], now_us: int) -> list[Move]:
        """Send each of the last slots that has waited long enough to the next dry set after it."""
        ring = list(left)
        dry = {name for name in ring if not left[name]}
        moves = []
        for place, source in enumerate(ring):
            if not left[source] or now_us - self._held_since_us[source] < self._dwell_us:
                continue
            target = next((name for name in ring[place + 1 :] + ring[:place] if name in dry), None)
            if target is None:
                break
            dry.remove(target)
            del self._held_since_us[source]
            moves.append(Move(source, target, 1))
        if moves:
            self._dwell_us = min(2 * self._dwell_us, DWELL_MAX_US)
        return moves
