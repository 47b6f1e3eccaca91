"""Plays of a draw at a gate: what a number comes to, once and again, and what nobody can get by repeating one."""

import asyncio
import json
import random
from collections import Counter
from typing import Any

import pytest

from redrush.core.identity.tickets import sign_ticket
from redrush.core.rush.draw import Floor
from redrush.http.connection import Connection
from redrush.http.route import Fixed
from redrush.stores.memory import MemoryStore
from tests.gate.draws import OPENS_US, SECOND_US, DrawGate, Gone, body_of, draw_campaign, prize
from tests.gate.world import TICKET_RING, request

HALF = (1, 2)
DAY_US = 86_400 * SECOND_US


async def test_a_play_that_hits_is_granted_once_and_a_repeat_is_told_the_same() -> None:
    gate = await DrawGate(draw_campaign([prize("lamp", 5, HALF), prize("red", 5, (1, 4), each_minor=88)])).start()
    lucky = gate.user_who(3, 0)
    first, again = await gate.play(lucky, 3), await gate.play(lucky, 3)
    assert (first["outcome"], first["play"], first["plays_left"], first["repeat"]) == ("granted", 3, 7, False)
    assert (first["grant"]["prize"], first["grant"]["holds"], first["grant"]["round"]) == ("lamp", "goods:lamp", "d")
    assert "amount" not in first["grant"]
    assert again == first | {"repeat": True}
    rich = gate.user_who(1, 1)
    assert (await gate.play(rich, 1))["grant"]["amount"] == "0.88"
    assert [grant["prize"] for grant in await gate.grants(lucky)] == ["lamp"]


async def test_a_miss_is_answered_at_once_and_stays_one_whoever_asks_the_store_learns_nothing() -> None:
    gate = await DrawGate(draw_campaign([prize("lamp", 5, HALF)])).start()
    unlucky = gate.user_who(1, None)
    for _ in range(3):
        assert await gate.play(unlucky, 1) == {"outcome": "missed", "play": 1, "plays_left": 9}
    assert gate.rush.counts.missed == 3
    assert gate.gate.lanes["only"].batches == 0


async def test_without_a_number_the_next_one_that_was_not_played_here_is_played_and_then_the_limit_is_told() -> None:
    gate = await DrawGate(draw_campaign([prize("lamp", 50, HALF, limit=9)], per_user=4)).start()
    await gate.play("alice", 2)
    numbers = [(await gate.play("alice"))["play"] for _ in range(3)]
    assert numbers == [1, 3, 4]
    refused = await gate.play("alice")
    assert refused == {"outcome": "limit", "plays": {"first": 1, "last": 4}}
    for number in (5, 6, 10**30):
        assert (await gate.play("alice", number))["outcome"] == "limit"


async def test_numbers_of_a_day_lapse_at_its_midnight_and_the_next_ones_count() -> None:
    gate = await DrawGate(draw_campaign([prize("lamp", 50, HALF)], per_user=5, per_day=2, lasts_s=3 * 86_400)).start()
    opened_on = OPENS_US - OPENS_US % DAY_US
    assert [(await gate.play("alice"))["outcome"] != "limit" for _ in range(3)] == [True, True, False]
    told = await gate.play("alice")
    assert told["next_plays_at"] == "2027-01-16T00:00:00.000000Z"
    gate.now_us = opened_on + DAY_US
    assert [(await gate.play("alice", number))["outcome"] for number in (1, 2)] == ["limit", "limit"]
    assert [(await gate.play("alice")).get("play") for _ in range(3)] == [3, 4, None]
    gate.now_us = opened_on + 2 * DAY_US
    assert [(await gate.play("alice")).get("play") for _ in range(2)] == [5, None]


async def test_a_number_that_was_played_before_a_release_wins_nothing_by_being_repeated_after_it() -> None:
    gate = await DrawGate(draw_campaign([prize("phone", 2, spread=True)])).start()
    first_us, second_us = gate.instants("phone")
    gate.now_us = first_us - 1
    assert (await gate.play("alice", 1))["outcome"] == "missed"
    gate.now_us = first_us
    assert (await gate.play("alice", 1))["outcome"] == "missed", "a repeat"
    won = await gate.play("alice", 2)
    assert (won["outcome"], won["grant"]["prize"]) == ("granted", "phone")
    assert (await gate.play("bob", 1))["outcome"] == "missed", "one was released, and is had"
    assert await gate.play("alice", 2) == won | {"repeat": True}
    assert (await gate.play("alice", 1))["outcome"] == "missed"
    gate.now_us = second_us
    assert (await gate.play("alice", 3))["outcome"] == "missed", "one of them is all that a person may have"
    assert (await gate.play("bob", 2))["outcome"] == "granted"


async def test_a_play_that_is_asked_twice_at_once_is_one_and_who_goes_away_gets_nothing_ahead_of_its_release() -> None:
    gate = await DrawGate(draw_campaign([prize("phone", 3, spread=True, limit=3)])).start()
    gate.now_us = gate.instants("phone")[0]
    first, second = await asyncio.gather(gate.play("alice", 1), gate.play("alice", 1))
    assert (first["grant"], {first["repeat"], second["repeat"]}) == (second["grant"], {False, True})
    gate.now_us = gate.instants("phone")[1]
    assert gate.rush.reads(b'{"play":1}').serve(Gone(), "bob") is None
    await gate.rush.drained()
    gate.now_us += 2 * SECOND_US
    told = [(await gate.play(user, 1))["outcome"] for user in ("bob", "bob", "carol", "dave")]
    assert (await gate.store.state("d.phone")).claimed_ever == 2, told


async def test_after_a_restart_a_number_that_has_won_is_told_so_and_no_other() -> None:
    campaign, store = (
        draw_campaign([prize("phone", 1, spread=True), prize("red", 5, HALF, each_minor=5)]),
        MemoryStore(),
    )
    gate = await DrawGate(campaign, store).start()
    loser = next(u for n in range(99) if gate.lots.result(u := f"u{n}", 1) is gate.lots.result(u, 2) is None)
    gate.now_us = gate.instants("phone")[0]
    won = await gate.play(loser, 1)
    assert won["grant"]["prize"] == "phone"
    again = await DrawGate(campaign, store).start()
    again.now_us = gate.now_us
    assert await again.play(loser, 1) == won | {"repeat": True}
    assert (await again.play(loser, 2))["outcome"] == "missed"
    assert [grant["prize"] for grant in await again.grants(loser)] == ["phone"]


async def test_released_slots_leave_at_their_pace_and_catch_up_but_never_run_ahead() -> None:
    gate = await DrawGate(draw_campaign([prize("red", 20, pace=2.0, each_minor=5)])).start()
    for second, due in ((0, 0), (1, 2), (2, 4), (5, 10), (30, 20)):
        gate.now_us = OPENS_US + second * SECOND_US
        plays = [gate.play(f"{second}-{number}", 1) for number in range(40)]
        await asyncio.gather(*plays)
        assert (await gate.store.state("d.red")).claimed_ever == due


async def test_a_prize_that_is_gone_falls_to_what_follows_and_then_to_a_miss() -> None:
    prizes = [prize("lamp", 1, HALF, otherwise="cup"), prize("cup", 2, otherwise="pen"), prize("pen", 1)]
    gate = await DrawGate(draw_campaign(prizes)).start()
    lucky = [user for n in range(100) if gate.lots.result(user := f"u{n}", 1) == 0][:6]
    won = [await gate.play(user, 1) for user in lucky]
    assert [one.get("grant", {}).get("prize") for one in won] == ["lamp", "cup", "cup", "pen", None, None]
    assert [await gate.play(user, 1) for user in lucky[:4]] == [one | {"repeat": True} for one in won[:4]]
    assert won[4] == {"outcome": "missed", "play": 1, "plays_left": 9}
    assert gate.rush.sold_out
    assert [[grant["prize"] for grant in await gate.grants(user)] for user in lucky[:3]] == [["lamp"], ["cup"], ["cup"]]


async def test_whoever_has_as_many_as_the_limit_gets_what_follows() -> None:
    gate = await DrawGate(draw_campaign([prize("lamp", 9, HALF, otherwise="cup", limit=2), prize("cup", 9)])).start()
    user = next(
        user for n in range(10_000) if all(gate.lots.result(user := f"u{n}", play) == 0 for play in range(1, 5))
    )
    won = [(await gate.play(user, play)).get("grant", {}).get("prize") for play in range(1, 5)]
    assert won == ["lamp", "lamp", "cup", None]
    assert [(await gate.play(user, play)).get("grant", {}).get("prize") for play in range(1, 5)] == won


async def test_the_floor_is_paid_in_the_last_play_of_a_block_without_a_hit() -> None:
    prizes = [prize("lamp", 9, (1, 9)), prize("cup", 9)]
    gate = await DrawGate(draw_campaign(prizes, floor=Floor(3, "cup"))).start()
    user = next(
        user for n in range(10_000) if not any(gate.lots.hit(user := f"u{n}", play) == 0 for play in range(1, 4))
    )
    won = [(await gate.play(user, play)).get("grant", {}).get("prize") for play in (1, 2, 3, 3)]
    assert won == [None, None, "cup", "cup"]


async def test_before_the_opening_after_the_close_and_for_whom_it_is_not() -> None:
    gate = await DrawGate(draw_campaign([prize("lamp", 5, HALF)]), audience=frozenset({"u0", "u1", "u2"})).start()
    gate.now_us = OPENS_US - 1
    assert (await gate.play("u0", 1))["outcome"] == "not_open"
    gate.now_us = OPENS_US
    assert (await gate.play("mallory", 1))["outcome"] == "not_eligible"
    results = {user: await gate.play(user, 1) for user in ("u0", "u1", "u2")}
    gate.now_us = gate.campaign.rounds[0].closes_us
    for user, result in results.items():
        told = await gate.play(user, 1)
        assert told == (result | {"repeat": True} if result["outcome"] == "granted" else {"outcome": "closed"})
    assert (await gate.play("u0"))["outcome"] == "closed"
    assert {result["outcome"] for result in results.values()} == {"granted", "missed"}


@pytest.mark.parametrize("body", [{"play": 0}, {"play": -1}, {"play": "1"}, {"play": 1.5}, {"play": True}])
async def test_what_is_no_number_of_a_play_is_refused_in_words(body: dict[str, Any]) -> None:
    gate = await DrawGate(draw_campaign([prize("lamp", 5, HALF)])).start()
    route = gate.rush.reads(json.dumps(body).encode())
    assert isinstance(route, Fixed)
    told = body_of(route.serve(None, "alice"))  # type: ignore[arg-type] # it looks at nobody
    assert (told["status"], told["detail"]) == (400, '"play" must be the number of a play, from 1 on, or be left out')


@pytest.mark.parametrize("seed", range(12))
async def test_nothing_is_given_beyond_its_stock_nor_twice_for_a_play_whatever_comes_when(seed: int) -> None:
    """Plays of all numbers by all users, repeated, at the same time, over restarts of the gate, to the last prize."""
    rng = random.Random(seed)
    prizes = [
        prize("phone", 3, spread=True),
        prize("red", 12, pace=0.05, each_minor=88, limit=2),
        prize("lamp", 6, (1, 4), otherwise="cup"),
        prize("pen", 8, (1, 5), limit=3),
        prize("cup", 10),
    ]
    campaign, store = draw_campaign(prizes, per_user=5, floor=Floor(5, "cup")), MemoryStore()
    gate = await DrawGate(campaign, store).start()
    told: dict[tuple[str, int], set[str]] = {}
    now_us = OPENS_US
    for _ in range(12):
        now_us += rng.randrange(300) * SECOND_US
        if rng.random() < 0.3:
            gate = await DrawGate(campaign, store).start()
        gate.now_us = min(now_us, campaign.rounds[0].closes_us - 1)
        asked = [(f"u{rng.randrange(30)}", rng.randrange(1, 6)) for _ in range(40)]
        for play, answer in zip(asked, await asyncio.gather(*(gate.play(*one) for one in asked)), strict=True):
            if answer["outcome"] == "granted":
                told.setdefault(play, set()).add(answer["grant"]["id"])
    assert all(len(ids) == 1 for ids in told.values()), "a play has at most one grant"
    grants = [next(iter(ids)) for ids in told.values()]
    assert len(set(grants)) == len(grants)
    for one in prizes:
        of_prize = [user for (user, _), ids in told.items() if f"-d.{one.id}-" in next(iter(ids))]
        assert len(of_prize) <= (await store.state(f"d.{one.id}")).claimed_ever <= one.count
        assert max(Counter(of_prize).values(), default=0) <= one.limit_per_user
    assert (await store.state("d.cup")).claimed_ever == 10


class Connected:
    """A connection of a site over a transport that only keeps what is written."""

    def __init__(self, gate: DrawGate) -> None:
        self.written: list[bytes] = []
        self.connection = Connection(gate.gate.site)
        self.connection.connection_made(self)  # type: ignore[arg-type] # as far as it is asked

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def get_extra_info(self, _name: str) -> tuple[str, int]:
        return "10.0.0.1", 5

    def __getattr__(self, _name: str) -> Any:
        return lambda *_args: None

    def play(self, user: str, play: int) -> int:
        """Return the number of the play that was answered."""
        body = b'{"play":%d}' % play
        headers = ("Content-Type: application/json",)
        ticket = sign_ticket(TICKET_RING, user, OPENS_US // SECOND_US + 3_600)
        self.connection.data_received(request("POST", "/v1/rounds/d/grab", ticket, body, headers))
        answered: int = body_of(self.written[-1])["play"]
        return answered


async def test_a_body_is_remembered_with_its_head_and_no_play_is_served_as_another() -> None:
    gate = await DrawGate(draw_campaign([prize("lamp", 5, (1, 10**9))], per_user=50)).start()
    connected = Connected(gate)
    for turn in range(40):
        for user in ("alice", "bob", "carol"):
            for play in (1, 2, 12, 2):
                assert connected.play(user, play) == play, turn
    assert len(gate.gate.site.seen_heads) > 0
    assert gate.rush.counts.missed == 40 * 3 * 4


async def test_the_list_of_grants_and_the_state_file_tell_which_plays_are_left_today() -> None:
    gate = await DrawGate(draw_campaign([prize("lamp", 50, HALF)], per_user=5, per_day=2, lasts_s=3 * 86_400)).start()
    midnight_us = OPENS_US - OPENS_US % DAY_US + DAY_US
    assert gate.rush.state_fields(gate.now_us) == {"plays": {"first": 1, "last": 2, "next": midnight_us // 1_000}}
    assert gate.rush.plays_of("alice") == {"next": 1, "left": 2}
    await gate.play("alice")
    assert gate.rush.plays_of("alice") == {"next": 2, "left": 1}
    await gate.play("alice")
    assert gate.rush.plays_of("alice") == {"next": 3, "left": 0}
    gate.now_us = midnight_us + DAY_US
    tomorrow_ms = (midnight_us + 2 * DAY_US) // 1_000
    assert gate.rush.state_fields(gate.now_us) == {"plays": {"first": 5, "last": 5, "next": tomorrow_ms}}
    assert gate.rush.plays_of("alice") == {"next": 5, "left": 1}
