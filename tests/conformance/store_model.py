"""An independent model of a store: lists of single slots, no runs, no speed. It shares no code with the stores."""

import random
from dataclasses import dataclass, field

from redrush.core.rush.campaign import Slots
from redrush.ports.store import (
    Claimed,
    Confirmed,
    Given,
    Granted,
    LogRecord,
    Offered,
    Opened,
    PotState,
    PotTerms,
    Released,
    Scattered,
    Store,
    Taken,
    claims_of,
)

POTS = ("p", "q", "$returned")
USERS = [f"u{k}" for k in range(60)]
POT_SLOTS = 25


@dataclass
class _Pot:
    unclaimed: list[int] = field(default_factory=list)
    grants: dict[str, tuple[int, int]] = field(default_factory=dict)


def _singles(runs: tuple[Slots, ...]) -> list[int]:
    return [slot for run in runs for slot in range(run.first, run.first + run.count)]


def _runs(slots: list[int]) -> tuple[Slots, ...]:
    """The slots in their order, each a run of its own."""
    return tuple(Slots(slot, 1) for slot in slots)


class Model:
    """Does random operations to a store and to itself, and compares what both say."""

    def __init__(self) -> None:
        self.pots: dict[str, _Pot] = {}
        self.taken: dict[str, tuple[str, list[int]]] = {}
        self.given: dict[str, tuple[str, tuple[Slots, ...]]] = {}
        self.now_us = 1

    async def step(self, store: Store, rng: random.Random) -> None:
        self.now_us += rng.randrange(3)
        unopened = [pot for pot in POTS if pot not in self.pots]
        if unopened:
            await self.open(store, unopened[0])
            return
        pot = rng.choice(POTS)
        operation = rng.choices((self.open, self.claim, self.take, self.give, self.read), (1, 10, 2, 3, 3))[0]
        if operation == self.open:
            await self.open(store, pot)
        elif operation == self.claim:
            await self.claim(store, pot, rng.choices(USERS, k=rng.randrange(9)))
        elif operation == self.take:
            await self.take(store, pot, rng.randrange(12), f"t{rng.randrange(30)}")
        elif operation == self.give:
            await self.give(store, pot)
        else:
            await self.read(store, pot, rng.choice(USERS))

    async def open(self, store: Store, pot: str) -> None:
        index = POTS.index(pot)
        count = 0 if pot == "$returned" else POT_SLOTS
        await store.open([PotTerms(pot, Slots(index * 100, count))])
        self.pots.setdefault(pot, _Pot(list(range(index * 100, index * 100 + count))))

    async def claim(self, store: Store, pot: str, users: list[str]) -> None:
        state = self.pots[pot]
        expected: list[object] = []
        for user in users:
            if user in state.grants:
                expected.append((*state.grants[user], True))
            elif state.unclaimed:
                state.grants[user] = (state.unclaimed.pop(0), self.now_us)
                expected.append((*state.grants[user], False))
            else:
                expected.append("empty")
        results = await store.claim(claims_of(pot, users), self.now_us)
        assert [(r.slot, r.at_us, r.repeat) if isinstance(r, Claimed) else r.value for r in results] == expected

    async def take(self, store: Store, pot: str, count: int, transfer: str) -> None:
        if transfer in self.taken:
            pot, slots = self.taken[transfer]
        else:
            unclaimed = self.pots[pot].unclaimed
            split = max(len(unclaimed) - count, 0)
            slots = unclaimed[split:]
            del unclaimed[split:]
            self.taken[transfer] = (pot, slots)
        assert _singles(await store.take(pot, count, transfer)) == slots

    async def give(self, store: Store, pot: str) -> None:
        """Give what was taken and not yet given, or repeat a give."""
        for transfer, (_source, slots) in self.taken.items():
            if transfer not in self.given:
                self.given[transfer] = (pot, _runs(slots))
                self.pots[pot].unclaimed += slots
                break
        else:
            if not self.given:
                return
            transfer = next(iter(self.given))
        await store.give(*self.given[transfer], transfer)

    async def read(self, store: Store, pot: str, user: str) -> None:
        state = self.pots[pot]
        assert await store.state(pot) == PotState(len(state.unclaimed), len(state.grants))
        grant = state.grants.get(user)
        assert await store.find(pot, user) == (None if grant is None else Claimed(*grant, repeat=True))

    async def check(self, store: Store) -> None:
        """Compare all of it, and what the log alone adds up to."""
        for pot in self.pots:
            for user in USERS:
                await self.read(store, pot, user)
        replayed: dict[str, _Pot] = {}
        for record in await store.log(0, 100_000):
            _replay(replayed, record)
        assert replayed == self.pots


def _replay(pots: dict[str, _Pot], record: LogRecord) -> None:
    if isinstance(record, Scattered | Confirmed | Released | Offered):
        raise AssertionError(f"these pots neither hold nor grant singly: {record}")
    pot = pots.setdefault(record.pot, _Pot())
    match record:
        case Opened(slots=run):
            pot.unclaimed = _singles((run,))
        case Granted(first_slot=first, users=users, at_us=at_us):
            for slot, user in enumerate(users, first):
                pot.unclaimed.remove(slot)
                pot.grants[user] = (slot, at_us)
        case Taken(slots=runs):
            for slot in _singles(runs):
                pot.unclaimed.remove(slot)
        case Given(slots=runs):
            pot.unclaimed += _singles(runs)
