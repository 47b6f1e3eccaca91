"""`Expect: 100-continue`: the client hears at once that it may send the body, and no other expectation can be met."""

import pytest

from redrush.http.answers import CONTINUE
from redrush.http.reader import Limits
from tests.gate.world import Client, RunningGate, request, running_gate

GRAB = "/v1/rounds/r1/grab"
BODY = b'{"nonce":"1"}'


def _waiting(gate: RunningGate, user: str, expectation: str = "100-continue", version: str = "1.1") -> bytes:
    """The head of a claim whose client waits before it sends `BODY`."""
    headers = ("Content-Type: application/json", f"Expect: {expectation}")
    data = request("POST", GRAB, gate.ticket(user), BODY, headers)
    return data.removesuffix(BODY).replace(b"HTTP/1.1", f"HTTP/{version}".encode(), 1)


async def _told(client: Client) -> None:
    assert await client.next_bytes(len(CONTINUE)) == CONTINUE


@pytest.mark.parametrize("spelling", ["100-continue", "100-Continue"])
async def test_the_client_is_told_before_it_has_sent_a_byte_of_the_body(spelling: str) -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        for user in ("alice", "bob"):
            await client.send_in_pieces(_waiting(gate, user, spelling))
            await _told(client)
            await client.send(BODY)
            assert (await client.answer()).outcome == "granted"


async def test_a_head_that_comes_in_pieces_is_told_when_it_is_whole() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        head = _waiting(gate, "alice")
        await client.send_in_pieces(*(head[at : at + 40] for at in range(0, len(head), 40)))
        await _told(client)
        await client.send(BODY)
        assert (await client.answer()).outcome == "granted"


async def test_who_does_not_wait_gets_the_answer_alone() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        await client.send(_waiting(gate, "alice") + BODY)
        assert (await client.next_bytes(9)) == b"HTTP/1.1 "
        assert (await client.next_bytes(3)) == b"200"


async def test_the_word_stands_behind_the_answers_to_what_came_before() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        await client.send_in_pieces(gate.grab("alice") + request("GET", "/livez") + _waiting(gate, "bob"))
        assert (await client.answer()).outcome == "granted"
        assert (await client.answer()).json == {"status": "alive"}
        await _told(client)
        await client.send(BODY)
        assert (await client.answer()).outcome == "granted"


async def test_chunks_may_be_waited_for_too() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        head = _waiting(gate, "alice").replace(b"Content-Length: %d" % len(BODY), b"Transfer-Encoding: chunked")
        await client.send_in_pieces(head)
        await _told(client)
        await client.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY))
        assert (await client.answer()).outcome == "granted"


@pytest.mark.parametrize("expectation", ["", "200-ok", "100-continue, 200-ok", "100", "100-continue;a=b"])
async def test_any_other_expectation_is_refused(expectation: str) -> None:
    async with running_gate() as gate:
        for data in (_waiting(gate, "alice", expectation), _waiting(gate, "alice", expectation) + BODY):
            client = await gate.connect()
            await client.send(data)
            client.end_sending()
            assert [answer.status for answer in await client.answers_until_closed()] == [417]
        assert gate.store.calls == []
        await gate.still_serves()


async def test_a_body_that_would_be_too_large_is_refused_instead() -> None:
    async with running_gate(limits=Limits(body_bytes_max=10)) as gate:
        client = await gate.connect()
        await client.send_in_pieces(_waiting(gate, "alice"))
        client.end_sending()
        assert (await client.rest()).startswith(b"HTTP/1.1 413 ")


async def test_http_1_0_knows_no_such_word() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        await client.send_in_pieces(_waiting(gate, "alice", version="1.0"))
        await client.send_in_pieces(BODY)
        assert (await client.rest()).startswith(b"HTTP/1.1 200 ")


async def test_without_a_body_there_is_nothing_to_wait_for() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        await client.send(request("GET", "/livez", headers=("Expect: 100-continue",)))
        assert (await client.next_bytes(12)) == b"HTTP/1.1 200"
