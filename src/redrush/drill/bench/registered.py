"""Whether a grab costs more when millions are registered: server CPU per grab with audiences of 10,000 and 5,000,000.

The same 10,000 users grab in both cases, spread over the audience, each once in each of ten rounds. CPU time and not
wall time, since the difference that is looked for is smaller than what a shared disk adds.
"""

import random
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec

from redrush.drill.bench.figures import Better, Figure, Unit, pairwise
from redrush.drill.bench.measuring import Measured, Measurement, Setup, in_turns
from redrush.drill.bench.subject import Event, RoundPlan, copy_of, expect, granted, issue, make_event, serve
from redrush.drill.bench.tools import Tool
from redrush.drill.bench.wrk import Load, Mode, Run, write_heads, write_tickets
from redrush.processes.failure import ProcessFailed

FEW = 10_000
MANY = 5_000_000
ROUNDS = tuple(f"r{k}" for k in range(10))
WARM_UP_ROUND = "warm"
CONNECTIONS = 128
SEED = 20_270_206
SECONDS_MAX = 60
"""The run ends with its tickets; this only bounds it."""


class Registered(msgspec.Struct, frozen=True):
    """An event with an audience, and the tickets: each user's once per round, then once for the warm-up."""

    event: Event
    tickets: Path
    warm_up: Path
    stranger: str
    """A ticket of somebody who is not in the audience."""


def _prepare(setup: Setup, name: str, audience: Sequence[str], users: Sequence[str]) -> Registered:
    setup.tell(f"registered: preparing {len(audience):,} users")
    plans = [RoundPlan(id=round_id, packets=FEW + 1) for round_id in (*ROUNDS, WARM_UP_ROUND)]
    event = make_event(setup.scratch / name, plans, audience)
    *tickets, stranger = issue(event, [*users, "stranger"])
    return Registered(
        event,
        write_tickets(setup.scratch / f"{name}-tickets", (ticket for ticket in tickets for _ in ROUNDS)),
        write_tickets(setup.scratch / f"{name}-warm-up", tickets),
        stranger,
    )


def _grab_all(setup: Setup, registered: Registered) -> Run:
    """Let every user grab once in every round; return the run, which ends with the tickets."""
    directory = setup.scratch / "run"
    event = copy_of(registered.event, directory)
    try:
        with serve(event, setup.cores) as target:
            expect(target.port, registered.stranger, "not_eligible", round_id=ROUNDS[0])
            load = Load(
                port=target.port,
                connections=CONNECTIONS,
                seconds=SECONDS_MAX,
                mode=Mode.ONCE,
                tickets=registered.warm_up,
                heads=write_heads(setup.scratch / "warm-up-heads", target.port, (WARM_UP_ROUND,)),
            )
            setup.load(target, load)
            heads = write_heads(setup.scratch / "heads", target.port, ROUNDS)
            run = setup.load(target, msgspec.structs.replace(load, tickets=registered.tickets, heads=heads))
        durable, due = granted(event), FEW * (len(ROUNDS) + 1)
        # A run ends by closing its connections: what was under way on them, warm-up and run, may not have been read.
        if not due - 2 * CONNECTIONS <= durable <= due:
            raise ProcessFailed(f"{FEW} users grabbed in {len(ROUNDS) + 1} rounds, but {durable} grants are recorded")
    finally:
        shutil.rmtree(directory)
    return run


def _measure(setup: Setup) -> Measured:
    audience = [f"user{k:07d}" for k in range(MANY)]
    users = random.Random(SEED).sample(audience, FEW)  # noqa: S311 - a fixed sample, the same in every run
    few = _prepare(setup, "few", users, users)
    many = _prepare(setup, "many", audience, users)
    del audience
    names = (f"{FEW:,} users", f"{MANY:,} users")
    seen = in_turns(
        setup,
        "registered",
        {names[0]: partial(_grab_all, setup, few), names[1]: partial(_grab_all, setup, many)},
    )
    of_few, of_many = ([run.server_cpu_us for run in seen[name]] for name in names)
    return Measured(
        samples={COST.name: tuple(100 * (ratio - 1) for ratio in pairwise(of_many, of_few))},
        runs={f"registered: {name}": runs for name, runs in seen.items()},
    )


COST = Figure(
    name="registered.cost",
    title=f"extra server CPU per grab with {MANY:,} instead of {FEW:,} registered users",
    unit=Unit.PERCENT,
    better=Better.LOWER,
    bar=20.0,
    aim=5.0,
)
REGISTERED = Measurement(name="registered", tools=frozenset({Tool.WRK}), figures=(COST,), measure=_measure)
