"""The closer over many sets: what a closed round has left in any set goes on, whatever was under way at the closing.

Each set closes by itself: its part of the leftover goes from its pot of the closed round to its own pot of the next
one, or of what is returned. Two things make that more than a closer per set:

- *A move between sets may arrive late.* Slots that the rebalancer took before the closing may be given to a pot that
  has been closed and emptied already: after a crash, or when a process or a store was stopped for an hour in between.
  They must not lie there for ever, so a pot is *swept* again and again, each time under the next id, until the round is
  settled: there was an instant at which every pot of it was empty and no move half done. From then on nothing can
  arrive any more, for a give follows from a take, every take was completed, and from an empty pot nothing is taken. The
  closer completes half-done moves itself: it needs nobody else to come to an end.
- *A set may be out of reach*, for as long as it likes. The others are swept meanwhile; it is when it is back.

Leftover may so arrive late in a round that has closed too. A round is therefore settled only after all that closed
before it. Nothing is kept here: what was done is read from the stores, and every sweep that was half done is done again
under its own id, so a crash at any point, or two closers at once, move everything once.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from redrush.core.nobody import ignore, never
from redrush.core.rush.campaign import Campaign, Pot
from redrush.core.rush.leftover import LEFTOVER_PREFIX, sweep_id
from redrush.errors import RedrushError
from redrush.ports.clock import Clock
from redrush.ports.store import PotState, Store, Transfers
from redrush.resting import rest
from redrush.settle.closing import close_pot
from redrush.settle.joining import Joining
from redrush.settle.moves import complete_moves, half_moves, read_transfers

GRACE_US: Final = 2_000_000
"""From the closing to the first sweep: for the claims that gates accepted before it and are still making durable. One
that is later still is not lost, it only finds nothing."""

LOOK_AGAIN_S: Final = 0.5
"""Longest sleep before the clock is asked again."""

BACKOFF_FIRST_S: Final = 0.2
BACKOFF_MAX_S: Final = 5.0
"""Wait after a pass that left a closed round unsettled, doubled up to the maximum."""

SWEEPS_MAX: Final = 10_000
"""Sweeps of one pot. Each follows a late move, of which there are a few; more would be a fault, moving in a circle."""


class SetsCloser:
    """Closes every pot in every set. `run` it as a task; `stop` ends it."""

    def __init__(  # noqa: PLR0913 - all but four have a default that suits whoever does not care
        self,
        stores: Mapping[str, Store],
        campaign: Campaign,
        clock: Clock,
        *,
        sets_of: Callable[[str], Sequence[str]],
        joining: Sequence[Joining] = (),
        moved: Callable[[str], None] = ignore,
        paused: Callable[[], bool] = never,
        on_fault: Callable[[RedrushError], None] = ignore,
    ) -> None:
        """`stores` are by set; `sets_of` names the sets of a pot, among them those of every earlier one. `joining` is
        what amendments have added: a pot is not settled before it was given that. `moved`
        hears of each pot that was given slots; `on_fault` of what keeps a round from being settled, at every try. While
        `paused` no pass is begun; it is asked every `LOOK_AGAIN_S`.
        """
        self._stores = stores
        self._clock = clock
        self._campaign = campaign
        self._sets_of = sets_of
        self._joining = joining
        self._moved = moved
        self._paused = paused
        self._on_fault = on_fault
        # sorted() is stable: rounds that close together keep the order of their opening.
        self._unsettled = sorted(campaign.pots, key=lambda pot: pot.closes_us)
        self._stopping = asyncio.Event()

    @property
    def unsettled(self) -> list[str]:
        """The pots, closed or not, of which leftover may still move."""
        return [pot.id for pot in self._unsettled]

    async def run(self) -> None:
        """Close the pots in order of their closing; return when all are settled, or at `stop`."""
        backoff_s = BACKOFF_FIRST_S
        while self._unsettled and not self._stopping.is_set():
            if self._paused():
                await rest(LOOK_AGAIN_S, self._stopping)
                continue
            closed = self._closed()
            if not closed:
                await rest(min(LOOK_AGAIN_S, self._until_us(self._unsettled[0]) / 1e6), self._stopping)
                continue
            settled = await self.settle_all(closed)
            backoff_s = BACKOFF_FIRST_S if settled else min(2 * backoff_s, BACKOFF_MAX_S)
            if not settled:
                await rest(backoff_s, self._stopping)

    def stop(self) -> None:
        """End `run` after the pass under way."""
        self._stopping.set()

    async def settle_all(self, closed: Sequence[Pot]) -> bool:
        """Go once through these pots, the unsettled ones that closed first; return whether all are settled now."""
        for pot in closed:
            is_settled = await self._settle(pot)
            if is_settled and self._unsettled[0] == pot:
                del self._unsettled[0]
        return closed[-1] not in self._unsettled

    def _closed(self) -> list[Pot]:
        return [pot for pot in self._unsettled if self._until_us(pot) <= 0]

    def _until_us(self, pot: Pot) -> int:
        return pot.closes_us + GRACE_US - self._clock.now_us()

    async def _settle(self, pot: Pot) -> bool:
        """Complete the pot's moves and sweep it, as far as its sets can be reached.

        Return whether the pot is settled, provided that those before it are.
        """
        stores = {set_id: self._stores[set_id] for set_id in self._sets_of(pot.id)}
        faults: list[RedrushError] = []
        try:
            await complete_moves(stores, pot.id)
        except RedrushError as incomplete:
            faults.append(incomplete)
        transfers = await read_transfers(stores)
        sweeps = [self._sweep(set_id, pot, transfers[set_id]) for set_id in transfers]
        for outcome in await asyncio.gather(*sweeps, return_exceptions=True):
            if isinstance(outcome, RedrushError):
                faults.append(outcome)
            elif outcome is not None:
                raise outcome
        for fault in faults:
            self._on_fault(fault)
        return not faults and await self._is_settled(stores, pot)

    async def _sweep(self, set_id: str, pot: Pot, transfers: Transfers) -> None:
        """Finish the sweeps of this set's pot that were begun, and move what it has left under the next id."""
        store = self._stores[set_id]
        for sweep in range(SWEEPS_MAX):
            transfer = sweep_id(pot, set_id, sweep)
            taken = transfers.taken.get(transfer)
            if taken is not None and (not taken.slots or transfer in transfers.given):
                continue
            try:
                if taken is None and (await store.state(pot.id)).left == 0:
                    return
                now_us = self._clock.now_us()
                moved = await close_pot(store, self._campaign, pot, now_us, transfer, self._taken_by(set_id))
            except KeyError as unopened:
                raise RedrushError(f"set {set_id} cannot close pot {pot.id}: {unopened.args[0]}") from None
            if moved.slots:
                self._moved(moved.destination)
        raise RedrushError(f"set {set_id}: pot {pot.id!r} was swept {SWEEPS_MAX} times and is not empty")

    def _taken_by(self, set_id: str) -> Callable[[str], bool]:
        return lambda pot_id: set_id in self._sets_of(pot_id)

    async def _is_settled(self, stores: Mapping[str, Store], pot: Pot) -> bool:
        """Whether nothing can arrive any more.

        The transfers are read before and after the stocks. Where they are the same, there was an instant between at
        which no move was half done and every pot was empty.
        """
        before = await read_transfers(stores)
        states = await asyncio.gather(*(store.state(pot.id) for store in stores.values()), return_exceptions=True)
        after = await read_transfers(stores)
        return (
            len(before) == len(stores)
            and all(one.transfer in before[one.set].given for one in self._joining if one.pot == pot.id)
            and all(isinstance(state, PotState) and state.left == 0 for state in states)
            and not half_moves(before, pot.id)
            and not any(_half_sweeps(held, pot) for held in before.values())
            and _of_pot(before, pot) == _of_pot(after, pot)
        )


def _half_sweeps(held: Transfers, pot: Pot) -> list[str]:
    """Return the ids of sweeps whose slots have left the pot and did not arrive."""
    return [
        transfer
        for transfer, taken in held.taken.items()
        if taken.pot == pot.id and taken.slots and transfer.startswith(LEFTOVER_PREFIX) and transfer not in held.given
    ]


def _of_pot(transfers: Mapping[str, Transfers], pot: Pot) -> set[tuple[str, str, str]]:
    """Return set, half and id of every transfer of the pot."""
    return {
        (set_id, half, transfer)
        for set_id, held in transfers.items()
        for half, moves in (("taken", held.taken), ("given", held.given))
        for transfer, move in moves.items()
        if move.pot == pot.id
    }
