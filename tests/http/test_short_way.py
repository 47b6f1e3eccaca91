"""The short way (a head read at once) must not differ from the long one in a single byte."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from redrush.core.identity.tickets import TICKET_BYTES_MAX, KeyRing, sign_ticket
from redrush.http import connection, seen_heads, site
from redrush.http import heads as reading
from redrush.http.reader import Request
from redrush.http.route import Endpoint
from redrush.http.seen_heads import LEARN_EVERY
from tests.gate.world import OPENS_US, SECOND_US, TICKET_RING, Client, RunningGate, request, running_gate

GRAB = "/v1/rounds/r1/grab"
TOKEN = st.text(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~", min_size=1, max_size=20
)
VALUE = st.text([chr(code) for code in (*range(0x20, 0x7F), *range(0xA0, 0x100))], max_size=60).map(str.strip)
SPELLINGS = ["Authorization: Bearer ", "authorization: bearer ", "Authorization:Bearer ", "Authorization: Bearer  "]
READ_BY_THE_GATE = {"authorization", "host", "connection", "content-length", "transfer-encoding", "upgrade", "expect"}


@st.composite
def heads(draw: st.DrawFn) -> Callable[[str], bytes]:
    """A valid request as a function of its ticket."""
    method, path = draw(
        st.sampled_from([("POST", GRAB), ("GET", "/v1/rounds/r1"), ("GET", "/v1/grants"), ("GET", "/no")])
    )
    query = draw(st.sampled_from(["", "?", "?a=b", "?Authorization: Bearer".replace(" ", "")]))
    lines = ["Host: x", "TICKET"]
    for name, value in draw(st.lists(st.tuples(TOKEN, VALUE), max_size=6)):
        if name.lower() not in READ_BY_THE_GATE:
            lines.append(f"{name}: {value}")
    if draw(st.booleans()):
        lines.append("Content-Length: 0")
    lines = draw(st.permutations(lines))
    spelling = draw(st.sampled_from(SPELLINGS))

    def head(ticket: str) -> bytes:
        fields = [spelling + ticket if line == "TICKET" else line for line in lines]
        return "\r\n".join([f"{method} {path}{query} HTTP/1.1", *fields, "", ""]).encode("latin-1")

    return head


@settings(max_examples=150, deadline=None)
@given(heads())
def test_a_request_is_answered_alike_however_often_it_came(head: Callable[[str], bytes]) -> None:
    async def scenario() -> None:
        async with running_gate() as gate:
            old, new, split = [await gate.connect() for _ in range(3)]
            alice, bob = head(gate.ticket("alice")), head(gate.ticket("bob"))
            await old.ask(alice)
            await old.ask(bob)
            for data in (alice, bob):
                by_the_long_way = await _the_long_way(split, data)
                for client in (old, old, new, old):
                    assert (await client.ask(data)).raw == by_the_long_way

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


async def _the_long_way(client: Client, data: bytes) -> bytes:
    """A request in two pieces is always parsed."""
    await client.send_in_pieces(data[:9], data[9:])
    return (await client.answer()).raw


async def test_browsers_take_the_short_way_from_their_second_request() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        await client.grab("alice")
        assert len(gate.site.known_heads) == 1
        for number in range(5):
            await (await gate.connect()).grab(f"user-{number}")
            await client.grab("alice")
        assert len(gate.site.known_heads) == 1, "the ticket is no part of a known head"


async def test_a_head_learned_from_one_user_serves_another_as_themselves() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        seen = [
            (await client.grab(user)).json["grant"]["receipt"] for user in ("alice", "bob", "alice", "carol", "bob")
        ]
        assert [receipt.split("~")[-3] for receipt in seen] == ["alice", "bob", "alice", "carol", "bob"]
        assert len(set(seen)) == 3


async def test_a_ticket_that_expires_is_refused_on_a_known_head() -> None:
    async with running_gate() as gate:
        client, other = await gate.connect(), await gate.connect()
        short_lived = gate.grab("alice", lasts_s=3)
        assert [(await client.ask(short_lived)).outcome for _ in range(2)] == ["granted"] * 2
        gate.advance(2)
        assert (await client.ask(short_lived)).status == 200
        gate.advance(1)
        for asking in (client, other, client):
            assert (await asking.ask(short_lived)).status == 401
        assert (await client.grab("alice")).outcome == "granted"


async def test_an_idle_connection_forgets_its_head_and_serves_on() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        head = gate.grab("alice")
        first = await client.ask(head)
        gate.advance(connection.FORGET_AFTER_S + 1)
        assert (await client.ask(head)).json == first.json | {"repeat": True}


def _forged() -> list[bytes]:
    right = sign_ticket(TICKET_RING, "alice", OPENS_US // SECOND_US + 60).encode()
    return [
        b"",
        b" ",
        b"\r",
        b"\n",
        b"\x00",
        right + b"\x00",
        right + b" ",
        b" " + right,
        right + b"\n",
        right + b"\rX: y",
        right + b"\nX: y",
        right[:-1],
        right + b"0",
        right + right,
        right + b"," + right,
        right.upper(),
        right.replace(b".", b"\x00", 1),
        right.replace(b".", b"..", 1),
        right + b"\r\nAuthorization: Bearer " + right,
        b"x\r\nAuthorization: Bearer " + right,
        right + b"\r\nAuthorization: Basic x",
        right + b"\r\nauthorization: bearer " + right,
        right + b"\r\nContent-Length: 5",
        right + b"\r\nTransfer-Encoding: chunked",
        right + b"\r\nHost: again",
        right + b"\r\n obs-fold",
        b"\r\n " + right,
        b"x" * TICKET_BYTES_MAX,
        b"x" * (TICKET_BYTES_MAX + 1),
        b"x" * 15_000,
        b"\xff" * 100,
        "票".encode(),
        b".." + right,
        b"k1.ff.alice." + b"0" * 32,
        b"k1..alice." + b"0" * 32,
        b"....",
    ]


@pytest.mark.parametrize("forged", _forged())
async def test_no_forged_ticket_passes_on_a_known_head(forged: bytes) -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        head = gate.grab("alice")
        granted = [await client.ask(head) for _ in range(2)]
        assert granted[1].json == granted[0].json | {"repeat": True}
        right = gate.ticket("alice").encode()
        for attacker in (client, await gate.connect()):
            await attacker.send(head.replace(right, forged))
            attacker.end_sending()
            for answer in await attacker.answers_until_closed():
                if answer.status == 200:
                    assert forged.strip(b" ") in _harmless(right), "only blanks around a ticket are no part of it"
                    assert answer.json == granted[1].json
                else:
                    assert answer.status in {400, 401, 431}
        assert gate.store.calls == [("alice",)]
        await gate.still_serves()


def _harmless(right: bytes) -> set[bytes]:
    other = sign_ticket(TICKET_RING, "alice", OPENS_US // SECOND_US + 60).encode()
    return {right, other}


async def test_a_ticket_header_in_a_body_or_a_trailer_is_none() -> None:
    async with running_gate() as gate:
        ticket = gate.ticket("alice")
        chunked = request("POST", GRAB).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        client = await gate.connect()
        for _ in range(2):
            trailer = chunked + f"0\r\nAuthorization: Bearer {ticket}\r\n\r\n".encode()
            assert (await client.ask(trailer)).status == 401
        in_body = request("POST", GRAB, body=f"\r\nAuthorization: Bearer {ticket}\r\n\r\n".encode())
        for _ in range(2):
            assert (await client.ask(in_body)).status == 415
        assert gate.store.calls == []


async def test_a_known_head_with_something_behind_it_is_read_anew() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        head = gate.grab("alice")
        assert [(await client.ask(head)).status for _ in range(2)] == [200, 200]
        await client.send(head + request("GET", "/livez") + head[:-2])
        assert (await client.answer()).outcome == "granted"
        assert (await client.answer()).json == {"status": "alive"}
        await client.send(head[-2:])
        assert (await client.answer()).outcome == "granted"


async def test_tickets_on_public_paths_do_not_crowd_out_known_heads() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        await client.grab("alice")
        known = len(gate.site.known_heads)
        for number in range(20):
            await client.ask(request("GET", "/v1/rounds/r1", gate.ticket(f"u{number}")))
        assert len(gate.site.known_heads) == known + 1, "one, whoever's ticket it is"


async def test_the_memory_of_heads_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "HEADS_MAX", 10)
    async with running_gate() as gate:
        client = await gate.connect()
        for number in range(35):
            for _ in range(2):
                assert (await client.ask(request("GET", "/livez", headers=(f"Origin: {number}",)))).status == 200
            assert 0 < len(gate.site.known_heads) <= 10
        known = len(gate.site.known_heads)
        await client.ask(request("GET", "/livez", headers=(f"Origin: {'x' * reading.HEAD_BYTES_MAX}",)))
        assert len(gate.site.known_heads) == known


async def test_bytes_of_its_own_keep_no_request_from_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """As CDNs and load balancers write them, in whichever case, with a body or without."""
    async with running_gate() as gate:
        client = await gate.connect()
        for spelled in (str, str.lower):
            for body in (b"", b"{}"):
                with monkeypatch.context() as patched:
                    for number in range(4):
                        own: tuple[str, ...] = (f"X-Request-Id: {number}", f"Cookie: c={number}", f"CF-Ray: {number}")
                        own += (
                            f"U{number}: x",
                            "Content-Type: application/json",
                            f"Traceparent: 00-{number}",
                            f"Accept: {number}/*",
                        )
                        grab = request("POST", f"{GRAB}?n={number}", gate.ticket(f"u{number}"), body, own)
                        head, blank, _ = grab.decode().partition("\r\n\r\n")
                        lines = head.split("\r\n")
                        fields = [line.partition(": ") for line in lines[1:]]
                        spelled_head = [lines[0], *(f"{spelled(name)}: {value}" for name, _, value in fields)]
                        data = ("\r\n".join(spelled_head) + blank).encode() + body
                        assert (await client.ask(data)).status == 200
                        patched.setattr(connection, "RequestReader", None)
        assert len(gate.site.known_heads) == 4
        assert gate.unhandled == []


async def test_a_request_is_judged_once_also_where_its_head_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_gate() as gate:
        client, judged = await gate.connect(), list[bytes]()
        resolve = gate.site.resolve

        def judge(asked: Request) -> tuple[Endpoint, str] | bytes:
            judged.append(asked.path)
            return resolve(asked)

        monkeypatch.setattr(gate.site, "resolve", judge)
        for data in (gate.grab("alice"), request("GET", "/v1/rounds/r1"), request("GET", "/nowhere")):
            await client.ask(data)
        assert judged == [GRAB.encode(), b"/v1/rounds/r1", b"/nowhere"]
        assert len(gate.site.known_heads) == 2


async def test_the_memory_of_tickets_is_bounded_and_knows_no_winner_before_a_repeat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(site, "TICKETS_REMEMBERED_MAX", 10)
    async with running_gate() as gate:
        client = await gate.connect()
        for _ in range(2):  # the head is known from the second request on
            await client.grab("alice")
        assert gate.site.known_tickets == 1
        await client.grab("bob")
        assert gate.site.known_tickets == 1, "bob was parked"
        gate.gate.admission.set_floor(1.0)
        for _ in range(2):
            assert (await client.grab("carol")).status == 503
        assert gate.site.known_tickets == 1, "carol was sent away for seconds"
        gate.gate.admission.set_floor(0.0)
        for number in range(35):
            for _ in range(2):
                assert (await client.grab(f"user-{number}")).status == 200
            assert gate.site.known_tickets <= 10


async def test_a_ticket_that_was_found_genuine_still_expires() -> None:
    async with running_gate() as gate:
        expires_s = gate.clock.now_us // SECOND_US + 60
        data = request("POST", GRAB, sign_ticket(TICKET_RING, "alice", expires_s))
        for _ in range(3):
            assert (await (await gate.connect()).ask(data)).status == 200
        gate.at(expires_s * SECOND_US)
        gate.site.tick()
        assert (await (await gate.connect()).ask(data)).status == 401


def _through_a_proxy(gate: RunningGate, user: str, own: str) -> bytes:
    data = gate.grab(user)
    return data.replace(b"\r\n\r\n", f"\r\nX-Request-Id: {own}\r\ntraceparent: 00-{own}-01\r\n\r\n".encode())


async def test_what_comes_again_but_for_its_own_values_is_found_without_reading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        for number in range(2 + LEARN_EVERY):
            assert (await client.ask(_through_a_proxy(gate, "alice", f"{number:09}"))).outcome == "granted"
        assert len(gate.site.seen_heads) == 1
        monkeypatch.setattr(connection, "HEAD", None)  # nothing is matched any more
        for number, user in enumerate(("bob", "carol", "alice", "bob")):
            receipt = (await client.ask(_through_a_proxy(gate, user, f"other-{number}"))).json["grant"]["receipt"]
            assert receipt.split("~")[-3] == user
        assert len(gate.site.seen_heads) == 1


@pytest.mark.parametrize(
    "own", ["1\r\nHost: y", "1\n", "\x00", "1\r", "1\x7f", "1\r\n folded", "1\r\nTransfer-Encoding: chunked"]
)
async def test_an_own_value_that_is_more_than_text_is_refused(own: str) -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        for number in range(2 + LEARN_EVERY):
            await client.ask(_through_a_proxy(gate, "alice", f"{number:09}"))
        assert len(gate.site.seen_heads) == 1
        assert (await client.ask(_through_a_proxy(gate, "alice", own))).status == 400
        await gate.still_serves()


async def test_a_wrong_ticket_is_refused_on_a_head_that_came_before() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        for number in range(2 + LEARN_EVERY):
            await client.ask(_through_a_proxy(gate, "alice", f"{number:09}"))
        data = _through_a_proxy(gate, "alice", "1")
        ticket = gate.ticket("alice").encode()
        for wrong, status in ((ticket[:-1] + b"g", 401), (b"", 401), (ticket + b"\x0b", 400), (ticket + b"x", 401)):
            assert (await (await gate.connect()).ask(data.replace(ticket, wrong))).status == status


async def test_the_memory_of_heads_that_came_before_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen_heads, "LEARN_EVERY", 1)
    monkeypatch.setattr(seen_heads, "SEEN_MAX", 10)
    async with running_gate() as gate:
        client = await gate.connect()
        for number in range(40):
            data = gate.grab("alice").replace(b"Accept:", f"X-Kind: {'y' * (number % 20)}{number}\r\nAccept:".encode())
            assert (await client.ask(data)).status == 200
            assert len(gate.site.seen_heads) <= 10
        gate.site.announce_stop()
        assert len(gate.site.seen_heads) == 0


async def test_heads_that_differ_in_one_digit_are_told_apart_and_bounded() -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        for number in range(100, 164):
            heads = [request("GET", path, headers=(f"X-Version: {number}",)) for path in ("/livez", "/v1/rounds/r1")]
            for _ in range(2):
                assert (await client.ask(heads[0])).json == {"status": "alive"}
                assert (await client.ask(heads[1])).json["round"] == "r1"
        assert len(gate.site.known_heads) == 2


async def test_a_rotated_key_verifies_beside_the_new_one_on_one_head() -> None:
    old = KeyRing("k1", {"k1": b"1" * 32})
    both = KeyRing("k2", {"k1": b"1" * 32, "k2": b"2" * 32})
    async with running_gate(tickets=both) as gate:
        client = await gate.connect()
        expires_s = gate.clock.now_us // SECOND_US + 60
        by_old, by_new = (request("POST", GRAB, sign_ticket(ring, "alice", expires_s)) for ring in (old, both))
        receipts = [(await client.ask(data)).json["grant"]["receipt"] for data in (by_old, by_new, by_old, by_new)]
        assert len(set(receipts)) == 1
        assert len(gate.site.known_heads) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Accept-Language: z", b"Accept\x00Language: z"),
        (b"Accept-Language: z", b"Content-Length: 1"),
        (b"User-Agent: Mozilla", b"User Agent: Mozilla"),
        (b"Host: hongbao.example", b"Hoss: hongbao.example"),
        (b"Content-Length: 0", b"Content-Length: 9"),
        (b"Content-Length: 0", b"Content-Length: x"),
        (b"\r\n\r\n", b"\r\n\n\r"),
        (b"\r\n\r\n", b"\r\nab"),
        (b" HTTP/1.1", b" HTTP/1.2"),
        (b"/v1/rounds/r1", b"/v1/rounds/rX"),
    ],
)
async def test_what_only_looks_like_a_known_head_is_read_anew(old: bytes, new: bytes) -> None:
    async with running_gate() as gate:
        client = await gate.connect()
        head = gate.grab("alice")
        assert [(await client.ask(head)).status for _ in range(3)] == [200] * 3
        assert head.count(old) == 1
        changed = head.replace(old, new)
        for attacker in (client, await gate.connect()):
            await attacker.send(changed)
            attacker.end_sending()
            assert all(400 <= answer.status < 500 for answer in await attacker.answers_until_closed())
        assert gate.rounds["r1"].counts.repeat == 2


async def test_a_body_that_looks_like_a_known_head_is_a_body() -> None:
    async with running_gate() as gate:
        client, other = await gate.connect(), await gate.connect()
        for head in (gate.grab("alice"), request("GET", "/livez")):
            for asking in (client, other):
                assert [(await asking.ask(head)).status for _ in range(2)] == [200, 200]
            before = gate.rounds["r1"].counts.repeat
            carrier = request("POST", "/nowhere", body=head)
            await client.send_in_pieces(carrier[: -len(head)], head)
            assert (await client.answer()).status == 404
            assert (await client.ask(request("GET", "/nowhere"))).status == 404, (
                "the next answer is for the next request"
            )
            assert gate.rounds["r1"].counts.repeat == before
