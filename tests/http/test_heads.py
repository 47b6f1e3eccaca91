"""The readers and llhttp, held against each other.

Each request goes four ways. Found without reading: its like came before. Read at once: what its head means was learned
from an earlier one, its ticket and address are cut out. Read with care, by `RequestReader`. Through bare llhttp.
Wherever one of the first ways has an answer the careful one has the same, in every field; and that refuses whatever
llhttp refuses, and more only for the reasons of `STRICTER`.

30,000 requests in `make test`, a million in `make soak`. `REDRUSH_FUZZ_SEED=n` replays a failure; the seed is in its
message.
"""

import os
import random
import secrets
from collections import Counter
from collections.abc import Callable
from functools import partial, reduce
from typing import Any, Final

import httptools
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redrush.http.dress import PLAIN
from redrush.http.heads import HEAD, HEAD_BYTES_MAX, KnownHeads
from redrush.http.paths import Alike, Below, Paths, Pattern
from redrush.http.reader import Broken, Limits, Request, RequestReader
from redrush.http.route import Endpoint, Route, Waiter
from redrush.http.seen_heads import LEARN_EVERY, TEXT, Opened, Seen, SeenAlike, SeenHeads
from redrush.http.ticket_check import NONE_GENUINE
from tests.http.requests_at_random import TICKET, Requests
from tests.http.test_malformed import CORPUS

LIMITS: Final = Limits()
REQUESTS: Final = 30_000
VARIANTS: Final = 10_000
REQUESTS_IN_SOAK: Final = 1_000_000
AT_ONCE_SHARE_MIN: Final = 0.1
"""Of the requests are read at once, at least: else the test would show nothing about that."""
WITHOUT_READING_SHARE_MIN: Final = 0.2
"""The same, of the variants of heads that came before, for those that are found without reading."""


class Learned:
    """Stands in the place of a route: the request that its head was learned from."""

    def __init__(self, request: Request) -> None:
        self.request = request

    def serve(self, waiter: Waiter, user: str) -> bytes | None:
        raise AssertionError("nobody is served here")


def learned_from(route: Route) -> Request:
    assert isinstance(route, Learned)
    return route.request


def _below(segment: bytes) -> Route:
    return Learned(Request(b"POST", b"/p/%b/grab" % segment, None, b"", b"", keep_alive=True))


def paths_with_patterns() -> Paths:
    """Of which one leaves a segment open, where something else is at some paths."""
    paths = Paths()
    paths.add_pattern(Pattern(b"POST", (b"", b"p", b"{}", b"grab"), _below, NONE_GENUINE))
    paths.add(b"/p/7/grab", Endpoint(b"POST", _below(b"7"), needs_ticket=False))
    return paths


class Message:
    """One request as bare llhttp tells it, maybe unfinished."""

    def __init__(self) -> None:
        self.url = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.in_head = True
        self.version = ""
        self.method = b""
        self.keep_alive = False
        self.whole = False

    def count(self, name: bytes) -> int:
        return sum(1 for field, _ in self.fields if field == name)

    def values(self, name: bytes) -> list[bytes]:
        return [value for field, value in self.fields if field == name]


class Bare:
    """What llhttp makes of bytes by itself."""

    def __init__(self, data: bytes) -> None:
        self.messages: list[Message] = []
        self.refused = self.upgraded = False
        self._parser = httptools.HttpRequestParser(self)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.upgraded = True
        except httptools.HttpParserError:
            self.refused = True

    def on_message_begin(self) -> None:
        self.messages.append(Message())

    def on_url(self, url: bytes) -> None:
        self.messages[-1].url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.messages[-1].in_head:
            self.messages[-1].fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        message = self.messages[-1]
        message.in_head = False
        message.version = self._parser.get_http_version()
        message.method = self._parser.get_method()
        message.keep_alive = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self.messages[-1].body += body

    def on_message_complete(self) -> None:
        self.messages[-1].whole = True


def _is_path(url: bytes) -> bool:
    try:
        return url.startswith(b"/") or httptools.parse_url(url).path is not None
    except httptools.HttpParserInvalidURLError:
        return False


STRICTER: Final[dict[str, Callable[[Message], bool]]] = {
    "HTTP/1.1 without Host (RFC 9112, 3.2)": lambda it: it.version == "1.1" and it.count(b"host") == 0,
    "Host twice (RFC 9112, 3.2)": lambda it: it.count(b"host") > 1,
    "Origin twice": lambda it: it.count(b"origin") > 1,
    "Content-Type twice": lambda it: it.count(b"content-type") > 1,
    "Authorization twice": lambda it: it.count(b"authorization") > 1,
    "a version but 1.0 and 1.1": lambda it: it.version not in {"", "1.0", "1.1"},
    "chunks in HTTP/1.0 (RFC 9112, 6.1)": lambda it: it.version == "1.0" and it.count(b"transfer-encoding") > 0,
    "an expectation that cannot be met (RFC 9110, 10.1.1)": lambda it: any(
        value.lower() != b"100-continue" for value in it.values(b"expect")
    ),
    "a target without a path (RFC 9112, 3.2)": lambda it: not _is_path(it.url),
    "a head above the limit": lambda it: (
        len(it.url) + sum(len(name) + len(value) for name, value in it.fields) > LIMITS.head_bytes_max
    ),
    "a body above the limit": lambda it: (
        len(it.body) > LIMITS.body_bytes_max
        or any(value.isdigit() and int(value) > LIMITS.body_bytes_max for value in it.values(b"content-length"))
    ),
}
"""Every deviation from llhttp, all towards refusing."""


class Readers:
    """The three ways, with one memory of heads."""

    def __init__(self) -> None:
        self.known = KnownHeads()
        self.heads: SeenHeads[Endpoint] = SeenHeads()
        self.heads_alike = SeenAlike()
        self.learned: dict[Alike, Request] = {}
        """What the heads of each were learned from."""
        self.paths = paths_with_patterns()
        self.seen: Counter[str] = Counter()

    def read(self, data: bytes) -> None:
        """Read the request each way; fails the test where they differ."""
        reader = RequestReader(LIMITS)
        reader.feed(data)
        careful = list(reader.ready)
        self._against_llhttp(data, careful, unfinished=reader.under_way)
        self._without_reading(data, careful, unfinished=reader.under_way)
        found = HEAD.match(data, 0, HEAD_BYTES_MAX)
        if found is None:
            self.seen["for the careful reader"] += 1
            return
        head = self.known.get(found.groups()) or self.known.find_alike(found.groups())
        body = data[found.end() :]
        if head is None:
            self.seen["matches, not known"] += 1
            request = careful[0] if len(careful) == 1 and not reader.under_way else None
            # llhttp passes over empty lines behind a request: those belong to the next one.
            if isinstance(request, Request) and request.keep_alive and request.body == body:
                endpoint = Endpoint(request.method, Learned(request), needs_ticket=request.ticket is not None)
                self.known.learn(found.groups(), len(body), endpoint, self._alike(request))
        elif len(body) == head.body_bytes:
            learned = learned_from(head.endpoint.route)
            path = _path(head.alike, b"" if head.alike is None else head.alike.segment(found[1]), body, learned)
            if path is None:
                self.seen["of a segment that is not usual"] += 1
                return
            self.seen["at once"] += 1
            (request,) = careful
            assert isinstance(request, Request), "what the careful reader refuses is served"
            assert not reader.under_way
            for field in ("method", "host", "origin", "content_type", "keep_alive"):
                assert getattr(learned, field) == getattr(request, field), field
            assert path == request.path
            assert _value(data, found.end(head.ticket), head.ticket) == (request.ticket or b"")
            assert _value(data, found.end(head.forwarded), head.forwarded) == request.forwarded.strip(b" ")
            assert body == request.body
            if head.ticket:
                start, end = found.end(head.ticket), found.end()
                for _ in range(LEARN_EVERY):
                    if head.alike is None:
                        self.heads.learn(data, start, end, head.endpoint)
                    else:
                        self.heads_alike.learn(data, start, end, Opened(head.alike, NONE_GENUINE, body))

    def _alike(self, request: Request) -> Alike | None:
        way = next((one for one in self.paths.ways(request.path) if one.method == request.method), None)
        alike = self.paths.alike(request.path, way, PLAIN) if isinstance(way, Below) else None
        if alike is not None:  # each head has one of its own, as where it has a dress
            alike = msgspec.structs.replace(alike, route_for=partial(_below))
            self.learned[alike] = request
        return alike

    def _without_reading(self, data: bytes, careful: list[Request | Broken], *, unfinished: bool) -> None:
        exact, alike = self.heads.find(data), self.heads_alike.find(data)
        head: Seen[Any]
        path: bytes | None = None
        if alike is not None:
            head, values, segment = alike
            opened = alike[0].served
            learned = self.learned[opened.alike]
            path = _path(opened.alike, segment, opened.body, learned)
            body = opened.body
        by_segment = path is not None
        if path is None and exact is not None:
            head, values = exact
            learned = learned_from(exact[0].served.route)
            path, body = learned.path, learned.body
        if path is None or values[head.ticket].translate(TEXT) != values[head.ticket]:
            return  # no ticket is genuine that is not text, and without one nothing is served
        self.seen["without reading"] += 1
        self.seen["of a segment, without reading"] += by_segment
        (request,) = careful
        assert isinstance(request, Request), "what the careful reader refuses is served"
        assert not unfinished
        for field in ("method", "host", "origin", "content_type", "keep_alive"):
            assert getattr(learned, field) == getattr(request, field), field
        assert (path, body) == (request.path, request.body)
        assert values[head.ticket].strip(b" ") == request.ticket
        assert (values[head.forwarded] if head.forwarded >= 0 else b"").strip(b" ") == request.forwarded.strip(b" ")

    def _against_llhttp(self, data: bytes, careful: list[Request | Broken], *, unfinished: bool) -> None:
        bare = Bare(data)
        if bare.upgraded:
            return  # llhttp would read no further; the wish is passed over (see the careful reader)
        broken = isinstance(careful[-1], Broken) if careful else False
        if bare.refused:
            assert broken, "what llhttp refuses is served"
            return
        if broken:
            reasons = [reason for reason, holds in STRICTER.items() if any(map(holds, bare.messages))]
            assert reasons, f"refused without a reason: {careful[-1]}"
            self.seen.update(reasons)
            return
        whole = [message for message in bare.messages if message.whole]
        assert unfinished == (len(whole) < len(bare.messages))
        for message, request in zip(whole, careful, strict=True):
            assert isinstance(request, Request)
            assert (message.method, message.body) == (request.method, request.body)
            assert request.keep_alive == (message.keep_alive and message.version == "1.1")
            for field, name in (("content_type", b"content-type"), ("host", b"host"), ("origin", b"origin")):
                assert [getattr(request, field)] == (message.values(name) or [b""]), field
            lists = message.values(b"x-forwarded-for")
            assert request.forwarded == reduce(lambda one, other: one + b"," + other if one else other, lists, b"")
            assert (request.ticket or b"") == _credentials(message)


def _path(alike: Alike | None, segment: bytes, body: bytes, learned: Request) -> bytes | None:
    """The path that is served; None where it has to be looked up with care."""
    if alike is None:
        return learned.path
    route = alike.route(segment, body)
    return None if route is None else learned_from(route).path


def _value(data: bytes, start: int, group: int) -> bytes:
    """What stands from there to the end of the line, without blanks around it; nothing if there is no such line."""
    return data[start : data.find(b"\r", start)].strip(b" ") if group else b""


def _credentials(message: Message) -> bytes:
    scheme, _, credentials = (message.values(b"authorization") or [b""])[0].partition(b" ")
    return credentials.strip() if scheme.lower() == b"bearer" else b""


def _hold_against_each_other(count: int) -> None:
    seed = int(os.environ.get("REDRUSH_FUZZ_SEED") or secrets.randbelow(1 << 32))
    requests, readers = Requests(seed), Readers()
    for _ in range(count):
        data = requests.next()
        try:
            readers.read(data)
        except AssertionError as difference:
            raise AssertionError(f"REDRUSH_FUZZ_SEED={seed}: {data!r}: {difference}") from difference
    seen = readers.seen
    assert seen["at once"] > AT_ONCE_SHARE_MIN * count, f"REDRUSH_FUZZ_SEED={seed}: {seen}"


def test_30_000_requests_are_read_alike_by_both_readers_and_llhttp() -> None:
    _hold_against_each_other(REQUESTS)


@pytest.mark.soak
def test_a_million_requests_are_read_alike_by_both_readers_and_llhttp() -> None:
    _hold_against_each_other(REQUESTS_IN_SOAK)


KINDS: Final = (
    "Host: x|Connection: keep-alive|Content-Length: 2|Content-Type: application/json|Authorization: Bearer %t|"
    "User-Agent: y|Origin: http://x|Accept: */*|X-Request-Id: %o|traceparent: 00-%o-%o-01|",
    "Host: redrush|Authorization: Bearer %t|X-Forwarded-For: 203.0.113.%o|Content-Type: application/json|"
    "Content-Length: 2|",
    "Host: redrush|X-Forwarded-For: 203.0.113.%o|CF-Ray: %o-SIN|Content-Length: 2|Authorization: Bearer %t|"
    "Cookie: a=%o|",
    "cf-ray: %o|x-request-id:%o|Host: x|Content-Length: 2|Authorization: Bearer %t|",
)
"""What clients and proxies write: %t is a ticket, %o another number each time."""


def _variants_held_against_each_other(count: int) -> None:
    seed = int(os.environ.get("REDRUSH_FUZZ_SEED") or secrets.randbelow(1 << 32))
    requests, readers, chance = Requests(seed), Readers(), random.Random(seed)
    for _ in range(count):
        lines = chance.choice(KINDS).replace("%t", TICKET).replace("|", "\r\n").split("%o")
        text = "".join(f"{line}{chance.randrange(1_000)}" for line in lines[:-1]) + lines[-1]
        path = chance.choice(("/grab", f"/p/{chance.randrange(1_000)}/grab", f"/p/{chance.randrange(10)}/grab?n=1"))
        data = f"POST {path} HTTP/1.1\r\n{text}\r\n{{}}".encode()
        while chance.random() < 0.4:
            data = requests.mutated(data)
        try:
            readers.read(data)
        except AssertionError as difference:
            raise AssertionError(f"REDRUSH_FUZZ_SEED={seed}: {data!r}: {difference}") from difference
    for found in (readers.seen["without reading"], 2 * readers.seen["of a segment, without reading"]):
        assert found > WITHOUT_READING_SHARE_MIN * count, f"REDRUSH_FUZZ_SEED={seed}: {readers.seen}"


def test_10_000_variants_of_heads_that_came_before_are_read_alike() -> None:
    _variants_held_against_each_other(VARIANTS)


@pytest.mark.soak
def test_a_million_variants_of_heads_that_came_before_are_read_alike() -> None:
    _variants_held_against_each_other(REQUESTS_IN_SOAK)


_CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"
EXAMPLES: Final = {
    "HTTP/1.1 without Host (RFC 9112, 3.2)": b"GET / HTTP/1.1\r\n\r\n",
    "Host twice (RFC 9112, 3.2)": b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
    "Origin twice": b"GET / HTTP/1.1\r\nHost: x\r\nOrigin: a\r\nOrigin: a\r\n\r\n",
    "Content-Type twice": b"GET / HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Type: a/b\r\n\r\n",
    "Authorization twice": b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic x\r\nAuthorization: Bearer x\r\n\r\n",
    "a version but 1.0 and 1.1": b"GET / HTTP/0.9\r\nHost: x\r\n\r\n",
    "chunks in HTTP/1.0 (RFC 9112, 6.1)": b"POST / HTTP/1.0\r\nHost: x\r\n" + _CHUNKED + b"\r\n0\r\n\r\n",
    "an expectation that cannot be met (RFC 9110, 10.1.1)": b"GET / HTTP/1.1\r\nHost: x\r\nExpect: x\r\n\r\n",
    "a target without a path (RFC 9112, 3.2)": b"GET http://x HTTP/1.1\r\nHost: x\r\n\r\n",
    "a head above the limit": b"GET / HTTP/1.1\r\nHost: x\r\nX: %b\r\n\r\n" % (b"x" * LIMITS.head_bytes_max),
    "a body above the limit": b"POST / HTTP/1.1\r\nHost: x\r\n"
    + _CHUNKED
    + b"\r\n1001\r\n%b\r\n0\r\n\r\n" % (b"x" * 4_097),
}


@pytest.mark.parametrize("reason", STRICTER)
def test_each_deviation_from_llhttp_is_one(reason: str) -> None:
    readers = Readers()
    readers.read(EXAMPLES[reason])
    assert readers.seen[reason] == 1
    assert not Bare(EXAMPLES[reason]).refused


@pytest.mark.parametrize("name", [name for name, data in CORPUS.items() if len(data) < HEAD_BYTES_MAX])
def test_what_is_malformed_is_never_read_at_once(name: str) -> None:
    """Nor with lines before and behind it that belong to no request of the corpus."""
    data = CORPUS[name]
    readers = Readers()
    for own in (b"", b"X-Request-Id: 7\r\n", b"User-Agent: y\r\n", b"Cookie: z\r\n"):
        target, crlf, rest = data.partition(b"\r\n")
        for spelled in (data, target + crlf + own + rest, data.replace(b"\r\n\r\n", b"\r\n" + own + b"\r\n", 1)):
            for _ in range(2):
                readers.read(spelled)


_LINES = st.one_of(
    st.sampled_from(
        ["Host: x", "Content-Length: 2", "Content-Length: 0", "Authorization: Bearer a.b.c", "Connection: close"]
    ),
    st.sampled_from(
        ["X-Forwarded-For: 1.2.3.4", "Content-Type: application/json", "Transfer-Encoding: chunked", "Origin: x"]
    ),
    st.tuples(
        st.text(st.characters(max_codepoint=255), max_size=8), st.text(st.characters(max_codepoint=255), max_size=8)
    ).map(lambda pair: f"{pair[0]}: {pair[1]}"),
    st.text("abcehoptxACEHOPTX-:\r\n \t", max_size=20),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_LINES, max_size=6), st.sampled_from(["", "{}", "\r\n", "{}\r\n"]))
def test_lines_of_any_kind_are_read_alike(lines: list[str], body: str) -> None:
    readers = Readers()
    for head in (["Host: x"], ["Host: x", "Content-Length: 2"]):
        readers.read("\r\n".join(["POST / HTTP/1.1", *head, "", body]).encode())
        for _ in range(2):
            readers.read("\r\n".join(["POST / HTTP/1.1", *head, *lines, "", body]).encode("latin-1"))


@pytest.mark.parametrize(
    "line", ["Foo", "Foo:", "foo: bar\r", "sec-x: a\rHost: y", "X-R\r", "Cookie", "C", "Content", "a\x01: b"]
)
def test_a_line_that_breaks_off_ends_no_head(line: str) -> None:
    """Python before 3.11.5 leaves off in the middle of what a possessive group gave up."""
    data = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n{line}\r\n\r\n".encode()
    for end in (b"", b"{}", b"\r\n"):
        found = HEAD.match(data + end)
        assert found is None or line == "Foo:"


@pytest.mark.parametrize("first", ["foo", "Accept", "X-Request-Id", "Cookie", "Content-Type", "Origin"])
@pytest.mark.parametrize(
    "second", ["foo", "Accept", "X-Request-Id", "traceparent", "Host", "Connection", "Authorization"]
)
@pytest.mark.parametrize("between", ["\r", "\n", "\0", "\x7f", "\r\r\n", "\n\r", "\r\n ", " \x0b"])
def test_nothing_but_a_line_end_ends_a_line(first: str, between: str, second: str) -> None:
    value = {"Connection": "keep-alive", "Authorization": "Bearer x"}.get(second, "x")
    for text in (f"{first}: a{between}{second}: {value}", f"{first}{between}{second}: {value}"):
        assert HEAD.match(f"GET / HTTP/1.1\r\nVia: x\r\n{text}\r\n\r\n".encode()) is None
