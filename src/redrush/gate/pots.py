"""Pots of a gate: opened many at a time."""

from collections.abc import Sequence
from typing import Final

from redrush.gate.lanes import Lane, SetPot

OPENED_AT_ONCE_MAX: Final = 1_024
"""Pots in one call of a store: bounds how long claims wait behind it."""


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
