"""Several campaigns on one real stack: added while another is grabbed, each for itself, found again after a kill."""

import asyncio
import json
import platform
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from redrush import __version__
from redrush.api.access import Actor
from redrush.api.accounts import Role
from redrush.api.desk import Desk
from redrush.api.reports import FILES
from redrush.api.schedules import ScheduleState
from redrush.control.data_dir import DataDir
from redrush.core.rush.instants import rfc3339_s
from redrush.wiring.clock import system_clock
from tests.acceptance.stack.running_stack import RunningStack, kill, stack_up
from tests.campaigns import a_round, campaign, lucky
from tests.commands import redrush
from tests.patience import PATIENCE_S, OwnTime

FIRST_PACKETS: Final = 600
PACKETS: Final = 90
ADDED: Final = 40
LATE_S: Final = 12
FIRST: Final = campaign(lucky("spring-rush", "600.00", FIRST_PACKETS), id="spring")
SECOND: Final = campaign(lucky("summer-rush", "200.00", PACKETS), id="summer")
THIRD: Final = campaign(a_round("rush", "30.00", 30), id="autumn")
CHUNK: Final = 50
DAY_US: Final = 86_400_000_000
REPORT_MAX_S: Final = 300
SERVED_MAX_S: Final = 1.0


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("campaigns")
    for name, text in (("spring", FIRST), ("summer", SECOND), ("autumn", THIRD)):
        (directory / f"{name}.toml").write_text(text)
    return directory


@pytest.fixture(scope="module")
def stack(directory: Path) -> Iterator[RunningStack]:
    with stack_up(directory / "spring.toml", directory / "d", "--sets", 3, "--gates", 2) as running:
        yield running


def _tickets(data: Path, users: list[str]) -> dict[str, str]:
    path = data.parent / f"{data.name}.users"
    path.write_text("".join(f"{user}\n" for user in users))
    ran = redrush("ticket", "--data", data, "--users", path)
    assert ran.code == 0, ran.err
    return dict(line.split("\t") for line in ran.out.splitlines())


def _grants(decided: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {user: one["grant"] for user, one in decided.items() if one["outcome"] == "granted"}


def _reconciled(where: object, option: str = "--data") -> dict[str, Any]:
    ran = redrush("reconcile", option, where, "--json")
    assert ran.code == 0, ran.out + ran.err
    report: dict[str, Any] = json.loads(ran.out)
    assert report["problems"] == []
    return report


def _wait_for(stack: RunningStack, path: str, status: int, within_s: float = PATIENCE_S) -> float:
    """Return after how many seconds the path was answered so, ten times in a row: there are two gates on the port."""
    began_s, alike = time.monotonic(), 0
    while alike < 10:
        alike = alike + 1 if stack.get(stack.port, path).status == status else 0
        assert time.monotonic() - began_s < within_s, stack.get(stack.port, path).raw
    return time.monotonic() - began_s


def _wait_until_left(stack: RunningStack, path: str, packets: int) -> None:
    """Return when both gates have counted what was added."""
    until_s, alike = time.monotonic() + PATIENCE_S, 0
    while alike < 10:
        told = stack.get(stack.port, path)
        alike = alike + 1 if told.status == 200 and told.json["packets"] == packets else 0
        assert time.monotonic() < until_s, told.raw
        time.sleep(0.02)


def test_a_campaign_is_added_while_another_is_grabbed_and_each_is_whole(stack: RunningStack, directory: Path) -> None:
    summer = stack.data / "campaigns" / "summer"
    first = _tickets(stack.data, [f"u{k}" for k in range(FIRST_PACKETS + 100)])
    decided: dict[str, dict[str, Any]] = {}
    added = threading.Event()

    def come() -> None:
        """Half of the crowd before the campaign is there, half from the moment when it is being taken up."""
        users = list(first)
        for number, start in enumerate(range(0, len(users), CHUNK)):
            if number == len(users) // CHUNK // 2:
                added.wait(PATIENCE_S)
            decided.update(stack.grab({user: first[user] for user in users[start : start + CHUNK]}, "spring-rush"))

    gates = [process["pid"] for process in stack.processes() if process["role"] == "gate"]
    crowd = threading.Thread(target=come)
    crowd.start()
    ran = redrush("campaign", "add", directory / "summer.toml", "--data", stack.data, "--why", "one more", "--json")
    since_listed = OwnTime(*gates)
    added.set()
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["new"] is True
    _wait_for(stack, "/v1/campaigns/summer/rounds/summer-rush", 200)
    took_s = since_listed.passed_s
    second = _tickets(summer, [f"u{k}" for k in range(PACKETS + 30)])
    others = stack.grab(second, "summer-rush")
    crowd.join()
    assert len(_grants(decided)) == FIRST_PACKETS
    assert len(_grants(others)) == PACKETS
    assert {one["outcome"] for one in others.values()} == {"granted", "empty"}
    assert took_s <= SERVED_MAX_S

    ticket = first["u0"]
    assert stack.get(stack.port, "/v1/campaigns/summer/grants", ticket).status == 401
    assert stack.get(stack.port, "/v1/grants", second["u0"]).status == 401

    assert _reconciled(stack.data)["grants"] == FIRST_PACKETS
    report = _reconciled(summer)
    assert (report["campaign"], report["grants"]) == ("summer", PACKETS)
    assert report["granted_minor"] == 200_00
    assert _reconciled(summer / "deployment.toml", "--deploy")["grants"] == PACKETS


def test_both_are_amended_while_they_are_served_and_every_role_goes_on_with_what_was_added(
    stack: RunningStack, directory: Path
) -> None:
    """Both rounds are sold out. Packets are added to each, and a round to the first: won by others, recorded, told."""
    summer = stack.data / "campaigns" / "summer"
    late_s = int(time.time()) + LATE_S
    late = rfc3339_s(late_s)
    more = lucky("spring-rush", "660.00", FIRST_PACKETS + ADDED)
    for name, text in (
        ("spring", campaign(more, a_round("late", "30.00", 30, opens=late, lasts="1h"), id="spring")),
        ("summer", campaign(lucky("summer-rush", "260.00", PACKETS + ADDED), id="summer")),
    ):
        (directory / f"{name}.toml").write_text(text)
        change = ("campaign", "change", directory / f"{name}.toml", "--data", stack.data, "--yes", "--why", "more")
        ran = redrush(*change, "--json")
        assert ran.code == 0, ran.err + ran.out
        assert json.loads(ran.out)["live"] is True
    _wait_until_left(stack, "/v1/campaigns/spring/rounds/spring-rush", FIRST_PACKETS + ADDED)
    _wait_until_left(stack, "/v1/campaigns/summer/rounds/summer-rush", PACKETS + ADDED)
    won = _grants(stack.grab(_tickets(stack.data, [f"m{k}" for k in range(ADDED + 10)]), "spring-rush"))
    others = _grants(stack.grab(_tickets(summer, [f"m{k}" for k in range(ADDED + 10)]), "summer-rush"))
    assert (len(won), len(others)) == (ADDED, ADDED)
    assert {grant["slot"] for grant in won.values()} == set(range(FIRST_PACKETS, FIRST_PACKETS + ADDED))
    assert sum(round(float(grant["amount"]) * 100) for grant in won.values()) == 60_00
    before = _grants(stack.grab(_tickets(stack.data, ["u0", "u1"]), "spring-rush"))
    assert len(before) <= 2, "who had won has it still, and nothing else"
    _wait_for(stack, "/v1/campaigns/spring/rounds/late", 200)
    while time.time() < late_s:
        time.sleep(0.05)
    last = stack.grab(_tickets(stack.data, [f"l{k}" for k in range(35)]), "late")
    assert len(_grants(last)) == 30
    assert _reconciled(stack.data)["grants"] == FIRST_PACKETS + ADDED + 30
    report = _reconciled(summer)
    assert (report["grants"], report["granted_minor"]) == (PACKETS + ADDED, 260_00)
    (ticket,) = _tickets(stack.data, ["l0"]).values()
    assert stack.get(stack.query_port, "/v1/grants", ticket).status == 200
    totals = stack.get(stack.query_port, "/v1/totals").json
    told = {one["round"]: one["grants"] for one in totals["rounds"]}
    assert told == {"spring-rush": FIRST_PACKETS + ADDED, "late": 30}
    ran = redrush(
        "switch", "set", "release.late.per_second", "5", "--data", stack.data, "--why", "a round that was added"
    )
    assert ran.code == 0, ran.err


def test_the_records_of_each_are_answered_by_the_query_role(stack: RunningStack) -> None:
    summer = stack.data / "campaigns" / "summer"
    (ticket,) = _tickets(summer, ["u0"]).values()
    answer = stack.get(stack.query_port, "/v1/campaigns/summer/grants", ticket)
    assert answer.status == 200, answer.raw
    assert {grant["round"] for grant in answer.json["grants"]} <= {"summer-rush"}
    totals = stack.get(stack.query_port, "/v1/campaigns/summer/totals")
    assert totals.status == 200, totals.raw


def test_a_switch_of_one_changes_nothing_of_another(stack: RunningStack) -> None:
    summer = stack.data / "campaigns" / "summer"
    ran = redrush("switch", "set", "answer_ended", "on", "--data", summer, "--why", "over")
    assert ran.code == 0, ran.err
    (own,) = _tickets(summer, ["late"]).values()
    (other,) = _tickets(stack.data, ["late"]).values()
    assert stack.grab({"late": own}, "summer-rush")["late"]["outcome"] in {"empty", "closed"}
    assert stack.grab({"late": other}, "spring-rush")["late"]["outcome"] == "empty"
    values = {}
    for data in (stack.data, summer):
        ran = redrush("switch", "list", "--data", data, "--json")
        assert ran.code == 0, ran.err
        shown = {one["name"]: one["value"] for one in json.loads(ran.out)["switches"]}
        values[data] = shown["answer_ended"]
    assert values == {stack.data: False, summer: True}


def test_an_order_about_the_servers_of_a_set_is_carried_out_for_both(stack: RunningStack) -> None:
    summer = stack.data / "campaigns" / "summer"
    ran = redrush("set", "lower", "s1_summer", "--why", "to see", "--data", summer)
    assert ran.code == 0, ran.err
    assert "for all 2 campaigns of the set (s1, s1_summer)" in ran.out + ran.err


def test_a_gate_that_was_killed_finds_both_and_says_of_neither_that_it_is_not_there(stack: RunningStack) -> None:
    kill(next(one["pid"] for one in stack.processes() if one["name"] == "gate-1"))
    for _ in range(100):
        try:
            assert stack.get(stack.port, "/v1/campaigns/summer/rounds/summer-rush").status in {200, 503}
            assert stack.get(stack.port, "/v1/campaigns/spring/rounds/spring-rush").status in {200, 503}
        except OSError:
            continue
    stack.wait_until(lambda now: all(one["state"] == "ready" for one in now.values()))
    _wait_for(stack, "/v1/campaigns/summer/rounds/summer-rush", 200)


def test_a_campaign_that_is_ended_is_served_no_more(stack: RunningStack, directory: Path) -> None:
    deployment = stack.data / "deployment.toml"
    ran = redrush("campaign", "add", directory / "autumn.toml", "--deploy", deployment)
    assert ran.code == 0, ran.err
    _wait_for(stack, "/v1/campaigns/autumn/rounds/rush", 200)
    autumn = stack.data / "campaigns" / "autumn"
    granted = _grants(stack.grab(_tickets(autumn, [f"u{k}" for k in range(10)]), "rush"))
    assert len(granted) == 10
    listed = json.loads(redrush("campaign", "list", "--deploy", deployment, "--json").out)["campaigns"]
    assert [one["campaign"] for one in listed] == ["spring", "summer", "autumn"]
    ran = redrush("campaign", "end", "autumn", "--deploy", deployment, "--why", "enough", "--yes")
    assert ran.code == 0, ran.err
    _wait_for(stack, "/v1/campaigns/autumn/rounds/rush", 404)
    assert _reconciled(autumn)["grants"] == 10
    _wait_for(stack, "/v1/campaigns/summer/rounds/summer-rush", 200)


@pytest.mark.soak
def test_the_console_clones_one_serves_it_at_its_time_and_reports_on_both(
    stack: RunningStack,
) -> None:
    asyncio.run(_at_the_console(stack))
    _wait_for(stack, "/v1/campaigns/winter/rounds/spring-rush", 200)
    told = stack.get(stack.port, "/v1/campaigns/winter/rounds/spring-rush").json
    assert told["packets"] in {FIRST_PACKETS, FIRST_PACKETS + ADDED}, "as it was written, or amended"
    ran = redrush("campaign", "end", "winter", "--data", stack.data, "--why", "enough", "--yes")
    assert ran.code == 0, ran.err


async def _at_the_console(stack: RunningStack) -> None:
    ahead_us = [0]
    desk = Desk(DataDir(stack.data), None, lambda: system_clock().now_us() + ahead_us[0])
    desk.accounts.add("olga", Role.OPERATOR, "no hash", desk.now_s())
    olga = Actor(name="olga", role=Role.OPERATOR, address="127.0.0.1", session="x")
    async with asyncio.timeout(PATIENCE_S):
        while (told := await desk.capacities.told(100_000)).have.gates < 2:
            await desk.live.look()  # a process that is late counts as away
    assert {one.campaign: one.enough for one in told.plans}["spring"] is False, "300,000 requests a second"
    assert desk.live.latest is not None
    processes = {one["name"]: one for one in desk.live.latest.processes}
    assert {"control", "gate-1", "gate-2", "recorder-s1", "settle", "query"} <= set(processes)
    build = {"version": __version__, "python": platform.python_version()}
    assert [name for name, one in processes.items() if one["answers"] and build.items() - one.items()] == []
    text = await desk.drafting.clone(olga, "winter", "spring", "2099-01-01T00:00:00Z")
    assert "opens = 2099-01-01T00:00:00Z" in text
    made = await desk.schedules.make(olga, "winter", desk.now_s() + 60, "for the winter")
    ahead_us[0] = 61_000_000
    await desk.schedules.tick()
    (done,) = desk.schedules.all()
    assert (done.id, done.state, done.said) == (made.id, ScheduleState.ADDED, "")
    desk.drills._now_us = lambda: desk.now_us() + DAY_US  # nothing is open then
    for campaign_id in ("spring", "winter"):
        await desk.reports.begin(olga, campaign_id, "to see")
        async with asyncio.timeout(REPORT_MAX_S):
            while desk.reports.running is not None:
                await asyncio.sleep(0.2)
        (report, *_) = desk.reports.told().reports
        assert (report.campaign, report.by, report.said, report.holds) == (campaign_id, "olga", "", True), report
        assert report.files == list(FILES)
    await desk.stop()


@pytest.mark.soak
def test_a_stack_that_was_ended_has_all_of_them_again(stack: RunningStack, directory: Path) -> None:
    stack.down()
    assert _reconciled(stack.data / "campaigns" / "summer")["grants"] == PACKETS + ADDED
    for part in ("ended-s1.json", "campaigns/summer/ended-s1_summer.json"):
        assert (stack.data / "control" / part).exists(), "who only asked has left it unknown where the log ended"
    with stack_up(directory / "spring.toml", directory / "d", "--sets", 3, "--gates", 2) as again:
        _wait_for(again, "/v1/campaigns/summer/rounds/summer-rush", 200)
        summer = again.data / "campaigns" / "summer"
        (ticket,) = _tickets(summer, ["nobody"]).values()
        ran = redrush("switch", "set", "answer_ended", "off", "--data", summer, "--why", "again")
        assert ran.code == 0, ran.err
        assert again.grab({"nobody": ticket}, "summer-rush")["nobody"]["outcome"] == "empty"
        assert _reconciled(summer)["grants"] == PACKETS + ADDED
        assert _reconciled(again.data)["grants"] == FIRST_PACKETS + ADDED + 30
