"""Packets between people: created and paid a second, what a million open ones take, what claims notice of an expiry.

All of it is one process's own work, without HTTP: the parts that `redrush serve` has, on a real disk. What a request
costs besides is in the figures of losers and winners.
"""

import asyncio
import gc
import itertools
import os
import time
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import uvloop

from redrush.config import load_campaign_file
from redrush.control.data_dir import DataDir
from redrush.core.rush.campaign import Kind, Slots
from redrush.core.rush.group import Packet
from redrush.drill.bench.figures import Better, Figure, Unit
from redrush.drill.bench.measuring import Measured, Measurement, Setup
from redrush.gate.group.counter import Counter
from redrush.ports.packets import Booked, Stage
from redrush.ports.store import Claim, PotTerms, Store
from redrush.processes.failure import ProcessFailed
from redrush.records.sqlite.packets import SqlitePacketBook
from redrush.settle.giving_back.expiry import Expiry, GivingBack
from redrush.stores.sqlite import SqliteStore
from redrush.wiring.embedded import Embedded, Ports

CREATED: Final = 20_000
SENDERS: Final = 100
AT_ONCE: Final = 2_000
OPEN: Final = 1_000_000
EXPIRING: Final = 20_000
"""Of one moment: twelve seconds' worth of a hundred thousand in a minute."""
CALM_S: Final = 2.0
CLAIM_EVERY_S: Final = 0.002
SHARES: Final = 10
WRITTEN_AT_ONCE: Final = 10_000

FILE: Final = """
[campaign]
id = "bench"
name = "bench"
currency = "CNY"
[[round]]
id = "rush"
opens = "now"
lasts = "24h"
kind = "equal"
total = "{total}.00"
packets = {senders}
[[round]]
id = "claims"
opens = "now"
lasts = "24h"
kind = "equal"
total = "200000.00"
packets = 200000
[group]
sender_day_max = "1000000.00"
"""

_T = TypeVar("_T")


@asynccontextmanager
async def _served(directory: Path) -> AsyncIterator[tuple[Embedded, Counter]]:
    """Serve a campaign whose senders have each won ten thousand."""
    directory.mkdir(parents=True)
    file = directory / "bench.toml"
    file.write_text(FILE.format(total=SENDERS * 10_000, senders=SENDERS), encoding="utf-8")
    embedded = Embedded(load_campaign_file(file), DataDir(directory / "data"), Ports("127.0.0.1", 0, None))
    await embedded.start()
    try:
        rush = embedded.gate.rounds["rush"]
        (pot,) = rush.pots
        now_us = time.time_ns() // 1_000
        await pot.lane.store.claim([Claim(pot.id, f"s{number}") for number in range(SENDERS)], now_us)
        await embedded.event.recorder.caught_up()
        group = embedded.gate.campaigns["bench"].group
        assert group is not None
        assert group.counter is not None
        yield embedded, group.counter
    finally:
        await embedded.stop()


def packet(number: int, **fields: Any) -> Packet:
    """Return the packet of this number, as somebody has just created it."""
    made = Packet(
        id=f"{number:032x}", sender=f"s{number % SENDERS}", kind=Kind.LUCKY, total_minor=100, count=SHARES,
        created_us=time.time_ns() // 1_000,
    )  # fmt: skip
    return msgspec.structs.replace(made, **fields)


async def created_per_s(directory: Path, count: int) -> float:
    """Return how many packets a second are created, paid from balances, split and opened."""
    async with _served(directory) as (_, counter):
        begun_s = time.perf_counter()
        for first in range(0, count, AT_ONCE):
            wanted = range(first, min(count, first + AT_ONCE))
            await asyncio.gather(*(counter.create(packet(number)) for number in wanted))
        while counter.paid < count:
            await asyncio.sleep(0.001)
            if time.perf_counter() - begun_s > 600:
                raise ProcessFailed(f"{counter.paid} of {count} packets were paid")
        return count / (time.perf_counter() - begun_s)


async def bytes_per_open(directory: Path, count: int) -> float:
    """Return what one more open packet that sleeps takes in memory."""
    directory.mkdir(parents=True)
    store = await SqliteStore.open_path(directory / "journal.db")
    book = SqlitePacketBook.open_path(directory / "packets.db")
    try:
        before = _resident_bytes()
        for first in range(0, count, WRITTEN_AT_ONCE):
            made = [packet(number) for number in range(first, min(count, first + WRITTEN_AT_ONCE))]
            book.add([Booked(one, Stage.OPEN) for one in made])
            await store.open([PotTerms(one.pot, Slots(0, one.count)) for one in made])
        return (_resident_bytes() - before) / count
    finally:
        book.close()
        await store.close()


def _resident_bytes() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def delay_ms(directory: Path, count: int) -> tuple[float, float]:
    """Return the p99 of claims, in milliseconds, before an expiry of so many packets, and while it goes on."""
    async with _served(directory) as (embedded, counter):
        book, store = counter.book, embedded.gate.lanes["embedded"].store
        shares = (100 // SHARES,) * SHARES
        for first in range(0, count, WRITTEN_AT_ONCE):
            made = [
                packet(number, amounts=shares, paid_us=1, closes_us=2**50)
                for number in range(first, min(count, first + WRITTEN_AT_ONCE))
            ]
            book.add([Booked(one, Stage.OPEN) for one in made])
            await store.open([PotTerms(one.pot, Slots(0, one.count)) for one in made])
        users = itertools.count()
        calm = await _p99_ms(store, users, asyncio.sleep(CALM_S))
        giving = GivingBack("bench", book, counter.cashier, lambda _packet: store)
        expiry = Expiry(book, giving, lambda: 2**51)
        busy = await _p99_ms(store, users, _all_ended(expiry))
        return calm, busy


async def _all_ended(expiry: Expiry) -> None:
    while await expiry.look():
        await asyncio.sleep(0)


async def _p99_ms(store: Store, users: Iterator[int], meanwhile: Awaitable[None]) -> float:
    """Return the p99 of single claims, one every `CLAIM_EVERY_S`, until something else is done."""
    other = asyncio.ensure_future(meanwhile)
    took_ms = []
    while not other.done():
        begun_s = time.perf_counter()
        await store.claim([Claim("claims", f"u{next(users)}")], time.time_ns() // 1_000)
        took_ms.append((time.perf_counter() - begun_s) * 1e3)
        await asyncio.sleep(CLAIM_EVERY_S)
    await other
    return sorted(took_ms)[int(0.99 * (len(took_ms) - 1))]


def _measure(setup: Setup) -> Measured:
    rates, delays, calms = [], [], []
    for number in range(setup.runs):
        scratch = setup.scratch / f"packets-{number}"
        rates.append(run(created_per_s(scratch / "created", CREATED)))
        calm, busy = run(delay_ms(scratch / "expiry", EXPIRING))
        delays.append(max(0.0, busy - calm))
        calms.append(calm)
        setup.tell(f"packets: {rates[-1]:,.0f} created/s; claims wait {delays[-1]:.1f} ms longer in an expiry (p99)")
    size = run(bytes_per_open(setup.scratch / "open", OPEN))
    setup.tell(f"packets: {size:.0f} bytes for each of {OPEN:,} open ones")
    return Measured(
        samples={CREATING.name: tuple(rates), SLEEPING.name: (size / 1_000,), WAITING.name: tuple(delays)},
        details={"claims alone, p99 ms": tuple(calms)},
    )


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run it on a loop of its own, as a server does."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


CREATING: Final = Figure(
    name="packets.created",
    title="packets between people created, paid from balances and opened a second, in one process without HTTP",
    unit=Unit.PER_SECOND,
    better=Better.HIGHER,
    bar=5_000.0,
)
SLEEPING: Final = Figure(
    name="packets.open",
    title=f"memory of an open packet that nobody asks for, {OPEN:,} of them (store and book of one server)",
    unit=Unit.KB,
    better=Better.LOWER,
    bar=0.5,
    aim=0.15,
)
WAITING: Final = Figure(
    name="packets.expiry",
    title=f"how much longer claims take (p99) while {EXPIRING:,} packets end at the same moment",
    unit=Unit.MILLISECONDS,
    better=Better.LOWER,
    bar=10.0,
)
PACKETS: Final = Measurement(name="packets", tools=frozenset(), figures=(CREATING, SLEEPING, WAITING), measure=_measure)
