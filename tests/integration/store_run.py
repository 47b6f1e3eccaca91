"""A small rush on a faulty disk, in a process of its own, and the audit of what it left."""

import asyncio
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from redrush.core.rush.campaign import Slots
from redrush.ports.store import Claimed, Given, Granted, Opened, PotTerms, StoreFailed, Taken, claims_of
from redrush.stores.sqlite import SqliteStore, read_log
from tests.integration.faulty_vfs import VFS_NAME, Faults, FaultyVFS

POT = "r1"
SLOTS = Slots(1_000, 300)
CALLERS = 3
ROUNDS = 14
USERS_PER_BATCH = 5
WAL_PAGES_MAX = 12
"""So small that the run goes through several checkpoints."""

Acknowledged = tuple[str, str, int, int]  # pot, user, slot, at_us


def run_to_the_end(path: Path, faults: Faults, told: Connection) -> None:
    """Rush; tell each acknowledgement after it was given; at last how many events there were."""
    asyncio.run(_rush(path, faults, told))
    told.send(faults.events)


async def _rush(path: Path, faults: Faults, told: Connection) -> None:
    vfs = FaultyVFS(faults)
    store = await SqliteStore.open_path(path, vfs=VFS_NAME, wal_pages_max=WAL_PAGES_MAX)
    await store.open([PotTerms(POT, SLOTS)])
    await store.open([PotTerms("r2", Slots(5_000, 10))])

    async def caller(number: int) -> None:
        for turn in range(ROUNDS):
            users = [f"user-{number}-{turn}-{k}" for k in range(USERS_PER_BATCH)]
            users.append(f"user-shared-{turn}")
            for user, result in zip(users, await store.claim(claims_of(POT, users), turn), strict=True):
                if isinstance(result, Claimed):
                    told.send((POT, user, result.slot, result.at_us))
            if number == 0 and turn % 5 == 4:
                await store.give("r2", await store.take(POT, 2, f"t{turn}"), f"t{turn}")

    await asyncio.gather(*(caller(number) for number in range(CALLERS)))
    await store.close()
    vfs.unregister()


def audit(path: Path, acknowledged: Sequence[Acknowledged]) -> list[str]:
    """Read the journal without the store's rules; return everything that is wrong with it, one line each."""
    problems: list[str] = []
    free: set[tuple[str, int]] = set()
    granted: dict[tuple[str, str], tuple[int, int]] = {}
    for record in read_log(path, 0, 100_000):
        match record:
            case Opened(pot=pot, slots=run):
                free |= _singles(pot, (run,))
            case Given(pot=pot, slots=runs):
                free |= _singles(pot, runs)
            case Taken(pot=pot, slots=runs):
                free -= _singles(pot, runs)
            case Granted(pot=pot, first_slot=first, users=users, at_us=at_us):
                for slot, user in enumerate(users, first):
                    problems += _doubled(pot, user, slot, free, granted)
                    free.discard((pot, slot))
                    granted[pot, user] = (slot, at_us)
    for pot, user, slot, at_us in acknowledged:
        if granted.get((pot, user)) != (slot, at_us):
            problems.append(f"acknowledged, but not in the journal: slot {slot} of {pot} to {user}")
    return problems


def _doubled(
    pot: str, user: str, slot: int, free: set[tuple[str, int]], granted: dict[tuple[str, str], tuple[int, int]]
) -> Iterator[str]:
    if (pot, slot) not in free:
        yield f"slot {slot} was granted twice or is not in {pot}"
    if (pot, user) in granted:
        yield f"{user} was granted twice in {pot}"


def _singles(pot: str, runs: tuple[Slots, ...]) -> set[tuple[str, int]]:
    return {(pot, slot) for run in runs for slot in range(run.first, run.end)}


async def reopen(path: Path) -> None:
    """Open the journal on the real disk with the store's own checks, and see that it grants."""
    store = await SqliteStore.open_path(path)
    await store.open([PotTerms(POT, SLOTS)])
    await store.open([PotTerms("r2", Slots(5_000, 10))])
    results = await store.claim(claims_of(POT, ["one more"]), 99)
    assert isinstance(results[0], Claimed)
    await store.close()


async def claim_until_failure(path: Path, faults: Faults) -> tuple[list[Acknowledged], SqliteStore]:
    """Claim on a disk that fails at some time after the opening; return what was acknowledged before, and the store."""
    told: list[StoreFailed] = []
    store = await SqliteStore.open_path(path, vfs=VFS_NAME, on_failure=told.append, wal_pages_max=WAL_PAGES_MAX)
    await store.open([PotTerms(POT, SLOTS)])
    faults.armed = True
    acknowledged: list[Acknowledged] = []

    async def caller(number: int) -> None:
        for turn in range(ROUNDS):
            users = [f"user-{number}-{turn}-{k}" for k in range(USERS_PER_BATCH)]
            for user, result in zip(users, await store.claim(claims_of(POT, users), turn), strict=True):
                assert isinstance(result, Claimed)
                acknowledged.append((POT, user, result.slot, result.at_us))

    ends = await asyncio.gather(*(caller(number) for number in range(CALLERS)), return_exceptions=True)
    assert [type(end) for end in ends] == [StoreFailed] * CALLERS, ends
    assert told == [store.failure]
    return acknowledged, store
