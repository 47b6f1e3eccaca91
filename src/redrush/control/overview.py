"""Whether the whole can grant now: every set of the rounds that are due has its pots open, and gates answer.

Looked at again and again in the background, so that being asked (by a load balancer, by `stack up`) costs nothing and
shows at once what was true a moment ago.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from redrush.core.campaign import RETURNED_POT, Campaign
from redrush.errors import RedrushError
from redrush.ports.clock import Clock
from redrush.ports.store import Store

LOOK_S: Final = 0.5
ANSWER_MAX_S: Final = 2.0
"""Longest wait for one set or gate."""

Probe = Callable[[], Awaitable[bool]]


class Overview:
    """See the module. `run` it as a task."""

    def __init__(
        self,
        stores: Mapping[str, Store],
        campaign: Campaign,
        clock: Clock,
        *,
        sets_of: Callable[[str], Sequence[str]],
        warm_up_us: int,
        gates: Mapping[str, Probe],
    ) -> None:
        """`gates` are asked whether they live, by address."""
        self._stores = stores
        self._campaign = campaign
        self._clock = clock
        self._sets_of = sets_of
        self._warm_up_us = warm_up_us
        self._gates = gates
        self.lacking: tuple[str, ...] = ("nothing was looked at yet",)
        """Why the whole cannot grant, a sentence each; empty if it can."""
        self.sets_lacking: frozenset[str] = frozenset(stores)

    async def run(self) -> None:
        """Look for as long as it is not cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Look once."""
        sets = await asyncio.gather(*(self._set_lacks(set_id) for set_id in self._stores))
        gates = await asyncio.gather(*(self._gate_lacks(address, probe) for address, probe in self._gates.items()))
        self.sets_lacking = frozenset(set_id for set_id, lack in zip(self._stores, sets, strict=True) if lack)
        self.lacking = tuple(lack for lack in (*sets, *gates) if lack is not None)

    async def _set_lacks(self, set_id: str) -> str | None:
        now_us = self._clock.now_us()
        pots = [RETURNED_POT]
        pots += [
            round_.id
            for round_ in self._campaign.rounds
            if round_.opens_us - self._warm_up_us <= now_us < round_.closes_us and set_id in self._sets_of(round_.id)
        ]
        for pot in pots:
            try:
                async with asyncio.timeout(ANSWER_MAX_S):
                    await self._stores[set_id].state(pot)
            except KeyError:
                return f"set {set_id}: pot {pot} is not open yet"
            except TimeoutError:
                return f"set {set_id}: no answer within {ANSWER_MAX_S:g} s"
            except RedrushError as fault:
                return str(fault)
        return None

    async def _gate_lacks(self, address: str, probe: Probe) -> str | None:
        return None if await probe() else f"gate {address}: does not answer"
