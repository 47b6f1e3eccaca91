"""The client over real sockets: against a real server, and against gates that refuse, vanish and babble."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from redrush.client.participant import Participant, Result, Shown
from redrush.client.policy import Showing
from redrush.core.load.client_policy import ClientPolicy
from redrush.core.rush.outcomes import Outcome
from redrush.http import answers
from tests.client.gates import Saying, serving, told

SWIFT = msgspec.structs.replace(
    ClientPolicy(), interval_ms=10, backoff_first_ms=20, backoff_max_ms=40, come_back_ms=40, throttle_window_ms=50,
    answer_deadline_ms=300,
)  # fmt: skip
GRANTED = json.dumps(
    {
        "outcome": "granted",
        "grant": {
            "id": "t-r1-0", "round": "r1", "slot": 0, "amount": "1.00", "currency": "CNY",
            "granted_at": "2027-02-06T12:00:00Z", "receipt": "rr1",
        },
        "repeat": False,
    }
).encode()  # fmt: skip
EMPTY = answers.json_answer({"outcome": "empty"})


def after_policy(claims: Callable[[int], bytes | None], policy: ClientPolicy = SWIFT) -> Saying:
    """Serve the policy; answer the n-th claim with `claims(n)`."""
    asked = 0

    def saying(method: str, path: str) -> bytes | None:
        nonlocal asked
        if path == "/v1/policy":
            return answers.answer(200, msgspec.json.encode(policy))
        if method == "GET":
            return answers.NOT_FOUND
        asked += 1
        return claims(asked)

    return saying


async def grab_at(*urls: str, draw: Callable[[], float] = lambda: 0.95) -> tuple[Result, list[Shown]]:
    shown: list[Shown] = []
    async with Participant(urls, "ticket", show=shown.append, draw=draw) as participant:
        return await participant.grab("r1"), shown


def test_a_participant_waits_for_the_opening_and_gets_a_packet_from_a_real_server(tmp_path: Path) -> None:
    client = 'start_window = "100ms"\ninterval = "200ms"\n'
    client += '[client.texts.fr]\nasking = "…"\nwaiting = "patience"\ngiven_up = "désolé"\n'

    async def rush(url: str, tickets: list[str]) -> tuple[Result, Result, ClientPolicy, list[Shown]]:
        shown: list[Shown] = []
        async with (
            Participant([url], tickets[0], show=shown.append) as alice,
            Participant([url + "/"], tickets[1]) as bob,
        ):
            first = await alice.grab("r1")
            again = await alice.grab("r1")
            assert again.grant == first.grant
            return first, await bob.grab("r1"), alice.policy, shown

    with serving(tmp_path, 8, client, ["alice", "bob"]) as (url, opens_s, tickets):
        won, lost, policy, shown = asyncio.run(rush(url, tickets))
    assert (won.outcome, won.showing, won.requests) == (Outcome.GRANTED, Showing.DECIDED, 1)
    assert won.grant is not None
    assert (won.grant.amount, won.grant.currency) == ("1.00", "CNY")
    late_s = won.grant.granted_at.timestamp() - opens_s
    assert 0 <= late_s < 4.0  # window, age of the freshest time, and a busy machine
    assert (lost.outcome, lost.grant) == (Outcome.EMPTY, None)
    assert (policy.start_window_ms, policy.interval_ms, policy.texts["fr"].waiting) == (100, 200, "patience")
    assert [step.showing for step in shown[:3]] == [Showing.BEFORE, Showing.ASKING, Showing.DECIDED]


def test_a_refused_claim_is_asked_again_not_before_retry_after_and_the_person_is_told() -> None:
    async def rush() -> tuple[Result, list[Shown], list[float]]:
        def claims(number: int) -> bytes:
            return answers.STORE_SLOW if number == 1 else answers.answer(200, GRANTED)

        async with told(after_policy(claims)) as gate:
            return *await grab_at(gate.url), gate.claims_s

    result, shown, claims_s = asyncio.run(rush())
    assert result.outcome is Outcome.GRANTED
    assert result.requests == len(claims_s) == 2
    assert claims_s[1] - claims_s[0] >= 1.0
    waiting = next(step for step in shown if step.showing is Showing.WAITING)
    assert "no answer for you yet" in waiting.text
    assert waiting.next_in_s is not None


@pytest.mark.parametrize(
    "fault",
    [
        None,
        b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n<html>hello</ht",
        b"HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n" + b'{"outcome": "granted"}',
        b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + b" " * 900_000,
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"",
    ],
    ids=["dropped", "portal", "no grant", "endless", "redirect", "nonsense", "silent"],
)
def test_whatever_is_not_an_answer_becomes_waiting_and_then_giving_up(fault: bytes | None) -> None:
    async def rush() -> tuple[Result, list[Shown], int]:
        async with told(after_policy(lambda _: fault)) as gate:
            return *await grab_at(gate.url), len(gate.claims_s)

    result, shown, claims = asyncio.run(rush())
    assert (result.showing, result.outcome, result.status) == (Showing.GIVEN_UP, None, 0)
    assert claims == result.requests == SWIFT.attempts_max
    assert shown[-1].text == SWIFT.texts["en"].given_up


def test_nobody_there_ends_in_giving_up_with_the_policy_that_was_carried_along() -> None:
    async def rush() -> tuple[Result, ClientPolicy]:
        async with told(lambda *_: None) as gate:
            url = gate.url
        async with Participant([url], "ticket", draw=lambda: 0.5) as participant:
            participant._asking.policy = SWIFT
            return await participant.grab("r1"), participant.policy

    result, policy = asyncio.run(rush())
    assert (result.showing, result.status) == (Showing.GIVEN_UP, 0)
    assert policy == SWIFT


def test_a_bad_ticket_is_final() -> None:
    async def rush() -> tuple[Result, list[Shown]]:
        async with told(after_policy(lambda _: answers.NO_TICKET)) as gate:
            return await grab_at(gate.url)

    result, _ = asyncio.run(rush())
    assert (result.showing, result.outcome, result.status, result.requests) == (Showing.REFUSED, None, 401, 1)


def test_another_gate_is_tried_when_a_refusal_says_so_and_only_once() -> None:
    full = answers.problem(503, "this gate is full", "Retry-After: 1\r\n", elsewhere=True)

    async def rush() -> tuple[Result, int, int]:
        async with (
            told(after_policy(lambda _: full)) as first,
            told(after_policy(lambda number: full if number == 1 else EMPTY)) as second,
        ):
            result, _ = await grab_at(first.url, second.url)
            return result, len(first.claims_s), len(second.claims_s)

    result, at_first, at_second = asyncio.run(rush())
    assert result.outcome is Outcome.EMPTY
    assert (at_first, at_second) == (1, 2)


def test_two_grabs_of_one_participant_never_run_at_once() -> None:
    async def rush() -> tuple[Result, Result, int]:
        async with (
            told(after_policy(lambda _: EMPTY), company_s=0.1) as gate,
            Participant([gate.url], "ticket") as participant,
        ):
            first, second = await asyncio.gather(participant.grab("r1"), participant.grab("r1"))
            return first, second, gate.at_once_max

    first, second, at_once_max = asyncio.run(rush())
    assert (first.outcome, second.outcome, at_once_max) == (Outcome.EMPTY, Outcome.EMPTY, 1)


def test_a_gate_must_be_a_url() -> None:
    with pytest.raises(ValueError, match="URLs"):
        Participant(["127.0.0.1:8080"], "ticket")
    with pytest.raises(ValueError, match="at least one gate"):
        Participant([], "ticket")


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "The event cannot be reached (http://127.0.0.1:9: connection refused). Trying again by itself"),
        ("zh-CN", "连不上活动的服务（http://127.0.0.1:9: connection refused）。约"),
        ("fr", "The event cannot be reached (http://127.0.0.1:9: connection refused)."),
    ],
)
async def test_where_nothing_listens_nobody_is_told_of_a_crowd(language: str, told: str) -> None:
    waiting: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def show(shown: Shown) -> None:
        if shown.showing is Showing.WAITING and not waiting.done():
            waiting.set_result(shown.text)

    async with Participant(["http://127.0.0.1:9"], "ticket", language=language, show=show) as participant:
        asking = asyncio.create_task(participant.grab("r1"))
        assert (await waiting).startswith(told)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def test_a_gate_that_vanishes_after_an_answer_is_spoken_of_as_ever() -> None:
    """The policy was served, so there is an event, with texts of its own."""
    async with told(after_policy(lambda _claim: None)) as gate:
        _, shown = await grab_at(gate.url)
    texts = SWIFT.texts["en"]
    assert shown[-1].text == texts.given_up
