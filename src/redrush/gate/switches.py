"""What the switches do in a gate: each snapshot is written into the places that are read while serving.

Nothing asks a switch during a rush; a claim costs the same with and without them.
"""

from collections.abc import Callable, Iterable

from redrush.core.switches import (
    ANSWER_ENDED,
    CLAIMS_WAITING_MAX,
    EXCHANGES_PER_SECOND,
    NON_CORE_SHARE,
    Snapshot,
    ended_of,
    pace_of,
)
from redrush.gate import answers
from redrush.gate.claims import RoundClaims
from redrush.gate.exchange import Exchange
from redrush.gate.lanes import Gauge
from redrush.gate.route import Route, Waiter


class Sampling:
    """The share of non-core requests that is served now."""

    def __init__(self, draw: Callable[[], float]) -> None:
        self.share = 1.0
        self.draw = draw


class Sampled:
    """A route that is served in part only while the operators want it so."""

    def __init__(self, route: Route, sampling: Sampling) -> None:
        self._route = route
        self._sampling = sampling

    def serve(self, waiter: Waiter, user: str) -> bytes | None:
        """Answer as the route does, or refuse for now."""
        sampling = self._sampling
        if sampling.share < 1 and sampling.draw() >= sampling.share:
            return answers.NOT_SAMPLED
        return self._route.serve(waiter, user)


class GateSwitches:
    """Applies snapshots to the rounds of a gate. `apply` is what follows a switchboard or a switch line."""

    def __init__(
        self, rounds: Iterable[RoundClaims], gauge: Gauge, sampling: Sampling, exchange: Exchange | None
    ) -> None:
        self._rounds = tuple(rounds)
        self._gauge = gauge
        self._sampling = sampling
        self._exchange = exchange
        self._configured_parked_max = gauge.parked_max

    def apply(self, snapshot: Snapshot) -> None:
        """Let the snapshot hold from the next request on."""
        ended = snapshot.flag(ANSWER_ENDED)
        for claims in self._rounds:
            claims.set_pace(snapshot.number(pace_of(claims.round.id)))
            claims.set_ended(ended or snapshot.flag(ended_of(claims.round.id)))
        waiting_max = snapshot.number(CLAIMS_WAITING_MAX)
        configured = self._configured_parked_max
        self._gauge.parked_max = configured if waiting_max is None else min(int(waiting_max), configured)
        share = snapshot.number(NON_CORE_SHARE)
        self._sampling.share = 1.0 if share is None else share
        # A control role of an earlier start may not know yet that tickets are exchanged.
        if self._exchange is not None and EXCHANGES_PER_SECOND in snapshot.values:
            self._exchange.per_s = int(snapshot.number(EXCHANGES_PER_SECOND) or 0)
