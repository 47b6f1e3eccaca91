"""What one needs to plan an event of many machines: CPU per grab, per loser and per recorded grant; bytes per grant and
per registered user. Details for the JSON, but for the recorder's pace, which has a bar.

CPU times are of this machine, whose name stands with them; bytes are the same everywhere. Users here have ids of 11 to
13 characters; longer ids take as many bytes more, in Valkey twice until the log is trimmed, in PostgreSQL three times.
"""

import time
from contextlib import ExitStack
from functools import partial

from redrush.drill.bench.browser import ask
from redrush.drill.bench.figures import Better, Figure, Unit
from redrush.drill.bench.grabs import CONNECTIONS, prepare
from redrush.drill.bench.measuring import WARM_UP_SECONDS, Measured, Measurement, Setup, in_turns
from redrush.drill.bench.recording import Database, Recording, fill_log, record
from redrush.drill.bench.sets import Sets, serve_sets
from redrush.drill.bench.subject import Event, RoundPlan, expect, issue, make_event
from redrush.drill.bench.tools import Tool
from redrush.drill.bench.valkey_grabs import SetRun, grab_from_sets
from redrush.drill.bench.wrk import Load, Mode, Run, write_heads, write_tickets
from redrush.processes.failure import ProcessFailed
from redrush.processes.loopback import free_port
from redrush.processes.pinned import Target

BACKLOG_PER_SECOND = 200_000
"""Grants in the backlog for each second that a run should last."""
LOSERS = 100_000
LOSING = {"missed": "missed", "sold": "empty"}
"""Rounds without a packet to win, and what the losers of each are told."""
RELEASE_PER_S = 0.001
SOLD_OUT_MAX_S = 15.0
"""Until a gate has found out that a round is sold out: it looks once a second."""
REGISTERED = 1_000_000
POLL_S = 0.05


def _measure(setup: Setup) -> Measured:
    grabs: list[SetRun] = []
    prepared = prepare(setup)

    def grab() -> Run:
        grabs.append(grab_from_sets(setup, prepared))
        return grabs[-1].run

    runs = in_turns(setup, "planner", {"grabs": grab})
    runs |= _lose(setup.within("losers"))
    recordings = _record(setup.within("recording"))
    details = {
        "planner: gate, µs of CPU per grab": tuple(run.server_cpu_us for run in runs["grabs"]),
        "planner: Valkey, µs of CPU per grab": tuple(grab.valkey_cpu_us for grab in grabs),
        "planner: gate, µs of CPU per miss": tuple(run.server_cpu_us for run in runs["missed"]),
        "planner: gate, µs of CPU per sold-out loser": tuple(run.server_cpu_us for run in runs["sold"]),
        "planner: recorder, µs of CPU per grant": tuple(seen.recorder_cpu_us for seen in recordings),
        "planner: PostgreSQL, µs of CPU per grant": tuple(seen.postgres_cpu_us for seen in recordings),
        "planner: Valkey, µs of CPU per recorded grant": tuple(seen.valkey_cpu_us for seen in recordings),
        "planner: Valkey, bytes of memory per grant with its log": tuple(grab.memory_bytes for grab in grabs),
        "planner: Valkey, bytes on the disk per grant": tuple(grab.disk_bytes for grab in grabs),
        "planner: PostgreSQL, bytes on the disk per grant": tuple(seen.database_bytes for seen in recordings),
        "planner: gate, bytes per registered user": (_audience_bytes(setup.within("audience")),),
    }
    return Measured(
        samples={RECORDED.name: tuple(seen.rate_per_s for seen in recordings)},
        runs={f"planner: {name}": of_name for name, of_name in runs.items()},
        details=details,
    )


def _lose(setup: Setup) -> dict[str, tuple[Run, ...]]:
    """Let a crowd lose at a gate on a set, every request another user."""
    plans = [RoundPlan(id="sold", packets=1), RoundPlan(id="missed", packets=LOSERS, release_per_s=RELEASE_PER_S)]
    event = make_event(setup.scratch / "event", plans)
    quickest, *tickets = issue(event, ["quickest", *(f"u{k:06d}" for k in range(LOSERS))])
    file = write_tickets(setup.scratch / "tickets", tickets)
    with ExitStack() as stack:
        sets = stack.enter_context(Sets(setup.scratch / "sets", setup.cores, 1))
        target = stack.enter_context(serve_sets(sets.deploy(event), setup.cores, free_port()))
        expect(target.port, quickest, "granted", round_id="sold")
        _await_sold_out(target, tickets[0])

        def lose(round_id: str, seconds: int) -> Run:
            heads = write_heads(setup.scratch / f"heads-{round_id}", target.port, (round_id,))
            load = Load(
                port=target.port,
                connections=CONNECTIONS,
                seconds=seconds,
                mode=Mode.CYCLE,
                tickets=file,
                heads=heads,
            )
            run = setup.load(target, load)
            expect(target.port, tickets[0], LOSING[round_id], round_id=round_id)
            return run

        for round_id in LOSING:
            lose(round_id, WARM_UP_SECONDS)
        seen = in_turns(setup, "planner", {round_id: partial(lose, round_id, setup.seconds) for round_id in LOSING})
        if sets.granted("sold") != 1 or sets.granted("missed") > 1:
            raise ProcessFailed("planner: losers have won")
    return seen


def _await_sold_out(target: Target, ticket: str) -> None:
    deadline_s = time.monotonic() + SOLD_OUT_MAX_S
    while b'"empty"' not in ask(target.port, ticket, "sold").body:
        if time.monotonic() > deadline_s:
            raise ProcessFailed(f"a gate has not found out in {SOLD_OUT_MAX_S:g} s that a round is sold out")
        time.sleep(POLL_S)


def _record(setup: Setup) -> list[Recording]:
    grants = setup.seconds * BACKLOG_PER_SECOND
    setup.tell(f"planner: preparing a backlog of {grants:,} grants")
    event = make_event(setup.scratch / "event", [RoundPlan(packets=grants)])
    seen = []
    with ExitStack() as stack:
        sets = stack.enter_context(Sets(setup.scratch / "sets", setup.cores, 1))
        last_seq = fill_log(sets.servers[0].address, event, grants)
        database = stack.enter_context(Database(setup.scratch, setup.cores.load))
        for k in range(setup.runs):
            seen.append(record(sets, event, database, f"run{k}", setup.cores, grants, last_seq))
            setup.tell(
                f"planner: recorded {k + 1}/{setup.runs}: {seen[-1].rate_per_s:,.0f}/s, recorder "
                f"{seen[-1].recorder_cpu_us:.1f} and PostgreSQL {seen[-1].postgres_cpu_us:.1f} µs CPU each"
            )
    return seen


def _audience_bytes(setup: Setup) -> float:
    """Return what one more registered user adds to a gate's memory, in bytes."""
    event = make_event(setup.scratch / "event", [RoundPlan(packets=1)])
    issue(event, ["anybody"])  # makes the keys
    held = [_resident_kib(setup, event, count) for count in (1, REGISTERED)]
    return (held[1] - held[0]) * 1024 / REGISTERED


def _resident_kib(setup: Setup, event: Event, users: int) -> int:
    audience = setup.scratch / f"audience-{users}"
    with audience.open("w", encoding="ascii") as out:
        out.writelines(f"user{k:09d}\n" for k in range(users))
    with Sets(setup.scratch / f"sets-{users}", setup.cores, 1) as sets:
        deployment = sets.deploy(event, audience=audience)
        with serve_sets(deployment, setup.cores, free_port()) as target:
            return target.child.memory().rss_kib


RECORDED = Figure(
    name="planner.recorded",
    title="grants recorded a second, from Valkey's log into PostgreSQL",
    unit=Unit.PER_SECOND,
    better=Better.HIGHER,
    bar=50_000.0,
)
PLANNER = Measurement(
    name="planner",
    tools=frozenset({Tool.WRK, Tool.VALKEY, Tool.POSTGRES}),
    figures=(RECORDED,),
    measure=_measure,
)
