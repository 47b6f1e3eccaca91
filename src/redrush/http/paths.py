"""What a site has at which path: endpoints at exact paths, counters, and patterns, for paths that are alike.

A pattern leaves segments open, and what it serves is made of what stands there. Where one segment is open, heads are
remembered without it (`Alike`), so that the next such request need not be read with care, nor looked up here. For that
it must be certain that the same pattern serves whatever stands there: exact paths go first, and patterns that were
added before. Which segments make such a path is found out when a head is remembered; whoever changes what is served
has it forgotten.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from redrush.http.dress import Dress
from redrush.http.route import Endpoint, Route, RouteFor, TicketCounter
from redrush.http.ticket_check import TicketCheck

OPEN: Final = b"{}"
"""Stands in a pattern for one segment."""

_USUAL: Final = bytes(code if 0x20 < code < 0x7F and code not in b"/?%#" else 0x61 for code in range(256))
"""Turns a segment into itself if it is visible ASCII that stands for itself, and into another one if it is not."""


class Pattern(msgspec.Struct, frozen=True):
    """Paths that are alike but for some segments, for whoever has a ticket; see `redrush.http.site.Site.add_below`."""

    method: bytes
    segments: tuple[bytes, ...]
    route_for: RouteFor
    tickets: TicketCheck

    def values(self, segments: Sequence[bytes]) -> list[bytes] | None:
        """Return what stands where the pattern is open, None if the path is not like it. Nothing is no segment."""
        if len(segments) != len(self.segments):
            return None
        values = []
        for one, its in zip(segments, self.segments, strict=True):
            if its == OPEN and one:
                values.append(one)
            elif one != its:
                return None
        return values

    def around(self) -> tuple[bytes, bytes] | None:
        """Return what stands before and behind the only open segment; None if there are more."""
        if self.segments.count(OPEN) != 1:
            return None
        at = self.segments.index(OPEN)
        return b"/".join((*self.segments[:at], b"")), b"/".join((b"", *self.segments[at + 1 :]))

    def may_serve(self, segments: Sequence[bytes]) -> bool:
        """Whether some path is like this pattern and like that of these segments."""
        return len(segments) == len(self.segments) and all(
            OPEN in pair or pair[0] == pair[1] for pair in zip(segments, self.segments, strict=True)
        )


class Alike(msgspec.Struct, frozen=True):
    """Requests that the same pattern serves, whatever usual segment stands in their path."""

    front: bytes
    """Method and path up to the segment."""
    tail: bytes
    """The path behind it."""
    taken: frozenset[bytes]
    """Segments with which something else may serve the path."""
    route_for: RouteFor

    def segment(self, target: bytes) -> bytes:
        """Return the segment of such a request, whose method and path are these."""
        return target[len(self.front) : len(target) - len(self.tail)]

    def route(self, segment: bytes, body: bytes) -> Route | None:
        """Return the route of a request with this segment and body; None if it has to be looked up with care."""
        if not segment or segment.translate(_USUAL) != segment or segment in self.taken:
            return None
        route = self.route_for(segment)
        reads = getattr(route, "reads", None)
        return route if reads is None else reads(body)


class Below(Endpoint, frozen=True, kw_only=True):
    """What serves a path that is like a pattern."""

    pattern: Pattern
    values: tuple[bytes, ...]
    paths: "Paths"
    """Where the pattern is from."""


class Paths:
    """See the module."""

    def __init__(self) -> None:
        self.endpoints: dict[bytes, tuple[Endpoint, ...]] = {}
        """By path, one for each method."""
        self.counters: dict[bytes, TicketCounter] = {}
        """By path."""
        self._patterns: list[Pattern] = []

    def add(self, path: bytes, endpoint: Endpoint) -> None:
        """Have an endpoint at a path, in the place of what was there for its method."""
        others = tuple(one for one in self.endpoints.get(path, ()) if one.method != endpoint.method)
        self.endpoints[path] = (*others, endpoint)

    def add_pattern(self, pattern: Pattern) -> None:
        """Have what a pattern serves, behind the patterns that are there."""
        self._patterns.append(pattern)

    def remove(self, paths: Iterable[bytes]) -> None:
        """Have nothing at these paths, or below patterns of that spelling, any more."""
        gone = set(paths)
        for path in gone:
            self.endpoints.pop(path, None)
            self.counters.pop(path, None)
        self._patterns = [one for one in self._patterns if b"/".join(one.segments) not in gone]

    def ways(self, path: bytes) -> Sequence[Endpoint | TicketCounter]:
        """Return what serves at a path, one for each method."""
        counter = self.counters.get(path)
        return self.endpoints.get(path) or (self._below(path) if counter is None else (counter,))

    def _below(self, path: bytes) -> list[Endpoint]:
        """Return what serves a path that is like some of the patterns."""
        segments = path.split(b"/") if self._patterns else ()
        found: dict[bytes, Endpoint] = {}
        for pattern in self._patterns:
            values = None if pattern.method in found else pattern.values(segments)
            route = None if values is None else pattern.route_for(*values)
            if values is not None and route is not None:
                found[pattern.method] = Below(
                    pattern.method,
                    route,
                    needs_ticket=True,
                    reads=getattr(route, "reads", None),
                    tickets=pattern.tickets,
                    pattern=pattern,
                    values=tuple(values),
                    paths=self,
                )
        return list(found.values())

    def alike(self, path: bytes, below: Below, dress: Dress) -> Alike | None:
        """Return what all paths have in common that are served as this one, with this dress, but for their segment;
        None if that is not certain. What is served may be from other paths than these, for which the front of the path
        was another."""
        around = below.pattern.around()
        if around is None:
            return None
        (segment,), (its_front, tail) = below.values, around
        if not path.endswith(segment + tail):
            return None
        front = path[: len(path) - len(segment + tail)]
        taken = below.paths.taken(its_front, tail, below.pattern)
        if taken is not None and (below.paths is not self or front != its_front):
            here = self.taken(front, tail)
            taken = None if here is None else taken | here
        if taken is None:
            return None
        return Alike(b"%b %b" % (below.method, front), tail, taken, dress.on_all(below.pattern.route_for))

    def taken(self, front: bytes, tail: bytes, pattern: Pattern | None = None) -> frozenset[bytes] | None:
        """Return with which segments between these something is served here before the pattern is asked (None: any
        pattern, of any method). Returns None where another pattern may go first."""
        segments = (front + OPEN + tail).split(b"/")
        for one in self._patterns:
            if one is pattern:
                break
            if (pattern is None or one.method == pattern.method) and one.may_serve(segments):
                return None
        return frozenset(
            path[len(front) : len(path) - len(tail)]
            for path in (*self.endpoints, *self.counters)
            if path.startswith(front) and path.endswith(tail)
        )
