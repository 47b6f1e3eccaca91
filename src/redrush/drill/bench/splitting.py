"""Splitting the total of a round into a million packets, in this process, on the server's core."""

import hashlib
import os
import time

from redrush.core.money.splitting import split
from redrush.core.rush.campaign import Kind
from redrush.drill.bench.figures import Better, Figure, Unit
from redrush.drill.bench.measuring import Measured, Measurement, Setup
from redrush.processes.failure import ProcessFailed

PACKETS = 1_000_000
MEAN_MINOR, MIN_MINOR, MAX_MINOR = 250, 50, 20_000


def _measure(setup: Setup) -> Measured:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {setup.cores.server})
    try:
        samples = [_split_s(run) for run in range(setup.runs + 1)][1:]
    finally:
        os.sched_setaffinity(0, allowed)
    setup.tell("splitting: " + ", ".join(f"{sample:.3f} s" for sample in samples))
    return Measured(samples={MILLION.name: tuple(samples)})


def _split_s(run: int) -> float:
    """Return the seconds that one split takes; another seed each run. The first is the warm-up."""
    seed = hashlib.blake2b(run.to_bytes(8, "little")).digest()
    total_minor = PACKETS * MEAN_MINOR
    start_s = time.perf_counter()
    amounts = split(Kind.LUCKY, total_minor, PACKETS, MIN_MINOR, MAX_MINOR, seed)
    took_s = time.perf_counter() - start_s
    if int(amounts.sum()) != total_minor or len(amounts) != PACKETS:
        raise ProcessFailed("the split does not add up")
    return took_s


MILLION = Figure(
    name="splitting.million-packets",
    title=f"splitting {PACKETS:,} lucky packets",
    unit=Unit.SECONDS,
    better=Better.LOWER,
    bar=0.3,
    aim=0.1,
)
SPLITTING = Measurement(name="splitting", tools=frozenset(), figures=(MILLION,), measure=_measure)
