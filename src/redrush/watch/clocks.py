"""Watches how far the clocks of others are from that of this process, and says so: see `redrush.core.rush.clocks`.

Asked twice a second of what was heard anyway, so a wrong clock is in the log, the metrics and the readiness within two
seconds, and a claim pays nothing for it.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from redrush.core.nobody import ignore
from redrush.core.rush.clocks import OFFSET_MAX_US, SYSTEM, ClockCheck, Offset, Verdict, in_seconds, judge
from redrush.core.rush.phase import SteadyClock
from redrush.core.steering import figures
from redrush.core.steering.figure import Value
from redrush.core.steering.switches import CLOCKS_APART_MAX, Snapshot
from redrush.ports.clock import TimeHeard

LOOK_S: Final = 0.5

Heard = Callable[[], TimeHeard | None]

WHAT_TO_DO: Final = (
    "set the system's clocks right (chronyc tracking) and restart what began with a wrong one; or accept it: "
    f"redrush switch set {CLOCKS_APART_MAX} MS"
)


class ClockWatch:
    """See the module. `run` it as a task; `check` is what rounds are held against besides this process's own clock."""

    def __init__(
        self,
        ours: str,
        clock: SteadyClock,
        heard: Mapping[str, Heard],
        log: Any,
        *,
        doubted: Callable[[bool], None] = ignore,
    ) -> None:
        """`ours` names this process ("this gate"); `heard` are the clocks of others by name; `doubted` is called when
        this process begins, and ceases, to doubt its own."""
        self.check = ClockCheck(clock.skew_us)
        self.verdict = Verdict()
        self.offsets: tuple[Offset, ...] = ()
        self._ours = ours
        self._clock = clock
        self._heard = heard
        self._log = log
        self._doubted = doubted

    @property
    def doubt(self) -> str | None:
        """Why this process doubts its clock, and what to do; None if it does not."""
        return None if self.verdict.doubt is None else f"{self.verdict.doubt}; {WHAT_TO_DO}"

    def deviating(self) -> dict[str, str]:
        """Return which other clocks deviate, in words."""
        return dict(self.verdict.others)

    def apply(self, snapshot: Snapshot) -> None:
        """Let the switch hold: how far clocks may be apart."""
        self.check.bound_us = OFFSET_MAX_US + self.accepted_us(snapshot)
        self.look()

    @staticmethod
    def accepted_us(snapshot: Snapshot) -> int:
        """Return how far the operators let clocks be apart; 0: no further than is usual."""
        # A control role of an earlier release does not know the switch.
        accepted_ms = snapshot.number(CLOCKS_APART_MAX) if CLOCKS_APART_MAX in snapshot.values else None
        return 0 if accepted_ms is None else round(accepted_ms * 1_000)

    async def run(self) -> None:
        """Look for as long as it is not cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Look once."""
        self.offsets = tuple(self._measure())
        before, self.verdict = self.verdict, judge(self._ours, self.offsets, self.check.bound_us)
        self._tell(before, self.verdict)
        if (before.doubt is None) is not (self.verdict.doubt is None):
            self._doubted(self.verdict.doubt is not None)

    def readings(self) -> Iterator[Value]:
        """Yield the offsets, in seconds: how far each clock is ahead of this process's own."""
        for one in self.offsets:
            name = "system" if one.name == SYSTEM else one.name
            yield figures.CLOCK_AHEAD(one.offset_us / 1e6, name)
            yield figures.CLOCK_ERROR(one.error_us / 1e6, name)
        yield figures.CLOCK_IN_DOUBT(self.verdict.doubt is not None)

    def _measure(self) -> Iterator[Offset]:
        yield Offset(SYSTEM, self._clock.skew_us())
        now_ns = self._clock.monotonic_ns()
        for name, newest in self._heard.items():
            heard = newest()
            if heard is not None and heard.at_ns <= now_ns:
                yield Offset(name, heard.theirs_us - self._clock.at_us(heard.at_ns), heard.error_us)

    def _tell(self, before: Verdict, now: Verdict) -> None:
        """Log what has begun and what has ended; an offset that only grows is one line."""
        if now.doubt is not None and before.doubt is None:
            self._log.error("the clock of this process is in doubt", why=now.doubt, do=WHAT_TO_DO)
        elif now.doubt is None and before.doubt is not None:
            self._log.warning("the clock of this process is not in doubt any more")
        deviated, deviating = dict(before.others), dict(now.others)
        for name in deviating.keys() - deviated.keys():
            self._log.error("a clock deviates", clock=name, why=deviating[name], do=WHAT_TO_DO)
        for name in deviated.keys() - deviating.keys():
            offset = next((in_seconds(one.offset_us) for one in self.offsets if one.name == name), "not heard")
            self._log.warning("a clock deviates no more", clock=name, now=offset)
