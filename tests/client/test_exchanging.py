"""Participants whose tickets must be exchanged: the work is theirs, before the opening, and blocks nothing."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from redrush.client.exchanging import HASHES_MAX, RESTS_MAX, TRIES_AT_ONCE, solve
from redrush.client.participant import Participant, Result
from redrush.client.policy import Showing
from redrush.core.identity.proof_of_work import Challenge, Challenger, ProofOfWork, Verdict
from redrush.core.identity.tickets import KeyRing, Ticket, sign_ticket
from redrush.core.rush.outcomes import Outcome
from redrush.http import answers
from tests.client.gates import serving, told
from tests.client.test_participant import GRANTED, SWIFT

RING = KeyRing("k1", {"k1": b"t" * 32})
CHALLENGER = Challenger(RING, ProofOfWork(max_number=5_000))
NOW_S = 1_800_000_000
TICKET = sign_ticket(RING, "alice", NOW_S)
PROVEN = sign_ticket(RING, "alice", NOW_S, proven=True)
CHALLENGE = CHALLENGER.challenge("alice", NOW_S)
ASKS_FOR_WORK = msgspec.structs.replace(SWIFT, proof_of_work=True)
SOLD = answers.json_answer({"ticket": PROVEN, "expires_at": "2027-01-15T08:00:00Z"})


def test_the_work_is_done_before_the_opening_and_the_first_claim_wins_from_a_real_server(tmp_path: Path) -> None:
    rest = 'start_window = "100ms"\n[tickets]\nproof_of_work = true\nmax_number = 20000\nrest = "500ms"\n'

    async def rush_of_two(url: str, tickets: list[str]) -> tuple[Result, Result, Result]:
        async with Participant([url], tickets[0]) as alice, Participant([url], tickets[1]) as bob:
            first = await alice.grab("r1")
            return first, await alice.grab("r1"), await bob.grab("r1")

    with serving(tmp_path, 6, rest, ["alice", "bob"]) as (url, opens_s, tickets):
        won, again, lost = asyncio.run(rush_of_two(url, tickets))
    assert (won.outcome, won.showing, won.status, won.requests) == (Outcome.GRANTED, Showing.DECIDED, 200, 1)
    assert won.grant is not None
    assert 0 <= won.grant.granted_at.timestamp() - opens_s < 4.0
    assert again.grant == won.grant
    # Bob comes while the counter may still rest, exchanges when it opens, and hears what everybody hears.
    assert (lost.outcome, lost.requests) == (Outcome.EMPTY, 1)


async def rush(
    *grabs: bytes,
    asks_for_work: bool = True,
    challenge: bytes | None = None,
    ticket: str = TICKET,
    sold: bytes = SOLD,
) -> tuple[Result, list[str]]:
    """Grab once, at a gate that answers claims with `grabs` in turn; return the result and what was asked."""
    asked: list[str] = []
    claims = iter(grabs)

    def saying(method: str, path: str) -> bytes | None:
        asked.append(path)
        if path == "/v1/policy":
            return answers.answer(200, msgspec.json.encode(ASKS_FOR_WORK if asks_for_work else SWIFT))
        if path == "/v1/challenge":
            return challenge or answers.answer(200, msgspec.json.encode(CHALLENGE))
        if path == "/v1/ticket":
            return sold
        return next(claims) if path.endswith("/grab") else answers.NOT_FOUND

    async with told(saying) as gate, Participant([gate.url], ticket, draw=lambda: 0.95) as participant:
        return await participant.grab("r1"), asked


async def test_a_gate_that_says_so_only_when_asked_is_answered_with_work_and_asked_again() -> None:
    result, asked = await rush(answers.UNPROVEN_TICKET, answers.answer(200, GRANTED), asks_for_work=False)
    assert (result.outcome, result.requests) == (Outcome.GRANTED, 2)
    assert [path for path in asked if "round" not in path] == ["/v1/policy", "/v1/challenge", "/v1/ticket"]


async def test_a_proven_ticket_is_not_exchanged_and_its_refusal_is_final() -> None:
    result, asked = await rush(answers.UNPROVEN_TICKET, ticket=PROVEN)
    assert (result.showing, result.status) == (Showing.REFUSED, 401)
    assert "/v1/challenge" not in asked


async def test_a_counter_that_is_away_is_asked_again_until_the_client_gives_up_and_nothing_is_claimed() -> None:
    busy = answers.problem(503, "later", "Retry-After: 0\r\n")
    result, asked = await rush(challenge=busy)
    assert (result.showing, result.outcome, result.requests) == (Showing.GIVEN_UP, None, 0)
    assert asked.count("/v1/challenge") == SWIFT.attempts_max


async def test_a_counter_that_rests_is_waited_for_and_nothing_counts_as_failed() -> None:
    resting = answers.problem(503, "later", "Retry-After: 0\r\n", resting=True)
    result, asked = await rush(challenge=resting)
    assert result.showing is Showing.GIVEN_UP
    assert asked.count("/v1/challenge") == RESTS_MAX + SWIFT.attempts_max


async def test_a_refused_solution_is_final() -> None:
    result, asked = await rush(sold=answers.problem(400, "wrong"))
    assert (result.showing, result.requests) == (Showing.REFUSED, 0)
    assert asked.count("/v1/ticket") == 1


@pytest.mark.parametrize(
    "challenge",
    [
        msgspec.structs.replace(CHALLENGE, maxnumber=HASHES_MAX + 1),
        msgspec.structs.replace(CHALLENGE, challenge="0" * 64),
    ],
    ids=["endless", "unsolvable"],
)
async def test_nobody_works_for_a_challenge_that_cannot_be_met(challenge: Challenge) -> None:
    result, asked = await rush(challenge=answers.answer(200, msgspec.json.encode(challenge)))
    assert (result.showing, result.requests) == (Showing.REFUSED, 0)
    assert "/v1/ticket" not in asked


async def test_the_event_loop_goes_on_while_a_challenge_is_solved() -> None:
    turns = 0

    async def watch() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    assert await solve(msgspec.structs.replace(CHALLENGE, challenge="0" * 64, maxnumber=30 * TRIES_AT_ONCE)) is None
    watching.cancel()
    assert turns >= 30


async def test_what_is_solved_is_what_a_gate_accepts() -> None:
    solution = await solve(CHALLENGE)
    assert solution is not None
    assert CHALLENGER.judge(solution, Ticket("alice", NOW_S), NOW_S) is Verdict.ACCEPTED
