"""What it costs to tell somebody that they have not won, or have won already, against nginx `return 200`.

One server has three rounds: `sold` is sold out, `missed` lets nobody through its shake filter, `won` was won by
every user of the load. Each state is measured in three modes: every request from another user, with bytes of its own
and a body, as it comes through a CDN; the same with a head that only its ticket tells from others; and each connection
repeating its request byte for byte (a person who keeps tapping). The peer gets the same bytes.

Figures are CPU time of an answer: throughput on two cores that others share follows the noise. It stands beside.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from redrush.drill.bench.browser import Heads
from redrush.drill.bench.figures import Better, Figure, Unit
from redrush.drill.bench.measuring import (
    WARM_UP_SECONDS,
    Against,
    Measured,
    Measurement,
    Setup,
    compare,
    in_turns,
)
from redrush.drill.bench.peers import nginx_return
from redrush.drill.bench.subject import Event, RoundPlan, expect, grant_in_bulk, granted, issue, make_event, serve
from redrush.drill.bench.tools import Tool
from redrush.drill.bench.wrk import Load, Mode, Run, write_heads, write_tickets
from redrush.processes.failure import ProcessFailed
from redrush.processes.pinned import Target

USERS = 100_000
"""Users of the load: more than a server could hold as its last seen, few enough to prepare in a second."""
CONNECTIONS = (128, 512)
OWN, KNOWN, SAME = "own", "known", "same"
MODES = {OWN: (Mode.CYCLE, Heads.OWN), KNOWN: (Mode.CYCLE, Heads.KNOWN), SAME: (Mode.SAME, Heads.OWN)}
ROUNDS = {"sold": "empty", "missed": "missed", "won": "granted"}
"""Round ids and the outcome that each of their claims must have."""
RELEASE_PER_S = 0.001
"""Packets a second of the round `missed`: one in a quarter of an hour."""
DRAWN = "drawn"
"""The round that is a draw: each of its plays misses. It is not asked by those who repeat, who have so many plays."""
PEER = "nginx return 200"

_TITLES = {"sold": "sold out", "missed": "missed", "won": "repeat"}
_MODE_TITLES = {OWN: "own head and body", KNOWN: "known head", SAME: "same connection repeats"}
_BARS = {OWN: (0.62, 0.80), KNOWN: (0.70, 0.90), SAME: (0.70, 0.90)}


def _figure(round_id: str, mode: str, connections: int) -> Figure:
    bar, aim = _BARS[mode]
    return Figure(
        name=f"losers.{_TITLES[round_id].replace(' ', '-')}.{mode}.{connections}",
        title=f"{_TITLES[round_id]}, CPU of {PEER} / ours, {connections} connections, {_MODE_TITLES[mode]}",
        unit=Unit.RATIO,
        better=Better.HIGHER,
        bar=bar,
        aim=aim,
    )


def _own_against_known(connections: int) -> Figure:
    return Figure(
        name=f"losers.own-against-known.{connections}",
        title=f"sold out, CPU of an own head and body / of a known head, {connections} connections",
        unit=Unit.RATIO,
        better=Better.LOWER,
        bar=1.25,
        aim=1.10,
    )


def _drawn(mode: str, connections: int) -> Figure:
    return Figure(
        name=f"losers.drawn.{mode}.{connections}",
        title=f"CPU of a draw's miss / of sold out, {connections} connections, {_MODE_TITLES[mode]}",
        unit=Unit.RATIO,
        better=Better.LOWER,
        bar=1.3,
        aim=1.15,
    )


def make_losers(setup: Setup) -> tuple[Event, Path, str]:
    """Return an event with the three rounds, a file of tickets, and the first ticket in it."""
    event = make_event(
        setup.scratch / "event",
        [
            RoundPlan(id="sold", packets=1),
            RoundPlan(id="missed", packets=USERS, release_per_s=RELEASE_PER_S),
            RoundPlan(id="won", packets=USERS),
            RoundPlan(id=DRAWN, packets=1, drawn=True),
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
    runs: dict[str, tuple[Run, ...]] = {}
    pairs: list[Against] = []
    with serve(event, setup.cores) as ours:
        body = expect(ours.port, first_ticket, "empty", round_id="sold").decode()
        with nginx_return(setup.found, setup.cores, setup.scratch / "nginx", body) as nginx:
            for connections in CONNECTIONS:
                what = f"losers {connections}"
                seen = in_turns(setup, what, _contenders(setup, ours, nginx, tickets, first_ticket, connections))
                for mode in MODES:
                    for round_id in ROUNDS:
                        figure = _figure(round_id, mode, connections)
                        pairs.append(Against(figure, seen[f"{round_id} {mode}"], seen[f"{PEER} {mode}"]))
                runs |= {f"{what}: {name}": of_name for name, of_name in seen.items()}
    answers = sum(run.summary.requests for name, of_name in runs.items() if "missed" in name for run in of_name)
    if granted(event) - before > answers // 1_000:
        raise ProcessFailed(f"losers: {granted(event) - before} claims won, though none should have")
    own = {_own_against_known(c).name: runs[f"losers {c}: sold {OWN}"] for c in CONNECTIONS}
    for connections in CONNECTIONS:
        figure = _own_against_known(connections)
        pairs.append(Against(figure, runs[f"losers {connections}: sold {KNOWN}"], own[figure.name]))
        for mode in (OWN, KNOWN):
            drawn = _drawn(mode, connections)
            own[drawn.name] = runs[f"losers {connections}: {DRAWN} {mode}"]
            pairs.append(Against(drawn, runs[f"losers {connections}: sold {mode}"], own[drawn.name]))
    measured = compare(pairs)
    return msgspec.structs.replace(measured, ours={**measured.ours, **own}, runs=runs)


def _contenders(
    setup: Setup, ours: Target, nginx: Target, tickets: Path, first_ticket: str, connections: int
) -> dict[str, Callable[[], Run]]:
    def load(target: Target, round_id: str, mode: str, seconds: int) -> Run:
        order, kind = MODES[mode]
        file = setup.scratch / f"heads-{target.port}-{round_id}-{mode}"
        heads = write_heads(file, target.port, (round_id,), kind)
        wanted = Load(
            port=target.port, connections=connections, seconds=seconds, mode=order, tickets=tickets, heads=heads
        )
        return setup.load(target, wanted)

    def ask_losers(round_id: str, mode: str) -> Run:
        outcome = ROUNDS.get(round_id, "missed")
        expect(ours.port, first_ticket, outcome, round_id=round_id)
        run = load(ours, round_id, mode, setup.seconds)
        expect(ours.port, first_ticket, outcome, round_id=round_id)
        return run

    contenders: dict[str, Callable[[], Run]] = {}
    for mode in MODES:
        for round_id in (*ROUNDS, *((DRAWN,) if mode != SAME else ())):
            load(ours, round_id, mode, WARM_UP_SECONDS)
            contenders[f"{round_id} {mode}"] = partial(ask_losers, round_id, mode)
        load(nginx, "sold", mode, WARM_UP_SECONDS)
        contenders[f"{PEER} {mode}"] = partial(load, nginx, "sold", mode, setup.seconds)
    return contenders


LOSERS = Measurement(
    name="losers",
    tools=frozenset({Tool.NGINX, Tool.WRK}),
    figures=(
        *(_figure(r, m, c) for m in MODES for r in ROUNDS for c in CONNECTIONS),
        *(_own_against_known(c) for c in CONNECTIONS),
        *(_drawn(m, c) for m in (OWN, KNOWN) for c in CONNECTIONS),
    ),
    measure=_measure,
)
