"""Campaigns written in the console: the validator at the key, comments that stay, lists that come, and serving one."""

import hashlib
import html
import json
import re
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from redrush.api.drills import Played
from redrush.core.rush.instants import rfc3339_s
from redrush.operate.campaigns import list_campaigns
from redrush.operate.draft_form import set_value
from redrush.operate.drafts import Problem, problem_of, templates
from tests.campaigns import a_round, campaign
from tests.console.console_world import change, get, post, with_server, without_server
from tests.patience import OwnTime

OTHER = campaign(a_round("x1", "10.00", 100), id="other", name="另一个")


async def put(client: httpx.AsyncClient, where: str, **fields: Any) -> Any:
    answer = await client.put(f"/api/v1{where}", json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_every_template_is_a_draft_that_is_fine(tmp_path: Path) -> None:
    assert {"packets", "group"} <= set(templates())
    async with without_server(tmp_path) as world, world.client("olga") as olga:
        for kind in templates():
            await post(olga, "/drafts", 201, name=f"t-{kind}", kind=kind)
            checked = await get(olga, f"/drafts/t-{kind}/check")
            said = [one["said"] for one in checked["problems"]]
            assert checked["ok"] or all("audience" in one or "codes" in one or ".csv" in one for one in said), said


async def test_the_validator_speaks_at_the_line_and_the_key(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("olga") as olga:
        await post(olga, "/drafts", 201, name="d1", kind="packets")
        text = OTHER.replace('total = "10.00"', 'total = "0.50"')
        checked = await put(olga, "/drafts/d1", text=text)
        (problem,) = checked["problems"]
        line = problem["line"]
        assert "total" in problem["key"] or "packets" in problem["key"] or "round" in problem["key"]
        assert text.splitlines()[line - 1].strip()
        page = (await olga.get("/drafts/d1")).text
        assert f'data-line="{line}"' in page


def test_a_sentence_of_the_validator_is_taken_apart() -> None:
    assert problem_of('/x/d.toml:7: round[0].total: "5" is less') == Problem(
        line=7, key="round[0].total", said='"5" is less'
    )
    assert problem_of("/x/d.toml: cannot be read").line is None
    assert problem_of("something else").said == "something else"


def test_a_form_changes_a_value_and_comments_stay() -> None:
    text = (
        '# first\n[campaign]\nid = "a" # its id\n\n[[round]]\n# how many\npackets = 5\nopens = 2027-01-01T00:00:00Z\n'
    )
    changed = set_value(set_value(text, "round[0].packets", "7"), "campaign.id", "b")
    assert changed == text.replace("packets = 5", "packets = 7").replace('id = "a"', 'id = "b"')
    for path, value in [("round[1].packets", "7"), ("nothing", "1"), ("round[0].packets", "seven")]:
        with pytest.raises(Exception, match=r"text has no|no value"):
            set_value(text, path, value)


async def test_a_key_that_is_there_twice_leaves_the_draft_to_be_mended(tmp_path: Path) -> None:
    """What keeps comments has other words for that than for all else that is no TOML."""
    async with without_server(tmp_path / "d") as world, world.client("olga") as olga:
        await post(olga, "/drafts", 201, name="d1", kind="packets")
        for wrong in ('[page]\ntitle = { en = "a", en = "b" }\n', "[a]\nb = 1\n[a.b]\n"):
            checked = await put(olga, "/drafts/d1", text=OTHER + wrong)
            assert ["stands there twice" in one["said"] for one in checked["problems"]] == [True]
            assert (await get(olga, "/drafts/d1"))["fields"] == []
            refused = await olga.put("/api/v1/drafts/d1/value", json={"path": "campaign.name", "value": "x"})
            assert (refused.status_code, "the text is no TOML" in refused.json()["detail"]) == (400, True)
        await put(olga, "/drafts/d1", text=OTHER)
        assert (await get(olga, "/drafts/d1"))["fields"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("x = " + "[" * 30_000, "not valid TOML: a value is too long or nested too deeply"),
        ("x = " + "[" * 10_000 + "]" * 10_000, "not valid TOML: a value is too long or nested too deeply"),
        ("x = " + "1" * 5_000, "not valid TOML: a value is too long or nested too deeply"),
        ("a." * 5_000 + "b = 1", 'unknown key "a"'),
    ],
)
async def test_a_draft_that_is_too_deep_is_told_at_its_line_and_can_be_mended(
    tmp_path: Path, line: str, said: str
) -> None:
    async with without_server(tmp_path / "d") as world, world.client("olga") as olga:
        await post(olga, "/drafts", 201, name="d1", kind="packets")
        checked = await put(olga, "/drafts/d1", text=f"# one\n{line}\n{OTHER}")
        (problem,) = checked["problems"]
        assert (problem["line"], problem["said"]) == (2, said)
        assert (await get(olga, "/drafts/d1/check"))["problems"] == [problem]
        assert (await get(olga, "/drafts/d1"))["fields"] == []
        page = await olga.get("/drafts/d1")
        assert (page.status_code, said in html.unescape(page.text)) == (200, True)
        refused = await olga.put("/api/v1/drafts/d1/value", json={"path": "campaign.name", "value": "x"})
        assert (refused.status_code, "no value of it can be changed" in refused.json()["detail"]) == (400, True)
        await put(olga, "/drafts/d1", text=OTHER)
        deep = await olga.put("/api/v1/drafts/d1/value", json={"path": "round[0].packets", "value": "[" * 9_000})
        assert deep.status_code == 400
        assert (await get(olga, "/drafts/d1"))["fields"]


async def test_a_draft_is_served_by_the_running_server_and_amended(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga:
        await post(olga, "/drafts", 201, name="other", kind="packets")
        await put(olga, "/drafts/other", text=OTHER)
        told = await post(olga, "/drafts/other/serve")
        assert (told["new"], told["done"]) == (True, False)
        assert len(list_campaigns(world.data_dir)) == 1, "what is only told changes nothing"
        await put(olga, "/drafts/other/value", path="campaign.name", value="not seen")
        page = await olga.post("/drafts/other/serve", data={"yes": "yes", "seen": told["seen"], "why": "more"})
        assert (page.status_code, "changed since you looked" in page.text) == (409, True)
        await post(olga, "/drafts/other/serve", 409, yes=True, seen=told["seen"], why="more")
        assert len(list_campaigns(world.data_dir)) == 1, "what nobody has seen is not served"
        told = await post(olga, "/drafts/other/serve")
        done = await post(olga, "/drafts/other/serve", yes=True, seen=told["seen"], why="more")
        assert done["done"]
        assert [one["campaign"] for one in await get(olga, "/campaigns")] == ["c", "other"]
        await put(olga, "/drafts/other/value", path="campaign.name", value="新名")
        amended = await post(olga, "/drafts/other/serve")
        assert not amended["new"]
        assert [one["after"] for one in amended["changes"]] == ["新名"]
        text = (await get(olga, "/drafts/other"))["text"]
        await put(olga, "/drafts/other", text=f"{text}\n[gate]\nconnections_max = 999\n")
        page = await olga.post("/drafts/other/serve", headers={"Accept-Language": "zh-CN"})
        assert "服务器下次启动起生效" in page.text
        await put(olga, "/drafts/other", text=text)
        served = [line.what for line in world.desk.diary.lines()].count("serve draft")
        await put(olga, "/drafts/other/value", path="campaign.currency", value="USD")
        refused = await post(olga, "/drafts/other/serve", yes=True, why="dollars")
        assert (refused["done"], bool(refused["changes"][0]["refused"])) == (False, True)
        assert served == 1
        assert [line.what for line in world.desk.diary.lines()].count("serve draft") == served, "nothing was served"
        await post(olga, "/campaigns/other/end", 400, typed="wrong")
        told = await post(olga, "/campaigns/none/end", 404, typed="wrong")
        assert told["detail"] == 'there is no campaign "none"'
        await post(olga, "/campaigns/other/end", typed="other", why="over")
        told = await post(olga, "/campaigns/other/end", 409, typed="wrong")
        assert "was ended at" in told["detail"]
        assert (await get(olga, "/campaigns"))[1]["state"] == "ended"
        log = (tmp_path / "campaigns.jsonl").read_text()
        assert log.count('"who":"olga"') == 2


async def test_a_list_comes_in_pieces_and_its_faults_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with without_server(tmp_path) as world, world.client("olga") as olga:
        await post(olga, "/drafts", 201, name="d1", kind="packets")
        content = b"".join(b"user%07d\n" % number for number in range(100_000))
        answer = await olga.put("/api/v1/drafts/d1/files/users.txt", content=content)
        told = answer.json()
        assert (told["lines"], told["bytes"], told["problems"]) == (100_000, len(content), [])
        assert told["sha256"] == hashlib.sha256(content).hexdigest()
        bad = await olga.put("/api/v1/drafts/d1/files/users.txt", content=b"good\nbad\x00one\n")
        assert ":2:" in bad.json()["problems"][0]
        codes = await olga.put("/api/v1/drafts/d1/files/codes.csv", content=b"AAA111\nBBB222\nAAA111\n")
        assert "line 3" in codes.json()["problems"][0], codes.text
        codes = await olga.put("/api/v1/drafts/d1/files/codes.csv", content=b"AAA111\nBBB222\n")
        assert codes.json()["problems"] == []
        kept = [line.about for line in world.desk.diary.lines() if line.what == "upload"]
        assert kept == ["d1: users.txt"] * 2 + ["d1: codes.csv"] * 2
        for name in ("..%2F..%2Faccounts.json", "users.exe", ".txt"):
            assert (await olga.put(f"/api/v1/drafts/d1/files/{name}", content=b"x")).status_code in {400, 404}, name
        assert (await olga.put("/api/v1/drafts/none/files/users.txt", content=b"x")).status_code == 400
        monkeypatch.setattr("redrush.operate.drafts.UPLOAD_BYTES_MAX", 9)
        assert (await olga.put("/api/v1/drafts/d1/files/long.txt", content=b"x" * 10)).status_code == 400
        assert [line.about for line in world.desk.diary.lines() if line.what == "upload"] == kept, "nothing refused"


@pytest.mark.soak
async def test_an_audience_of_a_million_takes_no_memory(tmp_path: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, 1_000_000, 1_000):
            yield b"".join(b"user%09d\n" % number for number in range(start, start + 1_000))

    async with without_server(tmp_path) as world:
        drafts = world.desk.drafting.drafts
        drafts.begin("d1", "packets")
        (tmp_path / "console-drafts" / "d1" / "ids-code.csv").touch()
        tracemalloc.start()
        told = await drafts.take("d1", "big-code.csv", pieces())
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert told.lines == 1_000_000
        assert most < 2 << 20


async def test_a_viewer_reads_drafts_and_writes_none(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("vera") as vera, world.client("olga") as olga:
        await post(olga, "/drafts", 201, name="d1", kind="packets")
        page = (await vera.get("/drafts/d1")).text
        assert "readonly" in page
        assert 'action="/drafts/d1/serve"' not in page
        await post(vera, "/drafts", 403, name="d2", kind="packets")


async def test_a_checklist_is_green_or_signed_for_what_was_found(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga:
        listed = await get(olga, "/checklist?round=r2")
        found = {item["name"]: item["ok"] for item in listed["items"]}
        assert not listed["ready"]
        assert all(found[name] for name in ("sealed", "server", "stores", "clocks", "switches", "playbooks"))
        await post(olga, "/checklist", 400, round="r2", item="page", why=" ")
        for item in listed["items"]:
            if not item["ok"]:
                listed = await post(olga, "/checklist", round="r2", item=item["name"], why="seen myself")
        assert listed["ready"]
        await change(olga, verb="set", name="sampling.non_core", value=0.5)
        later = await get(olga, "/checklist?round=r2")
        assert not later["ready"], "a switch that was set since is another finding"
        assert "sampling.non_core" in next(one["found"] for one in later["items"] if one["name"] == "switches")
        assert "olga" in (await olga.get("/checklist?round=r2")).text
        await get(olga, "/checklist?round=none", 404)


async def test_a_checklist_knows_the_last_drill_that_has_passed(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("vera") as vera:
        listed = (await get(vera, "/checklist?round=r2"))["items"]
        assert not next(one for one in listed if one["name"] == "drill")["ok"]
        today = rfc3339_s(world.desk.now_s())
        for drill, passed in (("overload", True), ("faults", False)):
            world.desk.drills.keep(Played(drill=drill, by="olga", why="", at=today, passed=passed, said=""))
        listed = (await get(vera, "/checklist?round=r2"))["items"]
        found = next(one for one in listed if one["name"] == "drill")
        assert (found["ok"], found["found"]) == (True, f"overload has passed, on {today[:10]}")
        page = (await vera.get("/checklist?round=r2", headers={"Accept-Language": "zh"})).text
        assert f"overload 已于 {today[:10]} 通过" in page
        world.ahead_us = 31 * 86_400_000_000
        assert not (await world.desk.checklists.of(None, "r2")).items[-6].ok


async def test_what_somebody_else_has_written_since_is_not_written_over(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("olga") as olga, world.client("otto") as otto:
        seen = (await post(olga, "/drafts", 201, name="d1", kind="packets"))["edition"]
        mine = OTHER.replace("另一个", "mine")
        kept = await put(olga, "/drafts/d1", text=OTHER, seen=seen)
        for where, fields in (
            ("/drafts/d1", {"text": mine}),
            ("/drafts/d1/value", {"path": "campaign.name", "value": "mine"}),
        ):
            late = await otto.put(f"/api/v1{where}", json={**fields, "seen": seen})
            assert (late.status_code, "somebody else has written" in late.json()["detail"]) == (409, True), where
        assert (await otto.delete(f"/api/v1/drafts/d1?seen={seen}")).status_code == 409
        assert (await get(otto, "/drafts/d1"))["text"] == OTHER
        assert (await get(otto, "/drafts/d1"))["edition"] == kept["edition"]
        same = await otto.put("/api/v1/drafts/d1", json={"text": OTHER, "seen": seen})
        assert same.status_code == 200, "who wants what is there has it"
        value = await put(otto, "/drafts/d1/value", path="campaign.name", value="mine", seen=kept["edition"])
        assert value["text"] == mine
        written = [line for line in world.desk.diary.lines() if line.what == "write draft"]
        assert [line.who for line in written] == ["olga", "otto"], "what was not kept is in no log"
        due_s = world.desk.now_s() + 3_600
        late = await otto.post("/api/v1/drafts/d1/schedule", json={"due_s": due_s, "seen": kept["seen"]})
        assert (late.status_code, "changed since you looked" in late.json()["detail"]) == (409, True)


async def test_a_page_shows_both_texts_and_lets_one_take_either(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("olga") as olga, world.client("otto") as otto:
        seen = (await post(olga, "/drafts", 201, name="d1", kind="packets"))["edition"]
        theirs, mine = OTHER.replace("另一个", "theirs"), OTHER.replace("另一个", "mine")
        assert (await olga.post("/drafts/d1", data={"text": theirs, "seen": seen})).status_code == 200
        for fields in ({"text": mine, "seen": seen}, {"text": mine}):
            page = await otto.post("/drafts/d1", data=fields, headers={"accept-language": "en"})
            assert page.status_code == 409
            assert "olga has kept another text" in page.text
            assert "-name = &#34;theirs&#34;\n+name = &#34;mine&#34;" in page.text
            assert f">\n{html.escape(mine)}</textarea>".replace("&quot;", "&#34;") in page.text
            assert 'action="/drafts/d1/serve"' not in page.text, "what is in the editor is not what would be served"
        assert (
            "olga 保存过此草稿"
            in (
                await otto.post("/drafts/d1", data={"text": mine, "seen": seen}, headers={"accept-language": "zh"})
            ).text
        )
        assert (await get(olga, "/drafts/d1"))["text"] == theirs
        over = re.search(r'name="over" value="(\w+)"', page.text)
        assert over is not None
        value = await otto.post("/drafts/d1", data={"path": "campaign.id", "value": "x", "seen": seen})
        assert (value.status_code, "Set my value in their text" in value.text) == (409, True)
        kept = await otto.post("/drafts/d1", data={"text": mine, "seen": seen, "over": over[1]})
        assert kept.status_code == 200
        assert (await get(olga, "/drafts/d1"))["text"] == mine
        removed = await olga.post("/drafts/d1/remove", data={"seen": seen})
        assert (removed.status_code, "somebody else has written" in removed.text) == (409, True)


SECRET = "the-event-s-own-key"


@pytest.mark.parametrize("how", ["outside", "above", "link", "hidden", "nul"])
async def test_a_draft_shows_no_file_that_was_not_brought_to_it(tmp_path: Path, how: str) -> None:
    """What the validator says of a list quotes lines of it, and codes are given away."""
    async with without_server(tmp_path / "d") as world, world.client("olga") as olga:
        await post(olga, "/drafts", 201, name="d1", kind="packets")
        directory = tmp_path / "d" / "console-drafts" / "d1"
        (tmp_path / "keys.csv").write_text(f"user,{SECRET}\nzz\tzz,{SECRET}\n")
        (directory / ".keys.csv").write_text(f"user,{SECRET}\n")
        named = {
            "outside": str(tmp_path / "keys.csv"),
            "above": "../../../keys.csv",
            "link": "../d1/../../../keys.csv",
            "hidden": ".keys.csv",
            "nul": "\\u0000.csv",
        }[how]
        prizes = '[[round]]\nid = "x1"\nkind = "draw"\nopens = "now"\nlasts = "1h"\nplays = { per_user = 1 }\n'
        prizes += f'[[round.prize]]\nid = "p"\nname = "p"\nholds = "code"\ncodes = "{named}"\nodds = "1/2"\n'
        codes = OTHER[: OTHER.index("[[round]]")] + prizes
        for text in (OTHER.replace('id = "other"', f'id = "other"\naudience = "{named}"'), codes):
            checked = await put(olga, "/drafts/d1", text=text)
            (problem,) = checked["problems"]
            assert "is not beside the draft" in problem["said"]
            assert problem["key"] in {"campaign.audience", "round[0].prize[0].codes"}
            assert SECRET not in json.dumps(checked)
            for page in (await olga.get("/drafts/d1"), await olga.post("/drafts/d1/serve", data={"yes": "yes"})):
                assert SECRET not in page.text
            await post(olga, "/drafts/d1/serve", 400, yes=True)
        assert [one["campaign"] for one in await get(olga, "/campaigns")] == ["c"]


async def test_a_list_leaves_the_disk_to_the_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with without_server(tmp_path) as world, world.client("olga") as olga:
        await post(olga, "/drafts", 201, name="d1", kind="packets")
        monkeypatch.setattr("redrush.operate.drafts.DISK_LEFT_MIN", 1 << 60)
        refused = await olga.put("/api/v1/drafts/d1/files/users.txt", content=b"ann\n")
        assert (refused.status_code, "too little left" in refused.json()["detail"]) == (400, True)
        assert (await olga.get("/drafts/d1")).text.count("users.txt</code> <small>") == 0
        assert [path.name for path in (tmp_path / "console-drafts" / "d1").iterdir()] == ["d1.toml"]


async def test_a_long_text_holds_nobody_up(tmp_path: Path) -> None:
    """What keeps comments takes time by the square of the text: a text of dotted keys held the console for minutes."""
    async with without_server(tmp_path) as world, world.client("olga") as olga:
        await post(olga, "/drafts", 201, name="d1", kind="packets")
        text = "\n".join(f"a.b{number}.c = 1" for number in range(20_000))
        taken = OwnTime()
        assert not (await put(olga, "/drafts/d1", text=text))["ok"]
        page = await olga.get("/drafts/d1", headers={"accept-language": "en"})
        assert "too long for a form" in page.text
        refused = await olga.put("/api/v1/drafts/d1/value", json={"path": "a.b1.c", "value": "2"})
        assert (refused.status_code, "change it as text" in refused.json()["detail"]) == (400, True)
        assert taken.passed_s < 15
