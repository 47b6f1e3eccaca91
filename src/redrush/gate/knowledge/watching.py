"""Watches a round in all its sets: is it sold out, has it slots again, can nobody win any more?

*Sold out* is final for the crowd, so it is not taken from news, which may be late or cross other news: news only makes
the gate look. It is so when as many slots were ever claimed as are in play, those on their way between two sets
included, and have ever come back (`redrush.core.sets.stock`). A set that cannot be reached may have slots, therefore
nothing is said as long as it is away.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from redrush.core.sets.stock import is_sold_out, slots_in_play
from redrush.gate.knowledge.following import LogFollower
from redrush.gate.knowledge.knowledge import Others
from redrush.gate.pots import SetPot
from redrush.ports.store import History, PotState, StoreFailed, StoreUnavailable, Transfers

SETTLED_US: Final = 30_000_000
"""So long after the close no batch of any gate is under way any more: a store call ends, one way or the other, in less.
"""

MOVES_END_US: Final = 2_000_000
"""So long after the close no slots come into its pots any more. As a rule what is left over was moved away by then, and
where nothing is left nobody can win."""

ENDED_SETTLED_US = 4_000_000
"""So long after operators have ended a round no batch is under way at any gate as a rule: they hear of it within
moments, and a store call ends in less. Until then a gate tells losers to ask again."""


class RoundWatch:
    """Watches one round. Not thread-safe: it lives on the event loop."""

    def __init__(self, knows: Others, followers: Mapping[str, LogFollower], now_us: Callable[[], int]) -> None:
        """`followers` by set."""
        self.knows = knows
        self._followers = followers
        self._now_us = now_us
        self._sold_out_at = (0, 0)
        """How many slots were ever claimed, and had come back, when the round was found sold out; of a pot of holds,
        how many were sold, and 0."""
        self._looking = False
        self._look_again = False

    @property
    def due(self) -> bool:
        """Whether there is anything to find out now."""
        round_ = self.knows.pot
        now_us = self._now_us()
        if now_us < round_.opens_us:
            return False
        return now_us < round_.closes_us or any(
            not pot.complete and not self._followers[pot.lane.set].incomplete(pot.id) for pot in self.knows.pots
        )

    async def look(self) -> None:
        """Ask every set and draw the conclusions. A call during a look makes that look be followed by one more."""
        self._look_again = True
        if self._looking:
            return
        self._looking = True
        try:
            while self._look_again:
                self._look_again = False
                await self._look()
        finally:
            self._looking = False

    async def _look(self) -> None:
        knows = self.knows
        refills = knows.refills
        histories = self._histories()
        closed = self._now_us() >= knows.pot.closes_us
        states = await asyncio.gather(*(_state(pot) for pot in knows.pots))
        self._count(states)
        if closed:
            self._conclude_close(states)
        elif knows.ended_us is not None:
            if self._now_us() - knows.ended_us >= ENDED_SETTLED_US:
                self._want_logs()
        elif any(state is not None and state.unclaimed for state in states):
            if knows.sold_out or knows.all_taken:
                knows.refilled()
        elif None not in states:
            looks = self._look_at_grants if knows.pot.hold_us is None else self._look_at_holds
            await looks([state for state in states if state is not None], refills, histories)

    async def _look_at_grants(self, states: Sequence[PotState], refills: int, histories: list[History | None]) -> None:
        """Of a pot that can be claimed nowhere now: is it sold out?"""
        knows = self.knows
        claimed = sum(state.claimed_ever for state in states)
        returned = sum(state.returned_ever for state in states)
        if knows.sold_out and (claimed, returned) == self._sold_out_at:
            self._want_logs()
            return
        if knows.sold_out:  # slots came and went without news
            knows.refilled()
            refills = knows.refills
        # Where a set has begun anew meanwhile, not all that was counted is of the same course of events.
        came_back = await self._returned_if_sold_out(claimed)
        if came_back is not None and histories == self._histories():
            knows.sell_out(refills)
            self._sold_out_at = claimed, came_back
            self._want_logs()

    async def _look_at_holds(self, states: Sequence[PotState], refills: int, histories: list[History | None]) -> None:
        """Of a pot of holds that can be claimed nowhere now: is it sold, or may something come back?

        A confirmed hold stays one, so their number only grows, and was read first: where it is as large as what is in
        play, read later, every slot was sold at the moment between.
        """
        knows = self.knows
        sold = sum(state.for_good for state in states)
        if knows.sold_out and (sold, 0) == self._sold_out_at:
            self._want_logs()
            return
        if knows.sold_out:  # slots came without news
            knows.refilled()
            refills = knows.refills
        if refills != knows.refills:  # slots came during this look: another one follows
            return
        knows.all_taken = True
        moves = await asyncio.gather(*(_transfers(pot) for pot in knows.pots))
        if None in moves or histories != self._histories():
            return
        in_play = slots_in_play(knows.pot.slots.count, knows.pot_id, (of_set for of_set in moves if of_set is not None))
        if is_sold_out(sold, in_play=in_play, returned_ever=0):
            knows.sell_out(refills)
            self._sold_out_at = sold, 0
            self._want_logs()

    def _count(self, states: Sequence[PotState | None]) -> None:
        if self._now_us() < self.knows.pot.closes_us:  # later what is left goes elsewhere
            self.knows.count_slots([state for state in states if state is not None])

    def _histories(self) -> list[History | None]:
        return [_history(pot) for pot in self.knows.pots]

    def _want_logs(self) -> None:
        knows = self.knows
        for pot in knows.pots:
            if (knows.sold_out or knows.ended_us is not None) and not pot.complete:
                self._followers[pot.lane.set].want(pot.id)

    def _conclude_close(self, states: list[PotState | None]) -> None:
        round_ = self.knows.pot
        since_us = self._now_us() - round_.closes_us
        for pot, state in zip(self.knows.pots, states, strict=True):
            empty = state is not None and not state.left and since_us >= MOVES_END_US
            if not pot.complete and (empty or since_us >= SETTLED_US):
                self._followers[pot.lane.set].want(pot.id)

    async def _returned_if_sold_out(self, claimed: int) -> int | None:
        """Return how many slots have ever come back, if all are granted, wherever they are; None while some are not, or
        that cannot be known. `claimed` was read before this call."""
        knows = self.knows
        moves, states = await asyncio.gather(
            asyncio.gather(*(_transfers(pot) for pot in knows.pots)),
            asyncio.gather(*(_state(pot) for pot in knows.pots)),
        )
        if None in moves or None in states:
            return None
        returned = sum(state.returned_ever for state in states if state is not None)
        in_play = slots_in_play(knows.pot.slots.count, knows.pot_id, (of_set for of_set in moves if of_set is not None))
        return returned if is_sold_out(claimed, in_play=in_play, returned_ever=returned) else None


def _history(pot: SetPot) -> History | None:
    try:
        return pot.lane.store.history()
    except StoreUnavailable:
        return None


async def _state(pot: SetPot) -> PotState | None:
    """Return the state of the pot, None if it cannot be known now; KeyError: it was not opened yet."""
    try:
        return await pot.lane.store.state(pot.id)
    except (StoreUnavailable, StoreFailed, KeyError):
        return None


async def _transfers(pot: SetPot) -> Transfers | None:
    try:
        return await pot.lane.store.transfers()
    except (StoreUnavailable, StoreFailed):
        return None
