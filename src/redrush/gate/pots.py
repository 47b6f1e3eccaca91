"""The pots that a gate opens in its sets, many at a time."""

from collections.abc import Container, Mapping, Sequence
from typing import Final

from redrush.gate.lanes import NOBODY, Desk, Lane
from redrush.ports.store import Claimed, PotTerms

OPENED_AT_ONCE_MAX: Final = 1_024
"""Pots in one call of a store: bounds how long claims wait behind it."""


class SetPot:
    """A pot in one set that the gate itself opens there."""

    __slots__ = ("complete", "desk", "dry_until_us", "holders", "id", "known", "lane", "open", "terms", "warm")

    def __init__(self, terms: PotTerms, lane: Lane, *, complete: bool) -> None:
        """`terms` are those on which the set opens it: its slots are the set's share. For the others see `AskedPot`."""
        self.id = terms.pot
        self.lane = lane
        self.desk: Desk  # set by the desk itself
        self.known: Mapping[str, Claimed] = NOBODY
        self.open = False
        self.complete = complete
        self.dry_until_us = 0
        self.terms = terms
        self.holders: Container[str] = NOBODY
        """Who has any grant that the store knows of in this process, to whatever request."""
        self.warm = False
        """Whether it was opened in the set as it is now; one that was made anew may not have it."""

    def opened(self) -> None:
        """The store has the pot open: learn who has won already, and take claims from now on."""
        self.known = self.lane.store.known(self.id)
        self.holders = self.lane.store.holders(self.id)
        self.open = self.warm = True
        self.lane.refusal = None  # the set is there

    def close(self) -> None:
        """Take no claims any more, and know nobody."""
        self.known = self.holders = NOBODY
        self.open = self.warm = False


async def warm_up(pots: Sequence[SetPot]) -> None:
    """Open the pots with their sets' shares, learn who has won already, and take claims from now on.

    Raises StoreUnavailable, StoreConflict (somebody divided otherwise) and StoreFailed.
    """
    by_lane: dict[Lane, list[SetPot]] = {}
    for pot in pots:
        by_lane.setdefault(pot.lane, []).append(pot)
    for lane, theirs in by_lane.items():
        for first in range(0, len(theirs), OPENED_AT_ONCE_MAX):
            part = theirs[first : first + OPENED_AT_ONCE_MAX]
            await lane.store.open([pot.terms for pot in part])
            for pot in part:
                pot.opened()
