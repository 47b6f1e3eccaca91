import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from redrush.core.rush.campaign import Campaign, Slots
from redrush.errors import RedrushError
from redrush.ports.news import Refilled, SoldOut
from redrush.ports.store import Grant, Held, PotTerms
from redrush.settle import rebalance
from redrush.settle.rebalance import COMPLETE_AGAIN_US, LAST_MOVE_US, TELL_AGAIN_US, PotRebalancer, Rebalancer
from redrush.stores.memory import MemoryStore
from tests.patience import PATIENCE_S
from tests.settle.breakable import BreakableStore, HeardLine
from tests.settle.event import campaign_of
from tests.settle.many_sets import SetClock, Sets, claim_all, every_set, left_by_set, opened_sets, places

LOOK_US = 50_000


class World:
    """Three sets with a round of 30 slots, r1, and one of 6, r2; and one rebalancer of r1, look by look."""

    def __init__(self, campaign: Campaign, sets: Sets) -> None:
        self.campaign = campaign
        self.round = campaign.rounds[0]
        self.pot = campaign.pots[0]
        self.sets = sets
        self.clock = SetClock()
        self.told: list[object] = []
        self.faults: list[RedrushError] = []
        self.rebalancer = self.another()

    def another(self) -> PotRebalancer:
        return PotRebalancer(self.sets, self.pot, self.clock, tell=self.told.append, on_fault=self.faults.append)

    async def look(self, looks: int = 1) -> None:
        for _ in range(looks):
            self.clock.advance(LOOK_US)
            await self.rebalancer.look()
            await self.rebalancer.moved()

    async def left(self) -> dict[str, int]:
        return await left_by_set(self.sets, "r1")


def in_world(scenario: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    def test() -> None:
        async def run() -> None:
            campaign, _ = campaign_of(30, 6)
            async with asyncio.timeout(PATIENCE_S), opened_sets(campaign, 3) as sets:
                world = World(campaign, sets)
                try:
                    await scenario(world)
                finally:
                    await world.rebalancer.close()
                assert len(await places(sets)) == 36

        asyncio.run(run())

    test.__name__ = scenario.__name__
    return test


@in_world
async def test_a_dry_set_gets_slots_from_the_richest(world: World) -> None:
    await claim_all(world.sets["s1"], world.round, "a")
    await claim_all(world.sets["s2"], world.round, "b", 2)
    await world.look()
    assert await world.left() == {"s1": 5, "s2": 8, "s3": 5}


@in_world
async def test_nothing_moves_while_every_set_has_enough(world: World) -> None:
    for set_id in world.sets:
        await claim_all(world.sets[set_id], world.round, set_id, 4)
    await world.look(10)
    assert not any("take" in store.calls for store in world.sets.values())


@in_world
async def test_people_at_one_set_get_every_slot_of_all(world: World) -> None:
    granted = 0
    for look in range(400):
        granted += await claim_all(world.sets["s2"], world.round, f"u{look}-")
        await world.look()
        if world.told[-1] == SoldOut("r1"):
            break
    assert granted == 30


# --- sold out


@in_world
async def test_sold_out_is_told_when_the_last_slot_of_all_sets_is_granted(world: World) -> None:
    for number, set_id in enumerate(("s1", "s2", "s3"), 1):
        await claim_all(world.sets[set_id], world.round, set_id, 10 if number < 3 else 9)
    await world.look()
    assert world.told == [Refilled("r1")]
    await claim_all(world.sets["s3"], world.round, "last")
    await world.look()
    assert world.told == [Refilled("r1"), SoldOut("r1")]
    assert world.rebalancer.balance.sold_out
    await world.look()
    assert world.told == [Refilled("r1"), SoldOut("r1")]
    world.clock.advance(TELL_AGAIN_US)
    await world.look()
    assert world.told[2:] == [SoldOut("r1")], "news may be lost, so it is told again"


@in_world
async def test_sold_out_is_not_told_while_slots_are_in_transit(world: World) -> None:
    for set_id in ("s1", "s2"):
        await claim_all(world.sets[set_id], world.round, set_id)
    slots = await world.sets["s3"].take("r1", 3, "rebalance:r1:x:s1")
    await claim_all(world.sets["s3"], world.round, "c")
    world.sets["s1"].away = True
    await world.look()
    assert SoldOut("r1") not in world.told
    world.sets["s1"].away = False
    world.sets["s1"].answers_lost = {"give"}
    world.clock.advance(COMPLETE_AGAIN_US)
    await world.look(3)
    assert SoldOut("r1") not in world.told
    assert sum((await world.left()).values()) == sum(run.count for run in slots)


async def held_world(world: World) -> None:
    """Make every grant of r1 a hold, and grant all but one slot of s3."""
    for set_id, store in list(world.sets.items()):
        holding = MemoryStore()
        share = Slots(10 * (int(set_id[1:]) - 1), 10)
        await holding.open([PotTerms("r1", share, hold_us=1_000_000)])
        store.store = holding
        await claim_all(store, world.round, set_id, 9 if set_id == "s3" else 10)


async def give_back(store: BreakableStore, user: str) -> None:
    """End the user's hold, and offer the slot at once."""
    hold = await store.store.find("r1", user)
    assert isinstance(hold, Held)
    await store.store.release([Grant("r1", user, hold.slot, number=hold.number)], 1)
    assert await store.store.offer(["r1"]) == 1


def sold_out_with_holds(scenario: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    def test() -> None:
        async def run() -> None:
            campaign, _ = campaign_of(30, 6)
            async with asyncio.timeout(PATIENCE_S), opened_sets(campaign, 3) as sets:
                world = World(campaign, sets)
                await held_world(world)
                await scenario(world)
                await world.rebalancer.close()

        asyncio.run(run())

    test.__name__ = scenario.__name__
    return test


@sold_out_with_holds
async def test_sold_out_is_told_though_a_hold_came_back_and_was_granted_again(world: World) -> None:
    await give_back(world.sets["s1"], "s10")
    await claim_all(world.sets["s1"], world.round, "again")
    await world.look()
    assert SoldOut("r1") not in world.told
    await claim_all(world.sets["s3"], world.round, "last")
    await world.look(3)
    assert world.told[-1] == SoldOut("r1")
    assert world.rebalancer.balance.sold_out


@sold_out_with_holds
async def test_a_hold_that_came_back_does_not_stand_for_a_slot_in_transit(world: World) -> None:
    await give_back(world.sets["s1"], "s10")
    await claim_all(world.sets["s1"], world.round, "again")
    assert await world.sets["s3"].store.take("r1", 1, "rebalance:r1:x:s9")
    assert not any((await world.left()).values())
    await world.look(3)
    assert SoldOut("r1") not in world.told


@sold_out_with_holds
async def test_a_hold_that_comes_back_between_two_readings_does_not_count_twice(world: World) -> None:
    first, third = world.sets["s1"], world.sets["s3"]
    assert await third.store.take("r1", 1, "rebalance:r1:x:s9")
    go_on = third.stand_still("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rebalance, "LOOK_WAIT_S", PATIENCE_S)
        looking = asyncio.create_task(world.rebalancer.look())
        while first.calls[-1:] != ["state"]:
            await asyncio.sleep(0)
        await give_back(first, "s10")
        slots = await first.store.take("r1", 1, "rebalance:r1:y:s3")
        await third.store.give("r1", slots, "rebalance:r1:y:s3")
        await claim_all(third, world.round, "again")
        go_on.set()
        await looking
    assert world.rebalancer.balance.stocks.keys() == world.sets.keys()
    assert not world.rebalancer.balance.sold_out


@in_world
async def test_sold_out_is_not_told_while_a_set_is_out_of_reach(world: World) -> None:
    for set_id, store in world.sets.items():
        await claim_all(store, world.round, set_id)
    world.sets["s2"].away = True
    await world.look(3)
    assert world.told == []
    assert len(world.faults) >= 1
    world.sets["s2"].away = False
    await world.look()
    assert world.told == [SoldOut("r1")]


@in_world
async def test_leftover_that_comes_in_is_counted(world: World) -> None:
    for set_id, store in world.sets.items():
        await claim_all(store, world.round, set_id)
    await world.look()
    assert world.told == [SoldOut("r1")]
    moved = await world.sets["s1"].take("r2", 2, "leftover:r0:s1:0")
    await world.sets["s1"].give("r1", moved, "leftover:r0:s1:0")
    await world.look()
    assert world.told == [SoldOut("r1"), Refilled("r1")]
    while not world.rebalancer.balance.sold_out:
        for set_id, store in world.sets.items():
            await claim_all(store, world.round, f"late{len(world.told)}{set_id}")
        await world.look()
    assert await claimed_in(world.sets) == 32


@in_world
async def test_leftover_that_was_claimed_between_two_looks_does_not_hide_slots_elsewhere(world: World) -> None:
    """The claims add up to what the round began with, while slots are left: two came from another round."""
    moved = await world.sets["s1"].take("r2", 2, "leftover:r0:s1:0")
    await world.sets["s1"].give("r1", moved, "leftover:r0:s1:0")
    for set_id in ("s1", "s2"):
        await claim_all(world.sets[set_id], world.round, set_id)
    await claim_all(world.sets["s3"], world.round, "c", 8)
    taken = await world.sets["s3"].take("r1", 2, "rebalance:r1:x:s1")  # in transit: no pot has anything left
    assert (await world.left(), sum(run.count for run in taken)) == ({"s1": 0, "s2": 0, "s3": 0}, 2)
    world.rebalancer._unsure = False  # whoever moves them is still at it
    await world.look(3)
    assert world.told == []


# --- faults


@in_world
async def test_a_set_that_stands_still_holds_nobody_up(world: World) -> None:
    goes_on = world.sets["s3"].stand_still("state")
    await claim_all(world.sets["s1"], world.round, "a")
    await world.look(3)
    assert await world.left() == {"s1": 5, "s2": 5, "s3": 10}
    assert world.sets["s3"].calls.count("state") == 1, "it is asked once, not at every look"
    goes_on.set()
    await world.look()
    assert set(world.rebalancer.balance.stocks) == {"s1", "s2", "s3"}


@in_world
async def test_while_slots_wait_for_a_set_that_stands_still_others_get_theirs(world: World) -> None:
    await claim_all(world.sets["s1"], world.round, "a")
    goes_on = world.sets["s1"].stand_still("give")
    world.clock.advance(LOOK_US)
    await world.rebalancer.look()
    await claim_all(world.sets["s2"], world.round, "b")
    for _ in range(3):
        world.clock.advance(LOOK_US)
        await world.rebalancer.look()
    left = await world.left()
    assert left["s2"] > 0
    assert left["s1"] == 0
    goes_on.set()
    await world.rebalancer.moved()
    assert (await world.left())["s1"] == 5


@in_world
async def test_what_a_crash_left_in_transit_is_given_after_the_next_start(world: World) -> None:
    await claim_all(world.sets["s1"], world.round, "a")
    goes_on = world.sets["s1"].stand_still("give")
    world.clock.advance(LOOK_US)
    await world.rebalancer.look()
    while "give" not in world.sets["s1"].calls:
        await asyncio.sleep(0)
    await world.rebalancer.close()
    assert "transit" in (await places(world.sets)).values()
    goes_on.set()
    world.rebalancer = world.another()
    await world.look()
    assert "transit" not in (await places(world.sets)).values()


@pytest.mark.parametrize("operation", ["take", "give"])
@pytest.mark.parametrize("done", [True, False])
def test_a_move_whose_fate_is_unknown_is_completed_once(operation: str, done: bool) -> None:
    @in_world
    async def scenario(world: World) -> None:
        await claim_all(world.sets["s1"], world.round, "a")
        await claim_all(world.sets["s2"], world.round, "b", 1)
        broken = world.sets["s3" if operation == "take" else "s1"]
        if done:
            broken.answers_lost = {operation}
        else:
            goes_on = broken.stand_still(operation)
        world.clock.advance(LOOK_US)
        await world.rebalancer.look()
        if not done:
            broken.away = True
            goes_on.set()
        await world.rebalancer.moved()
        assert world.faults
        broken.away, broken.answers_lost, broken.standing_still = False, set(), {}
        world.clock.advance(COMPLETE_AGAIN_US)
        await world.look(3)
        assert "transit" not in (await places(world.sets)).values()
        assert sum((await world.left()).values()) == 19
        assert (await world.left())["s1"] >= 5

    scenario()


@in_world
async def test_a_pot_that_is_not_open_yet_is_left_out(world: World) -> None:
    world.sets["s4"] = BreakableStore(MemoryStore())
    await claim_all(world.sets["s1"], world.round, "a")
    await world.look()
    assert (await world.sets["s1"].state("r1")).left == 5
    assert any("s4" in str(fault) and "never opened" in str(fault) for fault in world.faults)
    before = len(world.faults)
    await world.look(5)
    assert len(world.faults) == before, "it is told once"
    await world.sets.pop("s4").close()


@in_world
async def test_nothing_moves_any_more_when_the_round_is_about_to_close(world: World) -> None:
    await claim_all(world.sets["s1"], world.round, "a")
    world.clock.instant_us = world.round.closes_us - LAST_MOVE_US - LOOK_US
    await world.look(5)
    assert (await world.left())["s1"] == 0


# --- at random


@pytest.mark.parametrize("seed", range(16))
def test_under_random_faults_no_slot_is_lost_or_doubled_and_all_are_sold(seed: int, tmp_path: Path) -> None:
    """Two rebalancers, one of which dies at random; people at random sets; every fourth run on SQLite."""

    async def run() -> None:
        rng = random.Random(seed)
        campaign, _ = campaign_of(rng.randrange(1, 200))
        directory = tmp_path if seed % 4 == 0 else None
        async with asyncio.timeout(4 * PATIENCE_S), opened_sets(campaign, rng.randrange(2, 6), directory) as sets:
            world = World(campaign, sets)
            break_down(sets, rng, fault_rate=0.2)
            assert await sell(world, rng, looks=500) <= campaign.rounds[0].slots.count
            break_down(sets, rng, fault_rate=0.02)
            await sell(world, rng, looks=3000)
            assert await claimed_in(sets) == campaign.rounds[0].slots.count
            await places(sets)
            break_down(sets, rng, fault_rate=0.0)
            while SoldOut("r1") not in world.told:
                await world.look()
            await world.rebalancer.close()

    asyncio.run(run())


def break_down(sets: Sets, rng: random.Random, fault_rate: float) -> None:
    for store in sets.values():
        store.rng, store.fault_rate = random.Random(rng.random()), fault_rate


async def claimed_in(sets: Sets) -> int:
    return sum([(await store.store.state("r1")).claimed_ever for store in sets.values()])


async def sell(world: World, rng: random.Random, looks: int) -> int:
    """Let people ask at some of the sets for so many looks, or until all is claimed; return what was claimed."""
    asking = rng.sample(sorted(world.sets), rng.randrange(1, len(world.sets) + 1))
    second = world.another()
    for look in range(looks):
        world.clock.advance(LOOK_US // 2)
        await asyncio.gather(world.rebalancer.look(), second.look())
        if rng.random() < 0.1:
            await second.close()
            second = world.another()
        if rng.random() < 0.3:
            set_id = rng.choice(asking)
            await claim_all(world.sets[set_id], world.round, f"{look}-{looks}-{set_id}", rng.randrange(6))
        if await claimed_in(world.sets) == world.round.slots.count:
            break
        assert SoldOut("r1") not in world.told
    await second.close()
    return await claimed_in(world.sets)


# --- the whole


def test_a_rebalancer_watches_open_rounds_and_tells_every_set() -> None:
    async def run() -> None:
        campaign, _ = campaign_of(30, 6)
        async with asyncio.timeout(PATIENCE_S), opened_sets(campaign, 3) as sets:
            clock = SetClock(campaign.rounds[0].opens_us - 1)
            lines = {set_id: HeardLine() for set_id in sets}
            lines["s2"].away = True
            faults: list[RedrushError] = []
            rebalancer = Rebalancer(sets, campaign, clock, sets_of=every_set(sets), lines=lines, on_fault=faults.append)
            running = asyncio.create_task(rebalancer.run())
            for set_id, store in sets.items():
                await claim_all(store, campaign.rounds[0], set_id)
            assert not rebalancer.balances()
            clock.advance(1)
            await until(lambda: SoldOut("r1") in lines["s3"].heard and SoldOut("r1") in lines["s1"].heard)
            assert rebalancer.balances()["r1"].sold_out
            assert any("line is down" in str(fault) for fault in faults)
            clock.instant_us = campaign.rounds[1].opens_us
            await until(lambda: set(rebalancer.balances()) == {"r2"})
            await until(lambda: Refilled("r2") in lines["s1"].heard)
            rebalancer.stop()
            await running

    asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    """Return when it holds; the caller has a deadline."""
    while not condition():
        await asyncio.sleep(0.005)
