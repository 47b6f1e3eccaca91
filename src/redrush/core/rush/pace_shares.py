"""A release pace among gates: each lets go what its own crowd is of the whole, and all together what was planned.

An equal share for each gate is right only where each has as much to do: what a gate with few requests cannot let go is
lost, and nobody makes up for it. So gates tell five times a second how much they have let go and how much was asked of
them, and are told what each may let go from now on: in proportion to what was asked of it lately, with a little for
each so that one to which a crowd comes suddenly does not begin from nothing. What all together have let go too little
is added to the next second's, within bounds, and what they have let go too much is taken off: the sum keeps to the plan
whatever each does.

Within a gate it is the shake filter that keeps to its share, request by request (`redrush.core.rush.release`).
"""

from collections.abc import Mapping
from typing import Final

import msgspec

HEARD_US: Final = 2_000_000
"""A gate that was not heard for so long has no share; it lets an equal one go meanwhile, by itself."""

SETTLES_US: Final = 600_000
"""By then every gate that there is has told."""

EVEN_PART: Final = 0.04
"""Of the pace, what is divided evenly."""

PARTS_OVER_S: Final = 1.5
"""Time constant of what part of the crowd a gate has: gates tell one after the other, so of a crowd that grows suddenly
one seems to have all of it until the others have told, too."""

CATCH_UP_S: Final = 0.25
"""Seconds' worth of the pace that may be owed, either way: what nobody asked for in time is not let go later."""

OVER_S: Final = 1.0
"""Seconds' worth of what was let go too much that is remembered. It is more than may be owed, so that chance, which
errs to both sides, does not add up to more than was planned."""

CORRECT_IN_S: Final = 0.5
"""What is owed is made up for in this time."""


class Released(msgspec.Struct, frozen=True, array_like=True):
    """What a gate has counted of a round since it began."""

    released: int
    """Requests that its filter let through."""
    seen: int
    """Requests that it asked the filter about."""


class _Gate:
    __slots__ = ("asked_per_s", "counted", "heard_us", "part", "reports")

    def __init__(self, counted: Released, heard_us: int, part: float) -> None:
        self.counted = counted
        self.heard_us = heard_us
        self.asked_per_s = 0.0
        self.reports = 0
        """In which it had something to tell."""
        self.part = part
        """Of the whole crowd, lately; of all gates they are divided by their sum."""


class PaceShares:
    """The pace of one round. Pure: it is told what time it is, in microseconds."""

    def __init__(self) -> None:
        self._gates: dict[str, _Gate] = {}
        self._owed = 0.0
        self._began_us: int | None = None

    def hear(self, gate: str, counted: Released, now_us: int, pace_per_s: float) -> float | None:
        """Take what a gate has counted; return what it may let go a second from now on, or None while not all gates
        can have told: an equal share is right then. `gate` names one life of it."""
        if self._began_us is None:
            self._began_us = now_us
        for name in [name for name, one in self._gates.items() if now_us - one.heard_us > HEARD_US]:
            del self._gates[name]
        known = self._gates.get(gate)
        if known is None:
            parts = sum(one.part for one in self._gates.values())
            known = self._gates[gate] = _Gate(counted, now_us, parts / len(self._gates) if self._gates else 1.0)
        elif now_us > known.heard_us:
            self._take(known, counted, now_us, pace_per_s)
        wanted = max(0.5 * pace_per_s, min(1.5 * pace_per_s, pace_per_s + self._owed / CORRECT_IN_S))
        return None if now_us - self._began_us < SETTLES_US else wanted * self._share(known)

    def _take(self, gate: _Gate, counted: Released, now_us: int, pace_per_s: float) -> None:
        """Let be owed what was planned for the gate since it told last, less what it has let go; learn its part."""
        since_s = (now_us - gate.heard_us) / 1e6
        planned = pace_per_s * self._share(gate) * since_s
        owed = self._owed + planned - max(0, counted.released - gate.counted.released)
        self._owed = max(-OVER_S * pace_per_s, min(CATCH_UP_S * pace_per_s, owed))
        gate.asked_per_s = max(0, counted.seen - gate.counted.seen) / since_s
        gate.counted, gate.heard_us = counted, now_us
        asked_per_s = sum(one.asked_per_s for one in self._gates.values())
        if asked_per_s > 0:
            gate.reports += 1
            new = min(1.0, max(since_s / PARTS_OVER_S, 1 / gate.reports))
            gate.part += new * (gate.asked_per_s / asked_per_s - gate.part)

    def _share(self, gate: _Gate) -> float:
        parts = sum(one.part for one in self._gates.values())
        even = 1 / len(self._gates)
        return EVEN_PART * even + (1 - EVEN_PART) * (gate.part / parts if parts > 0 else even)


class AllPaceShares:
    """The paces of all rounds of a campaign."""

    def __init__(self) -> None:
        self._rounds: dict[str, PaceShares] = {}

    def hear(
        self, gate: str, counted: Mapping[str, Released], now_us: int, paces: Mapping[str, float]
    ) -> dict[str, float]:
        """Take what a gate has counted by round, and return what it may let go of each that has a pace, as far as that
        is known."""
        shares: dict[str, float] = {}
        for round_id, one in counted.items():
            if (pace_per_s := paces.get(round_id)) is not None:
                share = self._rounds.setdefault(round_id, PaceShares()).hear(gate, one, now_us, pace_per_s)
                if share is not None:
                    shares[round_id] = share
        return shares
