"""Grabs from very many small pots at random, beside as many from one big pot, through the same gate.

The small pots are packets between people, as they lie open: nobody has asked for them yet. Each request is another
user's, for a packet drawn by lot, until nothing is left: so the first grab of every packet, which wakes it, is in the
figure, and so is each of the others, as often as it is one.
"""

import asyncio
import random
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from redrush.core.rush.campaign import Kind, Slots
from redrush.core.rush.group import Packet
from redrush.core.rush.packet_note import note_of
from redrush.drill.bench.browser import PACKET_PATH, grab_path
from redrush.drill.bench.figures import Better, Figure, Unit, pairwise
from redrush.drill.bench.grabs import CONNECTIONS, check_granted
from redrush.drill.bench.measuring import Measured, Measurement, Setup, cpu_us, in_turns, rates
from redrush.drill.bench.sets import Sets, serve_sets
from redrush.drill.bench.subject import CAMPAIGN, Event, RoundPlan, copy_of, granted, issue, make_event, serve
from redrush.drill.bench.tools import Tool
from redrush.drill.bench.wrk import Load, Mode, Run, write_heads_to, write_tickets
from redrush.ports.packets import Booked, Stage
from redrush.ports.store import NotedTerms, PotTerms
from redrush.processes.failure import ProcessFailed
from redrush.processes.loopback import free_port
from redrush.processes.pinned import Target
from redrush.records.sqlite.packets import SqlitePacketBook
from redrush.stores.sqlite import SqliteStore
from redrush.stores.valkey import ValkeyStore

POTS: Final = 100_000
SLOTS: Final = 10
DRAINED_MAX_S: Final = 300
"""How long a run may take until nothing is left, however long runs are asked to be."""
REFUSED_SHARE_MAX: Final = 0.01
"""Who may be told to come back, and is counted with nobody: in a run this long a disk may stall for a moment."""
OPENED_AT_ONCE: Final = 10_000
SEED: Final = 7
BIG: Final = "one big pot"
SMALL: Final = f"{POTS:,} pots of {SLOTS}"
PATHS: Final = {BIG: grab_path("rush"), SMALL: PACKET_PATH}


class Prepared(msgspec.Struct, frozen=True):
    """An event with all its pots open, the packets among them, and the tickets for all their slots."""

    event: Event
    packets: tuple[Packet, ...]
    tickets: Path


def packets_of(count: int) -> tuple[Packet, ...]:
    """Return so many packets, paid and split."""
    now_us = time.time_ns() // 1_000
    return tuple(
        Packet(
            id=f"{number:032x}", sender="sender", kind=Kind.EQUAL, total_minor=100 * SLOTS, count=SLOTS,
            amounts=(100,) * SLOTS, created_us=now_us, paid_us=now_us, closes_us=now_us + 86_400_000_000,
        )
        for number in range(count)
    )  # fmt: skip


def uses_of(packets: int) -> list[str]:
    """Return for each of as many requests as there are slots the id of its packet: by lot, and repeatable."""
    places = list(range(packets * SLOTS))
    random.Random(SEED).shuffle(places)  # noqa: S311 - repeatable
    return [f"{place // SLOTS:032x}" for place in places]


def prepare(setup: Setup, pots: int = POTS) -> Prepared:
    """Seal an event, open packets in its data directory, and write down who asks for which."""
    count = pots * SLOTS
    setup.tell(f"small-pots: preparing {count:,} users and {pots:,} packets")
    event = make_event(setup.scratch / "event", [RoundPlan(packets=count)], group=True)
    packets = packets_of(pots)
    asyncio.run(_open_embedded(event, packets))
    tickets = issue(event, [f"user{number:07d}" for number in range(count)])
    lines = (f"{ticket}\t{packet}" for ticket, packet in zip(tickets, uses_of(pots), strict=True))
    return Prepared(event, packets, write_tickets(setup.scratch / "tickets", lines))


def _some_at_once(packets: tuple[Packet, ...]) -> Iterator[tuple[Packet, ...]]:
    for first in range(0, len(packets), OPENED_AT_ONCE):
        yield packets[first : first + OPENED_AT_ONCE]


async def _open_embedded(event: Event, packets: tuple[Packet, ...]) -> None:
    store, book = await SqliteStore.open_path(event.data.journal), SqlitePacketBook.open_path(event.data.packets)
    try:
        for some in _some_at_once(packets):
            book.add([Booked(packet, Stage.OPEN) for packet in some])
            await store.open([PotTerms(packet.pot, Slots(0, SLOTS)) for packet in some])
    finally:
        book.close()
        await store.close()


async def _open_on(sets: Sets, packets: tuple[Packet, ...]) -> None:
    store = await ValkeyStore.connect([sets.servers[0].address], CAMPAIGN, sets.ids[0])
    try:
        for some in _some_at_once(packets):
            await store.open([NotedTerms(packet.pot, Slots(0, SLOTS), note=note_of(packet)) for packet in some])
    finally:
        await store.close()


def grab_embedded(setup: Setup, prepared: Prepared, what: str) -> Run:
    """Let the crowd grab from a server of one process, and hold its disk against the answers."""
    directory = setup.scratch / "run"
    event = copy_of(prepared.event, directory)
    try:
        with serve(event, setup.cores) as target:
            answered, run = _rush(setup, prepared, target, what)
            target.child.kill()
        check_granted(answered, granted(event))
    finally:
        shutil.rmtree(directory)
    return run


def grab_from_set(setup: Setup, prepared: Prepared, what: str) -> Run:
    """Let the crowd grab from a gate on a set in Valkey, whose CPU time is counted, too."""
    directory = setup.scratch / "sets"
    try:
        with Sets(directory, setup.cores, 1) as sets:
            asyncio.run(_open_on(sets, prepared.packets))
            with serve_sets(sets.deploy(prepared.event), setup.cores, free_port()) as target:
                before_ns = sets.cpu_ns()
                answered, run = _rush(setup, prepared, target, what)
                extra_us = (sets.cpu_ns() - before_ns) / 1e3 / answered
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return msgspec.structs.replace(run, server_cpu_us=run.server_cpu_us + extra_us)


def _rush(setup: Setup, prepared: Prepared, target: Target, what: str) -> tuple[int, Run]:
    """Return how many requests were answered, and the run: it ends when nothing is left."""
    heads = write_heads_to(setup.scratch / "heads", target.port, (PATHS[what],))
    load = Load(
        port=target.port,
        connections=CONNECTIONS,
        seconds=DRAINED_MAX_S,
        mode=Mode.ONCE,
        tickets=prepared.tickets,
        heads=heads,
    )
    run = setup.load(target, load, refused_share_max=REFUSED_SHARE_MAX)
    if not run.summary.exhausted:
        raise ProcessFailed(f"{what}: something was left after {DRAINED_MAX_S} s")
    return run.summary.requests, run


FORMS: Final[dict[str, Callable[[Setup, Prepared, str], Run]]] = {"sqlite": grab_embedded, "valkey": grab_from_set}


def _measure(setup: Setup) -> Measured:
    prepared = prepare(setup)
    names = {(form, what): f"{what} ({form})" for form in FORMS for what in PATHS}
    seen = in_turns(
        setup,
        "small-pots",
        {names[form, what]: partial(grab, setup, prepared, what) for form, grab in FORMS.items() for what in PATHS},
    )
    return Measured(
        samples={
            figure.name: pairwise(rates(seen[names[form, SMALL]]), rates(seen[names[form, BIG]]))
            for form, figure in FIGURES.items()
        },
        runs={f"small-pots: {name}": runs for name, runs in seen.items()},
        details={
            f"small-pots: CPU of one big pot / of small ones, {form}": pairwise(
                cpu_us(seen[names[form, BIG]]), cpu_us(seen[names[form, SMALL]])
            )
            for form in FORMS
        },
    )


FIGURES: Final = {
    form: Figure(
        name=f"small-pots.{form}",
        title=f"grabs/s from {SMALL} at random, by those from one big pot ({form}, {CONNECTIONS} connections)",
        unit=Unit.RATIO,
        better=Better.HIGHER,
        bar=0.8,
    )
    for form in FORMS
}
SMALL_POTS = Measurement(
    name="small-pots",
    tools=frozenset({Tool.WRK, Tool.VALKEY}),
    figures=tuple(FIGURES.values()),
    measure=_measure,
)
