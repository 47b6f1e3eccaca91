"""What a grab costs in CPU time as gates and sets multiply: gates and Valkey servers together, per grab.

Two cores cannot carry what eight gates or fifty sets are for, so this does not measure throughput. It looks for work
that grows with the number of the others: every gate follows the log of every set, asks every set about every round once
a second and keeps its own view of all of them, and every set serves every gate. All gates are on the server's core, all
Valkey servers on the other one with wrk, in every shape, so the shapes differ in nothing but the numbers.

What has to be kept equal is the batch: a call and an fsync cost much the same for one claim as for fifty. So the loop
is closed, with the same connections for each gate; and with fifty sets the users come in clumps of one set, `CLUMP`
after each other on more connections, so that they gather as they do where there is one set. The claims in a batch are
kept with the figures: a figure means something where they are about the same.
A crowd in any order spreads over the sets: batches shrink, and a grab costs more, the more sets a gate with few people
has. That shape is measured too, without a bar: what it says depends on how busy sets and gates are, for batches grow
again when they are.

Some things are worse here than on machines of their own, which makes the figures upper bounds: dozens of processes
that take turns on one core share its caches, and what gates and fifty servers do each second, asked or not, falls on
what one core can grab. So these figures need a quiet machine more than others do; what an idle second costs is kept.
"""

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import msgspec

from redrush.core.sets.division import home
from redrush.drill.bench.figures import Better, Figure, Unit, pairwise
from redrush.drill.bench.measuring import Measured, Measurement, Setup, in_turns
from redrush.drill.bench.sets import Sets, serve_sets
from redrush.drill.bench.subject import Event, RoundPlan, issue, make_event
from redrush.drill.bench.tools import Tool
from redrush.drill.bench.wrk import Load, Mode, Run, write_heads, write_tickets
from redrush.processes.failure import ProcessFailed
from redrush.processes.loopback import free_port
from redrush.processes.open_files import allow_files
from redrush.processes.pinned import Target

GATE_CONNECTIONS = 96
MANY_SETS_CONNECTIONS = 256
CLUMP = 128
"""Users of the same set in a row. A clump is divided into two batches or so, as are the connections of a gate with one
set: with these three numbers a batch has some 65 claims in every shape."""
GRABS_PER_SECOND = 15_000
"""A run has this many grabs for each second that it should last, however long they take: it is about CPU time."""
WARM_UP_GRABS = 10_000
SETTLED_S = 2.5
"""After their start, gates do no more by then than they do for ever where nobody asks."""
IDLE_S = 1.0
SECONDS_MAX = 60
"""A run ends with its tickets; this only bounds it."""
GATES = 8
SETS = 50
FILES_BESIDE = 1_000


class Shape(msgspec.Struct, frozen=True):
    """How many gates serve how many sets; the crowd comes in clumps of one set or in any order."""

    gates: int
    sets: int
    connections: int
    """To all the gates together."""
    clump: int = CLUMP

    def __str__(self) -> str:
        gates, sets = f"{self.gates} gate{'s'[: self.gates > 1]}", f"{self.sets} set{'s'[: self.sets > 1]}"
        return f"{gates}, {sets}" + (", in any order" if self.clump == 1 else "")


ONE = Shape(1, 1, GATE_CONNECTIONS)
MANY_GATES = Shape(GATES, 1, GATES * GATE_CONNECTIONS)
MANY_SETS = Shape(1, SETS, MANY_SETS_CONNECTIONS)
SPREAD = Shape(1, SETS, MANY_SETS_CONNECTIONS, clump=1)


class Crowd(msgspec.Struct, frozen=True):
    """An event, and tickets of a warm-up and of a run by clump and sets: the same people in different orders."""

    event: Event
    warm_up: list[tuple[str, str]]
    run: list[tuple[str, str]]
    """User and ticket."""


class ShapeRun(msgspec.Struct, frozen=True):
    """A run in which `server_cpu_us` is that of all gates and servers; the servers' part, claims in a batch, and the
    CPU time that gates and servers use in a second in which nobody asks, in ms."""

    run: Run
    valkey_cpu_us: float
    batch_claims: float
    idle_cpu_ms: float

    @property
    def beyond_idle_us(self) -> float:
        """CPU time of a grab without what the processes would have used in that time anyway."""
        summary = self.run.summary
        return self.run.server_cpu_us - self.idle_cpu_ms * 1e-3 * summary.duration_us / summary.requests


def make_crowd(setup: Setup, grabs: int) -> Crowd:
    """Prepare users for a warm-up and `grabs` grabs, and a packet for each."""
    count = WARM_UP_GRABS + grabs
    setup.tell(f"scaling: preparing {count:,} users and packets")
    # A pot with something left: nobody has to find out that it is sold out.
    event = make_event(setup.scratch / "event", [RoundPlan(packets=2 * count)])
    users = [f"user{k:07d}" for k in range(count)]
    people = list(zip(users, issue(event, users), strict=True))
    return Crowd(event, people[:WARM_UP_GRABS], people[WARM_UP_GRABS:])


def in_clumps(people: list[tuple[str, str]], sets: int, clump: int) -> Iterator[str]:
    """Yield the tickets so that `clump` users of one set follow each other, as long as there are enough."""
    homes: list[list[str]] = [[] for _ in range(sets)]
    for user, ticket in people:
        homes[home(user, sets)].append(ticket)
    for start in range(0, max(map(len, homes)), clump):
        for tickets in homes:
            yield from tickets[start : start + clump]


def grab_in_shape(setup: Setup, crowd: Crowd, shape: Shape) -> ShapeRun:
    """Serve the event in this shape, let everybody grab, and hold the sets against that."""
    allow_files(shape.connections + FILES_BESIDE)
    directory = setup.scratch / "sets"
    try:
        with ExitStack() as stack:
            sets = stack.enter_context(Sets(directory, setup.cores, shape.sets))
            deployment, port = sets.deploy(crowd.event), free_port()
            gates = [stack.enter_context(serve_sets(deployment, setup.cores, port)) for _ in range(shape.gates)]
            others = (*(gate.child for gate in gates[1:]), *sets.children())
            target = Target(gates[0].child, port, others)
            time.sleep(SETTLED_S)
            idle_ns = target.cpu_ns()
            time.sleep(IDLE_S)
            idle_ms = (target.cpu_ns() - idle_ns) / 1e6 / IDLE_S
            warm_up, tickets = (
                write_tickets(setup.scratch / name, in_clumps(people, shape.sets, shape.clump))
                for name, people in (("warm-up", crowd.warm_up), ("tickets", crowd.run))
            )
            load = Load(
                port=port,
                connections=shape.connections,
                seconds=SECONDS_MAX,
                mode=Mode.ONCE,
                tickets=warm_up,
                heads=write_heads(setup.scratch / "heads", port),
            )
            setup.load(target, load)
            before, before_ns = sets.granted(), sets.cpu_ns()
            run = setup.load(target, msgspec.structs.replace(load, tickets=tickets))
            cpu_us, held = (sets.cpu_ns() - before_ns) / 1e3, sets.granted()
            # A run ends by closing its connections: what was under way on them, in both runs, may not have been read.
            due = len(crowd.warm_up) + len(crowd.run)
            if not run.summary.exhausted or not due - 2 * shape.connections <= held <= due:
                raise ProcessFailed(f"{shape}: {due:,} users grabbed, but {held:,} hold a grant")
            return ShapeRun(run, cpu_us / (held - before), held / sets.batches(), idle_ms)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _measure(setup: Setup) -> Measured:
    crowd = make_crowd(setup, setup.seconds * GRABS_PER_SECOND)
    shapes = (ONE, MANY_GATES, MANY_SETS)
    in_shape: dict[Shape, list[ShapeRun]] = {shape: [] for shape in (*shapes, SPREAD)}

    def grab(shape: Shape) -> Run:
        in_shape[shape].append(grab_in_shape(setup, crowd, shape))
        return in_shape[shape][-1].run

    seen = in_turns(setup, "scaling", {str(shape): partial(grab, shape) for shape in shapes})
    remarks: tuple[str, ...] = ()
    try:
        seen |= in_turns(setup, "scaling", {str(SPREAD): partial(grab, SPREAD)})
    except ProcessFailed as fault:  # it explains the figures and is none of them
        remarks = (f"scaling: {SPREAD}: not measured: {fault}",)
        del in_shape[SPREAD]
    costs = {shape: [run.server_cpu_us for run in seen[str(shape)]] for shape in in_shape}

    def extra(shape: Shape) -> tuple[float, ...]:
        return tuple(100 * (ratio - 1) for ratio in pairwise(costs[shape], costs[ONE]))

    details: dict[str, tuple[float, ...]] = {}
    for shape, ran in in_shape.items():
        details[f"scaling: {shape}: µs of CPU per grab"] = tuple(costs[shape])
        details[f"scaling: {shape}: of these in Valkey"] = tuple(one.valkey_cpu_us for one in ran)
        details[f"scaling: {shape}: claims a batch"] = tuple(one.batch_claims for one in ran)
        details[f"scaling: {shape}: ms of CPU in an idle second"] = tuple(one.idle_cpu_ms for one in ran)
        details[f"scaling: {shape}: µs of CPU per grab beyond idle"] = tuple(one.beyond_idle_us for one in ran)
    return Measured(
        samples={BY_GATES.name: extra(MANY_GATES), BY_SETS.name: extra(MANY_SETS)},
        runs={f"scaling: {name}": runs for name, runs in seen.items()},
        details=details,
        remarks=remarks,
    )


def _figure(what: str, title: str) -> Figure:
    return Figure(name=f"scaling.{what}", title=title, unit=Unit.PERCENT, better=Better.LOWER, bar=15.0)


BY_GATES = _figure("gates", f"extra CPU per grab (gates and Valkey) with {GATES} gates instead of 1")
BY_SETS = _figure("sets", f"extra CPU per grab (gate and Valkey) with {SETS} sets instead of 1")
SCALING = Measurement(
    name="scaling", tools=frozenset({Tool.WRK, Tool.VALKEY}), figures=(BY_GATES, BY_SETS), measure=_measure
)
