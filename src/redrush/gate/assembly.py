"""Puts the gate of an event together: over one store, or over the sets of a deployment."""

import random
from collections.abc import Callable, Sequence

from redrush.core.rush.campaign import Pot
from redrush.core.rush.clocks import ClockCheck
from redrush.gate.admission import Admission
from redrush.gate.answer_times import AnswerTimes
from redrush.gate.campaign import Event
from redrush.gate.gate import Gate
from redrush.gate.manners import Home
from redrush.gate.queries import Queries
from redrush.gate.rush.rush import Floor
from redrush.http.asking_limits import AskingLimits
from redrush.http.reader import Limits
from redrush.ports.store import StoreFailed


def build_gate(  # noqa: PLR0913 - everything a gate needs is handed in here, once, by the wiring
    event: Event,
    limits: Limits,
    homes: Callable[[Pot], Sequence[Home]],
    *,
    now_us: Callable[[], int],
    failed: Callable[[StoreFailed], None],
    draw: Callable[[], float] = random.Random().random,  # noqa: B008, S311 - a lottery among equals, seeded by the system
    asking: AskingLimits | None = None,
    clock_check: ClockCheck | None = None,
) -> Gate:
    """Return the gate of an event; more of them may be added to it. `homes` are the sets of a pot, in order.

    Whether other gates claim from the same sets is for their stores to say (`knows_all`). `failed` hears of each store
    that has failed for good, and of faults that nobody thought of; a set that is only away is not told. `asking`: how
    often one may ask; None: as often as the switches let. `clock_check`: against which clock rounds are held besides
    `now_us`; None: none.
    """
    admission = Admission(
        event.admission,
        secret=event.tickets.keys[event.tickets.current],
        interval_ms=event.policy.interval_ms,
        now_us=now_us,
    )
    floor = Floor(admission, Queries(), now_us, draw, clock_check or ClockCheck(), set(), AnswerTimes(now_us))
    gate = Gate(limits, floor, failed, asking)
    gate.serve(gate.make(event, homes))
    return gate
