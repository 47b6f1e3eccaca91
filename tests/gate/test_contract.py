"""The HTTP contract, outcome by outcome and refusal by refusal, as a client sees it."""

from typing import Any

import pytest

from redrush.core.identity.receipts import Receipt, verify_receipt
from redrush.core.identity.tickets import KeyRing, sign_ticket
from redrush.core.rush.instants import rfc3339
from redrush.http.reader import Limits
from redrush.ports.store import PotState
from tests.gate.world import (
    AMOUNTS_MINOR,
    CLOSES_US,
    OPENS_US,
    RECEIPT_RING,
    SECOND_US,
    Answer,
    request,
    running_gate,
)

GRAB = "/v1/rounds/r1/grab"


# -- outcomes


async def test_a_grant_has_exactly_the_agreed_shape() -> None:
    async with running_gate(now_us=OPENS_US + 1_234_567) as gate:
        answer = await (await gate.connect()).grab("alice")
        grant = answer.json["grant"]
        receipt = grant.pop("receipt")
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json == {"outcome": "granted", "grant": grant | {"receipt": receipt}, "repeat": False}
        assert grant == {
            "id": "cny-r1-0",
            "round": "r1",
            "slot": 0,
            "amount": "1.20",
            "currency": "CNY",
            "granted_at": "2027-01-15T08:00:01.234567Z",
        }
        assert verify_receipt(RECEIPT_RING, receipt) == Receipt(
            "cny", "r1", 0, 120, "CNY", "alice", OPENS_US + 1_234_567
        )


async def test_amounts_are_those_of_the_slots_in_order() -> None:
    async with running_gate(packets=5) as gate:
        client = await gate.connect()
        amounts = [(await client.grab(f"u{number}")).json["grant"]["amount"] for number in range(5)]
        assert amounts == ["1.20", "0.05", "333.00", "7.00", "200.00"]
        assert len(amounts) == len(AMOUNTS_MINOR)


async def test_a_repeat_gets_the_same_grant_said_to_be_a_repeat() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        first = await client.grab("alice")
        gate.at(OPENS_US + 7 * SECOND_US)
        again = await client.grab("alice")
        assert again.json == first.json | {"repeat": True}


async def test_two_claims_of_one_user_in_flight_get_one_grant() -> None:
    async with running_gate() as gate:
        gate.store.hold()
        clients = [await gate.connect() for _ in range(2)]
        for client in clients:
            await client.send(gate.grab("alice"))
        await gate.parked(2)
        gate.store.let_go()
        found = sorted([(await client.answer()).json for client in clients], key=lambda fields: fields["repeat"])
        assert [fields["repeat"] for fields in found] == [False, True]
        assert found[0]["grant"] == found[1]["grant"]


async def test_an_empty_round_says_so() -> None:
    async with running_gate(packets=1) as gate:
        client = await gate.connect()
        await client.grab("alice")
        answers = [await client.grab("bob") for _ in range(3)]
        assert [answer.json for answer in answers] == [{"outcome": "empty"}] * 3
        assert gate.store.calls == [("alice",), ("bob",)], "once it is known to be empty, the store is not asked"


async def test_slots_that_were_given_to_a_sold_out_round_can_be_claimed() -> None:
    async with running_gate(packets=1) as gate:
        client = await gate.connect()
        await client.grab("alice")
        assert (await client.grab("bob")).outcome == "empty"
        await gate.store.give("r1", (gate.campaign.rounds[1].slots,), "leftover:r2")
        gate.rounds["r1"].knows.refilled()
        assert (await client.grab("bob")).json["grant"]["slot"] == 1


async def test_a_refill_while_the_store_answers_empty_is_not_forgotten() -> None:
    async with running_gate(packets=1) as gate:
        client = await gate.connect()
        await client.grab("alice")
        gate.store.hold()
        await client.send(gate.grab("bob"))
        await gate.asked(2)
        gate.rounds["r1"].knows.refilled()
        gate.store.let_go()
        assert (await client.answer()).outcome == "empty"
        assert not gate.rounds["r1"].sold_out


async def test_the_shake_filter_tells_most_that_they_missed() -> None:
    async with running_gate(release_per_s=10.0, draw=lambda: 0.999_999, packets=50) as gate:
        client = await gate.connect()
        outcomes = [(await client.grab(f"u{number}")).outcome for number in range(20)]
        assert outcomes.count("missed") >= 17
        assert outcomes.count("granted") == len(gate.store.calls) <= 3


async def test_who_is_not_in_the_audience_is_not_eligible() -> None:
    async with running_gate(audience={"alice"}) as gate:
        client = await gate.connect()
        assert (await client.grab("mallory")).json == {"outcome": "not_eligible"}
        assert (await client.grab("alice")).outcome == "granted"


async def test_a_round_that_is_not_open_says_when_it_opens() -> None:
    async with running_gate(now_us=OPENS_US - 5 * SECOND_US) as gate:
        answer = await (await gate.connect()).grab("alice")
        assert answer.json == {
            "outcome": "not_open",
            "opens_at": "2027-01-15T08:00:00.000000Z",
            "server_time": "2027-01-15T07:59:55.000000Z",
        }


async def test_a_closed_round_says_so() -> None:
    async with running_gate(now_us=CLOSES_US) as gate:
        assert (await (await gate.connect()).grab("alice")).json == {"outcome": "closed"}


@pytest.mark.parametrize("body", [b"", b"{}", b'{"nonce":"1"}', b' { "a" : [1, {"b": null}] } '])
async def test_a_claim_may_carry_a_json_object_or_nothing(body: bytes) -> None:
    async with running_gate() as gate:
        headers = ("Content-Type: application/json; charset=utf-8",) if body else ()
        client = await gate.connect()
        answer = await client.ask(request("POST", GRAB, gate.ticket("alice"), body, headers))
        assert answer.outcome == "granted"


async def test_a_chunked_body_is_a_body() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        head = request("POST", GRAB, gate.ticket("alice"), headers=("Content-Type: application/json",))
        head = head.replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        assert (await client.ask(head + b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n")).outcome == "granted"
        assert (await client.ask(head + b"1\r\n{\r\n0\r\n\r\n")).status == 400


# -- a winner stays a winner


async def test_a_winner_is_told_again_after_the_round_is_sold_out() -> None:
    async with running_gate(packets=1) as gate:
        client = await gate.connect()
        first = await client.grab("alice")
        assert (await client.grab("bob")).outcome == "empty"
        assert (await client.grab("alice")).json == first.json | {"repeat": True}


async def test_a_winner_is_told_again_after_the_close() -> None:
    async with running_gate() as gate:
        first = await (await gate.connect()).grab("alice")
        gate.at(CLOSES_US + 86_400 * SECOND_US)
        gate.tick()
        assert (await (await gate.connect()).grab("alice")).json == first.json | {"repeat": True}


async def test_a_winner_is_told_again_by_a_gate_that_was_started_since() -> None:
    async with running_gate(packets=1) as gate:
        first = await (await gate.connect()).grab("alice")
    async with running_gate(packets=1, store=gate.store, now_us=OPENS_US + SECOND_US) as restarted:
        client = await restarted.connect()
        assert (await client.grab("alice")).json == first.json | {"repeat": True}
        assert (await client.grab("bob")).outcome == "empty"
        assert gate.store.calls == [("alice",)], "both are known from the warm-up"


# -- refusals


def _assert_problem(answer: Answer, status: int) -> None:
    """RFC 9457, 3.1: the members have these types, and the status is the one of the answer."""
    problem: dict[str, Any] = answer.json
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert problem["type"] == "about:blank"
    assert isinstance(problem["title"], str)
    assert problem["title"]
    assert isinstance(problem["detail"], str)
    assert problem["detail"]
    assert answer.status == problem["status"] == status


@pytest.mark.parametrize(
    ("status", "method", "target", "body", "headers"),
    [
        (404, "GET", "/c", b"", ()),
        (404, "GET", "/v1/rounds/unknown", b"", ()),
        (404, "POST", "/v1/rounds/unknown/grab", b"", ()),
        (404, "POST", "/v1/rounds/r1/grab/", b"", ()),
        (404, "POST", "//v1/rounds/r1/grab", b"", ()),
        (404, "POST", "/v1/rounds/../rounds/r1/grab", b"", ()),
        (405, "GET", GRAB, b"", ()),
        (405, "DELETE", GRAB, b"", ()),
        (405, "OPTIONS", GRAB, b"", ()),
        (405, "POST", "/v1/rounds/r1", b"", ()),
        (405, "POST", "/v1/grants", b"", ()),
        (415, "POST", GRAB, b"{}", ()),
        (415, "POST", GRAB, b"{}", ("Content-Type: text/plain",)),
        (415, "POST", GRAB, b"a=b", ("Content-Type: application/x-www-form-urlencoded",)),
        (400, "POST", GRAB, b"[]", ("Content-Type: application/json",)),
        (400, "POST", GRAB, b"null", ("Content-Type: application/json",)),
        (400, "POST", GRAB, b'{"a":1', ("Content-Type: application/json",)),
        (400, "POST", GRAB, b"{}{}", ("Content-Type: application/json",)),
        (413, "POST", GRAB, b" " * 4_097, ("Content-Type: application/json",)),
        (431, "POST", GRAB, b"", (f"X-Padding: {'x' * 20_000}",)),
        (431, "GET", f"/livez?{'x' * 20_000}", b"", ()),
    ],
)
async def test_a_refusal_is_a_problem_document(
    status: int, method: str, target: str, body: bytes, headers: tuple[str, ...]
) -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        answer = await client.ask(request(method, target, gate.ticket("alice"), body, headers))
        _assert_problem(answer, status)
        assert gate.store.calls == []


@pytest.mark.parametrize(
    ("method", "target", "allowed"), [("GET", GRAB, "POST"), ("PUT", "/v1/rounds/r1", "GET, HEAD, OPTIONS")]
)
async def test_a_wrong_method_is_told_the_right_one(method: str, target: str, allowed: str) -> None:
    async with running_gate() as gate:
        answer = await (await gate.connect()).ask(request(method, target))
        assert answer.headers["allow"] == allowed


@pytest.mark.parametrize("target", [GRAB, "/v1/rounds/r1", "/v1/grants", "/livez", "/nowhere"])
async def test_an_answer_to_head_has_no_body(target: str) -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        await client.send(request("HEAD", target) + request("GET", "/livez"))
        assert (await client.answer(to_head=True)).status in {200, 401, 404, 405}
        assert (await client.answer()).json == {"status": "alive"}


OTHER_RING = KeyRing("k1", {"k1": b"x" * 32})
NEW_RING = KeyRing("k2", {"k2": b"y" * 32})
FAR_S = OPENS_US // SECOND_US + 3_600


@pytest.mark.parametrize(
    "credentials",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Basic YWxpY2U6c2VjcmV0",
        "Bearer " + sign_ticket(OTHER_RING, "alice", FAR_S),
        "Bearer " + sign_ticket(NEW_RING, "alice", FAR_S),
        "Bearer " + sign_ticket(KeyRing("k1", {"k1": b"t" * 32}), "alice", OPENS_US // SECOND_US),
        "Bearer " + "a" * 3_000,
        "Bearer \xe9\xe9.ff.alice.00",
    ],
)
@pytest.mark.parametrize(("method", "target"), [("POST", GRAB), ("GET", "/v1/grants")])
async def test_who_has_no_valid_ticket_is_asked_for_one(method: str, target: str, credentials: str | None) -> None:
    headers = () if credentials is None else (f"Authorization: {credentials}",)
    async with running_gate() as gate:
        client = await gate.connect()
        for _ in range(2):
            answer = await client.ask(request(method, target, headers=headers))
            _assert_problem(answer, 401)
            assert answer.headers["www-authenticate"].startswith('Bearer realm="redrush"')
        assert gate.store.calls == []


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
async def test_the_case_of_header_and_scheme_does_not_matter(name: str, scheme: str) -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        head = request("POST", GRAB, headers=(f"{name}: {scheme} {gate.ticket('alice')}",))
        assert [(await client.ask(head)).outcome for _ in range(3)] == ["granted"] * 3


@pytest.mark.parametrize("target", [f"{GRAB}?t=1&again=/", f"http://hongbao.example{GRAB}", f"HTTP://x:81{GRAB}?q"])
async def test_every_form_of_the_target_reaches_its_route(target: str) -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        head = request("POST", target, gate.ticket("alice"))
        assert [(await client.ask(head)).outcome for _ in range(2)] == ["granted"] * 2


async def test_too_many_parked_claims_are_told_to_come_back_and_the_others_are_decided() -> None:
    async with running_gate(limits=Limits(parked_max=2)) as gate:
        gate.store.hold()
        parked = [await gate.connect() for _ in range(2)]
        for number, client in enumerate(parked):
            await client.send(gate.grab(f"u{number}"))
        await gate.parked(2)
        refused = await (await gate.connect()).grab("late")
        _assert_problem(refused, 503)
        assert refused.headers["retry-after"] == "1"
        gate.store.let_go()
        assert [(await client.answer()).outcome for client in parked] == ["granted"] * 2
        assert (await (await gate.connect()).grab("late")).outcome == "granted"


# -- what can be read


@pytest.mark.parametrize(
    ("now_us", "state"),
    [
        (OPENS_US - 1, "not_open"),
        (OPENS_US, "open"),
        (CLOSES_US - 1, "open"),
        (CLOSES_US, "closed"),
    ],
)
async def test_the_state_of_a_round_changes_on_the_microsecond(now_us: int, state: str) -> None:
    async with running_gate(now_us=OPENS_US - 10 * SECOND_US) as gate:
        client = await gate.connect()
        assert (await client.ask(request("GET", "/v1/rounds/r1"))).json["state"] == "not_open"
        gate.at(now_us)
        answer = await client.ask(request("GET", "/v1/rounds/r1"))
        assert answer.headers["cache-control"] == "public, max-age=1"
        assert answer.json == {
            "round": "r1",
            "state": state,
            "opens_at": "2027-01-15T08:00:00.000000Z",
            "closes_at": "2027-01-15T08:01:00.000000Z",
            "server_time": rfc3339(now_us),
            "packets": 3,
            "interval_ms": 1_000,
        }


async def test_a_sold_out_round_says_so_at_once_and_is_closed_after_the_close() -> None:
    async with running_gate(packets=1) as gate:
        client = await gate.connect()
        await client.grab("alice")
        await client.grab("bob")
        assert (await client.ask(request("GET", "/v1/rounds/r1"))).json["state"] == "sold_out"
        gate.at(CLOSES_US)
        assert (await client.ask(request("GET", "/v1/rounds/r1"))).json["state"] == "closed"


async def test_the_server_time_of_a_round_is_renewed_every_second() -> None:
    async with running_gate() as gate:
        gate.advance(1)
        answer = await (await gate.connect()).ask(request("GET", "/v1/rounds/r1"))
        assert answer.json["server_time"] == "2027-01-15T08:00:01.000000Z"


async def test_a_caller_gets_the_own_grants_in_order_of_the_rounds() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        await client.grab("bob")
        first = await client.grab("alice")
        gate.at(OPENS_US + 3_600 * SECOND_US)
        second = await client.grab("alice", "r2")
        answer = await client.ask(request("GET", "/v1/grants", gate.ticket("alice")))
        assert answer.json == {"grants": [first.json["grant"], second.json["grant"]]}
        assert answer.headers["cache-control"] == "no-store"
        assert (await client.ask(request("GET", "/v1/grants", gate.ticket("carol")))).json == {"grants": []}


async def test_livez_needs_no_ticket() -> None:
    async with running_gate() as gate:
        answer = await (await gate.connect()).ask(request("GET", "/livez"))
        assert (answer.status, answer.json) == (200, {"status": "alive"})


async def test_answers_carry_the_date_of_the_injected_clock() -> None:
    async with running_gate(now_us=CLOSES_US) as gate:
        assert (await (await gate.connect()).grab("alice")).headers["date"] == "Fri, 15 Jan 2027 08:01:00 GMT"


# -- never early


@pytest.mark.parametrize(
    ("now_us", "outcome"),
    [
        (OPENS_US - 3_600 * SECOND_US, "not_open"),
        (OPENS_US - 1, "not_open"),
        (OPENS_US, "granted"),
        (CLOSES_US - 1, "granted"),
        (CLOSES_US, "closed"),
        (CLOSES_US + 1, "closed"),
    ],
)
async def test_a_round_opens_and_closes_on_the_microsecond(now_us: int, outcome: str) -> None:
    async with running_gate(now_us=now_us) as gate:
        assert (await (await gate.connect()).grab("alice")).outcome == outcome
        assert bool(gate.store.calls) is (outcome == "granted")


async def test_a_head_learned_before_the_opening_is_not_served_its_old_answer() -> None:
    async with running_gate(now_us=OPENS_US - 1) as gate:
        client = await gate.connect()
        head = gate.grab("alice")
        assert [(await client.ask(head)).outcome for _ in range(3)] == ["not_open"] * 3
        gate.at(OPENS_US)
        assert (await client.ask(head)).outcome == "granted"


async def test_a_claim_parked_before_the_close_is_granted_within_the_round() -> None:
    async with running_gate(now_us=CLOSES_US - 1) as gate:
        gate.store.hold()
        clients = [await gate.connect() for _ in range(2)]
        await clients[0].send(gate.grab("alice"))
        await gate.parked(1)
        await gate.asked(1)
        await clients[1].send(gate.grab("bob"))
        await gate.parked(2)
        gate.at(CLOSES_US + SECOND_US // 4)
        gate.store.let_go()
        for client in clients:
            granted_at = (await client.answer()).json["grant"]["granted_at"]
            assert rfc3339(OPENS_US) <= granted_at < rfc3339(CLOSES_US)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/rounds/r1"), ("GET", "/v1/rounds"), ("POST", "/v1/rounds/r1/grab")]
)
async def test_the_server_time_of_an_answer_is_at_most_ten_milliseconds_old(method: str, path: str) -> None:
    began_us = OPENS_US - SECOND_US
    async with running_gate(now_us=began_us) as gate:
        client = await gate.connect()
        ask = gate.grab("alice") if method == "POST" else request(method, path)
        for later_us in (0, 9_999, 10_000, 19_999, 25_000, 500_000):
            gate.at(began_us + later_us)
            told = (await client.ask(ask)).json["server_time"]
            assert rfc3339(began_us + later_us - 9_999) <= told <= rfc3339(began_us + later_us)


async def test_the_packets_of_a_round_count_what_has_joined_it() -> None:
    async with running_gate(packets=3) as gate:
        client = await gate.connect()
        assert (await client.ask(request("GET", "/v1/rounds/r1"))).json["packets"] == 3
        gate.rounds["r1"].knows.count_slots([PotState(left=2, claimed_ever=3)])
        gate.rounds["r1"].knows.count_slots(
            [PotState(left=1, claimed_ever=3)]
        )  # one of them is on its way between two sets
        assert (await client.ask(request("GET", "/v1/rounds/r1"))).json["packets"] == 5
