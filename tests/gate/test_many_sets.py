"""Gates over several sets: one grant a user whatever the gate, `empty` only when it is so everywhere, and a set that is
away takes nobody with it."""

import asyncio
import json
from typing import Any

import pytest

from redrush.core.load.queue import BATCH_CLAIMS_MAX
from redrush.core.rush.campaign import Slots
from redrush.core.sets.division import SetPlace
from redrush.gate.knowledge import following
from redrush.http.reader import Limits
from redrush.ports.news import NewTerms, Refilled, SoldOut
from redrush.ports.store import PotTerms, StoreConflict, StoreFailed, claims_of
from redrush.stores.memory import MemoryStore
from tests.gate.sets import Asking, HoldingStore, ManySets, OneGate, many_sets
from tests.gate.world import SECOND_US, until

ROUND_R2_S = 3_600


async def _sell_out(event: ManySets, gate: OneGate, each: int = 2) -> list[str]:
    """Claim every slot of r1, `each` in each set, through the gate; return the winners."""
    users = [user for number in range(len(event.sets)) for user in event.users_of(number, each)]
    answers = [await gate.grab(user) for user in users]
    assert {answer["outcome"] for answer in answers} == {"granted"}
    assert {answer["grant"]["slot"] for answer in answers} == set(range(len(users)))
    return users


# -- one grant, whatever the gate


async def test_slots_are_unique_in_the_round_whatever_the_set_and_the_gate() -> None:
    async with many_sets(packets=60) as event:
        gates = [await event.gate() for _ in range(3)]
        users = [user for number in range(3) for user in event.users_of(number, 20)]
        asked = [gates[number % 3].ask(user) for number, user in enumerate(users)]
        grants = [(await asking.json())["grant"] for asking in asked]
        assert sorted(grant["slot"] for grant in grants) == list(range(60))


async def test_who_has_won_at_another_gate_and_is_taken_off_the_audience_keeps_it() -> None:
    async with many_sets() as event:
        members = {"alice", "bob"}
        one = await event.gate(audience=members)
        first = await one.grab("alice")
        other = await event.gate(audience=members)
        await until(lambda: "alice" in other.known.winners)
        members.clear()
        assert await other.grab("alice") == first | {"repeat": True}
        assert (await other.grab("bob"))["outcome"] == "not_eligible"


async def test_a_winner_gets_the_same_grant_from_another_gate_before_and_after_the_end() -> None:
    async with many_sets() as event:
        one, other = await event.gate(), await event.gate()
        first = await one.grab("alice")
        assert first["outcome"] == "granted"
        assert await other.grab("alice") == first | {"repeat": True}
        late = await event.gate()
        rest = [u for number in range(3) for u in event.users_of(number, 2) if u != "alice"]
        for user in rest:
            await one.grab(user)
        for gate in (one, other, late):
            gate.among.sold_out("r1")
            await until(gate.complete)
            assert await gate.grab("alice") == first | {"repeat": True}
        event.at(3 * 60)
        for gate in (one, other, late, await event.gate()):
            assert await gate.grab("alice") == first | {"repeat": True}


async def test_a_user_who_asks_two_gates_at_once_gets_one_grant() -> None:
    async with many_sets() as event:
        gates = [await event.gate() for _ in range(3)]
        asked = [gate.ask("alice") for gate in gates for _ in range(2)]
        answers = [await asking.json() for asking in asked]
        assert [answer["repeat"] for answer in answers].count(False) == 1
        assert len({json.dumps(answer["grant"]) for answer in answers}) == 1


async def test_a_winner_of_another_gate_is_not_told_by_the_shake_filter_that_they_missed() -> None:
    async with many_sets(packets=600, release_per_s=10.0) as event:
        one, other = await event.gate(), await event.gate()
        first = await one.grab("alice")
        await until(lambda: "alice" in other.r1.knows.winners)
        event.lot = 0.999
        for number in range(20):  # a filter that has seen nothing yet lets the first ones through
            last = await other.grab(f"bob{number}")
        assert last["outcome"] == "missed"
        assert await other.grab("alice") == first | {"repeat": True}


async def test_a_winner_of_whom_a_gate_has_not_heard_is_told_nothing_final_but_their_grant() -> None:
    async with many_sets(packets=600, release_per_s=10.0) as event:
        one, deaf = await event.gate(), await event.gate()
        for store in deaf.stores.values():
            store.told.clear()
        first = await one.grab("alice")
        event.at(1)
        second = await one.grab("bert")
        event.lot = 0.999
        for number in range(20):  # a filter that has seen nothing yet lets the first ones through
            await deaf.grab(f"bob{number}")
        assert (await deaf.grab("alice"))["outcome"] == "missed", "they may ask again"

        deaf.known.sell_out(deaf.r1.refills)
        assert await deaf.grab("bert") == second | {"repeat": True}
        deaf.r1.knows.refilled()
        deaf.r1.set_ended(True)
        assert (await deaf.grab("alice"))["outcome"] == "missed"
        assert (await deaf.grab("late"))["outcome"] == "missed"
        event.at(10)
        for store in deaf.stores.values():
            store.told.set()
        await until(deaf.complete)
        assert await deaf.grab("alice") == first | {"repeat": True}
        calls, finds = deaf.calls, sum(store.finds for store in deaf.stores.values())
        assert (await deaf.grab("late"))["outcome"] == "closed"
        assert (deaf.calls, sum(store.finds for store in deaf.stores.values())) == (calls, finds), "from memory"


async def test_a_winner_of_whom_a_gate_has_not_heard_is_found_after_the_close() -> None:
    async with many_sets() as event:
        one, deaf = await event.gate(), await event.gate()
        for store in deaf.stores.values():
            store.told.clear()
        first = await one.grab("alice")
        event.at(61)
        for ended in (False, True):
            deaf.r1.set_ended(ended)
            assert await deaf.grab("alice") == first | {"repeat": True}
            assert (await deaf.grab("late"))["outcome"] == "closed"


async def test_a_round_that_is_ended_before_it_opens_is_closed_and_one_that_is_no_longer_ended_grants() -> None:
    async with many_sets() as event:
        gate = await event.gate()
        gate.gate.rounds["r2"].set_ended(True)
        assert (await gate.grab("alice", "r2"))["outcome"] == "closed"
        gate.r1.set_ended(True)
        event.at(10)
        await until(gate.complete)
        assert (await gate.grab("alice"))["outcome"] == "closed"
        gate.r1.set_ended(False)
        assert not gate.complete()
        assert (await gate.grab("alice"))["outcome"] == "granted"


# -- missed and empty


async def test_while_any_set_has_slots_a_user_of_a_dry_one_has_missed_and_is_not_sent_there_again_at_once() -> None:
    async with many_sets() as event:
        gate = await event.gate()
        users = event.users_of(0, 5)
        outcomes = [(await gate.grab(user))["outcome"] for user in users]
        assert outcomes == ["granted", "granted", "missed", "missed", "missed"]
        asked = gate.calls
        assert 3 <= asked <= 3 + gate.doubtful(*users[3:])
        event.at(1)
        assert (await gate.grab(users[3]))["outcome"] == "missed"
        assert gate.calls == asked + 1
        assert not gate.r1.sold_out


async def test_slots_that_come_to_a_dry_set_are_granted() -> None:
    async with many_sets() as event:
        gate = await event.gate()
        users = event.users_of(0, 3)
        assert [(await gate.grab(user))["outcome"] for user in users] == ["granted", "granted", "missed"]
        slots = await event.sets["s2"].take("r1", 1, "rebalance:r1:1:s1")
        await event.sets["s1"].give("r1", slots, "rebalance:r1:1:s1")
        await gate.lines["s1"].publish(Refilled("r1"))
        await until(lambda: gate.r1.refills == 1)
        assert (await gate.grab(users[2]))["grant"]["slot"] == 3


async def test_empty_is_said_from_memory_once_the_whole_round_is_claimed_and_every_winner_known() -> None:
    async with many_sets() as event:
        one, other = await event.gate(), await event.gate()
        winners = await _sell_out(event, one)
        for gate in (one, other):
            await gate.lines["s3"].publish(SoldOut("r1"))
            await until(gate.complete)
            calls = gate.calls
            losers = [user for number in range(3) for user in event.users_of(number, 40, prefix="late")]
            outcomes = [(await gate.grab(user))["outcome"] for user in losers]
            assert set(outcomes) == {"empty"}
            assert gate.calls - calls <= gate.doubtful(*losers) <= 12, "on average 1 in 70 is asked about, at the most"
            for user in winners:
                assert (await gate.grab(user))["outcome"] == "granted"


async def test_sold_out_is_found_out_without_any_news() -> None:
    async with many_sets() as event:
        gate = await event.gate()
        await _sell_out(event, gate)
        await until(gate.complete)
        assert (await gate.grab("late"))["outcome"] == "empty"


async def test_news_of_sold_out_is_not_believed_while_slots_are_left_or_on_their_way() -> None:
    async with many_sets() as event:
        gate = await event.gate()
        for number in range(2):
            for user in event.users_of(number, 2):
                await gate.grab(user)
        await gate.grab(event.users_of(2, 1)[0])
        slots = await event.sets["s3"].take("r1", 2, "rebalance:r1:2:s1")
        assert len(slots) == 1
        assert not any([(await store.state("r1")).left for store in event.sets.values()])
        for line in gate.lines.values():
            await line.publish(SoldOut("r1"))
        await gate.among._watches["r1"].look()
        assert not gate.r1.sold_out
        assert (await gate.grab("late"))["outcome"] == "missed"
        await event.sets["s1"].give("r1", slots, "rebalance:r1:2:s1")
        event.at(1)
        assert (await gate.grab(event.users_of(0, 3)[2]))["outcome"] == "granted"
        await until(lambda: gate.r1.sold_out)


async def test_a_leftover_that_joins_makes_a_sold_out_round_grant_again_with_and_without_news() -> None:
    async with many_sets() as event:
        gate, deaf = await event.gate(), await event.gate()
        await _sell_out(event, gate)
        await until(lambda: gate.complete() and deaf.complete())
        await event.sets["s1"].open([PotTerms("r0", Slots(9, 2))])
        for number, transfer in enumerate(("leftover:r0", "leftover:r00"), start=1):
            slots = await event.sets["s1"].take("r0", 1, transfer)
            await event.sets["s1"].give("r1", slots, transfer)
            if number == 1:
                await gate.lines["s1"].publish(Refilled("r1"))
            await until(lambda: not gate.r1.sold_out and not deaf.r1.sold_out)
            user = event.users_of(0, 2 + number)[-1]
            assert (await gate.grab(user))["grant"]["slot"] == slots[0].first
            await until(lambda: gate.complete() and deaf.complete())
            assert (await deaf.grab(user))["outcome"] == "granted", "a winner of the other gate, after the end"
            assert (await deaf.grab("late"))["outcome"] == "empty"


async def test_slots_that_came_and_went_without_news_are_noticed() -> None:
    async with many_sets() as event:
        gate, other = await event.gate(), await event.gate()
        await _sell_out(event, gate)
        await until(lambda: gate.complete() and other.complete())
        watch = gate.among._watches["r1"]
        await event.sets["s1"].give("r1", (Slots(9, 1),), "leftover:r0")
        winner = event.users_of(0, 3)[2]
        await event.sets["s1"].claim(claims_of("r1", [winner]), event.clock.now_us)
        await watch.look()
        assert gate.r1.sold_out
        assert gate.r1.refills >= 1
        await until(gate.complete)
        assert (await gate.grab(winner))["outcome"] == "granted"


async def _hold_all_but_one(event: ManySets, gate: OneGate) -> tuple[HoldingStore, HoldingStore]:
    """Make the two sets hold what they grant, and grant every slot of r1 but the last of s2."""
    first, second = HoldingStore(), HoldingStore()
    event.sets.update(s1=first, s2=second)
    gate.stores["s1"].inner, gate.stores["s2"].inner = first, second
    await gate.among.start()
    event.running.append(gate)
    for user in (*event.users_of(0, 3), *event.users_of(1, 2)):
        assert (await gate.grab(user))["outcome"] == "granted"
    return first, second


async def test_a_hold_that_came_back_and_was_granted_again_leaves_the_round_sold_out() -> None:
    async with many_sets(("s1", "s2")) as event:
        gate = OneGate(event, [SetPlace("s1"), SetPlace("s2")], Limits(), None)
        first, _ = await _hold_all_but_one(event, gate)
        await first.give_back("r1", event.users_of(0, 1)[0], event.clock.now_us)
        event.at(1)
        for user in (event.users_of(0, 4)[3], event.users_of(1, 3)[2]):
            assert (await gate.grab(user))["outcome"] == "granted"
        assert (await first.state("r1")).returned_ever == 1
        await until(lambda: gate.r1.sold_out)


async def test_a_hold_that_came_back_does_not_stand_for_a_slot_on_its_way() -> None:
    async with many_sets(("s1", "s2")) as event:
        gate = OneGate(event, [SetPlace("s1"), SetPlace("s2")], Limits(), None)
        first, second = await _hold_all_but_one(event, gate)
        await first.give_back("r1", event.users_of(0, 1)[0], event.clock.now_us)
        event.at(1)
        assert (await gate.grab(event.users_of(0, 4)[3]))["outcome"] == "granted"
        slots = await second.take("r1", 1, "rebalance:r1:1:s1")
        await gate.among._watches["r1"].look()
        assert not gate.r1.sold_out
        await first.give("r1", slots, "rebalance:r1:1:s1")
        assert (await gate.grab(event.users_of(0, 5)[4]))["outcome"] == "granted"
        await until(lambda: gate.r1.sold_out)


async def test_a_hold_that_comes_back_behind_the_reader_and_is_granted_before_it_does_not_count_twice() -> None:
    async with many_sets(("s1", "s2")) as event:
        gate = OneGate(event, [SetPlace("s1"), SetPlace("s2")], Limits(), None)
        first, second = await _hold_all_but_one(event, gate)
        refills, looks = gate.r1.refills, first.states
        gate.stores["s2"].hang()
        await until(lambda: first.states > looks)  # its claims are counted, those of s2 are not yet
        await second.take("r1", 1, "rebalance:r1:1:s1")  # and stays on its way
        await first.give_back("r1", event.users_of(0, 1)[0], event.clock.now_us)
        slots = await first.take("r1", 1, "rebalance:r1:2:s2")
        await second.give("r1", slots, "rebalance:r1:2:s2")
        await second.claim(claims_of("r1", event.users_of(1, 3)), event.clock.now_us)
        looks = first.states
        gate.stores["s2"].let_go()
        await until(lambda: first.states > looks + 3)
        assert not gate.r1.sold_out
        assert gate.r1.refills == refills, "it was not said and taken back either"


async def test_nobody_is_told_empty_from_memory_before_the_log_of_their_set_was_read_to_its_end() -> None:
    async with many_sets() as event:

        async def no_log(after: int, limit: int) -> Any:
            await asyncio.Event().wait()

        def without_a_log(gate: OneGate) -> None:
            gate.stores["s1"].log = no_log  # type: ignore[method-assign]  # it hangs, claims do not

        one, other = await event.gate(), await event.gate(broken=without_a_log)
        winners = await _sell_out(event, one)
        other.among.sold_out("r1")
        await until(lambda: other.r1.sold_out and all(pot.complete for pot in other.r1.pots[1:]))
        assert not other.r1.pots[0].complete
        for user in winners:
            assert (await other.grab(user))["outcome"] == "granted"
        calls = len(other.stores["s1"].calls)
        assert (await other.grab(event.users_of(0, 1, prefix="late")[0]))["outcome"] == "empty"
        assert len(other.stores["s1"].calls) == calls + 1, "the store was asked"


@pytest.mark.parametrize("trimmed_upto", [2, 1_000_000], ids=["in part", "wholly"])
async def test_a_log_that_was_trimmed_before_it_was_read_leaves_losers_to_the_store(
    trimmed_upto: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "IDLE_S", 0.001)
    async with many_sets() as event:
        one = await event.gate()
        winners = await _sell_out(event, one)
        late = await event.gate(broken=lambda gate: setattr(gate.stores["s1"], "trimmed_upto", trimmed_upto))
        late.among.sold_out("r1")
        await until(lambda: all(pot.complete for pot in late.r1.pots[1:]))
        assert not late.r1.pots[0].complete
        for user in winners:
            assert (await late.grab(user))["outcome"] == "granted"
        assert (await late.grab(event.users_of(0, 1, prefix="late")[0]))["outcome"] == "empty"
        await until(lambda: late.among._followers["s1"].incomplete("r1"))
        assert not late.among._followers["s1"].incomplete("r2"), "it has not begun yet"
        event.at(ROUND_R2_S)
        late.stores["s1"].trimmed_upto = 0
        await until(lambda: all(pot.warm for pot in late.gate.rounds["r2"].pots))
        users = [user for number in range(3) for user in event.users_of(number, 2)]
        assert {(await late.grab(user, "r2"))["outcome"] for user in users} == {"granted"}
        await until(lambda: all(pot.complete for pot in late.gate.rounds["r2"].pots))


async def test_what_was_trimmed_before_a_round_was_opened_is_not_missed_by_it() -> None:
    async with many_sets() as event:
        await event.sets["s1"].open([PotTerms("r0", Slots(100, 1))])
        winners = await _sell_out(event, await event.gate())
        late = await event.gate(broken=lambda gate: setattr(gate.stores["s1"], "trimmed_upto", 1))
        await until(late.complete)
        for user in winners:
            assert (await late.grab(user))["outcome"] == "granted"


# -- after the close


async def test_after_the_close_losers_are_told_so_from_memory_when_nobody_can_win_any_more() -> None:
    async with many_sets() as event:
        one, other = await event.gate(), await event.gate()
        first = await one.grab("alice")
        event.at(61)
        assert (await other.grab("mallory"))["outcome"] == "closed"
        assert sum(store.finds for store in other.stores.values()) == 1
        event.at(60 + 31)
        await until(other.complete)
        assert (await other.grab("mallory"))["outcome"] == "closed"
        assert await other.grab("alice") == first | {"repeat": True}
        assert sum(store.finds for store in other.stores.values()) == 2 + other.doubtful("mallory")
        assert sum([(await store.state("r1")).claimed_ever for store in event.sets.values()]) == 1


async def test_after_the_close_nothing_is_granted_though_slots_are_left() -> None:
    async with many_sets() as event:
        gate = await event.gate()
        event.at(60)
        assert (await gate.grab("alice"))["outcome"] == "closed"
        assert gate.calls == 0


# -- a set that is away


async def test_the_users_of_a_set_that_is_away_are_told_to_come_back_and_the_others_notice_nothing() -> None:
    async with many_sets() as event:
        gate = await event.gate()
        ours, theirs = event.users_of(0, 2), event.users_of(1, 2)
        gate.stores["s1"].away = True
        refused = await gate.grab(ours[0])
        assert (refused["status"], refused["waited"]) == (503, True)
        assert (await gate.grab(ours[1]))["status"] == 503
        assert len(gate.stores["s1"].calls) == 1, "the second is refused at once"
        assert [(await gate.grab(user))["outcome"] for user in theirs] == ["granted"] * 2
        gate.stores["s1"].away = False
        await until(lambda: gate.r1.pots[0].lane.refusal is None)
        assert [(await gate.grab(user))["outcome"] for user in ours] == ["granted"] * 2
        assert gate.faults == []
        assert gate.gate.gauge.parked == 0
        assert all(pot.lane.parked == 0 for pot in gate.r1.pots)


async def test_an_absent_set_is_tried_by_one_batch_at_a_time() -> None:
    async with many_sets() as event:
        gate = await event.gate()
        users = event.users_of(0, 6)
        store, lane = gate.stores["s1"], gate.r1.pots[0].lane
        store.away = True
        await gate.grab(users[0])
        await until(lambda: lane.refusal is None)
        store.hang()
        first = gate.ask(users[0])
        await until(lambda: len(store.calls) == 2)
        assert [(await gate.grab(user))["status"] for user in users] == [503] * 6
        store.away = False
        store.let_go()
        assert (await first.json())["outcome"] == "granted"
        assert (await gate.grab(users[1]))["outcome"] == "granted"


async def test_a_second_batch_is_under_way_behind_the_first_and_no_third() -> None:
    async with many_sets(packets=600) as event:
        gate = await event.gate()
        store, lane = gate.stores["s1"], gate.r1.pots[0].lane
        users = event.users_of(0, 10)
        store.hang()
        asked = []
        for number, user in enumerate(users):
            asked.append(gate.ask(user))
            await until(lambda number=number: lane.parked == number + 1)  # type: ignore[misc]
            await until(lambda number=number: len(store.calls) == min(number + 1, 2))  # type: ignore[misc]
        assert store.calls == [(users[0],), (users[1],)]
        assert lane.parked == len(users)
        store.let_go()
        assert [(await one.json())["outcome"] for one in asked] == ["granted"] * len(users)
        assert store.calls[2] == tuple(users[2:]), "whoever came meanwhile shares the next batch"
        assert lane.under_way == []


async def test_of_a_crowd_that_comes_at_once_a_part_goes_first_in_pieces_that_are_worth_a_call() -> None:
    async with many_sets(packets=2_400) as event:
        gate = await event.gate()
        store = gate.stores["s1"]
        asked = [gate.ask(user) for user in event.users_of(0, 800)]
        assert [(await one.json())["outcome"] for one in asked] == ["granted"] * 800
        assert [len(call) for call in store.calls] == [400, 256, 144]


async def test_a_batch_is_put_together_when_it_can_go_with_all_who_have_come_by_then() -> None:
    async with many_sets(packets=60) as event:
        gate = await event.gate()
        store, users = gate.stores["s1"], event.users_of(0, 4)
        store.hang()
        asked = [gate.ask(users[0])]
        await until(lambda: store.calls == [(users[0],)])
        store.sendable.clear()
        asked.append(gate.ask(users[1]))
        await until(lambda: store.awaited == 2)
        asked += [gate.ask(user) for user in users[2:]]
        await until(lambda: gate.r1.pots[0].lane.parked == 4)
        assert len(store.calls) == 1
        store.sendable.set()
        await until(lambda: len(store.calls) == 2)
        assert store.calls[1] == tuple(users[1:])
        store.let_go()
        assert [(await one.json())["outcome"] for one in asked] == ["granted"] * 4


async def test_batches_that_fail_together_are_all_told_to_come_back_and_get_their_grants_then() -> None:
    async with many_sets(packets=60) as event:
        gate = await event.gate()
        store, lane = gate.stores["s1"], gate.r1.pots[0].lane
        users = event.users_of(0, 3)
        store.hasty = True
        store.hang()
        asked = []
        for number, user in enumerate(users):
            asked.append(gate.ask(user))
            await until(lambda number=number: len(store.calls) == min(number + 1, 2))  # type: ignore[misc]
        store.away = True
        store.let_go()
        assert [(await one.json())["status"] for one in asked] == [503] * 3
        assert lane.under_way == []
        assert [lane.undecided(gate.r1.pots[0], user) for user in users] == [True, True, False]
        store.away = False
        await until(lambda: lane.refusal is None)
        assert [(await gate.grab(user))["outcome"] for user in users] == ["granted"] * 3
        assert not any(lane.undecided(gate.r1.pots[0], user) for user in users)
        assert (await event.sets["s1"].state("r1")).claimed_ever == 3


async def test_whoever_waits_behind_batches_that_hang_is_told_to_come_back() -> None:
    async with many_sets(packets=60) as event:
        gate = await event.gate()
        users = event.users_of(0, 4)
        store, lane = gate.stores["s1"], gate.r1.pots[0].lane
        store.hang()
        sent = [gate.ask(users[0])]
        await until(lambda: len(store.calls) == 1)
        sent.append(gate.ask(users[1]))
        await until(lambda: len(store.calls) == 2)
        waiting = gate.ask(users[2])
        lane._patience_us = -1.0  # is over
        gate.gate.tick()
        assert (await waiting.json())["status"] == 503
        assert (await gate.grab(users[3]))["status"] == 503
        assert not any(one.answer.done() for one in sent)
        assert (await gate.grab(event.users_of(1, 1)[0]))["outcome"] == "granted"
        store.let_go()
        assert [(await one.json())["outcome"] for one in sent] == ["granted"] * 2
        assert (await gate.grab(users[3]))["outcome"] == "granted"


async def test_a_set_that_hangs_takes_its_share_of_the_places_only() -> None:
    async with many_sets(packets=60) as event:
        gate = await event.gate(limits=Limits(parked_max=9))
        gate.stores["s1"].hang()
        asked = [gate.ask(user) for user in event.users_of(0, 5)]
        assert [asking.answer.done() for asking in asked] == [False] * 3 + [True] * 2
        assert (await asked[4].json())["status"] == 503
        assert [(await gate.grab(user))["outcome"] for user in event.users_of(1, 5)] == ["granted"] * 5
        assert gate.r1.pots[0].lane.busy == 2


async def test_a_winner_whose_answer_got_lost_is_told_so_only_when_the_store_has_said_it_again() -> None:
    async with many_sets() as event:
        gate = await event.gate()
        user = event.users_of(0, 1)[0]
        store, lane = gate.stores["s1"], gate.r1.pots[0].lane
        store.hasty = store.away = True
        assert (await gate.grab(user))["status"] == 503
        assert user in store.known("r1")
        assert (await gate.grab(user))["status"] == 503, "that it is known does not mean that it is durable"
        store.away = False
        await until(lambda: lane.refusal is None)
        again = await gate.grab(user)
        assert (again["outcome"], again["grant"]["slot"], again["repeat"]) == ("granted", 0, True)
        assert store.calls == [(user,), (user,)]
        assert await gate.grab(user) == again, "from memory now"
        assert len(store.calls) == 2


@pytest.mark.parametrize("fault", [KeyError("r1"), RuntimeError("a bug")])
async def test_a_fault_nobody_thought_of_is_told_and_tried_again(fault: Exception) -> None:
    async with many_sets() as event:
        gate = await event.gate()
        store = gate.stores["s1"]
        inner_claim = store.claim

        async def claim(claims: Any, at_us: int) -> Any:
            store.claim = inner_claim  # type: ignore[method-assign]  # once
            raise fault

        store.claim = claim  # type: ignore[method-assign]  # see above
        user = event.users_of(0, 1)[0]
        assert (await gate.grab(user))["status"] == 503
        assert len(gate.faults) == 1
        await until(lambda: gate.r1.pots[0].lane.refusal is None)
        assert (await gate.grab(user))["outcome"] == "granted"


async def test_a_store_that_failed_for_good_closes_its_lane_alone() -> None:
    async with many_sets() as event:
        gate = await event.gate()
        await gate.stores["s1"].inner.close()
        assert (await gate.grab(event.users_of(0, 1)[0]))["status"] == 503
        assert isinstance(gate.faults[0], StoreFailed)
        assert (await gate.grab(event.users_of(1, 1)[0]))["outcome"] == "granted"
        assert json.loads(gate.among.readiness().partition(b"\r\n\r\n")[2])["sets"]["s1"] == "broken"


async def test_grants_are_asked_for_at_every_home_and_not_told_in_part() -> None:
    async with many_sets() as event:
        gate = await event.gate()
        first = await gate.grab("alice")
        event.at(ROUND_R2_S)
        await until(lambda: gate.gate.rounds["r2"].home("alice").warm)
        second = await gate.grab("alice", "r2")

        async def grants() -> Any:
            asking = Asking()
            (way,) = gate.gate.site.paths.endpoints[b"/v1/grants"]
            answer = way.route.serve(asking, "alice")
            if answer is not None:
                asking.send(answer)
            return await asking.json()

        assert (await grants())["grants"] == [first["grant"], second["grant"]]
        for store in gate.stores.values():
            store.away = True
        assert (await grants())["status"] == 503


# -- warm-up


async def test_pots_are_opened_with_their_shares_some_time_before_the_opening() -> None:
    async with many_sets() as event:
        event.at(ROUND_R2_S - 61)
        gate = await event.gate()
        assert all(pot.warm for pot in gate.r1.pots), "a round that is over too: winners may ask"
        assert not any(pot.warm for pot in gate.gate.rounds["r2"].pots)
        event.at(ROUND_R2_S - 60)
        await until(lambda: all(pot.warm for pot in gate.gate.rounds["r2"].pots))
        assert [(await store.state("r2")).left for store in event.sets.values()] == [2, 2, 2]


async def test_who_divides_otherwise_is_told_before_the_opening() -> None:
    async with many_sets() as event:
        event.at(-30)
        good = await event.gate()
        with pytest.raises(StoreConflict, match="was opened with"):
            await event.gate(places=[SetPlace("s1"), SetPlace("s2"), SetPlace("s3", "r2")])
        assert event.running[-1].conflicts
        assert not good.conflicts


async def test_who_divides_a_later_round_otherwise_is_told_before_that_opens() -> None:
    async with many_sets(("s1", "s2", "s3")) as event:
        good = await event.gate()
        event.sets["s4"] = MemoryStore()
        wrong = await event.gate(places=[SetPlace("s1"), SetPlace("s2"), SetPlace("s3"), SetPlace("s4", "r2")])
        event.at(ROUND_R2_S - 30)
        await until(lambda: bool(good.conflicts or wrong.conflicts))


async def test_a_gate_starts_without_a_set_that_is_away_and_takes_it_in_when_it_is_back() -> None:
    async with many_sets() as event:
        gate = await event.gate(broken=lambda gate: setattr(gate.stores["s1"], "away", True))
        ready = gate.among.readiness()
        assert ready.startswith(b"HTTP/1.1 200")
        assert json.loads(ready.partition(b"\r\n\r\n")[2])["sets"] == {"s1": "away", "s2": "ready", "s3": "ready"}
        assert (await gate.grab(event.users_of(0, 1)[0]))["status"] == 503
        assert (await gate.grab(event.users_of(1, 1)[0]))["outcome"] == "granted"
        gate.stores["s1"].away = False
        await until(lambda: gate.r1.pots[0].warm)
        assert (await gate.grab(event.users_of(0, 1)[0]))["outcome"] == "granted"
        assert b'"s1":"ready"' in gate.among.readiness()


async def test_a_gate_is_not_ready_while_no_pot_of_a_round_that_is_due_is_open() -> None:
    def all_away(gate: OneGate) -> None:
        for store in gate.stores.values():
            store.away = True

    async with many_sets() as event:
        event.at(-30)
        gate = await event.gate(broken=all_away)
        assert gate.among.readiness().startswith(b"HTTP/1.1 503")
        for store in gate.stores.values():
            store.away = False
        await until(lambda: gate.among.readiness().startswith(b"HTTP/1.1 200"))


async def test_a_restarted_gate_knows_the_end_of_a_round_without_asking_for_every_loser() -> None:
    async with many_sets() as event:
        winners = await _sell_out(event, await event.gate())
        late = await event.gate()
        await until(late.complete)
        calls = late.calls
        assert (await late.grab("late"))["outcome"] == "empty"
        assert late.calls - calls <= 1
        assert all([(await late.grab(user))["repeat"] for user in winners])


async def test_terms_are_no_news_for_a_gate_and_unknown_rounds_none_at_all() -> None:
    async with many_sets() as event:
        gate = await event.gate()
        for news in (NewTerms(2), SoldOut("r9"), Refilled("r9"), Refilled("r1")):
            await gate.lines["s1"].publish(news)
        await until(lambda: gate.r1.refills == 1)
        assert gate.faults == []


async def test_a_rush_over_several_gates_while_sets_come_and_go_loses_and_doubles_nothing() -> None:
    async with many_sets(packets=300) as event:
        gates = [await event.gate() for _ in range(3)]
        users = [f"user{number}" for number in range(900)]
        held: dict[str, int] = {}
        for turn in range(12):
            away = gates[turn % 3].stores[f"s{turn // 3 % 3 + 1}"]
            away.away = True
            asked = [(user, gates[(turn + number) % 3].ask(user)) for number, user in enumerate(users)]
            for user, asking in asked:
                answer = await asking.json()
                if answer.get("outcome") == "granted":
                    assert held.setdefault(user, answer["grant"]["slot"]) == answer["grant"]["slot"]
                else:
                    assert user not in held or answer["status"] == 503 or answer["outcome"] == "missed"
            away.away = False
            event.clock.now_us += SECOND_US // 10
            await until(lambda: all(pot.lane.refusal is None for gate in gates for pot in gate.r1.pots))
        assert len(set(held.values())) == len(held) == 300
        assert sum([(await store.state("r1")).claimed_ever for store in event.sets.values()]) == 300
        assert max(len(batch) for gate in gates for s in gate.stores.values() for batch in s.calls) <= BATCH_CLAIMS_MAX


async def test_a_hiccup_that_two_batches_meet_at_once_refuses_nobody_afterwards() -> None:
    async with many_sets(["s1"], packets=400) as event:
        gate, clients = await event.gate(), 32
        store, began = gate.stores["s1"], 0
        for _ in range(5):  # calm: all come, are decided in a millisecond, and come again
            store.hang()
            asked = [gate.ask(f"u{began + number}") for number in range(clients)]
            began += clients
            await until(lambda: len(gate.r1.pots[0].lane.under_way) > 0)
            event.clock.now_us += 1_000
            store.let_go()
            assert {(await asking.json())["status"] for asking in asked} == {200}
        store.hang()
        asked = [gate.ask(f"u{began + number}") for number in range(clients)]
        await until(lambda: len(gate.r1.pots[0].lane.under_way) == 1)
        asked += [gate.ask(f"u{began + clients + number}") for number in range(clients)]
        await until(lambda: len(gate.r1.pots[0].lane.under_way) == 2)
        event.clock.now_us += 60_000
        store.let_go()
        assert {(await asking.json())["status"] for asking in asked} == {200}
        began += 2 * clients
        store.hang()
        asked = [gate.ask(f"u{began + number}") for number in range(2 * clients)]
        await until(lambda: len(gate.r1.pots[0].lane.under_way) > 0)
        store.let_go()
        assert {(await asking.json())["status"] for asking in asked} == {200}
        assert gate.r1.pots[0].lane.busy == 0
