"""Opens every pot of a campaign in every set, beside the gates: leftover goes to pots that no gate has opened yet.

A pot is opened in the warm-up of its round, or before that as soon as leftover is due to it, and `$returned` at once.
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
    ) -> None:
        """`on_fault` hears of every try that failed."""
        self._stores = stores
        self._campaign = campaign
        self._division = division
        self._clock = clock
        self._warm_up_us = warm_up_us
        self._on_fault = on_fault

    async def run(self) -> None:
        """Open every pot when it is due. Raises StoreConflict if another role divides otherwise."""
        async with asyncio.TaskGroup() as sets:
            for set_id, store in self._stores.items():
                sets.create_task(self._open_all(store, self._pots(set_id)))

    def _pots(self, set_id: str) -> list[tuple[PotTerms, int]]:
        """Return the terms of pots and the instants from which they are due, for the set, the earliest first."""
        pots = self._campaign.pots
        shares = {pot.id: self._division.shares(pot.id) for pot in pots}
        served = {pot_id for pot_id, places in shares.items() if any(share.set == set_id for share in places)}
        due_us = {pot.id: pot.opens_us - self._warm_up_us for pot in pots}
        for pot in pots:
            target = destination(self._campaign, pot, pot.closes_us, lambda other: other in served)
            if target in due_us:
                due_us[target] = min(due_us[target], pot.closes_us)
        terms = [(returned_pot(), 0)]
        terms += [
            (terms_of(pot, share.slots), due_us[pot.id])
            for pot in pots
            for share in shares[pot.id]
            if share.set == set_id
        ]
        return sorted(terms, key=lambda due: due[1])

    async def _open_all(self, store: Store, pots: Sequence[tuple[PotTerms, int]]) -> None:
        for terms, from_us in pots:
            while self._clock.now_us() < from_us or not await self._open(store, terms):
                await asyncio.sleep(LOOK_S)

    async def _open(self, store: Store, terms: PotTerms) -> bool:
        try:
            await store.open([terms])
        except StoreConflict:
            raise
        except RedrushError as fault:
            self._on_fault(fault)
            return False
        return True
