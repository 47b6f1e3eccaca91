"""What a crowd needs: requests a second at its peak, and the gates and connections for them.

The rule of docs/how-to/sizing.md, once for everybody who asks (`redrush check`, the console): all come within the start
window of the client policy, and ask three times in it, for some press again, and one never expects everything. Figures
of machines are measured there; a rehearsal on one's own tells more than any rule.
"""

from typing import Final

import msgspec

GATE_REQUESTS_PER_S: Final = 25_000
"""What a gate on a core of its own is planned with: half of those whom it answers that they have missed."""
ASKED_TIMES: Final = 3
WINDOW_MIN_US: Final = 1_000_000
"""Who come at once come within a second all the same: that is how apart their phones and ways are."""


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """What so many people need who come within so long."""

    people: int
    within_s: float
    requests_per_s: int
    gates: int
    connections: int
    """Each person is one."""


def need_of(people: int, start_window_ms: int) -> Need:
    """Return what a crowd needs whose clients spread their starts over this window."""
    within_us = max(WINDOW_MIN_US, start_window_ms * 1_000)
    requests_per_s = -(-people * ASKED_TIMES * 1_000_000 // within_us)
    return Need(
        people=people,
        within_s=within_us / 1e6,
        requests_per_s=requests_per_s,
        gates=max(1, gates_for(requests_per_s)),
        connections=people,
    )


def gates_for(requests_per_s: int) -> int:
    """Return how many gates answer so many requests a second."""
    return -(-requests_per_s // GATE_REQUESTS_PER_S)
