"""Pots give new slots only within their times, by the clock of their set's server."""

import asyncio
import time
from pathlib import Path

from redrush.core.rush.campaign import Slots
from redrush.ports.store import EARLY, LATE, Claim, Claimed, PotTerms, Refusal, Store
from tests.integration.valkey_sets import AT_US, servers, store_on

HOUR_US = 3_600_000_000
BIG = 1_000


def test_one_call_asks_pots_of_all_times(tmp_path: Path) -> None:
    async def run() -> None:
        async with servers(tmp_path, 1) as (server,), store_on(server) as store:
            pots = [
                PotTerms("over", Slots(0, 9)), PotTerms("now", Slots(10, 9)), PotTerms("to come", Slots(20, 9)),
                PotTerms("ever", Slots(30, 9)), PotTerms("over, big", Slots(1_000, BIG)),
                PotTerms("over, held", Slots(40, 9), hold_us=HOUR_US),
            ]  # fmt: skip
            await store.open(pots)
            names = [terms.pot for terms in pots]
            before = [known(result) for result in await claim(store, "a", names)]
            now_us = time.time_ns() // 1_000
            over, now, ahead = (now_us - HOUR_US, now_us - 1), (now_us - HOUR_US, now_us + HOUR_US), now_us + HOUR_US
            store.hold_to({name: over for name in names if name.startswith("over")})
            store.hold_to({"now": now, "to come": (ahead, ahead + 1)})
            first, second, third, fourth, fifth, sixth = await claim(store, "b", names)
            assert [first, fifth, sixth] == [LATE] * 3
            assert third is EARLY
            assert [second, fourth] == [Claimed(11, AT_US, False), Claimed(31, AT_US, False)]
            *again, held = await claim(store, "a", names)
            assert again == before[:5]
            assert isinstance(held, Claimed)
            assert await claim(store, "c", ["over"] * 2) == [LATE] * 2
            assert await claim(store, "c", ["over, held"]) == [LATE]
            assert [(await store.state(name)).claimed_ever for name in names] == [1, 2, 1, 2, 1, 1]

    asyncio.run(run())


async def claim(store: Store, user: str, pots: list[str]) -> list[Claimed | Refusal]:
    return await store.claim([Claim(pot, user) for pot in pots], AT_US)


def known(result: Claimed | Refusal) -> Claimed:
    assert isinstance(result, Claimed)
    assert not result.repeat
    return Claimed(result.slot, AT_US, True)
