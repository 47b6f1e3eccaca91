"""Paths with an open segment go the short ways, and are answered there as on the long one, whatever the segment is."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import pytest
import uvloop
from hypothesis import example, given, settings
from hypothesis import strategies as st

from redrush.core.identity.tickets import KeyRing, TicketVerifier, sign_ticket
from redrush.http import connection, seen_heads
from redrush.http.asking_limits import AskingRules
from redrush.http.paths import Alike
from redrush.http.reader import Limits, Request
from redrush.http.route import Fixed, Route, Waiter
from redrush.http.seen_heads import FRONT_LENGTHS_MAX, LEARN_EVERY
from redrush.http.site import Found, Site
from redrush.http.ticket_check import TicketCheck
from tests.gate.world import OPENS_US, SECOND_US, Answer, Client, RunningGate, request, running_gate
from tests.http.test_asking_limits import LOOPBACK

GRAB: Final = "/v1/p/{}/grab"
LOOK: Final = "/v1/p/{}"
JSON: Final = ("Content-Type: application/json",)
PAGE: Final = "https://hongbao.example"
OTHER_RING: Final = KeyRing("k1", {"k1": b"o" * 32})


def saying(*said: bytes) -> Fixed:
    text = b"|".join(said)
    return Fixed(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))


class Telling:
    """Tells who asks from where, for what, and with which body."""

    def __init__(self, *what: bytes) -> None:
        self._what = what

    def reads(self, body: bytes) -> "Telling":
        return Telling(*self._what, body)

    def serve(self, waiter: Waiter, user: str) -> bytes:
        return saying(*self._what, user.encode(), waiter.address).serve(waiter, user)


def telling(*what: bytes) -> Callable[[bytes], Route | None]:
    """Return what makes routes of all segments but those that begin with "no"."""
    return lambda segment: None if segment.startswith(b"no") else Telling(*what, segment)


@asynccontextmanager
async def gate_with_patterns(
    origins: tuple[str, ...] = (), asking: AskingRules | None = None
) -> AsyncIterator[RunningGate]:
    async with running_gate(limits=Limits(origins=origins), asking=asking or AskingRules()) as gate:
        add_patterns(gate.site, tickets_of(gate))
        yield gate


def add_patterns(site: Site, tickets: TicketCheck) -> None:
    site.add_below(b"POST", GRAB.encode(), telling(b"grab"), tickets=tickets)
    site.add_below(b"GET", LOOK.encode(), telling(b"look"), tickets=tickets)
    site.add(b"GET", b"/v1/p/terms", saying(b"terms"), needs_ticket=True, tickets=tickets)


def tickets_of(gate: RunningGate) -> TicketCheck:
    (served,) = gate.gate.campaigns.values()
    return served.tickets


def grab(gate: RunningGate, segment: str, user: str = "alice", body: bytes = b"{}", path: str = GRAB) -> bytes:
    return request("POST", path.replace("{}", segment), gate.ticket(user), body, JSON)


def look(gate: RunningGate, segment: str, user: str = "alice", path: str = LOOK) -> bytes:
    return request("GET", path.replace("{}", segment), gate.ticket(user))


async def learn(client: Client, data: Callable[[str], bytes]) -> None:
    """Let the gate know the head, however it finds it."""
    for number in range(2 + LEARN_EVERY):
        assert (await client.ask(data(f"{number:08}"))).status == 200


async def all_answers(gate: RunningGate, *pieces: bytes) -> list[Answer]:
    """Send it over a connection of its own, and return what is answered until it ends."""
    client = await gate.connect()
    await client.send_in_pieces(*pieces)
    client.end_sending()
    return await client.answers_until_closed()


SEGMENT: Final = st.one_of(
    st.text("0123456789abcdef", min_size=1, max_size=40),
    st.text([chr(code) for code in range(0x21, 0x7F)], max_size=12),
    st.text([chr(code) for code in range(0x100)], max_size=6),
    st.text("a/?%# {}.\r\n", max_size=8),
    st.sampled_from(["no", "no-1", "terms", "..", "a/grab", "a/grab HTTP/1.1\r\nHost: x\r\n\r\n", "x" * 5_000]),
)


@settings(max_examples=200, deadline=None)
@given(SEGMENT, st.sampled_from([grab, look]), st.sampled_from(["{}", "{}?n=1", "a{}", "{}/x"]))
@example("terms", look, "{}")
@example("", grab, "{}")
def test_whatever_the_segment_is_the_answer_is_that_of_the_long_way(
    segment: str, ask: Callable[[RunningGate, str], bytes], spelled: str
) -> None:
    async def scenario() -> None:
        async with gate_with_patterns() as gate:
            await learn(await gate.connect(), lambda own: ask(gate, own))
            data = ask(gate, spelled.replace("{}", segment))
            expected = await all_answers(gate, data[:3], data[3:])
            for _ in range(2):
                assert await all_answers(gate, data) == expected
            assert gate.unhandled == []

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


async def test_another_segment_is_found_without_reading_and_its_user_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    async with gate_with_patterns() as gate:
        for ask in (grab, look):
            await learn(await gate.connect(), lambda own, ask=ask: ask(gate, own))  # type: ignore[misc]
        assert (len(gate.site.known_heads), len(gate.site.seen_alike)) == (2, 2)
        monkeypatch.setattr(connection, "HEAD", None)  # nothing is matched any more
        client = await gate.connect()
        for segment, user in (("a", "alice"), ("b" * 40, "bob"), ("c", "alice"), ("c", "alice"), ("d~!@$&'()", "bob")):
            for asking in (client, await gate.connect()):
                told = (await asking.ask(grab(gate, segment, user))).body.split(b"|")
                assert told[:4] == [b"grab", segment.encode(), b"{}", user.encode()]
                told = (await asking.ask(look(gate, segment, user))).body.split(b"|")
                assert told[:4] == [b"look", segment.encode(), b"", user.encode()]
        assert gate.unhandled == []


async def test_what_has_a_body_of_its_own_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with gate_with_patterns() as gate:
        client = await gate.connect()
        for known in (b"one", b"three"):
            await client.ask(grab(gate, "a", body=b'{"word":"%b"}' % known))
        monkeypatch.setattr(connection, "RequestReader", None)  # nothing is read with care any more
        for segment, word in (("b", b"two"), ("c", b"seven"), ("c", b"eight"), ("d", b"ten")):
            body = b'{"word":"%b"}' % word
            told = (await client.ask(grab(gate, segment, body=body))).body.split(b"|")
            assert told[1:3] == [segment.encode(), body]
        monkeypatch.undo()
        assert (await client.ask(grab(gate, "e", body=b'["word","abc"]'))).status == 400, "as on the long way"


async def test_lines_of_its_own_and_an_address_from_a_proxy_keep_no_request_from_the_short_ways(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with gate_with_patterns(asking=AskingRules(trusted_proxies=LOOPBACK)) as gate:
        client = await gate.connect()

        def through_a_proxy(segment: str, user: str = "alice", own: str = "7") -> bytes:
            lines = f"\r\nX-Request-Id: {own}\r\nX-Forwarded-For: 203.0.113.{own}\r\n\r\n"
            return grab(gate, segment, user).replace(b"\r\n\r\n", lines.encode())

        await learn(client, through_a_proxy)
        assert len(gate.site.seen_alike) == 1
        monkeypatch.setattr(connection, "HEAD", None)
        addresses = set()
        for segment, user, own in (("a", "alice", "8"), ("b", "bob", "9"), ("cc", "carol", "255")):
            *told, address = (await client.ask(through_a_proxy(segment, user, own))).body.split(b"|")
            assert told == [b"grab", segment.encode(), b"{}", user.encode()]
            addresses.add(address)
        assert len(addresses) == 3


async def test_the_pattern_is_asked_each_time_also_by_the_same_bytes() -> None:
    async with running_gate() as gate:
        left = 12
        served = saying(b"x")

        def some(_segment: bytes) -> Route | None:
            nonlocal left
            left -= 1
            return served if left >= 0 else None

        gate.site.add_below(b"POST", GRAB.encode(), some, tickets=tickets_of(gate))
        client, data = await gate.connect(), grab(gate, "a")
        assert [(await client.ask(data)).status for _ in range(14)] == [200] * 12 + [404] * 2


async def test_pipelined_requests_each_have_their_segment() -> None:
    async with gate_with_patterns() as gate:
        client = await gate.connect()
        await learn(client, lambda own: grab(gate, own))
        one, two = grab(gate, "one"), grab(gate, "two", "bob")
        await client.send(one + two + one[:40])
        answered = [await client.answer(), await client.answer()]
        await client.send(one[40:])
        answered.append(await client.answer())
        assert [answer.body.split(b"|")[1] for answer in answered] == [b"one", b"two", b"one"]


async def test_a_ticket_that_is_not_good_there_is_refused_on_the_short_ways() -> None:
    async with gate_with_patterns() as gate:
        client = await gate.connect()
        await learn(client, lambda own: grab(gate, own))
        foreign = sign_ticket(OTHER_RING, "alice", OPENS_US // SECOND_US + 60)
        data = grab(gate, "a")
        assert (await client.ask(data.replace(gate.ticket("alice").encode(), foreign.encode()))).status == 401
        assert (await client.ask(data)).status == 200


Change = Callable[[Site, TicketCheck], object]
EXACT: Final = b"/v1/p/00000005/grab"
CHANGES: Final[dict[str, tuple[Change, dict[str, int]]]] = {
    "an exact path of the method": (
        lambda site, tickets: site.add(b"POST", EXACT, saying(b"exact"), needs_ticket=True, tickets=tickets),
        {"00000005": 5, "6": 200},
    ),
    "an exact path of another method": (
        lambda site, tickets: site.add(b"PUT", EXACT, saying(b"exact"), needs_ticket=True, tickets=tickets),
        {"00000005": 405, "6": 200},
    ),
    "a counter": (
        lambda site, tickets: site.add_counter(b"POST", EXACT, lambda *_: saying(b"counter"), tickets),
        {"00000005": 401, "6": 200},
    ),
    "another pattern that is asked later": (
        lambda site, tickets: site.add_below(b"POST", b"/v1/p/{}/{}", lambda *_: saying(b"exact"), tickets=tickets),
        {"00000005": 200, "6": 200, "no": 5},
    ),
    "nothing any more": (
        lambda site, _tickets: site.remove([GRAB.encode()]),
        {"00000005": 404, "6": 404},
    ),
}  # 5: served by what is added


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("change", CHANGES)
async def test_what_is_changed_holds_from_the_next_request_on(change: str, elsewhere: bool) -> None:
    """Also for heads that are remembered by another site, which serves what this one has."""
    async with running_gate() as gate:
        tickets = tickets_of(gate)
        site = Site(Limits(), TicketVerifier(gate.tickets), gate.clock) if elsewhere else gate.site
        site.add_below(b"POST", GRAB.encode(), telling(b"grab"), tickets=tickets)
        path = GRAB
        if elsewhere:
            path = "/v1/campaigns/c/p/{}/grab"
            gate.site.elsewhere = lambda asked: site.serve_for(
                gate.site, asked, asked.path.replace(b"campaigns/c/", b"")
            )
        client = await gate.connect()
        await learn(client, lambda own: grab(gate, own, path=path))
        assert len(gate.site.seen_alike) == 1
        doing, expected = CHANGES[change]
        doing(site, tickets)
        for _ in range(2 + LEARN_EVERY):
            for segment, status in expected.items():
                for asking in (client, await gate.connect()):
                    answer = await asking.ask(grab(gate, segment, path=path))
                    assert (answer.status, answer.body) == (200, b"exact") if status == 5 else answer.status == status
        assert gate.unhandled == []


async def test_a_pattern_that_is_asked_first_is_asked_first() -> None:
    """Two are alike, wholly or in part: which of them serves a path cannot be told from another one."""
    for first, second in ((GRAB, GRAB), ("/v1/p/x/{}", GRAB), ("/v1/{}/{}/grab", GRAB), (GRAB, "/v1/p/{}/{}")):
        async with running_gate() as gate:
            for pattern, name in ((first, b"first"), (second, b"second")):

                def of(*segments: bytes, name: bytes = name) -> Route | None:
                    return None if b"no" in segments and name == b"first" else saying(name)

                gate.site.add_below(b"POST", pattern.encode(), of, tickets=tickets_of(gate))
            client = await gate.connect()
            for _ in range(2 + LEARN_EVERY):
                for segment in ("no", "x", "y"):
                    alone = first == "/v1/p/x/{}" and segment != "x"
                    answer = await client.ask(grab(gate, segment))
                    assert answer.body == (b"second" if segment == "no" or alone else b"first"), (first, second)


async def test_several_open_segments_are_served_as_ever() -> None:
    async with running_gate() as gate:
        gate.site.add_below(b"POST", b"/v1/p/{}/{}", saying, tickets=tickets_of(gate))
        client = await gate.connect()
        for number in range(2 + LEARN_EVERY):
            path = f"/v1/p/{number}/{number + 1}"
            assert (await client.ask(grab(gate, "", path=path))).body == b"%d|%d" % (number, number + 1)
        assert len(gate.site.known_heads) == 0


@asynccontextmanager
async def two_sites(find: Callable[[Site, Site, Request], Found | None]) -> AsyncIterator[tuple[RunningGate, Site]]:
    async with running_gate() as gate:
        other = Site(Limits(), TicketVerifier(gate.tickets), gate.clock)
        add_patterns(other, other.tickets)
        gate.site.elsewhere = lambda asked: find(gate.site, other, asked)
        yield gate, other


def _of_campaign(site: Site, other: Site, asked: Request) -> Found | None:
    return other.serve_for(site, asked, asked.path.replace(b"/v1/campaigns/c/", b"/v1/"))


async def test_a_path_of_another_site_goes_the_short_ways_until_this_one_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = "/v1/campaigns/c/p/{}/grab"
    async with two_sites(_of_campaign) as (gate, _other):
        client = await gate.connect()
        await learn(client, lambda own: grab(gate, own, path=path))
        with monkeypatch.context() as patched:
            patched.setattr(connection, "HEAD", None)
            for segment in ("a", "bb"):
                told = (await client.ask(grab(gate, segment, path=path))).body.split(b"|")
                assert told[:2] == [b"grab", segment.encode()]
        tickets = tickets_of(gate)
        gate.site.add(b"POST", path.replace("{}", "a").encode(), saying(b"exact"), needs_ticket=True, tickets=tickets)
        await learn(client, lambda own: grab(gate, own, path=path))
        for _ in range(2 + LEARN_EVERY):
            assert (await client.ask(grab(gate, "a", path=path))).body == b"exact"
            assert (await client.ask(grab(gate, "b", path=path))).body.startswith(b"grab|b")
        of_bees = telling(b"own")
        gate.site.add_below(
            b"POST", path.encode(), lambda segment: of_bees(segment) if segment[:1] == b"b" else None, tickets=tickets
        )
        await learn(client, lambda own: grab(gate, own, path=path))
        for _ in range(2 + LEARN_EVERY):
            assert (await client.ask(grab(gate, "a", path=path))).body == b"exact"
            assert (await client.ask(grab(gate, "b", path=path))).body.startswith(b"own|b")
            assert (await client.ask(grab(gate, "c", path=path))).body.startswith(b"grab|c")


def _once(site: Site, other: Site, asked: Request) -> Found | None:
    return other.serve_for(site, asked, asked.path.replace(b"/v1/campaigns/c/", b"/v1/"), once=True)


def _by_a_third(site: Site, other: Site, asked: Request) -> Found | None:
    between = Site(Limits(), None, lambda: OPENS_US)
    between.elsewhere = lambda inner: other.serve_for(between, inner, inner.path)
    return between.serve_for(site, asked, asked.path.replace(b"/v1/campaigns/c/", b"/v1/"))


def _spelled_anew(site: Site, other: Site, asked: Request) -> Found | None:
    segment = asked.path.split(b"/")[5]
    return other.serve_for(site, asked, b"/v1/p/x%b/grab" % segment)


@pytest.mark.parametrize("find", [_once, _by_a_third, _spelled_anew])
async def test_what_another_site_serves_for_once_or_of_another_segment_is_not_remembered(
    find: Callable[[Site, Site, Request], Found | None],
) -> None:
    async with two_sites(find) as (gate, _other):
        client = await gate.connect()
        await learn(client, lambda own: grab(gate, own, path="/v1/campaigns/c/p/{}/grab"))
        assert len(gate.site.known_heads) == 0


async def test_a_page_of_another_origin_can_read_the_answers_with_every_body() -> None:
    async with gate_with_patterns(origins=(PAGE,)) as gate:
        client, bodies = await gate.connect(), (b"", b"{}", b'{"word":"abc"}')
        with_body = Telling(b"exact")
        gate.site.add(
            b"POST",
            b"/v1/x",
            with_body,
            needs_ticket=True,
            reads=with_body.reads,
            tickets=tickets_of(gate),
            steady=True,
        )
        for number in range(2 + LEARN_EVERY):
            for body in bodies:
                for path, said in ((GRAB, b"grab|%d|%b|" % (number, body)), ("/v1/x", b"exact|%b|" % body)):
                    asked = grab(gate, str(number), body=body, path=path)
                    answer = await client.ask(asked.replace(b"\r\n", f"\r\nOrigin: {PAGE}\r\n".encode(), 1))
                    assert answer.headers["access-control-allow-origin"] == PAGE
                    assert answer.body.startswith(said)
                    plain = await client.ask(asked)
                    assert "access-control-allow-origin" not in plain.headers
                    assert plain.body == answer.body


async def test_other_methods_of_a_path_with_an_open_segment_are_answered_as_ever() -> None:
    async with gate_with_patterns() as gate:
        client = await gate.connect()
        await learn(client, lambda own: look(gate, own))
        for number in range(2 + LEARN_EVERY):
            await client.send(look(gate, f"{number:08}").replace(b"GET", b"HEAD", 1))
            assert (await client.answer(to_head=True)).status == 405
            assert (await client.ask(look(gate, f"{number:08}").replace(b"GET", b"OPTIONS", 1))).status == 405
            assert (await client.ask(look(gate, "terms"))).body == b"terms"


async def test_more_patterns_than_are_found_without_reading_are_served_all_the_same() -> None:
    async with running_gate() as gate:
        client, paths = await gate.connect(), [f"/v1/{'x' * number}/{{}}" for number in range(1, FRONT_LENGTHS_MAX + 4)]
        for path in paths:
            gate.site.add_below(b"POST", path.encode(), telling(path.encode()), tickets=tickets_of(gate))
        for number in range(2 + 2 * LEARN_EVERY):
            for path in paths:
                told = (await client.ask(grab(gate, f"{number:08}", path=path))).body.split(b"|")
                assert told[:2] == [path.encode(), b"%08d" % number]
        assert FRONT_LENGTHS_MAX // 2 < len(gate.site.seen_alike) <= FRONT_LENGTHS_MAX


async def test_heads_of_all_fronts_are_bounded_together_and_not_counted_anew_for_each_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(seen_heads, "LEARN_EVERY", 1)
    monkeypatch.setattr(seen_heads, "SEEN_MAX", 10)
    async with gate_with_patterns() as gate:
        client, alike = await gate.connect(), gate.site.seen_alike
        with monkeypatch.context() as uncounted:
            uncounted.setattr(seen_heads.SeenHeads, "__len__", None)  # of one front of maybe hundreds
            for number in range(40):
                for ask in (grab, look):
                    other = ask(gate, "a").replace(b"\r\nHost:", b"\r\nX-Own-%d: 1\r\nHost:" % number)
                    assert (await client.ask(other)).status == 200
        held = list(map(len, alike._fronts.values()))
        assert 0 < sum(held) <= 10
        assert len(alike) == sum(held)
        gate.site.forget_heads()
        assert len(alike) == 0


def test_only_segments_that_stand_for_themselves_are_usual() -> None:
    alike = Alike(b"POST /v1/p/", b"/grab", frozenset({b"taken"}), saying)
    usual = {code for code in range(256) if alike.route(b"a%ca" % code, b"") is not None}
    assert usual == set(range(0x21, 0x7F)) - set(b"/?%#")
    assert alike.route(b"", b"") is alike.route(b"taken", b"") is None
