"""What the console proves: grants and their stories, tables that are safe, payouts, and a live view for many."""

import asyncio
import csv
import io
import json
from pathlib import Path
from typing import Final

from redrush.console.pages.proving import cell
from redrush.control.issuing import plan_tickets
from redrush.ports.bill_book import NewBill
from redrush.records.postgres.bills import PostgresBillBook
from redrush.records.sqlite.bills import SqliteBillBook
from tests.campaigns import OFF, campaign
from tests.conftest import Databases
from tests.console.console_world import FAR_S, World, get, post, with_server, without_server
from tests.gate.world import request

NOW_US: Final = 1_000_000_000_000
DEPLOYMENT: Final = """\
[event]
data = "."
records = { file = "records.dsn" }
[[set]]
id = "s1"
addresses = ["127.0.0.1:1"]
"""


async def win(world: World, *users: str) -> None:
    """Let these users win, and wait until it is recorded."""
    for user in users:
        ticket = next(plan_tickets(world.data_dir, [user], None, "2h", FAR_S).lines()).split("\t")[1]
        answer = await world.ask(request("POST", "/v1/rounds/r1/grab", ticket))
        assert answer.json["outcome"] == "granted"
    async with asyncio.timeout(10):
        while len((await world.desk.look_up(None, lambda found: found.page(["r1"], "", 200)))[0]) < len(users):
            await asyncio.sleep(0.02)


async def test_grants_are_paged_by_key_and_masked_for_viewers(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga, world.client("vera") as vera:
        users = [f"user-{number:03}" for number in range(7)]
        await win(world, *users)
        seen: list[str] = []
        place: str | None = ""
        while place is not None:
            page = await get(olga, f"/grants?limit=3&after={place}")
            assert len(page["grants"]) <= 3
            seen += [one["user"] for one in page["grants"]]
            place = page["next"]
        assert sorted(seen) == users
        masked = {one["user"] for one in (await get(vera, "/grants"))["grants"]}
        assert all("…" in user and len(user) < 7 for user in masked)
        assert "user-003" not in (await vera.get("/grants")).text


async def test_a_number_that_no_database_has_is_no_place_and_nobody_s_grant(tmp_path: Path) -> None:
    huge = 2**70
    async with with_server(tmp_path) as world, world.client("olga") as olga:
        await win(world, "u1")
        for after in (str(huge), f"r1:{huge}", "r1:x", f"r1:{'9' * 200}"):
            assert "no place to go on from" in (await get(olga, f"/grants?after={after}", 400))["detail"]
        assert "is nobody's" in (await get(olga, f"/story?grant=c-r1-{huge}", 404))["detail"]
        for page in (f"/grants?after=r1:{huge}", f"/story?grant=c-r1-{huge}"):
            assert (await olga.get(page)).status_code < 500


async def test_a_story_goes_from_claim_to_ledger_and_that_somebody_read_it_is_noted(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga:
        await win(world, "ann")
        story = await get(olga, "/story?user=ann")
        (grant,) = story["grants"]
        assert [step["what"] for step in story["steps"]] == ["granted", "posted"]
        assert story["steps"][1]["raw"]["id"] == f"grant:{grant['grant']}"
        assert story["receipts"][grant["grant"]].startswith("rr1~")
        assert (await get(olga, f"/story?grant={grant['grant']}"))["user"] == "ann"
        await get(olga, "/story?grant=c-r1-999", 404)
        journal = await get(olga, "/journal?user=ann")
        assert journal["grants"][0]["receipt"] == story["receipts"][grant["grant"]]
        noted = [(line.who, line.what, line.about) for line in world.desk.diary.lines()]
        assert noted.count(("olga", "read story", "ann")) == 2
        assert ("olga", "read story", "ann in the journal") in noted


async def test_the_stock_adds_up_and_rates_are_of_what_happened(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("vera") as vera:
        await world.desk.live.look()
        await win(world, "ann", "bob", "carl")
        await asyncio.sleep(0.45)  # the stores are asked no more often
        await world.desk.live.look()
        snapshot = await get(vera, "/live")
        rows = {row["pot"]: row for row in snapshot["campaigns"][0]["rounds"]}
        assert {pot: row["granted"] for pot, row in rows.items()} == {"r1": 3, "r2": 0}
        for row in rows.values():
            parts = ("granted", "held", "in_play", "moved", "returned", "on_the_way")
            assert row["slots"] + row["joined"] == sum(row[part] for part in parts)
        assert rows["r1"]["outcomes"]["granted"] == 3
        assert rows["r1"]["grants_s"] > 0
        assert [(one["campaign"], one["round"]) for one in snapshot["hot"]] == [("c", "r1")]
        (process,) = snapshot["processes"]
        assert process["claims_s"] == rows["r1"]["claims_s"] == snapshot["hot"][0]["claims_s"]
        assert process["connections_max"] >= process["connections"]
        assert snapshot["figures"]["p99_ms"] > 0
        assert snapshot["away"] is None


async def test_what_buyers_hold_stands_apart_from_what_they_have_and_all_adds_up_at_any_moment(tmp_path: Path) -> None:
    sale = '[[round]]\nid = "s"\nkind = "sale"\nopens = "now"\nlasts = "1h"\nunits = 5\nprice = "1.00"\nhold = "10m"\n'
    async with with_server(tmp_path, campaign(sale, tables=OFF)) as world, world.client("vera") as vera:

        async def stock() -> dict[str, int]:
            await asyncio.sleep(0.45)  # the stores are asked no more often
            await world.desk.live.look()
            (row,) = (await get(vera, "/live"))["campaigns"][0]["rounds"]
            found = {part: row[part] for part in ("granted", "held", "in_play", "moved", "returned", "on_the_way")}
            assert row["slots"] + row["joined"] == sum(found.values()) == 5
            return found

        tickets = [line.split("\t")[1] for line in plan_tickets(world.data_dir, ["a", "b"], None, "2h", FAR_S).lines()]
        grants = []
        for ticket in tickets:
            answer = (await world.ask(request("POST", "/v1/rounds/s/grab", ticket))).json
            grants.append((ticket, answer["grant"]["id"]))
        assert (await stock())["held"] == 2
        given_back = await world.ask(request("DELETE", f"/v1/holds/{grants[0][1]}", grants[0][0]))
        assert given_back.status == 200, given_back.raw
        async with asyncio.timeout(10):
            while (told := await stock())["held"] != 1:
                await asyncio.sleep(0)
        assert (told["granted"], told["in_play"]) == (0, 4)
        page = (await vera.get("/")).text
        assert '<output data-cell="held">1</output>' in page


async def test_an_event_that_is_away_is_told_and_comes_back(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("vera") as vera:
        snapshot = await get(vera, "/live")
        assert "without a control port" in snapshot["away"]
        assert (await vera.get("/")).status_code == 200


async def test_everybody_gets_the_same_bytes_and_who_leaves_is_forgotten(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world:
        live = world.desk.live
        await live.look()
        streams = [live.stream() for _ in range(20)]
        first = [await anext(one) for one in streams]
        assert len(set(first)) == 1
        assert live.streams == 20
        following = [asyncio.ensure_future(anext(one)) for one in streams]
        await asyncio.sleep(0)
        await live.look()
        bodies = await asyncio.gather(*following)
        assert all(one is bodies[0] for one in bodies), "one snapshot, made once"
        assert json.loads(bodies[0].partition(b"data: ")[2])["now"]["id"] == live.latest.id  # type: ignore[union-attr]
        for one in streams:
            await one.aclose()  # type: ignore[attr-defined]
        assert live.streams == 0


async def test_a_table_for_a_spreadsheet_has_no_formula(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga:
        await win(world, "=1+1", "@sum", "plain")
        answer = await olga.get("/grants.csv")
        assert answer.content.startswith(b"\xef\xbb\xbf")
        rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
        assert sorted(row["user"] for row in rows) == ["'=1+1", "'@sum", "plain"]
    for text in ("=1", "+1", "-1", "@x", "\t=1", " =1"):
        assert cell(text).lstrip('"').startswith("'")
    assert cell('a"b,c') == '"a""b,c"'


async def test_an_order_about_payouts_is_bound_to_how_many_there_were(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("olga") as olga, world.client("vera") as vera:
        assert "--payments" in (await olga.get("/payouts")).text
        book = SqliteBillBook.open_path(world.data_dir.payments)
        book.make([payout("g1", "ann"), payout("g2", "bobby-tables")], NOW_US)
        counted = await post(olga, "/payouts/count", verb="hold", state="new")
        assert counted["count"] == 2
        book.make([payout("g3", "carl")], NOW_US)
        refused = await post(olga, "/payouts", 409, token=counted["token"], why="look")
        assert "not 2" in refused["detail"]
        assert {one.state for one in book.listed()} == {"new"}
        counted = await post(olga, "/payouts/count", verb="hold", state="new")
        await post(olga, "/payouts", 400, token=counted["token"])
        done = await post(olga, "/payouts", token=counted["token"], why="look into it")
        assert [one["state"] for one in done["done"]] == ["held"] * 3
        await post(vera, "/payouts/count", 403, verb="release", state="held")
        assert "bobby-tables" not in (await vera.get("/payouts")).text
        assert "bobby-tables" in (await olga.get("/payouts")).text
        (bill,) = (await get(olga, "/story?user=bobby-tables"))["bills"]
        assert (bill["kind"], bill["state"], bill["amount"], bill["source"]) == ("payout", "held", "1.00", "g2")
        assert bill["number"] in (await olga.get("/story?user=bobby-tables")).text
        book.close()


async def test_payouts_of_a_deployment_are_found_in_its_database(tmp_path: Path, databases: Databases) -> None:
    dsn = tmp_path / "records.dsn"
    dsn.write_text(databases.fresh())
    file = tmp_path / "deployment.toml"
    file.write_text(DEPLOYMENT)
    book = PostgresBillBook(dsn.read_text())
    book.make([payout("g1", "ann")], NOW_US)
    async with without_server(tmp_path) as world, world.client("olga") as olga:
        assert world.desk.links.first.deployment_path == file
        shown = (await olga.get("/payouts")).text
        assert "--payments" not in shown
        assert "ann" in shown
        counted = await post(olga, "/payouts/count", verb="hold", state="new")
        done = await post(olga, "/payouts", token=counted["token"], why="look into it")
        assert [one["state"] for one in done["done"]] == ["held"]
        assert [one.state for one in book.listed()] == ["held"]
    book.close()


def payout(source: str, user: str) -> NewBill:
    return NewBill(
        kind="payout", source=source, campaign="c", user=user, provider="bank", currency="CNY",
        amount_minor=100, subject="s", to=user,
    )  # fmt: skip


async def test_a_reconciliation_is_begun_and_told(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga:
        await win(world, "ann")
        assert (await post(olga, "/reconciliation", 202))["running"]
        async with asyncio.timeout(15):
            while (found := await get(olga, "/reconciliation"))["running"]:
                await asyncio.sleep(0.05)
        assert found["report"]["ok"]
        assert found["report"]["grants"] == 1
