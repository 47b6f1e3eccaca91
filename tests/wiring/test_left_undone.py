"""A server is down at the end of a campaign besides its first: what was left to do is done after the start, unasked."""

import asyncio
import json
import os
import time
from pathlib import Path

import apsw
import pytest

from redrush.config import CampaignFile, parse_campaign
from redrush.control.campaigns import directory_of
from redrush.core.rush.instants import rfc3339
from redrush.core.rush.phase import SteadyClock
from redrush.operate.campaigns import add_campaign
from redrush.operate.switching import Holder
from tests.patience import PATIENCE_S
from tests.wiring.test_amendments import SECOND_US, a_bank
from tests.wiring.test_campaigns import Server, running

HOUR_US = 3_600 * SECOND_US
TEXT = """
[campaign]
id = "{id}"
name = "n"
currency = "CNY"
[[round]]
id = "x1"
opens = {opens}
lasts = "30m"
kind = "equal"
total = "3.00"
packets = 3
[payout]
provider = "bank"
policy = "{policy}"
"""


def _an_hour_ago() -> SteadyClock:
    return SteadyClock(time.monotonic_ns, time.time_ns() // 1_000 - HOUR_US)


async def _won_an_hour_ago(directory: Path, monkeypatch: pytest.MonkeyPatch, text: str, policy: str) -> CampaignFile:
    """Let ann win in a campaign beside the first, whose server then is down until long after its round; return the
    first."""
    opens = rfc3339(time.time_ns() // 1_000 - HOUR_US - SECOND_US)
    first, spring = (parse_campaign(text.format(id=name, opens=opens, policy=policy), name) for name in ("a", "spring"))
    with monkeypatch.context() as then:
        then.setattr("redrush.wiring.embedded.system_clock", _an_hour_ago)
        async with running(directory, first) as server:
            await asyncio.to_thread(add_campaign, spring, server.data_dir, Holder())
            path = "/v1/campaigns/spring/rounds/x1"
            await server.until(path, 200)
            assert (await server.grab(path, server.ticket("spring", "ann"))).outcome == "granted"
    return first


async def _until_all_is_done(server: Server) -> None:
    """Wait until nobody is awake, and the campaign beside the first is known to have nothing left to do."""
    host = server.embedded._hosting
    async with asyncio.timeout(2 * PATIENCE_S):
        while host._undone or host._awake:
            await asyncio.sleep(0.05)
    own = directory_of(server.data_dir, "spring")
    assert not await asyncio.to_thread(host._left_undone, own), "all was done"


PRIZES = """
[campaign]
id = "{id}"
name = "n"
currency = "CNY"
[[round]]
id = "x1"
kind = "draw"
opens = {opens}
lasts = "30m"
plays = {{ per_user = 1 }}
[[round.prize]]
id = "cup"
name = "cup"
holds = "goods"
count = 3
odds = "1/1"
"""


@pytest.mark.parametrize("text", [TEXT, PRIZES], ids=["money", "goods"])
async def test_a_round_that_ended_while_the_server_was_down_is_closed_though_nobody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    first = await _won_an_hour_ago(tmp_path / "d", monkeypatch, text, "winner")
    async with running(tmp_path / "d", first) as server:
        await _until_all_is_done(server)
    journal = directory_of(server.data_dir, "spring").journal
    assert _taken(journal) == [("x1" if text is TEXT else "x1.cup", 2)], "one of three was granted"


def _taken(journal: Path) -> list[tuple[str, int]]:
    connection = apsw.Connection(os.fspath(journal), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        rows = connection.execute("SELECT pot, slots FROM log WHERE kind = 'taken'").fetchall()
    finally:
        connection.close()
    return [(str(pot), sum(count for _, count in json.loads(str(slots)))) for pot, slots in rows]


@pytest.mark.parametrize("policy", ["end", "auto"])
async def test_winners_are_paid_after_a_start_though_nobody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    first = await _won_an_hour_ago(tmp_path / "d", monkeypatch, TEXT, policy)
    (tmp_path / "bank").mkdir()
    async with a_bank(tmp_path / "bank") as payments, running(tmp_path / "d", first, payments) as server:
        async with asyncio.timeout(2 * PATIENCE_S):
            while not await server.embedded.till.part.payments.payouts_of("ann"):
                await asyncio.sleep(0.05)
    async with a_bank(tmp_path / "bank") as payments, running(tmp_path / "d", first, payments) as server:
        await _until_all_is_done(server)
        assert len(await server.embedded.till.part.payments.payouts_of("ann")) == 1
