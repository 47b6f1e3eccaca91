"""Reading requests with care: strict HTTP/1.1 through llhttp (httptools), with limits.

For whatever does not come in one piece, is chunked, spelled in a rare way, or wrong: about 5 µs for a browser's
request. All others are read at once (`redrush.http.heads`), once one of their kind was read here.
"""

from collections import deque

import httptools
import msgspec

CHUNK_BYTES_MIN = 6
"""What a chunk of one byte takes on the wire: a chunked body may be this many times its size, and no more."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one client may use of a gate."""

    head_bytes_max: int = 16_384
    body_bytes_max: int = 4_096
    pipelined_max: int = 64
    """Complete requests of one connection waiting for their turn; more close the connection."""
    connections_max: int = 16_000
    parked_max: int = 20_000
    """Claims of the whole gate waiting for the store; above it a prepared 503 is returned at once."""
    read_deadline_s: float = 10.0
    """From the first byte of a request to its last, and for an answer to be taken by the client."""
    idle_timeout_s: float = 75.0
    claim_deadline_s: float = 5.0
    """A claim that the store has not decided by then is answered 503: the outcome is unknown, not lost."""
    origins: tuple[str, ...] = ()
    """Of pages elsewhere that may ask (CORS)."""


_LENGTH_DIGITS_MAX = 20
"""Of a length that are looked at: as many as 2^64 has, and their number is never above that of all."""

_LISTS = frozenset({b"if-none-match", b"accept-encoding", b"x-forwarded-for"})
"""Headers whose lines belong together when there are several (RFC 9110, 5.3)."""

_FRAMING_HEADERS = frozenset({b"content-length", b"transfer-encoding"})


class Request(msgspec.Struct, frozen=True, gc=False):
    """One complete request, as far as a route cares."""

    method: bytes
    path: bytes
    ticket: bytes | None
    content_type: bytes
    body: bytes
    keep_alive: bool
    forwarded: bytes = b""
    """`X-Forwarded-For` as it came; the lines of several joined."""
    host: bytes = b""
    origin: bytes = b""
    """Of the page that asks, as its browser says; empty where it says nothing."""
    if_none_match: bytes = b""
    """Tags of what the client, or a cache before it, has already (RFC 9110, 13.1.2); lines of several joined."""
    accept_encoding: bytes = b""
    """Codings that an answer may come in (RFC 9110, 12.5.3); lines of several joined."""


class Broken(msgspec.Struct, frozen=True, gc=False):
    """The stream cannot be read on; answer with `status` and close."""

    status: int


class RequestReader:
    """Turns a byte stream into requests. `feed` it; complete ones, and at most one `Broken` at the end, gather in
    `ready`. After a Broken nothing more is read. `expects`: the client of the request that is under way waits to hear
    that it may send the body (RFC 9110, 10.1.1); whoever tells it sets that back."""

    __slots__ = ("_body", "_broken", "_content_type", "_decided", "_expectations", "_framing", "_head_bytes", "_host",
                 "_in_head", "_length", "_limits", "_lists", "_origin", "_parser", "_pieces_bytes", "_ticket", "_url",
                 "expects", "ready", "under_way")  # fmt: skip

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._parser = httptools.HttpRequestParser(self)
        self._broken = False
        self.ready: deque[Request | Broken] = deque()
        self.under_way = False
        self.expects = False
        self._begin()

    def _begin(self) -> None:
        self._url = b""
        self._ticket: bytes | None = None
        self._content_type = b""
        self._host = b""
        self._origin = b""
        self._lists: dict[bytes, bytes] = {}
        self._decided: set[bytes] = set()
        self._expectations: list[bytes] = []
        self._length = 0
        self._framing = b""
        self._body = b""
        self._head_bytes = 0
        self._pieces_bytes = 0
        self._in_head = True

    def feed(self, data: bytes) -> None:
        """Read on. Bounded work: `data` is at most what the transport reads at once."""
        if self.under_way:
            self._pieces_bytes += len(data)
        while data and not self._broken:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # No other protocol is spoken here, and a server may ignore the wish (RFC 9110, 7.8); clients that would
                # like HTTP/2 send it by default. llhttp reads no further after one, so a new parser goes on.
                data = data[upgrade.args[0] :]
                self._parser = httptools.HttpRequestParser(self)
            except httptools.HttpParserError:
                self._break(400)
            else:
                break
        if self.under_way:
            self._check_pieces()

    def _check_pieces(self) -> None:
        """Bound what the parser gathers out of our sight: a field that does not end, chunks of nothing, trailers."""
        limits = self._limits
        if self._in_head:
            if self._pieces_bytes > limits.head_bytes_max:
                self._break(431)
        elif self._pieces_bytes > limits.head_bytes_max + CHUNK_BYTES_MIN * limits.body_bytes_max:
            self._break(413)

    def _break(self, status: int) -> None:
        if not self._broken:
            self._broken = True
            self.under_way = False
            self.ready.append(Broken(status))

    # Callbacks of the parser. They must not raise; after a break they do nothing.

    def on_message_begin(self) -> None:
        if not self._broken:
            self._begin()
            self.under_way = True

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # A trailer: nothing that decides about a request may stand in one (RFC 9110, 6.5.1).
        self._count(len(name) + len(value))
        name = name.lower()
        if name == b"authorization":
            self._authorize(value)
        elif name == b"content-type":
            self._once(name)
            self._content_type = value
        elif name == b"host":
            self._once(name)
            self._host = value
        elif name == b"origin":
            self._once(name)
            self._origin = value
        elif name in _LISTS:
            before = self._lists.get(name)
            self._lists[name] = before + b"," + value if before else value
        elif name == b"expect":
            self._expectations.append(value.lower())
        elif name in _FRAMING_HEADERS and value != b"0":
            self._frame(name, value)

    def _once(self, name: bytes) -> None:
        """Refuse a second line of what decides: who stands before us may have gone by the other one."""
        if name in self._decided:
            self._break(400)
        self._decided.add(name)

    def _authorize(self, value: bytes) -> None:
        self._once(b"authorization")
        scheme, _, credentials = value.partition(b" ")
        if scheme.lower() == b"bearer":
            self._ticket = credentials.strip()

    def _frame(self, name: bytes, value: bytes) -> None:
        self._framing = name
        if value.isdigit():
            self._length = int(value[:_LENGTH_DIGITS_MAX])

    def _count(self, more_bytes: int) -> None:
        self._head_bytes += more_bytes
        if self._head_bytes > self._limits.head_bytes_max:
            self._break(431)

    def on_headers_complete(self) -> None:
        self._in_head = False
        version = self._parser.get_http_version()
        if version == "1.1":
            if b"host" not in self._decided:
                self._break(400)
        elif version != "1.0" or self._framing == b"transfer-encoding":
            # HTTP/1.0 knows no chunks: whoever stands before us may have cut its requests elsewhere (RFC 9112, 6.1).
            self._break(400)
        if self._parser.should_upgrade() and (self._framing or self._parser.get_method() == b"CONNECT"):
            # llhttp would take the body for the first bytes of the new protocol.
            self._break(400)
        if self._length > self._limits.body_bytes_max:
            self._break(413)
        if version == "1.1":
            self._expect()

    def _expect(self) -> None:
        """Tell whoever awaits it that the body may come, and whoever expects anything else that it cannot be met."""
        if any(expectation != b"100-continue" for expectation in self._expectations):
            self._break(417)
        self.expects = bool(self._expectations and self._framing) and not self._broken

    def on_body(self, body: bytes) -> None:
        self.expects = False  # who sends it does not wait
        if len(self._body) + len(body) > self._limits.body_bytes_max:
            self._break(413)
        if not self._broken:
            self._body += body

    def on_message_complete(self) -> None:
        self.under_way = self.expects = False
        if self._broken:
            return
        if len(self.ready) >= self._limits.pipelined_max:
            self._break(400)
            return
        path = _path_of(self._url)
        if path is None:
            self._break(400)
            return
        self.ready.append(
            Request(
                method=self._parser.get_method(),
                path=path,
                ticket=self._ticket,
                content_type=self._content_type,
                body=self._body,
                keep_alive=self._parser.should_keep_alive() and self._parser.get_http_version() == "1.1",
                forwarded=self._lists.get(b"x-forwarded-for", b""),
                host=self._host,
                origin=self._origin,
                if_none_match=self._lists.get(b"if-none-match", b""),
                accept_encoding=self._lists.get(b"accept-encoding", b""),
            )
        )
        self._begin()


def _path_of(url: bytes) -> bytes | None:
    """Return the path of a request target (RFC 9112, 3.2), without its query, or None if it is no target of ours."""
    if url.startswith(b"/"):
        return url.partition(b"?")[0]
    try:
        path: bytes | None = httptools.parse_url(url).path
    except httptools.HttpParserInvalidURLError:
        return None
    return path
