"""What a grab costs in CPU time as gates and sets multiply: gates and Valkey servers together, per answered grab.

Two cores cannot carry what eight gates or fifty sets are for, so this does not measure throughput. It looks for work
that grows with the number of the others: every gate follows the log of every set, asks every set about every round once
a second and keeps its own view of all of them, and every set serves every gate. All gates are on the server's core, all
Valkey servers on the other one with wrk, in every shape, so the shapes differ in nothing but the numbers.

What has to be kept equal is the queue: a batch costs the same for one claim or for a hundred, so with a fixed load the
cost per grab would rise because the batches shrink, as it would in one gate with fewer people. Therefore the loop is
closed, with `LANE_CONNECTIONS` for each way from a gate to a set; the claims in a batch are kept with the figures. On
machines of their own that means: the crowd grows with the product. Where it grows only with the gates, batches do
shrink, and what a grab costs then is measured too: the same connections on a gate, spread over fifty sets instead of
one. That is a detail without a bar, for it is no fixed number: it depends on how busy a set is, as its batches grow
again when it is.

What favours neither side cancels in the ratio. What is worse here than on machines of their own, and so makes the
figure an upper bound: dozens of processes that take turns on one core share its caches, and the second-by-second work of
fifty idle-running servers is put on the grabs of one core instead of fifty.
"""

import shutil
from contextlib import ExitStack
from functools import partial

import msgspec

from redrush.drill.bench.figures import Better, Figure, Unit, pairwise
from redrush.drill.bench.grabs import Prepared, check_granted, prepare, rush
from redrush.drill.bench.measuring import Measured, Measurement, Setup, in_turns
from redrush.drill.bench.processes import Target, allow_files, free_port
from redrush.drill.bench.sets import Sets, serve_sets
from redrush.drill.bench.tools import Tool
from redrush.drill.bench.wrk import Run

LANE_CONNECTIONS = 64
"""For each way from a gate to a set. With fifty sets one gate has 3,200, as many as one has in an event."""
WARM_UP_SECONDS = 3
"""Thousands of connections are not made in one second."""
GATES = 8
SETS = 50
FILES_BESIDE = 1_000


class Shape(msgspec.Struct, frozen=True):
    """So many gates over so many sets, with so many connections to all the gates together."""

    gates: int
    sets: int
    connections: int

    def __str__(self) -> str:
        gates, sets = f"{self.gates} gate{'s'[: self.gates > 1]}", f"{self.sets} set{'s'[: self.sets > 1]}"
        return f"{gates}, {sets}, {self.connections:,} connections"


ONE = Shape(1, 1, LANE_CONNECTIONS)
MANY_GATES = Shape(GATES, 1, GATES * LANE_CONNECTIONS)
MANY_SETS = Shape(1, SETS, SETS * LANE_CONNECTIONS)
SPREAD = Shape(1, SETS, LANE_CONNECTIONS)
"""The same people as in ONE, divided over fifty sets."""


class ShapeRun(msgspec.Struct, frozen=True):
    """A run in which `server_cpu_us` is that of all gates and servers; the servers' part, and claims in a batch."""

    run: Run
    valkey_cpu_us: float
    batch_claims: float


def grab_in_shape(setup: Setup, prepared: Prepared, shape: Shape) -> ShapeRun:
    """Serve the event in this shape, let the crowd grab, and hold the sets against the answers."""
    allow_files(shape.connections + FILES_BESIDE)
    directory = setup.scratch / "sets"
    try:
        with ExitStack() as stack:
            sets = stack.enter_context(Sets(directory, setup.cores, shape.sets))
            deployment, port = sets.deploy(prepared.event), free_port()
            gates = [stack.enter_context(serve_sets(deployment, setup.cores, port)) for _ in range(shape.gates)]
            others = (*(gate.child for gate in gates[1:]), *sets.children())
            before_ns = sets.cpu_ns()
            answered, run = rush(setup, prepared, Target(gates[0].child, port, others), shape.connections, WARM_UP_SECONDS)
            cpu_us = (sets.cpu_ns() - before_ns) / 1e3
            for gate in gates:
                gate.child.kill()
            held = sets.granted()
            check_granted(answered, held, shape.connections)
            return ShapeRun(run, cpu_us / answered, held / sets.batches())
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _measure(setup: Setup) -> Measured:
    prepared = prepare(setup)
    shapes = (ONE, MANY_GATES, MANY_SETS, SPREAD)
    in_shape: dict[Shape, list[ShapeRun]] = {shape: [] for shape in shapes}

    def grab(shape: Shape) -> Run:
        in_shape[shape].append(grab_in_shape(setup, prepared, shape))
        return in_shape[shape][-1].run

    seen = in_turns(setup, "scaling", {str(shape): partial(grab, shape) for shape in shapes})
    costs = {shape: [run.server_cpu_us for run in seen[str(shape)]] for shape in shapes}

    def extra(shape: Shape) -> tuple[float, ...]:
        return tuple(100 * (ratio - 1) for ratio in pairwise(costs[shape], costs[ONE]))

    details: dict[str, tuple[float, ...]] = {f"scaling: {SPREAD} instead of {ONE}, extra CPU in %": extra(SPREAD)}
    for shape, ran in in_shape.items():
        details[f"scaling: {shape}: µs of CPU per grab"] = tuple(costs[shape])
        details[f"scaling: {shape}: of these in Valkey"] = tuple(one.valkey_cpu_us for one in ran)
        details[f"scaling: {shape}: claims a batch"] = tuple(one.batch_claims for one in ran)
    return Measured(
        samples={BY_GATES.name: extra(MANY_GATES), BY_SETS.name: extra(MANY_SETS)},
        runs={f"scaling: {name}": runs for name, runs in seen.items()},
        details=details,
    )


def _figure(what: str, title: str) -> Figure:
    return Figure(name=f"scaling.{what}", title=title, unit=Unit.PERCENT, better=Better.LOWER, bar=15.0)


BY_GATES = _figure("gates", f"extra CPU per grab (gates and Valkey) with {GATES} gates instead of 1")
BY_SETS = _figure("sets", f"extra CPU per grab (gate and Valkey) with {SETS} sets instead of 1")
SCALING = Measurement(
    name="scaling", tools=frozenset({Tool.WRK, Tool.VALKEY}), figures=(BY_GATES, BY_SETS), measure=_measure
)
