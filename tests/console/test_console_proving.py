"""What the console proves: grants and their stories, tables that are safe, payouts, and a live view for many."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Final

import apsw
import pytest

from redrush.api.access import Access, Actor
from redrush.api.accounts import Role
from redrush.api.handlers.proving import table_of_grants
from redrush.api.handlers.watching import STREAMS_MAX, STREAMS_OF_ONE_MAX
from redrush.console.pages.proving import cell
from redrush.console.wording import in_chinese
from redrush.control.issuing import plan_tickets
from redrush.errors import RedrushError
from redrush.operate import paying
from redrush.ports.bill_book import NewBill
from redrush.ports.grant_pages import PAGE_MAX
from redrush.records.postgres.bills import PostgresBillBook
from redrush.records.sqlite import SqliteRecords
from redrush.records.sqlite.bills import SqliteBillBook
from tests.campaigns import OFF, campaign
from tests.conftest import Databases
from tests.console.console_world import FAR_S, World, get, post, with_server, without_server
from tests.gate.world import request
from tests.patience import PATIENCE_S

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
    async with asyncio.timeout(PATIENCE_S):
        last = f"r1:{len(users) - 2}" if len(users) > 1 else ""
        while not (await world.desk.look_up(None, lambda found: found.page(["r1"], last, 200)))[0]:
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


async def test_the_ledger_is_paged_filtered_and_its_accounts_are_of_both_books(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga, world.client("vera") as vera:
        await win(world, "user-anna", "user-bob")
        seen: list[str] = []
        place: str | None = ""
        while place is not None:
            page = await get(vera, f"/ledger?limit=1&after={place}")
            seen += [one["id"] for one in page["postings"]]
            place = page["next"]
        assert seen == ["fund:r1", "fund:r2"]
        (one,) = (await get(olga, "/ledger?begins=fund:r2&account=sponsor"))["postings"]
        assert (one["debit_account"], one["credit_account"], one["amount"]) == ("sponsor", "round:r2", "1.00")
        assert (await get(olga, "/ledger?account=transit")) == {"postings": [], "next": None}
        assert "story" in (await get(olga, "/ledger?account=user:user-anna", 400))["detail"]
        assert "printable" in (await get(olga, "/ledger?begins=%00", 400))["detail"]
        accounts = {one["account"]: one for one in await get(vera, "/balances")}
        assert accounts["round:r1"]["debits"] == "0.20"
        assert {one["book"] for one in accounts.values()} == {"records"}
        with closing(SqliteBillBook.open_path(world.data_dir.payments)) as book:
            book.make([NewBill(
                kind="payout", source="g1", campaign="c", user="user-anna", provider="bank", currency="CNY",
                amount_minor=5, subject="red packet", to="x",
            )], NOW_US)  # fmt: skip
        moved = [one for one in await get(vera, "/balances") if one["book"] == "bills"]
        assert [(one["account"], one["debits"], one["balance"]) for one in moved] == [
            ("payouts:bank", "0.00", "0.05"), ("user:*", None, "-0.05"),
        ]  # fmt: skip
        await get(vera, "/ledger?book=bills", 403)
        assert "/ledger?book=bills" not in (await vera.get("/ledger")).text
        (posting,) = (await get(olga, "/ledger?book=bills&account=payouts:bank"))["postings"]
        assert (posting["id"], posting["debit_account"], posting["amount"], posting["currency"]) == (
            "payout:g1#1", "user:user-anna", "0.05", "CNY",
        )  # fmt: skip
        assert noted(world, "read list")[-1] == ("olga", "read list", "the bill book of the first campaign")
        for language, words in (("en", ("to a wallet",)), ("zh", ("到钱包", "账单簿"))):
            told = (await olga.get("/ledger?book=bills", headers={"Accept-Language": language})).text
            assert all(word in told for word in (*words, "payout:g1#1", "user:user-anna"))
            assert "fund:r1" not in told
        for language, words in (("en", ("Ledger", "all users together")), ("zh", ("分类账", "所有用户合计"))):
            vera.headers["Accept-Language"] = language
            told = (await vera.get("/ledger?kind=fund&begins=r1")).text
            assert all(word in told for word in (*words, "fund:r1", "payouts:bank"))
            assert "fund:r2" not in told
            assert "user-anna" not in told


async def test_whose_a_confirmed_hold_is_viewers_do_not_see_in_the_ledger(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("olga") as olga, world.client("vera") as vera:
        SqliteRecords.open_path(world.data_dir.records).close()
        file = apsw.Connection(str(world.data_dir.records))
        file.execute("INSERT INTO campaigns (campaign, id) VALUES (1, 'c')")
        file.execute("INSERT INTO postings VALUES (1, 'confirm:c-r1-1#1', 'held:r1', 'user:a-long-name', 10, 1)")
        file.close()
        for who, account in ((olga, "user:a-long-name"), (vera, "user:a-…me")):
            (one,) = (await get(who, "/ledger"))["postings"]
            assert (one["debit_account"], one["credit_account"]) == ("held:r1", account)
        assert "a-long-name" not in (await vera.get("/ledger")).text


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
        async with asyncio.timeout(PATIENCE_S):
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
        streams = [live.stream("vera", lambda: True) for _ in range(20)]
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


async def ended(events: AsyncIterator[bytes]) -> bool:
    try:
        await anext(events)
    except StopAsyncIteration:
        return True
    return False


async def test_a_stream_ends_with_the_login_or_the_key_that_it_began_with(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world:
        live, people = world.desk.live, world.desk.accounts
        access: Access = world.app.state.access

        async def begin(headers: dict[bytes, bytes]) -> AsyncIterator[bytes]:
            events = live.stream("olga", lambda: access.actor_of(headers, "") is not None)
            assert (await anext(events)).startswith(b"retry")
            following = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0)
            await live.look()
            assert b"data: " in await following
            return events

        async def goes_on(events: AsyncIterator[bytes]) -> bool:
            following = asyncio.ensure_future(ended(events))
            await asyncio.sleep(0)
            await live.look()
            return not await following

        async def of_cookie() -> AsyncIterator[bytes]:
            return await begin({b"cookie": b"rr=" + world.session_of("olga").encode()})

        await live.look()
        stays = await of_cookie()
        assert await goes_on(stays)
        world.desk.sessions.end_of("olga")
        assert not await goes_on(stays)
        demoted = await of_cookie()
        people.change("olga", role=Role.VIEWER)
        assert not await goes_on(demoted)
        key = people.add_key("olga", Role.VIEWER, world.desk.now_s(), None, "")
        program = await begin({b"authorization": b"Bearer " + key.encode()})
        assert await goes_on(program)
        people.remove_keys_of("olga")
        assert not await goes_on(program)
        assert live.streams == 0


async def test_nobody_looks_on_so_many_pages_that_others_cannot(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("vera") as vera:
        looking = [world.desk.live.stream("vera", lambda: True) for _ in range(STREAMS_OF_ONE_MAX)]
        for one in looking:
            await anext(one)
        assert "of yours" in (await get(vera, "/live/stream", 503))["detail"]
        assert STREAMS_OF_ONE_MAX < STREAMS_MAX
        for one in looking:
            await one.aclose()  # type: ignore[attr-defined]
        assert world.desk.live.streams_of("vera") == 0


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


def noted(world: World, *what: str) -> list[tuple[str, str, str]]:
    return [(one.who, one.what, one.about) for one in world.desk.diary.lines() if one.what in what]


async def test_who_takes_a_table_is_written_down_with_how_many_it_was_about(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga:
        await win(world, *(f"user-{number:03}" for number in range(5)))
        whole = (await olga.get("/grants.csv?pot=r1")).text.splitlines()
        last = whole[3].split(",")
        rest = (await olga.get(f"/grants.csv?pot=r1&after={last[1]}:{last[2]}")).text.splitlines()
        assert rest == [whole[0], *whole[4:]], "from a row one goes on after it"
        assert (await olga.get("/grants.csv?pot=nowhere")).status_code == 404, "and not with an empty table"
        assert (await olga.get("/grants.csv?after=x")).status_code == 400
        about = "grants of the first campaign, round r1"
        assert noted(world, "begin table", "end table") == [
            ("olga", "begin table", about),
            ("olga", "end table", f"{about}: 5 rows, whole"),
            ("olga", "begin table", f"{about}, after r1:2"),
            ("olga", "end table", f"{about}: 2 rows, whole"),
        ]


async def test_a_table_ends_with_the_right_to_it_and_is_taken_one_at_a_time(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga:
        await win(world, *(f"user-{number:03}" for number in range(PAGE_MAX + 5)))
        actor = Actor(name="olga", role=Role.OPERATOR, address="test")
        table = await table_of_grants(world.desk, actor, None, "", "")
        assert len(await anext(table)) == PAGE_MAX
        twice = await olga.get("/grants.csv")
        assert (twice.status_code, "a table already" in twice.text) == (409, True)
        world.desk.accounts.change("olga", role=Role.VIEWER)
        with pytest.raises(RedrushError, match="may not steer"):
            await anext(table)
        assert noted(world, "end table")[-1][2].endswith(f": {PAGE_MAX} rows, broken off")
        world.desk.accounts.change("olga", role=Role.OPERATOR)
        async with world.client("olga") as again:
            assert len((await again.get("/grants.csv")).text.splitlines()) == PAGE_MAX + 6


async def test_whoever_looks_through_people_is_written_down_once_in_a_while(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga, world.client("vera") as vera:
        await win(world, "ann", "bob", "carl")
        for client in (olga, vera):
            for after in ("", "r1:0", "r1:1"):
                await get(client, f"/grants?limit=1&after={after}")
        await get(olga, "/grants?pot=r1")
        world.ahead_us = 601_000_000
        await get(olga, "/grants?after=r1:1")
        whole, one = "grants of the first campaign, all rounds", "grants of the first campaign, round r1"
        assert noted(world, "read list") == [
            ("olga", "read list", whole), ("olga", "read list", one), ("olga", "read list", whole),
        ]  # fmt: skip


async def test_a_viewer_does_not_ask_for_the_payouts_of_one_user(tmp_path: Path) -> None:
    async with without_server(tmp_path) as world, world.client("olga") as olga, world.client("vera") as vera:
        SqliteBillBook.open_path(world.data_dir.payments).make([payout("g1", "ann")], NOW_US)
        assert len((await get(vera, "/payouts"))["payouts"]) == 1
        for user in ("ann", "nobody"):
            await get(vera, f"/payouts?user={user}", 403)
            assert (await vera.get(f"/payouts?user={user}")).status_code == 403
        await get(olga, "/payouts?user=ann")
        assert noted(world, "read story") == [("olga", "read story", "ann in the payouts")]


async def test_an_order_about_payouts_is_bound_to_how_many_there_were_and_to_their_sum(tmp_path: Path) -> None:
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
        assert (counted["count"], counted["total"]) == (3, "3.00 CNY")
        (first, *_) = book.listed()
        paying.hold(book, first, "aside", NOW_US)
        book.make([payout("g4", "dora", 250)], NOW_US)
        refused = await post(olga, "/payouts", 409, token=counted["token"], why="look")
        assert refused["detail"] == "they come to 4.50 CNY now, not 3.00 CNY, so nothing was done; count again"
        assert in_chinese(refused["detail"]) != refused["detail"]
        assert [one.state for one in book.listed()] == ["held", "new", "new", "new"]
        page = (await olga.post("/payouts/count", data={"verb": "hold", "state": "new"})).text
        assert "3 payouts, 4.50 CNY" in page
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


def payout(source: str, user: str, amount_minor: int = 100) -> NewBill:
    return NewBill(
        kind="payout", source=source, campaign="c", user=user, provider="bank", currency="CNY",
        amount_minor=amount_minor, subject="s", to=user,
    )  # fmt: skip


async def test_a_reconciliation_is_begun_and_told(tmp_path: Path) -> None:
    async with with_server(tmp_path) as world, world.client("olga") as olga:
        await win(world, "ann")
        assert (await post(olga, "/reconciliation", 202))["running"]
        async with asyncio.timeout(PATIENCE_S):
            while (found := await get(olga, "/reconciliation"))["running"]:
                await asyncio.sleep(0.05)
        assert found["report"]["ok"]
        assert found["report"]["grants"] == 1
