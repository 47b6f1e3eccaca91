"""A gate and a store of a fixed service rate, without either: batches, levels and room as a gate drives them, on a
simulated clock."""

import random
from collections import deque
from typing import Final

import msgspec

from redrush.core.load.levels import COUNTED_GRADES, COUNTS, GRADES, WINDOW_S, Levels, Window
from redrush.core.load.room import Room

BATCH_CLAIMS_MAX: Final = 1_024
PLACES: Final = 20_000


class Shop(msgspec.Struct, frozen=True, kw_only=True):
    """A store: each batch takes `each_s`, and a claim `1 / per_s` more."""

    per_s: float
    each_s: float = 0.001


class Served(msgspec.Struct, frozen=True):
    """A claim that was decided: when it came, how long it waited, and how long it took until it was answered."""

    came_s: float
    waited_s: float
    took_s: float


class SimulatedGate:
    """Offer claims to it with `run`; look at what became of them afterwards."""

    def __init__(self, shop: Shop, seed: int, target_s: float = 0.010) -> None:
        self.levels = Levels()
        self.room = Room(BATCH_CLAIMS_MAX)
        self.served: list[Served] = []
        self.level_at: list[tuple[float, float]] = []
        self.refused = self.no_place = self.offered = 0
        self.now_s = 0.0
        self._shop = shop
        self._target_s = target_s
        self._random = random.Random(seed)
        self._queue: deque[float] = deque()
        self._batch: list[float] = []
        self._batch_began_s = 0.0
        self._done_s = float("inf")
        self._window_ends_s = WINDOW_S
        self._waiting = 0
        self._begin_window()

    def _begin_window(self) -> None:
        self._taken = self._turned_away = self._decided = 0
        self._waited_s = 0.0
        self._asked = [0] * COUNTS

    def change(self, shop: Shop) -> None:
        """Let the store be another from now on."""
        self._shop = shop

    def run(self, per_s: float, lasts_s: float) -> None:
        """Offer so many claims a second, as they come (Poisson), for so long."""
        ends_s = self.now_s + lasts_s
        next_s = self.now_s + (self._random.expovariate(per_s) if per_s else float("inf"))
        while True:
            event_s = min(next_s, self._done_s, self._window_ends_s, ends_s)
            self.now_s = event_s
            if event_s == self._window_ends_s:
                self._turn()
            elif event_s == self._done_s:
                self._decide()
            elif event_s == next_s:
                self._claim()
                next_s += self._random.expovariate(per_s)
            else:
                return

    def goodput(self, from_s: float, to_s: float) -> float:
        """Return claims decided per second of those that were answered between the two instants."""
        return sum(from_s <= one.came_s + one.took_s < to_s for one in self.served) / (to_s - from_s)

    def took_s(self, from_s: float, to_s: float, share: float) -> float:
        """Return the quantile of the time until the answer, of the claims decided that came between the instants."""
        times = sorted(one.took_s for one in self.served if from_s <= one.came_s < to_s)
        return times[int(share * (len(times) - 1))]

    def _claim(self) -> None:
        self.offered += 1
        if self.levels.admitted < GRADES:
            user_grade = self._random.randrange(GRADES)
            self._asked[user_grade // COUNTED_GRADES] += 1
            if user_grade >= self.levels.admitted:
                self.refused += 1
                return
        places = PLACES if self.room.waiting_max is None else self.room.waiting_max
        if len(self._queue) >= places:
            self.no_place += 1
            self._turned_away += 1
            return
        self._queue.append(self.now_s)
        self._begin_batch()

    def _begin_batch(self) -> None:
        if self._batch or not self._queue:
            return
        count = min(len(self._queue), self.room.batch_max)
        self._batch = [self._queue.popleft() for _ in range(count)]
        self._taken += count
        self._waited_s += sum(self.now_s - came_s for came_s in self._batch)
        while self.room.waiting_max is not None and len(self._queue) > self.room.waiting_max:
            self._queue.pop()
            self.no_place += 1
            self._turned_away += 1
        self._batch_began_s = self.now_s
        self._done_s = self.now_s + (self._shop.each_s + count / self._shop.per_s) * self._random.uniform(0.8, 1.25)

    def _decide(self) -> None:
        batch, self._batch, self._done_s = self._batch, [], float("inf")
        self._decided += len(batch)
        for came_s in batch:
            self.served.append(Served(came_s, self._batch_began_s - came_s, self.now_s - came_s))
        bound_us = 2e6 * max(self._target_s, self.room.usual_us / 1e6)
        self.room.learn(
            len(batch),
            int((self.now_s - self._batch_began_s) * 1e6),
            bound_us,
            calm=self.levels.admitted >= GRADES,
        )
        self._begin_batch()

    def _turn(self) -> None:
        self._window_ends_s += WINDOW_S
        shedding = self.levels.admitted < GRADES
        self.levels.step(
            Window(
                lasts_s=WINDOW_S,
                taken=self._taken,
                waited_s=self._waited_s,
                turned_away=self._turned_away,
                decided=self._decided,
                waiting_more=len(self._queue) - self._waiting,
                asked=self._asked if shedding else None,
                wait_mean_max_s=max(self._target_s, self.room.usual_us / 1e6),
                usual_s=self.room.usual_us / 1e6,
                late=False,
            )
        )
        self._waiting = len(self._queue)
        self._begin_window()
        self.level_at.append((self.now_s, self.levels.level))
