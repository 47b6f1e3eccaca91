"""What a lane is made with: the set that it leads to, and how many claims wait in it, and for how long."""

import math
from typing import Final

import msgspec

from redrush.core.rush.campaign import Slots
from redrush.ports.store import Store

SHARED_BATCHES_MAX: Final = 2
"""Batches on their way to a set that gates share: one for the server to work on, one for the gate."""

PATIENCE_S: Final = 1.0
"""How long a batch may be under way before claims are not let queue up behind it: a fsync and a replica's answer take
milliseconds, and whoever is told to come back in a second loses less than whoever hangs."""


class Gauge(msgspec.Struct):
    """A number shared by the lanes of a gate: the claims parked now, and how many may be."""

    parked: int
    parked_max: int


class Home(msgspec.Struct, frozen=True):
    """A set of a pot: its store, and the slots that it has at the opening."""

    set: str
    store: Store
    share: Slots
    pot: str | None = None
    """The id of the pot in the set; None: its own."""


class Manners(msgspec.Struct, frozen=True):
    """How a lane treats its claims: how many it parks, how many batches it has under way, how long it lets claims wait
    behind one, and whether a store that broke off may be repaired while the gate goes on."""

    parked_max: int
    batches_max: int = 1
    patience_s: float = math.inf
    repairable: bool = False


def shared_manners(parked_max: int) -> Manners:
    """Return the manners of a lane to a set that several gates share."""
    return Manners(parked_max, SHARED_BATCHES_MAX, PATIENCE_S, repairable=True)
