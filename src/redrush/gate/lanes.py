"""A lane: the claims of a gate on their way to one set, whatever pots of it they ask.

A gate has one lane to each of its sets, because what happens to a set happens to all its pots: it is away, it is slow,
it has room for so many. Claims are parked in the lane and go to the store in batches; while they are being made
durable the next one gathers, with no timer and no task per request. The store of this process gets one at a time, a
set across the network a second one behind it, in pieces: while the server works on one, the gate answers another and
reads the requests for a third. A piece is taken when the store is free: sooner, it would be small and cost as much.

Whoever parked a claim is its *desk*: it is asked once a batch whether anything may be granted now, and handed the
results once. A set that fails costs the others nothing, not even room: a lane has its share of the places to park in,
and takes nobody in while its set is away. The state is one field, `refusal`: what a claim is told instead.

Who waits, who goes next and who has no place is decided by `redrush.core.load.queue`; here are tasks and answers.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from types import MappingProxyType
from typing import Final, Protocol

from redrush.core.load import queue
from redrush.core.load.histogram import Histogram
from redrush.gate.admission import Admission
from redrush.gate.manners import Gauge, Manners
from redrush.gate.round_counts import RoundCounts
from redrush.http import answers
from redrush.http.route import Waiter
from redrush.ports.store import Claim, Claimed, ClaimResult, Store, StoreFailed, StoreUnavailable

RETRY_S: Final = 0.1
"""How long a set that could not be reached is left alone before a batch tries it again."""

NOBODY: Final[Mapping[str, Claimed]] = MappingProxyType({})

DOUBTFUL_MAX: Final = 65_536
"""Claims of batches whose fate is unknown that are remembered as such; beyond it the store's memory is not used."""


class Desk(Protocol):
    """Whoever parks claims in lanes, and knows what their answers say."""

    counts: RoundCounts

    @property
    def refills(self) -> int:
        """How often slots were given to its pots: an `empty` that is older than the last time is void."""

    def grants_at(self, pots: Sequence["AskedPot"], now_us: int) -> tuple[int | None, int]:
        """Return the instant that claims on the first of these pots of its own which are sent now are granted at (None:
        nothing may be granted now), and how many of the pots, from the first on, are granted at the same."""

    def forbidden(self, now_us: int) -> bytes:
        """Return, and count, what a claim is told that waited, and for which nothing may be granted now."""

    def answered(self, claims: Sequence["Parked"], results: Sequence[ClaimResult], refills: int) -> None:
        """Answer these claims on pots of its own, which are decided, durably; `refills` is as it was when they were
        sent."""


class AskedPot(Protocol):
    """A pot in one set, as far as its lane has to know it."""

    id: str
    """What it is called in the set."""
    lane: "Lane"
    desk: Desk
    """Whose pot it is."""
    known: Mapping[str, Claimed]
    """Grants that the store knows of in this process; those of claims under way or doubtful may not be durable."""
    open: bool
    """Whether claims may be sent there: it was opened once."""
    complete: bool
    """Whether everybody who has won in it is known, here or to the filter, and no other can win."""
    dry_until_us: int
    """Until then nobody is sent there in vain: it had nothing left a moment ago."""


Parked = tuple[str, Waiter, AskedPot, str]
"""A claim that waits: whose it is, who gets the answer, the pot that it asks, and the name of the request."""

Batch = queue.Batch[Parked]

_desk_of: Final[Callable[[AskedPot], Desk]] = attrgetter("desk")


class Lane:
    """See the module. Not thread-safe: it lives on the event loop."""

    __slots__ = ("_admission", "_asked_under_way", "_batches_max", "_failed", "_gathering", "_gauge", "_manners",
                 "_now_us", "_patience_us", "_queue", "_retry", "_senders", "_sending", "_trying", "away", "batches",
                 "busy", "doubtful", "failures", "refusal", "set", "store", "times", "valve")  # fmt: skip

    def __init__(
        self,
        set_id: str,
        store: Store,
        manners: Manners,
        gauge: Gauge,
        *,
        admission: Admission,
        now_us: Callable[[], int],
        failed: Callable[[StoreFailed], None],
    ) -> None:
        """`failed` hears that the store has failed for good, and of faults that nobody thought of."""
        self.set = set_id
        self.store = store
        self.doubtful: dict[tuple[str, str], AskedPot] = {}
        """By the names of pots and users: the pots of claims whose fate is unknown. By names, for a packet that slept
        meanwhile is another object and has the same grants."""
        self.batches = 0
        self.failures = 0
        """Batches whose fate is unknown."""
        self.away = 0
        """Claims that were told to come back, in these batches or because of them."""
        self.busy = 0
        self.times = Histogram()
        """From the coming of each claim that was parked to its answer."""
        self.valve = admission.valve(set_id)
        self.valve.queues.append(lambda: len(self._queue.claims))
        self.refusal: bytes | None = None
        self._manners = manners
        self._gauge = gauge
        self._admission = admission
        self._now_us = now_us
        self._failed = failed
        self._patience_us = manners.patience_s * 1e6
        self._batches_max = manners.batches_max
        self._queue = queue.Queue[Parked](manners.parked_max, manners.batches_max)
        self._asked_under_way: frozenset[tuple[str, str]] | None = None
        """The names of pots and users of claims under way; None until somebody asks who is known to have won."""
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

    def park(self, waiter: Waiter, user: str, pot: AskedPot, now_us: int, request: str = "") -> bytes | None:
        """Let the claim wait for a batch (None), or say why not. `now_us` is when it came, `request` its name."""
        if self.refusal is not None or not pot.open:
            self.away += 1
            return self.refusal or answers.SET_AWAY
        gauge = self._gauge
        if gauge.parked >= gauge.parked_max:
            self._count_busy(pot)
            return self._admission.full
        if not self._queue.join((user, waiter, pot, request), now_us):
            self._count_busy(pot)
            return self.valve.no_place()
        gauge.parked += 1
        if not self._gathering and self._sending < self._batches_max:
            self._begin_sending()
        return None

    def undecided(self, pot: AskedPot, user: str) -> bool:
        """Whether what the store knows of the user may not be durable."""
        if self._asked_under_way is None:
            self._asked_under_way = frozenset().union(*map(_asked, self.under_way))
        claim = (pot.id, user)
        return claim in self._asked_under_way or claim in self.doubtful

    def _count_busy(self, pot: AskedPot) -> None:
        self.busy += 1
        pot.desk.counts.busy += 1

    def _begin_sending(self) -> None:
        self._gathering = True
        self._sending += 1
        sender = asyncio.create_task(self._send(), name=f"claims to {self.set}")
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
                await self.store.until_free()  # it is put together when it can go, with all who have come by then
                self._gathering = False
                now_us = self._now_us()
                self._turn_away_late(now_us)
                if not waiting.claims:  # they were turned away
                    break
                # The store knows these as winners before that is durable; if it fails, they are never answered as such.
                batch = waiting.next_batch(now_us)
                self._asked_under_way = None
                at_us, refills = self._cut(batch, now_us)
                self.valve.took(len(batch.claims), batch.waited_us)
                self._make_room()
                if self._trying:
                    self._refuse_all(answers.SET_AWAY)
                elif waiting.claims and self._sending < self._batches_max:
                    self._begin_sending()
                if at_us is None:
                    self._leave(batch, now_us)
                else:
                    await self._decide(batch, at_us, refills)
        finally:
            self._sending -= 1

    def _cut(self, batch: Batch, now_us: int) -> tuple[int | None, dict[Desk, int]]:
        """Return when the claims of the batch are granted (None: never), and whose pots they ask, with the refills.

        A batch has one instant. Where its pots have several, as when a round closes while another opens, those behind
        the first claim with another one wait again."""
        pots = [pot for _, _, pot, _ in batch.claims]
        first = pots[0]
        refills = {first.desk: first.desk.refills}
        if pots.count(first) == len(pots):
            return first.desk.grants_at((first,), now_us)[0], refills
        at_us: int | None = None
        place = 0
        for desk, of_desk in groupby(pots, _desk_of):
            theirs = list(of_desk)
            instant, together = desk.grants_at(theirs, now_us)
            if not place:
                at_us = instant
            elif instant != at_us:
                together = 0
            place += together
            if together:
                refills.setdefault(desk, desk.refills)
            if together < len(theirs):
                self._queue.put_back(batch, place)
                break
        return at_us, refills

    async def _decide(self, batch: Batch, at_us: int, refills: dict[Desk, int]) -> None:
        """Have the batch decided by the store, and its claims answered; raises nothing."""
        try:
            results = await self.store.claim(
                [Claim(pot.id, user, request) for user, _, pot, request in batch.claims], at_us
            )
        except StoreUnavailable:
            self._went_away(batch)
        except StoreFailed as fault:
            self._broke(batch)
            self._failed(fault)
        except Exception as fault:  # noqa: BLE001 - whatever it was, what became of the batch is unknown
            (self._went_away if self._manners.repairable else self._broke)(batch)
            self._failed(StoreFailed(f"claims at the set {self.set}: the store broke off with {fault!r}"))
        else:
            self._decided(batch)
            self._hand_over(batch, results, refills)

    def _hand_over(self, batch: Batch, results: Sequence[ClaimResult], refills: Mapping[Desk, int]) -> None:
        """Hand each desk its claims, with what was decided on them."""
        claims = batch.claims
        if len(refills) == 1:
            claims[0][2].desk.answered(claims, results, *refills.values())
            return
        parts: dict[Desk, tuple[list[Parked], list[ClaimResult]]] = {desk: ([], []) for desk in refills}
        for claim, result in zip(claims, results, strict=True):
            theirs, decided = parts[claim[2].desk]
            theirs.append(claim)
            decided.append(result)
        for desk, (theirs, decided) in parts.items():
            desk.answered(theirs, decided, refills[desk])

    # -- who is turned away

    def _turn_away_late(self, now_us: int) -> None:
        """Let nobody take the store's time who has waited for too long, or is not there any more."""
        valve = self.valve
        if self._queue.longest_us(now_us) < valve.gone_after_us:
            return
        late, waited_us = self._queue.take_late(now_us, valve.wait_max_us)
        valve.took(len(late), waited_us)
        self._turn_away(late, valve.too_late)
        gone = self._queue.take_gone(lambda parked: parked[1].waiting)
        valve.counts.gone += gone
        self._gauge.parked -= gone

    def _make_room(self) -> None:
        """Let no more wait than the store decides in good time: who would is refused now, the last to come first."""
        self._turn_away(self._queue.take_excess(), self.valve.no_place)

    def _turn_away(self, parked: Sequence[Parked], refusal: Callable[[], bytes]) -> None:
        """Refuse those who had places and were taken from the queue just now."""
        self._gauge.parked -= len(parked)
        self.times.add_ended(self._queue.left_since_us, self._now_us())
        for _, waiter, pot, _ in parked:
            self._count_busy(pot)
            waiter.send(refusal())

    # -- the end of a batch

    def _decided(self, batch: Batch) -> None:
        """The store has decided on these, durably."""
        valve, now_us = self.valve, self._now_us()
        self._queue.decided(batch, now_us, valve.bound_us, calm=not valve.shedding)
        self.times.add_ended(batch.since_us, now_us)
        self._asked_under_way = None
        self._gauge.parked -= len(batch.claims)
        self.batches += 1
        valve.decided(len(batch.claims), self._queue.usual_us)
        self._make_room()
        if self.refusal is answers.SET_AWAY:
            self._trying = False
            self.refusal = None
        if self.doubtful:
            for claim in _asked(batch):
                self.doubtful.pop(claim, None)

    def _leave(self, batch: Batch, now_us: int) -> None:
        """The batch is not sent to the store: nothing may be granted now."""
        self._queue.drop(batch)
        self._asked_under_way = None
        self._gauge.parked -= len(batch.claims)
        self.times.add_ended(batch.since_us, now_us)
        if self._trying:  # the next batch is the trial then
            self.refusal = None
        for _, waiter, pot, _ in batch.claims:
            waiter.send(pot.desk.forbidden(now_us))

    def _went_away(self, batch: Batch) -> None:
        """The fate of these is unknown and the set is away: they and everybody behind them are told to come back."""
        self._queue.drop(batch)
        self._asked_under_way = None
        self.doubtful |= {(pot.id, user): pot for user, _, pot, _ in batch.claims}
        if len(self.doubtful) > DOUBTFUL_MAX:
            for pot in set(self.doubtful.values()):
                pot.known = NOBODY
            self.doubtful.clear()
        self._fate_unknown(batch, answers.SET_AWAY)
        self.close()
        self._retry = asyncio.get_running_loop().call_later(RETRY_S, self._try_again)

    def _broke(self, batch: Batch) -> None:
        """The store will decide nothing any more, and what became of the batch is unknown: it stays under way."""
        self._queue.abandon(batch)
        self._fate_unknown(batch, answers.STORE_FAILED)

    def give_up(self) -> None:
        """The store will decide nothing any more: nobody is told anything but to come back."""
        self._refuse_all(answers.STORE_FAILED)

    def _fate_unknown(self, batch: Batch, refusal: bytes) -> None:
        self.failures += 1
        self._refuse_all(refusal)
        self._send_away(batch.claims, batch.since_us, refusal)

    def _refuse_all(self, refusal: bytes) -> None:
        """Refuse whoever is parked and whoever comes, but not the batch under way."""
        self.refusal = refusal
        self._send_away(self._queue.take_all(), self._queue.left_since_us, refusal)

    def _send_away(self, claims: Sequence[Parked], since_us: Sequence[int], refusal: bytes) -> None:
        self._gauge.parked -= len(claims)
        self.times.add_ended(since_us, self._now_us())
        self.away += len(claims)
        for _, waiter, _, _ in claims:
            waiter.send(refusal)

    def _try_again(self) -> None:
        if self.refusal is answers.SET_AWAY:
            self._trying = True
            self.refusal = None

    def check(self) -> None:
        """Turn away whoever waits behind a batch that takes too long. Call every second."""
        under_way = self._queue.under_way
        if under_way and self.refusal is None and self._now_us() - under_way[0].began_us > self._patience_us:
            self._refuse_all(answers.SET_AWAY)

    async def drained(self) -> None:
        """Return when every claim parked so far is decided."""
        while self._senders:
            await asyncio.wait(self._senders)

    def close(self) -> None:
        """Let no timer outlive the gate."""
        if self._retry is not None:
            self._retry.cancel()


def _asked(batch: Batch) -> set[tuple[str, str]]:
    return {(pot.id, user) for user, _, pot, _ in batch.claims}
