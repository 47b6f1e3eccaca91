"""A round over several sets, for tests of what moves between them, and the count of every slot afterwards."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

from redrush.core.rush.campaign import RETURNED_POT, Campaign, Round, Slots
from redrush.ports.store import Given, Granted, Opened, PotTerms, Store, Taken, claims_of
from redrush.stores.memory import MemoryStore
from redrush.stores.sqlite import SqliteStore
from tests.settle.breakable import BreakableStore
from tests.settle.event import OPENS_US

Sets = dict[str, BreakableStore]


class SetClock:
    """Stands still until it is set."""

    def __init__(self, now_us: int = OPENS_US) -> None:
        self.instant_us = now_us

    def now_us(self) -> int:
        return self.instant_us

    def advance(self, duration_us: int) -> None:
        self.instant_us += duration_us


def every_set(sets: Sets) -> Callable[[str], Sequence[str]]:
    """Return the membership by which every round has all sets."""
    return lambda _round: tuple(sets)


@asynccontextmanager
async def opened_sets(campaign: Campaign, count: int, directory: Path | None = None) -> AsyncIterator[Sets]:
    """Yield `count` sets with every round's pots open in even shares: in memory, or SQLite in the directory."""
    sets: Sets = {}
    for number in range(1, count + 1):
        store: Store = MemoryStore()
        if directory is not None:
            store = await SqliteStore.open_path(directory / f"s{number}.db")
        sets[f"s{number}"] = BreakableStore(store)
    for round_ in campaign.rounds:
        for store, share in zip(sets.values(), shares(round_.slots, count), strict=True):
            await store.open([PotTerms(round_.id, share)])
    for store in sets.values():
        await store.open([PotTerms(RETURNED_POT, Slots(0, 0))])
    try:
        yield sets
    finally:
        for store in sets.values():
            await store.close()


def shares(slots: Slots, count: int) -> list[Slots]:
    edges = [slots.first + slots.count * k // count for k in range(count + 1)]
    return [Slots(first, end - first) for first, end in pairwise(edges)]


async def claim_all(store: BreakableStore, round_: Round, prefix: str, users: int | None = None) -> int:
    """Let `users` users claim what the set has left of the round, all of it by default; return how many got a slot."""
    left = (await store.store.state(round_.id)).left
    names = [f"{prefix}{k}" for k in range(left if users is None else users)]
    results = await store.store.claim(claims_of(round_.id, names), round_.opens_us)
    return sum(1 for result in results if hasattr(result, "slot"))


async def left_by_set(sets: Sets, pot: str) -> dict[str, int]:
    return {set_id: (await store.store.state(pot)).left for set_id, store in sets.items()}


async def places(sets: Mapping[str, BreakableStore]) -> dict[int, str]:
    """Return where every slot is, as the logs of the sets tell it alone: `<set>/<pot>`, `granted …`, or `transit`.

    Fails if a slot is in two places, or one moves that is not where it leaves from.
    """
    at: dict[int, str] = {}
    takes: dict[str, tuple[Slots, ...]] = {}
    gives: dict[str, tuple[Slots, ...]] = {}
    held: Counter[int] = Counter()
    for set_id, store in sets.items():
        inside: dict[int, str] = {}
        for record in await store.store.log(0, 1_000_000):
            match record:
                case Opened(pot=pot, slots=run):
                    _put(inside, [run], f"{set_id}/{pot}")
                case Given(pot=pot, slots=runs, transfer=transfer):
                    _put(inside, runs, f"{set_id}/{pot}")
                    assert transfer not in gives, f"{transfer} was given twice"
                    gives[transfer] = runs
                case Taken(slots=runs, transfer=transfer):
                    for slot in _singles(runs):
                        assert not inside.pop(slot).startswith("granted")
                    assert transfer not in takes, f"{transfer} was taken twice"
                    takes[transfer] = runs
                case Granted(pot=pot, first_slot=first, users=users):
                    for slot, user in enumerate(users, first):
                        assert inside[slot] == f"{set_id}/{pot}"
                        inside[slot] = f"granted {pot} {user}"
        held.update(inside.keys())
        at.update(inside)
    assert all(count == 1 for count in held.values()), "a slot is in two sets"
    for transfer, runs in gives.items():
        assert takes.get(transfer) == runs, f"{transfer} gave what was not taken"
    in_transit = [slot for transfer, runs in takes.items() if transfer not in gives for slot in _singles(runs)]
    assert not set(in_transit) & at.keys()
    return at | dict.fromkeys(in_transit, "transit")


def _put(inside: dict[int, str], runs: Iterable[Slots], place: str) -> None:
    for slot in _singles(runs):
        assert slot not in inside, f"slot {slot} is in {inside[slot]} already"
        inside[slot] = place


def _singles(runs: Iterable[Slots]) -> list[int]:
    return [slot for run in runs for slot in range(run.first, run.end)]
