"""What an operator does about a set, on a real stack: see, lower, promote, and bring it back when all is lost."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

import pytest

from redrush.api.access import Actor
from redrush.api.accounts import Role
from redrush.api.desk import Desk
from redrush.api.seals import Refused
from redrush.api.sets import SetAsked, SetVerb
from redrush.control.data_dir import DataDir
from redrush.errors import RedrushError
from redrush.operate.set_orders import AFTER_A_LOSS
from redrush.wiring.clock import system_clock
from tests.acceptance.stack.attacks import password_of, refusal
from tests.acceptance.stack.running_stack import RunningStack, kill, stack_up
from tests.campaigns import campaign, lucky
from tests.commands import Ran, redrush

PACKETS: Final = 100
CAMPAIGN: Final = campaign(lucky("r1", "200.00", PACKETS, min="0.50"), id="stack")
SET: Final = "s2"
GATES: Final = ("gate-1", "gate-2")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    directory = tmp_path_factory.mktemp("stack")
    (directory / "c.toml").write_text(CAMPAIGN)
    with stack_up(directory / "c.toml", directory / "d", "--sets", 2, "--replicas", 1, "--gates", 2) as running:
        yield running


def _set(stack: RunningStack, *arguments: object) -> Ran:
    return redrush("set", *arguments, "--data", stack.data)


def _listed(stack: RunningStack) -> dict[str, dict[str, Any]]:
    ran = _set(stack, "list", "--json")
    assert ran.code == 0, ran.err
    return {found["set"]: found for found in json.loads(ran.out)["sets"]}


def _switch(stack: RunningStack, *arguments: str) -> None:
    ran = redrush("switch", *arguments, "--data", stack.data)
    assert ran.code == 0, ran.err


def _healthy(stack: RunningStack) -> dict[str, dict[str, Any]]:
    """Return the processes once every one is ready and every set rests on a replica again."""
    return stack.wait_until(
        lambda now: (
            all(process["state"] == "ready" for process in now.values())
            and [process["durability"] for process in now.values() if process["role"] == "store"] == ["replica"] * 2
        )
    )


def _granted(decided: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the grants by user, without what a repeat says otherwise."""
    return {user: decision["grant"] for user, decision in decided.items() if decision["outcome"] == "granted"}


def test_the_sets_are_shown_with_what_their_grants_rest_on(stack: RunningStack) -> None:
    processes = _healthy(stack)
    listed = _listed(stack)
    assert {name: found["durability"] for name, found in listed.items()} == {"s1": "replica", "s2": "replica"}
    primary = next(p["address"] for p in processes.values() if (p["role"], p["set"]) == ("store", SET))
    replica = next(p["address"] for p in processes.values() if (p["role"], p["set"]) == ("replica", SET))
    assert (listed[SET]["primary"], listed[SET]["replicas"][0]["address"]) == (primary, replica)
    text = _set(stack, "list").out
    assert f"s2: epoch {listed[SET]['epoch']}, durability replica (a grant is on the primary's disk" in text
    assert f"    primary {primary}\n    replica {replica}, in step\n" in text
    assert redrush("stack", "status", "--data", stack.data).out.count(" replica\n") == 2


def _ask(stack: RunningStack, address: str, *command: str) -> str:
    """Return the error that the server answers the admin's command with, "" if it is carried out."""
    return refusal(int(address.rpartition(":")[2]), command, "redrush-admin", password_of(stack.data, "admin"))


def _cannot_grant(stack: RunningStack, reason: str) -> None:
    """Return when status, readiness, list, metric and log all name this reason for the set, and the other one can."""
    stack.wait_until(lambda now: [p["reason"] for p in now.values() if p["role"] == "store"] == [None, reason])
    text = redrush("stack", "status", "--data", stack.data).out
    assert f"cannot grant: {reason}" in text
    assert "1 of 2 sets can grant, to about 50% of the users; set stack/s2: " in text
    status, body = _get(stack.control_port, "/readyz")
    assert (status, body["sets"]) == (503, {"s1": "ready", SET: reason})
    assert "1 of 2 sets can grant" in body["detail"]
    assert f"cannot grant ({reason})" in _set(stack, "list").out
    _, metrics = _get(stack.control_port, "/metrics")
    assert f'redrush_set_absence{{reason="{reason}",set="{SET}"}} 1.0' in metrics
    logged = [
        json.loads(line) for line in (stack.data / "logs" / "control.log").read_text().splitlines() if "{" in line
    ]
    assert [line["set"] for line in logged if line["event"] == "a set cannot grant" and line["reason"] == reason] == [
        SET
    ]


def _get(port: int, path: str) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, json.loads(body) if body.startswith(b"{") else body.decode()


@pytest.mark.parametrize(
    ("name", "broken", "whole", "reason"),
    [
        ("maxmemory", "1000000", "0", "memory"),
        ("appendfsync", "everysec", "always", "settings"),
        pytest.param("appendonly", "no", "yes", "settings", marks=pytest.mark.soak),
    ],
)
def test_a_set_that_cannot_grant_is_named_everywhere_with_the_reason(
    stack: RunningStack, name: str, broken: str, whole: str, reason: str
) -> None:
    _healthy(stack)
    (stack.data / "logs" / "control.log").write_text("")  # it is appended to
    address = _listed(stack)[SET]["primary"]
    assert _ask(stack, address, "CONFIG", "SET", name, broken) == ""
    _cannot_grant(stack, reason)
    assert _ask(stack, address, "CONFIG", "SET", name, whole) == ""
    _healthy(stack)
    stack.wait_until(lambda now: [p["reason"] for p in now.values() if p["role"] == "store"] == [None, None])


def test_a_primary_that_was_made_a_replica_of_its_own_replica_is_mended(stack: RunningStack) -> None:
    _healthy(stack)
    before = _listed(stack)[SET]
    host, _, port = before["replicas"][0]["address"].rpartition(":")
    assert _ask(stack, before["primary"], "REPLICAOF", host, port) == ""
    stack.wait_until(lambda _: _listed(stack)[SET]["epoch"] > before["epoch"])
    _healthy(stack)


def test_orders_are_carried_out_and_in_the_audit_log(stack: RunningStack) -> None:
    _healthy(stack)
    before = _listed(stack)[SET]
    replica = before["replicas"][0]["address"]
    refused = _set(stack, "promote", SET, replica, "--why", "x")
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert f"{replica} is in step with {before['primary']}, and what this grants on its own" in refused.err
    unknown = _set(stack, "promote", SET, "127.0.0.1:1", "--why", "x", "--yes")
    assert (unknown.code, "127.0.0.1:1 is no server of set s2, which has " in unknown.err) == (2, True)
    promoted = _set(stack, "promote", SET, replica, "--why", "disk is dying", "--who", "ann", "--yes")
    assert (promoted.code, "did not say" in promoted.out) == (0, False), promoted
    stack.wait_until(lambda _: _listed(stack)[SET]["primary"] == replica)
    lowered = _set(stack, "lower", "s1", "--why", "no spare", "--who", "bob")
    assert lowered.code == 0, lowered.err
    _healthy(stack)
    assert _listed(stack)[SET]["epoch"] > before["epoch"]
    lines = redrush("switch", "log", "--data", stack.data).out.splitlines()
    assert lines[-2].endswith(f" event (ann, as said): promote set s2 {replica} [disk is dying]")
    assert lines[-1].endswith(" event (bob, as said): lower set s1 [no spare]")


def test_an_order_at_the_console_is_seen_first_and_bound_to_what_was_seen(stack: RunningStack) -> None:
    _healthy(stack)
    asyncio.run(_order_at_the_console(stack))
    entries = json.loads(redrush("switch", "log", "--data", stack.data, "--json").out)["entries"]
    assert [(one["who"], one["what"]["order"], one["why"]) for one in entries[-2:]] == [
        ("olga", "lower", "no spare"),
        ("olga", "promote", "its disk"),
    ]
    _healthy(stack)


async def _order_at_the_console(stack: RunningStack) -> None:
    desk = Desk(DataDir(stack.data), None, system_clock().now_us)
    olga = Actor(name="olga", role=Role.OPERATOR, address="127.0.0.1", session="x")
    await desk.failovers.look()
    listed = {one["set"]: one for one in (await desk.sets.listed(None))["sets"]}
    replica = listed[SET]["replicas"][0]["address"]
    lowering = await desk.sets.preview(olga, SetAsked(verb=SetVerb.LOWER, set="s1"))
    assert "goes on with the replicas that it has now" in lowering.says
    with pytest.raises(Refused, match="say why"):
        await desk.sets.confirm(olga, lowering.token, " ")
    await desk.sets.confirm(olga, lowering.token, "no spare")
    with pytest.raises(RedrushError, match="nothing is to be rebuilt"):
        await desk.sets.preview(olga, SetAsked(verb=SetVerb.REBUILD, set=SET, address=listed[SET]["primary"]))
    late = await desk.sets.preview(olga, SetAsked(verb=SetVerb.LOWER, set=SET))
    promoting = await desk.sets.preview(olga, SetAsked(verb=SetVerb.PROMOTE, set=SET, address=replica))
    assert f"{replica} is in step with {listed[SET]['primary']}" in promoting.says
    with pytest.raises(Refused, match='type "s2"'):
        await desk.sets.confirm(olga, promoting.token, "its disk", "s1")
    done = await desk.sets.confirm(olga, promoting.token, "its disk", SET)
    assert done["done"] == f"{SET}: {replica} is the primary; {AFTER_A_LOSS}"
    with pytest.raises(Refused, match="ordered already"):
        await desk.sets.confirm(olga, promoting.token, "its disk", SET)
    while (await desk.sets.listed(None))["sets"][1]["primary"] != replica:
        await asyncio.sleep(0.1)
    with pytest.raises(Refused, match="another primary meanwhile"):
        await desk.sets.confirm(olga, late.token, "too late")
    assert [line.what for line in desk.diary.lines()] == ["set lower", "set promote"]
    await desk.failovers.look()
    (changed,) = [one["what"] for one in desk.failovers.history() if one["what"].startswith(f"{SET}: primary")]
    assert changed.startswith(f"{SET}: primary {listed[SET]['primary']} → {replica}")
    assert replica in desk.live.history()["marks"][-1]["about"]
    await desk.stop()


def test_a_set_of_which_all_copies_are_lost_comes_back_and_receipts_are_honoured(stack: RunningStack) -> None:
    _healthy(stack)
    tickets = stack.tickets([f"u{number}" for number in range(PACKETS)])
    early, late = dict(list(tickets.items())[:60]), dict(list(tickets.items())[60:80])
    recorded = _granted(stack.grab(early, "r1"))
    assert len(recorded) == len(early)
    ran = redrush("reconcile", "--data", stack.data, "--json")
    assert json.loads(ran.out)["grants"] == len(early), "recorded to the end"
    _switch(stack, "set", "settlement.paused", "on")
    unrecorded = _granted(stack.grab(late, "r1"))
    _switch(stack, "set", "answer_ended", "on", "--why", "s2 is lost")

    processes = _healthy(stack)
    servers = [processes[name] for name in ("s2-a", "s2-b")]
    shutil.rmtree(stack.data / "sets" / SET)
    for server in servers:
        kill(server["pid"])
    target = servers[1]["address"]
    stack.wait_until(
        lambda now: (
            all(now[s["name"]]["state"] == "ready" and now[s["name"]]["pid"] != s["pid"] for s in servers)
            and (state := _listed(stack)[SET])["durability"] == "none"
            and all(server["answers"] for server in state["replicas"])
        )
    )
    status = redrush("stack", "status", "--data", stack.data)
    assert "not all is well: 1 of 2 sets can grant, to about 50% of the users; set " in status.out
    held = _set(stack, "promote", SET, target, "--why", "x")
    assert (held.code, "holds no copy of set s2" in held.err) == (1, True), held
    rebuilt = _set(stack, "rebuild", SET, "--address", target, "--why", "both disks", "--who", "ann")
    assert rebuilt.code == 0, rebuilt.err
    assert f"{SET}: rebuilt on {target} up to log record " in rebuilt.out
    again = _set(stack, "rebuild", SET, "--address", target)
    assert (again.code, "nothing is to be rebuilt" in again.err) == (1, True)

    receipts = stack.data.with_suffix(".receipts")
    receipts.write_text("".join(f"{grant['receipt']}\n" for grant in unrecorded.values()))
    honoured = _set(stack, "honour", "--receipts", receipts, "--json")
    outcomes = [row["outcome"] for row in json.loads(honoured.out)["receipts"]]
    assert (honoured.code, set(outcomes), len(outcomes)) == (0, {"entered", "known"}, len(late)), honoured.err
    _switch(stack, "release", "answer_ended")
    _switch(stack, "release", "settlement.paused")
    now = _healthy(stack)
    assert now["s2-b"]["role"] == "store"
    assert [now[gate]["pid"] for gate in GATES] == [processes[gate]["pid"] for gate in GATES], "they run on"

    decided = stack.grab(tickets, "r1")
    assert {user: _granted(decided)[user] for user in [*early, *late]} == recorded | unrecorded
    assert sorted(grant["slot"] for grant in _granted(decided).values()) == list(range(PACKETS))
    for user in (next(iter(recorded)), next(iter(unrecorded))):
        assert len(stack.get(stack.port, "/v1/grants", tickets[user]).json["grants"]) == 1
    ran = redrush("reconcile", "--data", stack.data, "--json")
    report = json.loads(ran.out)
    assert (ran.code, report["ok"], report["grants"]) == (0, True, PACKETS), ran.out + ran.err


def test_a_primary_that_has_lost_its_disk_gets_its_data_from_its_replica(stack: RunningStack) -> None:
    processes = _healthy(stack)
    old = next(p for p in processes.values() if (p["role"], p["set"]) == ("store", SET))
    shutil.rmtree(stack.data / "sets" / SET / old["name"].removeprefix(f"{SET}-"))
    kill(old["pid"])
    stack.wait_until(lambda now: now[old["name"]]["role"] == "replica")
    _healthy(stack)
    ran = redrush("reconcile", "--data", stack.data, "--json")
    assert (ran.code, json.loads(ran.out)["grants"]) == (0, PACKETS), ran.out + ran.err


def test_a_receipt_that_cannot_be_honoured_is_told_by_its_line(stack: RunningStack, tmp_path: Path) -> None:
    (tmp_path / "receipts").write_text("no receipt\n\n")
    ran = _set(stack, "honour", "--receipts", tmp_path / "receipts")
    assert (ran.code, ran.out) == (1, "1: not_ours: the receipt was not signed here, or was changed\n")
    assert f"none of its receipts is of the campaign in {stack.data}, so nothing is noted" in ran.err
