"""Claims on very many small pots at random, beside as many on one big pot: calls of a store alone, no gate before it.

What a gate costs for each claim is the same for both, so grabs through one are nearer to each other than these figures.
"""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

from redrush.core.rush.campaign import Slots
from redrush.drill.bench.figures import Better, Figure, Unit, pairwise, turns
from redrush.drill.bench.measuring import Measured, Measurement, Setup
from redrush.ports.store import Claim, Claimed, PotTerms, Store
from redrush.processes.failure import ProcessFailed
from redrush.processes.valkey_server import ValkeyServer
from redrush.stores.sqlite import SqliteStore
from redrush.stores.valkey import ValkeyStore, establish_set

POTS: Final = 100_000
SLOTS: Final = 10
CLAIMS: Final = 100_000
BATCH_CLAIMS: Final = 256
UNDER_WAY: Final = 2
"""Batches on their way at a time, as a gate has to a set that others share."""
SEED: Final = 7
AT_US: Final = 1_800_000_000_000_000

OpenStore = Callable[[Path], AbstractAsyncContextManager[Store]]


@asynccontextmanager
async def _sqlite(directory: Path) -> AsyncIterator[Store]:
    store = await SqliteStore.open_path(directory / "journal.db")
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def _valkey(directory: Path) -> AsyncIterator[Store]:
    server = ValkeyServer(directory)
    await server.start()
    try:
        await establish_set([server.address], "bench", "s1", replicas_needed=0)
        store = await ValkeyStore.connect([server.address], "bench", "s1")
        try:
            yield store
        finally:
            await store.close()
    finally:
        server.kill()


STORES: Final[dict[str, OpenStore]] = {"sqlite": _sqlite, "valkey": _valkey}


def terms_of(kind: str, pots: int) -> list[PotTerms]:
    """Return so many small pots, or the one big pot with as many slots."""
    if kind == "big":
        return [PotTerms("rush", Slots(0, pots * SLOTS))]
    return [PotTerms(f"packet{number:09d}", Slots(number * SLOTS, SLOTS)) for number in range(pots)]


def batches_of(terms: Sequence[PotTerms], claims: int) -> list[list[Claim]]:
    """Return batches of claims, each by another user, on pots in random order; the same in every run."""
    places = random.Random(SEED).sample(range(len(terms) * terms[0].slots.count), claims)  # noqa: S311 - repeatable
    each = [Claim(terms[place // terms[0].slots.count].pot, f"user{place:09d}") for place in places]
    return [each[start : start + BATCH_CLAIMS] for start in range(0, claims, BATCH_CLAIMS)]


async def claims_per_s(opened: OpenStore, directory: Path, kind: str, pots: int, claims: int) -> float:
    """Return how many claims a second a fresh store grants. Raises ProcessFailed if it does not grant them all."""
    async with opened(directory) as store:
        terms = terms_of(kind, pots)
        await store.open(terms)
        waiting: Iterator[list[Claim]] = iter(batches_of(terms, claims))

        async def send() -> int:
            granted = 0
            for batch in waiting:
                granted += sum(isinstance(result, Claimed) for result in await store.claim(batch, AT_US))
            return granted

        start_s = time.perf_counter()
        granted = sum(await asyncio.gather(*(send() for _ in range(UNDER_WAY))))
        took_s = time.perf_counter() - start_s
    if granted != claims:
        raise ProcessFailed(f"{granted} of {claims} claims on {kind} pots were granted")
    return claims / took_s


def _measure(setup: Setup) -> Measured:
    samples: dict[str, tuple[float, ...]] = {}
    details: dict[str, tuple[float, ...]] = {}
    numbers = itertools.count()
    for name, opened in STORES.items():
        rates: dict[str, list[float]] = {"big": [], "small": []}
        for kind in turns(list(rates), setup.runs):
            directory = setup.scratch / f"{name}-{next(numbers)}"
            directory.mkdir()
            rates[kind].append(asyncio.run(claims_per_s(opened, directory, kind, POTS, CLAIMS)))
            setup.tell(f"small-pots: {name}, {kind}: {rates[kind][-1]:,.0f} claims/s")
        samples[FIGURES[name].name] = pairwise(rates["small"], rates["big"])
        details |= {f"claims/s on {kind} pots, {name}": tuple(of_kind) for kind, of_kind in rates.items()}
    return Measured(samples=samples, details=details)


FIGURES: Final = {
    name: Figure(
        name=f"small-pots.{name}",
        title=f"claims/s on {POTS:,} pots of {SLOTS} at random, by those on one big pot ({name}, calls of the store)",
        unit=Unit.RATIO,
        better=Better.HIGHER,
        bar=0.8,
    )
    for name in STORES
}
SMALL_POTS = Measurement(name="small-pots", tools=frozenset(), figures=tuple(FIGURES.values()), measure=_measure)
