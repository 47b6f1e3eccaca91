"""Memory of the server per idle keep-alive connection, after one request each.

The figure is resident memory. PSS is kept beside it, but it also moves when any other process of the machine begins or
ends to share a library with the server.
"""

import socket
import time
from contextlib import ExitStack

from redrush.drill.bench.browser import exchange, grab_request
from redrush.drill.bench.figures import Better, Figure, Unit
from redrush.drill.bench.measuring import Measured, Measurement, Setup
from redrush.drill.bench.subject import Event, RoundPlan, grant_in_bulk, issue, make_event, serve
from redrush.processes.failure import ProcessFailed
from redrush.processes.open_files import allow_files
from redrush.processes.pinned import Target

CONNECTIONS = 5_000
FIRST_CONNECTIONS = 500
"""Opened before the first look at the memory, so that what a server allocates once is not counted per connection."""
FILES_BESIDE = 200
SETTLE_S = 7.0
"""After this time without requests a connection counts as idle: the gate forgets its last head after five seconds."""


def _measure(setup: Setup) -> Measured:
    allow_files(CONNECTIONS + FIRST_CONNECTIONS + FILES_BESIDE)
    event = make_event(setup.scratch / "event", [RoundPlan(packets=1)])
    grant_in_bulk(event, ["quickest"])
    tickets = issue(event, [f"user{k:06d}" for k in range(CONNECTIONS + FIRST_CONNECTIONS)])
    pss, rss = [], []
    for k in range(setup.runs):
        of_pss, of_rss = _bytes_per_connection(setup, event, tickets)
        pss.append(of_pss / 1024)
        rss.append(of_rss / 1024)
        setup.tell(f"memory: {k + 1}/{setup.runs}: {rss[-1]:.2f} KB a connection (PSS {pss[-1]:.2f})")
    return Measured(
        samples={PER_CONNECTION.name: tuple(rss)},
        details={"memory: PSS per idle connection, KB": tuple(pss)},
    )


def _bytes_per_connection(setup: Setup, event: Event, tickets: list[str]) -> tuple[float, float]:
    """Return what one more idle connection adds to the server's PSS and RSS, in bytes."""
    with ExitStack() as stack:
        target = stack.enter_context(serve(event, setup.cores))
        _connect(stack, target, tickets[:FIRST_CONNECTIONS])
        time.sleep(SETTLE_S)
        before = target.child.memory()
        _connect(stack, target, tickets[FIRST_CONNECTIONS:])
        time.sleep(SETTLE_S)
        after = target.child.memory()
    per_kib = 1024 / CONNECTIONS
    return (after.pss_kib - before.pss_kib) * per_kib, (after.rss_kib - before.rss_kib) * per_kib


def _connect(stack: ExitStack, target: Target, tickets: list[str]) -> None:
    for ticket in tickets:
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", target.port), 10))
        answer = exchange(connection, grab_request(target.port, ticket))
        if answer.status != 200:
            raise ProcessFailed(f"an idle connection was answered {answer.status}: {answer.body!r}")


PER_CONNECTION = Figure(
    name="memory.idle-connection",
    title=f"server memory per idle connection, {CONNECTIONS:,} of them",
    unit=Unit.KB,
    better=Better.LOWER,
    bar=3.0,
    aim=2.0,
)
MEMORY = Measurement(name="memory", tools=frozenset(), figures=(PER_CONNECTION,), measure=_measure)
