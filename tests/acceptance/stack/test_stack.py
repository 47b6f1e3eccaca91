"""The scaled form on one machine, as a person has it: real servers, real processes, kill -9."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from redrush.cli.main import main
from tests.acceptance.stack.running_stack import RunningStack, alive, kill, stack_up, wait_for_end
from tests.campaigns import a_round, campaign, lucky
from tests.commands import redrush
from tests.figures import scraped, with_circumstances, without_circumstances

PACKETS = 300
CAMPAIGN = campaign(
    lucky("r1", "600.00", PACKETS, min="0.50", leftover="return"),
    a_round("r2", "1.00", 100),
    id="stack",
    tables="""\
[client]
interval = "700ms"
""",
)


def _campaign(directory: Path) -> Path:
    path = directory / "c.toml"
    path.write_text(CAMPAIGN)
    return path


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    directory = tmp_path_factory.mktemp("stack")
    with stack_up(_campaign(directory), directory / "d", "--sets", 2, "--replicas", 1, "--gates", 2) as running:
        yield running
        pids = running.pids()
        running.down()
    assert not [pid for pid in pids if alive(pid)], "`down` returns when nobody is left"


def _reconciled(data: Path) -> dict[str, Any]:
    ran = redrush("reconcile", "--data", data, "--json")
    report: dict[str, Any] = json.loads(ran.out)
    assert (ran.code, report["ok"], report["problems"]) == (0, True, []), ran.out + ran.err
    return report


def _exported(data: Path) -> dict[tuple[str, str], int]:
    """Return the slots by round and user."""
    ran = redrush("export", "grants", "--data", data)
    assert ran.code == 0, ran.err
    lines = [json.loads(line) for line in ran.out.splitlines()]
    return {(line["round"], line["user"]): line["slot"] for line in lines}


def test_status_names_every_process_and_how_it_is(stack: RunningStack) -> None:
    processes = stack.processes()
    once = [(role, "-") for role in ("control", "postgres", "query", "settle", "gate", "gate")]
    per_set = [(role, set_id) for role in ("recorder", "replica", "store") for set_id in ("s1", "s2")]
    assert sorted((process["role"], process["set"] or "-") for process in processes) == sorted(once + per_set)
    assert {process["state"] for process in processes} == {"ready"}
    assert all(alive(process["pid"]) and ":" in process["address"] for process in processes)
    text = redrush("stack", "status", "--data", stack.data).out
    assert all(process["name"] in text for process in processes)


def test_every_packet_goes_out_once_and_the_books_agree(stack: RunningStack) -> None:
    tickets = stack.tickets([f"u{number}" for number in range(PACKETS + 100)])
    decided = stack.grab(tickets, "r1")
    won = {user: decision["grant"] for user, decision in decided.items() if decision["outcome"] == "granted"}
    assert sorted(grant["slot"] for grant in won.values()) == list(range(PACKETS))
    assert {decision["outcome"] for decision in decided.values()} == {"granted", "empty"}
    again = stack.grab(tickets, "r1")
    assert {user: decision["grant"] for user, decision in again.items() if decision["outcome"] == "granted"} == won
    assert all(again[user]["repeat"] for user in won)
    report = _reconciled(stack.data)
    assert (report["rounds"][0]["grants"], report["rounds"][0]["granted_minor"]) == (PACKETS, 60_000)
    exported = _exported(stack.data)
    assert {user: slot for (round_id, user), slot in exported.items() if round_id == "r1"} == {
        user: grant["slot"] for user, grant in won.items()
    }
    winner = next(iter(won))
    for port in (stack.port, stack.query_port):
        assert stack.get(port, "/v1/grants", tickets[winner]).json == {"grants": [won[winner]]}
    found = redrush("find", winner, "--data", stack.data, "--json")
    assert [grant["receipt"] for grant in json.loads(found.out)["grants"]] == [won[winner]["receipt"]]


def test_gates_serve_the_client_policy_of_the_campaign_file(stack: RunningStack) -> None:
    policy = stack.get(stack.port, "/v1/policy").json
    assert (policy["interval_ms"], policy["attempts_max"]) == (700, 4)


def test_the_control_port_tells_whether_the_whole_can_grant(stack: RunningStack) -> None:
    assert stack.get(stack.control_port, "/readyz").status == 200
    assert b'redrush_set_ready{set="s2"} 1.0' in stack.get(stack.control_port, "/metrics").body


def test_every_role_exports_its_rows_of_the_table_and_no_others(stack: RunningStack) -> None:
    roles = {"control", "query", "settle", "gate", "recorder"}
    asked = {found["role"]: found["pid"] for found in stack.processes() if found["role"] in roles}
    assert asked.keys() == roles
    for role, pid in asked.items():
        arguments = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        port = int(arguments[arguments.index("--control-port") + 1])
        names = scraped(stack.get(port, "/metrics").body.decode())
        assert (role, without_circumstances(role) - names) == (role, set())
        assert (role, names - with_circumstances(role)) == (role, set())


def test_whoever_is_killed_is_started_again(stack: RunningStack) -> None:
    before = {process["name"]: process for process in stack.processes()}
    killed = ("gate-1", "recorder-s1", "settle", "control", "query", "postgres", "s1-b")
    for name in killed:
        kill(before[name]["pid"])
    after = stack.wait_until(
        lambda now: (
            all(now[name]["pid"] not in (None, before[name]["pid"]) for name in killed)
            and all(process["state"] == "ready" for process in now.values())
        )
    )
    for name in killed:
        assert (after[name]["role"], after[name]["address"]) == (before[name]["role"], before[name]["address"])


def test_a_store_that_hangs_is_replaced_by_its_replica_and_comes_back_as_one(stack: RunningStack) -> None:
    tickets = stack.tickets([f"v{number}" for number in range(60)])
    before = stack.grab(dict(list(tickets.items())[:30]), "r2")
    stores = {process["name"]: process for process in stack.processes() if process["set"] == "s2"}
    (old,) = (name for name, process in stores.items() if process["role"] == "store")
    (new,) = (name for name, process in stores.items() if process["role"] == "replica")
    os.kill(stores[old]["pid"], signal.SIGSTOP)
    try:
        stack.wait_until(lambda now: now[new]["role"] == "store")
        after = stack.grab(tickets, "r2")
    finally:
        os.kill(stores[old]["pid"], signal.SIGCONT)
    assert {user: after[user]["grant"] for user in before} == {user: before[user]["grant"] for user in before}
    assert len({decision["grant"]["slot"] for decision in after.values()}) == len(tickets)
    stack.wait_until(lambda now: now[old]["role"] == "replica" and now[old]["state"] == "ready")
    assert _reconciled(stack.data)["rounds"][1]["grants"] == len(tickets)


def test_a_second_stack_on_the_same_directory_is_refused(stack: RunningStack) -> None:
    campaign = stack.data.parent / "c.toml"
    refused = redrush("stack", "up", campaign, "--data", stack.data, "--port", 0)
    assert (refused.code, refused.out) == (2, "")
    assert "a stack runs here already" in refused.err
    assert refused.err.count("\n") == 1


def test_a_stack_that_was_killed_leaves_nobody_and_goes_on_with_the_same_event(tmp_path: Path) -> None:
    campaign, data = _campaign(tmp_path), tmp_path / "d"
    with stack_up(campaign, data, "--sets", 1, "--replicas", 1, "--gates", 1) as stack:
        tickets = stack.tickets([f"u{number}" for number in range(50)])
        first = stack.grab(tickets, "r1")
        pids = stack.pids()
        kill(stack.process.pid)
        wait_for_end(pids)
    with stack_up(campaign, data, "--sets", 1, "--replicas", 1, "--gates", 1) as stack:
        second = stack.grab(tickets, "r1")
        assert {user: decision["grant"] for user, decision in second.items()} == {
            user: decision["grant"] for user, decision in first.items()
        }
        assert all(decision["repeat"] for decision in second.values())
        stack.grab(stack.tickets(["late"]), "r1")
        stack.down()
    assert _reconciled(data)["grants"] == 51, "the servers are started for as long as that takes"


# -- wrong inputs


def _refusal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object) -> str:
    """Return the one sentence with which a command refuses, which must end with 2."""
    first, *more = _refused_lines(capsys, monkeypatch, *arguments)
    assert more == []
    return first


def _refused_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> list[str]:
    """Return the lines with which a command refuses: each between the first and the last names a difference."""
    monkeypatch.setattr("sys.argv", ["redrush", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, ""), said.err
    assert "Traceback" not in said.err
    return said.err.splitlines()


def test_a_port_that_is_in_use_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        options = ("up", _campaign(tmp_path), "--data", tmp_path / "d", "--port", port)
        assert f"port {port} of 127.0.0.1 is in use" in _refusal(capsys, monkeypatch, "stack", *options)
    assert not (tmp_path / "d" / "sets").exists(), "nothing was started"


def test_the_directory_of_a_single_server_is_no_stack(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "d"
    data.mkdir()
    (data / "journal.db").touch()
    refused = _refusal(capsys, monkeypatch, "stack", "up", _campaign(tmp_path), "--data", data, "--port", 0)
    assert "is the directory of a single server" in refused


@pytest.mark.parametrize("command", ["status", "down"])
def test_where_no_stack_runs_that_is_said(tmp_path: Path, command: str) -> None:
    refused = redrush("stack", command, "--data", tmp_path)
    assert (refused.code, refused.out) == (1, "")
    assert "no stack runs here" in refused.err
    assert refused.err.count("\n") == 1


def test_a_detached_stack_goes_on_after_the_command_and_keeps_its_directory_to_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, campaign = tmp_path / "d", _campaign(tmp_path)
    options = ("--data", data, "--sets", 1, "--gates", 1, "--port", 0, "--control-port", 0, "--detach")
    up = redrush("stack", "up", campaign, *options)
    assert (up.code, up.out) == (0, "ready\n")
    found = json.loads(redrush("stack", "status", "--data", data, "--json").out)["processes"]
    assert {process["state"] for process in found} == {"ready"}
    assert redrush("stack", "down", "--data", data).code == 0
    assert not [process["pid"] for process in found if alive(process["pid"])]

    refused = _refusal(capsys, monkeypatch, "serve", campaign, "--data", data, "--port", 0)
    assert "is the directory of a stack" in refused
    other = tmp_path / "other.toml"
    other.write_text(CAMPAIGN.replace('id = "stack"', 'id = "other"'))
    said, *differences, helps = _refused_lines(capsys, monkeypatch, "stack", "up", other, *options[:-1])
    assert 'campaign "stack" is sealed here and the campaign file has changed' in said
    assert differences == ['  id: sealed "stack", in the file "other"'], "what differs, a line each, and no more"
    assert f"--keys-from {data}" in helps
