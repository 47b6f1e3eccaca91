"""What a gate may conclude about a pot from its own memory: in which of two forms depends on the stores.

Where a store's process knows every grant (`Everything`), what the store says is empty is sold out, and whoever has no
grant there has none. A gate among others (`Others`) knows less, and two rules make up for it:

- *Empty* is final, so it is said only when the round as a whole was found sold out (`sell_out`, by whoever watches all
  its sets: `redrush.gate.knowledge.watching`). A user whose own set has nothing left before that has *missed*: slots
  are being moved there.
- A winner of another gate is not known here by name. Before such a loser's answer is given from memory the winners'
  filter has to rule the user out, and for a final answer the user's pot has to be *complete*: whoever has won there is
  known or in the filter (`redrush.gate.knowledge.following`). Otherwise the store is asked.

The form is chosen once, when the round is added. A claim asks the same two things in both, without a call: whether the
user is among the `winners` that may be unknown, and whether the pot is `complete`. To `Everything` that is never and
always.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from redrush.core.rush.campaign import Pot
from redrush.core.rush.outcomes import Outcome
from redrush.core.sets.division import home
from redrush.errors import RedrushError
from redrush.gate.knowledge.winners import WinnersFilter
from redrush.gate.lanes import AskedPot
from redrush.gate.pots import SetPot
from redrush.ports.store import PotState

DRY_US: Final = 20_000
"""How long nobody is sent to a set that had nothing left: moves of slots take longer, and the crowd of the set that is
dry first would otherwise all go through to it."""


class Winners(Protocol):
    """Users who may have won without being known here by name."""

    def __contains__(self, user: str, /) -> bool:
        """Whether the user may be one of them; False is certain."""


class Knowledge:
    """What is known of one pot, over all its sets. `Everything` and `Others` are its two forms."""

    COMPLETE: bool
    """Whether the pots are complete from the beginning, and stay so."""

    def __init__(self, pot: Pot, pots: Sequence[SetPot], winners: Winners) -> None:
        """`pots`: the pot in each of its sets, in the order of the division; of one id in all of them."""
        self.pot = pot
        self.pots = tuple(pots)
        self.winners = winners
        self.sold_out = False
        """Whether every slot is somebody's for good."""
        self.all_taken = self.COMPLETE
        """Whether what a store says of its part is so for all: that of a pot of holds nothing can be had now but what
        comes back. Where it is not, slots of other sets are on their way."""
        self.refills = 0
        """How often slots were given to the round: what was found out before the last time is void."""
        self.slots = pot.slots.count
        """Slots of the pot: its own, and what is known to have joined it from rounds before."""
        self.claimed = 0
        """Grants of the pot that are known to have been made."""
        self.ended_us: int | None = None
        """Since when operators have the round ended; None: they have not."""
        self.when_void: Callable[[], None] = _nothing
        """Called when what winners were told may be wrong; set by whoever tells them."""

    @property
    def pot_id(self) -> str:
        """The id of the pot in its sets."""
        return self.pots[0].id

    async def drained(self) -> None:
        """Return when every claim parked so far is decided."""
        for pot in self.pots:
            await pot.lane.drained()

    async def learn(self) -> None:
        """Find out from the stores what a start has to know, after the pots were opened. Raises what stores raise."""
        raise NotImplementedError

    async def recount(self) -> None:
        """Find out how many slots there are: some were given to the round."""
        raise NotImplementedError

    def nothing_left(self, pot: AskedPot, refills: int, now_us: int) -> Outcome:
        """Return what a claim is told that the pot had no slot for, and remember it. `refills` is as it was when the
        claim was sent."""
        raise NotImplementedError

    def refilled(self) -> None:
        """Slots were given to a pot: nobody is told that it is empty until that was found out again."""
        self.refills += 1
        self.sold_out = False

    def count_slots(self, states: Sequence[PotState]) -> None:
        """The round's pots were seen in these states. Slots on their way between two sets are in none of them for a
        moment, so what was seen once is not taken back."""
        slots = sum(state.left + state.claimed_ever - state.returned_ever for state in states)
        self.slots = max(self.slots, slots)
        self.claimed = max(self.claimed, sum(state.claimed_ever - state.returned_ever for state in states))

    def home(self, user: str) -> SetPot:
        """Return the pot in the user's home set."""
        return self.pots[0] if len(self.pots) == 1 else self.pots[home(user, len(self.pots))]

    def may_have(self, user: str) -> bool:
        """Whether the user may have a grant of the pot, by whatever request; False is certain but for what other gates
        have granted a moment ago."""
        raise NotImplementedError

    def won(self, user: str) -> None:
        """The user was granted a slot by this gate."""
        self.claimed += 1


class Everything(Knowledge):
    """The stores of the round know every grant, in this process."""

    COMPLETE = True

    def __init__(self, pot: Pot, pots: Sequence[SetPot]) -> None:
        super().__init__(pot, pots, frozenset())

    def may_have(self, user: str) -> bool:
        """See `Knowledge`: the stores know."""
        return any(user in pot.holders for pot in self.pots)

    async def learn(self) -> None:
        """Find out how many slots there are, and whether anything is left."""
        states = await self._count()
        self.sold_out = not any(state.left or state.held for state in states)

    async def recount(self) -> None:
        """Find out how many slots there are: some were given to the round."""
        with contextlib.suppress(RedrushError):  # of the store: it tells others too
            await self._count()

    async def _count(self) -> list[PotState]:
        states = [await pot.lane.store.state(pot.id) for pot in self.pots]
        self.count_slots(states)
        return states

    def nothing_left(self, pot: AskedPot, refills: int, now_us: int) -> Outcome:
        """Tell the user that it is empty: the store knows. It is so for everybody unless slots were given since."""
        self.sold_out = refills == self.refills
        return Outcome.EMPTY


class Others(Knowledge):
    """Other gates grant from the same sets: what is known of their winners follows from the sets' logs."""

    COMPLETE = False
    winners: WinnersFilter

    def __init__(self, pot: Pot, pots: Sequence[SetPot]) -> None:
        super().__init__(pot, pots, WinnersFilter(pot.slots.count))
        self.when_refilled: Callable[[], None] = _nothing
        """Called when there is something to find out again; set by whoever finds it out."""

    def may_have(self, user: str) -> bool:
        """See `Knowledge`: what follows from the sets' logs."""
        return user in self.winners

    def won(self, user: str) -> None:
        """See `Knowledge`."""
        super().won(user)
        self.winners.add((user,))

    async def learn(self) -> None:
        """Learn nothing: whoever watches the round's sets tells."""

    async def recount(self) -> None:
        """Count nothing: whoever watches the round's sets does."""

    def nothing_left(self, pot: AskedPot, refills: int, now_us: int) -> Outcome:
        """Send nobody to the dry set for a moment; it is empty only where the whole round was found to be."""
        if self.sold_out:
            return Outcome.EMPTY
        if refills == self.refills:
            pot.dry_until_us = now_us + DRY_US
        return Outcome.MISSED

    def refilled(self) -> None:
        """See `Knowledge`. Winners that nobody knows of may come from now on."""
        super().refilled()
        self.all_taken = False
        for pot in self.pots:
            pot.complete = False
            pot.dry_until_us = 0
        self.when_refilled()

    def began_anew(self) -> None:
        """A set of the round may have lost grants: they, and what was concluded from them, have to be learned again."""
        self.when_void()
        self.refilled()

    def sell_out(self, refills: int) -> None:
        """Every slot in every set was found to be granted, when `refills` was what it is said to be."""
        self.sold_out = refills == self.refills

    def complete(self, pot: SetPot, refills: int) -> None:
        """The filter has every winner of the pot, and no other can come, provided nothing was given since."""
        pot.complete = refills == self.refills


def _nothing() -> None:
    """Nobody wants to be told."""
