"""A draw from its campaign file to the last record: served over HTTP, exported, found, reconciled, closed."""

import asyncio
import io
import json
import re
from collections import Counter
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from redrush.cli.beginning import opening_at
from redrush.client.participant import Participant
from redrush.client.policy import Showing
from redrush.config import CampaignFile, load_campaign_file
from redrush.control.amending import DRAWN
from redrush.control.code_file import Codes
from redrush.control.data_dir import DataDir
from redrush.control.event import load_event, prepare_event
from redrush.control.keys import receipt_keys
from redrush.core.identity.receipts import verify_receipt
from redrush.core.rush.instants import rfc3339
from redrush.core.rush.outcomes import Outcome
from redrush.drill.draw_audit import SealedDraw, Told, audit_draw
from redrush.errors import ConfigError
from redrush.operate.campaigns import change_campaign
from redrush.operate.data_dir_reports import export_grants, find_in_data_dir, reconcile_data_dir
from redrush.operate.switching import Holder
from redrush.wiring.clock import system_clock
from tests import openapi
from tests.gate.world import read_answer, request
from tests.patience import PATIENCE_S
from tests.raw_files import bytes_in
from tests.wiring.test_campaigns import Server, running

TEXT = """
[campaign]
id = "fest"
name = "n"
currency = "CNY"
[[round]]
id = "draw"
kind = "draw"
opens = "now"
lasts = "{lasts}"
plays = {{ per_user = 5 }}
[[round.prize]]
id = "phone"
name = "手机"
holds = "goods"
count = 2
release = {{ per_second = 1000 }}
[[round.prize]]
id = "coupon"
holds = "code"
codes = "coupons.csv"
odds = "1/2"
otherwise = "red"
per_user = 2
[[round.prize]]
id = "red"
holds = "money"
amount = "0.88"
count = 30
[limits]
user_per_second = 1000
address_per_second = 10000
[client]
start_window = "10ms"
interval = "20ms"
"""
CODES = [f"RR-KEEP-SECRET-{number:03}" for number in range(12)]


def _file(directory: Path, lasts: str = "1h") -> CampaignFile:
    (directory / "coupons.csv").write_text("code\n" + "\n".join(CODES))
    file = directory / "fest.toml"
    file.write_text(TEXT.format(lasts=lasts))
    return load_campaign_file(file)


async def _play(server: Server, user: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    data = b"" if body is None else json.dumps(body).encode()
    headers = ["Content-Type: application/json"] if data else []
    reader, writer = await asyncio.open_connection("127.0.0.1", server.ports["gate"])
    try:
        writer.write(request("POST", "/v1/rounds/draw/grab", server.ticket(None, user), data, headers))
        received = b""
        while (found := read_answer(received)) is None:
            received += await reader.read(65_536)
        openapi.check("POST", "/v1/rounds/draw/grab", found[0])
        answer: dict[str, Any] = found[0].json
        return answer
    finally:
        writer.close()


async def test_a_draw_with_codes_goods_and_money_from_the_file_to_the_books(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with running(data, _file(tmp_path)) as server:
        answers = {
            (f"u{user}", play): await _play(server, f"u{user}", {"play": play})
            for user in range(12)
            for play in range(1, 6)
        }
        assert {answer["outcome"] for answer in answers.values()} == {"granted", "missed"}
        won = {play: answer["grant"] for play, answer in answers.items() if answer["outcome"] == "granted"}
        for play, grant in won.items():
            again = await _play(server, play[0], {"play": play[1]})
            assert again["grant"] == grant
        assert (await _play(server, "u1"))["outcome"] == "limit"
        state = await server.ask("GET", "/v1/rounds/draw")
        openapi.check("GET", "/v1/rounds/draw", state)
        assert state.json["plays"] == {"first": 1, "last": 5, "per_user": 5}
        assert [prize["id"] for prize in state.json["prizes"]] == ["phone", "coupon", "red"]
        assert state.json["prizes"][1]["odds"] == "1/2"
        assert len(state.json["commitment"]) == 64
        told = await server.ask("GET", "/v1/grants", server.ticket(None, "u1"))
        openapi.check("GET", "/v1/grants", told)
        mine = told.json["grants"]
        assert sorted(grant["id"] for grant in mine) == sorted(
            grant["id"] for (user, _), grant in won.items() if user == "u1"
        )
        counts = Counter(grant["prize"] for grant in won.values())
        assert (counts["phone"], counts["coupon"]) == (2, 12)
        assert 0 < counts["red"] <= 12, "who hits a coupon when it is gone gets money"
        codes = [grant["code"] for grant in won.values() if "code" in grant]
        assert sorted(codes) == CODES, "each is shown to one owner"
        assert all(receipt is not None for receipt in (verify_receipt(receipt_keys(data), g["receipt"]) for g in mine))
    report = await asyncio.to_thread(reconcile_data_dir, DataDir(data))
    assert (report.ok, report.problems, report.grants) == (True, (), len(won))
    assert {one.round: one.grants for one in report.rounds} == {f"draw.{name}": counts[name] for name in counts}
    out = tmp_path / "grants.jsonl"
    with out.open("w") as file:
        export_grants(DataDir(data), "jsonl", file)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {(row["round"], row["prize"]) for row in rows} == {("draw", name) for name in counts}
    assert {row["holds"] for row in rows if row["prize"] == "coupon"} == {f"code:{number}" for number in range(12)}
    found = find_in_data_dir(DataDir(data), "u1")
    assert sorted(grant.grant for grant in found.grants) == sorted(grant["id"] for grant in mine)
    for path in data.rglob("*"):
        assert path.is_dir() or b"KEEP-SECRET" not in bytes_in(path), f"{path} has a code in it that all can read"


async def test_what_nobody_has_won_goes_back_to_the_sponsor_at_the_close(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with running(data, _file(tmp_path, lasts="700ms")) as server:
        assert (await _play(server, "u1", {"play": 1}))["outcome"] in {"granted", "missed"}
        async with asyncio.timeout(PATIENCE_S):
            while (await asyncio.to_thread(reconcile_data_dir, DataDir(data))).unclaimed_minor:
                await asyncio.sleep(0.05)
        assert (await _play(server, "u2", {"play": 1}))["outcome"] == "closed"
    report = await asyncio.to_thread(reconcile_data_dir, DataDir(data))
    assert (report.ok, report.unclaimed_minor, report.returned_minor) == (True, 0, 30 * 88)


def test_codes_are_encrypted_bound_to_their_place_and_told_to_be_damaged(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path / "data")
    prepare_event(_file(tmp_path), data_dir, system_clock().now_us)
    sealed = data_dir.codes.read_text()
    codes = Codes(data_dir, "fest")
    codes.check(load_event(data_dir).sealed.campaign)
    assert [codes("draw.coupon", place) for place in (0, 11)] == [CODES[0], CODES[11]]
    with pytest.raises(ConfigError, match=r"lacks a code of draw\.coupon"):
        codes("draw.coupon", 12)
    first, second = re.findall(r'"([A-Za-z0-9+/=]{40,})"', sealed)[:2]
    data_dir.codes.write_text(sealed.replace(first, "x").replace(second, first).replace('"x"', f'"{second}"'))
    with pytest.raises(ConfigError, match="cannot be decrypted"):
        Codes(data_dir, "fest")("draw.coupon", 0)
    with pytest.raises(ConfigError, match="cannot be decrypted"):
        Codes(data_dir, "another")("draw.coupon", 5)
    data_dir.codes.unlink()
    with pytest.raises(ConfigError, match=r"restore BACKUP .* --only codes.jsonl"):
        Codes(data_dir, "fest").check(load_event(data_dir).sealed.campaign)


EXAMPLE = Path(__file__).parents[2] / "examples/draw.toml"


async def test_the_example_is_what_init_writes_and_its_plays_are_granted_and_missed(tmp_path: Path) -> None:
    sample = resources.files("redrush.cli").joinpath("sample_draw.toml").read_text(encoding="utf-8")
    assert EXAMPLE.read_text(encoding="utf-8") == sample.replace("{id}", "draw2027")
    file = tmp_path / "draw.toml"
    file.write_text(opening_at(EXAMPLE.read_text(encoding="utf-8"), "now", datetime.now(UTC)), encoding="utf-8")
    async with running(tmp_path / "data", load_campaign_file(file)) as server:
        told = []
        for user, play in [(f"u{number}", 1) for number in range(10)] + [("u0", play) for play in range(1, 6)]:
            answer = await _play(server, user, {"play": play})
            told.append(Told(user, play, system_clock().now_us(), answer.get("grant")))
    of_u0 = [one.grant for one in told if one.user == "u0"]
    assert of_u0[-1] is not None or any(of_u0[:-1]), "the floor, in the fifth play of whom the odds gave nothing before"
    out = io.StringIO()
    export_grants(DataDir(tmp_path / "data"), "jsonl", out)
    rows = [json.loads(line) for line in out.getvalue().splitlines()]
    verdicts = audit_draw(told, rows, SealedDraw(tmp_path / "data", "draw"))
    assert [one.name for one in verdicts if not one.holds] == [], verdicts
    assert (await asyncio.to_thread(reconcile_data_dir, DataDir(tmp_path / "data"))).ok


async def test_the_client_plays_numbers_until_each_is_decided(tmp_path: Path) -> None:
    async with running(tmp_path / "data", _file(tmp_path)) as server:
        ticket = server.ticket(None, "carol")
        async with Participant([f"http://127.0.0.1:{server.ports['gate']}"], ticket) as carol:
            results = [await carol.play("draw", number) for number in range(1, 6)]
            again = await carol.play("draw", 3)
            beyond = await carol.play("draw")
    assert [(result.showing, result.play, result.plays_left) for result in results] == [
        (Showing.DECIDED, number, 5 - number) for number in range(1, 6)
    ]
    won = [result.grant for result in results if result.grant is not None]
    assert {result.outcome for result in results} <= {Outcome.GRANTED, Outcome.MISSED}
    assert all(grant.prize in {"phone", "coupon", "red"} for grant in won)
    assert all((grant.code is not None) is (grant.prize == "coupon") for grant in won)
    assert (again.outcome, again.grant) == (results[2].outcome, results[2].grant)
    assert (beyond.outcome, beyond.showing) == (Outcome.LIMIT, Showing.DECIDED)


async def test_a_draw_is_added_to_a_running_server_and_what_one_promises_is_not_changed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    plain = '[[round]]\nid = "r1"\nkind = "equal"\nopens = "now"\nlasts = "1h"\ntotal = "1.00"\npackets = 1\n'
    head = TEXT.partition("[[round]]")[0]
    draw = TEXT.format(lasts="1h").partition("[[round]]")[2]
    opens_us = system_clock().now_us() + 60_000_000
    draw = "[[round]]" + draw.replace('"now"', rfc3339(opens_us).replace("Z", "+00:00"))
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    (tmp_path / "coupons.csv").write_text("code\n" + "\n".join(CODES))
    first.write_text(head + plain)
    second.write_text(head + plain + draw)
    holder = Holder("a test")
    async with running(data, load_campaign_file(first)) as server:
        amended = await asyncio.to_thread(
            change_campaign, load_campaign_file(second), DataDir(data), holder, "more", yes=True
        )
        assert (amended.done, [change.refused for change in amended.changes if change.refused]) == (True, [])
        state = await server.until("/v1/rounds/draw", 200)
        assert [prize["id"] for prize in state.json["prizes"]] == ["phone", "coupon", "red"]
        assert (await _play(server, "u1", {"play": 1}))["outcome"] == "not_open"
        event = load_event(DataDir(data)).sealed
        added = event.campaign.pot("draw.coupon")
        assert added is not None
        assert [event.amounts.text(slot) for slot in (0, added.slots.first)] == [None, "code:0"]
        text = second.read_text().replace('odds = "1/2"', 'odds = "1/3"').replace("count = 2\n", "count = 3\n")
        second.write_text(text)
        changed = await asyncio.to_thread(
            change_campaign, load_campaign_file(second), DataDir(data), holder, "better", yes=True
        )
        assert not changed.done
        assert {change.refused for change in changed.changes} == {DRAWN}
    report = await asyncio.to_thread(reconcile_data_dir, DataDir(data))
    assert report.ok, report.problems
