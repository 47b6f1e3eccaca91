"""What automatic rules can read of a gate: figures of now, from the plain integers that are there anyway."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from redrush.gate.gate import Gate

WINDOW_S: Final = 1.0
"""What rates are taken over: long enough to count in, short next to the seconds that a rule waits."""


class GateReadings:
    """Call it for the readings by name; rates are those of the last whole window."""

    def __init__(self, gate: Gate, now_s: Callable[[], float]) -> None:
        self._gate = gate
        self._now_s = now_s
        self._began_s = now_s()
        self._counted = self._count()
        self._rates: dict[str, float] = {}

    def __call__(self) -> Mapping[str, float]:
        """Return the readings of now; those of rates only after the first window."""
        passed_s = self._now_s() - self._began_s
        if passed_s >= WINDOW_S:
            counted = self._count()
            answered, busy, away, refused = (now - before for now, before in zip(counted, self._counted, strict=True))
            self._rates = {
                "gate.claims_per_second": answered / passed_s,
                "gate.rejects_per_second": refused / passed_s,
                "gate.busy_share": busy / answered if answered else 0.0,
                "gate.away_share": away / answered if answered else 0.0,
            }
            self._began_s += passed_s
            self._counted = counted
        return {
            "store.claims_waiting": float(self._gate.gauge.parked),
            "gate.connections": float(len(self._gate.site.connections)),
            **self._gate.admission.readings(),
            **self._rates,
        }

    def _count(self) -> tuple[int, int, int, int]:
        """Return how many claims were answered so far, how many as busy, how many because their set was away, and how
        many were refused in all."""
        decided = busy = away = 0
        for rush in self._gate.rounds.values():
            counts = msgspec.structs.asdict(rush.counts)
            decided += sum(count for outcome, count in counts.items() if outcome not in {"batches", "busy"})
        for lane in self._gate.lanes.values():
            busy += lane.busy
            away += lane.away
        shed = sum(valve.counts.level for valve in self._gate.admission.valves.values())
        return decided + busy + away + shed, busy, away, busy + away + shed
