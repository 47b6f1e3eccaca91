"""Admission: who is let through to a set that cannot decide all claims, and what the others are told.

Each set has a *valve*, shared by the lanes of all rounds. An open valve costs a claim one look at a flag. Lanes tell it
what waited and for how long; at the end of each window the rules (`redrush.core.load.levels`) find who is admitted in
the next. Whatever is answered from memory, to winners too, never comes to a valve.

A refusal is prebuilt when the level changes, and costs hardly more than a miss. It says when to come back: the *advised
interval*, the policy's divided by the share that is admitted, so that all clients together ask about as often as the
set can bear. It comes in eight spreads, for people who are told the same second come back in the same second. That
another gate may have room is said only where this gate is the bottleneck: before a slow set all gates are alike, and a
second try would double the crowd there.

Queueing shows in the lanes where the store is short; where the gate is short of processor time claims wait in the
kernel, unseen. What shows then is that the loop is late for its own timers (`Admission.beat`). A late loop also makes
stores look slow, so the bound for their queues is never below a few times the lateness. Where gates of several
campaigns share a loop, those shed load for it that ask for most of it (`redrush.core.load.loop_share`).
"""

import contextlib
from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import msgspec

from redrush.core.load.levels import (
    COUNTED_GRADES,
    COUNTS,
    EVERYTHING,
    GRADES,
    WINDOW_S,
    AdmissionTerms,
    Levels,
    Window,
    grade,
    grade_key,
)
from redrush.core.rush.campaign import Round
from redrush.core.steering import figures
from redrush.core.steering.figure import Value, readings_of
from redrush.http import answers
from redrush.http.route import Route, Waiter

SPREADS: Final = 8
"""Refusals with different intervals, up to half longer than advised, given out by the user's grade."""

INTERVAL_STEP_MS: Final = 100
"""Advice is rounded to this, so that answers are not built anew for nothing."""

LATE_FACTOR: Final = 6.0
"""A late loop delays the reading of claims, the start of their batch and its answer by one turn each, and a timer is
late by half a turn in the mean. Such waits are no shortage of the store: with 512 connections that ask without a pause,
and a set that several batches are on their way to, they are some 10 ms."""

IDLE_WINDOWS_MAX: Final = 20
"""Windows with nothing in them until nothing is computed any more: by then all is forgotten and open, and a gate over
fifty sets would do it five hundred times a second."""

BEAT_S: Final = 0.02
"""How often the loop's lateness is looked at: several times in a window."""

BEAT_IDLE_S: Final = 0.05
"""The same where nobody has claimed anything for two seconds: each time wakes a process that has nothing else to do."""

PRESET_LEAD_US: Final = 200_000
"""How long before an opening its level is set: two windows, for the last one before it must not undo that."""

_HOUR_US: Final = 3_600_000_000


class ValveCounts(msgspec.Struct):
    """Claims that were refused, by reason: plain integers, read by the metrics."""

    level: int = 0
    no_place: int = 0
    too_late: int = 0
    gone: int = 0
    """Their connection was lost while they waited, so nobody was told."""


class Valve:
    """What stands before one set. Not thread-safe: it lives on the event loop."""

    def __init__(self, terms: AdmissionTerms, interval_ms: int) -> None:
        """`interval_ms` is the least time between two requests of a client when all is well."""
        self.counts = ValveCounts()
        self.queues: list[Callable[[], int]] = []
        """Each tells how many claims wait in one lane to the set."""
        self.levels = Levels()
        self.shedding = False
        """Whether claims have to ask `refuses`."""
        self.key = 1
        """Of the grades, in this hour."""
        self.wait_max_us = self.gone_after_us = 0
        """Waits that are too long, and from which on it is looked whether somebody still wants the answer."""
        self._keep_to(terms)
        self.queueing_ms = 0.0
        """Mean wait of the claims of the last window."""
        self.interval_ms = self._usual_interval_ms = interval_ms
        self._late_ms = 0.0
        self._usual_us = 0.0
        self._asked = [0] * COUNTS
        self._taken = self._waited_us = self._turned_away = self._decided = self._waiting = 0
        self._admitted = EVERYTHING
        self._idle_windows = 0
        self._told: tuple[int, bool] | None = None
        self._follow()

    def _keep_to(self, terms: AdmissionTerms) -> None:
        self._terms = terms
        self.wait_max_us = terms.wait_max_ms * 1_000
        self.gone_after_us = min(2 * terms.queueing_target_ms, terms.wait_max_ms) * 1_000

    def amend(self, terms: AdmissionTerms, interval_ms: int) -> None:
        """Keep to other terms from now on; what was found out about the load stays."""
        self._keep_to(terms)
        self._usual_interval_ms = interval_ms
        self._told = None
        self._follow()

    # -- claims

    def refuses(self, user: str) -> bytes | None:
        """Return the refusal, or None if the user is admitted. To be asked while shedding, once a claim."""
        user_grade = grade(user, self.key)
        self._asked[user_grade // COUNTED_GRADES] += 1
        if user_grade < self._admitted:
            return None
        self.counts.level += 1
        return self._refusals[user_grade % SPREADS]

    def no_place(self) -> bytes:
        """Return the refusal for a claim that the set has no room for."""
        self.counts.no_place += 1
        self._turned_away += 1
        return self._busy

    def too_late(self) -> bytes:
        """Return the refusal for a claim that has waited for too long."""
        self.counts.too_late += 1
        return self._busy

    # -- what the lanes tell

    @property
    def bound_us(self) -> float:
        """How long a batch should take at most: half of it is what claims wait on average."""
        return 2_000.0 * self._wait_mean_max_ms

    def took(self, claims: int, waited_us: int) -> None:
        """So many claims left a queue, after having waited so long all together."""
        self._taken += claims
        self._waited_us += waited_us

    def decided(self, claims: int, usual_us: float) -> None:
        """A batch was decided. `usual_us` is what the store takes for a few claims."""
        self._decided += claims
        self._usual_us = usual_us

    # -- windows

    @property
    def idle(self) -> bool:
        """Whether nobody has come this far for some windows."""
        return self._idle_windows > IDLE_WINDOWS_MAX

    @property
    def _wait_mean_max_ms(self) -> float:
        return max(self._terms.queueing_target_ms, self._usual_us / 1e3, LATE_FACTOR * self._late_ms)

    def turn(self, lasts_s: float, late_ms: float, *, sheds: bool = True) -> None:
        """End the window under way; the loop was so late in it, on average. `sheds`: its users are refused for that."""
        self._late_ms = late_ms
        busy = self._taken or self._turned_away or self._decided or self._waiting or self.shedding
        self._idle_windows = 0 if busy else self._idle_windows + 1
        if self.idle:
            return
        if self._taken:
            self.queueing_ms = self._waited_us / self._taken / 1e3
        elif not self._turned_away:
            self.queueing_ms = 0.0
        waiting = sum(queue() for queue in self.queues)
        waiting_more, self._waiting = waiting - self._waiting, waiting
        window = Window(
            lasts_s=lasts_s,
            taken=self._taken,
            waited_s=self._waited_us / 1e6,
            turned_away=self._turned_away,
            decided=self._decided,
            waiting_more=waiting_more,
            asked=self._asked if self.shedding else None,
            wait_mean_max_s=self._wait_mean_max_ms / 1e3,
            usual_s=self._usual_us / 1e6,
            late=sheds and late_ms > self._terms.loop_late_target_ms,
        )
        self._taken = self._waited_us = self._turned_away = self._decided = 0
        self._asked = [0] * COUNTS
        self.levels.step(window)
        self._follow()

    def preset(self, level: float) -> None:
        """Begin with at least this level."""
        self.levels.preset(level)
        self._follow()

    def set_floor(self, level: float) -> None:
        """Hold at least this level from now on."""
        self.levels.set_floor(level)
        self._follow()

    def _follow(self) -> None:
        """Let what the levels say hold from the next claim on."""
        levels = self.levels
        self._admitted = levels.admitted
        self.shedding = levels.admitted < GRADES
        share = min(1.0, levels.admitted / GRADES)
        longest_ms = int(max(self._terms.interval_max_ms, self._usual_interval_ms))
        advised_ms = min(self._usual_interval_ms / share, longest_ms) if share else longest_ms
        self.interval_ms = -(-int(advised_ms) // INTERVAL_STEP_MS) * INTERVAL_STEP_MS
        told = self.interval_ms, levels.for_gate
        if told != self._told:
            self._told = told
            # The last spread is the longest that anybody is told, and no longer than the longest.
            least_ms = min(self.interval_ms, longest_ms * 2 * SPREADS // (3 * SPREADS - 1))
            self._refusals = [
                answers.overloaded(least_ms * (2 * SPREADS + spread) // (2 * SPREADS), elsewhere=levels.for_gate)
                for spread in range(SPREADS)
            ]
            self._busy = answers.overloaded(self.interval_ms)


class Admission:
    """The valves of a gate, the windows, and what is common to them."""

    def __init__(
        self,
        terms: AdmissionTerms,
        *,
        secret: bytes,
        interval_ms: int,
        now_us: Callable[[], int],
    ) -> None:
        """`secret` is the same in all gates of an event: it decides, with the hour, whom they admit under overload."""
        self.valves: dict[str, Valve] = {}
        self.level_at_opening = terms.level_at_opening
        self.late_ms = 0.0
        """How late the loop was for its timers in the last window, on average."""
        self.advised_ms: int | None = None
        """The interval that clients are told; None while the policy's holds."""
        self.full = answers.overloaded(interval_ms, elsewhere=True)
        """For a claim that the gate as a whole has no place for."""
        self._terms = terms
        self._secret = secret
        self._interval_ms = interval_ms
        self._now_us = now_us
        self._openings: list[tuple[int, tuple[str, ...]]] = []
        """When rounds open, in order, and in which sets."""
        self._rest_admitted = EVERYTHING
        self._window_began_us = now_us()
        self._late_sum_s = 0.0
        self._beats = 0
        self._hour = -1
        self._rest_key = 1

    def amend(self, terms: AdmissionTerms, interval_ms: int) -> None:
        """Keep to other terms from now on, with what operators have switched over them until the next snapshot."""
        self._terms, self._interval_ms = terms, interval_ms
        self.level_at_opening = terms.level_at_opening
        self.full = answers.overloaded(interval_ms, elsewhere=True)
        for valve in self.valves.values():
            valve.amend(terms, interval_ms)
        self._find_advice()

    def valve(self, set_id: str) -> Valve:
        """Return the valve before the set."""
        if set_id not in self.valves:
            self.valves[set_id] = Valve(self._terms, self._interval_ms)
        return self.valves[set_id]

    def opens(self, round_: Round, sets: Iterable[str]) -> None:
        """Have the level of these sets raised for the opening of the round."""
        insort(self._openings, (round_.opens_us, tuple(sets)))

    def opens_not(self, round_: Round, sets: Iterable[str]) -> None:
        """Forget an opening."""
        with contextlib.suppress(ValueError):
            self._openings.remove((round_.opens_us, tuple(sets)))

    def set_floor(self, level: float) -> None:
        """Hold at least this level from now on, before every set."""
        for valve in self.valves.values():
            valve.set_floor(level)
        self._find_advice()

    def set_level_at_opening(self, level: float | None) -> None:
        """Begin openings from now on with this level; None: as configured."""
        self.level_at_opening = self._terms.level_at_opening if level is None else level

    @property
    def level(self) -> float:
        """The highest level of all sets."""
        return max((valve.levels.level for valve in self.valves.values()), default=0.0)

    def figures(self) -> Iterator[Value]:
        """Yield the levels, and what they follow from."""
        yield figures.LOOP_LATE(self.late_ms / 1e3)
        for name, valve in self.valves.items():
            yield figures.LEVEL(valve.levels.level, name)
            yield figures.QUEUEING(valve.queueing_ms / 1e3, name)

    def readings(self) -> Mapping[str, float]:
        """Return what automatic rules can read of it."""
        return readings_of(self.figures())

    @property
    def beat_s(self) -> float:
        """In how many seconds `beat` is due again."""
        return BEAT_IDLE_S if all(valve.idle for valve in self.valves.values()) else BEAT_S

    def beat(self, late_s: float, *, sheds: bool = True) -> bool:
        """Call every `beat_s`, and say how late that was; returns whether the advice has changed. `sheds`: whether
        users are refused where the loop is late."""
        self._late_sum_s += late_s
        self._beats += 1
        now_us = self._now_us()
        lasts_s = (now_us - self._window_began_us) / 1e6
        if lasts_s < WINDOW_S:
            return False
        self.late_ms = self._late_sum_s / self._beats * 1e3
        self._window_began_us, self._late_sum_s, self._beats = now_us, 0.0, 0
        self._renew_key(now_us)
        for valve in self.valves.values():
            valve.turn(lasts_s, self.late_ms, sheds=sheds)
        if self.level_at_opening > 0:
            self._preset(now_us)
        return self._find_advice()

    def _renew_key(self, now_us: int) -> None:
        hour = now_us // _HOUR_US
        if hour != self._hour:
            self._hour = hour
            self._rest_key = grade_key(self._secret, hour)
            for valve in self.valves.values():
                valve.key = self._rest_key

    def _preset(self, now_us: int) -> None:
        first = bisect_right(self._openings, now_us, key=_opens_us)
        for _, sets in self._openings[first : bisect_right(self._openings, now_us + PRESET_LEAD_US, key=_opens_us)]:
            for set_id in sets:
                self.valve(set_id).preset(self.level_at_opening)

    def _find_advice(self) -> bool:
        self._rest_admitted = min((valve.levels.admitted for valve in self.valves.values()), default=EVERYTHING)
        longest_ms = max((v.interval_ms for v in self.valves.values() if v.shedding), default=None)
        changed = longest_ms != self.advised_ms
        self.advised_ms = longest_ms
        return changed

    def rest_waits(self, user: str) -> bool:
        """Whether what is no claim, but asks the stores too, has to wait now: it makes way for claims first."""
        return self._rest_admitted < EVERYTHING and GRADES + grade(user, self._rest_key) >= self._rest_admitted


def _opens_us(opening: tuple[int, tuple[str, ...]]) -> int:
    return opening[0]


class MakesWay:
    """A route that is not served to everybody while the gate sheds load."""

    def __init__(self, route: Route, admission: Admission) -> None:
        self._route = route
        self._admission = admission

    def serve(self, waiter: Waiter, user: str) -> bytes | None:
        """Answer as the route does, or refuse for now."""
        if self._admission.rest_waits(user):
            return answers.NOT_SAMPLED
        return self._route.serve(waiter, user)
