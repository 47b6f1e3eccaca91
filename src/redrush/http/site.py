"""A site: what one listening port serves. Routes, tickets, limits and counters, shared by all its connections.

A route gets a request from a connection and returns the whole answer, or None if it will call `connection.send`
later (a claim that waits for its batch). The participants' port and the control port are two sites.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

import msgspec

from redrush.core.identity.tickets import Ticket
from redrush.core.load.histogram import Histogram
from redrush.core.rush.instants import http_date
from redrush.http import answers
from redrush.http.asking_limits import AskingLimits, AskingRules
from redrush.http.bodies import json_object
from redrush.http.crowding import Crowded, idlest_of_the_greediest
from redrush.http.dress import PLAIN, Dress, Dressed, Origins
from redrush.http.heads import HEAD_BYTES_MAX, Groups, KnownHeads
from redrush.http.hosts import Hosts
from redrush.http.paths import Below, Paths, Pattern
from redrush.http.reader import Limits, Request
from redrush.http.route import Endpoint, Fitting, Fixed, Probe, Route, RouteFor, TicketCounter
from redrush.http.seen_heads import SeenAlike, SeenHeads
from redrush.http.ticket_check import TicketCheck, Verifier
from redrush.http.timed import Timed

NEVER_S = 1 << 62

GET: Final = b"GET"
HEAD: Final = b"HEAD"
OPTIONS: Final = b"OPTIONS"
ROOT: Final = b"/"
"""What is asked for with OPTIONS by who only wants to know whether somebody is there, as HAProxy by default."""

LIVEZ: Final = b"/livez"

TICKETS_REMEMBERED_MAX = 131_072
"""Tickets that were found genuine, about 35 MB; beyond it the memory starts anew."""


CROWDED_SHARE: Final = 0.9
"""Of the connections that there may be: from here on idle ones make room, the longest idle first."""

SLICES: Final = 50
"""Parts of a second in which connections are looked after, a part of them each. Those that are ended come back at the
same pace: a thousand that are accepted in one turn of the loop keep everybody else waiting for tens of milliseconds."""
SLICE_S: Final = 0.02

AT_ONCE_MIN: Final = 32
"""Connections in a part, at least: some milliseconds if each has to be ended."""

Later = Callable[[float, Callable[[], None]], object]
"""Takes a number of seconds and a function, and calls the function after them."""

IDLE_MIN_S: Final = 3
"""Who was heard of more recently is not idle: clients that keep to the policy pause for about a second."""


Found = tuple[Endpoint, str] | bytes
"""What serves a request, and for which user ("" if public); or the refusal to send instead."""


class Site:
    """See the module. Not thread-safe: everything happens on the event loop."""

    def __init__(
        self,
        limits: Limits,
        verifier: Verifier | None,
        now_us: Callable[[], int],
        no_ticket: bytes = answers.NO_TICKET,
        unproven: Verifier | None = None,
        asking: AskingLimits | None = None,
        hosts: Hosts | None = None,
    ) -> None:
        """`no_ticket` answers whoever brings none that the verifier finds genuine. `unproven` finds those genuine that
        must be exchanged for others first; None: there are none such. `asking` None: without limits. `hosts`: the names
        under which the site answers; None: every name."""
        self.limits = limits
        self.stopping = False
        self.connections_max = limits.connections_max
        """Connections at once; what operators set holds besides the configured maximum."""
        self.connections: set[Idler] = set()
        self.refused: set[Idler] = set()
        """Connections that were turned away and are told so. They have no place among the others."""
        self.counts: Counter[str] = Counter()
        self.asking = asking or AskingLimits(AskingRules(), lambda: now_us() / 1e6)
        self.known_heads = KnownHeads()
        self.seen_heads: SeenHeads[Endpoint] = SeenHeads()
        self.seen_alike = SeenAlike()
        self.head_bytes_max = min(limits.head_bytes_max, HEAD_BYTES_MAX)
        """Of heads that are read at once; longer ones are read with care."""
        self.paths = Paths()
        self.elsewhere: Callable[[Request], Found | None] | None = None
        """Asked for paths that this site does not have; None: nobody has others. Who is asked looks at the path up to
        what a pattern leaves open, and no further (`serve_for`)."""
        self._served_for: set[Site] = set()
        """Sites that remember heads with what this one serves."""
        self.tickets = TicketCheck(verifier, unproven=unproven, no_ticket=no_ticket)
        """Whose tickets are good where nothing else was said."""
        self._remembered: list[TicketCheck] = []
        """Of whose tickets some are remembered, one entry for each."""
        self.times = Histogram()
        """How long answers took of the routes that are timed."""
        self._origins = Origins(limits.origins)
        self._hosts = hosts
        self._now_us = now_us
        self.now_s = now_us() // 1_000_000
        self.date = http_date(now_us())
        """The date of refusals, renewed every second."""

    def add(
        self,
        method: bytes,
        path: bytes,
        route: Route,
        *,
        needs_ticket: bool,
        reads: Callable[[bytes], Route] | None = None,
        tickets: TicketCheck | None = None,
        steady: bool = False,
    ) -> None:
        """Serve `route` at `path` for `method`, or what `reads` makes of a body, at any time; in the place of what was
        served there for this method. `tickets`: whose are good there; None: those of the site. `steady`: that `reads`
        makes the same of a body each time."""
        self.paths.add(path, Endpoint(method, route, needs_ticket, reads, steady, tickets=tickets or self.tickets))
        self.forget_heads()

    def add_livez(self) -> None:
        """Tell whoever asks that this process is there."""
        self.add(GET, LIVEZ, Probe(answers.json_answer({"status": "alive"})), needs_ticket=False)

    def timed(self, route: Route) -> Timed:
        """Return the route as one whose answers are counted in `times`: for what is no rush."""
        return Timed(route, self.times, self._now_us)

    def add_counter(
        self,
        method: bytes,
        path: bytes,
        route_for: Callable[[Ticket, bytes], Route],
        tickets: TicketCheck | None = None,
    ) -> None:
        """Serve at `path` what `route_for` makes of an unproven ticket and a body; `tickets` as in `add`."""
        self.paths.counters[path] = TicketCounter(method, route_for, tickets or self.tickets)
        self.forget_heads()

    def add_below(self, method: bytes, pattern: bytes, route_for: RouteFor, *, tickets: TicketCheck) -> None:
        """Serve, for whoever has a ticket, what `route_for` makes of a path like `pattern`, in which each `{}` stands
        for one segment; it gets these segments, and returns None where there is nothing. Exact paths go first. A route
        that has `reads`, as `redrush.http.operations.OperationRoute`, makes another one of the body."""
        self.paths.add_pattern(Pattern(method, tuple(pattern.split(b"/")), route_for, tickets))
        self.forget_heads()

    def remove(self, paths: Iterable[bytes]) -> None:
        """Serve nothing at these paths, or below patterns of that spelling, any more: whoever asks gets a 404."""
        self.paths.remove(paths)
        self.forget_heads()

    def forget_heads(self) -> None:
        """Look every path up again, from the next request on: something else is served there now."""
        if self.known_heads:  # else no connection has one either: a head is known before it is another thing
            self._clear_heads()
            for connection in self.connections:
                connection.forget_head()
        others, self._served_for = self._served_for, set()
        for other in others:
            other.forget_heads()

    def _clear_heads(self) -> None:
        self.known_heads.clear()
        self.seen_heads.clear()
        self.seen_alike.clear()

    def learn(self, found: Groups, request: Request, endpoint: Endpoint) -> None:
        """Remember what serves requests with a head of these groups, as this one's; unless that was made for it alone.
        The request was fine."""
        if endpoint.once:
            return
        if isinstance(endpoint, Below):
            alike = self.paths.alike(request.path, endpoint, self.dress_of(request))
            if alike is not None:
                self.known_heads.learn(found, len(request.body), endpoint, alike)
        elif endpoint.reads is None or endpoint.steady:
            self.known_heads.learn(found, len(request.body), endpoint)

    @property
    def known_tickets(self) -> int:
        """How many tickets are remembered."""
        return len(self._remembered)

    def remember_ticket(self, tickets: TicketCheck, credentials: bytes, ticket: Ticket) -> None:
        """Let `tickets` know a genuine ticket whose user was answered at once: a loser will ask again, maybe over
        another connection, as behind a load balancer. Who is parked is a winner, mostly, and need not come back."""
        if len(self._remembered) >= TICKETS_REMEMBERED_MAX:
            for one in set(self._remembered):
                one.known.clear()
            self._remembered.clear()
        tickets.known[credentials] = ticket
        self._remembered.append(tickets)

    def resolve(self, request: Request) -> Found:
        """Return what serves the request, and for which user ("" if public); or the refusal to send instead."""
        found = self._find(request)
        dress = self.dress_of(request)
        if dress is PLAIN or isinstance(found, bytes):
            return found
        endpoint, user = found
        dressed = Dressed(endpoint.route, dress, endpoint.reads)
        reads = None if endpoint.reads is None else dressed.reads
        return msgspec.structs.replace(endpoint, route=dressed, reads=reads), user

    def serve_for(self, other: "Site", request: Request, path: bytes, *, once: bool = False) -> Found:
        """Return what serves at `path` here a request that came to another site. Heads are remembered with it there,
        unless it is for `once`: when this site serves no more, the other one has to `forget_heads`."""
        self.now_s, self.date = other.now_s, other.date
        found = self._find(msgspec.structs.replace(request, path=path))
        if isinstance(found, bytes):
            return found
        endpoint, user = found
        if once or (isinstance(endpoint, Below) and endpoint.paths is not self.paths):  # three sites are too many
            return msgspec.structs.replace(endpoint, once=True), user
        if other is not self:
            self._served_for.add(other)
        return found

    def dress_of(self, request: Request) -> Dress:
        """Return what is put on the answer to this request."""
        if request.method == OPTIONS:
            return PLAIN  # the answer has its own lines
        bodiless = request.method == HEAD
        public = bodiless or request.method == GET  # whatever caches may keep
        lines = self._origins.lines(request.origin, public=public) if self._origins else ""
        return Dress(lines.encode("ascii"), bodiless) if lines or bodiless else PLAIN

    def readable_by_all(self, answer: bytes) -> bytes:
        """Return a refusal that is the same for everybody as a page of any origin may read it, where any may ask."""
        return self._origins.readable_by_all(answer) if self._origins else answer

    def _find(self, request: Request) -> Found:
        if self._hosts is not None and not self._hosts.has(request.host):
            return answers.FOREIGN_HOST
        ways = self.paths.ways(request.path)
        if not ways and self.elsewhere is not None and (found := self.elsewhere(request)) is not None:
            return found
        if not ways and not (request.path == ROOT and request.method == OPTIONS):
            return answers.NOT_FOUND
        allowed = self._methods(ways)
        if request.method not in allowed:
            use = " or ".join(way.method.decode() for way in ways)
            return answers.problem(405, f"use {use} here", f"Allow: {_listed(allowed)}\r\n")
        if request.method == OPTIONS:
            return self._options(request, allowed), ""
        method = GET if request.method == HEAD else request.method
        return self._open(request, next(way for way in ways if way.method == method))

    def _open(self, request: Request, endpoint: Endpoint | TicketCounter) -> Found:
        """Return what serves a request with a right method, if its body and its ticket are right too."""
        if request.body:
            if request.content_type.partition(b";")[0].strip().lower() != b"application/json":
                return answers.NOT_JSON_TYPE
            if json_object(request.body) is None:
                return answers.NOT_JSON
        if isinstance(endpoint, TicketCounter):
            return self._at_counter(endpoint, request)
        if not endpoint.needs_ticket:
            return _fitting(endpoint, request), ""
        ticket = endpoint.tickets.admit(request.ticket, self.now_s)
        return ticket if isinstance(ticket, bytes) else (endpoint, ticket.user)

    def _methods(self, ways: "Sequence[Endpoint | TicketCounter]") -> tuple[bytes, ...]:
        """Return what may be asked at a path, the methods that are meant first: what is public also without its body,
        and whether one may ask at all, where something is public or pages of other origins may."""
        methods = tuple(way.method for way in ways)
        if any(isinstance(way, Endpoint) and way.method == GET and not way.needs_ticket for way in ways):
            return (*methods, HEAD, OPTIONS)
        return (*methods, OPTIONS) if self._origins or not ways else methods

    def _options(self, request: Request, allowed: Sequence[bytes]) -> Endpoint:
        """Return what tells a browser whether its page may ask, and anybody else, a balancer say, what may be asked."""
        made = Probe if request.path in (ROOT, LIVEZ) else Fixed
        lines = self._origins.preflight_lines(request.origin, _listed(allowed))
        answer = answers.no_content(f"Allow: {_listed(allowed)}\r\n{lines}")
        return Endpoint(OPTIONS, made(answer), needs_ticket=False, once=True)

    def _at_counter(self, counter: TicketCounter, request: Request) -> Found:
        ticket = counter.tickets.admit_unproven(request.ticket, self.now_s)
        if isinstance(ticket, bytes):
            return ticket
        route = counter.route_for(ticket, request.body)
        return Endpoint(counter.method, route, needs_ticket=True, once=True), ticket.user

    def tick(self, later: Later | None = None) -> None:
        """Call every second: the coarse clock, and the deadlines of connections.

        `later` calls something after a while; with it connections are looked after in parts, for thousands of slow ones
        come to their end together and everybody else would wait for that.
        """
        now_us = self._now_us()
        self.now_s = now_us // 1_000_000
        self.date = http_date(now_us)
        for refused in tuple(self.refused):
            refused.check_refusal()
        self._each(tuple(self.connections), lambda connection: connection.check_deadlines(), later)
        self._make_room(later)

    def _each(self, connections: "Sequence[Idler]", act: "Callable[[Idler], None]", later: Later | None) -> None:
        """Do this with each connection that is still there, within a second."""
        at_once = len(connections) if later is None else max(AT_ONCE_MIN, -(-len(connections) // SLICES))

        def look_after(first: int) -> None:
            for connection in connections[first : first + at_once]:
                if connection in self.connections:
                    act(connection)
            if later is not None and first + at_once < len(connections):
                later(SLICE_S, lambda: look_after(first + at_once))

        look_after(0)

    def _make_room(self, later: Later | None) -> None:
        """End idle connections if there are nearly as many as there may be: they would keep newcomers out. Those of the
        address that has most of them go first, the longest idle before the others."""
        excess = len(self.connections) - int(CROWDED_SHARE * self.connections_max)
        if excess <= 0:
            return
        idle = [
            Crowded(connection, connection.crowd, since_s)
            for connection in self.connections
            if (since_s := connection.idle_since_s()) is not None and self.now_s - since_s >= IDLE_MIN_S
        ]
        crowds = Counter(connection.crowd for connection in self.connections)
        oldest = idlest_of_the_greediest(idle, crowds, excess)
        self.counts["idle_closed"] += len(oldest)
        self._each(oldest, lambda connection: connection.finish(), later)

    def announce_stop(self) -> None:
        """Let every answer from now on say that its connection ends with it; end those that were quiet for long."""
        self.stopping = True
        self._clear_heads()
        for connection in tuple(self.connections):
            connection.announce_end()

    def stop(self) -> None:
        """Answer what was accepted, then let every connection end."""
        self.announce_stop()
        for connection in tuple(self.connections):
            connection.finish()


class Idler(Protocol):
    """What a site needs of its connections."""

    def check_deadlines(self) -> None:
        """Forget what an idle connection need not hold; end it when it is too slow or idle for too long."""

    def forget_head(self) -> None:
        """Look the path of the next request up."""

    def check_refusal(self) -> None:
        """End a connection that was turned away, when its second is over."""

    @property
    def crowd(self) -> bytes | None:
        """Whose connections it is counted with; None for one that is nobody's alone, as a proxy's."""

    def idle_since_s(self) -> int | None:
        """Return when the client was last heard of, if nothing is under way and it has taken what it was sent."""

    def announce_end(self) -> None:
        """Let the next answer be the last one; end now what was quiet for long."""

    def finish(self) -> None:
        """End the connection, after the answer that is under way."""

    def abort(self) -> None:
        """End the connection now."""


def _fitting(endpoint: Endpoint, request: Request) -> Endpoint:
    """Return what serves whoever has an answer already, or reads some codings, as far as this endpoint has others."""
    route = endpoint.route
    if not isinstance(route, Fitting):
        return endpoint
    fitted = route.fitting(request.if_none_match, request.accept_encoding)
    return endpoint if fitted is route else msgspec.structs.replace(endpoint, route=fitted, once=True)


def _listed(methods: Sequence[bytes]) -> str:
    return ", ".join(method.decode("ascii") for method in methods)
