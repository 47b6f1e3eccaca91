"""What automatic rules can read of a gate: figures of now, from the plain integers that are there anyway."""

from collections.abc import Callable, Iterator, Mapping

import msgspec

from redrush.core.steering import figures
from redrush.core.steering.figure import Value, readings_of
from redrush.core.steering.quantiles import WINDOW_S, LatelyTook
from redrush.gate.gate import Gate


def figures_now(gate: Gate) -> Iterator[Value]:
    """Yield what of a gate both metrics and rules read."""
    yield figures.PARKED(gate.gauge.parked)
    yield figures.CONNECTIONS(len(gate.site.connections))
    yield from gate.admission.figures()


class GateReadings:
    """Call it for the readings by name; rates are those of the last whole window."""

    def __init__(self, gate: Gate, now_s: Callable[[], float]) -> None:
        self._gate = gate
        self._now_s = now_s
        self._began_s = now_s()
        self._counted = self._count()
        self._rates: list[Value] = []
        self._took = LatelyTook(gate.answer_times, now_s)

    def __call__(self) -> Mapping[str, float]:
        """Return the readings of now; those of rates only after the first window."""
        passed_s = self._now_s() - self._began_s
        if passed_s >= WINDOW_S:
            counted = self._count()
            answered, busy, away, refused = (now - before for now, before in zip(counted, self._counted, strict=True))
            self._rates = [
                figures.CLAIMS_PER_SECOND(answered / passed_s),
                figures.REJECTS_PER_SECOND(refused / passed_s),
                figures.BUSY_SHARE(busy / answered if answered else 0.0),
                figures.AWAY_SHARE(away / answered if answered else 0.0),
            ]
            self._began_s += passed_s
            self._counted = counted
        return readings_of([*figures_now(self._gate), *self._rates, *self._took()])

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
