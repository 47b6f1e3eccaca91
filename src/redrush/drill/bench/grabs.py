"""Durable grabs: 512 connections, every request another user who gets a packet, each on the disk before its answer.

Every run of every contender starts from nothing: a fresh process, an empty pot, the same users. After a run the
grants on the disk (or in Redis) are counted: as many as were answered, and at most one per connection more.

Figures are CPU time of a grab: against nginx that of the gate alone, which records later; against nginx + Lua + Redis
that of both its servers, and ours with all that a grab causes: the run is over when the last grant is in the records.
A run begins when the grants of its warm-up are recorded: in the pause between the two the recorder would begin with
them, and its work stand in the gate's figure.
"""

import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import msgspec

from redrush.core.nobody import ignore
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
    unsaturated,
)
from redrush.drill.bench.peers import nginx_lua_redis, nginx_return, redis_granted
from redrush.drill.bench.subject import Event, RoundPlan, copy_of, granted, issue, make_event, serve
from redrush.drill.bench.tools import Tool
from redrush.drill.bench.wrk import Load, Mode, Run, write_heads, write_tickets
from redrush.processes.failure import ProcessFailed
from redrush.processes.pinned import Cores, Target

CONNECTIONS = 512
GRABS_PER_SECOND_MAX = 200_000
"""Tickets prepared per second of load: more than anything here answers. Running out of them fails the run."""
NGINX = "nginx return 200"
REDIS = "nginx + Lua + Redis"
OURS = "redrush"
RECORDED = "redrush with recording"
KNOWN = ", known head"
QUIET_S = 0.5
QUIET_SHARE = 0.1
"""A server that used less of its core than this for `QUIET_S` has nothing left to do: the recorder has caught up."""
RECORDING_MAX_S = 120.0

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


def grab(setup: Setup, prepared: Prepared, server: Server, heads: Heads = Heads.OWN, *, recorded: bool = False) -> Run:
    """Serve a copy of the event with `server`, let the crowd grab, and hold the disk against the answers.

    The server is ended by SIGKILL: what was answered must be on the disk without any farewell. `recorded`: not before
    it has recorded everything, and that is counted with its CPU time.
    """
    directory = setup.scratch / "run"
    event = copy_of(prepared.event, directory)
    try:
        with server(event, setup.cores) as target:
            answered, run = rush(setup, prepared, target, heads, between=_record)
            if recorded:
                run = _with_recording(target, run)
            target.child.kill()
        check_granted(answered, granted(event))
    finally:
        shutil.rmtree(directory)
    return run


def _with_recording(target: Target, run: Run) -> Run:
    """Wait for the records; return the run with a grab's share in the CPU time of that."""
    extra_us = _record(target) / 1e3 / run.summary.requests
    return msgspec.structs.replace(run, server_cpu_us=run.server_cpu_us + extra_us)


def _record(target: Target) -> int:
    """Wait until the server has nothing to do any more; return the CPU time that it took until then, in nanoseconds."""
    began_ns, began_s = target.cpu_ns(), time.monotonic()
    while time.monotonic() < began_s + RECORDING_MAX_S:
        before_ns = target.cpu_ns()
        time.sleep(QUIET_S)
        if target.cpu_ns() - before_ns < QUIET_SHARE * QUIET_S * 1e9:
            return before_ns - began_ns
    raise ProcessFailed(f"the records were not complete {RECORDING_MAX_S:g} s after the last grab")


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


def _ask_nginx(setup: Setup, prepared: Prepared, heads: Heads) -> Run:
    with nginx_return(setup.found, setup.cores, setup.scratch / "nginx", _LOSER_BODY) as target:
        return rush(setup, prepared, target, heads)[1]


def rush(
    setup: Setup,
    prepared: Prepared,
    target: Target,
    kind: Heads = Heads.OWN,
    between: Callable[[Target], object] = ignore,
) -> tuple[int, Run]:
    """Let the crowd grab; return how many requests were answered, warm-up included, and the run. `between` is called
    after the warm-up."""
    heads = write_heads(setup.scratch / "heads", target.port, heads=kind)
    return warm_and_run(setup, target, heads, prepared.warm_up, prepared.tickets, between)


def warm_and_run(
    setup: Setup,
    target: Target,
    heads: Path,
    warm_up: Path,
    tickets: Path,
    between: Callable[[Target], object] = ignore,
) -> tuple[int, Run]:
    """The same with these requests, and these files of tickets for the warm-up and for the run."""
    load = Load(
        port=target.port,
        connections=CONNECTIONS,
        seconds=WARM_UP_SECONDS,
        mode=Mode.ONCE,
        tickets=warm_up,
        heads=heads,
    )
    warm = setup.load(target, load)
    between(target)
    run = setup.load(target, msgspec.structs.replace(load, seconds=setup.seconds, tickets=tickets))
    if run.summary.exhausted:
        raise ProcessFailed(f"tickets ran out within {setup.seconds} s: GRABS_PER_SECOND_MAX is too small here")
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
            NGINX: partial(_ask_nginx, setup, prepared, Heads.OWN),
            RECORDED: partial(grab, setup, prepared, serve, recorded=True),
            REDIS: partial(grab_from_redis, setup, prepared),
            OURS + KNOWN: partial(grab, setup, prepared, serve, Heads.KNOWN),
            NGINX + KNOWN: partial(_ask_nginx, setup, prepared, Heads.KNOWN),
        },
    )
    measured = compare(
        [
            Against(VS_NGINX, seen[OURS], seen[NGINX]),
            Against(VS_REDIS, seen[RECORDED], seen[REDIS]),
            Against(VS_NGINX_KNOWN, seen[OURS + KNOWN], seen[NGINX + KNOWN]),
        ]
    )
    return msgspec.structs.replace(
        measured,
        runs={f"grabs: {name}": runs for name, runs in seen.items()},
        remarks=unsaturated("grabs", seen),
    )


VS_NGINX = Figure(
    name="grabs.vs-nginx",
    title=f"durable grabs, CPU of {NGINX} / ours, {CONNECTIONS} connections, {Heads.OWN}",
    unit=Unit.RATIO,
    better=Better.HIGHER,
    bar=0.42,
    aim=0.55,
)
VS_NGINX_KNOWN = Figure(
    name="grabs.vs-nginx.known",
    title=f"durable grabs, CPU of {NGINX} / ours, {CONNECTIONS} connections, {Heads.KNOWN}",
    unit=Unit.RATIO,
    better=Better.HIGHER,
    bar=0.55,
    aim=0.65,
)
VS_REDIS = Figure(
    name="grabs.vs-nginx-lua-redis",
    title=f"durable grabs with recording, CPU of {REDIS} (everysec) / ours, {CONNECTIONS} connections, {Heads.OWN}",
    unit=Unit.RATIO,
    better=Better.HIGHER,
    bar=1.8,
    aim=2.3,
)
GRABS = Measurement(
    name="grabs",
    tools=frozenset({Tool.NGINX, Tool.NGINX_LUA, Tool.REDIS, Tool.WRK}),
    figures=(VS_NGINX, VS_REDIS, VS_NGINX_KNOWN),
    measure=_measure,
)
