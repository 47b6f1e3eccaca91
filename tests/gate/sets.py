"""Several gates over the same sets, whose stores go away, hang and come back as the test says.

A gate sees a set through a `RemoteStore`, as over a network: what the set knows it learns from answers only. Claims are
handed to the gate's routes directly; what HTTP adds is tested elsewhere.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Container, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redrush.core.rush.campaign import Campaign, Slots
from redrush.core.rush.holding import SlotAmounts
from redrush.core.sets.division import Division, SetPlace, home
from redrush.errors import RedrushError
from redrush.gate.assembly import build_gate
from redrush.gate.campaign import Event
from redrush.gate.knowledge.among_others import AmongOthers, ConnectedSet
from redrush.gate.knowledge.knowledge import Others
from redrush.gate.manners import Home
from redrush.gate.rush.rush import Rush
from redrush.http.reader import Limits
from redrush.ports.news import News
from redrush.ports.store import (
    FIRST_HISTORY,
    Claim,
    Claimed,
    ClaimResult,
    Grant,
    Held,
    History,
    HoldState,
    LogRecord,
    PotState,
    PotTerms,
    Store,
    StoreConflict,
    StoreUnavailable,
    Transfers,
)
from redrush.stores.memory import MemoryStore
from tests.gate.world import OPENS_US, RECEIPT_RING, SECOND_US, TICKET_RING, ManualClock, rounds_of
from tests.patience import PATIENCE_S


class RemoteStore:
    """A `redrush.ports.store.Store` that other processes use too."""

    knows_all = False

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.away = False
        self.hasty = False
        """Whether claims arrive, and are known, though their answers get lost while the set is away."""
        self.calls: list[tuple[str, ...]] = []
        """The users of every claim."""
        self.finds = 0
        self.told = asyncio.Event()
        """Unless it is set the log cannot be read, though everything else is as usual."""
        self.told.set()
        self.sendable = asyncio.Event()
        """Unless it is set, claims that are made now would wait behind others."""
        self.sendable.set()
        self.awaited = 0
        """How often somebody waited for that."""
        self.past = FIRST_HISTORY
        self.trimmed_upto = 0
        """Records of the log up to this one are gone."""
        self._heard_seq = 0
        self._known: dict[str, dict[str, Claimed]] = {}
        self._free = asyncio.Event()
        self._free.set()

    def hang(self) -> None:
        """Let every call wait from now on."""
        self._free.clear()

    def let_go(self) -> None:
        self._free.set()

    async def _reached(self) -> None:
        await self._free.wait()
        if self.away:
            raise StoreUnavailable("the set is away")

    async def open(self, pots: Sequence[PotTerms]) -> None:
        await self._reached()
        await self.inner.open(pots)
        for terms in pots:
            self._known.setdefault(terms.pot, {})

    async def until_free(self) -> None:
        self.awaited += 1
        await self.sendable.wait()

    async def claim(self, claims: Sequence[Claim], at_us: int) -> list[ClaimResult]:
        self.calls.append(tuple(claim.user for claim in claims))
        if not self.hasty:
            await self._reached()
        results = await self.inner.claim(claims, at_us)
        for claim, result in zip(claims, results, strict=True):
            if isinstance(result, Claimed) and not isinstance(result, Held):  # what is only held ends elsewhere
                self._known[claim.pot][claim.user] = Claimed(result.slot, result.at_us, repeat=True)
        await self._reached()
        return results

    async def confirm(self, holds: Sequence[Grant], at_us: int) -> list[HoldState]:
        return await self.inner.confirm(holds, at_us)

    async def release(self, holds: Sequence[Grant], at_us: int) -> list[HoldState]:
        return await self.inner.release(holds, at_us)

    async def offer(self, pots: Sequence[str]) -> int:
        return await self.inner.offer(pots)

    async def take(self, pot: str, count: int, transfer: str) -> tuple[Slots, ...]:
        return await self.inner.take(pot, count, transfer)

    async def give(self, pot: str, slots: tuple[Slots, ...], transfer: str) -> None:
        await self.inner.give(pot, slots, transfer)

    async def transfers(self) -> Transfers:
        await self._reached()
        return await self.inner.transfers()

    async def find(self, pot: str, user: str, request: str = "") -> Claimed | None:
        self.finds += 1
        await self._reached()
        return await self.inner.find(pot, user)

    def known(self, pot: str) -> Mapping[str, Claimed]:
        return self._known[pot]

    def holders(self, pot: str) -> Container[str]:
        return self._known[pot]

    async def state(self, pot: str) -> PotState:
        await self._reached()
        return await self.inner.state(pot)

    async def log(self, after: int, limit: int) -> list[LogRecord]:
        await self._reached()
        await self.told.wait()
        records = [record for record in await self.inner.log(after, limit) if record.seq > self.trimmed_upto]
        self._heard_seq = self.inner.last_seq()
        return records

    def last_seq(self) -> int:
        return self._heard_seq

    def history(self) -> History:
        return self.past

    def begin_anew(self, inner: Store) -> None:
        """This gate finds that the set was made anew, as `inner`."""
        self.inner, self.past = inner, History(self.past.generation + 1, ())
        self._heard_seq = 0
        for known in self._known.values():
            known.clear()

    async def close(self) -> None:
        """The set stays."""


class HoldingStore(MemoryStore):
    """Opens every pot as one of holds, and counts how often it is asked for a state."""

    HOLD_US = 600_000_000

    def __init__(self) -> None:
        super().__init__()
        self.states = 0

    async def open(self, pots: Sequence[PotTerms]) -> None:
        await super().open([PotTerms(terms.pot, terms.slots, hold_us=self.HOLD_US) for terms in pots])

    async def state(self, pot: str) -> PotState:
        self.states += 1
        return await super().state(pot)

    async def give_back(self, pot: str, user: str, at_us: int) -> None:
        """End the user's hold, and offer the slot at once."""
        hold = await self.find(pot, user)
        assert isinstance(hold, Held)
        assert await self.release([Grant(pot, user, hold.slot, number=hold.number)], at_us) == [HoldState.RELEASED]
        assert await self.offer([pot]) == 1


class Line:
    """A `redrush.ports.news.NewsLine` within the test."""

    def __init__(self) -> None:
        self._told: asyncio.Queue[News] = asyncio.Queue()

    async def publish(self, news: News) -> None:
        self._told.put_nowait(news)

    async def news(self) -> AsyncIterator[News]:
        while True:
            yield await self._told.get()


class Asking:
    """A client that waits for the gate's answer."""

    address = b""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    @property
    def waiting(self) -> bool:
        return not self.answer.done()

    def send(self, answer: bytes) -> None:
        self.answer.set_result(answer)

    async def json(self) -> Any:
        """Return the body, with the status of the answer as `status`."""
        head, _, body = (await self.answer).partition(b"\r\n\r\n")
        fields = json.loads(body)
        return fields | {"status": int(head.split()[1]), "waited": b"Retry-After: " in head}


class OneGate:
    """A gate of the event, with its own view of every set."""

    def __init__(self, event: "ManySets", places: Sequence[SetPlace], limits: Limits, audience: Container[str] | None):
        self.stores = {name: RemoteStore(inner) for name, inner in event.sets.items()}
        self.lines = {name: Line() for name in event.sets}
        self.faults: list[RedrushError] = []
        self.conflicts: list[StoreConflict] = []
        division = Division(event.campaign, places)
        gate = build_gate(
            Event(event.campaign, event.amounts, TICKET_RING, RECEIPT_RING, audience),
            limits,
            lambda round_: [Home(s.set, self.stores[s.set], s.slots) for s in division.shares(round_.id)],
            now_us=event.clock,
            failed=self.faults.append,
            draw=event.draw,
        )
        self.among = AmongOthers(
            gate,
            {name: ConnectedSet(store, self.lines[name]) for name, store in self.stores.items()},
            now_us=event.clock,
            on_fault=self.faults.append,
            on_conflict=self.conflicts.append,
            sleep=event.sleep,
        )
        self.gate = gate

    @property
    def r1(self) -> Rush:
        return self.gate.rounds["r1"]

    @property
    def known(self) -> Others:
        """What the gate knows of r1."""
        assert isinstance(self.r1.knows, Others)
        return self.r1.knows

    @property
    def calls(self) -> int:
        """How many claims went to the stores."""
        return sum(len(users) for store in self.stores.values() for users in store.calls)

    def doubtful(self, *losers: str) -> int:
        """How many of these may have won r1 for all that the gate knows: about them the store is asked, whatever else
        is known. They are others in every process, about one in 70."""
        return sum(user in self.known.winners for user in losers)

    def ask(self, user: str, round_id: str = "r1") -> Asking:
        asking = Asking()
        answer = self.gate.rounds[round_id].serve(asking, user)
        if answer is not None:
            asking.send(answer)
        return asking

    async def grab(self, user: str, round_id: str = "r1") -> Any:
        return await self.ask(user, round_id).json()

    def complete(self) -> bool:
        return all(pot.complete for pot in self.r1.pots)


class ManySets:
    """The sets of an event, and time."""

    def __init__(self, names: Sequence[str], packets: int, release_per_s: float | None) -> None:
        self.clock = ManualClock(OPENS_US)
        self.sets: dict[str, Store] = {name: MemoryStore() for name in names}
        self.campaign = Campaign(id="cny", name="春节", currency="CNY", rounds=rounds_of(packets, release_per_s))
        self.amounts: SlotAmounts = list(range(1, 2 * packets + 1))
        self.lot = 0.0
        self.running: list[OneGate] = []

    def draw(self) -> float:
        return self.lot

    async def sleep(self, _seconds: float) -> None:
        await asyncio.sleep(0.005)

    def at(self, seconds: float) -> None:
        """Set the clock to so many seconds after the opening of round r1."""
        self.clock.now_us = OPENS_US + int(seconds * SECOND_US)

    async def gate(
        self,
        *,
        places: Sequence[SetPlace] | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        audience: Container[str] | None = None,
        broken: Callable[[OneGate], None] = lambda _gate: None,
    ) -> OneGate:
        """Start another gate; `broken` may prepare what it finds."""
        gate = OneGate(self, places or [SetPlace(name) for name in self.sets], limits, audience)
        broken(gate)
        self.running.append(gate)
        await gate.among.start()
        return gate

    def users_of(self, set_number: int, count: int, prefix: str = "u") -> list[str]:
        """Return users who are at home in the set."""
        found: list[str] = []
        number = 0
        while len(found) < count:
            user = f"{prefix}{number}"
            if home(user, len(self.sets)) == set_number:
                found.append(user)
            number += 1
        return found


@asynccontextmanager
async def many_sets(
    names: Sequence[str] = ("s1", "s2", "s3"), *, packets: int = 6, release_per_s: float | None = None
) -> AsyncIterator[ManySets]:
    """Rounds r1, open from `OPENS_US` for a minute, and r2 an hour later, divided over the sets."""
    event = ManySets(names, packets, release_per_s)
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield event
    finally:
        for gate in event.running:
            for store in gate.stores.values():
                store.let_go()
            await gate.among.stop()
