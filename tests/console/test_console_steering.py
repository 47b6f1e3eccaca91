"""Steering from the console, on a running gate: previews, two people, later times, and who stands in the log."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Final

import pytest

from redrush.api.access import Actor
from redrush.api.accounts import Accounts, Role
from redrush.control.operators import add_operator
from redrush.control.switch_log import entries_of
from redrush.http.ask import ControlAddress, ask
from tests.console.console_world import change, get, post, with_server, without_server

PACE = "release.r1.per_second"


async def test_a_switch_flipped_in_the_console_acts_on_the_gate(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as client:
        assert await world.grab("u1") == "granted"
        done = await change(client, verb="set", name="answer_ended.r1", value=True)
        assert done["changes"] == [{"switch": "answer_ended.r1", "from": False, "to": True}]
        assert await world.grab("u2") == "closed"
        await change(client, verb="release", name="answer_ended.r1")
        assert await world.grab("u2") == "granted"
        entries = entries_of(world.data_dir.switches)
        assert [(entry.who, entry.said, entry.why) for entry in entries] == [("olga", "in the console", "test")] * 2


async def test_the_audit_log_shows_what_was_done_with_a_fingerprint_of_all_before(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as client:
        for value in (5, 6, 7):
            await change(client, verb="set", name=PACE, value=value)
        found = [row for row in (await get(client, "/audit"))["entries"] if row["source"] == "switches"]
        assert [row["changes"][0]["to"] for row in found] == [7, 6, 5]
        chain = ""
        for line, row in zip(world.data_dir.switches.read_bytes().splitlines(), reversed(found), strict=True):
            chain = hashlib.sha256(chain.encode() + line).hexdigest()
            assert row["chain"] == chain
        assert chain[:12] in (await client.get("/audit")).text
        assert len((await get(client, "/audit?who=olga&about=release"))["entries"]) == 3
        assert (await get(client, "/audit?who=otto"))["entries"] == []


async def test_a_preview_tells_and_changes_nothing(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as client:
        seen = await post(client, "/changes/preview", verb="apply", name="calm")
        assert {one["switch"]: (one["from"], one["to"]) for one in seen["changes"]} == {
            PACE: ("off", 0.0), "sampling.non_core": (1.0, 0.0)
        }  # fmt: skip
        assert entries_of(world.data_dir.switches) == []
        assert await world.grab("u1") == "granted"


async def test_what_was_seen_is_not_done_once_somebody_has_switched(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga, world.client("otto") as otto:
        seen = await post(olga, "/changes/preview", verb="set", name=PACE, value=5)
        await change(otto, verb="set", name="sampling.non_core", value=0.5)
        refused = await post(olga, "/changes", 409, token=seen["token"], why="late")
        assert "meanwhile" in refused["detail"]
        assert "seen" in (await post(otto, "/changes", 409, token=seen["token"], why="not mine"))["detail"]
        assert "seen" in (await post(olga, "/changes", 409, token="forged", why=""))["detail"]
        assert len(entries_of(world.data_dir.switches)) == 1


async def test_an_end_is_confirmed_by_the_typed_name(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as client:
        seen = await post(client, "/changes/preview", verb="set", name="answer_ended", value=True)
        assert seen["type_name"] == "c"
        await post(client, "/changes", 400, token=seen["token"], why="x", typed="r1")
        assert await world.grab("u1") == "granted"
        await post(client, "/changes", token=seen["token"], why="x", typed="c")
        assert await world.grab("u2") == "closed"


async def test_a_second_person_approves_and_an_edit_asks_anew(tmp_path: Path) -> None:
    async with (
        with_server(tmp_path) as world,
        world.client("olga") as olga,
        world.client("otto") as otto,
        world.client("anna") as anna,
    ):
        assert (await anna.put("/api/v1/protected", json={"switches": ["release.*"]})).status_code == 200
        seen = await post(olga, "/changes/preview", verb="set", name=PACE, value=5)
        assert seen["needs_approval"]
        await post(olga, "/changes", 409, token=seen["token"], why="alone")
        asked = {"verb": "set", "name": PACE, "value": 5}
        made = await post(olga, "/proposals", 201, asked=asked, why="calmer")
        await post(olga, f"/proposals/{made['id']}/approve", 403)
        await post(olga, f"/proposals/{made['id']}/apply", 409)
        assert (await post(otto, f"/proposals/{made['id']}/approve"))["state"] == "approved"
        edited = await olga.put(
            f"/api/v1/proposals/{made['id']}", json={"asked": {**asked, "value": 7}, "why": "calmer still"}
        )
        assert edited.json()["state"] == "in review"
        await post(olga, f"/proposals/{made['id']}/apply", 409)
        page = (await otto.get("/waiting")).text
        assert f'action="/waiting/{made["id"]}/approve?edition=2"' in page
        unseen = await otto.post(f"/waiting/{made['id']}/approve?edition=1")
        assert (unseen.status_code, "edited or decided meanwhile" in unseen.text) == (409, True)
        await post(otto, f"/proposals/{made['id']}/approve?edition=2")
        apply = f"/api/v1/proposals/{made['id']}/apply"
        answers = await asyncio.gather(olga.post(apply), anna.post(apply), olga.post(apply))
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409], "of several one does it"
        assert (await get(olga, "/proposals"))[0]["state"] == "applied", "and the others take nothing of that back"
        (entry,) = entries_of(world.data_dir.switches)
        assert (entry.who, entry.why) == ("olga", "calmer still (approved by otto)")
        assert entry.changes[0].after == 7


async def test_whoever_goes_ahead_alone_says_why_and_everybody_sees_it(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga, world.client("vera") as vera:
        world.desk.steering.protect(_anna(), ["answer_ended*"])
        seen = await post(olga, "/changes/preview", verb="set", name="answer_ended.r1", value=True)
        confirming = {"token": seen["token"], "typed": "r1", "break_glass": True}
        await post(olga, "/changes", 400, **confirming)
        await post(olga, "/changes", why="fire", **confirming)
        assert await world.grab("u1") == "closed"
        await world.desk.live.look()
        shown = json.loads(world.desk.live.event.partition(b"data: ")[2])["glass"]
        assert [(one["who"], one["why"]) for one in shown] == [("olga", "fire")]
        assert "fire" in (await vera.get("/")).text
        assert [line.what for line in world.desk.diary.lines()][-1] == "break glass"


async def test_a_schedule_does_what_it_was_to_do_at_its_time(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga:
        made = await post(
            olga,
            "/proposals",
            201,
            asked={"verb": "set", "name": PACE, "value": 5},
            why="x",
            due_s=world.desk.now_s() + 60,
        )
        await world.desk.steering.tick()
        assert (await get(olga, "/proposals"))[0]["state"] == made["state"] == "waiting"
        world.ahead_us = 61_000_000
        await world.desk.steering.tick()
        assert (await get(olga, "/proposals"))[0]["state"] == "applied"
        assert entries_of(world.data_dir.switches)[0].changes[0].after == 5


async def test_a_schedule_whose_base_has_changed_is_suspended(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga, world.client("otto") as otto:
        await post(
            olga, "/proposals", 201, asked={"verb": "set", "name": PACE, "value": 5}, due_s=world.desk.now_s() + 60
        )
        await change(otto, verb="set", name=PACE, value=9)
        world.ahead_us = 61_000_000
        await world.desk.steering.tick()
        (found,) = await get(olga, "/proposals")
        assert found["state"] == "suspended"
        assert "changed meanwhile" in found["said"]
        assert len(entries_of(world.data_dir.switches)) == 1


async def test_a_schedule_that_a_stopped_console_has_missed_is_suspended(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga:
        await post(
            olga, "/proposals", 201, asked={"verb": "set", "name": PACE, "value": 5}, due_s=world.desk.now_s() + 60
        )
        world.ahead_us = 600_000_000
        await world.desk.steering.tick()
        assert "not running" in (await get(olga, "/proposals"))[0]["said"]
        assert entries_of(world.data_dir.switches) == []


LOST: Final = {"removed": "olga", "demoted": "olga", "approver removed": "otto"}
"""How somebody who stands for a change may lose their right to it, and whose name is said."""


@pytest.mark.parametrize("how", LOST)
async def test_a_change_is_suspended_once_somebody_who_stands_for_it_may_not_steer(tmp_path: Path, how: str) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga, world.client("otto") as otto:
        world.desk.steering.protect(_anna(), ["release.*"])
        asked = {"verb": "set", "name": PACE, "value": 5}
        ids = [
            (await post(olga, "/proposals", 201, asked=asked, due_s=due_s))["id"]
            for due_s in (world.desk.now_s() + 60, None)
        ]
        for one in ids:
            await post(otto, f"/proposals/{one}/approve")
        world.ahead_us = 61_000_000
        match how:  # as the commands do it, which no page hears of
            case "removed":
                Accounts(world.data_dir.accounts).remove("olga")
            case "demoted":
                Accounts(world.data_dir.accounts).change("olga", role=Role.VIEWER)
            case _:
                Accounts(world.data_dir.accounts).remove("otto")
        async with world.client("anna") as anna:
            refused = await post(anna, f"/proposals/{ids[1]}/apply", 409)
            await world.desk.steering.tick()
            for found in await get(anna, "/proposals"):
                assert found["state"] == "suspended"
                assert found["said"] == f"{LOST[how]}, who stands for it, may not steer any more"
                assert found["said"] in refused["detail"]
            assert [row["why"] for row in (await get(anna, "/audit?who=schedule"))["entries"]] == [found["said"]] * 2
            edited = await anna.put(f"/api/v1/proposals/{ids[1]}", json={"asked": asked, "why": "I stand for it"})
            assert edited.json()["state"] == "in review"
        assert entries_of(world.data_dir.switches) == []


async def test_a_schedule_of_what_was_protected_since_waits_for_a_second_person(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga:
        asked = {"verb": "set", "name": PACE, "value": 5}
        await post(olga, "/proposals", 201, asked=asked, due_s=world.desk.now_s() + 60)
        world.desk.steering.protect(_anna(), ["release.*"])
        world.ahead_us = 61_000_000
        await world.desk.steering.tick()
        (found,) = await get(olga, "/proposals")
        assert (found["state"], "second person" in found["said"]) == ("suspended", True)
        assert entries_of(world.data_dir.switches) == []


async def test_two_who_decide_on_one_proposal_decide_on_what_they_have_seen(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga, world.client("otto") as otto:
        asked = {"verb": "set", "name": PACE, "value": 5}
        made = await post(olga, "/proposals", 201, asked=asked)
        fields = {"verb": "set", "name": PACE, "how": "propose", "proposal": made["id"], "edition": "1"}
        assert (await olga.post("/steer/confirm", data={**fields, "value": "7"})).status_code == 303
        late = await otto.post("/steer/confirm", data={**fields, "value": "9"})
        assert (late.status_code, "edited or decided meanwhile" in late.text) == (409, True)
        for verb in ("cancel", "apply", "approve"):
            assert (await otto.post(f"/waiting/{made['id']}/{verb}?edition=1")).status_code == 409, verb
            await post(otto, f"/proposals/{made['id']}/{verb}?edition=1", 409)
        (found,) = await get(olga, "/proposals")
        assert (found["asked"]["value"], found["state"], found["edition"]) == ("7", "in review", 2)
        page = (await otto.get("/waiting")).text
        assert page.count("edition=2") == 2, "to approve and to cancel; it is not approved yet"


async def test_two_admins_take_no_protection_from_each_other_unseen(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("anna") as anna:
        page = {"switches": "release.*\r\nanswer_ended*", "seen": ""}
        assert (await anna.post("/waiting/protected", data=page)).status_code == 303
        assert "no switch is called" not in (await anna.get("/waiting")).text
        late = await anna.post("/waiting/protected", data={"switches": "settlement.*", "seen": ""})
        assert (late.status_code, "changed these since you looked" in late.text) == (409, True)
        late = await anna.put("/api/v1/protected", json={"switches": [], "seen": ["release.*"]})
        assert late.status_code == 409
        assert list(world.desk.steering.protected) == ["release.*", "answer_ended*"]
        assert 'name="seen" value="release.*\nanswer_ended*"' in (await anna.get("/waiting")).text
        seen = "release.*\r\nanswer_ended*"
        assert (await anna.post("/waiting/protected", data={"switches": "", "seen": seen})).status_code == 303
        assert list(world.desk.steering.protected) == []


async def test_a_protected_name_that_no_switch_has_is_told(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("anna", **{"Accept-Language": "zh-CN"}) as anna:
        wanted = ["answer_endet*", "answer_ended*", "set.*", "set.promot.*", "set.rebuild.s1", PACE]
        answer = (await anna.put("/api/v1/protected", json={"switches": wanted})).json()
        assert answer == {"switches": wanted, "uncalled": ["answer_endet*", "set.promot.*"]}
        saved = {"switches": "sampling.*\nno.such", "seen": "\n".join(wanted)}
        assert (await anna.post("/waiting/protected", data=saved)).status_code == 303
        assert "没有开关叫 no.such" in (await anna.get("/waiting")).text
        assert (await get(anna, "/switches"))["protected"] == ["sampling.*", "no.such"]


async def test_an_edited_schedule_has_the_time_that_was_said(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga:
        asked = {"verb": "set", "name": PACE, "value": 5}
        made = await post(olga, "/proposals", 201, asked=asked, due_s=world.desk.now_s() + 60)
        where = f"/api/v1/proposals/{made['id']}"
        due_s = world.desk.now_s() + 3_600
        assert (await olga.put(where, json={"asked": asked, "due_s": due_s})).json()["due_s"] == due_s
        assert (await olga.put(where, json={"asked": asked})).json()["due_s"] == due_s
        assert (await olga.put(where, json={"asked": asked, "due_s": 5})).status_code == 400


@pytest.mark.parametrize("ahead_s", [0, 367 * 86_400, 253_402_300_800, 10**12])
async def test_a_change_is_scheduled_within_a_year(tmp_path: Path, ahead_s: int) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga:
        asked = {"verb": "set", "name": PACE, "value": 5}
        due_s = world.desk.now_s() + ahead_s
        told = await post(olga, "/proposals", 400, asked=asked, due_s=due_s)
        assert told["detail"] == "the time of a schedule has to be in the future, and within a year"
        made = await post(olga, "/proposals", 201, asked=asked, due_s=world.desk.now_s() + 60)
        edited = await olga.put(f"/api/v1/proposals/{made['id']}", json={"asked": asked, "due_s": due_s})
        assert edited.status_code == 400
        assert [one["due_s"] for one in await get(olga, "/proposals")] == [made["due_s"]]


async def test_the_page_of_what_waits_shows_an_entry_of_no_calendar(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga:
        asked = {"verb": "set", "name": PACE, "value": 5}
        made = await post(olga, "/proposals", 201, asked=asked, due_s=world.desk.now_s() + 60)
    kept = tmp_path / "console-proposals.json"
    text = kept.read_text(encoding="utf-8")
    assert str(made["due_s"]) in text
    kept.write_text(text.replace(str(made["due_s"]), str(10**12)), encoding="utf-8")
    async with without_server(tmp_path) as world, world.client("olga") as olga:
        page = await olga.get("/waiting")
        assert (page.status_code, "9999-12-30" in page.text) == (200, True)
        await world.desk.steering.tick()
        assert (await olga.post(f"/waiting/{made['id']}/cancel?edition=1")).status_code == 303
        assert (await olga.get("/waiting")).status_code == 200


async def test_only_the_events_own_token_signs_for_somebody_else(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world:
        token = add_operator(world.data_dir, "mallory", 0)
        address = ControlAddress("127.0.0.1", world.ports["control"])
        fields = {"value": 5, "by": "olga"}
        answered = await ask(address, token, "PUT", f"/v1/switches/{PACE}", fields, 5.0)
        assert answered.status == 403
        assert entries_of(world.data_dir.switches) == []


async def test_without_a_server_what_is_set_holds_from_its_next_start_on(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("olga") as client:
        assert (await get(client, "/switches"))["live"] is False
        done = await change(client, verb="set", name=PACE, value=5)
        assert done["live"] is False
        assert entries_of(world.data_dir.switches)[0].who == "olga"


def _anna() -> Actor:
    return Actor(name="anna", role=Role.ADMIN, address="127.0.0.1", session="x")
