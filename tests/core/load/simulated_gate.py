"""A gate and a store of a fixed service rate, without either: the queue and the levels of a gate, driven as it drives
them, on a simulated clock."""

import random
from typing import Final

import msgspec

from redrush.core.load.levels import COUNTED_GRADES, COUNTS, GRADES, WINDOW_S, Levels, Window
from redrush.core.load.queue import Batch, Queue

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
        self.queue = Queue[float](PLACES)
        self.served: list[Served] = []
        self.level_at: list[tuple[float, float]] = []
        self.refused = self.no_place = self.offered = 0
        self.now_s = 0.0
        self._shop = shop
        self._target_s = target_s
        self._random = random.Random(seed)
        self._batch: Batch[float] | None = None
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
        if not self.queue.join(self.now_s, self._now_us):
            self._refuse(1)
            return
        self._begin_batch()

    @property
    def _now_us(self) -> int:
        return int(self.now_s * 1e6)

    def _refuse(self, claims: int) -> None:
        self.no_place += claims
        self._turned_away += claims

    def _begin_batch(self) -> None:
        if self._batch is not None or not self.queue.claims:
            return
        self._batch = batch = self.queue.next_batch(self._now_us)
        count = len(batch.claims)
        self._taken += count
        self._waited_s += batch.waited_us / 1e6
        self._refuse(len(self.queue.take_excess()))
        self._done_s = self.now_s + (self._shop.each_s + count / self._shop.per_s) * self._random.uniform(0.8, 1.25)

    def _decide(self) -> None:
        batch, self._batch, self._done_s = self._batch, None, float("inf")
        assert batch is not None
        self._decided += len(batch.claims)
        for came_s in batch.claims:
            self.served.append(Served(came_s, batch.began_us / 1e6 - came_s, self.now_s - came_s))
        self.queue.decided(batch, self._now_us, 2e6 * self._wait_mean_max_s, calm=self.levels.admitted >= GRADES)
        self._refuse(len(self.queue.take_excess()))
        self._begin_batch()

    @property
    def _wait_mean_max_s(self) -> float:
        return max(self._target_s, self.queue.usual_us / 1e6)

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
                waiting_more=len(self.queue.claims) - self._waiting,
                asked=self._asked if shedding else None,
                wait_mean_max_s=self._wait_mean_max_s,
                usual_s=self.queue.usual_us / 1e6,
                late=False,
            )
        )
        self._waiting = len(self.queue.claims)
        self._begin_window()
        self.level_at.append((self.now_s, self.levels.level))
