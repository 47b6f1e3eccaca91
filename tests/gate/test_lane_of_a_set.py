"""One lane to each set: claims of several rounds share its batches, its room and its absence; and rounds that sleep."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from redrush.core.rush.campaign import Slots
from redrush.gate.rush.rush import SLEEPS_AFTER_S
from redrush.http.reader import Limits
from tests.gate.sets import Asking, ManySets, OneGate, many_sets
from tests.gate.world import CLOSES_US, OPENS_US, SECOND_US, request, running_gate, until


@asynccontextmanager
async def two_rounds(*, r2_opens_us: int = OPENS_US, r1_packets: int = 6) -> AsyncIterator[ManySets]:
    """An event of one set whose second round opens when it is said."""
    async with many_sets(["s1"], packets=r1_packets) as event:
        first, second = event.campaign.rounds
        moved = msgspec.structs.replace(second, opens_us=r2_opens_us, closes_us=r2_opens_us + 60 * SECOND_US)
        event.campaign = msgspec.structs.replace(event.campaign, rounds=(first, moved))
        yield event


def _ask(gate: OneGate, *claims: tuple[str, str]) -> list[Asking]:
    """Have these users claim from these rounds, in one turn of the loop."""
    return [gate.ask(user, round_id) for user, round_id in claims]


async def test_claims_of_two_rounds_go_to_their_set_in_one_call_and_each_gets_the_answer_of_its_round() -> None:
    async with two_rounds() as event:
        gate = await event.gate()
        asked = _ask(gate, ("ann", "r1"), ("bob", "r2"), ("ann", "r2"), ("cid", "r1"))
        answers = [await asking.json() for asking in asked]
        assert gate.stores["s1"].calls == [("ann", "bob", "ann", "cid")]
        assert [(a["grant"]["round"], a["grant"]["slot"]) for a in answers] == [
            ("r1", 0), ("r2", 6), ("r2", 7), ("r1", 1),
        ]  # fmt: skip
        assert [gate.gate.rounds[name].counts.granted for name in ("r1", "r2")] == [2, 2]
        assert gate.gate.lanes["s1"].batches == 1
        assert gate.gate.gauge.parked == 0


async def test_a_round_that_is_empty_says_so_to_its_own_users_only() -> None:
    async with two_rounds(r1_packets=1) as event:
        gate = await event.gate()
        asked = _ask(gate, ("ann", "r1"), ("bob", "r1"), ("bob", "r2"))
        assert [(await asking.json())["outcome"] for asking in asked] == ["granted", "missed", "granted"]
        gate.among.sold_out("r1")
        await until(gate.complete)
        assert (await gate.grab("bob", "r1"))["outcome"] == "empty"
        assert (await gate.grab("bob", "r2"))["repeat"]


async def test_where_one_round_closes_as_another_opens_each_claim_is_granted_within_its_own() -> None:
    async with two_rounds(r2_opens_us=CLOSES_US) as event:
        gate = await event.gate()
        event.clock.now_us = CLOSES_US - 1
        asked = _ask(gate, ("ann", "r1"), ("bob", "r1"))
        event.clock.now_us = CLOSES_US + 5
        asked += _ask(gate, ("ann", "r2"), ("cid", "r2"))
        grants = [(await asking.json())["grant"] for asking in asked]
        assert [grant["round"] for grant in grants] == ["r1", "r1", "r2", "r2"]
        assert gate.stores["s1"].calls == [("ann", "bob"), ("ann", "cid")]
        at_us = [(await event.sets["s1"].find(grant["round"], "ann")) for grant in (grants[0], grants[2])]
        assert [claimed and claimed.at_us for claimed in at_us] == [CLOSES_US - 1, CLOSES_US + 5]


async def test_what_one_round_learns_of_its_set_holds_for_the_other() -> None:
    async with two_rounds() as event:
        gate = await event.gate()
        gate.stores["s1"].away = True
        (first,) = _ask(gate, ("ann", "r1"))
        assert (await first.json())["status"] == 503
        calls = gate.calls
        (second,) = _ask(gate, ("bob", "r2"))
        assert ((await second.json())["status"], gate.calls) == (503, calls), "it is not asked in vain"
        gate.stores["s1"].away = False
        await until(lambda: gate.gate.lanes["s1"].refusal is None)
        asked = _ask(gate, ("bob", "r2"), ("ann", "r1"))
        assert [(await asking.json())["outcome"] for asking in asked] == ["granted", "granted"]


async def test_a_user_whose_claim_in_one_round_is_doubtful_is_told_the_other_rounds_grant_from_memory() -> None:
    async with two_rounds() as event:
        gate = await event.gate()
        assert (await gate.grab("ann", "r2"))["outcome"] == "granted"
        store = gate.stores["s1"]
        store.hasty = store.away = True
        assert (await gate.grab("ann", "r1"))["status"] == 503
        calls = gate.calls
        assert (await gate.grab("ann", "r2"))["repeat"]
        assert gate.calls == calls
        store.hasty = store.away = False
        await until(lambda: gate.gate.lanes["s1"].refusal is None)
        assert (await gate.grab("bob", "r2"))["outcome"] == "granted", "a batch of the other round clears no doubt"
        pots = [gate.gate.rounds[name].pots[0] for name in ("r1", "r2")]
        assert [pot.lane.undecided(pot, "ann") for pot in pots] == [True, False]
        assert (await gate.grab("ann", "r1"))["grant"]["round"] == "r1"
        assert not pots[0].lane.undecided(pots[0], "ann")


async def test_the_places_of_a_set_are_shared_by_its_rounds() -> None:
    async with two_rounds() as event:
        gate = await event.gate(limits=Limits(parked_max=3))
        gate.stores["s1"].hang()
        _ask(gate, ("a", "r1"), ("b", "r1"), ("c", "r2"))
        (refused,) = _ask(gate, ("d", "r2"))
        assert (await refused.json())["status"] == 503
        assert [gate.gate.rounds[name].counts.busy for name in ("r1", "r2")] == [0, 1]


# -- rounds that sleep


async def test_nothing_is_prebuilt_of_a_round_until_somebody_asks_nor_when_nobody_has_for_a_while() -> None:
    async with running_gate() as gate:
        assert gate.gate.awake == set()
        client = await gate.connect()
        first = await client.grab("alice")
        assert first.outcome == "granted"
        assert (await client.grab("alice", "r2")).outcome == "not_open"
        assert {rush.round.id for rush in gate.gate.awake} == {"r1", "r2"}
        for _ in range(SLEEPS_AFTER_S):
            await client.grab("alice")
            gate.advance(1)
        assert {rush.round.id for rush in gate.gate.awake} == {"r1", "r2"}
        gate.advance(2)
        assert {rush.round.id for rush in gate.gate.awake} == {"r1"}, "somebody asks for that"
        gate.advance(SLEEPS_AFTER_S)
        assert gate.gate.awake == set()

        again = await client.grab("alice")
        assert again.json == first.json | {"repeat": True}
        assert again.headers["date"] != first.headers["date"]
        assert (await client.ask(request("GET", "/v1/rounds/r1"))).json["state"] == "open"


async def test_a_round_that_was_ended_or_whose_clock_is_doubted_in_its_sleep_wakes_as_such() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        r1 = gate.rounds["r1"]
        r1.set_ended(True)
        assert (await client.grab("alice")).outcome == "closed"
        r1.set_ended(False)
        gate.advance(SLEEPS_AFTER_S + 2)
        r1.doubt_clock(True)
        assert (await client.grab("alice")).status == 503
        r1.doubt_clock(False)
        assert (await client.grab("alice")).outcome == "granted"


async def test_a_batch_that_is_decided_after_its_round_fell_asleep_is_answered() -> None:
    async with running_gate() as gate:
        gate.store.hold()
        client = await gate.connect()
        await client.send(gate.grab("alice"))
        await gate.asked(1)
        for _ in range(SLEEPS_AFTER_S + 2):
            gate.gate.tick()  # the connections' own deadlines are another matter
        assert gate.gate.awake == set()
        gate.store.let_go()
        answer = await client.answer()
        assert (answer.outcome, "date" in answer.headers) == ("granted", True)


async def test_no_claim_of_a_round_is_lost_however_rounds_mix() -> None:
    async with two_rounds(r1_packets=60) as event:
        gate = await event.gate()
        claims = [(f"u{number}", f"r{number % 2 + 1}") for number in range(200)]
        asked = []
        for claim in claims:
            asked += _ask(gate, claim)
            await asyncio.sleep(0)
        answers = [await asking.json() for asking in asked]
        by_round = {name: [a for a, (_, r) in zip(answers, claims, strict=True) if r == name] for name in ("r1", "r2")}
        for name, slots in (("r1", Slots(0, 60)), ("r2", Slots(60, 60))):
            granted = [a["grant"]["slot"] for a in by_round[name] if a["outcome"] == "granted"]
            assert sorted(granted) == list(range(slots.first, slots.end))
            assert {a["outcome"] for a in by_round[name]} <= {"granted", "missed", "empty"}
