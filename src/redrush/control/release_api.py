"""The release paces of a campaign among its gates: the part of the control API by which they tell what they let go."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from redrush.control.control_api import Fields, Operation
from redrush.core.rush.pace_shares import AllPaceShares, Released
from redrush.core.steering.switches import Snapshot, pace_of


class _Telling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    gate: str
    rounds: dict[str, Released]


class ReleaseApi:
    """Divides what operators have set; see `redrush.core.rush.pace_shares`."""

    def __init__(self, snapshot: Callable[[], Snapshot], now_us: Callable[[], int]) -> None:
        self._snapshot = snapshot
        self._now_us = now_us
        self._shares = AllPaceShares()

    def operations(self) -> Iterator[Operation]:
        """Yield the operation by which a gate tells what it let go of each round, and hears what it may."""
        yield Operation("POST", "/v1/releases/told", self._take)

    async def _take(self, fields: Fields, _who: str) -> tuple[int, dict[str, Any]]:
        try:
            telling = msgspec.convert(fields, _Telling)
        except msgspec.ValidationError as fault:
            return 400, {"detail": f'send {{"gate": "…", "rounds": {{round: [released, seen], …}}}}: {fault}'}
        snapshot = self._snapshot()
        known = {name: one for name, one in telling.rounds.items() if pace_of(name) in snapshot.values}
        paces = {name: pace for name in known if (pace := snapshot.number(pace_of(name))) is not None}
        return 200, {"paces": self._shares.hear(telling.gate, known, self._now_us(), paces)}
