"""What a person meets on the pages beside what they came for: no such page, other languages, addresses of entries."""

import html
import re
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import pytest

from redrush.api.diary import Line
from redrush.api.failovers import Failovers
from redrush.console.pages.drafting import CAMPAIGNS_SHOWN
from redrush.control.campaigns import Listing, RoundTimes, keep_listings
from redrush.errors import ConfigError
from tests.campaigns import OFF, a_round, campaign
from tests.console.console_world import TEXT, World, change, get, post, with_server, without_server

SAID: Final = re.compile(r'<p class="note" role="status">([^<]*)<')
DRAW: Final = """\
[[round]]
id = "d"
kind = "draw"
opens = "now"
lasts = "1h"
plays = { per_user = 3 }
[[round.prize]]
id = "phone"
name = "手机"
holds = "goods"
count = 3
worth = "10.00"
odds = "1/9"
[[round.prize]]
id = "red"
name = "红包"
holds = "money"
count = 20
amount = "0.50"
release = { per_second = 2 }
"""


@pytest.mark.parametrize("name", [None, "vera"])
async def test_a_path_that_there_is_not_is_a_page_for_people_and_json_for_programs(
    tmp_path: Path, name: str | None
) -> None:
    async with without_server(tmp_path) as world, world.client(name, **{"Accept-Language": "zh-CN"}) as client:
        for path in ("/nosuch", "/campaigns/nosuch", "/api"):
            answer = await client.get(path)
            assert answer.status_code == 404
            assert answer.headers["content-type"].startswith("text/html")
            assert "没有这个页面" in answer.text
            assert ("<header" in answer.text) == (name is not None), "the way on is for who is logged in"
        answer = await client.get("/api/v1/nosuch")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_page_that_a_role_may_not_see_says_so_in_the_language_of_the_reader(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("vera", **{"Accept-Language": "zh-CN"}) as vera:
        for path in ("/bills", "/story", "/people", "/refund"):
            answer = await vera.get(path)
            assert answer.status_code == 403
            assert "角色，vera 是“只读”" in answer.text, path
            assert "this needs" not in answer.text, path


async def test_another_language_is_chosen_where_one_is_also_after_a_form(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("olga") as olga:
        asked = {"verb": "set", "name": "sampling.non_core", "value": "0.5"}
        page = (await olga.post("/steer/preview", data=asked, headers={"Referer": "http://127.0.0.1:8090/steer"})).text
        assert set(re.findall(r'name="then" value="([^"]*)"', page)) == {"/steer"}, "a form's own path is no page"
        page = (await olga.get("/story?user=ann")).text
        assert set(re.findall(r'name="then" value="([^"]*)"', page)) == {"/story?user=ann"}


async def test_what_was_refused_is_said_in_the_language_of_the_page(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("vera", **{"Accept-Language": "zh-CN"}) as vera:
        assert "没有场次“zzz”" in (await vera.get("/grants?pot=zzz")).text


async def test_what_was_done_is_said_once_and_no_link_makes_a_page_say_anything(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("anna", **{"Accept-Language": "zh-CN"}) as anna:
        assert SAID.findall((await anna.get("/me?note=call+0900")).text) == []
        going = await anna.post("/people/otto/role", data={"role": "viewer"})
        assert (going.status_code, going.headers["location"]) == (303, "/people")
        assert [said.split(maxsplit=1)[0] for said in SAID.findall((await anna.get("/people")).text)] == ["otto:"]
        assert SAID.findall((await anna.get("/people")).text) == [], "a page that is loaded again says it no more"


async def test_a_login_leads_to_what_was_asked_for_with_what_it_is_about(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client() as nobody:
        for path in ("/audit?entry=switches-12&campaign=c", "/steer?campaign=autumn"):
            answer = await nobody.get(path)
            assert (answer.status_code, parse_qs(urlsplit(answer.headers["location"]).query)) == (303, {"then": [path]})
        assert (await nobody.get("/login")).headers["content-type"] == "text/html; charset=utf-8"


async def test_whose_story_somebody_read_is_not_told_to_viewers(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("olga") as olga, world.client("vera") as vera:
        await olga.get("/story?user=zhang-wei-7")
        assert "zhang-wei-7" in (await olga.get("/audit")).text
        assert "zhang-wei-7" not in (await vera.get("/audit")).text
        assert "zhang-wei-7" not in (await vera.get("/api/v1/audit")).text
        assert (await get(vera, "/audit?about=zhang-wei-7"))["entries"] == [], "nor by trying ids"
        assert "zh…-7" in (await vera.get("/audit")).text


async def test_signs_that_turn_a_text_around_are_shown_as_their_numbers(tmp_path: Path) -> None:
    why = "gpj\u202eexe \x1b[31m\x00 \u2066end"
    async with without_server(tmp_path) as world, world.client("olga") as olga:
        asked = {"verb": "set", "name": "sampling.non_core", "value": 0.5}
        await post(olga, "/proposals", 201, asked=asked, why=why)
        for path in ("/audit", "/waiting"):
            page = (await olga.get(path)).text
            assert r"gpj\u202eexe \x1b[31m\x00 \u2066end" in page, path
            assert not set("\u202e\x1b\x00\u2066") & set(page), path
        await post(olga, "/drafts", 201, name="gala", kind="packets")
        text = 'x = "a\u202eb👨\u200d👩"\n'
        world.desk.drafting.drafts.write("gala", text)
        assert html.escape(text, quote=True).replace("&quot;", "&#34;") in (await olga.get("/drafts/gala")).text


async def test_an_entry_of_the_log_has_an_address_that_stays(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("olga") as olga:
        await change(olga, verb="set", name="sampling.non_core", value=0.5)
        await change(olga, verb="set", name="sampling.non_core", value=0.25)
        page = (await olga.get("/audit?campaign=c")).text
        assert "/audit?entry=switches-1&amp;campaign=c" in page
        assert '<input type="hidden" name="campaign" value="c">' in page, "a filter stays in its campaign"
        (entry,) = (await get(olga, "/audit?entry=switches-1"))["entries"]
        assert [one["to"] for one in entry["changes"]] == [0.5]
        alone = (await olga.get("/audit?entry=switches-1")).text
        assert "switches-1" in alone
        assert "switches-2" not in alone


async def test_a_form_without_a_campaign_is_about_the_first_one(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("olga") as olga:
        for path in (
            "/story?campaign=&user=ann",
            "/grants?campaign=&pot=r1",
            "/audit?campaign=&who=o",
            "/steer?campaign=",
        ):
            assert (await olga.get(path)).status_code == 200, path


async def test_a_table_of_one_round_has_that_round_alone(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("olga") as olga:
        assert "/grants.csv?campaign=&amp;pot=r2" in (await olga.get("/grants?pot=r2")).text
        answer = await olga.get("/grants.csv?pot=r2")
        assert (answer.status_code, len(answer.text.splitlines())) == (200, 1)


async def test_the_prizes_of_a_draw_stand_under_one_round_with_its_claims(tmp_path: Path) -> None:
    text = campaign(a_round(), DRAW, tables=OFF)
    async with with_server(tmp_path, text) as world, world.client("vera") as vera:
        page = (await vera.get("/")).text
        assert re.findall(r'data-round="([^"]*)"', page) == ["c/r1", "c/d"]
        assert re.findall(r'data-pot="([^"]*)"', page) == ["c/r1", "c/d.phone", "c/d.red"]
        assert page.count('data-cell="claims_s"') == 2, "nobody asks for one prize of a draw"
        assert page.count('data-cell="in_play"') == 3


async def test_a_draft_shows_what_it_hands_out_and_each_doubt_once(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("olga", **{"Accept-Language": "zh-CN"}) as olga:
        await post(olga, "/drafts", 201, name="d1", kind="packets")
        text = campaign(DRAW, id="d1")
        answer = await olga.put("/api/v1/drafts/d1", json={"text": text})
        checked = answer.json()
        (doubt,) = checked["warnings"]
        assert not [line for line in checked["says"] if doubt in line]
        page = (await olga.get("/drafts/d1")).text
        assert page.count(doubt) == 1
        for said in ("每次抽奖 1/9", "每秒 2.0 个", "↳ 手机", "抽奖"):
            assert said in page, said
        await olga.put("/api/v1/drafts/d1/files/users.txt", content=b"ann\nbob\n")
        assert "<code>users.txt</code> <small>8 字节</small>" in (await olga.get("/drafts/d1")).text


async def test_of_many_campaigns_a_page_shows_some_and_of_many_rounds_the_first(tmp_path: Path) -> None:
    many = tuple(RoundTimes(f"r{number}", number * 10, number * 10 + 5) for number in range(20))
    async with without_server(tmp_path) as world, world.client("vera") as vera:
        listings = [
            Listing(id=f"k{number:03}", name=f"n{number}", rounds=many, added_at="2026-01-01T00:00:00Z")
            for number in range(120)
        ]
        keep_listings(world.data_dir, listings)
        page = (await vera.get("/campaigns")).text
        assert page.count('<article class="card">') == CAMPAIGNS_SHOWN
        assert page.index('/steer?campaign=c"') < page.index("/steer?campaign=k000"), "what is open stands first"
        assert page.count("round=r19") == 0
        assert "/campaigns?page=1" in page
        last = (await vera.get("/campaigns?page=2")).text
        assert last.count('<article class="card">') == 121 - 2 * CAMPAIGNS_SHOWN
        assert "k119" in last
        assert (await vera.get("/campaigns?campaign=k007")).text.count("k007&amp;round=r19") == 1
        assert (await vera.get("/campaigns?state=open")).text.count('<article class="card">') == 1
        for odd in ("page=-1", "page=x", "page=999999", "state=none", "campaign=none"):
            assert (await vera.get(f"/campaigns?{odd}")).status_code == 200, odd


async def test_a_second_console_of_an_event_is_refused(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world:
        with pytest.raises(ConfigError, match="another console of this event runs"):
            World(world.data_dir, {})
        world.desk.let_go()
        second = World(world.data_dir, {})
        await second.desk.stop()


async def test_what_became_of_a_set_is_written_down_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = {"set": "s1", "epoch": 2, "primary": "a:1", "durability": "replica", "since": "2026-01-01T00:00:00Z"}
    async with without_server(tmp_path, TEXT) as world:
        told: list[Line] = []

        async def asked(path: str) -> dict[str, object]:
            assert path == "/v1/sets"
            return {"sets": [one]}

        monkeypatch.setattr(world.desk.links.first, "_deploy", tmp_path / "deployment.toml")
        monkeypatch.setattr(world.desk.links.first, "get", asked)
        path = tmp_path / "console-sets.json"
        failovers = Failovers(world.desk.links, path, world.desk.diary, told.append)
        await failovers.look()
        assert failovers.history() == [], "how it was when it was looked at first is no change"
        one |= {"epoch": 3, "primary": "b:1", "durability": "disk"}
        failovers = Failovers(world.desk.links, path, world.desk.diary, told.append)  # the console was started again
        await failovers.look()
        await failovers.look()
        assert [line.about for line in told] == ["s1: primary a:1 → b:1, rests on replica → disk, epoch 2 → 3"]
        assert [(found["what"], found["why"]) for found in failovers.history()] == [
            (told[0].about, "since 2026-01-01T00:00:00Z")
        ]
