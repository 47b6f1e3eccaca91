"""A server is down at the end of a campaign besides its first: what was left to do is done after the start, unasked."""

import asyncio
import time
from pathlib import Path

import pytest

from redrush.config import parse_campaign
from redrush.control.campaigns import directory_of
from redrush.core.rush.instants import rfc3339
from redrush.core.rush.phase import SteadyClock
from redrush.operate.campaigns import add_campaign
from redrush.operate.switching import Holder
from redrush.wiring.undone import left_undone
from tests.wiring.test_amendments import SECOND_US, a_bank
from tests.wiring.test_campaigns import WAIT_MAX_S, running

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


@pytest.mark.parametrize("policy", ["end", "auto"])
async def test_winners_are_paid_after_a_start_though_nobody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    opens = rfc3339(time.time_ns() // 1_000 - HOUR_US - SECOND_US)
    first, spring = (parse_campaign(TEXT.format(id=name, opens=opens, policy=policy), name) for name in ("a", "spring"))
    (tmp_path / "bank").mkdir()
    with monkeypatch.context() as then:
        then.setattr("redrush.wiring.embedded.system_clock", _an_hour_ago)
        async with running(tmp_path / "d", first) as server:
            await asyncio.to_thread(add_campaign, spring, server.data_dir, Holder())
            path = "/v1/campaigns/spring/rounds/x1"
            await server.until(path, 200)
            assert (await server.grab(path, server.ticket("spring", "ann"))).outcome == "granted"
    async with a_bank(tmp_path / "bank") as payments, running(tmp_path / "d", first, payments) as server:
        async with asyncio.timeout(2 * WAIT_MAX_S):
            while not await server.embedded.paying.payments.payouts_of("ann"):
                await asyncio.sleep(0.05)
    async with a_bank(tmp_path / "bank") as payments, running(tmp_path / "d", first, payments) as server:
        host, own = server.embedded._hosting, directory_of(server.data_dir, "spring")
        async with asyncio.timeout(2 * WAIT_MAX_S):
            while host._undone or host._awake:
                await asyncio.sleep(0.05)
        part = server.embedded
        assert not await asyncio.to_thread(left_undone, own, part.paying, part.messages), "all was done"
        assert len(await part.paying.payments.payouts_of("ann")) == 1
