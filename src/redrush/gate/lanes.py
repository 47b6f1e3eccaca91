"""A lane: the claims of one round on their way to one set.

A round has as many lanes as it has sets, and a user always takes the same one, so what happens to a set happens to its
lane alone. Claims are parked in it and go to the store in batches; while they are being made durable the next one
gathers. To the store of this process one batch is sent at a time. A set across the network gets a second one behind the
first, in smaller pieces: while the server works on one batch, the gate answers another and reads the requests for a
third. With one batch of everybody they would take turns: on 512 connections the gate's core stood still for a fifth of
the time.

A set that fails must cost the others nothing, not even room: a lane has its share of the places to park in, and while
its set is away it takes nobody in. The state is one field, `refusal`: what a claim is told instead of being parked.

    up ──unavailable──► away ──RETRY_S──► trying: what comes within one turn of the loop makes one batch, the others are
     ▲                   ▲                   │    refused until it is answered
     └──────answered─────┼───────────────────┘
    a batch out for longer than the patience: away, for whoever would come behind it, until it is answered
    the store has failed for good (StoreFailed): broken, for as long as the process lives

The embedded form has one lane, without a share and with endless patience: there is nobody to protect from it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec

from redrush.core.campaign import Slots
from redrush.gate import answers
from redrush.gate.route import Waiter
from redrush.ports.store import Claimed, Store

BATCH_CLAIMS_MAX: Final = 1_024
"""Claims in one call of the store: bounds how long the answers of one batch keep the loop from reading."""

SHARED_BATCHES_MAX: Final = 2
"""Batches on their way to a set that gates share: one for the server to work on, one for the gate."""

PIECE_CLAIMS_MIN: Final = 128
"""Where several batches may be under way, one takes a quarter of who is parked, but not fewer than these: with smaller
ones the cost of a call, some 200 µs of the server's, is no longer small against that of its claims."""

RETRY_S: Final = 0.1
"""How long a set that could not be reached is left alone before a batch tries it again."""

PATIENCE_S: Final = 1.0
"""How long a batch may be under way before claims are not let queue up behind it: a fsync and a replica's answer take
milliseconds, and whoever is told to come back in a second loses less than whoever hangs."""

DOUBTFUL_MAX: Final = 65_536
"""Users of batches whose fate is unknown that are remembered as such; beyond it the store's memory is not used."""


class Gauge(msgspec.Struct):
    """A number shared by the lanes of a gate: the claims parked now, and how many may be."""

    parked: int
    parked_max: int


class Home(msgspec.Struct, frozen=True):
    """A set of a round: its store, and the slots that it has at the opening."""

    set: str
    store: Store
    share: Slots


class Manners(msgspec.Struct, frozen=True):
    """How a lane treats its claims: how many it parks, how many batches it has under way, and how long it lets claims
    wait behind one (None: for ever).

    With a patience it begins away, until it is warmed up; without one it is up from the start."""

    parked_max: int
    patience_s: float | None = None
    batches_max: int = 1


def shared_manners(parked_max: int) -> Manners:
    """Return the manners of a lane to a set that several gates share."""
    return Manners(parked_max, PATIENCE_S, SHARED_BATCHES_MAX)


class Batch:
    """Claims that go to the store together, in the order of their coming."""

    __slots__ = ("began_s", "names", "users", "waiters")

    def __init__(self, users: list[str], waiters: list[Waiter], began_s: float) -> None:
        self.users = users
        self.waiters = waiters
        self.names = frozenset(users)
        self.began_s = began_s


Decide = Callable[["Lane", Batch], Awaitable[None]]
"""Gets a batch decided, and answers it; must not raise."""


class Lane:
    """See the module. Not thread-safe: it lives on the event loop."""

    def __init__(self, home: Home, pot: str, manners: Manners, gauge: Gauge, decide: Decide) -> None:
        """The lane to `pot` at a set."""
        self.set = home.set
        self.store = home.store
        self.pot = pot
        self.known: Mapping[str, Claimed] = {}
        """Grants that the store knows of in this process; those of users under way or doubtful may not be durable."""
        self.under_way: list[Batch] = []
        """Batches that the store has not decided, the oldest first; of a lane that is broken, for ever."""
        self.doubtful: set[str] = set()
        self.warm = False
        self.complete = False
        """Whether every winner of this set's pot is in the round's filter, and no other can come (see `settle`)."""
        self.dry_until_us = 0
        """Until then nobody is sent to the set in vain: it had nothing left a moment ago."""
        self.batches = 0
        self.failures = 0
        """Batches whose fate is unknown."""
        self.away = 0
        """Claims that were told to come back, in these batches or because of them."""
        self.busy = 0
        self.parked = 0
        self.shared = manners.patience_s is not None
        self.refusal: bytes | None = None if manners.patience_s is None else answers.SET_AWAY
        self._share = home.share
        self._gauge = gauge
        self._decide = decide
        self._parked_max = manners.parked_max
        self._patience_s = manners.patience_s
        self._batches_max = manners.batches_max
        self._users: list[str] = []
        self._waiters: list[Waiter] = []
        self._senders: set[asyncio.Task[None]] = set()
        self._sending = 0
        """Senders that still take batches: one fewer than there are tasks while a task is ending."""
        self._gathering = False
        """Whether a sender will take whoever is parked in the next turn of the loop."""
        self._trying = False
        self._retry: asyncio.TimerHandle | None = None

    # -- claims

    def park(self, waiter: Waiter, user: str) -> bytes | None:
        """Let the claim wait for a batch (None), or say why not."""
        if self.refusal is not None:
            self.away += 1
            return self.refusal
        gauge = self._gauge
        if gauge.parked >= gauge.parked_max or self.parked >= self._parked_max:
            self.busy += 1
            return answers.BUSY
        gauge.parked += 1
        self.parked += 1
        self._users.append(user)
        self._waiters.append(waiter)
        if not self._gathering and self._sending < self._batches_max:
            self._begin_sending()
        return None

    def undecided(self, user: str) -> bool:
        """Whether what the store knows of the user may not be durable."""
        return user in self.doubtful or any(user in batch.names for batch in self.under_way)

    def _begin_sending(self) -> None:
        self._gathering = True
        self._sending += 1
        sender = asyncio.create_task(self._send(), name=f"claims of {self.pot} {self.set}")
        self._senders.add(sender)
        sender.add_done_callback(self._senders.discard)

    async def _send(self) -> None:
        """Send batch after batch to the store until nobody is parked, or the next one is another sender's."""
        now_s = asyncio.get_running_loop().time
        self._gathering = False
        try:
            while self._users and not self._gathering:
                # One turn of the loop: it reads from every socket that is ready, and all of them share the fsync.
                self._gathering = True
                await asyncio.sleep(0)
                self._gathering = False
                if not self._users:  # they were turned away
                    break
                batch = self._next_batch(now_s())
                if self._trying:
                    self._refuse_all(answers.SET_AWAY)
                elif self._users and self._sending < self._batches_max:
                    self._begin_sending()
                await self._decide(self, batch)
        finally:
            self._sending -= 1

    def _next_batch(self, now_s: float) -> Batch:
        most = BATCH_CLAIMS_MAX
        if self._batches_max > 1:
            most = min(most, max(PIECE_CLAIMS_MIN, len(self._users) // 4))
        batch = Batch(self._users[:most], self._waiters[:most], now_s)
        self._users, self._waiters = self._users[most:], self._waiters[most:]
        # The store knows these as winners before that is durable; if it fails, they are never answered as such.
        self.under_way.append(batch)
        return batch

    def decided(self, batch: Batch) -> None:
        """The store has decided on these, durably."""
        self._release(batch.users)
        self.under_way.remove(batch)
        self.batches += 1
        if self.refusal is answers.SET_AWAY:
            self._trying = False
            self.refusal = None
        if self.doubtful:
            self.doubtful.difference_update(batch.names)

    def went_away(self, batch: Batch) -> None:
        """The fate of these is unknown and the set is away: they and everybody behind them are told to come back."""
        self.under_way.remove(batch)
        self.doubtful |= batch.names
        if len(self.doubtful) > DOUBTFUL_MAX:
            self.known = {}
            self.doubtful.clear()
        self._fate_unknown(batch, answers.SET_AWAY)
        self.close()
        self._retry = asyncio.get_running_loop().call_later(RETRY_S, self._try_again)

    def broke(self, batch: Batch | None = None) -> None:
        """The store will decide nothing any more, and what became of the batch is unknown: it stays under way.

        Nobody is told anything but to come back, and nobody is let in."""
        if batch is not None:
            self._fate_unknown(batch, answers.STORE_FAILED)
        else:
            self._refuse_all(answers.STORE_FAILED)

    def _fate_unknown(self, batch: Batch, refusal: bytes) -> None:
        self._release(batch.users)
        self.failures += 1
        self.away += len(batch.users)
        self._refuse_all(refusal)
        for waiter in batch.waiters:
            waiter.send(refusal)

    def _release(self, users: Sequence[str]) -> None:
        self.parked -= len(users)
        self._gauge.parked -= len(users)

    def _refuse_all(self, refusal: bytes) -> None:
        """Refuse whoever is parked and whoever comes, but not the batch under way."""
        self.refusal = refusal
        users, self._users = self._users, []
        waiters, self._waiters = self._waiters, []
        self._release(users)
        self.away += len(users)
        for waiter in waiters:
            waiter.send(refusal)

    def _try_again(self) -> None:
        if self.refusal is answers.SET_AWAY:
            self._trying = True
            self.refusal = None

    def check(self) -> None:
        """Turn away whoever waits behind a batch that takes too long. Call every second."""
        if self._patience_s is None or not self.under_way or self.refusal is not None:
            return
        if asyncio.get_running_loop().time() - self.under_way[0].began_s > self._patience_s:
            self._refuse_all(answers.SET_AWAY)

    async def drained(self) -> None:
        """Return when every claim parked so far is decided."""
        while self._senders:
            await asyncio.wait(self._senders)

    def close(self) -> None:
        """Let no timer outlive the gate."""
        if self._retry is not None:
            self._retry.cancel()

    # -- the pot

    async def warm_up(self) -> None:
        """Open the pot with the set's share, learn who has won already, and take claims from now on.

        Raises StoreUnavailable, StoreConflict (somebody divided otherwise) and StoreFailed.
        """
        await self.store.open(self.pot, self._share)
        self.known = self.store.known(self.pot)
        self.warm = True
        self.refusal = None
