"""Pots that something is written down with: for gates that meet a pot which nobody told them of.

A round is known to every gate before it opens. What people open among themselves is not, and a gate asks neither a
database nor another process about it. So whoever opens such a pot gives its set a *note* with it
(`redrush.ports.store.NotedTerms`): written in the same step as the opening, in the log as well, and so wherever the pot
is, also in a set that was made anew from its journal.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec

from redrush.ports.store import Claimed, PotState, Store

GRANTED_MAX: Final = 10_000
"""Grants of a pot, so that a store which is shared tells who has any of it."""


class NotedPot(msgspec.Struct, frozen=True, gc=False):
    """A pot that is open: its note, "" where it has none, and its counts."""

    note: str
    state: PotState


class Watched(msgspec.Struct, frozen=True, gc=False):
    """A pot that somebody wants to know of for as long as they ask for it."""

    pot: str
    """Its name, as the store keeps it: whoever asks by this very object is found by it, and no second one is kept."""
    known: Mapping[str, Claimed]
    """Its grants as far as this process knows of them, live, as `Store.known` returns them."""


class NotedStore(Store, Protocol):
    """A store that is asked for pots by their names. See `redrush.ports.store.Store` for what its calls raise."""

    async def noted(self, pots: Sequence[str]) -> list[NotedPot | None]:
        """Return what each of these pots was opened with and how much of it is left; None: it was never opened."""

    async def lacks_nothing(self) -> bool:
        """Whether a pot that `noted` did not find just before was never opened, nor is about to be by somebody who was
        told that it was paid for. Not so while whoever opens pots may not have found the set again, and while a set
        that went on without its last records may lack some that nobody knows of."""

    async def granted(self, pot: str) -> Mapping[str, Claimed]:
        """Return everybody who has a durable grant of the pot, those to requests that have a name left out. In a pot
        that is watched they are known from then on.

        Raises KeyError for a pot that was never opened, ValueError for one with more than GRANTED_MAX grants, where the
        store is shared."""

    def watch(self, pot: str) -> Watched:
        """Return the pot, also one that others have opened; in a shared store it is remembered until `forget`. Raises
        KeyError for one that was never opened, where the store is not shared."""

    def forget(self, pot: str) -> None:
        """Nobody in this process wants to know more of the pot."""
