"""Durable grabs: 512 connections, every request another user who gets a packet, each on the disk before its answer.

Every run of every contender starts from nothing: a fresh process, an empty pot, the same users. After a run the
grants on the disk (or in Redis) are counted: as many as were answered, and at most one per connection more.
"""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import msgspec

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
from redrush.drill.bench.peers import nginx_lua_redis, nginx_return, redis_granted
from redrush.drill.bench.processes import Cores, ProcessFailed, Target
from redrush.drill.bench.subject import Event, RoundPlan, copy_of, granted, issue, make_event, serve
from redrush.drill.bench.tools import Tool
from redrush.drill.bench.wrk import Load, Mode, Run, write_heads, write_tickets

CONNECTIONS = 512
GRABS_PER_SECOND_MAX = 200_000
"""Tickets prepared per second of load: more than anything here answers. Running out of them fails the run."""
NGINX = "nginx return 200"
REDIS = "nginx + Lua + Redis"
OURS = "redrush"

_LOSER_BODY = '{"outcome":"empty"}'

Server = Callable[[Event, Cores], AbstractContextManager[Target]]
"""Serves an event: `redrush serve`, or the same gate behind another HTTP server."""


class Prepared(msgspec.Struct, frozen=True):
    """An event nobody has grabbed from yet, and the tickets of those who will: for the warm-up, and for the run."""

    event: Event
    warm_up: Path
    tickets: Path
    slots: int


def prepare(setup: Setup) -> Prepared:
    """Prepare users and packets enough for a warm-up and a run."""
    warm = WARM_UP_SECONDS * GRABS_PER_SECOND_MAX
    count = warm + setup.seconds * GRABS_PER_SECOND_MAX
    setup.tell(f"grabs: preparing {count:,} users and packets")
    event = make_event(setup.scratch / "event", [RoundPlan(packets=count + 1)])
    tickets = issue(event, [f"user{k:07d}" for k in range(count)])
    return Prepared(
        event,
        write_tickets(setup.scratch / "warm-up", tickets[:warm]),
        write_tickets(setup.scratch / "tickets", tickets[warm:]),
        count + 1,
    )


def grab(setup: Setup, prepared: Prepared, server: Server) -> Run:
    """Serve a copy of the event with `server`, let the crowd grab, and hold the disk against the answers.

    The server is ended by SIGKILL: what was answered must be on the disk without any farewell.
    """
    directory = setup.scratch / "run"
    event = copy_of(prepared.event, directory)
    try:
        with server(event, setup.cores) as target:
            answered, run = rush(setup, prepared, target)
            target.child.kill()
        check_granted(answered, granted(event))
    finally:
        shutil.rmtree(directory)
    return run


def grab_from_redis(setup: Setup, prepared: Prepared) -> Run:
    """Let the crowd grab from the peer, and hold its Redis against the answers."""
    directory = setup.scratch / "redis"
    try:
        with nginx_lua_redis(setup.found, setup.cores, directory, prepared.slots) as target:
            answered, run = rush(setup, prepared, target)
            check_granted(answered, redis_granted(directory))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return run


def _ask_nginx(setup: Setup, prepared: Prepared) -> Run:
    with nginx_return(setup.found, setup.cores, setup.scratch / "nginx", _LOSER_BODY) as target:
        return rush(setup, prepared, target)[1]


def rush(setup: Setup, prepared: Prepared, target: Target) -> tuple[int, Run]:
    """Let the crowd grab; return how many requests were answered, warm-up included, and the run."""
    heads = write_heads(setup.scratch / "heads", target.port)
    load = Load(
        port=target.port,
        connections=CONNECTIONS,
        seconds=WARM_UP_SECONDS,
        mode=Mode.ONCE,
        tickets=prepared.warm_up,
        heads=heads,
    )
    warm = setup.load(target, load)
    run = setup.load(target, msgspec.structs.replace(load, seconds=setup.seconds, tickets=prepared.tickets))
    if run.summary.exhausted:
        raise ProcessFailed(f"more than {GRABS_PER_SECOND_MAX:,} grabs/s: GRABS_PER_SECOND_MAX is too small here")
    return warm.summary.requests + run.summary.requests, run


def check_granted(answered: int, durable: int, connections: int = CONNECTIONS) -> None:
    """Raise ProcessFailed unless as many grants are durable as were answered, and at most what was under way more."""
    if not answered <= durable <= answered + 2 * connections:
        raise ProcessFailed(f"{answered} grabs were answered as granted, but {durable} are recorded")


def _measure(setup: Setup) -> Measured:
    prepared = prepare(setup)
    seen = in_turns(
        setup,
        "grabs",
        {
            OURS: partial(grab, setup, prepared, serve),
            NGINX: partial(_ask_nginx, setup, prepared),
            REDIS: partial(grab_from_redis, setup, prepared),
        },
    )
    ours = rates(seen[OURS])
    return Measured(
        samples={VS_NGINX.name: pairwise(ours, rates(seen[NGINX])), VS_REDIS.name: pairwise(ours, rates(seen[REDIS]))},
        runs={f"grabs: {name}": runs for name, runs in seen.items()},
        remarks=unsaturated("grabs", seen),
    )


VS_NGINX = Figure(
    name="grabs.vs-nginx",
    title=f"durable grabs vs {NGINX}, {CONNECTIONS} connections",
    unit=Unit.RATIO,
    better=Better.HIGHER,
    bar=0.50,
    aim=0.65,
)
VS_REDIS = Figure(
    name="grabs.vs-nginx-lua-redis",
    title=f"durable grabs vs {REDIS} (everysec), {CONNECTIONS} connections",
    unit=Unit.RATIO,
    better=Better.HIGHER,
    bar=1.0,
    aim=1.5,
)
GRABS = Measurement(
    name="grabs",
    tools=frozenset({Tool.NGINX, Tool.NGINX_LUA, Tool.REDIS, Tool.WRK}),
    figures=(VS_NGINX, VS_REDIS),
    measure=_measure,
)
