"""The other end of the scaled form: a backlog in a set's log, a recorder and a PostgreSQL that take it up.

The recorder has the server's core, PostgreSQL shares the other one with Valkey. Every run records the same backlog into
a database of its own, from the recorder's start until the last grant is committed.
"""

import asyncio
import os
import random
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import msgspec
import psycopg

from redrush.control.event import load_event
from redrush.core.sets.address import Address
from redrush.drill.bench.sets import Sets
from redrush.drill.bench.subject import CAMPAIGN, Event
from redrush.ports.store import PotTerms, claims_of
from redrush.processes.failure import ProcessFailed
from redrush.processes.loopback import free_port
from redrush.processes.pinned import START_DEADLINE_S, Child, Cores
from redrush.processes.postgres_server import PostgresServer
from redrush.records.postgres import PostgresRecords
from redrush.stores.valkey import ValkeyStore

GRANTS_PER_CLAIM = 256
"""Grants in a record of the log: a batch of a busy gate."""
POLL_S = 0.02
RECORDING_MAX_S = 600.0
SEED = 20_270_206
TICKS_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class Recording(msgspec.Struct, frozen=True):
    """What it took to record a backlog: grants a second, CPU per grant of each part, bytes a grant in the database."""

    rate_per_s: float
    recorder_cpu_us: float
    postgres_cpu_us: float
    valkey_cpu_us: float
    database_bytes: float


class Database:
    """A PostgreSQL of the benchmark's own, pinned to a core. Use as a context manager."""

    def __init__(self, directory: Path, core: int) -> None:
        self._directory = directory
        self._server = PostgresServer(directory / "postgres", free_port())
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {core})  # a child, and whatever it starts, inherits it
        try:
            self._server.start()
        finally:
            os.sched_setaffinity(0, allowed)

    def __enter__(self) -> "Database":
        return self

    def __exit__(self, *_exit: object) -> None:
        self._server.stop()

    def fresh(self, name: str) -> str:
        """Create an empty database and return its DSN, a secret."""
        with psycopg.connect(self._server.dsn(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._server.dsn(name)

    def cpu_ns(self) -> int:
        """Return the CPU time of the server, its present processes and those that have ended, in nanoseconds."""
        ended_ns, present = 0, [self._server.pid]
        for process in Path("/proc").glob("[0-9]*"):
            try:
                fields = (process / "stat").read_text(encoding="ascii", errors="replace").rpartition(") ")[2].split()
            except OSError:
                continue
            if int(process.name) == self._server.pid:
                ended_ns = (int(fields[13]) + int(fields[14])) * TICKS_NS
            elif int(fields[1]) == self._server.pid:
                present.append(int(process.name))
        return ended_ns + sum(_clock_ns(pid) for pid in present)


def fill_log(address: Address, event: Event, grants: int) -> int:
    """Grant `grants` slots of the round, in batches, to users in no order; return the seq of the last record."""
    users = [f"user{k:09d}" for k in range(grants)]
    random.Random(SEED).shuffle(users)  # noqa: S311 - the same order in every run

    async def fill() -> int:
        round_ = load_event(event.data).sealed.campaign.rounds[0]
        store = await ValkeyStore.connect((address,), CAMPAIGN, "s1")
        try:
            await store.open([PotTerms(round_.id, round_.slots)])
            for start in range(0, grants, GRANTS_PER_CLAIM):
                claims = claims_of(round_.id, users[start : start + GRANTS_PER_CLAIM])
                await store.claim(claims, round_.opens_us + start)
            return store.last_seq()
        finally:
            await store.close()

    return asyncio.run(fill())


def record(
    sets: Sets, event: Event, database: Database, name: str, cores: Cores, grants: int, last_seq: int
) -> Recording:
    """Run a recorder until everything is in a fresh database, which is then held against the log."""
    dsn = database.fresh(name)
    secret = event.data.root.with_name(f"{name}.dsn")
    secret.touch(mode=0o600)
    secret.write_text(dsn, encoding="ascii")
    deployment = sets.deploy(event, records=secret)
    argv = [sys.executable, "-m", "redrush", "recorder", "--deploy", str(deployment), "--set", "s1"]
    records = PostgresRecords(dsn, "s1")
    with ExitStack() as stack:
        stack.callback(records.close)
        records.cursor()  # makes the schema
        empty_bytes = _size(dsn)
        parts = (database.cpu_ns, sets.cpu_ns)
        before = [cpu_ns() for cpu_ns in parts]
        child = Child([*argv, "--control-port", "0"], cores.server, log=secret.with_suffix(".log"), name="recorder")
        stack.enter_context(child)
        child.wait_for_line("ready")
        start_s, start_ns = time.perf_counter(), child.cpu_ns()
        while records.cursor() < last_seq:
            child.check_alive()
            if time.perf_counter() - start_s > RECORDING_MAX_S:
                raise ProcessFailed(f"{grants:,} grants are not recorded after {RECORDING_MAX_S:g} s")
            time.sleep(POLL_S)
        took_s, recorder_ns = time.perf_counter() - start_s, child.cpu_ns() - start_ns
        postgres_ns, valkey_ns = (cpu_ns() - ns for cpu_ns, ns in zip(parts, before, strict=True))
        held = records.totals().grants
        if held != grants:
            raise ProcessFailed(f"{grants} grants were in the log, {held} are recorded")
        return Recording(
            rate_per_s=grants / took_s,
            recorder_cpu_us=recorder_ns / 1e3 / grants,
            postgres_cpu_us=postgres_ns / 1e3 / grants,
            valkey_cpu_us=valkey_ns / 1e3 / grants,
            database_bytes=(_size(dsn) - empty_bytes) / grants,
        )


def _size(dsn: str) -> int:
    with psycopg.connect(dsn, connect_timeout=int(START_DEADLINE_S)) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        assert row is not None
        return int(row[0])


def _clock_ns(pid: int) -> int:
    try:
        return time.clock_gettime_ns((~pid << 3) | 2)
    except OSError:  # it has ended meanwhile
        return 0
