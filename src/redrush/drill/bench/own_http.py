"""What the gate's own HTTP protocol is worth: the same handler behind uvicorn (uvloop, httptools), see `asgi`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec

from redrush.drill.bench.figures import Better, Figure, Unit, pairwise
from redrush.drill.bench.grabs import OURS, grab, prepare
from redrush.drill.bench.losers import make_losers
from redrush.drill.bench.measuring import WARM_UP_SECONDS, Measured, Measurement, Setup, in_turns, rates, unsaturated
from redrush.drill.bench.subject import Event, copy_of, expect, serve
from redrush.drill.bench.tools import Tool
from redrush.drill.bench.wrk import Load, Mode, Run, write_heads
from redrush.processes.failure import ProcessFailed
from redrush.processes.loopback import free_port
from redrush.processes.pinned import Child, Cores, Target

UVICORN = "same handler on uvicorn"
LOSER_CONNECTIONS = 128


@contextmanager
def serve_on_uvicorn(event: Event, cores: Cores) -> Iterator[Target]:
    """Serve the event with the gate behind uvicorn, on the server's core."""
    if find_spec("uvicorn") is None:
        raise ProcessFailed("uvicorn, the peer of the gate's own HTTP, is not installed: pip install uvicorn")
    port = free_port()
    argv = [sys.executable, "-m", "redrush.drill.bench.asgi", str(event.file), str(event.data.root), str(port)]
    with Child(argv, cores.server, log=event.data.root.with_suffix(".log"), name="uvicorn") as child:
        child.wait_for_line("ready")
        child.wait_for_socket(("127.0.0.1", port))
        yield Target(child, port)


def _measure(setup: Setup) -> Measured:
    prepared = prepare(setup)
    grabs = in_turns(
        setup,
        "uvicorn, grabs",
        {OURS: partial(grab, setup, prepared, serve), UVICORN: partial(grab, setup, prepared, serve_on_uvicorn)},
    )
    losers = _lose(setup.within("losers"))
    return Measured(
        samples={
            ON_GRABS.name: pairwise(rates(grabs[OURS]), rates(grabs[UVICORN])),
            ON_LOSERS.name: pairwise(rates(losers[OURS]), rates(losers[UVICORN])),
        },
        runs={f"uvicorn, grabs: {name}": runs for name, runs in grabs.items()}
        | {f"uvicorn, losers: {name}": runs for name, runs in losers.items()},
        remarks=unsaturated("uvicorn, grabs", grabs) + unsaturated("uvicorn, losers", losers),
    )


def _lose(setup: Setup) -> dict[str, tuple[Run, ...]]:
    """Sold out, every request another user, from servers that both stay up: only one is under load at a time."""
    event, tickets, first_ticket = make_losers(setup)

    def ask(target: Target, seconds: int) -> Run:
        expect(target.port, first_ticket, "empty", round_id="sold")
        load = Load(
            port=target.port,
            connections=LOSER_CONNECTIONS,
            seconds=seconds,
            mode=Mode.CYCLE,
            tickets=tickets,
            heads=write_heads(setup.scratch / f"heads-{target.port}", target.port, ("sold",)),
        )
        return setup.load(target, load)

    other = copy_of(event, setup.scratch / "other")
    with serve(event, setup.cores) as ours, serve_on_uvicorn(other, setup.cores) as uvicorn:
        for target in (ours, uvicorn):
            ask(target, WARM_UP_SECONDS)
        contenders = {OURS: partial(ask, ours, setup.seconds), UVICORN: partial(ask, uvicorn, setup.seconds)}
        return in_turns(setup, "uvicorn, losers", contenders)


def _figure(what: str, title: str) -> Figure:
    return Figure(name=f"uvicorn.{what}", title=title, unit=Unit.RATIO, better=Better.HIGHER, bar=1.5, aim=2.5)


ON_GRABS = _figure("grabs", f"durable grabs vs {UVICORN}, 512 connections")
ON_LOSERS = _figure("losers", f"sold out vs {UVICORN}, {LOSER_CONNECTIONS} connections")
OWN_HTTP = Measurement(name="uvicorn", tools=frozenset({Tool.WRK}), figures=(ON_GRABS, ON_LOSERS), measure=_measure)
