"""Clients and stores that take too long, and more clients than there is room for. Time passes when the test says so."""

import asyncio
from collections.abc import Callable
from resource import RLIMIT_NOFILE, getrlimit, setrlimit
from socket import SO_RCVBUF, SO_SNDBUF, SOL_SOCKET

import pytest

from redrush.http import connection, site
from redrush.http.connection import REFUSALS_MAX
from redrush.http.reader import Limits
from redrush.http.site import IDLE_MIN_S
from redrush.http.sockets import SOCKET_BUFFER_BYTES
from tests.gate.world import Client, RunningGate, request, running_gate, until

LIMITS = Limits(read_deadline_s=10, idle_timeout_s=75, claim_deadline_s=5)


@pytest.mark.parametrize(
    "begun",
    [
        b"G",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n",
        b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
        b"POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    ],
)
async def test_a_request_that_does_not_end_is_told_so_at_the_deadline(begun: bytes) -> None:
    async with running_gate(limits=LIMITS) as gate:
        client = await gate.connect()
        await client.send_in_pieces(begun)
        gate.advance(10)
        assert len(gate.site.connections) == 1
        gate.advance(1)
        assert [answer.status for answer in await client.answers_until_closed()] == [408]


async def test_dripping_bytes_does_not_put_off_the_deadline() -> None:
    async with running_gate(limits=LIMITS) as gate:
        client = await gate.connect()
        for byte in b"GET /livez":
            await client.send_in_pieces(bytes([byte]))
            gate.advance(1)
        await client.send_in_pieces(b" ")
        gate.advance(1)
        assert [answer.status for answer in await client.answers_until_closed()] == [408]


async def test_the_deadline_of_a_request_begins_when_the_one_before_was_answered() -> None:
    async with running_gate(limits=LIMITS) as gate:
        client = await gate.connect()
        for _ in range(4):
            head = request("GET", "/livez")
            await client.send_in_pieces(head[:30])
            gate.advance(9)
            await client.send_in_pieces(head[30:])
            assert (await client.answer()).status == 200


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    async with running_gate(limits=LIMITS) as gate:
        quiet, used = await gate.connect(), await gate.connect()
        for client in (quiet, used):
            await client.ask(request("GET", "/livez"))
        gate.advance(70)
        await used.ask(request("GET", "/livez"))
        gate.advance(6)
        assert await quiet.closed()
        assert (await used.ask(request("GET", "/livez"))).status == 200


async def test_a_client_that_sends_nothing_at_all_is_closed() -> None:
    async with running_gate(limits=LIMITS) as gate:
        client = await gate.connect()
        await gate.connected(1)
        gate.advance(76)
        assert await client.closed()


async def test_a_client_that_reads_no_answers_is_cut_and_holds_little_meanwhile() -> None:
    async with running_gate(limits=LIMITS) as gate:
        client = await gate.connect()
        pieces = [request("GET", "/v1/rounds/r1") * 50] * 2_000
        flood = asyncio.create_task(client.send_in_pieces(*pieces))
        read_before = -1
        while gate.bytes_seen > read_before:
            read_before = gate.bytes_seen
            for _ in range(200):
                await asyncio.sleep(0)
        assert not flood.done(), "the gate stops reading while its answers are not taken"
        (connection,) = gate.site.connections
        assert connection._transport.get_write_buffer_size() < 200_000  # type: ignore[attr-defined]
        gate.advance(11)
        await gate.connected(0)
        flood.cancel()
        await gate.still_serves()


async def test_a_closing_connection_whose_client_reads_nothing_is_cut_too() -> None:
    async with running_gate(limits=LIMITS) as gate:
        client = await gate.connect()
        await client.send_in_pieces(b"\x16\x03\x01 this is no HTTP")
        gate.advance(9)
        assert len(gate.site.connections) == 1, "it may take its time to read the refusal"
        gate.advance(2)
        await gate.connected(0)


async def test_a_refusal_reaches_a_client_that_is_sending_still() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        head = request("POST", "/v1/rounds/r1/grab", body=b"x", headers=("Content-Type: application/json",))
        await client.send_in_pieces(head.replace(b"Content-Length: 1", b"Content-Length: 900000") + b"x" * 5_000)
        await client.send_in_pieces(b"x" * 200_000)
        await client.send_in_pieces(b"x" * 200_000)
        assert [answer.status for answer in await client.answers_until_closed()] == [413]


async def test_a_client_that_has_ended_is_not_waited_for_after_its_refusal() -> None:
    async with running_gate() as gate:
        gate.store.hold()
        client = await gate.connect()
        await client.send(gate.grab("alice") + b"this is no HTTP\r\n\r\n")
        client.end_sending()
        await gate.asked(1)
        gate.store.let_go()
        assert [answer.status for answer in await client.answers_until_closed()] == [200, 400]
        await gate.connected(0)


async def test_connections_above_the_maximum_are_told_to_come_back() -> None:
    async with running_gate(limits=Limits(connections_max=2)) as gate:
        inside = [await gate.connect() for _ in range(2)]
        for client in inside:
            await client.ask(request("GET", "/livez"))
        for _ in range(3):
            outside = await gate.connect()
            await outside.send(request("GET", "/livez"))
            (refusal,) = await outside.answers_until_closed()
            outside.leave()
            assert (refusal.status, refusal.headers["retry-after"]) == (503, "2")
            assert refusal.headers["content-type"] == "application/problem+json"
        assert (await inside[0].ask(request("GET", "/livez"))).status == 200
        for client in inside:
            client.leave()
        await gate.connected(0)
        await gate.still_serves()


async def test_refused_connections_are_bounded_as_well() -> None:
    async with running_gate(limits=Limits(connections_max=1)) as gate:
        clients = [await gate.connect() for _ in range(REFUSALS_MAX + 20)]
        while gate.site.counts["connections_refused"] < len(clients) - 1:
            await asyncio.sleep(0)
        assert (len(gate.site.connections), len(gate.site.refused)) == (1, REFUSALS_MAX)


async def test_a_refused_connection_is_gone_after_a_second() -> None:
    async with running_gate(limits=Limits(connections_max=1)) as gate:
        inside = await gate.connect()
        await gate.connected(1)
        outside = [await gate.connect() for _ in range(5)]
        await until(lambda: len(gate.site.refused) == 5)
        gate.advance(1)
        await until(lambda: not gate.site.refused)
        assert [len(await client.answers_until_closed()) for client in outside] == [1] * 5
        assert (await inside.ask(request("GET", "/livez"))).status == 200


async def test_a_claim_that_the_store_does_not_decide_is_told_to_ask_again() -> None:
    async with running_gate(limits=LIMITS) as gate:
        gate.store.hold()
        client = await gate.connect()
        await client.send(gate.grab("alice") + gate.grab("bob"))
        await gate.asked(1)
        gate.advance(5)
        assert len(gate.site.connections) == 1
        gate.advance(1)
        (slow,) = await client.answers_until_closed()
        assert (slow.status, slow.headers["retry-after"], slow.headers["connection"]) == (503, "1", "close")
        gate.store.let_go()
        again = await (await gate.connect()).grab("alice")
        assert (again.outcome, again.json["repeat"]) == ("granted", True), "the late grant was kept for its winner"
        assert gate.store.calls == [("alice",)], "and what was pipelined behind it was not served"


async def test_a_late_answer_never_reaches_a_later_request() -> None:
    async with running_gate(limits=LIMITS) as gate:
        gate.store.hold()
        client = await gate.connect()
        await client.send(gate.grab("alice"))
        await gate.asked(1)
        gate.advance(6)
        await client.send(request("GET", "/livez"))
        gate.store.let_go()
        assert [answer.status for answer in await client.answers_until_closed()] == [503]


async def test_each_pipelined_claim_has_its_own_deadline() -> None:
    async with running_gate(limits=LIMITS) as gate:
        gate.store.hold()
        client = await gate.connect()
        await client.send(gate.grab("alice") + gate.grab("bob"))
        await gate.asked(1)
        gate.advance(4)
        gate.store.let_go()
        assert (await client.answer()).outcome == "granted"
        gate.store.hold()
        await gate.asked(2)
        gate.advance(4)
        gate.store.let_go()
        assert (await client.answer()).outcome == "granted"


async def test_grants_that_the_store_does_not_tell_are_refused_at_the_deadline() -> None:
    async with running_gate(limits=LIMITS) as gate:
        gate.store.hold()
        client = await gate.connect()
        await client.send_in_pieces(request("GET", "/v1/grants", gate.ticket("alice")))
        gate.advance(6)
        assert [answer.status for answer in await client.answers_until_closed()] == [503]


async def test_the_kernel_holds_little_for_a_client_that_reads_nothing() -> None:
    async with running_gate() as gate:
        await (await gate.connect()).ask(request("GET", "/livez"))
        (connection,) = gate.site.connections
        accepted = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]
        for direction in (SO_SNDBUF, SO_RCVBUF):
            assert accepted.getsockopt(SOL_SOCKET, direction) <= 2 * SOCKET_BUFFER_BYTES


async def _used(gate: RunningGate, count: int) -> list[Client]:
    """Return connections that were used, one each second."""
    clients = []
    for _ in range(count):
        clients.append(await gate.connect())
        await clients[-1].ask(request("GET", "/livez"))
        gate.advance(1)
    return clients


async def test_the_longest_idle_make_room_when_connections_are_nearly_as_many_as_there_may_be() -> None:
    async with running_gate(limits=Limits(connections_max=20)) as gate:
        clients = await _used(gate, 18)
        assert len(gate.site.connections) == 18
        newcomers = [await gate.connect() for _ in range(2)]
        for client in newcomers:
            assert (await client.ask(request("GET", "/livez"))).status == 200
        gate.advance(1)
        await gate.connected(18)
        assert gate.site.counts["idle_closed"] == 2
        assert [await client.closed() for client in clients[:2]] == [True, True]
        for client in (*clients[2:], *newcomers):
            assert (await client.ask(request("GET", "/livez"))).status == 200


async def test_nobody_is_closed_who_was_heard_of_just_now_or_waits_for_an_answer() -> None:
    async with running_gate(limits=Limits(connections_max=3, claim_deadline_s=60)) as gate:
        gate.store.hold()
        waiting = await gate.connect()
        await waiting.send(gate.grab("alice"))
        await gate.asked(1)
        sending = await gate.connect()
        await sending.send_in_pieces(b"GET /livez HTTP/1.1\r\n")
        gate.advance(IDLE_MIN_S)
        polite = await gate.connect()
        await polite.ask(request("GET", "/livez"))
        gate.advance(IDLE_MIN_S - 1)
        assert len(gate.site.connections) == 3
        gate.advance(1)
        assert await polite.closed(), "now it has been idle for long enough"
        gate.store.let_go()
        assert (await waiting.answer()).outcome == "granted"
        await sending.send(b"Host: x\r\n\r\n")
        assert (await sending.answer()).status == 200


async def test_who_sends_dozens_of_requests_at_once_takes_turns_with_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "AT_ONCE_MAX", 1)
    async with running_gate() as gate:
        greedy, modest = await gate.connect(), await gate.connect()
        await greedy.send(request("GET", "/v1/rounds/r1") * 40)
        await modest.send(request("GET", "/v1/rounds/r2"))
        assert b"r2" in (await modest.answer()).body
        assert len(gate.site.connections) == 2
        ours = [one for one in gate.site.connections if isinstance(one, connection.Connection)]
        assert [one for one in ours if one._resting], "the others of the forty have yet to come"
        await greedy.send(request("GET", "/v1/rounds/r2"))
        answers = [await greedy.answer() for _ in range(41)]
        assert [b"r2" in answer.body for answer in answers] == [False] * 40 + [True]


async def test_connections_are_looked_after_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "AT_ONCE_MIN", 4)
    async with running_gate(limits=LIMITS) as gate:
        slow = [await gate.connect() for _ in range(10)]
        for client in slow:
            await client.send_in_pieces(b"GET")
        gate.clock.now_us += 11 * 1_000_000
        turns: list[Callable[[], None]] = []
        gate.site.tick(lambda _seconds, turn: turns.append(turn))
        ended = []
        while turns:
            ended.append(gate.site.counts["too_slow"])
            turns.pop()()
        assert (ended, gate.site.counts["too_slow"]) == ([4, 8], 10)
        for client in slow:
            assert [answer.status for answer in await client.answers_until_closed()] == [408]


@pytest.mark.parametrize("count", [300, pytest.param(4_000, marks=pytest.mark.soak)])
async def test_slow_clients_of_every_kind_keep_nobody_from_their_packets_and_are_gone_after_the_deadline(
    count: int,
) -> None:
    _, files_max = getrlimit(RLIMIT_NOFILE)
    setrlimit(RLIMIT_NOFILE, (files_max, files_max))
    async with running_gate(limits=LIMITS, packets=2_000) as gate:
        head = request("POST", "/v1/rounds/r1/grab", gate.ticket("slow"))
        body = head.replace(b"Content-Length: 0", b"Content-Length: 999")
        reads = request("GET", "/v1/rounds/r1") * 60
        slow = [await gate.connect() for _ in range(count)]
        good = await gate.connect()
        for number, client in enumerate(slow):
            await client.send((head[:80], body, reads + b"GET /")[number % 3])
        for second in range(10):
            for client in slow[second::3]:
                await client.send(b"x")
            assert (await good.grab(f"good-{second}")).outcome == "granted"
            gate.advance(1)
        assert len(gate.site.connections) == count + 1
        gate.advance(2)
        assert (await good.grab("good-again")).outcome == "granted"
        gate.advance(14)  # who asked for much at once was served for longer
        await gate.connected(1)
        assert gate.site.counts["too_slow"] == count
