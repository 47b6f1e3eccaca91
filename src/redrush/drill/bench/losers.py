"""What it costs to tell somebody that they have not won, or have won already, against nginx `return 200`.

One server has three rounds: `sold` is sold out, `missed` lets nobody through its shake filter, `won` was won by
every user of the load. Each state is measured with every request from another user (the crowd of the first second),
and with each connection repeating its request byte for byte (a person who keeps tapping).
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from redrush.drill.bench.figures import Better, Figure, Unit, pairwise
from redrush.drill.bench.measuring import (
    WARM_UP_SECONDS,
    Measured,
    Measurement,
    Setup,
    in_turns,
    rates,
    unsaturated,
)
from redrush.drill.bench.peers import nginx_return
from redrush.drill.bench.processes import ProcessFailed, Target
from redrush.drill.bench.subject import Event, RoundPlan, expect, grant_in_bulk, granted, issue, make_event, serve
from redrush.drill.bench.tools import Tool
from redrush.drill.bench.wrk import Load, Mode, Run, write_heads, write_tickets

USERS = 100_000
"""Users of the load: more than a server could hold as its last seen, few enough to prepare in a second."""
CONNECTIONS = (128, 512)
MODES = {"fresh": Mode.CYCLE, "same": Mode.SAME}
ROUNDS = {"sold": "empty", "missed": "missed", "won": "granted"}
"""Round ids and the outcome that each of their claims must have."""
RELEASE_PER_S = 0.001
"""Packets a second of the round `missed`: one in a quarter of an hour."""
PEER = "nginx return 200"

_TITLES = {"sold": "sold out", "missed": "missed", "won": "repeat"}
_MODE_TITLES = {"fresh": "every request another user", "same": "each connection repeats its request"}


def _figure(round_id: str, mode: str, connections: int) -> Figure:
    return Figure(
        name=f"losers.{_TITLES[round_id].replace(' ', '-')}.{mode}.{connections}",
        title=f"{_TITLES[round_id]} vs {PEER}, {connections} connections, {_MODE_TITLES[mode]}",
        unit=Unit.RATIO,
        better=Better.HIGHER,
        bar=0.70,
        aim=0.90,
    )


def make_losers(setup: Setup) -> tuple[Event, Path, str]:
    """Return an event with the three rounds, a file of tickets, and the first ticket in it."""
    event = make_event(
        setup.scratch / "event",
        [
            RoundPlan(id="sold", packets=1),
            RoundPlan(id="missed", packets=USERS, release_per_s=RELEASE_PER_S),
            RoundPlan(id="won", packets=USERS),
        ],
    )
    users = [f"user{k:06d}" for k in range(USERS)]
    grant_in_bulk(event, ["quickest"], "sold")
    grant_in_bulk(event, users, "won")
    tickets = issue(event, users)
    return event, write_tickets(setup.scratch / "tickets", tickets), tickets[0]


def _measure(setup: Setup) -> Measured:
    setup.tell(f"losers: preparing {USERS:,} users")
    event, tickets, first_ticket = make_losers(setup)
    before = granted(event)
    samples: dict[str, tuple[float, ...]] = {}
    runs: dict[str, tuple[Run, ...]] = {}
    remarks: tuple[str, ...] = ()
    with serve(event, setup.cores) as ours:
        body = expect(ours.port, first_ticket, "empty", round_id="sold").decode()
        with nginx_return(setup.found, setup.cores, setup.scratch / "nginx", body) as nginx:
            for mode in MODES:
                for connections in CONNECTIONS:
                    what = f"losers {mode} {connections}"
                    seen = in_turns(
                        setup, what, _contenders(setup, ours, nginx, tickets, first_ticket, mode, connections)
                    )
                    for round_id in ROUNDS:
                        samples[_figure(round_id, mode, connections).name] = pairwise(
                            rates(seen[round_id]), rates(seen[PEER])
                        )
                    runs |= {f"{what}: {name}": of_name for name, of_name in seen.items()}
                    remarks += unsaturated(what, seen)
    answers = sum(run.summary.requests for name, of_name in runs.items() if "missed" in name for run in of_name)
    if granted(event) - before > answers // 1_000:
        raise ProcessFailed(f"losers: {granted(event) - before} claims won, though none should have")
    return Measured(samples=samples, runs=runs, remarks=remarks)


def _contenders(
    setup: Setup, ours: Target, nginx: Target, tickets: Path, first_ticket: str, mode: str, connections: int
) -> dict[str, Callable[[], Run]]:
    def load(target: Target, round_id: str, seconds: int) -> Load:
        heads = write_heads(setup.scratch / f"heads-{target.port}-{round_id}", target.port, (round_id,))
        return Load(
            port=target.port,
            connections=connections,
            seconds=seconds,
            mode=MODES[mode],
            tickets=tickets,
            heads=heads,
        )

    def ask_losers(round_id: str) -> Run:
        expect(ours.port, first_ticket, ROUNDS[round_id], round_id=round_id)
        run = setup.load(ours, load(ours, round_id, setup.seconds))
        expect(ours.port, first_ticket, ROUNDS[round_id], round_id=round_id)
        return run

    for round_id in ROUNDS:
        setup.load(ours, load(ours, round_id, WARM_UP_SECONDS))
    setup.load(nginx, load(nginx, "sold", WARM_UP_SECONDS))
    contenders: dict[str, Callable[[], Run]] = {round_id: partial(ask_losers, round_id) for round_id in ROUNDS}
    contenders[PEER] = lambda: setup.load(nginx, load(nginx, "sold", setup.seconds))
    return contenders


LOSERS = Measurement(
    name="losers",
    tools=frozenset({Tool.NGINX, Tool.WRK}),
    figures=tuple(_figure(r, m, c) for r in ROUNDS for m in MODES for c in CONNECTIONS),
    measure=_measure,
)
