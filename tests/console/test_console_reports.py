"""Reports of events in the console: made once a campaign is over, or on demand, never while something is open; kept."""

import asyncio
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from redrush.api import reports
from redrush.api.drills import AHEAD_S
from redrush.api.reports import AFTER_S, FILES, LATE_MAX_S, Reports
from tests.campaigns import OFF, a_round, campaign
from tests.console.console_world import World, get, post, with_server, without_server
from tests.console.test_console_proving import win

TEXT: Final = campaign(a_round("r1", "100.00", 1_000, lasts="1h"), tables=OFF)
OVER_S: Final = 3_600
MADE_MAX_S: Final = 120


def later(world: World, ahead_s: int) -> None:
    """Let reports and drills have another time: who is logged in stays so."""
    desk = world.desk
    desk.reports._now_s = lambda: desk.now_s() + ahead_s
    desk.drills._now_us = lambda: desk.now_us() + ahead_s * 1_000_000


async def made(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Return the reports, once none is being made."""
    async with asyncio.timeout(MADE_MAX_S):
        while (told := await get(client, "/reports"))["running"] is not None:
            await asyncio.sleep(0.1)
    found: list[dict[str, Any]] = told["reports"]
    return found


async def test_an_event_that_is_over_has_a_report_at_an_address_of_its_own(tmp_path: Path) -> None:
    async with with_server(tmp_path, TEXT) as world, world.client("olga") as olga, world.client("vera") as vera:
        await win(world, "user-anna", "user-bob")
        assert "round r1 of c is open" in (await post(olga, "/reports", 409))["detail"]
        await world.desk.reports.tick()
        assert (await get(olga, "/reports")) == {"running": None, "reports": []}
        later(world, OVER_S + AFTER_S)
        await post(vera, "/reports", 403)
        await world.desk.reports.tick()
        assert (await get(vera, "/reports"))["running"]["campaign"] == "c"
        assert "is being made" in (await post(olga, "/reports", 409))["detail"]
        (first,) = await made(olga)
        assert (first["by"], first["said"], first["holds"]) == ("redrush", "", True), first
        assert (first["granted"], first["granted_total"], first["files"]) == (2, "0.20", list(FILES))
        await world.desk.reports.tick()
        assert (await get(vera, "/reports"))["running"] is None, "it has one already"

        later(world, OVER_S + AFTER_S + 100)
        await post(olga, "/reports", 202, campaign="c", why="for the books")
        latest, again = await made(olga)
        assert (latest["by"], latest["why"], again) == ("olga", "for the books", first)
        assert [line.about for line in world.desk.diary.lines() if line.what == "make report"] == ["c"]
        figures = await get(vera, f"/reports/{latest['id']}")
        assert [one["granted"] for one in figures["rounds"]] == [2]
        for language, words in (
            ("en", ("all is right", "wrong amounts", "in order")),
            ("zh", ("全部正确", "金额错误", "无问题")),
        ):
            vera.headers["Accept-Language"] = language
            page = (await vera.get(f"/reports/{latest['id']}")).text
            assert all(word in page for word in (*words, "0.20"))
            assert f'href="/reports/{latest["id"]}"' in (await vera.get("/reports")).text
        for file, kind in FILES.items():
            answer = await vera.get(f"/api/v1/reports/{latest['id']}/files/{file}")
            assert answer.headers["content-type"].split(";")[0] == kind
            assert answer.headers["content-disposition"].startswith("attachment")
            assert "user-anna" not in answer.text
        for wrong in ("/reports/none", f"/reports/{latest['id']}/files/reports.json", "/reports/../files/reports.json"):
            assert (await vera.get(f"/api/v1{wrong}")).status_code == 404

        known = Reports(world.desk.links, world.desk.drills, world.desk.diary, world.desk.now_s).told()
        assert [one.id for one in known.reports] == [latest["id"], first["id"]], "another console has them, too"


async def test_what_cannot_be_reported_says_why_and_the_last_reports_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "KEPT_MAX", 2)
    async with without_server(tmp_path, TEXT) as world, world.client("olga") as olga:
        later(world, OVER_S + AFTER_S)
        for number, why in enumerate(("one", "two", "three")):
            later(world, OVER_S + AFTER_S + 100 * number)
            await post(olga, "/reports", 202, why=why)
            await made(olga)
        found = await made(olga)
        assert [one["why"] for one in found] == ["three", "two"]
        assert "was never served" in found[0]["said"]
        assert found[0]["said"] in (await olga.get(f"/reports/{found[0]['id']}")).text
        await get(olga, f"/reports/{found[0]['id']}", 404)


@pytest.mark.parametrize("ahead_s", [OVER_S + AFTER_S - 60, OVER_S + LATE_MAX_S + 60, -AHEAD_S - 60])
async def test_nothing_is_reported_by_itself_too_soon_or_too_late(tmp_path: Path, ahead_s: int) -> None:
    async with without_server(tmp_path, TEXT) as world:
        later(world, ahead_s)
        await nothing_is_made(world)


async def test_nothing_is_reported_by_itself_while_another_campaign_opens(tmp_path: Path) -> None:
    async with without_server(tmp_path, TEXT) as world, world.client("olga") as olga:
        await post(olga, "/drafts", 201, name="next")
        await olga.put(
            "/api/v1/drafts/next", json={"text": campaign(a_round("r1", "1.00", 10, lasts="30h"), id="next")}
        )
        placed = await post(olga, "/drafts/next/serve", yes=True)
        assert placed["done"]
        later(world, OVER_S + AFTER_S)
        await nothing_is_made(world)


async def nothing_is_made(world: World) -> None:
    await world.desk.reports.tick()
    assert world.desk.reports.running is None
    assert world.desk.reports.told().reports == []
