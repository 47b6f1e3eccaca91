"""The crowd against a real server on loopback that speaks the contract, tells the truth, stalls, refuses or lies."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import numpy as np
import pytest
import uvloop

from redrush.core.load.client_policy import ClientPolicy
from redrush.drill.behaviour import Behaviour, Manners
from redrush.drill.crowd import Crowd, CrowdFailed, CrowdPlan, CrowdResult, Target, count_endings
from redrush.drill.observations import Ending
from redrush.drill.schedules import Schedule, constant_rate, hammering, plan
from tests.drill.rush_server import Reply, RushServer, ServerConnection, ServerRound, refusal, serving, tickets_for

SWIFT = ClientPolicy(
    start_window_ms=50,
    interval_ms=10,
    backoff_first_ms=10,
    backoff_max_ms=20,
    come_back_ms=20,
    throttle_window_ms=50,
    attempts_max=3,
)
CALM = Behaviour(repeat_share=0, insist_share=0, think_s=0.02, policy=SWIFT)


def run(coroutine: Coroutine[Any, Any, CrowdResult]) -> CrowdResult:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


def one_each(users: int, rate_per_s: float = 5000.0) -> Schedule:
    return plan([(0, constant_rate(rate_per_s, users / rate_per_s), np.arange(users, dtype=np.int32))])


async def rush_at(server: RushServer, schedule: Schedule, users: int, **options: Any) -> CrowdResult:
    async with serving(server):
        crowd_plan = CrowdPlan(
            target=Target("127.0.0.1", server.port, tuple(server.rounds)),
            tickets=tickets_for(users),
            schedule=schedule,
            starts_us=time.time_ns() // 1000 + 50_000,
            **{"connections": 64, "behaviour": CALM, **options},
        )
        return await Crowd(crowd_plan).run()


def open_round(packets: int, **options: Any) -> ServerRound:
    return ServerRound("r1", packets, opens_s=time.time() - 1, closes_s=time.time() + 60, **options)


def test_every_request_is_accounted_for_and_every_grant_is_collected() -> None:
    server = RushServer(open_round(packets=300))
    result = run(rush_at(server, one_each(1000), 1000))
    assert count_endings(result.observations) == {"granted": 300, "empty": 700}
    assert server.requests == len(result.observations) == 1000
    assert {(a.user, a.slot) for a in result.acknowledged} == set(server.rounds["r1"].slots.items())
    assert result.acknowledged[5].amount == "6.00"
    assert result.acknowledged[5].receipt == "receipt-5"
    assert result.breaches == {}


def test_a_stall_of_a_second_is_in_the_latency_of_everything_intended_in_that_second() -> None:
    async def stalled() -> CrowdResult:
        server = RushServer(open_round(packets=0))
        begins_s = time.time() + 0.55
        server.stall = (begins_s, begins_s + 1.0)
        return await rush_at(server, one_each(4000, rate_per_s=2000), 4000, connections=32)

    observed = run(stalled()).observations
    assert len(observed) == 4000  # the generator kept its schedule: 32 connections, 2,000 requests/s, a stall of 1 s
    assert np.allclose(np.sort(observed.intended_s), np.arange(4000) / 2000, atol=1e-6)
    inside = (observed.intended_s > 0.55) & (observed.intended_s < 1.45)
    remaining_s = 1.5 - observed.intended_s[inside]
    assert inside.sum() == pytest.approx(1800, abs=2)
    assert (observed.latency_s[inside] > remaining_s - 0.06).all()
    # A closed loop would have seen 32 slow requests of 4,000, a p99 of a few milliseconds; a person saw this:
    assert np.quantile(observed.latency_s, 0.75) > 0.4
    assert np.median(observed.latency_s[observed.intended_s < 0.4]) < 0.1


def test_what_finds_the_queue_full_is_counted_as_not_sent() -> None:
    async def stalled() -> CrowdResult:
        server = RushServer(open_round(packets=0))
        server.stall = (time.time(), time.time() + 0.6)
        return await rush_at(server, one_each(500), 500, connections=10, waiting_max=40)

    result = run(stalled())
    assert count_endings(result.observations) == {"empty": 50, "not_sent": 450}


def test_who_misses_shakes_again_until_granted() -> None:
    server = RushServer(open_round(packets=50, miss_first=3))
    result = run(rush_at(server, one_each(50), 50))
    assert count_endings(result.observations) == {"missed": 150, "granted": 50}


def test_who_always_misses_gives_up() -> None:
    server = RushServer(open_round(packets=50, miss_first=99))
    result = run(rush_at(server, one_each(20), 20))
    assert count_endings(result.observations) == {"missed": 20 * CALM.shakes_max}


def test_who_is_early_comes_back_after_the_opening() -> None:
    async def early() -> CrowdResult:
        opens_s = time.time() + 1.0
        server = RushServer(ServerRound("r1", 100, opens_s, opens_s + 60))
        return await rush_at(server, one_each(100), 100)

    result = run(early())
    observed = result.observations
    assert count_endings(observed) == {"not_open": 100, "granted": 100}
    granted_s = observed.intended_s[observed.ending == Ending.GRANTED]
    assert np.ptp(granted_s) > 0.02  # jittered, not all at once


def test_a_granted_user_who_asks_again_gets_the_same_grant() -> None:
    server = RushServer(open_round(packets=100))
    behaviour = Behaviour(repeat_share=1.0, insist_share=1.0, think_s=0.02)
    result = run(rush_at(server, one_each(150), 150, behaviour=behaviour))
    assert count_endings(result.observations) == {"granted": 200, "empty": 100}
    assert result.observations.repeat.sum() == 100
    assert len(result.acknowledged) == 100
    assert result.breaches == {}


def second_time(spoil: Callable[[RushServer, str], dict[str, object]]) -> Callable[[RushServer], None]:
    """A twist that answers each user's second request with what `spoil` says."""

    def apply(server: RushServer) -> None:
        asked: Counter[str] = Counter()

        def twist(_: ServerConnection, __: str, user: str) -> Reply | None:
            asked[user] += 1
            if asked[user] < 2:
                return None
            body = spoil(server, user)
            return 200, {}, msgspec.json.encode(body)

        server.twist = twist

    return apply


def grant_of(server: RushServer, user: str, *, repeat: bool, **changes: object) -> dict[str, object]:
    body = server.rounds["r1"].granted(user, repeat=repeat)
    grant = body["grant"]
    assert isinstance(grant, dict)
    grant.update(changes)
    return body


@pytest.mark.parametrize(
    ("spoil", "breach"),
    [
        (lambda server, user: grant_of(server, user, repeat=True, slot=77), "other_grant"),
        (lambda server, user: grant_of(server, user, repeat=True, amount="99.00"), "other_grant"),
        (lambda server, user: grant_of(server, user, repeat=False), "two_firsts"),
        (lambda _server, _user: {"outcome": "empty"}, "grant_denied"),
        (lambda _server, _user: {"outcome": "missed"}, "grant_denied"),
    ],
)
def test_a_server_that_breaks_its_promise_is_caught(
    spoil: Callable[[RushServer, str], dict[str, object]], breach: str
) -> None:
    server = RushServer(open_round(packets=20))
    second_time(spoil)(server)
    behaviour = Behaviour(repeat_share=1.0, think_s=0.02)
    result = run(rush_at(server, one_each(20), 20, behaviour=behaviour))
    assert result.breaches == {breach: 20}


def test_a_repeat_to_somebody_who_asked_once_is_caught() -> None:
    server = RushServer(open_round(packets=5))
    server.rounds["r1"].slots = {f"u{number}": number for number in range(5)}
    result = run(rush_at(server, one_each(5), 5))
    assert result.breaches == {"repeat_without_first": 5}


@pytest.mark.parametrize("status", [429, 503])
def test_overload_is_retried_no_sooner_than_retry_after_and_not_for_ever(status: int) -> None:
    server = RushServer(open_round(packets=5), twist=lambda *_: refusal(status, Retry_After="0"))
    result = run(rush_at(server, one_each(5), 5))
    assert count_endings(result.observations) == {"refused": 5 * SWIFT.attempts_max}
    assert set(result.observations.status.tolist()) == {status}


def after_one_refusal(gaps_s: list[float]) -> Callable[[ServerConnection, str, str], Reply | None]:
    """A twist that refuses each user once, for a second, and notes when they come again."""
    seen: dict[str, float] = {}

    def twist(_: ServerConnection, __: str, user: str) -> Reply | None:
        if user in seen:
            gaps_s.append(time.monotonic() - seen[user])
            return None
        seen[user] = time.monotonic()
        return refusal(503, retry_after="1")

    return twist


@pytest.mark.parametrize(
    ("manners", "soonest_s", "latest_s"),
    [
        (Manners.IMMEDIATE, 0.0, 0.1),
        (Manners.NO_BACKOFF, 0.0, 0.2),
        (Manners.NO_JITTER, 1.0, 1.1),
    ],
)
def test_the_impolite_come_again_as_their_kind_does(manners: Manners, soonest_s: float, latest_s: float) -> None:
    gaps_s: list[float] = []
    policy = msgspec.structs.replace(SWIFT, backoff_first_ms=100, backoff_max_ms=200)
    behaviour = Behaviour(manners=manners, policy=policy, repeat_share=0)
    server = RushServer(open_round(packets=50), twist=after_one_refusal(gaps_s))
    result = run(rush_at(server, one_each(50), 50, behaviour=behaviour))
    assert count_endings(result.observations) == {"refused": 50, "granted": 50}
    assert min(gaps_s) >= soonest_s - 0.001
    assert sorted(gaps_s)[25] <= latest_s


def test_the_impolite_do_not_come_for_ever() -> None:
    behaviour = Behaviour(manners=Manners.IMMEDIATE, insistence_max=7)
    server = RushServer(open_round(packets=5), twist=lambda *_: refusal(503, Retry_After="9"))
    assert count_endings(run(rush_at(server, one_each(3), 3, behaviour=behaviour)).observations) == {"refused": 21}


def test_bots_send_what_is_planned_whatever_comes_back() -> None:
    times_s, users = hammering(users=3, rate_per_s=100, lasts_s=0.5)
    schedule = plan([(0, times_s, users)])
    behaviour = Behaviour(manners=Manners.BOT, repeat_share=1.0, insist_share=1.0)
    server = RushServer(open_round(packets=2, miss_first=1))
    result = run(rush_at(server, schedule, 3, behaviour=behaviour))
    assert len(result.observations) == server.requests == 150
    assert np.bincount(result.observations.user).tolist() == [50, 50, 50]
    gaps_s = np.diff(np.sort(result.observations.intended_s[result.observations.user == 1]))
    assert gaps_s == pytest.approx(0.01)


def test_polite_clients_hold_back_what_has_little_chance_and_it_is_told() -> None:
    seed = 5
    server = RushServer(open_round(packets=5), twist=lambda *_: refusal(503))
    policy = msgspec.structs.replace(SWIFT, throttle_window_ms=500)
    result = run(rush_at(server, one_each(200), 200, behaviour=Behaviour(policy=policy), seed=seed))
    assert server.requests == len(result.observations)
    assert result.held_back > 100, f"seed {seed}"
    assert server.requests <= 200 * SWIFT.attempts_max


def test_retry_after_is_respected() -> None:
    gaps_s: list[float] = []
    unhurried = Behaviour(repeat_share=0, policy=msgspec.structs.replace(SWIFT, come_back_ms=500))
    server = RushServer(open_round(packets=9), twist=after_one_refusal(gaps_s))
    result = run(rush_at(server, one_each(9), 9, behaviour=unhurried))
    assert count_endings(result.observations) == {"refused": 9, "granted": 9}
    assert min(gaps_s) >= 0.999
    assert max(gaps_s) - min(gaps_s) > 0.1


def test_a_refused_ticket_is_not_tried_again() -> None:
    result = run(rush_at(RushServer(open_round(5), twist=lambda *_: refusal(401)), one_each(5), 5))
    assert count_endings(result.observations) == {"refused": 5}


def test_a_lost_connection_is_remade_and_its_user_asks_again() -> None:
    dropped: set[str] = set()

    def twist(connection: ServerConnection, _: str, user: str) -> Reply | None:
        if user in dropped:
            return None
        dropped.add(user)
        connection.server.rounds["r1"].grab(user)  # granted, but the user never hears of it
        connection.transport.abort()
        return 200, {}, b""

    result = run(rush_at(RushServer(open_round(packets=40), twist=twist), one_each(40), 40, connections=8))
    assert count_endings(result.observations) == {"lost": 40, "granted": 40}
    assert result.observations.repeat.sum() == 40
    assert result.breaches == {}
    assert result.reconnects >= 40


@pytest.mark.parametrize(
    "body",
    [b"{}", b'{"outcome":"jackpot"}', b'{"outcome":"granted"}', b'{"outcome":"not_open","opens_at":"soon"}', b""],
)
def test_an_answer_outside_the_contract_is_malformed(body: bytes) -> None:
    result = run(rush_at(RushServer(open_round(1), twist=lambda *_: (200, {}, body)), one_each(2), 2))
    assert count_endings(result.observations) == {"malformed": 2 * SWIFT.attempts_max}


@pytest.mark.parametrize(
    "reply",
    [
        (503, {"Content-Type": "text/html"}, b"<h1>503 Service Temporarily Unavailable</h1>"),
        (502, {"Content-Type": "application/problem+json"}, b"{}"),
        (500, refusal(503)[1], refusal(503)[2]),
    ],
)
def test_an_error_page_is_no_refusal(reply: Reply) -> None:
    result = run(rush_at(RushServer(open_round(1), twist=lambda *_: reply), one_each(2), 2))
    assert count_endings(result.observations) == {"malformed": 2 * SWIFT.attempts_max}


def test_no_answer_at_all_ends_as_a_timeout() -> None:
    async def silent() -> CrowdResult:
        server = RushServer(open_round(packets=5))
        server.stall = (time.time(), time.time() + 60)
        return await rush_at(server, one_each(3), 3, answer_deadline_s=0.2)

    assert count_endings(run(silent()).observations) == {"timeout": 3 * SWIFT.attempts_max}


def test_a_server_that_is_not_there_is_a_fault_with_its_address() -> None:
    async def nobody() -> CrowdResult:
        listening = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        listening.close()
        await listening.wait_closed()
        target = Target("127.0.0.1", port, ("r1",))
        plan_ = CrowdPlan(target=target, tickets=tickets_for(1), schedule=one_each(1), starts_us=0, connections=1)
        return await Crowd(plan_).run()

    with pytest.raises(CrowdFailed, match="nobody answers at 127"):
        run(nobody())
