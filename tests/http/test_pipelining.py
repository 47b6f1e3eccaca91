"""Many requests on one connection, in whatever pieces they come: every answer once, in order, within bounds."""

import asyncio

import pytest

from redrush.http.connection import UNREAD_BYTES_MAX
from redrush.http.reader import Limits
from tests.gate.world import Answer, RunningGate, request, running_gate


def _told(answer: Answer) -> str:
    """What an answer is about, in a word: the slot of a grant, an outcome, a state, or the status."""
    fields = answer.json
    if "grant" in fields:
        return f"slot {fields['grant']['slot']}"
    return str(fields.get("outcome") or fields.get("state") or fields["status"])


def _mixed(gate: RunningGate) -> tuple[bytes, list[str]]:
    """Claims that park, and between them everything that is answered at once."""
    pieces = [
        (gate.grab("u0"), "slot 0"),
        (request("GET", "/livez"), "alive"),
        (gate.grab("u1"), "slot 1"),
        (gate.grab("u1"), "slot 1"),
        (request("GET", "/nowhere"), "404"),
        (request("POST", "/v1/rounds/r1/grab"), "401"),
        (gate.grab("u0", "r2"), "not_open"),
        (
            request("POST", "/v1/rounds/r1/grab", gate.ticket("u2"), b"{}", ("Content-Type: application/json",)),
            "slot 2",
        ),
        (request("GET", "/v1/rounds/r1"), "open"),
        (gate.grab("u3"), "empty"),
        (request("GET", "/v1/rounds/r1"), "sold_out"),
        (gate.grab("u2"), "slot 2"),
    ]
    return b"".join(data for data, _ in pieces), [told for _, told in pieces]


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with running_gate() as gate:
        data, expected = _mixed(gate)
        client = await gate.connect()
        await client.send(data)
        assert [_told(await client.answer()) for _ in expected] == expected


async def test_requests_that_come_byte_by_byte_are_answered_in_order() -> None:
    async with running_gate() as gate:
        data, expected = _mixed(gate)
        client = await gate.connect()
        await client.send_in_pieces(*(data[at : at + 1] for at in range(len(data))))
        assert [_told(await client.answer()) for _ in expected] == expected


async def test_requests_may_be_split_at_every_byte() -> None:
    async with running_gate() as gate:
        data = gate.grab("u0") + request("GET", "/livez") + gate.grab("u1")
        for at in range(1, len(data)):
            client = await gate.connect()
            await client.send_in_pieces(data[:at], data[at:])
            assert [_told(await client.answer()) for _ in range(3)] == ["slot 0", "alive", "slot 1"], at
            client.leave()


async def test_a_split_head_may_be_as_large_as_a_whole_one() -> None:
    async with running_gate(limits=Limits(head_bytes_max=2_000)) as gate:
        head = request("GET", "/livez", headers=(f"X-Padding: {'x' * 1_720}",))
        assert 1_900 < len(head) < 2_000
        client = await gate.connect()
        for at in (10, 1_000, len(head) - 1):
            await client.send_in_pieces(head[:at], head[at:])
            assert (await client.answer()).status == 200


async def test_requests_behind_a_split_one_do_not_count_towards_its_head() -> None:
    async with running_gate() as gate:
        head = request("GET", "/livez")
        behind = request("POST", "/nowhere", body=b"{" + b" " * 4_000 + b"}") * 20
        client = await gate.connect()
        await client.send_in_pieces(head[:20], head[20:] + behind)
        assert [(await client.answer()).status for _ in range(21)] == [200] + [404] * 20


async def test_the_answers_of_parked_claims_wait_for_the_ones_before() -> None:
    async with running_gate() as gate:
        gate.store.hold()
        client = await gate.connect()
        await client.send(gate.grab("u0") + request("GET", "/livez"))
        await gate.asked(1)
        await client.send(gate.grab("u1"))
        gate.store.let_go()
        assert [_told(await client.answer()) for _ in range(3)] == ["slot 0", "alive", "slot 1"]


async def test_as_many_requests_as_allowed_may_be_pipelined_and_one_more_ends_the_connection() -> None:
    async with running_gate(limits=Limits(pipelined_max=8)) as gate:
        client = await gate.connect()
        await client.send(request("GET", "/livez") * 8)
        assert [(await client.answer()).status for _ in range(8)] == [200] * 8
        await client.send(request("GET", "/livez") * 9)
        answers = await client.answers_until_closed()
        assert [answer.status for answer in answers] == [200] * 8 + [400]


async def test_what_a_client_sends_behind_a_parked_claim_is_bounded() -> None:
    async with running_gate() as gate:
        gate.store.hold()
        client = await gate.connect()
        await client.send(gate.grab("u0"))
        await gate.asked(1)
        flood = asyncio.create_task(client.send(b"\r\n" * 8_000_000))
        read_before = -1
        while gate.bytes_seen > read_before or gate.bytes_seen < UNREAD_BYTES_MAX:
            read_before = gate.bytes_seen
            for _ in range(50):
                await asyncio.sleep(0)
        assert gate.bytes_seen <= UNREAD_BYTES_MAX + 600_000, "it stops reading within a read or two of the bound"
        assert not flood.done()
        gate.store.let_go()
        assert _told(await client.answer()) == "slot 0"
        await flood
        assert _told(await client.ask(request("GET", "/livez"))) == "alive", "and reads on when the claim is decided"


async def test_a_client_that_half_closes_gets_every_answer_it_asked_for() -> None:
    async with running_gate() as gate:
        data, expected = _mixed(gate)
        gate.store.hold()
        client = await gate.connect()
        await client.send(data)
        client.end_sending()
        await gate.asked(1)
        gate.store.let_go()
        assert [_told(answer) for answer in await client.answers_until_closed()] == expected


async def test_a_client_that_half_closes_within_a_request_is_let_go() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        await client.send_in_pieces(request("GET", "/livez") + gate.grab("u0")[:-3])
        client.end_sending()
        assert [_told(answer) for answer in await client.answers_until_closed()] == ["alive"]
        assert gate.store.calls == []


@pytest.mark.parametrize("reset", [True, False])
async def test_a_client_that_leaves_while_its_claim_waits_disturbs_nobody(reset: bool) -> None:
    async with running_gate() as gate:
        gate.store.hold()
        leaving, staying = await gate.connect(), await gate.connect()
        await leaving.send(gate.grab("u0") + gate.grab("u9"))
        await gate.asked(1)
        await staying.send(gate.grab("u1"))
        await gate.parked(2)
        leaving.leave(reset=reset)
        if reset:
            await gate.connected(1)
        gate.store.let_go()
        assert _told(await staying.answer()) == "slot 1"
        assert _told(await staying.ask(gate.grab("u0"))) == "slot 0", "what was granted to a client that left is kept"


@pytest.mark.parametrize(
    ("first_line_end", "header"),
    [("HTTP/1.1", "Connection: close"), ("HTTP/1.0", ""), ("HTTP/1.0", "Connection: keep-alive")],
)
@pytest.mark.parametrize("target", ["/livez", "/v1/rounds/r1/grab", "/nowhere"])
async def test_the_last_answer_says_that_it_is_the_last(first_line_end: str, header: str, target: str) -> None:
    async with running_gate() as gate:
        method = "POST" if target.endswith("grab") else "GET"
        head = request(method, target, gate.ticket("u0"), headers=(header,) if header else ())
        client = await gate.connect()
        await client.send(head.replace(b"HTTP/1.1", first_line_end.encode(), 1))
        answers = await client.answers_until_closed()
        assert [answer.headers["connection"] for answer in answers] == ["close"]
        assert answers[0].status == (404 if target == "/nowhere" else 200)


async def test_nothing_is_served_behind_a_request_that_closes() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        await client.send(request("GET", "/livez", headers=("Connection: close",)) + gate.grab("u0"))
        assert len(await client.answers_until_closed()) == 1
        assert gate.store.calls == []


async def test_a_wish_for_another_protocol_is_left_aside() -> None:
    wish = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
    async with running_gate() as gate:
        client = await gate.connect()
        await client.send((request("GET", "/livez", headers=wish) + request("POST", "/nowhere", headers=wish)) * 3)
        assert [(await client.answer()).status for _ in range(6)] == [200, 404] * 3
        await client.send(request("POST", "/nowhere", body=b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", headers=wish))
        assert [answer.status for answer in await client.answers_until_closed()] == [400]
