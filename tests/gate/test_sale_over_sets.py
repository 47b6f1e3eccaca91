"""A sale over two sets, at a gate among others: what is said while units are held, on their way, and sold for good."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redrush.core.rush.campaign import Campaign, Kind, Leftover, Round, Slots
from redrush.core.rush.holding import SlotTable, parts_of
from redrush.core.rush.instants import rfc3339
from redrush.core.rush.sale import SaleTerms
from redrush.ports.news import Refilled
from redrush.ports.store import Grant, Held, HoldState
from tests.gate.sets import HoldingStore, ManySets, OneGate, many_sets
from tests.gate.world import OPENS_US, SECOND_US, until

UNITS = 4
EVERY_US = 30 * SECOND_US


@asynccontextmanager
async def sale() -> AsyncIterator[ManySets]:
    """Four units, two in each set."""
    async with many_sets(("s1", "s2")) as event:
        one = Round(
            id="r1", opens_us=OPENS_US, closes_us=OPENS_US + 600 * SECOND_US, kind=Kind.SALE, total_minor=0,
            min_minor=0, max_minor=0, slots=Slots(0, UNITS), leftover=Leftover.RETURN,
            sale=SaleTerms(price_minor=100, hold_us=60 * SECOND_US, return_every_us=EVERY_US),
        )  # fmt: skip
        event.campaign = Campaign(id="cny", name="春节", currency="CNY", rounds=(one,))
        event.amounts = SlotTable([0] * UNITS, parts_of(event.campaign))
        yield event


async def outcomes(gate: OneGate, *users: str) -> list[str]:
    return [(await gate.grab(user))["outcome"] for user in users]


def sold_out(gate: OneGate) -> bool:
    return gate.known.sold_out


async def end(event: ManySets, set_: str, user: str, state: HoldState) -> None:
    """Sell the user's unit, or give it back."""
    store = event.sets[set_]
    held = await store.find("r1", user)
    assert isinstance(held, Held)
    finish = store.confirm if state is HoldState.CONFIRMED else store.release
    assert await finish([Grant("r1", user, held.slot, "", held.number)], event.clock()) == [state]


async def test_who_finds_their_set_dry_misses_while_another_has_units_and_is_held_out_when_none_has() -> None:
    async with sale() as event:
        gate = await event.gate()
        here, there = event.users_of(0, 4), event.users_of(1, 3)
        assert await outcomes(gate, *here[:2], there[0]) == ["granted"] * 3
        assert await outcomes(gate, here[2]) == ["missed"], "a unit of the other set may come here"
        assert await outcomes(gate, there[1]) == ["granted"]
        await until(lambda: gate.known.all_taken)
        event.at(1)
        told = await gate.grab(here[2])
        assert told == {"outcome": "held_out", "next_chance_at": rfc3339(OPENS_US + EVERY_US)} | {
            "status": 200, "waited": False,
        }  # fmt: skip
        asked = gate.calls
        assert await outcomes(gate, *here[2:], there[2]) == ["held_out"] * 3
        again = gate.doubtful(*here[2:])
        assert gate.calls <= asked + 1 + again, "nobody asks a store again before the next chance"

        await end(event, "s1", here[0], HoldState.RELEASED)
        event.at(2)
        assert await outcomes(gate, here[3]) == ["held_out"], "what came back waits to be offered"
        await event.sets["s1"].offer(["r1"])
        event.at(31)
        assert await outcomes(gate, here[3], here[2]) == ["granted", "held_out"]


async def test_a_unit_that_moves_to_a_dry_set_is_had_there_at_once() -> None:
    async with sale() as event:
        gate = await event.gate()
        here, there = event.users_of(0, 3), event.users_of(1, 2)
        await outcomes(gate, *here[:2], *there)
        await until(lambda: gate.known.all_taken)
        assert await outcomes(gate, here[2]) == ["held_out"]
        await end(event, "s2", there[0], HoldState.RELEASED)
        await event.sets["s2"].offer(["r1"])
        [unit] = await event.sets["s2"].take("r1", 1, "t")
        await event.sets["s1"].give("r1", (unit,), "t")
        await gate.lines["s1"].publish(Refilled("r1"))
        await until(lambda: not gate.known.all_taken)
        assert await outcomes(gate, here[2]) == ["granted"]


async def test_units_that_come_during_a_look_are_not_overlooked_by_it() -> None:
    async with sale() as event:
        first = event.sets["s1"] = HoldingStore()
        gate = await event.gate()
        here, there = event.users_of(0, 2), event.users_of(1, 2)
        await outcomes(gate, *here, *there)
        await until(lambda: gate.known.all_taken and not gate.among._watches["r1"]._looking)
        gate.stores["s2"].hang()
        looks, refills = first.states, gate.known.refills
        await until(lambda: first.states > looks)  # it saw nothing in s1, and waits for s2
        await first.give_back("r1", here[0], event.clock())
        await gate.lines["s1"].publish(Refilled("r1"))
        await until(lambda: not gate.known.all_taken)
        looks = first.states
        gate.stores["s2"].let_go()
        await until(lambda: first.states > looks + 2)
        assert not gate.known.all_taken
        assert gate.known.refills == refills + 1, "it was not said and taken back either"


async def test_empty_is_said_when_every_unit_is_sold_for_good_and_not_before() -> None:
    async with sale() as event:
        gate, late = await event.gate(), "late"
        here, there = event.users_of(0, 3), event.users_of(1, 2)
        await outcomes(gate, *here[:2], *there)
        for set_, user in (("s1", here[0]), ("s1", here[1]), ("s2", there[0])):
            await end(event, set_, user, HoldState.CONFIRMED)
        await end(event, "s2", there[1], HoldState.RELEASED)
        [unit] = await event.sets["s2"].take("r1", 1, "t")  # on its way, and in no set
        await until(lambda: gate.known.all_taken)
        event.at(31)
        assert await outcomes(gate, here[2], late) == ["held_out"] * 2
        assert not sold_out(gate)

        await event.sets["s1"].give("r1", (unit,), "t")
        await until(lambda: not gate.known.all_taken)
        assert await outcomes(gate, here[2]) == ["granted"]
        await until(lambda: gate.known.all_taken)
        assert not sold_out(gate)
        await end(event, "s1", here[2], HoldState.CONFIRMED)
        await until(gate.complete)
        assert sold_out(gate)
        asked = gate.calls
        assert await outcomes(gate, late, "later") == ["empty"] * 2
        assert gate.calls == asked + gate.doubtful(late, "later")
        assert await outcomes(gate, here[0]) == ["granted"], "it is theirs"
