"""A site: what one listening port serves. Routes, tickets, limits and counters, shared by all its connections.

A route gets a request from a connection and returns the whole answer, or None if it will call `connection.send`
later (a claim that waits for its batch). The participants' port and the control port are two sites.
"""

from collections import Counter
from collections.abc import Callable
from typing import Protocol

import msgspec

from redrush.core.instants import http_date
from redrush.core.tickets import TICKET_BYTES_MAX, Ticket
from redrush.gate import answers
from redrush.gate.known_heads import KnownHeads
from redrush.gate.reader import Limits, Request
from redrush.gate.route import Endpoint, Route, TicketCounter

NEVER_S = 1 << 62

TICKETS_REMEMBERED_MAX = 131_072
"""Tickets that were found genuine, about 35 MB; beyond it the memory starts anew."""


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
    ) -> None:
        """`no_ticket` answers whoever brings none that the verifier finds genuine. `unproven` finds those genuine that
        must be exchanged for others first; None: there are none such."""
        self.limits = limits
        self.stopping = False
        self.connections: set[Idler] = set()
        self.counts: Counter[str] = Counter()
        self.known_heads = KnownHeads()
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

    def tick(self) -> None:
        """Call every second: the coarse clock, and the deadlines of connections."""
        now_us = self._now_us()
        self.now_s = now_us // 1_000_000
        self.date = http_date(now_us)
        for connection in tuple(self.connections):
            connection.check_deadlines()

    def stop(self) -> None:
        """Answer what was accepted, then let every connection end."""
        self.stopping = True
        self.known_heads.clear()
        for connection in tuple(self.connections):
            connection.finish()


class Idler(Protocol):
    """What a site needs of its connections."""

    def check_deadlines(self) -> None:
        """Forget what an idle connection need not hold; end it when it is too slow or idle for too long."""

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
