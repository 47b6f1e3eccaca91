"""Drills from the console: on processes of their own, one at a time, and never while a crowd comes or soon will."""

import asyncio
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.campaigns import a_round, campaign
from tests.console.console_world import get, post, without_server
from tests.patience import PATIENCE_S

QUIET: Final = campaign(a_round("r1", "1.00", 10, opens="2090-01-01T00:00:00Z"))


async def played(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Return what became of drills, once none is being played."""
    async with asyncio.timeout(200):
        while (told := await get(client, "/drills"))["running"] is not None:
            await asyncio.sleep(0.1)
    found: list[dict[str, Any]] = told["played"]
    return found


async def test_no_drill_is_played_while_a_round_is_open_or_soon_is(tmp_path: Path) -> None:
    async with without_server(tmp_path / "open") as world:
        world.ahead_us = 60_000_000  # "now" is a moment ahead
        async with world.client("olga") as olga:
            assert "round r1 of c is open" in (await post(olga, "/drills/overload", 409))["detail"]
    async with without_server(tmp_path / "soon", QUIET) as world:
        world.ahead_us = 3_786_912_000_000_000 - world.desk.now_us() - 600_000_000
        async with world.client("olga") as olga:
            assert "round r1 of c opens at 2090" in (await post(olga, "/drills/overload", 409))["detail"]
        assert world.desk.drills.running is None
        assert world.desk.diary.lines() == []


async def test_no_dry_run_of_a_draft_that_is_not_fine_or_while_a_round_is_open(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("olga") as olga:
        world.ahead_us = 60_000_000
        await post(olga, "/drafts", 201, name="d1")
        assert "round r1 of c is open" in (await post(olga, "/drafts/d1/dry-run", 409))["detail"]
        await olga.put("/api/v1/drafts/d1", json={"text": "no TOML"})
        assert "not finished" in (await post(olga, "/drafts/d1/dry-run", 409))["detail"]
        await post(olga, "/drafts/none/dry-run", 400)
        assert 'action="/drafts/d1/dry-run"' in (await olga.get("/drafts/d1")).text
    assert world.desk.drills.running is None


async def test_a_dry_run_is_of_the_draft_that_was_seen_or_it_is_not_begun(tmp_path: Path) -> None:
    async with without_server(tmp_path, QUIET) as world, world.client("olga") as olga:
        await post(olga, "/drafts", 201, name="d1")
        seen = (await get(olga, "/drafts/d1/check"))["seen"]
        await olga.put("/api/v1/drafts/d1/value", json={"path": "campaign.name", "value": "other"})
        refused = await post(olga, "/drafts/d1/dry-run", 409, seen=seen)
        assert "changed since you looked" in refused["detail"]
        assert (await olga.post("/drafts/d1/dry-run", data={"seen": seen})).status_code == 409
        assert world.desk.drills.running is None


async def test_what_became_of_a_draft_that_was_changed_while_it_was_played_is_said_of_no_draft(tmp_path: Path) -> None:
    async with without_server(tmp_path, QUIET) as world, world.client("olga") as olga:
        await post(olga, "/drafts", 201, name="d1")
        await post(olga, "/drafts/d1/dry-run", 202)
        await olga.put("/api/v1/drafts/d1/value", json={"path": "campaign.name", "value": "other"})
        async with asyncio.timeout(60):
            while (await olga.delete("/api/v1/drills")).status_code != 204:
                await asyncio.sleep(0.05)
        (one,) = await played(olga)
        assert (one["drill"], one["seen"]) == ("dry-run d1", "")
        assert 'data-played="">' in (await olga.get("/drafts/d1")).text


async def test_of_two_drills_that_are_begun_at_once_one_is_played(tmp_path: Path) -> None:
    async with without_server(tmp_path, QUIET) as world, world.client("olga") as olga, world.client("otto") as otto:
        await get(olga, "/drills")  # so that they are known, and nothing else is waited for
        asked = [client.post("/api/v1/drills/overload", json={}) for client in (olga, otto, olga, otto)]
        answers = await asyncio.gather(*asked)
        assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]
        assert [line.what for line in world.desk.diary.lines()] == ["begin drill"]


@pytest.mark.soak
async def test_a_draft_is_played_before_it_is_served(tmp_path: Path) -> None:
    async with without_server(tmp_path, QUIET) as world, world.client("olga") as olga:
        await post(olga, "/drafts", 201, name="d1")
        before = sorted(path.name for path in tmp_path.iterdir())
        seen = (await get(olga, "/drafts/d1/check"))["seen"]
        begun = await post(olga, "/drafts/d1/dry-run", 202, why="to see it", seen=seen)
        assert begun["running"]["drill"] == "dry-run d1"
        (one,) = await played(olga)
        assert (one["drill"], one["why"], one["passed"]) == ("dry-run d1", "to see it", True), one
        assert {verdict["name"] for verdict in one["verdicts"]} >= {"opens", "gives", "answers", "lost", "ledger"}
        assert "to see it" in (await olga.get("/drills")).text
        assert one["seen"] == seen
        page = (await olga.get("/drafts/d1")).text
        assert "tag on" in page
        assert f'data-played="{seen}" hidden>' in page
        await olga.put("/api/v1/drafts/d1/value", json={"path": "campaign.name", "value": "other"})
        assert f'data-played="{seen}">' in (await olga.get("/drafts/d1")).text
        assert sorted({*before, "console-drills.json"}) == sorted(path.name for path in tmp_path.iterdir())


@pytest.mark.soak
async def test_a_drill_is_begun_ended_and_what_became_of_it_is_kept(tmp_path: Path) -> None:
    async with without_server(tmp_path, QUIET) as world, world.client("olga") as olga, world.client("vera") as vera:
        listed = await get(vera, "/drills")
        assert {"overload", "faults"} <= {one["name"] for one in listed["drills"]}
        await post(olga, "/drills/none-such", 404)
        await post(vera, "/drills/hot-user", 403)
        begun = await post(olga, "/drills/hot-user", 202, why="before the event")
        assert begun["running"]["drill"] == "hot-user"
        assert "being played" in (await post(olga, "/drills/overload", 409))["detail"]
        assert "hot-user" in (await vera.get("/drills")).text
        async with asyncio.timeout(PATIENCE_S):
            while (await olga.delete("/api/v1/drills")).status_code != 204:
                await asyncio.sleep(0.05)
        (one,) = await played(olga)
        assert (one["drill"], one["by"], one["why"], one["passed"]) == ("hot-user", "olga", "before the event", False)
        assert one["said"]
    async with without_server(tmp_path, QUIET) as world, world.client("vera") as vera:
        assert (await get(vera, "/drills"))["played"] == [one]
        assert "before the event" in (await vera.get("/drills")).text


@pytest.mark.soak
async def test_a_drill_is_played_to_its_end_and_its_verdicts_are_shown(tmp_path: Path) -> None:
    async with without_server(tmp_path, QUIET) as world, world.client("olga") as olga:
        await post(olga, "/drills/hot-user", 202)
        (one,) = await played(olga)
        assert one["passed"], one
        assert one["verdicts"]
        page = (await olga.get("/drills")).text
        assert all(verdict["name"] in page for verdict in one["verdicts"][:1])
