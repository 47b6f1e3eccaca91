"""Heads that came before, byte for byte but for the values that are another's each time: found without reading them.

Clients are of few kinds, and what their requests say is the same each time, but for the ticket and for what proxies
write into every request: an id, a trace, an address. So a head that came before is remembered as the pieces of bytes
between such values, and the next one of its kind is found by comparing these pieces and looking at the values alone:
each must be text as a line may have. A request found here differs from one that `redrush.http.heads.HEAD` has matched,
and whose meaning was known, in nothing but such values; so it means the same, for less than half of what
matching costs.

The pieces stand in a tree: from the front (everything up to the first own value, mostly the ticket) on to the next
value, and so on to the end of the body. A request with a body of its own is not remembered: it is matched, as ever.

Where the path has an open segment, what follows that is remembered and found like any other head, for each way in
which such paths begin (`SeenAlike`): it stands before everything by which kinds of clients differ.
"""

import re
from typing import Final, Generic, TypeVar

import msgspec

from redrush.http.paths import Alike
from redrush.http.ticket_check import TicketCheck

TICKET_MARK: Final = b"\nAuthorization: Bearer "

OWN_NAMES: Final = (
    "baggage",
    "cdn-loop",
    "cf-connecting-ip",
    "cf-ray",
    "cookie",
    "request-id",
    "traceparent",
    "tracestate",
    "true-client-ip",
    "x-amz-cf-id",
    "x-amzn-trace-id",
    "x-b3-parentspanid",
    "x-b3-spanid",
    "x-b3-traceid",
    "x-client-ip",
    "x-cloud-trace-context",
    "x-correlation-id",
    "x-forwarded-port",
    "x-real-ip",
    "x-request-id",
    "x-request-start",
    "x-trace-id",
)
"""Lines whose value is another's each time, in lower case. None of them decides anything. One that is missing here is
only slower; docs/figures.md says by how much."""

SEEN_MAX: Final = 4_096
"""Heads remembered; beyond it the memory starts anew."""

LENGTHS_MAX: Final = 8
"""Lengths of a piece that are tried at one place of a head."""

FRONT_LENGTHS_MAX: Final = 16
"""The same of what stands before an open segment: one or two for each pattern and way to spell it."""

BODY_BYTES_MAX: Final = 2
"""Only empty bodies and `{}` are the same for many."""

READ_BODY_BYTES_MAX: Final = 16
"""The same where bodies matter, and each has a route of its own: `{"play":12}`."""

LEARN_EVERY: Final = 7
"""Of the heads that were not found one in so many is remembered: those that never come again cost little."""

_OWN_LINE: Final = re.compile(
    f"\n(?i:(?:{'|'.join(OWN_NAMES)}):|x-forwarded-for: |authorization: bearer )".encode("ascii")
)
_FORWARDED: Final = b"\nx-forwarded-for: "

_SEGMENT_ENDS: Final = frozenset({b"/", b"?", b" "})
_SEGMENT_END: Final = re.compile(rb"[/? ]")

TEXT: Final = bytes(code if 0x20 <= code < 0x7F else 0x20 for code in range(256))
"""Turns a value into itself if it is text, as `HEAD` wants it, and into another one if it is not."""


Served = TypeVar("Served")


class Seen(Generic[Served]):
    """What a head that came before means: what serves it, and which of its own values are its ticket and its
    `X-Forwarded-For` (-1: it has none)."""

    __slots__ = ("forwarded", "served", "ticket")

    def __init__(self, served: Served, ticket: int, forwarded: int) -> None:
        self.served = served
        self.ticket = ticket
        self.forwarded = forwarded


class _Place(Generic[Served]):
    """A place where an own value begins, or the end of a request: the pieces that may follow the value.

    `width` is the length of the last value here, as a guess at that of the next: to look for its end costs more than
    all else. It needs no proof, for every piece behind a value begins with the end of its line.
    """

    __slots__ = ("lengths", "pieces", "seen", "width")

    def __init__(self) -> None:
        self.width = 0
        self.lengths: tuple[int, ...] = ()
        self.pieces: dict[bytes, _Place[Served]] = {}
        self.seen: Seen[Served] | None = None

    def follow(self, piece: bytes) -> "_Place[Served] | None":
        """Return the place behind the piece, made if it is new; None if there are too many others."""
        found = self.pieces.get(piece)
        if found is None:
            if len(piece) not in self.lengths:
                if len(self.lengths) >= LENGTHS_MAX:
                    return None
                self.lengths += (len(piece),)
            found = self.pieces[piece] = _Place()
        return found


class SeenHeads(Generic[Served]):
    """See the module."""

    def __init__(self) -> None:
        self._to_ticket: dict[bytes, _Place[Served]] = {}  # fronts that end at the ticket: its place is searched for
        # Where the other fronts begin: their lengths are tried, few proxies write them.
        self._to_another: _Place[Served] = _Place()
        self._ticket_at = len(TICKET_MARK)  # where the last ticket began, as a guess
        self._count = 0
        self._missed = 0

    def __len__(self) -> int:
        return self._count

    def find(self, data: bytes, begin: int = 0) -> tuple[Seen[Served], list[bytes]] | None:
        """Return what a request means that came before, and its own values in order; None if it is new. `begin`: what
        stands before it is no part of what was learned.

        A ticket that comes first is not looked at: whoever verifies it knows more of it than that it is text.
        """
        start = begin + self._ticket_at
        place = self._to_ticket.get(data[begin:start])
        if place is None:
            start = data.find(TICKET_MARK, begin) + len(TICKET_MARK)
            place = self._to_ticket.get(data[begin:start])
            if place is None:
                place, start = self._to_another, begin
            else:
                self._ticket_at = start - begin
        values: list[bytes] = []
        end = start + place.width
        while True:
            pieces = place.pieces
            for length in place.lengths:
                behind = pieces.get(data[end : end + length])
                if behind is not None:
                    break
            else:
                right = data.find(b"\r", start)
                if start == begin or right == end or right < 0:
                    return None
                place.width = right - start
                end = right
                continue
            value = data[start:end]
            if values and value.translate(TEXT) != value:
                return None
            values.append(value)
            start = end + length
            if start == len(data):
                return None if behind.seen is None else (behind.seen, values)
            place = behind
            end = start + place.width

    def learn(
        self,
        data: bytes,
        ticket_at: int,
        head_end: int,
        served: Served,
        body_bytes_max: int = BODY_BYTES_MAX,
        begin: int = 0,
    ) -> bool:
        """Remember, now and then, a request that came whole and was found to be right: where its ticket begins, where
        its head ends, what serves it; and what follows `begin` alone. Return whether there is one more now."""
        self._missed += 1
        if self._missed % LEARN_EVERY or len(data) - head_end > body_bytes_max:
            return False
        if self._count >= SEEN_MAX:
            self.clear()
        place: _Place[Served] | None = None
        after, number, ticket, forwarded = begin, -1, -1, -1
        for line in _OWN_LINE.finditer(data, begin, head_end):
            start = line.end()
            if place is None and line[0] == TICKET_MARK:
                place = self._to_ticket.setdefault(data[begin:start], _Place())
            else:
                if place is None:
                    number, place = 0, self._to_another  # the request begins there, with an empty value
                place = place.follow(data[after:start])
            if place is None:
                return False
            number += 1
            if start == ticket_at:
                ticket = number
            elif line[0].lower() == _FORWARDED:
                forwarded = number
            after = data.find(b"\r", start)
        last = None if place is None or ticket < 0 else place.follow(data[after:])
        if last is None or last.seen is not None:
            return False
        last.seen = Seen(served, ticket, forwarded)
        self._count += 1
        return True

    def clear(self) -> None:
        """Forget everything."""
        self._to_ticket.clear()
        self._to_another = _Place()
        self._count = 0


class Opened(msgspec.Struct, frozen=True):
    """What serves requests with an open segment in their path: what makes the route of that and of the body."""

    alike: Alike
    tickets: TicketCheck
    body: bytes


class SeenAlike:
    """Heads with an open segment in their path: what follows it is remembered for each front, as heads are."""

    def __init__(self) -> None:
        self.lengths: tuple[int, ...] = ()
        """How long what stands before the segments is; each is tried."""
        self._fronts: dict[bytes, _Front] = {}
        self._count = 0  # of all fronts, which may be hundreds

    def __len__(self) -> int:
        return self._count

    def find(self, data: bytes) -> tuple[Seen[Opened], list[bytes], bytes] | None:
        """Return what a request means that came before, its own values in order, and its segment, of which is only
        known where it ends; None if it is new."""
        for length in self.lengths:
            front = self._fronts.get(data[:length])
            if front is not None:
                end = length + front.width
                found = front.find(data, end) if data[end : end + 1] in _SEGMENT_ENDS else None
                if found is None and (ends := _SEGMENT_END.search(data, length)) is not None and ends.start() != end:
                    end = ends.start()
                    front.width = end - length
                    found = front.find(data, end)
                if found is not None:
                    return (*found, data[length:end])
        return None

    def learn(self, data: bytes, ticket_at: int, head_end: int, opened: Opened) -> None:
        """Remember, now and then, a request that came whole and was found to be right, as `SeenHeads.learn`."""
        alike = opened.alike
        if len(opened.body) > READ_BODY_BYTES_MAX:
            return
        if self._count >= SEEN_MAX:
            self.clear()
        length = len(alike.front)
        if length not in self.lengths:
            if len(self.lengths) >= FRONT_LENGTHS_MAX:
                return
            self.lengths += (length,)
        segment = alike.segment(data[: data.find(b" HTTP/1.1\r\n")].partition(b"?")[0])
        front = self._fronts.setdefault(alike.front, _Front())
        self._count += front.learn(data, ticket_at, head_end, opened, READ_BODY_BYTES_MAX, length + len(segment))

    def clear(self) -> None:
        """Forget everything."""
        self._fronts.clear()
        self._count = 0
        self.lengths = ()


class _Front(SeenHeads[Opened]):
    """What follows the segments behind one front."""

    def __init__(self) -> None:
        super().__init__()
        self.width = 0
        """Of the last segment, as a guess at that of the next."""
