"""Every answer of a gate is in the histogram of its interface once, in the right bucket, whoever gave it."""

from redrush.core.load.histogram import Histogram
from redrush.core.steering.figures import Interface
from redrush.gate.answer_times import TIMER_US
from tests.gate.world import CLOSES_US, RunningGate, request, running_gate

TURN = TIMER_US.bit_length()
"""The bucket of what is answered in a turn of a loop that is not late."""


def times_of(gate: RunningGate, interface: Interface, late_s: float = 0.0) -> Histogram:
    gate.gate.beat(late_s)
    return gate.gate.answer_times()[interface]


async def test_a_claim_takes_from_its_coming_to_its_answer() -> None:
    async with running_gate(packets=10) as gate:
        gate.store.hold()
        first, second = await gate.connect(), await gate.connect()
        await first.send(gate.grab("first"))
        await gate.asked(1)
        await second.send(gate.grab("second"))
        await gate.parked(2)
        gate.clock.now_us += 70_000
        gate.store.let_go()
        assert [(await client.answer()).outcome for client in (first, second)] == ["granted", "granted"]
        times = times_of(gate, Interface.GRAB)
        assert (times.count, times.counts[(70_000).bit_length()], times.sum_us) == (2, 2, 140_000)


async def test_losers_are_counted_by_how_late_the_loop_was_and_winners_once() -> None:
    async with running_gate(packets=1) as gate:
        client = await gate.connect()
        assert (await client.grab("winner")).outcome == "granted"
        assert (await client.grab("first-of-all-losers")).outcome == "empty"  # the store says so, and then it is known
        assert times_of(gate, Interface.GRAB).count == 2
        for number in range(5):
            assert (await client.grab(f"loser{number}")).outcome == "empty"
        assert (await client.grab("winner")).outcome == "granted"  # a repeat, at once
        late = times_of(gate, Interface.GRAB, 0.3)
        assert (late.count, late.counts[(300_000 + TIMER_US).bit_length()]) == (8, 6)
        assert times_of(gate, Interface.GRAB).count == 8


async def test_after_the_close_who_asks_the_set_is_timed_and_not_counted_twice() -> None:
    async with running_gate(packets=2) as gate:
        client = await gate.connect()
        assert (await client.grab("winner")).outcome == "granted"
        gate.at(CLOSES_US)
        assert (await client.grab("late")).outcome == "closed"
        assert times_of(gate, Interface.GRAB).count == 2


async def test_who_is_turned_away_while_waiting_counts_with_the_time_they_waited() -> None:
    async with running_gate(packets=10) as gate:
        gate.store.hold()
        clients = [await gate.connect() for _ in range(2)]
        await clients[0].send(gate.grab("first"))
        await gate.asked(1)
        await clients[1].send(gate.grab("late"))
        await gate.parked(2)
        gate.clock.now_us += 3_000_000
        gate.store.let_go()
        assert (await clients[1].answer()).status == 503
        assert (await clients[0].answer()).outcome == "granted"
        times = times_of(gate, Interface.GRAB)
        assert (times.count, times.counts[(3_000_000).bit_length()]) == (2, 2)


async def test_states_and_grants_have_their_own() -> None:
    async with running_gate(packets=3) as gate:
        client = await gate.connect()
        for path in ("/v1/rounds/r1", "/v1/rounds"):
            assert (await client.ask(request("GET", path))).status == 200
        assert (await client.ask(request("GET", "/v1/grants", gate.ticket("alice")))).status == 200
        states = times_of(gate, Interface.STATE)
        assert (states.count, states.counts[TURN]) == (2, 2)
        assert times_of(gate, Interface.GRANTS).count == 1
        assert times_of(gate, Interface.GRAB).count == 0


async def test_a_campaign_that_ends_takes_no_counts_along() -> None:
    async with running_gate(packets=1) as gate:
        client = await gate.connect()
        assert (await client.grab("winner")).outcome == "granted"
        assert (await client.grab("loser")).outcome == "empty"
        gate.gate.remove("cny")
        assert times_of(gate, Interface.GRAB).count == 2
