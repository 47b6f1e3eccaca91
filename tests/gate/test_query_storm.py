"""A storm of queries finds its few places taken, and is refused; claims and other sets notice nothing."""

import asyncio
from typing import Any

import pytest

from redrush.dependency import Share
from redrush.gate import queries as queries_module
from redrush.gate.queries import QUERIES_MAX, SET_SHARE
from redrush.gate.views import GrantsView
from redrush.stores.valkey.calls import CALLS_MAX
from tests.gate.sets import Asking, OneGate, many_sets

STORM = 1_000


def my_grants(gate: OneGate, user: str) -> Asking:
    """Ask for the user's grants."""
    asking = Asking()
    view = GrantsView(tuple(gate.gate.rounds.values()), gate.gate.queries, lambda: gate.r1.round.opens_us + 1)
    if (answer := view.serve(asking, user)) is not None:
        asking.send(answer)
    return asking


async def statuses(asked: list[Asking]) -> list[int]:
    bodies: list[Any] = [await one.json() for one in asked]
    assert all(body["waited"] for body in bodies if body["status"] != 200), "who is refused is told when to come back"
    return [body["status"] for body in bodies]


def test_queries_leave_claims_their_places_on_the_link_of_a_set() -> None:
    assert SET_SHARE.at_once_max <= CALLS_MAX // 4
    assert 3 * (SET_SHARE.at_once_max + SET_SHARE.waiting_max) < QUERIES_MAX, "sets that hang leave room for another"


async def test_a_set_is_asked_a_few_things_at_once_however_many_want_to_know() -> None:
    async with many_sets(packets=60) as event:
        gate = await event.gate()
        (winner,) = users = event.users_of(0, 1)
        assert (await gate.grab(winner))["outcome"] == "granted"
        gate.stores["s1"].hang()
        storm = [my_grants(gate, user) for user in users * STORM]
        places = SET_SHARE.at_once_max + SET_SHARE.waiting_max
        bulkheads = gate.gate.queries.sets
        while "s1" not in bulkheads or bulkheads["s1"].refused.total() < QUERIES_MAX - places:
            await asyncio.sleep(0)
        assert gate.stores["s1"].finds == SET_SHARE.at_once_max
        gate.stores["s1"].let_go()
        assert (await statuses(storm)).count(200) == places


async def test_a_set_that_hangs_takes_no_query_of_another_and_no_claim_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    share = Share(at_once_max=SET_SHARE.at_once_max, waiting_max=SET_SHARE.waiting_max, deadline_s=0.2)
    monkeypatch.setattr(queries_module, "SET_SHARE", share)
    async with many_sets(packets=60) as event:
        gate = await event.gate()
        theirs = event.users_of(1, 20)
        gate.stores["s1"].hang()
        storm = [my_grants(gate, user) for user in event.users_of(0, STORM)]
        assert [(await gate.grab(user))["outcome"] for user in theirs] == ["granted"] * 20
        while len(gate.gate.queries._late._under_way) >= QUERIES_MAX:  # who is refused by the set leaves at once
            await asyncio.sleep(0)
        assert [(await my_grants(gate, user).json())["status"] for user in theirs] == [200] * 20
        assert set(await statuses(storm)) == {503}, "nobody hangs: a query has a deadline"
        gate.stores["s1"].let_go()
        assert (await my_grants(gate, event.users_of(0, 1)[0]).json())["status"] == 200
