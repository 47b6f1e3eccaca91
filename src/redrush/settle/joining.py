"""Packets that an amendment has added join the pot of their round, once, whenever that is done and however often.

The amendment was made while the round lay ahead or was open, but whoever follows it may have been stopped for an hour.
The leftover of the round has been moved then, and the packets that come too late go where it went: under an id of
their own, and on from there where that round has closed meanwhile, too.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from redrush.core.rush.additions import Added, transfer_to
from redrush.core.rush.campaign import RETURNED_POT, Campaign, Pot, Slots
from redrush.core.rush.leftover import LEFTOVER_PREFIX, transfer_id
from redrush.core.sets.division import Share, divide
from redrush.ports.store import Store
from redrush.settle.closing import close_pot

HEARD_US: Final = 5_000_000
"""So long after an amendment every process has heard of it: packets join their pots then, and whoever is granted one is
told what it holds."""


class Joining(msgspec.Struct, frozen=True):
    """What a set's pot is given of an addition."""

    pot: str
    set: str
    slots: Slots
    transfer: str
    from_us: int
    """When it is to be given, µs since the epoch."""


def joinings_of(added: Iterable[Added], shares_of: Callable[[str], Sequence[Share]], amended_us: int) -> list[Joining]:
    """Return what joins pots that were there, divided over their sets as the pots are. `amended_us` is when the last
    addition was made."""
    return [
        Joining(one.round, share.set, slots, transfer_to(one, share.set), amended_us + HEARD_US)
        for one in added
        if one.new is None
        for share, slots in zip(shares_of(one.round), divide(one.slots, len(shares_of(one.round))), strict=True)
        if slots.count
    ]


async def join(store: Store, campaign: Campaign, added: Added, now_us: int) -> list[str]:
    """Give the added packets to their pot, which is open; return the pots that were given them, one after the other.

    `now_us` is µs since the epoch. Raises what stores raise.
    """
    given = [added.round]
    await store.give(added.round, (added.slots,), added.transfer)
    closed = set((await store.transfers()).taken)
    pot = campaign.pot(added.round)
    while pot is not None and transfer_id(pot) in closed:
        moved = await close_pot(store, campaign, pot, now_us, late_id(pot, added))
        given.append(moved.destination)
        pot = None if moved.destination == RETURNED_POT else campaign.pot(moved.destination)
    return given


def late_id(closed: Pot, added: Added) -> str:
    """Return the id under which packets move on that came after the leftover of the pot had moved."""
    return f"{LEFTOVER_PREFIX}{closed.id}:{added.transfer}"
