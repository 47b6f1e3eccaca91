"""The stock of each pot, as an equation that adds up: for the console, from the stores themselves.

    own slots + joined = granted + held + in play + moved on + returned + on their way

`granted` is somebody's for good, `held` until a deadline; `in play` may still be claimed, or was released and
waits. Who asks gets what was true a moment ago: the stores are asked when somebody asks, at most once in `FRESH_S`.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from redrush.control.control_api import Fields, Operation
from redrush.core.rush.campaign import RETURNED_POT, Campaign
from redrush.core.rush.instants import rfc3339
from redrush.core.rush.line import LineState
from redrush.core.steering.switches import Snapshot, line_pace_of, pace_of
from redrush.errors import RedrushError
from redrush.ports.store import PotState, Store, Transfers

FRESH_S: Final = 0.4
"""Somebody who looks twice a second finds it renewed each time."""
ANSWER_MAX_S: Final = 0.8
"""Longest wait for the stores: who asks gives up after a second."""


class StockApi:
    """The operation on one campaign's stores."""

    def __init__(
        self,
        campaign: Callable[[], Campaign],
        stores: Callable[[], Mapping[str, Store]],
        sets_of: Callable[[str], Sequence[str]],
        line_of: Callable[[str], LineState | None],
        snapshot: Callable[[], Snapshot],
    ) -> None:
        """`sets_of` says over which sets a pot is divided, `line_of` how the line of a round stands (None: it has
        none), `snapshot` what operators have set."""
        self._campaign = campaign
        self._stores = stores
        self._sets_of = sets_of
        self._line_of = line_of
        self._snapshot = snapshot
        self._looked_s = float("-inf")
        self._rows: list[dict[str, Any]] = []
        self._looking = asyncio.Lock()

    def operations(self) -> Iterator[Operation]:
        """Yield the operation."""
        yield Operation("GET", "/v1/stock", self._tell)

    async def _tell(self, _fields: Fields, _who: str) -> tuple[int, dict[str, Any]]:
        async with self._looking:
            now_s = asyncio.get_running_loop().time()
            if now_s - self._looked_s >= FRESH_S:
                self._rows, self._looked_s = await self._look(), now_s
        campaign = self._campaign()
        return 200, {
            "campaign": campaign.id,
            "name": campaign.name,
            "currency": campaign.currency,
            "timezone": campaign.timezone,
            "rounds": [row | self._pace(row["round"]) for row in self._rows],
        }

    def _pace(self, round_id: str) -> dict[str, Any]:
        """Return how many grants a second a round may make, None: any number; and of a round with a line, how many
        stand in it, how many people a second shall be called, and how many are."""
        snapshot = self._snapshot()
        found: dict[str, Any] = {"release_per_s": _number(snapshot, pace_of(round_id))}
        if (state := self._line_of(round_id)) is not None:
            told = ("waiting", "joined", "called_per_s", "paused", "closed")
            pace = _number(snapshot, line_pace_of(round_id))
            found["line"] = {name: getattr(state, name) for name in told} | {"pace_per_s": pace}
        return found

    async def _look(self) -> list[dict[str, Any]]:
        stores = self._stores()
        found = await asyncio.gather(*(self._look_at(set_id, store) for set_id, store in stores.items()))
        of_sets = dict(zip(stores, found, strict=True))
        moves = [told[0] for told in of_sets.values() if told is not None]
        rows = []
        whole = all(one is not None for one in of_sets.values())
        for pot in self._campaign().pots:
            told = [of_sets.get(set_id) for set_id in self._sets_of(pot.id)]
            states = [one[1].get(pot.id) for one in told if one is not None]
            row: dict[str, Any] = {
                "round": pot.round.id,
                "pot": pot.id,
                "prize": pot.prize,
                "kind": str(pot.round.kind),
                "opens_at": rfc3339(pot.opens_us),
                "closes_at": rfc3339(pot.closes_us),
                "slots": pot.slots.count,
                "known": whole,
            }
            rows.append(row | _equation(pot.slots.count, pot.id, [one for one in states if one], moves))
        return rows

    async def _look_at(self, set_id: str, store: Store) -> tuple[Transfers, dict[str, PotState]] | None:
        """Return what moved in a set, and the counts of its pots; None if it does not say so in time."""
        states: dict[str, PotState] = {}
        try:
            async with asyncio.timeout(ANSWER_MAX_S):
                for pot in self._campaign().pots:
                    if set_id in self._sets_of(pot.id):
                        try:
                            states[pot.id] = await store.state(pot.id)
                        except KeyError:
                            continue  # not open yet: all of it is in play
                return await store.transfers(), states
        except (RedrushError, TimeoutError):
            return None


def _number(snapshot: Snapshot, name: str) -> float | None:
    """Return a number that is set, None where it is off, or a switchboard of an earlier start does not know it."""
    return snapshot.number(name) if name in snapshot.values else None


def _equation(own: int, pot: str, states: Sequence[PotState], of_sets: Sequence[Transfers]) -> dict[str, int]:
    """Return the terms. The counts of several sets are of several moments, so while slots are claimed the last term may
    be out by what was claimed in between."""
    given = {transfer: half for moves in of_sets for transfer, half in moves.given.items()}
    taken = {transfer: half for moves in of_sets for transfer, half in moves.taken.items()}
    joined = moved = returned = on_the_way = 0
    for transfer, half in taken.items():
        if half.pot != pot:
            continue
        count, arrived = sum(run.count for run in half.slots), given.get(transfer)
        if arrived is None:
            on_the_way += count
        elif arrived.pot == RETURNED_POT:
            returned += count
        elif arrived.pot != pot:
            moved += count
    for transfer, half in given.items():
        left = taken.get(transfer)
        if half.pot == pot and (left is None or left.pot != pot):
            joined += sum(run.count for run in half.slots)
    held, granted = sum(state.held for state in states), sum(state.for_good for state in states)
    in_play = sum(state.left for state in states) if states else own
    return {
        "joined": joined,
        "granted": granted,
        "held": held,
        "in_play": in_play,
        "moved": moved,
        "returned": returned,
        "on_the_way": on_the_way,
        "claimed_ever": sum(state.claimed_ever for state in states),
    }
