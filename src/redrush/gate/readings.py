"""What automatic rules can read of a gate: figures of now, from the plain integers that are there anyway."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from redrush.gate.claims import Gauge, RoundClaims
from redrush.gate.site import Site

WINDOW_S: Final = 1.0
"""What rates are taken over: long enough to count in, short next to the seconds that a rule waits."""


class GateReadings:
    """Call it for the readings by name; rates are those of the last whole window."""

    def __init__(self, site: Site, rounds: Iterable[RoundClaims], gauge: Gauge, now_s: Callable[[], float]) -> None:
        self._site = site
        self._rounds = tuple(rounds)
        self._gauge = gauge
        self._now_s = now_s
        self._began_s = now_s()
        self._answered, self._busy = self._counted()
        self._rates = {"gate.claims_per_second": 0.0, "gate.busy_share": 0.0}

    def __call__(self) -> Mapping[str, float]:
        """Return the readings of now."""
        now_s = self._now_s()
        if now_s - self._began_s >= WINDOW_S:
            answered, busy = self._counted()
            more = answered - self._answered
            self._rates = {
                "gate.claims_per_second": more / (now_s - self._began_s),
                "gate.busy_share": (busy - self._busy) / more if more else 0.0,
            }
            self._began_s, self._answered, self._busy = now_s, answered, busy
        return {
            "store.claims_waiting": float(self._gauge.parked),
            "gate.connections": float(len(self._site.connections)),
            **self._rates,
        }

    def _counted(self) -> tuple[int, int]:
        """Return how many claims were answered so far, and how many of them as busy."""
        answered = busy = 0
        for claims in self._rounds:
            counts = msgspec.structs.asdict(claims.counts)
            answered += sum(count for outcome, count in counts.items() if outcome != "batches")
            busy += claims.counts.busy
        return answered, busy
