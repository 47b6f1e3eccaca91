import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from redrush.core.rush.campaign import RETURNED_POT, Campaign, Leftover, Slots
from redrush.errors import RedrushError
from redrush.ports.store import Given, StoreFailed, Taken
from redrush.settle.closing import Closer, Moved, close_pot
from redrush.stores.memory import MemoryStore
from tests.patience import PATIENCE_S
from tests.settle.event import OPENS_US, campaign_of, open_pots, rush

NEXT, RETURN = Leftover.NEXT, Leftover.RETURN


class SetClock:
    """Stands still, except while somebody sleeps by it."""

    def __init__(self, now_us: int = OPENS_US) -> None:
        self.instant_us = now_us

    def now_us(self) -> int:
        return self.instant_us

    async def sleep(self, duration_s: float) -> None:
        self.instant_us += round(duration_s * 1e6)
        await asyncio.sleep(0)


class DyingStore(MemoryStore):
    """Dies at the n-th operation that would change something, as a process does; `revive` is the restart."""

    def __init__(self) -> None:
        super().__init__()
        self.operations_left: int | None = None

    def revive(self) -> None:
        self.operations_left = None

    async def take(self, pot: str, count: int, transfer: str) -> tuple[Slots, ...]:
        self._operate()
        return await super().take(pot, count, transfer)

    async def give(self, pot: str, slots: tuple[Slots, ...], transfer: str) -> None:
        self._operate()
        await super().give(pot, slots, transfer)

    def _operate(self) -> None:
        if self.operations_left is not None:
            self.operations_left -= 1
            if self.operations_left < 0:
                raise StoreFailed("the process died here")


async def opened_store(campaign: Campaign, claims: Sequence[int] = ()) -> DyingStore:
    store = DyingStore()
    await open_pots(store, campaign)
    for round_, users in zip(campaign.rounds, claims, strict=False):
        await rush(store, round_, users)
    return store


async def moves(store: MemoryStore) -> list[tuple[str, str, tuple[Slots, ...]]]:
    """Return the transfers that moved something, in order: (verb, pot, slots)."""
    log = await store.log(0, 1000)
    return [
        (type(entry).__name__, entry.pot, entry.slots)
        for entry in log
        if isinstance(entry, Taken | Given) and entry.slots
    ]


async def close_all(store: MemoryStore, campaign: Campaign, clock: SetClock) -> list[RedrushError]:
    faults: list[RedrushError] = []
    async with asyncio.timeout(PATIENCE_S):
        await Closer(store, campaign, clock, sleep=clock.sleep, on_fault=faults.append).run()
    return faults


@pytest.mark.parametrize(
    ("policies", "claims", "left"),
    [
        ((NEXT, NEXT), (7, 0), {"r1": 0, "r2": 0, RETURNED_POT: 8}),
        ((RETURN, NEXT), (7, 0), {"r1": 0, "r2": 0, RETURNED_POT: 8}),
        ((NEXT, NEXT), (10, 5), {"r1": 0, "r2": 0, RETURNED_POT: 0}),
        ((RETURN, RETURN), (0, 0), {"r1": 0, "r2": 0, RETURNED_POT: 15}),
    ],
)
def test_at_the_end_all_that_nobody_claimed_is_returned(
    policies: Sequence[Leftover], claims: Sequence[int], left: dict[str, int]
) -> None:
    async def scenario() -> None:
        campaign, _ = campaign_of(10, 5, leftover=policies)
        store = await opened_store(campaign, claims)
        assert await close_all(store, campaign, SetClock()) == []
        assert {pot: (await store.state(pot)).left for pot in left} == left

    asyncio.run(scenario())


def test_leftover_can_be_claimed_in_the_next_round() -> None:
    async def scenario() -> None:
        campaign, _ = campaign_of(10, 5)
        store = await opened_store(campaign, claims=(7,))
        moved = await close_pot(store, campaign, campaign.pots[0], campaign.rounds[0].closes_us)
        assert moved == Moved("r1", "r2", (Slots(7, 3),))
        await rush(store, campaign.rounds[1], users=20)
        assert (await store.state("r2")).claimed_ever == 8

    asyncio.run(scenario())


def test_a_round_is_not_closed_before_its_instant() -> None:
    async def scenario() -> None:
        campaign, _ = campaign_of(10)
        store = await opened_store(campaign)
        with pytest.raises(ValueError, match="open until"):
            await close_pot(store, campaign, campaign.pots[0], campaign.rounds[0].closes_us - 1)
        assert await moves(store) == []

    asyncio.run(scenario())


def test_closing_again_changes_nothing_however_late() -> None:
    async def scenario() -> None:
        campaign, _ = campaign_of(10, 5, 4)
        store = await opened_store(campaign, claims=(7, 8, 0))
        first = await close_pot(store, campaign, campaign.pots[0], campaign.rounds[0].closes_us)
        before = await store.log(0, 1000)
        again = await close_pot(store, campaign, campaign.pots[0], campaign.rounds[-1].closes_us + 10**12)
        assert again == first
        assert await store.log(0, 1000) == before

    asyncio.run(scenario())


@pytest.mark.parametrize("outage_rounds", [0, 1, 2, 3])
@pytest.mark.parametrize("operations", range(6))
def test_a_crash_between_any_two_steps_moves_everything_once(operations: int, outage_rounds: int) -> None:
    """The process dies after `operations` takes and gives, and is back when `outage_rounds` more rounds are over."""

    async def scenario() -> None:
        campaign, _ = campaign_of(10, 5, 4)
        store = await opened_store(campaign, claims=(7,))
        clock = SetClock()
        store.operations_left = operations
        faults = await close_all(store, campaign, clock)
        assert [type(fault) for fault in faults] == [StoreFailed]
        store.revive()
        clock.instant_us += outage_rounds * 60_000_000
        assert await close_all(store, campaign, clock) == []
        assert await moves(store) == [
            ("Taken", "r1", (Slots(7, 3),)),
            ("Given", "r2", (Slots(7, 3),)),
            ("Taken", "r2", (Slots(10, 5), Slots(7, 3))),
            ("Given", "r3", (Slots(10, 5), Slots(7, 3))),
            ("Taken", "r3", (Slots(15, 4), Slots(10, 5), Slots(7, 3))),
            ("Given", RETURNED_POT, (Slots(15, 4), Slots(10, 5), Slots(7, 3))),
        ]

    asyncio.run(scenario())


def test_nothing_is_taken_before_accepted_claims_are_decided() -> None:
    async def scenario() -> None:
        campaign, _ = campaign_of(10, 5)
        store = await opened_store(campaign)
        clock = SetClock()
        drained: list[tuple[str, int]] = []

        async def drain(round_id: str) -> None:
            drained.append((round_id, clock.now_us()))
            if round_id == "r1":
                await rush(store, campaign.rounds[0], users=4)

        async with asyncio.timeout(PATIENCE_S):
            await Closer(store, campaign, clock, drain=drain, sleep=clock.sleep).run()
        assert drained == [(round_.id, round_.closes_us) for round_ in campaign.rounds]
        assert (await store.state("r1")).claimed_ever == 4
        assert (await moves(store))[0] == ("Taken", "r1", (Slots(4, 6),))

    asyncio.run(scenario())


def test_who_gets_leftover_is_told() -> None:
    async def scenario() -> None:
        campaign, _ = campaign_of(10, 5)
        store = await opened_store(campaign, claims=(10,))
        clock = SetClock()
        told: list[str] = []
        async with asyncio.timeout(PATIENCE_S):
            await Closer(store, campaign, clock, moved=told.append, sleep=clock.sleep).run()
        assert told == [RETURNED_POT]  # r1 had nothing left for r2

    asyncio.run(scenario())


def test_overlapping_rounds_close_in_order_of_their_closing() -> None:
    async def scenario() -> None:
        campaign, _ = campaign_of(10, 5, lasts_s=60)
        long, short = campaign.rounds
        long = msgspec.structs.replace(long, closes_us=short.closes_us + 60_000_000)
        campaign = Campaign(id="cny", name="CNY", currency="CNY", rounds=(long, short))
        store = await opened_store(campaign)
        assert await close_all(store, campaign, SetClock()) == []
        assert [move[:2] for move in await moves(store)] == [
            ("Taken", "r2"),
            ("Given", "r1"),
            ("Taken", "r1"),
            ("Given", RETURNED_POT),
        ]

    asyncio.run(scenario())


def test_a_closer_that_waits_can_be_stopped() -> None:
    async def scenario() -> None:
        campaign, _ = campaign_of(10)
        store = await opened_store(campaign)
        asleep = asyncio.Event()

        async def sleep(_duration_s: float) -> None:
            asleep.set()
            await asyncio.Event().wait()

        closer = Closer(store, campaign, SetClock(), sleep=sleep)
        task = asyncio.create_task(closer.run())
        async with asyncio.timeout(PATIENCE_S):
            await asleep.wait()
            closer.stop()
            await task
        assert await moves(store) == []

    asyncio.run(scenario())
