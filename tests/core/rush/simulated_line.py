"""A waiting room in simulated time: gates that give places and let people in, and people who may never come."""

from collections import deque
from heapq import heappop, heappush
from random import Random

from redrush.core.rush.line import START, LineState, LineTerms, Order, drawn_place
from redrush.core.rush.serving import MOVES_PER_S, Serving, Told, bucket_of, no_one_came
from redrush.core.rush.turnout import age_of

SECOND_US = 1_000_000
OPENS_US = 1_800_000_000 * SECOND_US
STEP_US = SECOND_US // MOVES_PER_S
KEY = b"k" * 32


def terms(**changed: object) -> LineTerms:
    fields = {
        "opens_before_us": 600 * SECOND_US,
        "order": Order.RANDOM,
        "pace_per_s": 100.0,
        "grace_us": 60 * SECOND_US,
        "admitted_us": 300 * SECOND_US,
    }
    return LineTerms(**(fields | changed))  # type: ignore[arg-type]


class Gate:
    """Counts as a gate does."""

    def __init__(self) -> None:
        self.early: set[int] = set()
        self.late: dict[int, int] = {}
        self.joined_late = 0
        self.came = no_one_came()
        self.whole = True

    def join(self, place: int) -> None:
        if place < START:
            self.early.add(place)
        else:
            self.joined_late += 1
            bucket = bucket_of(place)
            self.late[bucket] = self.late.get(bucket, 0) + 1

    def told(self, now_us: int) -> Told:
        return Told(
            until_us=now_us,
            whole=self.whole,
            early=len(self.early),
            joined_late=self.joined_late,
            late=dict(self.late),
            came=tuple(self.came),
        )


class Room:
    """A line with its people. `entered` are the instants at which somebody went in, with the place."""

    def __init__(self, terms_: LineTerms, *, gates: int = 1, seed: int = 1) -> None:
        self.terms = terms_
        self.random = Random(seed)
        self.serving = Serving(terms_, OPENS_US, OPENS_US + 7_200 * SECOND_US)
        self.gates = [Gate() for _ in range(gates)]
        self.state = LineState()
        self.history: deque[tuple[int, int]] = deque()
        self.waiting: list[int] = []
        self.coming: list[tuple[int, int, int]] = []
        self.entered: list[tuple[int, int]] = []
        self.called_at: dict[int, int] = {}
        self.share = 0.5
        self.delay_s = 0.0
        self.pace = terms_.pace_per_s
        self.paused = False
        self.number = 0

    def join_early(self, people: int) -> None:
        for _ in range(people):
            self.number += 1
            self._join(drawn_place(KEY, f"u{self.number}"))

    def join_late(self, now_us: int) -> None:
        self._join(now_us)

    def _join(self, place: int) -> None:
        self.random.choice(self.gates).join(place)
        heappush(self.waiting, place)

    def step(self, now_us: int) -> None:
        for number, gate in enumerate(self.gates):
            self.serving.hear(f"g{number}", gate.told(now_us), now_us)
        self.serving.move(now_us, self.pace, paused=self.paused)
        self.state = self.serving.state(paused=self.paused)
        while self.waiting and self.waiting[0] <= self.state.serving:
            place = heappop(self.waiting)
            self.called_at[place] = now_us
            if self.random.random() < self.share:
                delay_us = int(self.random.expovariate(1 / self.delay_s) * 1e6) if self.delay_s else 0
                heappush(self.coming, (now_us + delay_us, now_us, place))
        while self.coming and self.coming[0][0] < now_us + STEP_US:
            at_us, called_us, place = heappop(self.coming)
            if place > self.state.lapsed:
                self.random.choice(self.gates).came[age_of((at_us - called_us) / 1e6)] += 1
                self.entered.append((at_us, place))

    def run(self, from_s: float, to_s: float, late_per_s: float = 0.0) -> None:
        due = 0.0
        for step in range(int(from_s * MOVES_PER_S), int(to_s * MOVES_PER_S)):
            now_us = OPENS_US + step * STEP_US
            due += late_per_s / MOVES_PER_S
            while due >= 1:
                due -= 1
                self.join_late(now_us + self.random.randrange(STEP_US) - STEP_US)
            self.step(now_us)

    def rate(self, from_s: float, to_s: float) -> float:
        first, last = OPENS_US + from_s * 1e6, OPENS_US + to_s * 1e6
        return sum(first <= at_us < last for at_us, _ in self.entered) / (to_s - from_s)
