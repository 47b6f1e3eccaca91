"""Packets between people, from creating to what comes back, over HTTP, on a real server with its store and books."""

import asyncio
import io
import random
import re
from datetime import UTC, datetime
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import pytest

from redrush.cli.beginning import opening_at
from redrush.config import load_campaign_file
from redrush.control.data_dir import DataDir
from redrush.core.rush.campaign import Kind
from redrush.core.steering import figures
from redrush.errors import ConfigError
from redrush.operate.campaigns import change_campaign
from redrush.operate.data_dir_reports import export_grants
from redrush.operate.switching import Holder
from redrush.ports.packets import Booked, Packet, Stage
from redrush.ports.store import StoreUnavailable
from redrush.records.sqlite.bills.book import SqliteBillBook
from redrush.records.sqlite.packets import SqlitePacketBook
from redrush.stores.sqlite.store import SqliteStore
from redrush.wiring.readings import gate_figures
from tests.patience import PATIENCE_S, OwnTime
from tests.raw_files import bytes_in
from tests.wiring.group_world import Skipping, group_server, serving, text


async def test_a_packet_is_created_paid_grabbed_and_what_is_left_comes_back(tmp_path: Path) -> None:
    clock = Skipping()
    async with group_server(tmp_path, 'expires = "10m"', clock) as people:
        await people.win("ann")
        terms = (await people.ask("ann", "GET", "/packets/terms")).json
        assert (terms["balance"], terms["share_max"], terms["expires_s"]) == ("100.00", "200.00", 600)
        created = await people.ask("ann", "POST", "/packets", kind="lucky", total="10.00", count=3, greeting="恭喜发财")
        assert created.json["state"] == "unpaid"
        assert created.json["pay"]["from"] == "balance"
        packet = created.json["id"]
        told = await people.until("ann", packet, "open")
        assert (told["left"], told["greeting"], told["total"]) == ("all", "恭喜发财", "10.00")
        seen = await people.look("bob", packet)
        assert {"total", "grants", "best_luck"} & seen.keys() == set()
        bob = await people.grab("bob", packet)
        carl = await people.grab("carl", packet)
        assert (bob.outcome, carl.outcome) == ("granted", "granted")
        again = await people.grab("bob", packet)
        assert (again.json["repeat"], again.json["grant"]) == (True, bob.json["grant"])
        assert "best_luck" not in await people.look("bob", packet), "shares are left"
        assert await people.balance("ann") == "90.00"
        assert (await people.ask("bob", "GET", "/grants")).json["grants"] == [bob.json["grant"]]
        clock.skip(600)
        assert (await people.grab("dora", packet)).outcome == "closed"
        assert (await people.grab("bob", packet)).json["repeat"], "who has won keeps it"
        given = Decimal(bob.json["grant"]["amount"]) + Decimal(carl.json["grant"]["amount"])
        since_the_deadline = OwnTime()
        async with asyncio.timeout(PATIENCE_S):
            while await people.balance("ann") != str(100 - given):
                await asyncio.sleep(0.01)
        assert since_the_deadline.passed_s < 1.0
        over = await people.look("carl", packet)
        best = max((bob, carl), key=lambda one: Decimal(one.json["grant"]["amount"]))
        assert (over["state"], over["best_luck"]["amount"]) == ("closed", best.json["grant"]["amount"])
        assert {one["user"] for one in over["grants"]} == {"bob", "carl"}
    lines = export_data_dir_text(tmp_path)
    assert f"packet:{packet}" in lines


def export_data_dir_text(directory: Path) -> str:
    out = io.StringIO()
    export_grants(DataDir(directory), "csv", out)
    return out.getvalue()


async def test_a_packet_that_is_paid_and_not_open_yet_is_never_said_not_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise StoreUnavailable("the set is away")

    async with group_server(tmp_path) as people:
        await people.win("ann")
        with monkeypatch.context() as outage:
            outage.setattr(SqliteStore, "open", away)
            packet = await people.create("ann")
            async with asyncio.timeout(PATIENCE_S):
                while await people.balance("ann") != "90.00":
                    await asyncio.sleep(0.01)
            assert (await people.grab("bob", packet)).status == 503
            assert (await people.ask("bob", "GET", f"/packets/{packet}")).status == 503
            assert (await people.ask("bob", "GET", f"/packets/{'0' * 32}")).status == 404
            assert (await people.look("ann", packet))["state"] == "unpaid"
            assert (await people.ask("ann", "DELETE", f"/packets/{packet}")).status == 409
        await people.until("ann", packet, "open")
        assert (await people.grab("bob", packet)).outcome == "granted"


async def test_a_grant_of_a_packet_whose_book_is_gone_ends_an_export_with_what_helps(tmp_path: Path) -> None:
    async with group_server(tmp_path) as people:
        await people.win("ann")
        packet = await people.send("ann", "0.05", 3, kind="equal")
        await people.grab("bob", packet)
    (tmp_path / "packets.db").unlink()
    with pytest.raises(ConfigError, match=r"packets\.db: is gone, .*`redrush restore BACKUP"):
        export_data_dir_text(tmp_path)


async def test_a_packet_is_empty_once_all_have_a_share_and_equal_ones_know_no_luck(tmp_path: Path) -> None:
    async with group_server(tmp_path) as people:
        await people.win("ann")
        packet = await people.send("ann", "0.05", 3, kind="equal")
        answers = await asyncio.gather(*(people.grab(user, packet) for user in "abcdef"))
        assert sorted(answer.outcome for answer in answers) == ["empty"] * 3 + ["granted"] * 3
        amounts = [answer.json["grant"]["amount"] for answer in answers if answer.outcome == "granted"]
        assert sorted(amounts) == ["0.01", "0.02", "0.02"]
        told = await people.look("ann", packet)
        assert (told["state"], told["left"]) == ("empty", "none")
        assert "best_luck" not in told
        assert (await people.ask("ann", "DELETE", f"/packets/{packet}")).json["returned"] == "0.00"


async def test_nobody_sees_or_grabs_what_is_not_paid_and_nobody_pays_what_they_do_not_have(tmp_path: Path) -> None:
    async with group_server(tmp_path) as people:
        await people.win("ann")
        packet = await people.create("ann", "100.01")
        async with asyncio.timeout(PATIENCE_S):
            while (refused := await people.ask("ann", "POST", f"/packets/{packet}/pay")).status != 409:
                await asyncio.sleep(0.01)
        assert (refused.json["reason"], refused.json["available"]) == ("short", "100.00")
        assert (await people.look("ann", packet))["state"] == "unpaid"
        assert (await people.ask("bob", "GET", f"/packets/{packet}")).status == 404
        assert (await people.grab("bob", packet)).status == 404
        assert (await people.ask("bob", "POST", f"/packets/{packet}/pay")).status == 404
        both = [await people.create("ann", "60.00"), await people.create("ann", "60.00")]
        await decided(tmp_path, both)
        states = {(await people.look("ann", one))["state"]: one for one in both}
        assert sorted(states) == ["open", "unpaid"], "one of the two is more than the rest of the balance"
        assert await people.balance("ann") == "40.00"
        left = states["unpaid"]
        assert (await people.ask("ann", "DELETE", f"/packets/{left}")).json["state"] == "cancelled"
        assert (await people.ask("ann", "POST", f"/packets/{left}/pay")).json["state"] == "cancelled"


async def test_a_balance_is_spent_once_however_many_packets_are_made_at_once(tmp_path: Path) -> None:
    async with group_server(tmp_path) as people:
        await people.win("ann", "bob")
        wanted = [(user, "7.00") for user in ("ann", "bob") for _ in range(20)]
        packets = await asyncio.gather(*(people.create(user, total) for user, total in wanted))
        await decided(tmp_path, packets)
        for user in ("ann", "bob"):
            states = [one["state"] for one in (await people.ask(user, "GET", "/packets")).json["packets"]]
            assert sorted(states) == ["open"] * 14 + ["unpaid"] * 6
            assert await people.balance(user) == "2.00"


async def decided(directory: Path, packets: list[str]) -> None:
    """Return when none of the packets is about to be paid."""
    book = people_book(directory)
    async with asyncio.timeout(PATIENCE_S):
        while any(one.stage is Stage.PAYING for one in map(book.find, packets) if one is not None):
            await asyncio.sleep(0.05)
    book.close()


def people_book(directory: Path) -> SqlitePacketBook:
    return SqlitePacketBook.open_path(directory / "packets.db")


async def test_a_sender_gives_no_more_a_day_than_is_allowed(tmp_path: Path) -> None:
    clock = Skipping()
    async with group_server(
        tmp_path, 'share_max = "10.00"\nsender_day_max = "15.00"\nexpires = "10d"', clock
    ) as people:
        await people.win("ann")
        await people.send("ann", "10.00", 1)
        second = await people.create("ann", "6.00", 1)
        refused = await people.ask("ann", "POST", f"/packets/{second}/pay")
        assert (refused.status, refused.json["reason"], refused.json["available"]) == (409, "sender_day_max", "5.00")
        assert (await people.ask("ann", "GET", "/packets/terms")).json["sender_day_left"] == "5.00"
        clock.skip(86_400)
        assert (await people.ask("ann", "POST", f"/packets/{second}/pay")).json["state"] == "open"


async def test_words_are_asked_for_and_guessing_them_ends_soon(tmp_path: Path) -> None:
    clock = Skipping()
    async with group_server(tmp_path, clock=clock) as people:
        await people.win("ann")
        packet = await people.send("ann", count=50, word="芝麻开门 Sesame")
        other = await people.send("ann", count=5, word="sesame")
        assert (await people.look("bob", packet))["needs_word"] is True
        assert (await people.grab("bob", packet)).outcome == "wrong_word"
        assert (await people.grab("bob", packet, word="芝麻开门ＳＥＳＡＭＥ")).outcome == "granted"
        outcomes = [(await people.grab("eve", packet, word=f"guess{number}")).outcome for number in range(9)]
        assert outcomes == ["wrong_word"] * 6 + ["limit"] * 3
        assert (await people.grab("eve", packet, word="芝麻开门sesame")).outcome == "limit", (
            "nor is the right one heard"
        )
        assert (await people.grab("eve", other, word="sesame")).outcome == "limit", "it is the user who guesses"
        assert (await people.grab("carl", packet, word="芝麻开门sesame")).outcome == "granted"
        clock.skip(60)
        assert (await people.grab("eve", packet, word="芝麻开门sesame")).outcome == "granted"
        raw = bytes_in(tmp_path / "packets.db", tmp_path / "packets.db-wal")
        assert b"esame" not in raw, "it is kept as a hash"


async def test_a_crowd_of_accounts_cannot_go_on_guessing_at_one_packet(tmp_path: Path) -> None:
    async with group_server(tmp_path) as people:
        await people.win("ann")
        packet, other = await people.send("ann", word="abcd"), await people.send("ann", word="abcd")
        outcomes = [(await people.grab(f"bot{number}", packet, word=f"a{number:03}")).outcome for number in range(70)]
        assert outcomes.count("limit") >= 10, "fifty an address and sixty a packet"
        assert outcomes[-1] == "limit"
        assert (await people.grab("late", other, word="abcd")).outcome == "limit", "they come from one address"


@pytest.mark.parametrize("named", [["bob", "张伟"], ["bob"]])
async def test_a_packet_for_named_people_is_for_them_alone(tmp_path: Path, named: list[str]) -> None:
    async with group_server(tmp_path) as people:
        await people.win("ann")
        fields: dict[str, Any] = {"for": named, "word": "hi"}
        packet = await people.send("ann", **fields)
        assert (await people.look("eve", packet))["for"] == "named"
        assert (await people.grab("eve", packet, word="hi")).outcome == "not_eligible"
        assert (await people.grab("ann", packet, word="hi")).outcome == "not_eligible"
        for user in named:
            assert (await people.grab(user, packet, word="HI")).outcome == "granted"


async def test_a_sender_may_end_a_packet_early_once(tmp_path: Path) -> None:
    async with group_server(tmp_path) as people:
        await people.win("ann")
        packet = await people.send("ann", "9.00", 3, kind="equal")
        assert (await people.grab("bob", packet)).outcome == "granted"
        assert (await people.ask("bob", "DELETE", f"/packets/{packet}")).status == 404
        for _ in range(2):
            ended = (await people.ask("ann", "DELETE", f"/packets/{packet}")).json
            assert (ended["state"], ended["returned"]) == ("closed", "6.00")
        assert (await people.grab("carl", packet)).outcome == "closed"
        assert await people.balance("ann") == "97.00"


async def test_a_request_with_a_name_creates_one_packet(tmp_path: Path) -> None:
    async with group_server(tmp_path) as people:
        await people.win("ann")
        wanted = {"total": "10.00", "count": 2, "request": "once"}
        first = await people.ask("ann", "POST", "/packets", **wanted)
        await people.until("ann", first.json["id"], "open")
        again = await people.ask("ann", "POST", "/packets", **wanted)
        assert (again.json["id"], again.json["state"]) == (first.json["id"], "open")
        assert (await people.ask("ann", "POST", "/packets", **(wanted | {"count": 3}))).status == 409
        assert await people.balance("ann") == "90.00"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"total": 10, "count": 1}, "total"),
    ({"total": "10", "count": "1"}, "count"),
    ({"total": "10", "count": True}, "count"),
    ({"count": 1}, "total"),
    ({"total": "1.001", "count": 1}, "total"),
    ({"total": "1", "count": 101}, "count"),
    ({"total": "1", "count": 1, "kind": "square"}, "kind"),
    ({"total": "1", "count": 1, "word": "abc"}, "word"),
    ({"total": "1", "count": 1, "for": []}, "for"),
    ({"total": "1", "count": 1, "for": ["a b"]}, "for"),
    ({"total": "1", "count": 1, "for": "followers"}, "for"),
    ({"total": "1", "count": 1, "greeting": 5}, "greeting"),
    ({"total": "1", "count": 1, "amount": "1"}, "amount"),
]


async def test_what_cannot_be_created_is_refused_with_the_field(tmp_path: Path) -> None:
    async with group_server(tmp_path) as people:
        for fields, field in REFUSED:
            refused = await people.ask("ann", "POST", "/packets", **fields)
            assert (refused.status, refused.json.get("field")) == (400, field), fields


GAPS = {
    "created": Booked(Packet(id="a" * 32, sender="ann", kind=Kind.EQUAL, total_minor=300, count=3), Stage.PAYING),
    "spent": Booked(Packet(id="b" * 32, sender="ann", kind=Kind.EQUAL, total_minor=300, count=3), Stage.PAYING),
    "split": Booked(
        Packet(
            id="c" * 32, sender="ann", kind=Kind.EQUAL, total_minor=300, count=3,
            paid_us=1, closes_us=2_000_000_000_000_000,
            amounts=(50, 100, 150),
        ),
        Stage.PAYING,
    ),
}  # fmt: skip


@pytest.mark.parametrize("gap", GAPS)
async def test_a_payment_that_a_crash_cut_short_is_made_once(tmp_path: Path, gap: str) -> None:
    async with group_server(tmp_path) as people:
        await people.win("ann")
    booked = GAPS[gap]
    book = people_book(tmp_path)
    book.add([booked])
    book.close()
    if gap != "created":
        await _spend(tmp_path, booked.packet)
    for _ in range(2):
        async with group_server(tmp_path) as people:
            told = await people.until("ann", booked.packet.id, "open")
            assert told["left"] in ("all", "many")
            assert await people.balance("ann") == "97.00"
            if gap == "split":
                amount = (await people.grab("bob", booked.packet.id)).json["grant"]["amount"]
                assert amount == "0.50", "what was split is not split again"


async def _spend(directory: Path, packet: Packet) -> None:
    from redrush.core.money.clearing import spent  # noqa: PLC0415
    from redrush.ports.bill_book import Entered, Entry  # noqa: PLC0415

    bills = SqliteBillBook.open_path(directory / "payments.db")
    entry = Entry(spent("ann", "sponsor", f"packet:c:{packet.id}", packet.total_minor, 1), 10_000)
    assert bills.post_each("c", [entry]) == [Entered.NOW]
    bills.close()


async def test_packets_sleep_through_a_restart_and_end_while_the_server_is_down(tmp_path: Path) -> None:
    async with group_server(tmp_path, 'expires = "2h"') as people:
        await people.win("ann")
        packets = [await people.send("ann", "1.00", 2) for _ in range(3)]
        mine = (await people.grab("bob", packets[0])).json["grant"]
    clock = Skipping()
    async with group_server(tmp_path, 'expires = "2h"', clock) as people:
        assert (await people.grab("bob", packets[0])).json["grant"] == mine
        assert (await people.grab("carl", packets[1])).outcome == "granted"
    clock.skip(7_300)
    async with group_server(tmp_path, 'expires = "2h"', clock) as people:
        async with asyncio.timeout(PATIENCE_S):
            while not re.fullmatch(r"98\.\d\d|99\.\d\d", await people.balance("ann")):
                await asyncio.sleep(0.02)
        assert (await people.grab("eve", packets[2])).outcome == "closed"
        shares = [(await people.grab(user, packet)).json["grant"]["amount"] for user, packet in
                  (("bob", packets[0]), ("carl", packets[1]))]  # fmt: skip
        assert Decimal(await people.balance("ann")) + sum(map(Decimal, shares)) == 100


async def test_a_packet_for_followers_is_for_them_alone(tmp_path: Path) -> None:
    (tmp_path / "followers.csv").write_text("ann,bob\n")
    async with group_server(tmp_path, 'followers = "followers.csv"') as people:
        await people.win("ann")
        fields: dict[str, Any] = {"for": "followers"}
        packet = await people.send("ann", **fields)
        assert (await people.look("bob", packet))["for"] == "followers"
        assert (await people.grab("bob", packet)).outcome == "granted"
        assert (await people.grab("eve", packet)).outcome == "not_eligible"
        assert (await people.grab("ann", packet)).outcome == "not_eligible"


async def test_where_nobody_can_be_asked_who_follows_whom_a_grab_may_be_tried_again(tmp_path: Path) -> None:
    async with group_server(tmp_path, 'followers = "http://127.0.0.1:9/"') as people:
        await people.win("ann")
        fields: dict[str, Any] = {"for": "followers"}
        packet = await people.send("ann", **fields)
        refused = await people.grab("bob", packet)
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")


EXAMPLE = Path(__file__).parents[2] / "examples/group.toml"


async def test_the_example_is_served_and_is_what_init_writes(tmp_path: Path) -> None:
    sample = resources.files("redrush.cli").joinpath("sample_group.toml").read_text(encoding="utf-8")
    assert EXAMPLE.read_text(encoding="utf-8") == sample.replace("{id}", "group2027")
    file = tmp_path / "group.toml"
    file.write_text(opening_at(EXAMPLE.read_text(encoding="utf-8"), "now", datetime.now(UTC)), encoding="utf-8")
    async with serving(file, tmp_path / "data") as people:
        for user in ("ann", "bob"):
            assert (await people.ask(user, "POST", "/rounds/r20/grab")).outcome == "granted"
        await people.recorded()
        fields: dict[str, Any] = {"greeting": "恭喜发财", "word": "芝麻开门"}
        packet = await people.send("ann", "10.00", 5, **fields)
        assert (await people.grab("bob", packet, word="芝麻开门")).outcome == "granted"
        assert (await people.ask("ann", "DELETE", f"/packets/{packet}")).json["state"] == "closed"


async def test_whatever_people_do_what_was_won_is_owned_or_open_in_the_end(tmp_path: Path) -> None:
    """Senders and friends act at random, and time goes on: no cent is made, and none is lost."""
    seed = random.SystemRandom().randrange(10**6)
    print("seed", seed)  # noqa: T201 - replays it
    lots, clock = random.Random(seed), Skipping()
    senders, friends, packets = ["ann", "bob", "carl"], ["dora", "emil", "finn", "gina"], []
    async with group_server(tmp_path, 'expires = "60s"', clock) as people:
        await people.win(*senders)

        async def act() -> None:
            user = lots.choice(senders)
            match lots.choice(["create", "create", "grab", "grab", "grab", "end", "pay"]):
                case "create":
                    total, count = f"{lots.randint(1, 40)}.{lots.randint(0, 99):02}", lots.randint(1, 6)
                    kind = lots.choice(["lucky", "equal"])
                    wish = {"total": total, "count": count, "kind": kind, "request": f"{lots.randrange(2**32)}"}
                    answer = await people.insist(user, "POST", "/packets", **wish)
                    assert answer.status == 200, answer.raw
                    packets.append((user, answer.json["id"]))
                case "grab" if packets:
                    await people.grab(lots.choice(senders + friends), lots.choice(packets)[1])
                case "end" | "pay" as what if packets:
                    sender, packet = lots.choice(packets)
                    method, path = ("DELETE", "") if what == "end" else ("POST", "/pay")
                    await people.ask(sender, method, f"/packets/{packet}{path}")

        for _ in range(12):
            await asyncio.gather(*(act() for _ in range(8)))
            clock.skip(lots.choice([0, 0.5, 5, 30]))  # while nobody waits, for whom it would be a slow server
        await decided(tmp_path, [packet for _, packet in packets])
        clock.skip(61)
        book = people_book(tmp_path)
        async with asyncio.timeout(PATIENCE_S):
            while book.any_under_way():
                await asyncio.sleep(0.05)
        book.close()
        owned = [Decimal(await people.balance(user)) for user in senders + friends]
        assert sum(owned) == 300, owned
        assert min(owned) >= 0


async def test_what_becomes_of_packets_and_grabs_is_counted(tmp_path: Path) -> None:
    async with group_server(tmp_path) as people:
        await people.win("ann")
        packet = await people.send("ann", "1.00", 1, word="abcd")
        for user, word in (("bob", "abcd"), ("bob", "abcd"), ("carl", "dcba"), ("dora", "abcd")):
            await people.grab(user, packet, word=word)
        found = {
            (value.figure.name.removeprefix("redrush_"), label): value.value
            for value in gate_figures(people.embedded.gate)
            if value.figure in (figures.PACKETS, figures.PACKET_GRABS)
            for _, label in value.labels
        }
        assert {what: count for what, count in found.items() if count} == {
            ("packets", "created"): 1,
            ("packets", "paid"): 1,
            ("packet_grabs", "granted"): 1,
            ("packet_grabs", "repeat"): 1,
            ("packet_grabs", "wrong_word"): 1,
            ("packet_grabs", "empty"): 1,
        }


async def test_packets_that_were_being_paid_end_where_a_campaign_has_none_any_more(tmp_path: Path) -> None:
    """The server was killed amid payments, and `[group]` was taken out of the file before it was started again."""
    file, data_dir, clock = tmp_path / "c.toml", DataDir(tmp_path), Skipping()
    file.write_text(text())
    async with serving(file, tmp_path, clock) as people:
        await people.win("ann", "bob", "carl")
        opened, paid, unpaid = [await people.create(user, "40.00") for user in ("ann", "bob", "carl")]
        await decided(tmp_path, [opened, paid, unpaid])
        for user in ("ann", "bob", "carl"):
            assert await people.balance(user) == "60.00"
        too_much = await people.create("carl", "60.01")
        await decided(tmp_path, [too_much])
    book = people_book(tmp_path)
    # What was paid and written down as split; what was paid, and no more; and what nobody has paid.
    split = book.find(paid)
    assert split is not None
    bare = msgspec.structs.replace(split.packet, amounts=(), paid_us=None, closes_us=0)
    book.keep([Booked(bare, Stage.PAYING)])
    book.turn([opened, unpaid, too_much], Stage.PAYING)
    book.close()
    file.write_text(text().replace("[group]\n", ""))
    await asyncio.to_thread(change_campaign, load_campaign_file(file), data_dir, Holder(), "enough", yes=True)
    async with serving(file, tmp_path, clock) as people:
        book = people_book(tmp_path)
        async with asyncio.timeout(PATIENCE_S):
            while {one.stage for one in book.find_each([opened, paid, unpaid, too_much]) if one} & {Stage.PAYING}:
                await asyncio.sleep(0.02)
        assert [one.stage for one in book.find_each([opened, paid, too_much]) if one] == [
            Stage.OPEN, Stage.OPEN, Stage.OVER,
        ]  # fmt: skip
        clock.skip(90_000)
        async with asyncio.timeout(PATIENCE_S):
            while book.any_under_way():
                await asyncio.sleep(0.02)
        book.close()
        payments = people.embedded.till.part.payments
        owned = [await payments.owned("c", user) for user in ("ann", "bob", "carl")]
        assert [one.available_minor for one in owned] == [10_000] * 3
