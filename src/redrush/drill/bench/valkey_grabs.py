"""Durable grabs in the scaled form: one gate on one set, a real Valkey server that fsyncs before every answer.

Against the peer on the same cores, in turns: nginx + Lua has the server's core, its Redis (`everysec`) shares the other
one with wrk; the gate has the server's core, its Valkey (`always`) shares the other one with wrk. Every run starts from
nothing, and after it every process is killed: what was answered must be on Valkey's disk.

A second contender has a replica and waits for it (`WAIT 1`) before each answer. There is no third core for it and its
second fsync, so what it costs here is more than on machines of their own: it is kept beside, without a bar.
"""

import shutil
from contextlib import ExitStack
from functools import partial

import msgspec

from redrush.drill.bench.figures import Better, Figure, Unit, pairwise
from redrush.drill.bench.grabs import CONNECTIONS, REDIS, Prepared, check_granted, grab_from_redis, prepare, rush
from redrush.drill.bench.measuring import Against, Measured, Measurement, Setup, compare, cpu_us, in_turns, unsaturated
from redrush.drill.bench.sets import Sets, serve_sets
from redrush.drill.bench.tools import Tool
from redrush.drill.bench.wrk import Run
from redrush.processes.failure import ProcessFailed
from redrush.processes.loopback import free_port

OURS = "redrush on Valkey"
WITH_REPLICA = "redrush on Valkey with a replica"


class SetRun(msgspec.Struct, frozen=True):
    """A run on sets, and what their servers did meanwhile, warm-up included: CPU time per grab, claims in a batch, and
    bytes of memory and of the append-only file per grant (of the first set's primary)."""

    run: Run
    valkey_cpu_us: float
    batch_claims: float
    memory_bytes: float
    disk_bytes: float


def grab_from_sets(setup: Setup, prepared: Prepared, replicas: int = 0) -> SetRun:
    """Serve the event with a gate on a set, let the crowd grab, and hold Valkey's disk against the answers.

    The gate and Valkey are ended by SIGKILL: what was answered must be there without any farewell.
    """
    directory = setup.scratch / "sets"
    try:
        with ExitStack() as stack:
            sets = stack.enter_context(Sets(directory, setup.cores, 1, replicas=replicas))
            target = stack.enter_context(serve_sets(sets.deploy(prepared.event), setup.cores, free_port()))
            primary = sets.servers[0]
            memory, disk = primary.info("memory", "used_memory"), primary.info("persistence", "aof_current_size")
            before_ns = sets.cpu_ns()
            answered, run = rush(setup, prepared, target)
            cpu_us = (sets.cpu_ns() - before_ns) / 1e3
            target.child.kill()
            held = sets.granted()
            seen = SetRun(
                run,
                valkey_cpu_us=cpu_us / answered,
                batch_claims=held / sets.batches(),
                memory_bytes=(primary.info("memory", "used_memory") - memory) / held,
                disk_bytes=(primary.info("persistence", "aof_current_size") - disk) / held,
            )
            sets.crash()
            check_granted(answered, sets.granted())
            if sets.granted() != held:
                raise ProcessFailed(f"Valkey held {held} grants, and {sets.granted()} after a crash")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return seen


def _measure(setup: Setup) -> Measured:
    prepared = prepare(setup)
    on_sets: dict[str, list[SetRun]] = {OURS: [], WITH_REPLICA: []}

    def grab(name: str, replicas: int) -> Run:
        on_sets[name].append(grab_from_sets(setup, prepared, replicas))
        seen = on_sets[name][-1]
        return msgspec.structs.replace(seen.run, server_cpu_us=seen.run.server_cpu_us + seen.valkey_cpu_us)

    seen = in_turns(
        setup,
        "valkey-grabs",
        {
            OURS: partial(grab, OURS, 0),
            REDIS: partial(grab_from_redis, setup, prepared),
            WITH_REPLICA: partial(grab, WITH_REPLICA, 1),
        },
    )
    measured = compare([Against(VS_REDIS, seen[OURS], seen[REDIS])])
    return msgspec.structs.replace(
        measured,
        runs={f"valkey-grabs: {name}": runs for name, runs in seen.items()},
        details={
            "valkey-grabs: with a replica and WAIT 1, CPU of the peer / ours": pairwise(
                cpu_us(seen[REDIS]), cpu_us(seen[WITH_REPLICA])
            ),
            **{
                f"valkey-grabs: {name}: {what}": tuple(getattr(one, field) for one in on_sets[name])
                for name in on_sets
                for what, field in (("Valkey µs of CPU per grab", "valkey_cpu_us"), ("claims a batch", "batch_claims"))
            },
        },
        remarks=unsaturated("valkey-grabs", {name: seen[name] for name in (OURS, REDIS)}),
    )


VS_REDIS = Figure(
    name="valkey-grabs.vs-nginx-lua-redis",
    title=f"durable grabs on Valkey (always), CPU of {REDIS} (everysec) / ours, {CONNECTIONS} connections",
    unit=Unit.RATIO,
    better=Better.HIGHER,
    bar=1.2,
    aim=1.6,
)
VALKEY_GRABS = Measurement(
    name="valkey-grabs",
    tools=frozenset({Tool.NGINX_LUA, Tool.REDIS, Tool.WRK, Tool.VALKEY}),
    figures=(VS_REDIS,),
    measure=_measure,
)
