"""The stock of a round in all its sets: how many slots are in play, and whether every one of them is somebody's.

The sets are asked one after the other, so counts of one moment are not to be had. Three sums are, each of numbers that
only grow: what was ever claimed, what is in play (leftover of other rounds may join, nothing leaves an open round), and
what ever came back of holds. At each moment no more can have been claimed than is in play and has come back. So where
the claims, *read first*, are as many as the other two, read after the last set's claims, every slot was somebody's at
the moment between. Slots on their way between sets, and those of a set out of reach, are in play and not claimed: they
keep it from being said.

Of a pot of holds that is not enough: what is only held may come back. There the holds that were confirmed are counted
instead. They only grow too, none of them comes back, and where they are as many as are in play all is sold.

Rejected: claims less what came back, both of one answer a set. A slot that came back in a set after it was asked, moved
to one that was not asked yet and was claimed there, would stand for two.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from redrush.core.rush.campaign import Slots


class Half(Protocol):
    """One half of a move: these slots left the pot, or joined it."""

    @property
    def pot(self) -> str:
        """The id of the pot."""

    @property
    def slots(self) -> Sequence[Slots]:
        """The slots, as runs."""


class Moves(Protocol):
    """The halves of moves that one set holds, by transfer id."""

    @property
    def taken(self) -> Mapping[str, Half]:
        """The moves out of its pots."""

    @property
    def given(self) -> Mapping[str, Half]:
        """The moves into its pots."""


def slots_in_play(own_slots: int, pot: str, of_sets: Iterable[Moves]) -> int:
    """Return how many slots a round has in all its sets together, whether granted, unclaimed, waiting or on their way.

    `own_slots` is what its pot of id `pot` was divided from, `of_sets` the moves of each set. A move that is in both
    a set that took and one that gave stays within the round.
    """
    sets = list(of_sets)
    taken = {transfer for moves in sets for transfer, half in moves.taken.items() if half.pot == pot}
    joined = (
        run.count
        for moves in sets
        for transfer, half in moves.given.items()
        if half.pot == pot and transfer not in taken
        for run in half.slots
    )
    return own_slots + sum(joined)


def is_sold_out(claimed_ever: int, *, in_play: int, returned_ever: int) -> bool:
    """Return whether every slot was somebody's at one moment. `claimed_ever` has to be read, of every set, before the
    first of the others is: see the module."""
    return claimed_ever == in_play + returned_ever
