import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from redrush.core.rush.campaign import RETURNED_POT, Campaign
from redrush.errors import RedrushError
from redrush.settle.rebalance import PotRebalancer
from redrush.settle.sweeping import GRACE_US, SetsCloser
from tests.patience import PATIENCE_S
from tests.settle.breakable import BreakableStore
from tests.settle.event import campaign_of
from tests.settle.many_sets import SetClock, Sets, claim_all, every_set, left_by_set, opened_sets, places


class World:
    """Three sets with rounds r1, r2, r3 of 30, 6 and 3 slots; the clock stands where r1 has just been closed."""

    def __init__(self, campaign: Campaign, sets: Sets) -> None:
        self.campaign = campaign
        self.sets = sets
        self.clock = SetClock(campaign.rounds[0].closes_us + GRACE_US)
        self.faults: list[RedrushError] = []
        self.moved: list[str] = []
        self.closer = self.another()

    def another(self) -> SetsCloser:
        return SetsCloser(
            self.sets,
            self.campaign,
            self.clock,
            sets_of=every_set(self.sets),
            moved=self.moved.append,
            on_fault=self.faults.append,
        )

    async def settle(self, rounds: int = 1) -> bool:
        """Let the closer go once through the first `rounds` rounds; return whether all are settled."""
        self.clock.instant_us = max(self.clock.instant_us, self.campaign.rounds[rounds - 1].closes_us + GRACE_US)
        closed = [pot for pot in self.campaign.pots[:rounds] if pot.id in self.closer.unsettled]
        return not closed or await self.closer.settle_all(closed)

    async def left(self, pot: str) -> dict[str, int]:
        return await left_by_set(self.sets, pot)


def in_world(scenario: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    def test() -> None:
        async def run() -> None:
            campaign, _ = campaign_of(30, 6, 3)
            async with asyncio.timeout(PATIENCE_S), opened_sets(campaign, 3) as sets:
                await scenario(World(campaign, sets))
                assert len(await places(sets)) == 39

        asyncio.run(run())

    test.__name__ = scenario.__name__
    return test


@in_world
async def test_what_each_set_has_left_goes_to_its_own_pot_of_the_next_round(world: World) -> None:
    await claim_all(world.sets["s1"], world.campaign.rounds[0], "a", 7)
    assert await world.settle()
    assert await world.left("r1") == {"s1": 0, "s2": 0, "s3": 0}
    assert await world.left("r2") == {"s1": 5, "s2": 12, "s3": 12}
    assert world.moved == ["r2", "r2", "r2"]
    assert world.closer.unsettled == ["r2", "r3"]


@in_world
async def test_all_that_nobody_claimed_is_returned_at_the_end(world: World) -> None:
    world.clock.instant_us = world.campaign.rounds[-1].closes_us + GRACE_US
    await world.closer.run()
    assert sum((await world.left(RETURNED_POT)).values()) == 39
    assert world.faults == []


@in_world
async def test_closing_again_changes_nothing(world: World) -> None:
    await world.settle()
    before = {set_id: store.last_seq() for set_id, store in world.sets.items()}
    world.closer = world.another()
    assert await world.settle()
    assert {set_id: store.last_seq() for set_id, store in world.sets.items()} == before


@in_world
async def test_a_set_out_of_reach_is_swept_when_it_is_back_and_the_others_at_once(world: World) -> None:
    world.sets["s2"].away = True
    assert not await world.settle()
    assert await world.left("r2") == {"s1": 12, "s2": 2, "s3": 12}
    assert world.faults
    world.sets["s2"].away = False
    assert await world.settle()
    assert (await world.left("r2"))["s2"] == 12


@pytest.mark.parametrize("operation", ["take", "give"])
def test_a_sweep_whose_fate_is_unknown_is_done_once(operation: str) -> None:
    @in_world
    async def scenario(world: World) -> None:
        world.sets["s2"].answers_lost = {operation}
        assert not await world.settle()
        world.sets["s2"].answers_lost = set()
        assert await world.settle()
        assert (await world.left("r2"))["s2"] == 12

    scenario()


# --- the race between the closing and a move


@in_world
async def test_a_move_that_was_cut_off_is_completed_and_swept_on(world: World) -> None:
    await world.sets["s1"].take("r1", 4, "rebalance:r1:x:s2")
    assert await world.settle()
    assert await world.left("r1") == {"s1": 0, "s2": 0, "s3": 0}
    assert sum((await world.left("r2")).values()) == 36


@in_world
async def test_a_give_that_arrives_in_a_pot_already_swept_is_swept_on(world: World) -> None:
    slots = await world.sets["s1"].take("r1", 4, "rebalance:r1:x:s2")
    world.sets["s1"].away = True  # so nobody can tell that a move is half done
    assert not await world.settle()
    await world.sets["s2"].give("r1", slots, "rebalance:r1:x:s2")
    world.sets["s1"].away = False
    assert (await world.left("r1"))["s2"] == 4
    assert await world.settle()
    assert await world.left("r1") == {"s1": 0, "s2": 0, "s3": 0}
    assert await world.left("r2") == {"s1": 8, "s2": 16, "s3": 12}


@in_world
async def test_a_round_is_not_settled_while_a_take_may_still_hide_in_a_set_out_of_reach(world: World) -> None:
    world.sets["s1"].away = True
    for _ in range(3):
        assert not await world.settle()
    assert "r1" in world.closer.unsettled


@in_world
async def test_leftover_that_comes_late_passes_through_rounds_that_have_closed_too(world: World) -> None:
    world.sets["s1"].away = True
    assert not await world.settle(rounds=3)
    assert world.closer.unsettled == ["r1", "r2", "r3"]
    world.sets["s1"].away = False
    await world.sets["s1"].take("r1", 4, "rebalance:r1:x:s2")
    for _ in range(3):
        await world.settle(rounds=3)
    assert world.closer.unsettled == []
    assert sum((await world.left(RETURNED_POT)).values()) == 39


@in_world
async def test_a_rebalancer_that_slept_through_the_closing_leaves_nothing_behind(world: World) -> None:
    """It is stopped between its take and its give, while somebody else completes the move and the round is closed."""
    round_ = world.campaign.rounds[0]
    seen_by_it = {set_id: BreakableStore(store.store) for set_id, store in world.sets.items()}
    rebalancer = PotRebalancer(
        seen_by_it, round_.pots[0], SetClock(round_.opens_us), tell=lambda _news: None, on_fault=world.faults.append
    )
    await claim_all(world.sets["s1"], round_, "a")
    goes_on = seen_by_it["s1"].stand_still("give")
    await rebalancer.look()
    while "give" not in seen_by_it["s1"].calls:
        await asyncio.sleep(0)
    assert "transit" in (await places(world.sets)).values()
    assert await world.settle()
    before = await world.left("r2")
    goes_on.set()
    await rebalancer.moved()
    assert await world.left("r1") == {"s1": 0, "s2": 0, "s3": 0}
    assert await world.left("r2") == before
    assert sum(before.values()) == 26
    await rebalancer.close()


@pytest.mark.parametrize("seed", range(12))
def test_closers_and_rebalancers_at_once_under_random_faults_settle_every_round(seed: int, tmp_path: Path) -> None:
    """The rebalancer believes that its round is still open, as one does whose clock stands still."""

    async def run() -> None:
        rng = random.Random(seed)
        campaign, _ = campaign_of(*(rng.randrange(1, 60) for _ in range(3)))
        count = rng.randrange(2, 5)
        directory = tmp_path if seed % 4 == 0 else None
        async with asyncio.timeout(4 * PATIENCE_S), opened_sets(campaign, count, directory) as sets:
            world = World(campaign, sets)
            for store in sets.values():
                store.rng, store.fault_rate = random.Random(rng.random()), 0.15
            stuck = SetClock(campaign.rounds[0].opens_us)
            rebalancer = PotRebalancer(
                sets, campaign.pots[0], stuck, tell=lambda _news: None, on_fault=world.faults.append
            )
            granted = 0
            for step in range(60):
                stuck.advance(300_000)
                granted += await claim_all(rng.choice(list(sets.values())), campaign.rounds[0], f"{step}-", 1)
                steps: list[Awaitable[object]] = [rebalancer.look()]
                if step >= 20:
                    steps.append(world.settle(rounds=min(3, 1 + step // 20)))
                await asyncio.gather(*steps)
                if rng.random() < 0.1:
                    world.closer = world.another()
            await rebalancer.close()
            for store in sets.values():
                store.fault_rate = 0.0
            world.closer = world.another()
            await world.closer.run()
            assert world.closer.unsettled == []
            where = list((await places(sets)).values())
            assert sum(place.startswith("granted") for place in where) == granted
            assert all(place.startswith("granted") or place.endswith(RETURNED_POT) for place in where)

    asyncio.run(run())
