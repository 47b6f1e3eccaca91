"""Whether a process may trust its clock: a pure function of how far other clocks are from it.

Every round opens by three clocks: that of the gate, that of the system the gate runs on, and that of the set which
grants. *Never early, never after the close* holds against each of them, so no wrong clock alone opens anything; the
set's own clock is asked inside the claim. What is here finds out who is wrong, and says so.

An offset is measured by asking: the answer was written at some moment between sending and hearing, so the middle of
the two is right to half of the round trip, however unequal the two ways are. A clock *deviates* when it is surely
further away than the bound; what cannot be told within the bound says nothing. With two clocks that differ nobody knows
which is wrong, so a process doubts its own unless more clocks agree with it (its own counts) than do not.

Source of the measure: D. Mills, RFC 5905, section 8; of the rule: K. Marzullo's agreement of intervals.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from redrush.core.rush.campaign import Round

OFFSET_MAX_US: Final = 100_000
"""How far clocks may be apart. NTP on a local network keeps below 1 ms, over the Internet below 50 ms; the delay of a
busy process adds some 10 ms to what is measured. A person does not notice a tenth of a second at an opening."""

SYSTEM: Final = "the system's clock"
"""The wall clock under this process, which was asked when it began, and has been set since if it differs now."""


class Offset(msgspec.Struct, frozen=True):
    """The clock `name` is `offset_us` ahead of ours (negative: behind), give or take `error_us`."""

    name: str
    offset_us: int
    error_us: int = 0

    def deviates(self, bound_us: int) -> bool:
        """Whether it is surely further away than the bound."""
        return abs(self.offset_us) - self.error_us > bound_us

    def agrees(self, bound_us: int) -> bool:
        """Whether it is surely not further away than the bound, and a half: the error of a busy moment is no doubt."""
        return not self.deviates(bound_us) and self.error_us <= bound_us


class Verdict(msgspec.Struct, frozen=True):
    """Sentences: why this process doubts its own clock, None if it does not; and which others deviate, by name."""

    doubt: str | None = None
    others: tuple[tuple[str, str], ...] = ()


def judge(ours: str, offsets: Sequence[Offset], bound_us: int) -> Verdict:
    """Return what follows from the offsets for the clock of `ours` ("this gate", say).

    A system's clock that was set since the start is always a doubt about ourselves: what we began with, or what was
    set, is wrong.
    """
    wrong = [one for one in offsets if one.deviates(bound_us)]
    machines_wrong = [one for one in wrong if one.name != SYSTEM]
    agreeing = 1 + sum(one.agrees(bound_us) for one in offsets if one.name != SYSTEM)
    if machines_wrong and len(machines_wrong) >= agreeing:
        parts = ", ".join(f"{in_seconds(-one.offset_us)} {one.name}" for one in machines_wrong)
        return Verdict(f"the clock of {ours} is {parts}")
    others = tuple((one.name, f"its clock is {in_seconds(one.offset_us)} that of {ours}") for one in machines_wrong)
    system = next((one for one in wrong if one.name == SYSTEM), None)
    if system is not None:
        return Verdict(f"{SYSTEM} was set and is {in_seconds(system.offset_us)} that of {ours}", others)
    return Verdict(None, others)


def in_seconds(offset_us: int) -> str:
    """Return "30.000 s ahead of" or "0.250 s behind"."""
    return f"{abs(offset_us) / 1e6:.3f} s {'ahead of' if offset_us > 0 else 'behind'}"


def _no_skew() -> int:
    return 0


class ClockCheck:
    """What a round asks before it claims a batch: does the system's clock say that it is open, too?

    `bound_us` is how far clocks may be apart, which operators may widen. One for all rounds of a process.
    """

    def __init__(self, skew_us: Callable[[], int] = _no_skew) -> None:
        """`skew_us` returns how far the system's clock is ahead of the process's own, in µs."""
        self._skew_us = skew_us
        self.bound_us = OFFSET_MAX_US

    def forbids(self, round_: Round, now_us: int) -> str | None:
        """Return "early" or "late" if by the system's clock nothing may be granted now, else None. Within the bound the
        process's own clock decides."""
        skew_us = self._skew_us()
        if -self.bound_us <= skew_us <= self.bound_us:
            return None
        if skew_us < 0:
            return "early" if now_us + skew_us < round_.opens_us else None
        return "late" if now_us + skew_us >= round_.closes_us else None
