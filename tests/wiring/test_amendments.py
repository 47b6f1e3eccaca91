"""A campaign is amended while it is served: what may change does, what may not is said with why, tickets stay good."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from redrush.config import CampaignFile, PaymentsFile, parse_campaign
from redrush.config.payments_file import ProviderSpec
from redrush.control.amending import Change, changes_between
from redrush.control.audience_additions import remove_from_audience
from redrush.control.data_dir import DataDir
from redrush.control.event import is_current, load_campaign, load_event, prepare_event
from redrush.core.rush.instants import rfc3339
from redrush.core.rush.message import DEFAULTS
from redrush.errors import ConfigError
from redrush.http.sockets import Reserved
from redrush.operate.campaigns import add_campaign, change_campaign
from redrush.operate.switching import Holder
from redrush.ports.bill_book import KeptBill
from redrush.providers.sandbox.bank import Bank
from redrush.sandbox.server import Sandbox
from redrush.wiring.clock import system_clock
from redrush.wiring.embedded_sale import orders_at
from tests.patience import PATIENCE_S
from tests.wiring.test_campaigns import Server, running

NOW_US = 1_900_000_000_000_000
SECOND_US = 1_000_000
TEXT = """
[campaign]
id = "c"
name = "{name}"
currency = "CNY"
[[round]]
id = "r1"
opens = {opens}
lasts = "{lasts}"
kind = "equal"
total = "{total}"
packets = {packets}
{round_keys}
{more}
"""
ROUND_2 = """
[[round]]
id = "r2"
opens = 2040-01-01T00:00:00Z
lasts = "1h"
kind = "equal"
total = "5.00"
packets = 5
"""


def _file(**changed: str) -> CampaignFile:
    usual = {
        "name": "n",
        "opens": rfc3339(NOW_US + 100 * SECOND_US),
        "lasts": "60s",
        "total": "3.00",
        "packets": "3",
        "round_keys": "",
        "more": ROUND_2,
    }
    return parse_campaign(TEXT.format(**(usual | changed)), "c.toml")


def _told(changes: list[Change]) -> list[tuple[str, str, str, bool]]:
    return [(one.what, one.before, one.after, one.refused is None) for one in changes]


CALM = '[[playbook]]\nname = "calm"\nsettings = { "sampling.non_core" = 0 }\n'
AT = rfc3339

CASES: list[tuple[dict[str, str], int, str, bool]] = [
    # what the file says otherwise, seconds after NOW_US, what is told of, whether it may be
    ({"name": "another"}, 0, "name", True),
    ({"lasts": "90s"}, 0, 'round "r1", lasts', True),
    ({"lasts": "90s"}, 130, 'round "r1", lasts', True),
    ({"lasts": "90s"}, 158, 'round "r1", lasts', False),
    ({"lasts": "90s"}, 200, 'round "r1", lasts', False),
    ({"lasts": "30s"}, 0, 'round "r1", lasts', False),
    ({"opens": AT(NOW_US + 50 * SECOND_US)}, 0, 'round "r1", opens', True),
    ({"opens": AT(NOW_US + 500 * SECOND_US)}, 0, 'round "r1", opens', True),
    ({"opens": AT(NOW_US + 3 * SECOND_US)}, 0, 'round "r1", opens', False),
    ({"opens": AT(NOW_US + 500 * SECOND_US)}, 97, 'round "r1", opens', False),
    ({"opens": AT(NOW_US + 500 * SECOND_US)}, 120, 'round "r1", opens', False),
    ({"round_keys": "release_per_second = 2.0"}, 130, 'round "r1", release_per_second', True),
    ({"total": "6.00"}, 0, 'round "r1", total', False),
    ({"round_keys": 'leftover = "next"'}, 0, 'round "r1", leftover', False),
    ({"more": ""}, 0, 'round "r2"', True),
    ({"total": "5.00", "packets": "5"}, 0, 'round "r1", packets', True),
    ({"total": "5.00", "packets": "5"}, 150, 'round "r1", packets', True),
    ({"total": "5.00", "packets": "5"}, 158, 'round "r1", packets', False),
    ({"total": "6.00", "packets": "5"}, 0, 'round "r1", packets', False),
    ({"total": "3.00", "packets": "5"}, 0, 'round "r1", packets', False),
    ({"total": "2.00", "packets": "2"}, 0, 'round "r1", total', False),
    ({"more": ROUND_2 + ROUND_2.replace("r2", "r3")}, 0, 'round "r3"', True),
    ({"more": ROUND_2 + ROUND_2.replace("r2", "r3").replace("2040-01-01T00:00:00Z", '"now"')}, 0, 'round "r3"', False),
    ({"more": ROUND_2 + CALM}, 0, "playbook", True),
    ({"more": ROUND_2 + "[limits]\nuser_per_second = 9\n"}, 0, "limits.user_per_second", True),
]


@pytest.mark.parametrize(("changed", "after_s", "what", "possible"), CASES)
def test_what_may_change_and_what_may_not(
    tmp_path: Path, changed: dict[str, str], after_s: int, what: str, possible: bool
) -> None:
    event = prepare_event(_file(), DataDir(tmp_path), lambda: NOW_US).event
    assert changes_between(event, _file(), NOW_US) == [], "the same file changes nothing"
    told = _told(changes_between(event, _file(**changed), NOW_US + after_s * SECOND_US))
    assert (told[0][0], told[0][3]) == (what, possible), told
    assert len(told) == 1 or what.endswith("total"), told


MAIL = '[[message]]\nby = "mail"\n'
POST = '[[message]]\nby = "post"\nof = ["money", "code"]\n'
TITLE = f'[message.en]\ntitle = "{{worth}}!"\ntext = """{DEFAULTS["en"].text}"""\n'


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (MAIL, MAIL + TITLE, [('message "mail".texts.en.title', "{campaign}: you have won {worth}", "{worth}!")]),
        (MAIL, POST + MAIL, [('message "post"', "nothing", "tells of money, code")]),
        (MAIL + POST, MAIL, [('message "post"', "tells of money, code", "nothing")]),
        (MAIL + POST, POST + MAIL, [("message", "mail, post", "post, mail")]),
        ("", '[payout]\nprovider = "bank"\npolicy = "winner"\n', [
            ("payout", "nothing", "policy winner, provider bank, threshold_minor 1, approve False"),
        ]),
    ],
)  # fmt: skip
def test_what_winners_are_told_and_paid_by_is_changed_in_words(
    tmp_path: Path, before: str, after: str, told: list[tuple[str, str, str]]
) -> None:
    event = prepare_event(_file(more=before), DataDir(tmp_path), lambda: NOW_US).event
    changes = changes_between(event, _file(more=after), NOW_US)
    assert [(one.what, one.before, one.after) for one in changes] == told
    assert all(one.at_once and one.refused is None for one in changes)


def test_what_is_changed_of_the_page_is_told_key_by_key_and_a_file_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "gong.wav").write_bytes(b"RIFF....WAVEfmt 1")
    (tmp_path / "top.svg").write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    page = """[page]
picture = "{directory}/top.svg"
rules.en = "{rules}"
[page.sounds]
won = "{directory}/gong.wav"
missed = "tune"
[page.colours]
red = "#b00020"
[page.texts.en]
won = "{won}"
"""
    first = page.format(directory=tmp_path, rules="One. " * 100, won="Hooray")
    event = prepare_event(_file(more=first), DataDir(tmp_path / "d"), lambda: NOW_US).event
    assert changes_between(event, _file(more=first), NOW_US) == []
    (tmp_path / "gong.wav").write_bytes(b"RIFF....WAVEfmt 2")
    (tmp_path / "top.svg").write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'> </svg>")
    then = page.format(directory=tmp_path, rules="One. " * 100 + "Two.", won="Hurrah").replace("#b00020", "#2b3f8c")
    changes = {one.what: (one.before, one.after) for one in changes_between(event, _file(more=then), NOW_US)}
    rules = f"{'One. ' * 40}…"
    gong, other = (
        f"audio/wav of 17 bytes ({sha256(b'RIFF....WAVEfmt ' + end).hexdigest()[:8]})" for end in (b"1", b"2")
    )
    picture, later = changes.pop("page.picture")
    assert changes == {
        "page.rules.en": (rules, f"{rules}, changed"),
        "page.sounds.won": (gong, other),
        "page.colours.red": ("#b00020", "#2b3f8c"),
        "page.texts.en.won": ("Hooray", "Hurrah"),
    }
    assert (picture.partition(" (")[0], later.partition(" (")[0]) == (
        "image/svg+xml of 41 bytes", "image/svg+xml of 47 bytes"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "at_once"),
    [
        ("", "[group]\n", {"group": False}),
        ("[group]\n", "", {"group": False}),
        ("[group]\n", "[group]\ncount_max = 7\n", {"group.count_max": True}),
        ("[group]\n", '[group]\nfollowers = "f.csv"\n', {"group.followers": False}),
        ("", '[page]\ngreeting.en = "hi"\n', {"page.greeting.en": True}),
        ("", "[gate]\nconnections_max = 999\n", {"gate.connections_max": False}),
    ],
)
def test_what_a_running_server_does_not_follow_is_said_to_hold_from_its_next_start_on(
    tmp_path: Path, before: str, after: str, at_once: dict[str, bool]
) -> None:
    data_dir = DataDir(tmp_path)
    prepare_event(_file(more=ROUND_2 + before), data_dir, lambda: NOW_US)
    found = changes_between(load_event(data_dir), _file(more=ROUND_2 + after), NOW_US)
    assert {one.what: one.at_once for one in found} == at_once


def test_a_change_that_would_send_a_leftover_elsewhere_is_refused(tmp_path: Path) -> None:
    first = _file(round_keys='leftover = "next"')
    event = prepare_event(first, DataDir(tmp_path), lambda: NOW_US).event
    cancelled = _file(round_keys='leftover = "next"', more="")
    (before,) = changes_between(event, cancelled, NOW_US)
    assert before.refused is None
    (after,) = changes_between(event, cancelled, NOW_US + 170 * SECOND_US)
    assert after.refused == "the leftover of round r1, which is over, would have gone somewhere else"


def test_an_amended_campaign_is_that_of_the_new_file_and_of_no_older_one(tmp_path: Path) -> None:
    data_dir, now_us = DataDir(tmp_path), time.time_ns() // 1_000
    old = _file(opens=rfc3339(now_us + 3_600 * SECOND_US))
    new = _file(opens=rfc3339(now_us + 7_200 * SECOND_US), name="later", more="")
    sealed = prepare_event(old, data_dir, lambda: now_us).event.sealed
    shown = change_campaign(new, data_dir, Holder(), "w", yes=False)
    assert (shown.done, len(shown.changes)) == (False, 3)
    assert load_campaign(data_dir).name == "n", "shown, not made so"
    assert change_campaign(new, data_dir, Holder("ann"), "hall not ready", yes=True).done is True
    campaign = load_campaign(data_dir)
    times = {round_.id: (round_.opens_us, round_.closes_us) for round_ in campaign.rounds}
    assert times["r1"] == (now_us + 7_200 * SECOND_US, now_us + 7_260 * SECOND_US)
    assert times["r2"][0] == times["r2"][1], "a cancelled round is never open"
    assert list(load_event(data_dir).sealed.amounts) == list(sealed.amounts), "what packets hold stays"
    assert is_current(new, data_dir) is True
    with pytest.raises(ConfigError, match="the campaign was amended, and its file says otherwise"):
        prepare_event(old, data_dir, lambda: now_us)
    again = prepare_event(new, data_dir, lambda: now_us).event
    assert again.sealed.campaign == campaign, "a start with the new file keeps what was amended"
    assert change_campaign(new, data_dir, Holder(), "w", yes=True).changes == ()
    (line,) = [json.loads(one) for one in data_dir.campaign_log.read_text().splitlines()]
    assert (line["who"], line["said"], line["why"]) == ("event", "ann", "hall not ready")
    assert line["what"].startswith('change round "r1", opens: ')


async def _in_thread(work: Callable[..., Any], *args: Any, **named: Any) -> Any:
    return await asyncio.to_thread(work, *args, **named)


@pytest.mark.parametrize("hosted", [False, True])
async def test_a_running_server_follows_without_a_restart(tmp_path: Path, hosted: bool) -> None:
    now_us = time.time_ns() // 1_000
    far = rfc3339(now_us + 3_600 * SECOND_US)
    first = None if hosted else _file(opens=far)
    async with running(tmp_path, first) as server:
        if hosted:
            await _in_thread(add_campaign, _file(opens=far), server.data_dir, Holder())
        path, own = "/v1/campaigns/c/rounds", "c" if hosted else None
        await server.until(f"{path}/r1", 200)
        ticket = server.ticket(own, "ann")
        assert (await server.grab(f"{path}/r1", ticket)).outcome == "not_open"
        opens_us = time.time_ns() // 1_000 + 6 * SECOND_US
        soon = _file(opens=rfc3339(opens_us), lasts="1h", more=CALM)
        done = await _in_thread(change_campaign, soon, server.data_dir, Holder(), "sooner", yes=True)
        assert (done.done, done.live) == (True, True), done
        await _until(server, f"{path}/r1", "opens_at", rfc3339(opens_us))
        assert (await server.grab(f"{path}/r1", ticket)).outcome == "not_open"
        await _until(server, f"{path}/r1", "state", "open")
        assert time.time_ns() // 1_000 >= opens_us
        won = await server.grab(f"{path}/r1", ticket)
        assert won.outcome == "granted", "the ticket from before is good"
        await _until(server, f"{path}/r2", "state", "not_open")  # 2040: it is cancelled, and will be closed then
        control = "/v1/campaigns/c/playbooks" if hosted else "/v1/playbooks"
        assert (await server.ask("GET", control, None, "control")).status == 401, "the path is there"


async def _until(server: Server, path: str, key: str, value: object, ticket: str | None = None) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (await server.ask("GET", path, ticket)).json.get(key) != value:
            await asyncio.sleep(0.05)


async def test_who_is_taken_off_the_audience_keeps_what_they_won_and_their_ticket(tmp_path: Path) -> None:
    users = tmp_path / "users.txt"
    users.write_text("ann\nbob\n")
    opens = rfc3339(time.time_ns() // 1_000 - SECOND_US)
    file = _file(opens=opens, lasts="1h", packets="3")
    file = msgspec.structs.replace(file, audience=users)
    async with running(tmp_path / "event", file) as server:
        tickets = {user: server.ticket(None, user) for user in ("ann", "bob")}
        won = await server.grab("/v1/rounds/r1", tickets["ann"])
        assert won.outcome == "granted"
        await _in_thread(remove_from_audience, server.data_dir, ["ann", "bob"], "desk", "left", time.time_ns() // 1_000)
        audience = server.embedded.gate.campaigns["c"].event.audience
        assert audience is not None
        async with asyncio.timeout(PATIENCE_S):
            while "bob" in audience:
                await asyncio.sleep(0.02)
        assert (await server.grab("/v1/rounds/r1", tickets["bob"])).outcome == "not_eligible"
        again = await server.grab("/v1/rounds/r1", tickets["ann"])
        assert (again.outcome, again.json["grant"]) == ("granted", won.json["grant"])
        assert len((await server.ask("GET", "/v1/grants", tickets["ann"])).json["grants"]) == 1


async def test_policy_limits_and_admission_hold_at_once_on_a_running_server(tmp_path: Path) -> None:
    opens = rfc3339(time.time_ns() // 1_000 - SECOND_US)
    told = '[client]\ninterval = "2s"\n[limits]\nuser_per_second = 3\nuser_burst = 4\n[admission]\nwait_max = "700ms"\n'
    old, new = (_file(opens=opens, lasts="1h", total="1.00", packets="1", more=more) for more in ("", told))
    async with running(tmp_path, old) as server:
        before = (await server.ask("GET", "/v1/policy")).json
        done = await _in_thread(change_campaign, new, server.data_dir, Holder(), "calmer", yes=True)
        assert done.done, done
        assert all(change.at_once for change in done.changes), done
        await _until(server, "/v1/policy", "interval_ms", 2_000)
        policy = (await server.ask("GET", "/v1/policy")).json
        assert policy == before | {"interval_ms": 2_000}
        await _until(server, "/v1/rounds/r1", "interval_ms", 2_000)
        valves = server.embedded.gate.admission.valves
        assert {valve.wait_max_us for valve in valves.values()} == {700_000}
        ticket = server.ticket(None, "ann")
        statuses = [(await server.grab("/v1/rounds/r1", ticket)).status for _ in range(6)]
        assert statuses[:4] == [200] * 4
        assert 429 in statuses[4:], statuses


@asynccontextmanager
async def a_bank(directory: Path) -> AsyncIterator[PaymentsFile]:
    """Run a sandbox; the payments file names it."""
    sandbox = Sandbox(Bank(), system_clock().now_us)
    url = f"http://127.0.0.1:{await sandbox.serve(Reserved.at('127.0.0.1', 0))}"
    try:
        yield PaymentsFile(path=directory / "p.toml", providers=(ProviderSpec(name="bank", kind="sandbox", url=url),))
    finally:
        await sandbox.stop()


async def test_how_winners_are_paid_is_followed_at_once(tmp_path: Path) -> None:
    opens = rfc3339(time.time_ns() // 1_000 - SECOND_US)
    interval_ms = 2_000

    async def amend(server: Server, payout: str) -> None:
        nonlocal interval_ms
        interval_ms += 500
        more = f'[client]\ninterval = "{interval_ms}ms"\n[payout]\nprovider = "bank"\n{payout}'
        file = _file(opens=opens, lasts="1h", more=more)
        done = await _in_thread(change_campaign, file, server.data_dir, Holder(), "money", yes=True)
        assert done.done, done
        assert all(change.at_once for change in done.changes), done
        await _until(server, "/v1/policy", "interval_ms", interval_ms)

    async def bill_of(server: Server, user: str, state: str | None = None) -> KeptBill:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                bills = await server.embedded.till.part.payments.payouts_of(user)
                if bills and state in (None, bills[0].state):
                    return bills[0]
                await asyncio.sleep(0.02)

    first = _file(opens=opens, lasts="1h", more="")
    async with a_bank(tmp_path) as payments, running(tmp_path, first, payments) as server:
        tickets = {user: server.ticket(None, user) for user in ("ann", "bob", "carl")}
        assert (await server.grab("/v1/rounds/r1", tickets["ann"])).outcome == "granted"
        assert (await server.ask("POST", "/v1/payouts", tickets["ann"])).status == 409, "nobody is paid out"
        await amend(server, 'policy = "auto"')
        await bill_of(server, "ann", "done")
        await amend(server, 'policy = "auto"\napprove = true')
        assert (await server.grab("/v1/rounds/r1", tickets["bob"])).outcome == "granted"
        assert (await bill_of(server, "bob")).state == "held"
        await amend(server, 'policy = "winner"\napprove = true')
        assert (await server.grab("/v1/rounds/r1", tickets["carl"])).outcome == "granted"
        await _until(server, "/v1/balance", "available", "1.00", tickets["carl"])
        assert (await server.ask("GET", "/v1/balance", tickets["carl"])).json["payout"] == "winner"
        assert (await server.ask("POST", "/v1/payouts", tickets["carl"])).status == 200
        assert (await bill_of(server, "carl")).state == "held"


STACK = """
[event]
data = "."
records = { env = "REDRUSH_RECORDS" }
[[set]]
id = "s1"
addresses = ["127.0.0.1:6371"]
[[set]]
id = "s2"
addresses = ["127.0.0.1:6372"]
from_round = "r2"
"""


@pytest.mark.parametrize("refused", [False, True])
def test_a_change_that_would_divide_packets_over_other_sets_is_refused(tmp_path: Path, refused: bool) -> None:
    """Set s2 takes part from r2 on. Were r1 to open after r2, it would be over both, and its packets are in s1."""
    now_us = time.time_ns() // 1_000
    opens = rfc3339(now_us + 100 * SECOND_US)
    prepare_event(_file(opens=opens), DataDir(tmp_path), lambda: now_us)
    (tmp_path / "deployment.toml").write_text(STACK)
    later = "2041-01-01T00:00:00Z" if refused else rfc3339(now_us + 200 * SECOND_US)
    (change,) = change_campaign(_file(opens=later), DataDir(tmp_path), Holder("ann"), "", yes=True).changes
    assert ("a set of the deployment takes part from some round on" in str(change.refused)) == refused


async def test_an_amendment_that_failed_half_way_is_tried_again_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sale = (
        '[[round]]\nid = "s1"\nkind = "sale"\nopens = 2040-01-01T00:00:00Z\nlasts = "1h"\nprice = "5.00"\nunits = 10\n'
    )
    opens, tried = rfc3339(time.time_ns() // 1_000 - SECOND_US), [0]

    def refuses_at_first(data_dir: DataDir) -> Any:
        tried[0] += 1
        if tried[0] == 1:
            raise ConfigError(f"{data_dir.sales}: cannot be opened")
        return orders_at(data_dir)

    monkeypatch.setattr("redrush.wiring.embedded_sale.orders_at", refuses_at_first)
    async with running(tmp_path, _file(opens=opens, lasts="1h", more="")) as server:
        amended = _file(opens=opens, lasts="1h", more=sale)
        done = await asyncio.to_thread(change_campaign, amended, server.data_dir, Holder(), "a sale", yes=True)
        assert done.done, done
        ann = server.ticket(None, "ann")
        async with asyncio.timeout(PATIENCE_S):
            while (await server.ask("GET", "/v1/orders", ann)).status != 200:
                await asyncio.sleep(0.02)
    assert tried[0] == 2
