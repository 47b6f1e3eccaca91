"""Exchanging tickets over real sockets: what must be brought, what it buys, and what claims notice of it (nothing)."""

import base64
import json
from typing import Any

import msgspec
import pytest

from redrush.core.identity.proof_of_work import Challenge, ProofOfWork, tries
from redrush.core.identity.tickets import Ticket, TicketVerifier, sign_ticket
from redrush.core.steering.switches import Snapshot, registry_of
from tests.gate.world import (
    OPENS_US,
    SECOND_US,
    TICKET_RING,
    Answer,
    Client,
    RunningGate,
    request,
    running_gate,
)

JSON = ("Content-Type: application/json",)
TERMS = ProofOfWork(max_number=200, challenge_lasts_s=60, rest_us=2 * SECOND_US)
BEFORE_US = OPENS_US - 600 * SECOND_US
GRAB = "/v1/rounds/r1/grab"


def switched(gate: RunningGate, name: str, value: float) -> None:
    registry = registry_of([("r1", None), ("r2", None)], [], TERMS.exchanges_per_s)
    values = {known: switch.default for known, switch in registry.items()}
    assert name in values
    gate.gate.switches.apply(Snapshot(1, values | {name: value}))


async def challenge_of(client: Client, ticket: str) -> Challenge:
    answer = await client.ask(request("GET", "/v1/challenge", ticket))
    assert answer.status == 200, answer.raw
    return msgspec.json.decode(answer.body, type=Challenge)


def solution_of(challenge: Challenge) -> str:
    solution = list(tries(challenge, 1_000))[-1]
    assert solution is not None
    return solution


async def bring(client: Client, ticket: str, body: dict[str, Any]) -> Answer:
    return await client.ask(request("POST", "/v1/ticket", ticket, json.dumps(body).encode(), JSON))


async def exchanged(client: Client, ticket: str) -> str:
    answer = await bring(client, ticket, {"altcha": solution_of(await challenge_of(client, ticket))})
    assert answer.status == 200, answer.raw
    proven: str = answer.json["ticket"]
    return proven


async def test_a_solved_challenge_buys_a_ticket_of_the_same_user_and_expiry_that_claims() -> None:
    async with running_gate(now_us=BEFORE_US, proof_of_work=TERMS) as gate:
        client = await gate.connect()
        ticket = gate.ticket("alice", 3_600)
        challenge = await client.ask(request("GET", "/v1/challenge", ticket))
        assert challenge.headers["cache-control"] == "no-store"
        assert sorted(challenge.json) == ["algorithm", "challenge", "maxnumber", "salt", "signature"]
        proven = await bring(client, ticket, {"altcha": solution_of(await challenge_of(client, ticket))})
        assert proven.headers["cache-control"] == "no-store"
        expires_s = BEFORE_US // SECOND_US + 3_600
        assert proven.json["expires_at"] == "2027-01-15T08:50:00.000000Z"
        stated = TicketVerifier(TICKET_RING, plain=False).verify(proven.json["ticket"].encode())
        assert stated == Ticket("alice", expires_s)
        gate.at(OPENS_US)
        won = await client.ask(request("POST", GRAB, proven.json["ticket"]))
        assert won.outcome == "granted"
        again = await client.ask(request("POST", GRAB, proven.json["ticket"]))
        assert (again.json["repeat"], again.json["grant"]) == (True, won.json["grant"])
        own = await client.ask(request("GET", "/v1/grants", proven.json["ticket"]))
        assert own.json["grants"] == [won.json["grant"]]


async def test_an_unproven_ticket_claims_nothing_and_is_told_where_to_go() -> None:
    async with running_gate(proof_of_work=TERMS) as gate:
        client = await gate.connect()
        for _ in range(3):  # a head that is known does not help
            refused = await client.grab("alice")
            assert refused.status == 401
            assert refused.json["exchange"] == {"challenge": "/v1/challenge", "ticket": "/v1/ticket"}
            assert "proof of work" in refused.json["detail"]
            proven = sign_ticket(TICKET_RING, "bob", OPENS_US // SECOND_US + 60, proven=True)
            assert (await client.ask(request("POST", GRAB, proven))).outcome == "granted"
            refused = await client.ask(request("GET", "/v1/grants", gate.ticket("alice")))
            assert (refused.status, "exchange" in refused.json) == (401, True)
        assert (await client.ask(request("POST", GRAB, "k1+" + gate.ticket("alice")[2:]))).status == 401
        assert "exchange" not in (await client.ask(request("POST", GRAB, "nonsense"))).json
        assert [call for call in gate.store.calls if "alice" in call] == []


async def test_after_an_exchange_the_old_ticket_still_claims_nothing_on_any_connection() -> None:
    async with running_gate(now_us=BEFORE_US, proof_of_work=TERMS) as gate:
        first, second = await gate.connect(), await gate.connect()
        ticket = gate.ticket("alice", 3_600)
        proven = await exchanged(first, ticket)
        gate.at(OPENS_US)
        for client in (first, second, first):
            assert (await client.ask(request("POST", GRAB, proven))).status == 200
            assert (await client.ask(request("POST", GRAB, ticket))).status == 401


async def test_the_counter_takes_unproven_tickets_only() -> None:
    async with running_gate(now_us=BEFORE_US, proof_of_work=TERMS) as gate:
        client = await gate.connect()
        proven = await exchanged(client, gate.ticket("alice"))
        expired = gate.ticket("alice", 0)
        for wrong in (proven, expired, "nonsense", "x" * 500, None):
            for asked in (("GET", "/v1/challenge"), ("POST", "/v1/ticket")):
                for _ in range(2):
                    assert (await client.ask(request(*asked, wrong))).status == 401, (asked, wrong)
        assert (await client.ask(request("POST", "/v1/challenge", gate.ticket("alice")))).status == 405
        assert (await client.ask(request("GET", "/v1/ticket", gate.ticket("alice")))).status == 405


async def test_a_connection_that_fetched_one_challenge_gets_no_other_users_by_it() -> None:
    async with running_gate(now_us=BEFORE_US, proof_of_work=TERMS) as gate:
        client = await gate.connect()
        for _ in range(3):
            for user in ("alice", "bob"):
                assert f"user={user}&" in (await challenge_of(client, gate.ticket(user))).salt


def _with(solution: str, **fields: Any) -> str:
    return base64.b64encode(json.dumps(json.loads(base64.b64decode(solution)) | fields).encode()).decode()


async def test_a_bad_solution_is_refused_with_its_reason_and_the_next_second_may_be_tried_again() -> None:
    async with running_gate(now_us=BEFORE_US, proof_of_work=TERMS) as gate:
        client = await gate.connect()
        ticket = gate.ticket("alice")
        solution = solution_of(await challenge_of(client, ticket))
        bobs = solution_of(await challenge_of(client, gate.ticket("bob")))
        cases: list[tuple[dict[str, Any], str]] = [
            ({}, "unreadable"),
            ({"altcha": 5}, "unreadable"),
            ({"altcha": "…"}, "unreadable"),
            ({"altcha": _with(solution, number=201)}, "wrong"),
            ({"altcha": _with(solution, signature="k1." + "0" * 32)}, "forged"),
            ({"altcha": bobs}, "foreign"),
        ]
        for body, reason in cases:
            gate.advance(1)
            refused = await bring(client, ticket, body)
            assert (refused.status, refused.json["reason"]) == (400, reason), body
        empty = await client.ask(request("POST", "/v1/ticket", ticket))
        assert empty.status == 429
        gate.advance(1)
        assert (await client.ask(request("POST", "/v1/ticket", ticket))).json["reason"] == "unreadable"
        gate.at(gate.clock.now_us + 120 * SECOND_US)
        assert (await bring(client, ticket, {"altcha": solution})).json["reason"] == "expired"
        assert (await bring(client, gate.ticket("carol"), {"altcha": solution})).json["reason"] == "foreign"
        assert gate.gate.exchange is not None
        assert gate.gate.exchange.counts == {
            "unreadable": 4, "wrong": 1, "forged": 1, "foreign": 2, "expired": 1, "busy": 1,
        }  # fmt: skip


async def test_a_solution_that_is_brought_again_buys_the_same_ticket_and_no_other_at_every_gate() -> None:
    async with (
        running_gate(now_us=BEFORE_US, proof_of_work=TERMS) as gate,
        running_gate(now_us=BEFORE_US, proof_of_work=TERMS) as other,
    ):
        client, elsewhere = await gate.connect(), await other.connect()
        ticket = gate.ticket("alice")
        challenge = await challenge_of(client, ticket)
        assert await challenge_of(elsewhere, ticket) == challenge
        bought = set()
        for _ in range(3):
            for counter in (client, elsewhere):
                bought.add((await bring(counter, ticket, {"altcha": solution_of(challenge)})).body)
            gate.advance(1)
            other.advance(1)
        assert len(bought) == 1


async def test_one_user_cannot_use_up_what_a_gate_checks_in_a_second() -> None:
    terms = msgspec.structs.replace(TERMS, exchanges_per_s=3)
    async with running_gate(now_us=BEFORE_US, proof_of_work=terms) as gate:
        client = await gate.connect()
        statuses = [(await bring(client, gate.ticket("bot"), {"altcha": "x"})).status for _ in range(5)]
        assert statuses == [400, 429, 429, 429, 429]
        await exchanged(client, gate.ticket("alice"))
        await exchanged(client, gate.ticket("bob"))
        full = await bring(client, gate.ticket("carol"), {"altcha": "x"})
        assert (full.status, full.headers["retry-after"]) == (503, "2")
        gate.advance(1)
        await exchanged(client, gate.ticket("carol"))


@pytest.mark.parametrize(
    ("from_opening_us", "retry_after"),
    [
        (-2 * SECOND_US, None),
        (-2 * SECOND_US + 1, "4"),
        (0, "2"),
        (1_500_000, "1"),
        (2 * SECOND_US, None),
        (3_600 * SECOND_US, "2"),
    ],
)
async def test_the_counter_rests_around_every_opening(from_opening_us: int, retry_after: str | None) -> None:
    async with running_gate(now_us=OPENS_US + from_opening_us, proof_of_work=TERMS) as gate:
        client = await gate.connect()
        fetched = await client.ask(request("GET", "/v1/challenge", gate.ticket("alice")))
        brought = await bring(client, gate.ticket("alice"), {"altcha": "x"})
        if retry_after is None:
            assert (fetched.status, brought.status) == (200, 400)
        else:
            assert (fetched.status, brought.status) == (503, 503)
            assert fetched.json["resting"] is True
            assert fetched.headers["retry-after"] == brought.headers["retry-after"] == retry_after


async def test_the_switch_for_what_is_no_claim_closes_the_counter_too() -> None:
    async with running_gate(now_us=BEFORE_US, proof_of_work=TERMS) as gate:
        client = await gate.connect()
        ticket = gate.ticket("alice")
        solution = solution_of(await challenge_of(client, ticket))
        switched(gate, "sampling.non_core", 0.0)
        assert (await client.ask(request("GET", "/v1/challenge", ticket))).status == 503
        assert (await bring(client, ticket, {"altcha": solution})).status == 503
        switched(gate, "sampling.non_core", 1.0)
        assert (await bring(client, ticket, {"altcha": solution})).status == 200


async def test_operators_choose_how_many_tickets_are_exchanged_while_it_runs() -> None:
    async with running_gate(now_us=BEFORE_US, proof_of_work=TERMS) as gate:
        client = await gate.connect()
        switched(gate, "tickets.exchanges_per_second", 0.0)
        assert (await bring(client, gate.ticket("alice"), {"altcha": "x"})).status == 503
        switched(gate, "tickets.exchanges_per_second", 1.0)
        await exchanged(client, gate.ticket("alice"))
        assert (await bring(client, gate.ticket("bob"), {"altcha": "x"})).status == 503
        without = registry_of([("r1", None), ("r2", None)], [])
        gate.gate.switches.apply(Snapshot(1, {name: switch.default for name, switch in without.items()}))
        assert (await bring(client, gate.ticket("bob"), {"altcha": "x"})).status == 503


async def test_the_policy_says_whether_tickets_must_be_exchanged() -> None:
    for terms in (None, TERMS):
        async with running_gate(proof_of_work=terms) as gate:
            client = await gate.connect()
            policy = await client.ask(request("GET", "/v1/policy"))
            assert policy.json["proof_of_work"] is (terms is not None)


async def test_without_proof_of_work_both_kinds_of_tickets_claim_and_there_is_no_counter() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        assert (await client.grab("alice")).outcome == "granted"
        proven = sign_ticket(TICKET_RING, "alice", OPENS_US // SECOND_US + 60, proven=True)
        assert (await client.ask(request("POST", GRAB, proven))).json["repeat"] is True
        assert (await client.ask(request("GET", "/v1/challenge", gate.ticket("alice")))).status == 404


async def test_claims_go_on_while_many_bring_nonsense() -> None:
    terms = msgspec.structs.replace(TERMS, exchanges_per_s=10, rest_us=0)
    async with running_gate(proof_of_work=terms, packets=50) as gate:
        bots = [await gate.connect() for _ in range(20)]
        good = await gate.connect()
        for second in range(3):
            for number, bot in enumerate(bots):
                await bot.send(request("POST", "/v1/ticket", gate.ticket(f"bot{number}"), b'{"altcha":"x"}', JSON))
            proven = sign_ticket(TICKET_RING, f"u{second}", OPENS_US // SECOND_US + 60, proven=True)
            assert (await good.ask(request("POST", GRAB, proven))).outcome == "granted"
            statuses = sorted([(await bot.answer()).status for bot in bots])
            assert statuses == [400] * 10 + [503] * 10
            gate.advance(1)
