"""Whether the whole can grant now: every set of the rounds that are due has its pots open, and gates answer.

Looked at again and again in the background, so that being asked (by a load balancer, by `stack up`) costs nothing and
shows at once what was true a moment ago.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec

from redrush.core.nobody import ignore
from redrush.core.rush.campaign import RETURNED_POT, Campaign
from redrush.core.sets.absence import Absence
from redrush.errors import RedrushError
from redrush.ports.clock import Clock
from redrush.ports.store import History, Store, StoreUnavailable

LOOK_S: Final = 0.5
ANSWER_MAX_S: Final = 2.0
"""Longest wait for one set or gate."""

Probe = Callable[[], Awaitable[bool]]


class Lack(msgspec.Struct, frozen=True):
    """Why a set cannot grant: one of the reasons, and the sentence about it."""

    reason: Absence
    why: str


def _no_hint(_set: str) -> str | None:
    return None


class Overview:
    """See the module. `run` it as a task."""

    def __init__(  # noqa: PLR0913 - what it looks at and whom it tells, by name
        self,
        stores: Mapping[str, Store],
        campaign: Campaign,
        clock: Clock,
        *,
        sets_of: Callable[[str], Sequence[str]],
        warm_up_us: int,
        gates: Mapping[str, Probe],
        told: Callable[[str, Lack | None], None] = ignore,
        hint: Callable[[str], str | None] = _no_hint,
    ) -> None:
        """`gates` are asked whether they live, by address. `told` hears of a set that cannot grant, of another reason,
        and, with None, that it can again; `hint` says what its warden makes of it."""
        self._stores = stores
        self._campaign = campaign
        self._clock = clock
        self._sets_of = sets_of
        self._warm_up_us = warm_up_us
        self._gates = gates
        self._told = told
        self._hint = hint
        self._looked = False
        self.sets: dict[str, Lack | None] = {
            set_id: Lack(Absence.AWAY, f"set {set_id}: not looked at yet") for set_id in stores
        }
        """Why a set cannot grant, None if it can."""
        self._gates_lacking: tuple[str, ...] = ()
        self._found_open: dict[str, tuple[History, set[str]]] = {}
        """The pots that were found open in a set, in this history of it: there they stay so."""

    @property
    def lacking(self) -> str | None:
        """Why not every claim could be granted now, and which share could; None: every one could."""
        if not self._looked:
            return "nothing was looked at yet"
        lacks = [lack.why for lack in self.sets.values() if lack is not None]
        if not lacks and not self._gates_lacking:
            return None
        able, count = len(self.sets) - len(lacks), len(self.sets)
        if able == count:
            said = "every set can grant"
        elif able:
            said = f"{able} of {count} sets can grant, to about {100 * able // count}% of the users"
        else:
            said = "no set can grant"
        return "; ".join((said, *lacks, *self._gates_lacking))

    def states(self) -> dict[str, str]:
        """Return "ready" or the reason, by set."""
        return {set_id: "ready" if lack is None else lack.reason for set_id, lack in self.sets.items()}

    async def run(self) -> None:
        """Look for as long as it is not cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Look once."""
        lacks = await asyncio.gather(*(self._set_lacks(set_id) for set_id in self._stores))
        gates = await asyncio.gather(*(self._gate_lacks(address, probe) for address, probe in self._gates.items()))
        for set_id, lack in zip(self._stores, lacks, strict=True):
            before, self.sets[set_id] = self.sets[set_id], lack
            if (before and before.reason) != (lack and lack.reason) or (lack is not None and not self._looked):
                self._told(set_id, lack)
        self._gates_lacking = tuple(lack for lack in gates if lack is not None)
        self._looked = True

    async def _set_lacks(self, set_id: str) -> Lack | None:
        lack = await self._claim_lacks(set_id)
        hint = None if lack is None else self._hint(set_id)
        return lack if lack is None or hint is None else Lack(lack.reason, f"{lack.why} ({hint})")

    async def _claim_lacks(self, set_id: str) -> Lack | None:
        """Find out by going the way of a claim: what would refuse one refuses this, which asks for nobody."""
        store, now_us = self._stores[set_id], self._clock.now_us()
        pots = [RETURNED_POT]
        pots += [
            pot.id
            for pot in self._campaign.pots
            if pot.opens_us - self._warm_up_us <= now_us < pot.closes_us and set_id in self._sets_of(pot.id)
        ]
        for pot in pots:
            try:
                found_open = self._open_in(set_id)
                if pot in found_open:
                    continue
                async with asyncio.timeout(ANSWER_MAX_S):
                    await store.state(pot)
                found_open.add(pot)
            except KeyError:
                return Lack(Absence.NOT_OPEN, f"set {set_id}: pot {pot} is not open yet")
            except TimeoutError:
                return Lack(Absence.AWAY, f"set {set_id}: no answer within {ANSWER_MAX_S:g} s")
            except RedrushError as fault:
                return _lack(fault)
        try:
            async with asyncio.timeout(ANSWER_MAX_S):
                await store.claim((), now_us)
        except TimeoutError:
            return Lack(Absence.AWAY, f"set {set_id}: no answer within {ANSWER_MAX_S:g} s")
        except RedrushError as fault:
            return _lack(fault)
        return None

    def _open_in(self, set_id: str) -> set[str]:
        """Return the pots that were found open there; while its history is not known, none."""
        try:
            history = self._stores[set_id].history()
        except StoreUnavailable:
            return set()
        found = self._found_open.get(set_id)
        if found is None or found[0] != history:
            found = self._found_open[set_id] = (history, set())
        return found[1]

    async def _gate_lacks(self, address: str, probe: Probe) -> str | None:
        return None if await probe() else f"gate {address}: does not answer"


def _lack(fault: RedrushError) -> Lack:
    return Lack(fault.reason if isinstance(fault, StoreUnavailable) else Absence.BROKEN, str(fault))
