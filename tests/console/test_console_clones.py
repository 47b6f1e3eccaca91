"""A campaign that is served, or is over, once more: its text with comments, at other times, and nothing that is sealed;
and drafts that wait for the time at which they are served."""

import datetime
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from markupsafe import escape

from redrush.api.accounts import Role
from redrush.api.steering import LATE_MAX_S
from redrush.control.data_dir import DataDir
from redrush.control.event import load_event
from redrush.operate.campaigns import list_campaigns
from tests.campaigns import OFF, a_round, campaign
from tests.console.console_world import World, get, post, with_server, without_server

OPENS = "2099-03-01T20:00:00+08:00"
TEXT = campaign(
    a_round("late", "10.00", 100, opens="2090-01-01T13:30:00Z  # half past nine in the evening"),
    a_round("early", "10.00", 100, opens="2090-01-01T20:00:00+08:00"),
    a_round("hourly", "1.00", 10, opens="2090-01-02T00:00:00Z", lasts="10m")
    + 'every = "1h"\nuntil = 2090-01-02T02:00:00Z\n',
    id="gala",
    name="晚会",
    tables=OFF,
).replace('id = "gala"', 'id = "gala" # of the year')


async def put(client: httpx.AsyncClient, where: str, **fields: Any) -> None:
    answer = await client.put(f"/api/v1{where}", json=fields)
    assert answer.status_code == 200, answer.text


async def drafted(client: httpx.AsyncClient, name: str, text: str) -> None:
    await post(client, "/drafts", 201, name=name)
    await put(client, f"/drafts/{name}", text=text)


async def test_a_campaign_is_cloned_with_its_comments_at_other_times(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("olga") as olga:
        await drafted(olga, "gala", TEXT.replace("[campaign]", '[campaign]\naudience = "who.txt"', 1))
        await olga.put("/api/v1/drafts/gala/files/who.txt", content=b"ann\nbob\n")
        await post(olga, "/drafts/gala/serve", yes=True)
        await post(olga, "/campaigns/gala/end", typed="gala", why="over")
        cloned = await post(olga, "/drafts", 201, name="again", of_campaign="gala", opens=OPENS)
        text: str = cloned["text"]
        assert 'id = "again" # of the year' in text
        assert "opens = 2099-03-01T21:30:00+08:00 # half past" in text.replace("  #", " #"), text
        assert "opens = 2099-03-01T20:00:00+08:00" in text
        assert "until = 2099-03-02T10:00:00+08:00" in text
        checked = await get(olga, "/drafts/again/check")
        assert checked["ok"], checked
        assert [one["opens"][:16] for one in checked["rounds"]][:2] == ["2099-03-01T13:30", "2099-03-01T12:00"]
        await post(olga, "/drafts/again/serve", yes=True)
        first, second = (load_event(_directory(world, name)) for name in ("gala", "again"))
        assert first.sealed.seed != second.sealed.seed, "nothing sealed came along"
        assert second.open.audience == tmp_path / "console-drafts" / "again" / "who.txt"
        assert second.open.audience.read_bytes() == b"ann\nbob\n"
        assert "clone campaign gala as again" in (await olga.get("/audit")).text


async def test_a_clone_opens_in_a_year_that_a_file_may_have(tmp_path: Path) -> None:
    far = campaign(
        a_round("a", "1.00", 10, opens="2000-01-01T00:00:00Z"),
        a_round("b", "1.00", 10, opens="8999-01-01T00:00:00Z"),
        id="far",
    )
    async with without_server(tmp_path, far) as world, world.client("olga") as olga:
        for opens, told in (
            ("9999-12-31T23:59:59-12:00", "9999 is not a year of 2000 to 9000"),
            ("2099-03-01T20:00:00+08:00:30", "has an offset with seconds"),
            ("8999-01-01T00:00:00Z", "then round b would open after the last year that there is"),
        ):
            refused = await post(olga, "/drafts", 400, name="again", of_campaign="far", opens=opens)
            assert told in refused["detail"]
        assert not list((tmp_path / "console-drafts").glob("again*"))


def _directory(world: World, name: str) -> DataDir:
    return DataDir(Path(next(one for one in list_campaigns(world.data_dir) if one["campaign"] == name)["directory"]))


async def test_what_the_page_is_made_of_is_found_from_the_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "goat.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (tmp_path / "gong.mp3").write_bytes(b"ID3")
    page = (
        '[page]\npicture = "goat.svg"\nsounds = { opening = "tune", won = "gong.mp3" }\ntexts.en = { won = "Hooray" }\n'
    )
    text = campaign(a_round("a", "1.00", 10), id="c", tables=OFF + page)
    async with without_server(tmp_path, text) as world, world.client("olga") as olga:
        cloned = await post(olga, "/drafts", 201, name="c2", of_campaign="c", opens=OPENS)
        assert f'picture = "{tmp_path}/goat.svg"' in cloned["text"], cloned["text"]
        assert f'{{ opening = "tune", won = "{tmp_path}/gong.mp3" }}' in cloned["text"]
        assert 'won = "Hooray"' in cloned["text"]
        assert (await get(olga, "/drafts/c2/check"))["ok"]


async def test_the_first_campaign_is_cloned_and_now_becomes_an_instant(tmp_path: Path) -> None:
    now = campaign(a_round("a", "1.00", 10), a_round("b", "1.00", 10), id="c", tables=OFF)
    assert now.count('opens = "now"') == 2
    async with without_server(tmp_path, now) as world, world.client("olga") as olga:
        cloned = await post(olga, "/drafts", 201, name="c2", of_campaign="c", opens=OPENS)
        assert cloned["text"].count(f"opens = {OPENS}") == 2, cloned["text"]
        assert cloned["text"].replace(f"opens = {OPENS}", 'opens = "now"').replace('"c2"', '"c"') == now
        for name, of, opens, status in (
            ("c2", "c", OPENS, 400),
            ("c3", "nobody", OPENS, 404),
            ("c3", "c", "tomorrow", 400),
            ("c3", "c", "2099-03-01T20:00:00", 400),
            ("../x", "c", OPENS, 400),
        ):
            await post(olga, "/drafts", status, name=name, of_campaign=of, opens=opens)
        (tmp_path / "written.json").unlink()
        told = await post(olga, "/drafts", 400, name="c3", of_campaign="c", opens=OPENS)
        assert "earlier release" in told["detail"]
        assert [one["name"] for one in await get(olga, "/drafts")] == ["c2"]


async def test_an_amended_campaign_is_cloned_as_it_was_amended_and_codes_stay(tmp_path: Path) -> None:
    draw = campaign(
        """
[[round]]
id = "d"
opens = 2090-01-01T00:00:00Z
lasts = "1h"
kind = "draw"
plays = { per_user = 3 }
[[round.prize]]
id = "coupon"
holds = "code"
codes = "codes.csv"
odds = "1/2"
""",
        id="draw",
        tables=OFF,
    )
    async with without_server(tmp_path) as world, world.client("olga") as olga:
        await drafted(olga, "draw", draw)
        await olga.put("/api/v1/drafts/draw/files/codes.csv", content=b"AAA\nBBB\n")
        await post(olga, "/drafts/draw/serve", yes=True)
        await put(olga, "/drafts/draw", text=draw.replace('name = "', 'name = "another '))
        assert (await post(olga, "/drafts/draw/serve", yes=True))["done"]
        cloned = await post(olga, "/drafts", 201, name="draw2", of_campaign="draw", opens=OPENS)
        assert 'name = "another ' in cloned["text"]
        beside = {path.name for path in (tmp_path / "console-drafts" / "draw2").iterdir()}
        assert beside == {"draw2.toml"}, "codes are given once"
        assert "codes.csv" in (await get(olga, "/drafts/draw2/check"))["problems"][0]["said"]


async def test_a_draft_is_served_when_its_time_comes(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga:
        await drafted(olga, "gala", TEXT)
        due_s = world.desk.now_s() + 3_600
        made = await post(olga, "/drafts/gala/schedule", 201, due_s=due_s, why="for the evening")
        assert (made["state"], made["campaign"], made["by"]) == ("waiting", "gala", "olga")
        await post(olga, "/drafts/gala/schedule", 409, due_s=due_s)
        assert "gala" in (await olga.get("/campaigns")).text
        await world.desk.schedules.tick()
        assert len(list_campaigns(world.data_dir)) == 1
        world.ahead_us = 3_601 * 1_000_000
        await world.desk.schedules.tick()
        assert [one["campaign"] for one in list_campaigns(world.data_dir)] == ["c", "gala"]
        assert [one.state for one in world.desk.schedules.all()] == ["added"]
        assert '"who":"olga"' in (tmp_path / "campaigns.jsonl").read_text()
        async with world.client("otto") as otto:  # the session of before is over by this clock
            audit = (await otto.get("/audit")).text
            assert "schedule campaign gala" in audit
            assert "for the evening" in audit
            await post(otto, f"/schedules/{made['id']}/cancel", 409)


SUSPENDED = {
    "edited": "changed since",
    "listed": "changed since",
    "served": "is there meanwhile",
    "gone": "no draft",
    "others": "may not steer",
    "late": "was not running",
}
"""What a schedule says, by what has happened to its draft meanwhile."""


async def test_a_schedule_whose_base_has_changed_is_suspended_and_shown(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("olga") as olga, world.client("otto") as otto:
        for name in SUSPENDED:
            await drafted(olga, name, TEXT.replace('"gala"', f'"{name}"'))
            asking = otto if name == "others" else olga
            await post(asking, f"/drafts/{name}/schedule", 201, due_s=world.desk.now_s() + 3_600)
        await put(olga, "/drafts/edited/value", path="campaign.name", value="another")
        await olga.put("/api/v1/drafts/listed/files/who.txt", content=b"ann\n")
        await post(olga, "/drafts/served/serve", yes=True)
        await olga.delete("/api/v1/drafts/gone")
        world.desk.accounts.change("otto", role=Role.VIEWER)
        before = len(list_campaigns(world.data_dir))
        await world.desk.schedules.tick()
        states = {one.campaign: one.state for one in world.desk.schedules.all()}
        assert states.pop("late") == "waiting"
        assert set(states.values()) == {"suspended"}, states
        world.ahead_us = (3_600 + LATE_MAX_S + 2) * 1_000_000
        await world.desk.schedules.tick()
        async with world.client("vera") as vera:
            page = (await vera.get("/campaigns")).text
            for one in await get(vera, "/schedules"):
                assert (one["state"], SUSPENDED[one["campaign"]] in one["said"]) == ("suspended", True), one
                assert str(escape(one["said"])) in page, one
        await world.desk.schedules.tick()
        assert len(list_campaigns(world.data_dir)) == before, "what is suspended changes nothing"


async def test_what_cannot_be_scheduled_is_refused_and_a_schedule_is_cancelled(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("olga") as olga, world.client("otto") as otto:
        await drafted(olga, "gala", TEXT)
        now_s = world.desk.now_s()
        after_its_opening_s = int(datetime.datetime.fromisoformat("2090-01-01T12:00:01Z").timestamp())
        await post(olga, "/drafts/gala/schedule", 400, due_s=now_s - 1)
        await post(olga, "/drafts/gala/schedule", 400, due_s=after_its_opening_s)  # more than a year ahead
        for of_no_calendar_s in (253_402_300_800, 10**12):
            told = await post(olga, "/drafts/gala/schedule", 400, due_s=of_no_calendar_s)
            assert told["detail"] == "the time of a schedule has to be in the future, and within a year"
        await put(olga, "/drafts/gala/value", path="round[0].packets", value="0")
        told = await post(olga, "/drafts/gala/schedule", 409, due_s=now_s + 60)
        assert "packets" in told["detail"]
        soon = datetime.datetime.fromtimestamp(now_s + 30, datetime.UTC).isoformat()
        await put(olga, "/drafts/gala", text=TEXT.replace("2090-01-01T20:00:00+08:00", soon))
        told = await post(olga, "/drafts/gala/schedule", 409, due_s=now_s + 60)
        assert "round early opens" in told["detail"]
        await put(olga, "/drafts/gala", text=TEXT)
        answer = await olga.post("/drafts/gala/serve")
        assert 'action="/drafts/gala/schedule"' in answer.text
        due = datetime.datetime.fromtimestamp(now_s + 3_600, datetime.UTC).isoformat()
        seen = re.search(r'name="seen" value="(\w+)"', answer.text)
        assert seen is not None
        made = await olga.post("/drafts/gala/schedule", data={"due": due, "why": "by the form", "seen": seen[1]})
        assert made.status_code == 303, made.text
        assert "by the form" in (await olga.get("/drafts/gala")).text
        (one,) = await get(otto, "/schedules")
        assert (await otto.post(f"/schedules/{one['id']}/cancel")).status_code == 303
        assert [found["state"] for found in await get(olga, "/schedules")] == ["cancelled"]
        await post(otto, "/schedules/none/cancel", 404)
        world.ahead_us = 3_601 * 1_000_000
        await world.desk.schedules.tick()
        assert len(list_campaigns(world.data_dir)) == 1


async def test_a_schedule_that_the_console_died_in_is_not_done_twice(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("olga") as olga:
        await drafted(olga, "gala", TEXT)
        await post(olga, "/drafts/gala/schedule", 201, due_s=world.desk.now_s() + 3_600)
        world.ahead_us = 3_601 * 1_000_000
        kept = tmp_path / "console-schedules.json"
        await world.desk.schedules.tick()
        kept.write_text(kept.read_text().replace('"added"', '"being added"'))
        await world.desk.stop()
        again = World(world.data_dir, {})
        try:
            await again.desk.schedules.tick()
            assert [one.state for one in again.desk.schedules.all()] == ["added"]
        finally:
            await again.desk.stop()
