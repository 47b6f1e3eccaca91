"""Restart after a crash: a journal with a million grants, until `redrush serve` prints `ready`.

The journal is made by the real store. Each time the server is ended by SIGKILL, so that every start finds what a
crash leaves. That it is ready is believed only when it then repeats a grant from the journal.
"""

import time

from redrush.drill.bench.figures import Better, Figure, Unit
from redrush.drill.bench.measuring import Measured, Measurement, Setup
from redrush.drill.bench.subject import RoundPlan, expect, grant_in_bulk, issue, make_event, serve

GRANTS = 1_000_000


def _measure(setup: Setup) -> Measured:
    setup.tell(f"restart: writing a journal of {GRANTS:,} grants")
    event = make_event(setup.scratch / "event", [RoundPlan(packets=GRANTS)])
    users = [f"user{k:07d}" for k in range(GRANTS)]
    grant_in_bulk(event, users)
    (ticket,) = issue(event, [users[GRANTS // 2]])
    samples = []
    for k in range(setup.runs):
        start_s = time.perf_counter()
        with serve(event, setup.cores) as target:
            samples.append(time.perf_counter() - start_s)
            expect(target.port, ticket, "granted", repeat=True)
            target.child.kill()
        setup.tell(f"restart: {k + 1}/{setup.runs}: {samples[-1]:.2f} s")
    return Measured(samples={READY.name: tuple(samples)})


READY = Figure(
    name="restart.million-grants",
    title=f"restart with {GRANTS:,} journaled grants, until ready",
    unit=Unit.SECONDS,
    better=Better.LOWER,
    bar=5.0,
    aim=2.0,
)
RESTART = Measurement(name="restart", tools=frozenset(), figures=(READY,), measure=_measure)
