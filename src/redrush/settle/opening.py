"""Opens every pot of a campaign in every set, beside the gates: leftover goes to pots that no gate has opened yet.

A pot is opened in the warm-up of its round, or before that as soon as leftover is due to it, and `$returned` at once.
What an amendment has added to a pot joins it here, once it is open.

Gates open the pots that they need themselves; opening is idempotent, and whoever comes second with other slots is
refused, which means that two roles have different deployments: then this one ends, loudly.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from redrush.core.rush.campaign import Campaign
from redrush.core.rush.leftover import destination
from redrush.core.sets.division import Division
from redrush.errors import RedrushError
from redrush.ports.clock import Clock
from redrush.ports.pot_terms import returned_pot, terms_of
from redrush.ports.store import PotTerms, Store, StoreConflict
from redrush.settle.joining import Joining

LOOK_S: Final = 0.25
"""How soon it is noticed that a pot is due, and how soon a set that was away is tried again."""


class PotOpener:
    """See the module. `run` it as a task; it returns when every pot is open."""

    def __init__(
        self,
        stores: Mapping[str, Store],
        campaign: Campaign,
        division: Division,
        clock: Clock,
        *,
        warm_up_us: int,
        on_fault: Callable[[RedrushError], None],
        joining: Sequence[Joining] = (),
    ) -> None:
        """`joining` is what amendments have added; `on_fault` hears of every try that failed."""
        self._stores = stores
        self._campaign = campaign
        self._division = division
        self._clock = clock
        self._warm_up_us = warm_up_us
        self._on_fault = on_fault
        self._joining = joining

    async def run(self) -> None:
        """Open every pot when it is due, and give it what joins it. Raises StoreConflict if another role divides
        otherwise."""
        async with asyncio.TaskGroup() as sets:
            for set_id, store in self._stores.items():
                sets.create_task(self._do_all(store, self._steps(set_id)))

    def _steps(self, set_id: str) -> list[tuple[int, PotTerms | Joining]]:
        """Return the terms of the set's pots, and what joins them, with the instants from which each is due, the
        earliest first."""
        due_us = self._due_us(set_id)
        steps: list[tuple[int, PotTerms | Joining]] = [(0, returned_pot())]
        steps += [
            (due_us[pot.id], terms_of(pot, share.slots))
            for pot in self._campaign.pots
            for share in self._division.shares(pot.id)
            if share.set == set_id
        ]
        steps += [(max(due_us[one.pot], one.from_us), one) for one in self._joining if one.set == set_id]
        return sorted(steps, key=lambda step: step[0])  # is stable: a pot is open when something joins it

    def _due_us(self, set_id: str) -> dict[str, int]:
        """Return from when on each pot is to be open in the set."""
        pots = self._campaign.pots
        served = {pot.id for pot in pots if any(share.set == set_id for share in self._division.shares(pot.id))}
        due_us = {pot.id: pot.opens_us - self._warm_up_us for pot in pots}
        for pot in pots:
            target = destination(self._campaign, pot, pot.closes_us, lambda other: other in served)
            if target in due_us:
                due_us[target] = min(due_us[target], pot.closes_us)
        return due_us

    async def _do_all(self, store: Store, steps: Sequence[tuple[int, PotTerms | Joining]]) -> None:
        for from_us, step in steps:
            while self._clock.now_us() < from_us or not await self._do(store, step):
                await asyncio.sleep(LOOK_S)

    async def _do(self, store: Store, step: PotTerms | Joining) -> bool:
        try:
            if isinstance(step, PotTerms):
                await store.open([step])
            else:
                await store.give(step.pot, (step.slots,), step.transfer)
        except StoreConflict:
            raise
        except RedrushError as fault:
            self._on_fault(fault)
            return False
        return True
