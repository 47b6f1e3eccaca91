"""How long people wait when a server is busy but not beyond its strength: open loop at 70% of its measured maximum.

wrk's connections wait for their answers, so they slow down with the server and cannot show a queue. Here the crowd
generator sends at fixed times, and a latency counts from the time its request was meant to leave, so what the
generator itself adds (it shares no core with the server, but it is Python) is in the figure: it is an upper bound.
"""

import asyncio
import os
import shutil
import time
from statistics import median

import msgspec
import numpy as np
import uvloop

from redrush.drill.behaviour import ONCE
from redrush.drill.bench.figures import Better, Figure, Unit
from redrush.drill.bench.grabs import CONNECTIONS, OURS, Prepared, grab, prepare
from redrush.drill.bench.measuring import WARM_UP_SECONDS, Measured, Measurement, Setup, in_turns, rates
from redrush.drill.bench.subject import copy_of, granted, serve
from redrush.drill.bench.tools import Tool
from redrush.drill.crowd import Crowd, CrowdPlan, Target, count_endings
from redrush.drill.observations import Ending, Observations
from redrush.drill.schedules import Schedule, constant_rate
from redrush.processes.failure import ProcessFailed

SHARE_OF_MAXIMUM = 0.70
RUNS_OF_MAXIMUM = 3
"""Runs of wrk whose median is the maximum; enough for a share that is itself a round number."""
LEAD_US = 2_000_000
"""The schedule begins this long after the plan is made: time to open the connections."""
LATE_MS_MAX = 2.0
"""When the generator is later than this at p99, the figure says at least as much about it as about the server."""


class Waits(msgspec.Struct, frozen=True):
    """Latencies of one run in ms, the generator's own lateness among them, and the rate at which answers came."""

    p50_ms: float
    p99_ms: float
    p999_ms: float
    late_p99_ms: float
    rate_per_s: float


def _measure(setup: Setup) -> Measured:
    prepared = prepare(setup)
    most = msgspec.structs.replace(setup, runs=min(setup.runs, RUNS_OF_MAXIMUM))
    maximum = in_turns(most, "open loop, maximum", {OURS: lambda: grab(setup, prepared, serve)})[OURS]
    rate_per_s = SHARE_OF_MAXIMUM * median(rates(maximum))
    seen = []
    for k in range(setup.runs):
        seen.append(_rush(setup, prepared, rate_per_s))
        setup.tell(
            f"open loop: {k + 1}/{setup.runs}: {seen[-1].rate_per_s:,.0f}/s, p50 {seen[-1].p50_ms:.1f}, "
            f"p99 {seen[-1].p99_ms:.1f}, p99.9 {seen[-1].p999_ms:.1f} ms"
        )
    late_ms = median(waits.late_p99_ms for waits in seen)
    remarks = [f"open loop: the generator itself was late by {late_ms:.1f} ms at p99"] if late_ms > LATE_MS_MAX else []
    return Measured(
        samples={P99.name: tuple(waits.p99_ms for waits in seen)},
        runs={"open loop, maximum": maximum},
        details={
            "open loop: intended rate, 1/s": (rate_per_s,),
            "open loop: answers, 1/s": tuple(waits.rate_per_s for waits in seen),
            "open loop: p50, ms": tuple(waits.p50_ms for waits in seen),
            "open loop: p99.9, ms": tuple(waits.p999_ms for waits in seen),
            "open loop: generator late at p99, ms": tuple(waits.late_p99_ms for waits in seen),
        },
        remarks=tuple(remarks),
    )


def _rush(setup: Setup, prepared: Prepared, rate_per_s: float) -> Waits:
    """Let people come at the rate for the seconds of a run, after a warm-up that does not count."""
    directory = setup.scratch / "run"
    event = copy_of(prepared.event, directory)
    try:
        with serve(event, setup.cores) as target:
            observations = _send(setup, prepared, target.port, rate_per_s)
            target.child.kill()
        endings = count_endings(observations)
        if set(endings) != {Ending.GRANTED.label}:
            raise ProcessFailed(f"open loop: everybody should have got a packet, but: {dict(endings)}")
        if granted(event) != len(observations):
            raise ProcessFailed(f"open loop: {len(observations)} grants were answered, {granted(event)} are recorded")
    finally:
        shutil.rmtree(directory)
    return _waits(observations)


def _send(setup: Setup, prepared: Prepared, port: int, rate_per_s: float) -> Observations:
    times_s = constant_rate(rate_per_s, WARM_UP_SECONDS + setup.seconds)
    count = len(times_s)
    with prepared.tickets.open(encoding="ascii") as lines:
        tickets = [(f"person{k}", line.rstrip("\n")) for k, line in zip(range(count), lines, strict=False)]
    schedule = Schedule(times_s, np.arange(count, dtype=np.int32), np.zeros(count, dtype=np.uint8))
    plan = CrowdPlan(
        target=Target("127.0.0.1", port, ("rush",)),
        tickets=tickets,
        schedule=schedule,
        starts_us=time.time_ns() // 1_000 + LEAD_US,
        behaviour=ONCE,
        connections=CONNECTIONS,
    )
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {setup.cores.load})
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(Crowd(plan).run()).observations
    finally:
        os.sched_setaffinity(0, allowed)


def _waits(observations: Observations) -> Waits:
    """Return the percentiles of what was meant to be sent after the warm-up."""
    counted = observations.intended_s >= WARM_UP_SECONDS
    latency_ms = 1e3 * observations.latency_s[counted]
    late_ms = 1e3 * observations.late_s[counted]
    p50, p99, p999 = (float(value) for value in np.percentile(latency_ms, (50, 99, 99.9)))
    lasted_s = float(observations.ended_s[counted].max()) - WARM_UP_SECONDS
    return Waits(p50, p99, p999, float(np.percentile(late_ms, 99)), float(counted.sum()) / lasted_s)


P99 = Figure(
    name="open-loop.p99",
    title=f"p99 of durable grabs, open loop at {SHARE_OF_MAXIMUM:.0%} of the maximum",
    unit=Unit.MILLISECONDS,
    better=Better.LOWER,
    bar=20.0,
)
OPEN_LOOP = Measurement(name="open-loop", tools=frozenset({Tool.WRK}), figures=(P99,), measure=_measure)
