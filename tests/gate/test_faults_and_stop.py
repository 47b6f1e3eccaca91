"""When the store fails nobody is told a thing that may not be so; when the gate stops nobody loses an answer."""

import asyncio

import pytest

from redrush.core.load.queue import BATCH_CLAIMS_MAX
from redrush.errors import ConfigError
from redrush.http.reader import Limits
from tests.gate.world import Client, RunningGate, request, running_gate

STORE_FAULTS = [None, KeyError("r1"), RuntimeError("a bug")]


async def _park(gate: RunningGate, *users: str) -> list[Client]:
    """Let each user claim on a connection of their own; the first is with the store when this returns."""
    clients = [await gate.connect() for _ in users]
    for number, (client, user) in enumerate(zip(clients, users, strict=True), start=1):
        await client.send(gate.grab(user))
        await gate.parked(number)
        if number == 1:
            await gate.asked(1)
    return clients


@pytest.mark.parametrize("fault", STORE_FAULTS)
async def test_every_claim_under_way_and_every_later_one_is_refused(fault: Exception | None) -> None:
    async with running_gate() as gate:
        gate.store.hold()
        clients = await _park(gate, "alice", "bob", "carol")
        gate.store.fail()
        if fault is not None:
            gate.store.fault = fault
        for client in clients:
            answer = await client.answer()
            assert (answer.status, answer.headers["retry-after"]) == (503, "5")
            assert answer.headers["content-type"] == "application/problem+json"
        gate.store.fault = None
        for client in (*clients, await gate.connect()):
            assert (await client.grab("dave")).status == 503, "whether the store would work again is not tried"
        assert len(gate.faults) == 1, "the one who stops the process is told once"
        assert gate.store.calls == [("alice",)]
        assert gate.gauge.parked == 0


async def test_losers_and_earlier_winners_are_answered_though_the_store_has_failed() -> None:
    async with running_gate(audience={"alice", "bob"}) as gate:
        client = await gate.connect()
        first = await client.grab("alice")
        gate.store.fail()
        assert (await client.grab("bob")).status == 503
        assert (await client.grab("alice")).json == first.json | {"repeat": True}
        assert (await client.grab("mallory")).outcome == "not_eligible"
        assert (await client.ask(request("GET", "/v1/rounds/r1"))).status == 200
        assert (await client.ask(request("GET", "/v1/grants", gate.ticket("alice")))).status == 503


async def test_a_winner_who_asks_again_before_it_is_durable_is_told_only_when_it_is() -> None:
    async with running_gate() as gate:
        gate.store.hold()
        (first,) = await _park(gate, "alice")
        again = await gate.connect()
        await again.send(gate.grab("alice"))
        await gate.parked(2)  # and not answered from what the store knows already
        gate.store.let_go()
        answers = [(await client.answer()).json for client in (first, again)]
        assert answers[1] == answers[0] | {"repeat": True}


async def test_a_winner_whose_batch_failed_is_never_told_so() -> None:
    async with running_gate() as gate:
        gate.store.hold()
        (first,) = await _park(gate, "alice")
        gate.store.fail()
        assert (await first.answer()).status == 503
        assert (await (await gate.connect()).grab("alice")).status == 503


async def test_claims_gather_while_a_batch_is_decided() -> None:
    async with running_gate(packets=50) as gate:
        gate.store.hold()
        clients = await _park(gate, *(f"u{number}" for number in range(30)))
        gate.store.let_go()
        slots = [(await client.answer()).json["grant"]["slot"] for client in clients]
        assert slots == list(range(30)), "in order of their coming"
        assert [len(users) for users in gate.store.calls] == [1, 29]


async def test_a_batch_is_bounded() -> None:
    async with running_gate(packets=1, limits=Limits(parked_max=10_000)) as gate:
        gate.store.hold()
        (first,) = await _park(gate, "first")

        class Listener:
            answers = 0
            waiting = True
            address = b""

            def send(self, answer: bytes) -> None:
                Listener.answers += 1

        for number in range(2 * BATCH_CLAIMS_MAX + 5):
            assert gate.rounds["r1"].serve(Listener(), f"u{number}") is None
        gate.store.let_go()
        assert (await first.answer()).outcome == "granted"
        await gate.rounds["r1"].drained()
        assert Listener.answers == 2 * BATCH_CLAIMS_MAX + 5
        assert [len(users) for users in gate.store.calls] == [1, BATCH_CLAIMS_MAX, BATCH_CLAIMS_MAX, 5]


async def test_the_round_is_drained_when_every_parked_claim_is_decided() -> None:
    async with running_gate() as gate:
        gate.store.hold()
        clients = await _park(gate, "alice", "bob")
        drained = asyncio.create_task(gate.rounds["r1"].drained())
        for _ in range(20):
            await asyncio.sleep(0)
        assert not drained.done()
        gate.store.let_go()
        await drained
        assert (await gate.store.state("r1")).claimed_ever == len(clients)


# -- stopping


async def test_a_stop_answers_what_was_accepted_and_ends_the_rest() -> None:
    async with running_gate() as gate:
        gate.store.hold()
        idle, half = await gate.connect(), await gate.connect()
        await idle.ask(request("GET", "/livez"))
        await half.send_in_pieces(b"GET /livez HTTP/1.1\r\n")
        parked = await _park(gate, "alice", "bob")
        stopping = asyncio.create_task(gate.server.stop())
        assert await idle.closed()
        assert await half.closed()
        assert not stopping.done()
        gate.store.let_go()
        for client in parked:
            (answer,) = await client.answers_until_closed()
            assert (answer.outcome, answer.headers["connection"]) == ("granted", "close")
        await stopping
        assert not gate.site.connections
        with pytest.raises(ConnectionRefusedError):
            await gate.connect()


async def test_a_request_on_its_way_while_the_gate_begins_to_stop_is_answered_with_the_end_of_its_connection() -> None:
    async with running_gate() as gate:
        lively, known = await gate.connect(), await gate.connect()
        await lively.ask(request("GET", "/livez"))
        for _ in range(3):  # from the second on its head is known by heart
            assert (await known.ask(gate.grab("alice"))).outcome == "granted"
        stopping = asyncio.create_task(gate.server.stop())
        await asyncio.sleep(0.05)
        await lively.send_in_pieces(request("GET", "/livez"))
        await known.send_in_pieces(gate.grab("alice"))
        for client in (lively, known):
            (answer,) = await client.answers_until_closed()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
        await stopping


async def test_what_is_pipelined_behind_a_parked_claim_is_not_served_by_a_stopping_gate() -> None:
    async with running_gate() as gate:
        gate.store.hold()
        client = await gate.connect()
        await client.send_in_pieces(gate.grab("alice") + gate.grab("bob"))
        await gate.asked(1)
        stopping = asyncio.create_task(gate.server.stop())
        await asyncio.sleep(0)
        gate.store.let_go()
        assert [answer.outcome for answer in await client.answers_until_closed()] == ["granted"]
        await stopping
        assert gate.store.calls == [("alice",)]


async def test_a_connection_that_comes_while_the_gate_stops_is_told_so() -> None:
    async with running_gate() as gate:
        gate.site.stopping = True
        client = await gate.connect()
        (answer,) = await client.answers_until_closed()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")


async def test_a_fault_in_one_tick_does_not_end_the_ticking() -> None:
    async with running_gate() as gate:
        ticks = []

        def faulty() -> None:
            ticks.append(1)
            raise ZeroDivisionError

        gate.server._ticks = [faulty]
        for _ in range(2):
            before = gate.server._next_tick
            with pytest.raises(ZeroDivisionError):
                gate.server._tick()
            assert gate.server._next_tick is not before
        assert len(ticks) == 2


async def test_a_taken_port_is_a_mistake_of_configuration() -> None:
    async with running_gate() as gate:
        taken = rf"cannot listen on 127\.0\.0\.1 port {gate.port}: Address already in use"
        with pytest.raises(ConfigError, match=f"{taken}; end what listens there, or choose another port$"):
            await gate.server.listen(gate.site, "127.0.0.1", gate.port)
