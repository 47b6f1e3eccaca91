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

A store that is slower than its crowd is another matter than one that is away: no more claims are parked than it decides
in good time (`redrush.core.load.room`), and who has waited too long all the same is refused when their turn comes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

import msgspec

from redrush.core.load import queue
from redrush.core.load.queue import Queue
from redrush.core.rush.campaign import Slots
from redrush.gate.admission import Admission
from redrush.http import answers
from redrush.http.route import Waiter
from redrush.ports.store import Claimed, PotTerms, Store

SHARED_BATCHES_MAX: Final = 2
"""Batches on their way to a set that gates share: one for the server to work on, one for the gate."""

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


Parked = tuple[str, Waiter]
"""A claim that waits: whose it is, and who gets the answer."""

Batch = queue.Batch[Parked]

Decide = Callable[["Lane", Batch], Awaitable[None]]
"""Gets a batch decided, and answers it; must not raise."""


class Lane:
    """See the module. Not thread-safe: it lives on the event loop."""

    def __init__(
        self,
        home: Home,
        pot: str,
        manners: Manners,
        gauge: Gauge,
        decide: Decide,
        *,
        admission: Admission,
        now_us: Callable[[], int],
    ) -> None:
        """The lane to `pot` at a set."""
        self.set = home.set
        self.store = home.store
        self.pot = pot
        self.known: Mapping[str, Claimed] = {}
        """Grants that the store knows of in this process; those of users under way or doubtful may not be durable."""
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
        self.valve = admission.valve(home.set)
        self.valve.queues.append(lambda: len(self._queue.claims))
        self.shared = manners.patience_s is not None
        self.refusal: bytes | None = None if manners.patience_s is None else answers.SET_AWAY
        self._share = home.share
        self._gauge = gauge
        self._decide = decide
        self._admission = admission
        self._now_us = now_us
        self._patience_s = manners.patience_s
        self._batches_max = manners.batches_max
        self._queue = Queue[Parked](manners.parked_max, manners.batches_max)
        self._users_under_way: frozenset[str] | None = None
        """Whose claims are under way; None until somebody asks who is known to have won."""
        self._senders: set[asyncio.Task[None]] = set()
        self._sending = 0
        """Senders that still take batches: one fewer than there are tasks while a task is ending."""
        self._gathering = False
        """Whether a sender will take whoever is parked in the next turn of the loop."""
        self._trying = False
        self._retry: asyncio.TimerHandle | None = None

    @property
    def parked(self) -> int:
        """Claims that wait or are under way."""
        return self._queue.parked

    @property
    def under_way(self) -> list[Batch]:
        """Batches that the store has not decided, the oldest first; of a lane that is broken, for ever."""
        return self._queue.under_way

    # -- claims

    def park(self, waiter: Waiter, user: str, now_us: int) -> bytes | None:
        """Let the claim wait for a batch (None), or say why not. `now_us` is when it came."""
        if self.refusal is not None:
            self.away += 1
            return self.refusal
        gauge = self._gauge
        if gauge.parked >= gauge.parked_max:
            self.busy += 1
            return self._admission.full
        if not self._queue.join((user, waiter), now_us):
            self.busy += 1
            return self.valve.no_place()
        gauge.parked += 1
        if not self._gathering and self._sending < self._batches_max:
            self._begin_sending()
        return None

    def undecided(self, user: str) -> bool:
        """Whether what the store knows of the user may not be durable."""
        if self._users_under_way is None:
            self._users_under_way = frozenset(user for batch in self.under_way for user in _users(batch))
        return user in self._users_under_way or user in self.doubtful

    def _begin_sending(self) -> None:
        self._gathering = True
        self._sending += 1
        sender = asyncio.create_task(self._send(), name=f"claims of {self.pot} {self.set}")
        self._senders.add(sender)
        sender.add_done_callback(self._senders.discard)

    async def _send(self) -> None:
        """Send batch after batch to the store until nobody is parked, or the next one is another sender's."""
        self._gathering = False
        waiting = self._queue
        try:
            while waiting.claims and not self._gathering:
                # One turn of the loop: it reads from every socket that is ready, and all of them share the fsync.
                self._gathering = True
                await asyncio.sleep(0)
                self._gathering = False
                now_us = self._now_us()
                self._turn_away_late(now_us)
                if not waiting.claims:  # they were turned away
                    break
                # The store knows these as winners before that is durable; if it fails, they are never answered as such.
                batch = waiting.next_batch(now_us)
                self._users_under_way = None
                self.valve.took(len(batch.claims), batch.waited_us)
                self._make_room()
                if self._trying:
                    self._refuse_all(answers.SET_AWAY)
                elif waiting.claims and self._sending < self._batches_max:
                    self._begin_sending()
                await self._decide(self, batch)
        finally:
            self._sending -= 1

    def _turn_away_late(self, now_us: int) -> None:
        """Let nobody take the store's time who has waited for too long, or is not there any more."""
        valve = self.valve
        if self._queue.longest_us(now_us) < valve.gone_after_us:
            return
        late, waited_us = self._queue.take_late(now_us, valve.wait_max_us)
        if late:
            valve.took(len(late), waited_us)
            self._turn_away(late, valve.too_late)
        gone = self._queue.take_gone(_waits)
        valve.counts.gone += gone
        self._gauge.parked -= gone

    def _make_room(self) -> None:
        """Let no more wait than the store decides in good time: who would is refused now, the last to come first."""
        self._turn_away(self._queue.take_excess(), self.valve.no_place)

    def _turn_away(self, parked: list[Parked], refusal: Callable[[], bytes]) -> None:
        """Refuse those who had places."""
        self._gauge.parked -= len(parked)
        self.busy += len(parked)
        for _, waiter in parked:
            waiter.send(refusal())

    def decided(self, batch: Batch) -> None:
        """The store has decided on these, durably."""
        valve = self.valve
        self._queue.decided(batch, self._now_us(), valve.bound_us, calm=not valve.shedding)
        self._users_under_way = None
        self._gauge.parked -= len(batch.claims)
        self.batches += 1
        valve.decided(len(batch.claims), self._queue.usual_us)
        self._make_room()
        if self.refusal is answers.SET_AWAY:
            self._trying = False
            self.refusal = None
        if self.doubtful:
            self.doubtful.difference_update(_users(batch))

    def left(self, batch: Batch) -> None:
        """The batch was not sent to the store: it is for whoever formed it to answer."""
        self._queue.drop(batch)
        self._users_under_way = None
        self._gauge.parked -= len(batch.claims)
        if self._trying:  # the next batch is the trial then
            self.refusal = None

    def went_away(self, batch: Batch) -> None:
        """The fate of these is unknown and the set is away: they and everybody behind them are told to come back."""
        self._queue.drop(batch)
        self._users_under_way = None
        self.doubtful.update(_users(batch))
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
            self._queue.abandon(batch)
            self._fate_unknown(batch, answers.STORE_FAILED)
        else:
            self._refuse_all(answers.STORE_FAILED)

    def _fate_unknown(self, batch: Batch, refusal: bytes) -> None:
        self._gauge.parked -= len(batch.claims)
        self.failures += 1
        self.away += len(batch.claims)
        self._refuse_all(refusal)
        for _, waiter in batch.claims:
            waiter.send(refusal)

    def _refuse_all(self, refusal: bytes) -> None:
        """Refuse whoever is parked and whoever comes, but not the batch under way."""
        self.refusal = refusal
        parked = self._queue.take_all()
        self._gauge.parked -= len(parked)
        self.away += len(parked)
        for _, waiter in parked:
            waiter.send(refusal)

    def _try_again(self) -> None:
        if self.refusal is answers.SET_AWAY:
            self._trying = True
            self.refusal = None

    def check(self) -> None:
        """Turn away whoever waits behind a batch that takes too long. Call every second."""
        under_way = self._queue.under_way
        if self._patience_s is None or not under_way or self.refusal is not None:
            return
        if self._now_us() - under_way[0].began_us > self._patience_s * 1e6:
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
        await self.store.open([PotTerms(self.pot, self._share)])
        self.known = self.store.known(self.pot)
        self.warm = True
        self.refusal = None


def _users(batch: Batch) -> Iterable[str]:
    return (user for user, _ in batch.claims)


def _waits(parked: Parked) -> bool:
    return parked[1].waiting
