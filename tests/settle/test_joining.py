"""Packets that were added join their pot once, whatever breaks off, and whenever it is done."""

import asyncio
from itertools import count

import pytest

from redrush.core.rush.additions import Added
from redrush.core.rush.campaign import RETURNED_POT, Slots
from redrush.ports.store import StoreFailed
from redrush.settle.closing import close_pot
from redrush.settle.joining import join
from tests.settle.event import OPENS_US, SECOND_US, campaign_of
from tests.settle.test_closing import DyingStore, opened_store

ADDED = Added(round="r1", slots=Slots(15, 4), total_minor=70, seed="00", amounts_sha256="ab" * 32)
CLOSES_US = OPENS_US + 60 * SECOND_US


async def _left(store: DyingStore) -> dict[str, int]:
    return {pot: (await store.state(pot)).left for pot in ("r1", "r2", RETURNED_POT)}


@pytest.mark.parametrize(
    ("closed_at_us", "left"),
    [
        (None, {"r1": 14, "r2": 5, RETURNED_POT: 0}),
        (CLOSES_US, {"r1": 0, "r2": 19, RETURNED_POT: 0}),
        (CLOSES_US + 60 * SECOND_US, {"r1": 0, "r2": 0, RETURNED_POT: 19}),
    ],
    ids=["while it is open", "after its leftover has moved", "after the next round, too, is over"],
)
def test_added_packets_come_to_where_the_others_are_whatever_breaks_off(
    closed_at_us: int | None, left: dict[str, int]
) -> None:
    async def scenario(dies_after: int) -> bool:
        campaign, _ = campaign_of(10, 5)
        store = await opened_store(campaign, claims=())
        if closed_at_us is not None:
            for pot in campaign.pots:
                if pot.closes_us <= closed_at_us:
                    await close_pot(store, campaign, pot, closed_at_us)
        now_us = closed_at_us or OPENS_US
        store.operations_left = dies_after
        try:
            await join(store, campaign, ADDED, now_us)
            died = False
        except StoreFailed:
            died = True
        store.revive()
        await join(store, campaign, ADDED, now_us)
        assert await _left(store) == left
        return died

    for dies_after in count():
        if not asyncio.run(scenario(dies_after)):
            break
