"""Packets that were added join their pot once, whatever breaks off, and whenever it is done."""

import asyncio
from itertools import count

import pytest

from redrush.core.rush.additions import Added
from redrush.core.rush.campaign import RETURNED_POT, Campaign, Slots
from redrush.core.sets.division import Division, SetPlace
from redrush.ports.store import StoreFailed
from redrush.settle.closing import close_pot
from redrush.settle.joining import HEARD_US, Joining, join, joinings_of
from redrush.settle.opening import PotOpener
from redrush.settle.sweeping import GRACE_US, SetsCloser
from tests.patience import PATIENCE_S
from tests.settle.event import OPENS_US, SECOND_US, campaign_of
from tests.settle.many_sets import SetClock, Sets, every_set, left_by_set, opened_sets
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


async def _opened(sets: Sets, campaign: Campaign, clock: SetClock, joining: list[Joining]) -> None:
    division = Division(campaign, [SetPlace(set_id) for set_id in sets])
    opener = PotOpener(sets, campaign, division, clock, warm_up_us=0, on_fault=_raise, joining=joining)
    async with asyncio.timeout(PATIENCE_S):
        await opener.run()


def _raise(fault: Exception) -> None:
    raise fault


def _joining(campaign: Campaign, sets: Sets) -> list[Joining]:
    return joinings_of([ADDED], Division(campaign, [SetPlace(set_id) for set_id in sets]).shares, OPENS_US)


def test_each_set_is_given_its_part_of_what_was_added_once_every_process_has_heard_of_it() -> None:
    async def scenario() -> None:
        campaign, _ = campaign_of(12, 6)
        async with opened_sets(campaign, 3) as sets:
            joining = _joining(campaign, sets)
            assert [(one.set, one.slots, one.from_us) for one in joining] == [
                ("s1", Slots(15, 2), OPENS_US + HEARD_US),
                ("s2", Slots(17, 1), OPENS_US + HEARD_US),
                ("s3", Slots(18, 1), OPENS_US + HEARD_US),
            ]
            clock = SetClock(OPENS_US + HEARD_US - 1)
            opening = asyncio.create_task(_opened(sets, campaign, clock, joining))
            await asyncio.sleep(0)
            assert sum((await left_by_set(sets, "r1")).values()) == 12
            clock.advance(campaign.rounds[-1].opens_us - OPENS_US)
            await opening
            await _opened(sets, campaign, clock, joining)
            assert await left_by_set(sets, "r1") == {"s1": 6, "s2": 5, "s3": 5}, "given once, asked twice"

    asyncio.run(scenario())


def test_a_round_is_settled_only_when_every_set_was_given_what_joins_it() -> None:
    async def scenario() -> None:
        campaign, _ = campaign_of(10, 5)
        async with opened_sets(campaign, 3) as sets:
            joining = _joining(campaign, sets)
            (pot,) = [pot for pot in campaign.pots if pot.id == "r1"]
            clock = SetClock(pot.closes_us + GRACE_US)
            closer = SetsCloser(sets, campaign, clock, sets_of=every_set(sets), joining=joining)
            assert not await closer.settle_all([pot])
            for late in joining:
                await sets[late.set].give(late.pot, (late.slots,), late.transfer)
            assert await closer.settle_all([pot])
            assert sum((await left_by_set(sets, "r1")).values()) == 0
            assert sum((await left_by_set(sets, "r2")).values()) == 5 + 10 + 4

    asyncio.run(scenario())
