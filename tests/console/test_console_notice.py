"""What the crowd is told from the console: seen first, told by the gate at once, ended at its time, and in the log."""

import html
import re
from pathlib import Path
from typing import Any

import httpx

from redrush.api.access import Actor
from redrush.api.accounts import Role
from redrush.control.switch_log import entries_of
from redrush.core.rush.instants import rfc3339_s
from tests.console.console_world import World, change, post, with_server
from tests.gate.world import request


async def told(world: World) -> dict[str, str] | None:
    """Return the notice in the state file, as a waiting page reads it."""
    state: dict[str, Any] = (await world.ask(request("GET", "/state/c.json"))).json
    notice: dict[str, str] | None = state.get("notice")
    return notice


def fields_in(page: str) -> dict[str, str]:
    """Return what the form to confirm would send."""
    form = page[page.index('action="/notice/confirm"') :]
    form = form[: form.index("</form>")]
    return {name: html.unescape(value) for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', form)} | {
        "how": "now"
    }


async def seen(client: httpx.AsyncClient, **texts: str) -> dict[str, str]:
    page = (await client.post("/notice/preview", data=texts)).text
    for text in texts.values():
        assert html.escape(text) in page
    return fields_in(page)


async def test_a_notice_is_seen_first_and_then_told_in_both_languages(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga:
        fields = await seen(olga, zh="系统稍忙", en="Busy <now>")
        assert await told(world) is None
        assert (await olga.post("/notice/confirm", data={**fields, "why": "slow"})).status_code == 303
        notice = await told(world)
        assert notice is not None
        assert {**notice, "id": ""} == {"zh": "系统稍忙", "en": "Busy <now>", "id": ""}
        assert [(one.who, one.why) for one in entries_of(world.data_dir.switches)] == [("olga", "slow")] * 2
        assert "系统稍忙" in (await olga.get("/notice")).text
        ended = await seen(olga, zh="", en="Busy <now>")
        await olga.post("/notice/confirm", data=ended)
        notice = await told(world)
        assert notice is not None
        assert set(notice) == {"en", "id"}


async def test_a_notice_that_was_seen_is_not_told_once_somebody_has_told_another(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga, world.client("otto") as otto:
        fields = await seen(olga, zh="一", en="one")
        await change(otto, verb="set", name="notice.en", value="another")
        assert (await olga.post("/notice/confirm", data=fields)).status_code == 409
        notice = await told(world)
        assert notice is not None
        assert (notice.get("zh"), notice.get("en")) == (None, "another")


async def test_a_notice_goes_at_the_time_that_was_said_and_no_time_that_is_over_is_taken(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga:
        fields = await seen(olga, zh="", en="Back soon")
        over = await olga.post("/notice/confirm", data={**fields, "until": "2020-01-01T00:00:00Z"})
        assert over.status_code == 400
        late = await olga.post("/notice/confirm", data={**fields, "until": "9999-12-31T23:59:59-12:00"})
        assert (late.status_code, "within a year" in late.text) == (400, True)
        assert await told(world) is None
        until_s = world.desk.now_s() + 3_600
        await olga.post("/notice/confirm", data={**fields, "until": rfc3339_s(until_s)})
        assert await told(world) is not None
        (planned,) = world.desk.steering.proposals()
        assert planned.due_s == until_s
        world.ahead_us = (planned.due_s - world.desk.now_s() + 1) * 1_000_000
        await world.desk.steering.tick()
        assert await told(world) is None


async def test_a_protected_notice_waits_for_a_second_person(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga, world.client("otto") as otto:
        world.desk.steering.protect(Actor(name="anna", role=Role.ADMIN, address="127.0.0.1", session="x"), ["notice.*"])
        fields = await seen(olga, zh="一", en="one")
        assert (await olga.post("/notice/confirm", data=fields)).status_code == 409
        assert (await olga.post("/notice/confirm", data={**fields, "how": "propose"})).status_code == 303
        for one in world.desk.steering.proposals():
            await post(otto, f"/proposals/{one.id}/approve")
            await post(olga, f"/proposals/{one.id}/apply")
        notice = await told(world)
        assert notice is not None
        assert (notice["zh"], notice["en"]) == ("一", "one")


async def test_an_end_that_would_be_forgotten_is_refused_and_nobody_is_told_anything(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga:
        fields = {**await seen(olga, zh="", en="Back soon"), "why": "slow", "until": "2090-01-01T00:00:00Z"}
        assert "until" in await _asked_of(olga)
        world.desk.steering.protect(Actor(name="anna", role=Role.ADMIN, address="127.0.0.1", session="x"), ["notice.*"])
        assert "until" not in await _asked_of(olga)
        for how in ("propose", "glass"):
            refused = await olga.post("/notice/confirm", data={**fields, "how": how})
            assert refused.status_code == 400
            assert "no end is planned" in refused.text
        assert await told(world) is None
        assert (world.desk.steering.proposals(), world.desk.steering.glass()) == ([], [])
        await olga.post("/notice/confirm", data={**fields, "until": "", "how": "glass"})
        assert await told(world) is not None


async def _asked_of(client: httpx.AsyncClient) -> list[str]:
    """Return the fields of a form to confirm some text."""
    page = (await client.post("/notice/preview", data={"zh": "", "en": "Another"})).text
    form = page[page.index('action="/notice/confirm"') :]
    return re.findall(r'name="(\w+)"', form[: form.index("</form>")])
