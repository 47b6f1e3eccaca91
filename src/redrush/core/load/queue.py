"""Claims that wait for a store: who waits, who has waited too long, who goes next, and who has no place.

The pure half of a lane (`redrush.gate.lanes`): it knows neither a store nor a connection, and is told what time it is.
What waits is of no interest here, so the gate, its simulated twin (`tests/core/load/simulated_gate.py`) and whoever
simulates an event run the same rules.

Places are taken by whoever waits or is under way, and freed when their batch is decided or they are turned away. How
many may wait is learned from the batches (`redrush.core.load.room`). One batch takes everybody who waits, or, where
several may be under way, a piece of them.
"""

from bisect import bisect_left
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from redrush.core.load.room import Room

BATCH_CLAIMS_MAX: Final = 1_024
"""Claims in one call of the store: bounds how long the answers of one batch keep the loop from reading."""

PIECE_CLAIMS_MIN: Final = 256
"""Where several batches may be under way, one takes half of who waits, but not fewer than these: with smaller ones
the cost of a call, some 200 µs of the server's and an fsync, is no longer small against that of its claims."""

Claim = TypeVar("Claim")


class Batch(Generic[Claim]):
    """Claims that go to the store together, in the order of their coming."""

    __slots__ = ("backlog", "began_us", "claims", "since_us")

    def __init__(self, claims: list[Claim], since_us: list[int], began_us: int, backlog: int) -> None:
        self.claims = claims
        self.since_us = since_us
        """When each of them came."""
        self.began_us = began_us
        self.backlog = backlog
        """Claims that the store should decide in good time: these, and where batches are pieces who waits behind."""

    @property
    def waited_us(self) -> int:
        """How long its claims had waited when it began, all together."""
        return len(self.since_us) * self.began_us - sum(self.since_us)


class Queue(Generic[Claim]):
    """See the module. Times are microseconds of one clock that does not go back."""

    __slots__ = ("_batches_max", "_places", "_room", "_since_us", "_suspected_us", "claims", "left_since_us", "parked",
                 "parked_max", "under_way")  # fmt: skip

    def __init__(self, places: int, batches_max: int = 1) -> None:
        """For at most `places` claims, those under way included, and as many batches under way at a time."""
        self.claims: list[Claim] = []
        """Who waits, in the order of their coming. To be changed by `join` and what is below it only."""
        self.parked = 0
        """Claims that have a place: they wait, or are under way."""
        self.parked_max = self._places = places
        """Claims that may have a place now: as many as there are, or as the store decides in good time."""
        self.under_way: list[Batch[Claim]] = []
        """Batches that the store has not decided, the oldest first."""
        self.left_since_us: list[int] = []
        """When those came whom `take_late`, `take_excess` or `take_all` returned last."""
        self._since_us: list[int] = []
        self._room = Room(BATCH_CLAIMS_MAX)
        self._suspected_us = 0
        """When a batch was last found to be slow: those under way then say nothing about the next ones."""
        self._batches_max = batches_max

    @property
    def usual_us(self) -> float:
        """What a batch of a few claims takes; 0 before there was one."""
        return self._room.usual_us

    def join(self, claim: Claim, now_us: int) -> bool:
        """Let the claim wait; False if there is no place."""
        if self.parked >= self.parked_max:
            return False
        self.parked += 1
        self.claims.append(claim)
        self._since_us.append(now_us)
        return True

    # -- who is turned away

    def longest_us(self, now_us: int) -> int:
        """Return how long the first of those who wait has waited; 0 if nobody does."""
        return now_us - self._since_us[0] if self._since_us else 0

    def take_late(self, now_us: int, wait_max_us: int) -> tuple[list[Claim], int]:
        """Return those that have waited for longer than `wait_max_us`, and for how long all together; they have no
        place any more."""
        late = bisect_left(self._since_us, now_us - wait_max_us)
        waited_us = late * now_us - sum(self._since_us[:late])
        return self._take(0, late), waited_us

    def take_gone(self, there: Callable[[Claim], bool]) -> int:
        """Let those go that are not there any more; return how many they were."""
        places = [index for index, claim in enumerate(self.claims) if there(claim)]
        gone = len(self.claims) - len(places)
        if gone:
            self.parked -= gone
            self.claims = [self.claims[index] for index in places]
            self._since_us = [self._since_us[index] for index in places]
        return gone

    def take_excess(self) -> list[Claim]:
        """Return those that the store does not decide in good time, the last to come; they have no place any more, and
        nobody takes one in their stead. To be called when a batch has begun and when one was decided."""
        waiting_max = self._room.waiting_max
        if waiting_max is None:
            self.parked_max = self._places
            return self._take(0, 0)
        waiting = len(self.claims)
        self.parked_max = min(self._places, self.parked - waiting + waiting_max)
        return self._take(min(waiting_max, waiting), waiting)

    def take_all(self) -> list[Claim]:
        """Return everybody who waits; they have no place any more."""
        return self._take(0, len(self.claims))

    def _take(self, first: int, end: int) -> list[Claim]:
        claims = self.claims[first:end]
        self.left_since_us = self._since_us[first:end]
        del self.claims[first:end], self._since_us[first:end]
        self.parked -= len(claims)
        return claims

    # -- batches

    def next_batch(self, now_us: int) -> Batch[Claim]:
        """Return the claims that go to the store now; they are under way then."""
        waiting, most = len(self.claims), self._room.batch_max
        in_pieces = self._batches_max > 1
        if in_pieces:
            most = min(most, max(PIECE_CLAIMS_MIN, waiting // 2))
        backlog = waiting if in_pieces else min(most, waiting)
        batch = Batch(self.claims[:most], self._since_us[:most], now_us, backlog)
        del self.claims[:most], self._since_us[:most]
        self.under_way.append(batch)
        return batch

    def put_back(self, batch: Batch[Claim], first: int) -> None:
        """Let the claims of the batch from that one on wait again, before all others: it was not sent yet."""
        self.claims[:0], self._since_us[:0] = batch.claims[first:], batch.since_us[first:]
        del batch.claims[first:], batch.since_us[first:]
        if self._batches_max == 1:
            batch.backlog = first

    def decided(self, batch: Batch[Claim], now_us: int, bound_us: float, *, calm: bool) -> None:
        """The store has decided the batch. `bound_us` is how long one should take at most; `calm`: nobody is refused by
        a level now."""
        claims = len(batch.claims)
        self.drop(batch)
        took_us = now_us - batch.began_us
        if batch.backlog > claims:  # the pieces behind take as long, but several at a time
            took_us = took_us * batch.backlog // (claims * self._batches_max)
        suspected, next_one = self._room.suspected, batch.began_us >= self._suspected_us
        self._room.learn(batch.backlog, took_us, bound_us, calm=calm, next_one=next_one)
        if self._room.suspected and not suspected:
            self._suspected_us = now_us

    def drop(self, batch: Batch[Claim]) -> None:
        """The batch is not under way any more, and nothing is learned from it."""
        self.under_way.remove(batch)
        self.parked -= len(batch.claims)

    def abandon(self, batch: Batch[Claim]) -> None:
        """Nobody will ever know what became of the batch: it stays under way, without its places."""
        self.parked -= len(batch.claims)
