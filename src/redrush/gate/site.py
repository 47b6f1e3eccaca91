"""A site: what one listening port serves. Routes, tickets, limits and counters, shared by all its connections.

A route gets a request from a connection and returns the whole answer, or None if it will call `connection.send`
later (a claim that waits for its batch). The participants' port and the control port are two sites.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from heapq import nsmallest
from typing import Final, Protocol

import msgspec

from redrush.core.instants import http_date
from redrush.core.tickets import TICKET_BYTES_MAX, Ticket
from redrush.gate import answers
from redrush.gate.asking_limits import AskingLimits, AskingRules
from redrush.gate.known_heads import KnownHeads
from redrush.gate.reader import Limits, Request
from redrush.gate.route import Endpoint, Route, TicketCounter

NEVER_S = 1 << 62

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
"""Calls something after so many seconds."""

IDLE_MIN_S: Final = 3
"""Who was heard of more recently is not idle: clients that keep to the policy pause for about a second."""


class Verifier(Protocol):
    """Tells genuine tickets; see `redrush.core.tickets.TicketVerifier`."""

    def verify(self, ticket: bytes) -> Ticket | None:
        """Return what the ticket states if it is genuine, else None, whatever the bytes are."""


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
    ) -> None:
        """`no_ticket` answers whoever brings none that the verifier finds genuine. `unproven` finds those genuine that
        must be exchanged for others first; None: there are none such. `asking` None: without limits."""
        self.limits = limits
        self.stopping = False
        self.connections_max = limits.connections_max
        """Connections at once; what operators set holds besides the configured maximum."""
        self.connections: set[Idler] = set()
        self.counts: Counter[str] = Counter()
        self.asking = asking or AskingLimits(AskingRules(), lambda: now_us() / 1e6)
        self.known_heads = KnownHeads()
        self.proxied_heads = KnownHeads()
        """Heads without what proxies of ours wrote in `X-Forwarded-For`. Apart from the others, where it stands."""
        self.known_tickets: dict[bytes, Ticket] = {}
        self._endpoints: dict[bytes, Endpoint] = {}
        self._counters: dict[bytes, TicketCounter] = {}
        self._verifier = verifier
        self._unproven = unproven
        self._no_ticket = no_ticket
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
    ) -> None:
        """Serve `route` at `path` for `method`, or what `reads` makes of a body; one method per path."""
        self._endpoints[path] = Endpoint(method, route, needs_ticket, reads)

    def add_counter(self, method: bytes, path: bytes, route_for: Callable[[Ticket, bytes], Route]) -> None:
        """Serve at `path` what `route_for` makes of an unproven ticket and a body."""
        self._counters[path] = TicketCounter(method, route_for)

    def ticket(self, credentials: bytes) -> Ticket | None:
        """Return the ticket if it is genuine; whether it has expired is not checked here."""
        return _verified(self._verifier, credentials)

    def remember_ticket(self, credentials: bytes, ticket: Ticket) -> None:
        """Let `known_tickets` have a genuine ticket whose user was answered at once: a loser will ask again, maybe over
        another connection, as behind a load balancer. Who is parked is a winner, mostly, and need not come back."""
        if len(self.known_tickets) >= TICKETS_REMEMBERED_MAX:
            self.known_tickets.clear()
        self.known_tickets[credentials] = ticket

    def resolve(self, request: Request) -> tuple[Endpoint, str] | bytes:
        """Return what serves the request, and for which user ("" if public); or the refusal to send instead."""
        endpoint = self._endpoints.get(request.path) or self._counters.get(request.path)
        if endpoint is None:
            return answers.NOT_FOUND
        if request.method != endpoint.method:
            allowed = endpoint.method.decode("ascii")
            return answers.problem(405, f"use {allowed} here", f"Allow: {allowed}\r\n")
        if request.body:
            if request.content_type.partition(b";")[0].strip().lower() != b"application/json":
                return answers.NOT_JSON_TYPE
            if not _is_json_object(request.body):
                return answers.NOT_JSON
        if isinstance(endpoint, TicketCounter):
            return self._at_counter(endpoint, request)
        if not endpoint.needs_ticket:
            return endpoint, ""
        ticket = _verified(self._verifier, request.ticket)
        if ticket is None:
            return self._no_ticket if _verified(self._unproven, request.ticket) is None else answers.UNPROVEN_TICKET
        if ticket.expires_s <= self.now_s:
            return answers.EXPIRED_TICKET
        return endpoint, ticket.user

    def _at_counter(self, counter: TicketCounter, request: Request) -> tuple[Endpoint, str] | bytes:
        ticket = _verified(self._unproven, request.ticket)
        if ticket is None:
            return self._no_ticket
        if ticket.expires_s <= self.now_s:
            return answers.EXPIRED_TICKET
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
        """End idle connections if there are nearly as many as there may be: they would keep newcomers out."""
        excess = len(self.connections) - int(CROWDED_SHARE * self.connections_max)
        if excess <= 0:
            return
        idle = [
            (since_s, number, connection)
            for number, connection in enumerate(self.connections)
            if (since_s := connection.idle_since_s()) is not None and self.now_s - since_s >= IDLE_MIN_S
        ]
        oldest = [connection for _, _, connection in nsmallest(excess, idle)]
        self.counts["idle_closed"] += len(oldest)
        self._each(oldest, lambda connection: connection.finish(), later)

    def stop(self) -> None:
        """Answer what was accepted, then let every connection end."""
        self.stopping = True
        self.known_heads.clear()
        self.proxied_heads.clear()
        for connection in tuple(self.connections):
            connection.finish()


class Idler(Protocol):
    """What a site needs of its connections."""

    def check_deadlines(self) -> None:
        """Forget what an idle connection need not hold; end it when it is too slow or idle for too long."""

    def idle_since_s(self) -> int | None:
        """Return when the client was last heard of, if nothing is under way and it has taken what it was sent."""

    def finish(self) -> None:
        """End the connection, after the answer that is under way."""

    def abort(self) -> None:
        """End the connection now."""


def _verified(verifier: Verifier | None, credentials: bytes | None) -> Ticket | None:
    if verifier is None or not credentials or len(credentials) > TICKET_BYTES_MAX:
        return None
    return verifier.verify(credentials)


_any_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _is_json_object(body: bytes) -> bool:
    try:
        _any_object.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
