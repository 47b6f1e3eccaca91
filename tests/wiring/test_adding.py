"""Packets and rounds are added to a campaign that is sealed: what was there stays, and each is added once, or not."""

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from redrush.config import CampaignFile, parse_campaign
from redrush.control.data_dir import DataDir
from redrush.control.event import load_event, prepare_event
from redrush.core.rush.instants import rfc3339
from redrush.errors import ConfigError
from redrush.operate.campaigns import add_campaign, change_campaign, show_campaign
from redrush.operate.data_dir_reports import find_in_data_dir, reconcile_data_dir
from redrush.operate.switching import Holder
from tests.patience import PATIENCE_S
from tests.wiring.test_campaigns import Server, running

SECOND_US = 1_000_000
STEPS_MAX = 60
HEAD = """
[campaign]
id = "c"
name = "n"
currency = "CNY"
"""
ROUND = """
[[round]]
id = "{id}"
opens = {opens}
lasts = "{lasts}"
kind = "lucky"
total = "{total}"
packets = {packets}
min = "0.01"
max = "2.00"
leftover = "{leftover}"
"""


def _round(id_: str, opens_us: int, packets: int, total: str, lasts: str = "1h", leftover: str = "next") -> str:
    opens = rfc3339(opens_us)
    return ROUND.format(id=id_, opens=opens, lasts=lasts, packets=packets, total=total, leftover=leftover)


def _file(*rounds: str) -> CampaignFile:
    return parse_campaign(HEAD + "".join(rounds), "c.toml")


def _now_us() -> int:
    return time.time_ns() // 1_000


async def _changed(file: CampaignFile, data_dir: DataDir) -> None:
    done = await asyncio.to_thread(change_campaign, file, data_dir, Holder("ann"), "more", yes=True)
    assert done.done, done


async def _until(server: Server, path: str, key: str, value: object) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (await server.ask("GET", path)).json.get(key) != value:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("hosted", [False, True])
async def test_packets_are_added_to_a_round_that_is_sold_out(tmp_path: Path, hosted: bool) -> None:
    opens_us = _now_us() - SECOND_US
    before, after = (_file(_round("r1", opens_us, packets, total)) for packets, total in ((2, "2.00"), (5, "4.50")))
    async with running(tmp_path, None if hosted else before) as server:
        if hosted:
            await asyncio.to_thread(add_campaign, before, server.data_dir, Holder())
        own = "c" if hosted else None
        path = "/v1/campaigns/c/rounds/r1"
        await server.until(path, 200)
        first = [await server.grab(path, server.ticket(own, f"u{number}")) for number in range(3)]
        assert [one.outcome for one in first] == ["granted", "granted", "empty"]
        await _changed(after, server.data_dir)
        await _until(server, path, "packets", 5)
        later = [await server.grab(path, server.ticket(own, f"u{number}")) for number in range(6)]
        assert [one.outcome for one in later] == ["granted"] * 5 + ["empty"]
        assert [one.json["grant"] for one in later[:2]] == [one.json["grant"] for one in first[:2]], (
            "what was won stays"
        )
        assert sorted(one.json["grant"]["slot"] for one in later[:5]) == [0, 1, 2, 3, 4]
        worth = sum(round(float(one.json["grant"]["amount"]) * 100) for one in later[:5])
        assert worth == 450
        directory = tmp_path / "campaigns" / "c" if hosted else tmp_path
        report = await asyncio.to_thread(reconcile_data_dir, DataDir(directory))
        assert (report.problems, report.grants, report.budget_minor, report.granted_minor) == ((), 5, 450, 450)
        shown = await asyncio.to_thread(show_campaign, "c", server.data_dir)
        assert [(one["packets"], one["total"]) for one in shown["rounds"]] == [(5, "4.50")]
    if hosted:
        return
    async with running(tmp_path, after) as server:
        again = [await server.grab(path, server.ticket(None, f"u{number}")) for number in range(6)]
        assert [one.outcome for one in again] == ["granted"] * 5 + ["empty"], "a restart gives nothing twice"
        assert (await server.ask("GET", path)).json["packets"] == 5
        async with asyncio.timeout(PATIENCE_S):
            while (told := await server.ask("GET", "/reconcile", None, "control")).json.get("compared", 0) < 5:
                assert told.status == 200, told
                await asyncio.sleep(0.05)
    assert await asyncio.to_thread(lambda: find_in_data_dir(DataDir(tmp_path), "u4").grants)
    report = await asyncio.to_thread(reconcile_data_dir, DataDir(tmp_path))
    assert (report.problems, report.behind) == ((), 0)


async def test_a_round_is_added_to_a_running_server_also_when_all_others_are_over(tmp_path: Path) -> None:
    now_us = _now_us()
    first = _round("r1", now_us - 10 * SECOND_US, 3, "3.00", lasts="10s", leftover="return")
    async with running(tmp_path, _file(first)) as server:
        await _until(server, "/v1/rounds/r1", "state", "closed")
        opens_us = _now_us() + 6 * SECOND_US
        await _changed(_file(first, _round("r2", opens_us, 2, "1.00")), server.data_dir)
        for prefix in ("/v1", "/v1/campaigns/c"):
            await server.until(f"{prefix}/rounds/r2", 200)
        ticket = server.ticket(None, "ann")
        assert (await server.grab("/v1/rounds/r2", ticket)).outcome == "not_open"
        rounds = (await server.ask("GET", "/v1/rounds")).json["rounds"]
        assert [(one["round"], one["packets"]) for one in rounds] == [("r1", 3), ("r2", 2)]
        await _until(server, "/v1/rounds/r2", "state", "open")
        won = [await server.grab("/v1/rounds/r2", server.ticket(None, user)) for user in ("ann", "bob", "cid")]
        assert [one.outcome for one in won] == ["granted", "granted", "empty"]
        assert [one.json["grant"]["slot"] for one in won[:2]] == [3, 4]
    report = await asyncio.to_thread(reconcile_data_dir, DataDir(tmp_path))
    assert (report.problems, report.budget_minor, report.returned_minor, report.granted_minor) == ((), 400, 300, 100)


def _dies_at(step: int, work: Callable[[], object]) -> bool:
    """Do the work in a child that is killed before its step-th call that would reach the disk; whether it was."""
    child = os.fork()
    if child == 0:
        _count_down(step)
        with contextlib.suppress(BaseException):
            work()
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def _count_down(steps: int) -> None:
    left = [steps]

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **named)

        return counted

    for name in ("fsync", "replace", "rename", "write", "unlink"):
        setattr(os, name, dying(getattr(os, name)))


def test_an_amendment_whose_maker_is_killed_at_any_step_either_is_or_is_not(tmp_path: Path) -> None:
    opens_us = _now_us() + 3_600 * SECOND_US
    first = _round("r1", opens_us, 2, "2.00")
    old = _file(first)
    new = _file(_round("r1", opens_us + SECOND_US, 5, "4.50"), _round("r2", opens_us, 3, "1.00"))
    ended = Counter[str]()
    for step in range(STEPS_MAX):
        data_dir = DataDir(tmp_path / str(step))
        prepare_event(old, data_dir, _now_us)
        killed = _dies_at(step, lambda at=data_dir: change_campaign(new, at, Holder("ann"), "more", yes=True))  # type: ignore[misc]
        event = load_event(data_dir)
        made = len(event.sealed.campaign.rounds) == 2
        assert len(event.sealed.amounts) == (8 if made else 2)
        assert sum(event.sealed.amounts) == (550 if made else 200)
        times = event.sealed.campaign.rounds[-1].opens_us if made else event.sealed.campaign.rounds[0].opens_us
        assert times == opens_us + (SECOND_US if made else 0), "all of it, or nothing"
        noted = data_dir.campaign_log.read_text() if data_dir.campaign_log.exists() else ""
        assert "packets: 2 of 2.00 CNY -> 5 of 4.50 CNY" in noted or not made, "written down before it is so"
        stale = old if made else new
        with pytest.raises(ConfigError):
            prepare_event(stale, data_dir, _now_us)
        ended["made" if made else "not made"] += 1
        assert change_campaign(new, data_dir, Holder("ann"), "again", yes=True).done is not made
        assert sum(load_event(data_dir).sealed.amounts) == 550
        third = _file(_round("r1", opens_us + SECOND_US, 6, "5.50"), _round("r2", opens_us, 4, "1.50"))
        assert change_campaign(third, data_dir, Holder("ann"), "more still", yes=True).done
        third_event = load_event(data_dir)
        assert ([one.id for one in third_event.sealed.campaign.rounds], sum(third_event.sealed.amounts)) == (
            ["r2", "r1"],
            700,
        )
        if not killed:
            break
    else:
        raise AssertionError("it has more steps than were tried")
    assert ended["made"] >= 2, ended
    assert ended["not made"] >= 5, ended
