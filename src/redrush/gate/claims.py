"""Claims of one round, from the ticket to the answer.

Losers are answered at once from memory. Whoever may win is *parked*: the connection waits while a batch of claims is
made durable, and meanwhile the next batch gathers, with no timer; one call of the store, and one fsync, then serve
tens to hundreds of users. The batch answers by writing to the parked connections: there is no task and no future per
request.
"""

import asyncio
from collections.abc import Callable, Container, Mapping

import msgspec

from redrush.core.campaign import Round
from redrush.core.instants import http_date, rfc3339
from redrush.core.outcomes import Outcome
from redrush.core.phase import Phase, phase_of
from redrush.core.release import ReleaseFilter
from redrush.gate import answers
from redrush.gate.grants import GrantWriter
from redrush.gate.route import Waiter
from redrush.ports.store import EMPTY, Claimed, Store, StoreFailed

BATCH_CLAIMS_MAX = 1_024
"""Claims in one call of the store: bounds how long the answers of one batch keep the loop from reading."""


REPEATS_REMEMBERED_MAX = 131_072
"""Winners of a round whose repeated answer is kept as bytes, some 75 MB: who asks twice is likely to ask again. When it
is full it starts anew."""

_GRANTED = '{"outcome":"granted","grant":'
_NEW = ',"repeat":false}'
_REPEAT = ',"repeat":true}'


class Gauge(msgspec.Struct):
    """A number shared by the rounds of a gate: the claims parked now, and how many may be."""

    parked: int
    parked_max: int


class RoundCounts(msgspec.Struct):
    """Answers so far by kind: plain integers, read by the metrics."""

    granted: int = 0
    repeat: int = 0
    missed: int = 0
    empty: int = 0
    not_open: int = 0
    closed: int = 0
    not_eligible: int = 0
    busy: int = 0
    batches: int = 0


class RoundClaims:
    """The route of `POST /v1/rounds/{round}/grab` for one round. Not thread-safe: it lives on the event loop."""

    def __init__(  # noqa: PLR0913 - everything a round needs is handed in here, once, by wiring
        self,
        round_: Round,
        *,
        store: Store,
        writer: GrantWriter,
        now_us: Callable[[], int],
        draw: Callable[[], float],
        gauge: Gauge,
        audience: Container[str] | None,
        failed: Callable[[StoreFailed], None],
    ) -> None:
        self.round = round_
        self.counts = RoundCounts()
        self.sold_out = False
        self._store = store
        self._writer = writer
        self._now_us = now_us
        self._draw = draw
        self._gauge = gauge
        self._audience = audience
        self._failed = failed
        self._broken = False
        self._opens_us = round_.opens_us
        self._closes_us = round_.closes_us
        self._ended = False
        self._release = ReleaseFilter(round_.release_per_s) if round_.release_per_s is not None else None
        self._known: Mapping[str, Claimed] = {}
        self._deciding: frozenset[str] = frozenset()
        self._repeats: dict[str, bytes] = {}
        self._users: list[str] = []
        self._waiters: list[Waiter] = []
        self._running: asyncio.Task[None] | None = None
        self._refills = 0
        self.tick()

    async def warm_up(self) -> None:
        """Learn from the store who has won already, and whether anything is left."""
        self._known = self._store.known(self.round.id)
        self.sold_out = (await self._store.state(self.round.id)).left == 0

    def tick(self) -> None:
        """Renew the prebuilt answers, whose heads carry the date. Call every second."""
        now_us = self._now_us()
        head = f"Date: {http_date(now_us)}\r\nCache-Control: no-store\r\n"
        self._missed = answers.json_answer({"outcome": Outcome.MISSED}, head)
        self._empty = answers.json_answer({"outcome": Outcome.EMPTY}, head)
        self._closed = answers.json_answer({"outcome": Outcome.CLOSED}, head)
        self._not_eligible = answers.json_answer({"outcome": Outcome.NOT_ELIGIBLE}, head)
        self._not_open = answers.json_answer(
            {"outcome": Outcome.NOT_OPEN, "opens_at": rfc3339(self.round.opens_us), "server_time": rfc3339(now_us)},
            head,
        )
        self._granted_head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{head}Content-Length: ".encode()

    # -- switches

    def set_pace(self, release_per_s: float | None) -> None:
        """Let so many packets a second through the shake filter from now on; None lets every claim through."""
        if release_per_s is None:
            self._release = None
        elif self._release is None:
            self._release = ReleaseFilter(release_per_s)
        else:
            self._release.set_pace(release_per_s, self._now_us())

    def set_ended(self, ended: bool) -> None:
        """Answer every claim as after the close, or no longer. Claims that are parked already are decided."""
        self._ended = ended
        # The instants are what a claim is held against, so an ended round costs a claim nothing more.
        self._opens_us, self._closes_us = (0, 0) if ended else (self.round.opens_us, self.round.closes_us)

    # -- one claim

    def serve(self, waiter: Waiter, user: str) -> bytes | None:
        """Answer a claim at once, or park it (None). The order of the checks is the order of certainty: what a user
        has won stays won after the close; then time; then whether they may; then whether anything is left."""
        rest = self._repeats.get(user)
        if rest is not None:
            self.counts.repeat += 1
            return self._granted_head + rest
        known = self._known.get(user)
        if known is not None:
            if user in self._deciding:
                return self._park(waiter, user)
            self.counts.repeat += 1
            return self._repeat_answer(user, known)
        now_us = self._now_us()
        if now_us < self._opens_us:
            self.counts.not_open += 1
            return self._not_open
        if now_us >= self._closes_us:
            self.counts.closed += 1
            return self._closed
        if self._audience is not None and user not in self._audience:
            self.counts.not_eligible += 1
            return self._not_eligible
        if self.sold_out:
            self.counts.empty += 1
            return self._empty
        if self._release is not None and not self._release.admit(now_us, self._draw()):
            self.counts.missed += 1
            return self._missed
        return self._park(waiter, user)

    def _park(self, waiter: Waiter, user: str) -> bytes | None:
        if self._broken:
            return answers.STORE_FAILED
        gauge = self._gauge
        if gauge.parked >= gauge.parked_max:
            self.counts.busy += 1
            return answers.BUSY
        gauge.parked += 1
        self._users.append(user)
        self._waiters.append(waiter)
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name=f"claims of {self.round.id}")
        return None

    # -- batches

    async def _run(self) -> None:
        """Send batch after batch to the store until nobody is parked."""
        try:
            while self._users:
                # One turn of the loop: it reads from every socket that is ready, and all of them share the fsync.
                await asyncio.sleep(0)
                users, self._users = self._users[:BATCH_CLAIMS_MAX], self._users[BATCH_CLAIMS_MAX:]
                waiters, self._waiters = self._waiters[:BATCH_CLAIMS_MAX], self._waiters[BATCH_CLAIMS_MAX:]
                await self._decide(users, waiters)
        finally:
            self._running = None

    async def _decide(self, users: list[str], waiters: list[Waiter]) -> None:
        refills = self._refills
        # The store knows these as winners before that is durable; if it fails, they are never answered as such.
        self._deciding = frozenset(users)
        # Whoever is parked came before the close, so the last batch is granted within the round too.
        at_us = min(self._now_us(), self.round.closes_us - 1)
        try:
            results = await self._store.claim(self.round.id, users, at_us)
        except StoreFailed as fault:
            self._fail(waiters, fault)
            return
        except Exception as fault:  # noqa: BLE001 - whatever it was, what became of the batch is unknown
            self._fail(waiters, StoreFailed(f"claims of round {self.round.id}: the store broke off with {fault!r}"))
            return
        finally:
            self._gauge.parked -= len(users)
        self._deciding = frozenset()
        counts = self.counts
        counts.batches += 1
        for waiter, user, result in zip(waiters, users, results, strict=True):
            if result is EMPTY:
                self.sold_out = refills == self._refills
                counts.empty += 1
                waiter.send(self._empty)
                continue
            if result.repeat:
                counts.repeat += 1
            else:
                counts.granted += 1
            waiter.send(self._grant_answer(user, result))

    def _fail(self, waiters: list[Waiter], fault: StoreFailed) -> None:
        """The fate of the batch is unknown: nobody is told anything but to come back, and the gate stops claiming."""
        self._broken = True
        parked, self._waiters, self._users = self._waiters, [], []
        self._gauge.parked -= len(parked)
        for waiter in (*waiters, *parked):
            waiter.send(answers.STORE_FAILED)
        self._failed(fault)

    async def drained(self) -> None:
        """Return when every claim parked so far is decided."""
        while self._running is not None:
            await asyncio.shield(self._running)

    def refilled(self) -> None:
        """Slots were given to the pot: nobody is told that it is empty until the store says so again."""
        self._refills += 1
        self.sold_out = False

    # -- answers

    def _grant_answer(self, user: str, claimed: Claimed) -> bytes:
        return self._granted_head + self._granted_rest(user, claimed, _REPEAT if claimed.repeat else _NEW)

    def _repeat_answer(self, user: str, claimed: Claimed) -> bytes:
        if len(self._repeats) >= REPEATS_REMEMBERED_MAX:
            self._repeats.clear()
        rest = self._repeats[user] = self._granted_rest(user, claimed, _REPEAT)
        return self._granted_head + rest

    def _granted_rest(self, user: str, claimed: Claimed, ending: str) -> bytes:
        """Return what follows the head of an answer that carries a grant, from the content's length on."""
        grant = self._writer.write(user, claimed.slot, claimed.at_us)
        # The grant and what is around it are ASCII, so their length in characters is that in bytes.
        return f"{len(_GRANTED) + len(grant) + len(ending)}\r\n\r\n{_GRANTED}{grant}{ending}".encode()

    def phase(self) -> Phase:
        """Return where the round is now, as participants see it."""
        if self._ended:
            return Phase.CLOSED
        return phase_of(self.round, self._now_us())
