"""One client's connection: bytes in, whole answers out, in order.

The short way is for a request that came in one piece: one strict regular expression reads its head, and what such a
head means was learned when one of its kind was read for the first time (`redrush.http.heads`). What comes again, but
for values that are another's each time, is not even read so (`redrush.http.seen_heads`). Nothing but a
whole head, and a body as long as it says, is served by it. A request that comes again on the same connection needs
no reading at all. Everything else is read by `RequestReader`.

There is one request under way per connection. What a client pipelines waits in `_unread`, unparsed and bounded, so
answers keep their order and a client cannot make the gate hold more than one read of it.

Long, because the short way and the long one are two ways through one state, which must say the same.
"""

import asyncio
import re
from typing import Final, cast

from redrush.http import answers
from redrush.http.asking_limits import Frequency
from redrush.http.bodies import json_object
from redrush.http.dress import Dressed
from redrush.http.heads import HEAD, KnownHead
from redrush.http.paths import Alike
from redrush.http.reader import Broken, Request, RequestReader
from redrush.http.route import Probe, Route
from redrush.http.seen_heads import BODY_BYTES_MAX, READ_BODY_BYTES_MAX, Opened
from redrush.http.site import NEVER_S, Site
from redrush.http.ticket_check import TicketCheck

_FINE: Final = b"HTTP/1.1 200 "

UNREAD_BYTES_MAX: Final = 65_536
"""What may wait behind a request under way before the connection is not read any more."""

REFUSALS_MAX: Final = 64
"""Connections that were turned away and are kept for a second at most, so that their refusal can be read; more are just
closed. They are beside the site's connections: who is refused holds nobody's place."""

REFUSED_S: Final = 1

AT_ONCE_MAX: Final = 4
"""Requests of one connection that are served in one turn of the loop: who sends dozens at once takes their turn like
everybody else. A browser sends one."""

LIVELY_S: Final = 5
"""A client that was heard of so recently is likely to ask again in a moment, on the same connection."""

FORGET_AFTER_S: Final = 5
"""A connection idle for this long gives up the memory of its last head; a closed eye costs one look-up more."""


class Connection(asyncio.Protocol):
    """See the module. Created by the server for each accepted socket."""

    __slots__ = ("_active_s", "_address", "_closing", "_counted", "_ended", "_expires_s", "_head", "_proxy", "_reader",
                 "_resting", "_route", "_since_s", "_site", "_stalled", "_transport", "_unread", "_user",
                 "_waiting")  # fmt: skip

    _transport: asyncio.Transport
    _route: Route

    def __init__(self, site: Site) -> None:
        self._site = site
        self._head: bytes | None = None
        self._user = ""
        self._expires_s = 0
        self._reader: RequestReader | None = None
        self._unread = b""
        self._waiting = False
        self._stalled = False
        self._resting = False  # others have their turn, there is more to serve
        self._closing = False
        self._ended = False
        self._active_s = site.now_s
        self._since_s = NEVER_S
        self._address = b""  # of whoever the request under way comes from
        self._proxy: bytes | None = None  # the peer's own address, if it is a proxy of ours
        self._counted = False

    # -- the transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is one in all but its base class.
        self._transport = cast(asyncio.Transport, transport)
        site = self._site
        if site.stopping:
            self._turn_away(answers.STOPPING, "connections_refused")
        elif len(site.connections) >= site.connections_max:
            self._turn_away(answers.TOO_MANY_CONNECTIONS, "connections_refused")
        else:
            self._meet()

    def _meet(self) -> None:
        """Find out who the peer is; turn it away if it has its share of connections. Proxies have no such share."""
        asking = self._site.asking
        peer = self._transport.get_extra_info("peername")
        self._address, trusted = asking.clients.of_peer(peer[0] if peer else "")
        if trusted:
            self._proxy = self._address
        elif asking.enter(self._address):
            self._counted = True
        else:
            self._turn_away(answers.TOO_MANY_OF_ADDRESS, "address_connections")
            return
        self._site.connections.add(self)

    def _turn_away(self, answer: bytes, reason: str) -> None:
        """Refuse the connection itself."""
        site = self._site
        site.counts[reason] += 1
        if len(site.refused) < REFUSALS_MAX:
            site.refused.add(self)
            self._refuse(answer)
        else:
            self._closing = True
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        site = self._site
        site.connections.discard(self)
        site.refused.discard(self)
        if self._counted:
            site.asking.leave(self._address)
        self._closing = True
        self._waiting = False
        self._unread = b""
        self._reader = None

    def data_received(self, data: bytes) -> None:
        if self._waiting or self._stalled or self._reader is not None or self._closing:
            self._receive_more(data)
            return
        site = self._site
        self._active_s = now_s = site.now_s
        if data == self._head and self._expires_s > now_s:
            self._serve(self._route, self._user)
            return
        if len(data) <= site.head_bytes_max:
            if site.seen_alike.lengths and self._shortest_way_alike(data):
                return
            found = site.seen_heads.find(data)
            if found is not None:
                seen, values = found
                told = self._proxy is None or self._comes_from(values[seen.forwarded] if seen.forwarded >= 0 else None)
                endpoint = seen.served
                if told and self._serve_ticket(data, endpoint.tickets, endpoint.route, values[seen.ticket]):
                    return
        read, head = HEAD.match(data, 0, site.head_bytes_max), None
        if read is not None:
            groups, known = read.groups(), site.known_heads
            head = known.get(groups) or known.find_alike(groups)
        if read is None or head is None:
            self._long_way(data, read)
        elif not self._short_way(data, read, head):
            self._long_way(data)

    def eof_received(self) -> bool:
        """Answer what a client has asked before it closed its sending side; True keeps the connection for that."""
        if self._waiting or self._stalled or self._resting:
            self._ended = True
            return True
        self._closing = True
        return False

    def pause_writing(self) -> None:
        self._stalled = True
        self._since_s = self._site.now_s

    def resume_writing(self) -> None:
        self._stalled = False
        if not self._closing:
            self._since_s = NEVER_S if self._reader is None else self._site.now_s
        self._go_on()

    # -- reading

    def _comes_from(self, forwarded: bytes | None) -> bool:
        """Note whom the text of `X-Forwarded-For` speaks of, None if there is none; returns False if it makes no
        sense. For what a proxy of ours sends on."""
        address = None if forwarded is None else self._site.asking.clients.of_forwarded(forwarded)
        if address is None:
            return False
        self._address = address
        return True

    def _shortest_way_alike(self, data: bytes) -> bool:
        """Serve a request whose like came before, for another segment; returns False if there is none, or something
        about its own values or its segment is not right."""
        found = self._site.seen_alike.find(data)
        if found is None:
            return False
        seen, values, segment = found
        told = self._proxy is None or self._comes_from(values[seen.forwarded] if seen.forwarded >= 0 else None)
        opened = seen.served
        route = opened.alike.route(segment, opened.body) if told else None
        return route is not None and self._serve_ticket(None, opened.tickets, route, values[seen.ticket])

    def _short_way(self, data: bytes, found: re.Match[bytes], head: KnownHead) -> bool:
        """Serve a request whose head says nothing new; returns False if something else about it is not right."""
        body = data[found.end() :]
        if len(body) != head.body_bytes or (body and not _is_object(body)):
            return False
        if self._proxy is not None:
            forwarded = _value(data, found.end(head.forwarded)) if head.forwarded else None
            if not self._comes_from(forwarded):
                return False
        if head.alike is not None:
            return self._short_way_alike(found, head, head.alike, body)
        endpoint, longest = head.endpoint, BODY_BYTES_MAX
        if endpoint.reads is not None:
            endpoint, longest = endpoint.of_body(body), READ_BODY_BYTES_MAX
        if not endpoint.needs_ticket:
            self._serve(endpoint.route, "")
            return True
        start = found.end(head.ticket)
        if not self._serve_ticket(data, endpoint.tickets, endpoint.route, _value(data, start)):
            return False
        self._site.seen_heads.learn(data, start, found.end(), endpoint, longest)
        return True

    def _short_way_alike(self, found: re.Match[bytes], head: KnownHead, alike: Alike, body: bytes) -> bool:
        """Serve a request whose head says nothing new but for its segment, which may not be right: False then."""
        data, start, tickets = found.string, found.end(head.ticket), head.endpoint.tickets
        route = alike.route(alike.segment(found[1]), body)
        if route is None or not self._serve_ticket(None, tickets, route, _value(data, start)):
            return False
        self._site.seen_alike.learn(data, start, found.end(), Opened(alike, tickets, body))
        return True

    def _serve_ticket(self, again: bytes | None, tickets: TicketCheck, route: Route, credentials: bytes) -> bool:
        """Serve a request that is right but for its ticket, which may not be: False then. `again`: the request, where
        the same bytes are served by the same route when they come again."""
        site = self._site
        ticket = known = tickets.known.get(credentials)
        if ticket is None:
            ticket = tickets.ticket(credentials)
        if ticket is None or ticket.expires_s <= site.now_s:
            return False
        # Kept from the second request on: most connections of a crowd make one and stay. Behind a proxy the next one is
        # somebody else's.
        if self._user and self._proxy is None:
            self._head = again
        self._route, self._user, self._expires_s = route, ticket.user, ticket.expires_s
        done = self._serve(route, ticket.user)
        # A refusal asks its user to stay away for seconds: thousands of them each second would fill the memory in vain.
        if known is None and done is not None and done.startswith(_FINE):
            site.remember_ticket(tickets, credentials, ticket)
        return True

    def _long_way(self, data: bytes, found: re.Match[bytes] | None = None) -> None:
        """Read with care. `found`: what the head of a first piece was found to be, if nothing is known of it yet."""
        reader = self._reader
        if reader is None:
            reader = self._reader = RequestReader(self._site.limits)
            self._since_s = self._site.now_s
        reader.feed(data)
        alone = len(reader.ready) == 1 and not reader.under_way
        self._go_on(found if alone else None)

    def _receive_more(self, data: bytes) -> None:
        """Keep what came while a request is under way, or go on reading one that comes in pieces."""
        if self._closing:
            return
        if self._waiting or self._stalled or self._resting:
            self._unread += data
            if len(self._unread) > UNREAD_BYTES_MAX:
                self._transport.pause_reading()
        else:
            self._long_way(data)

    def _go_on(self, found: re.Match[bytes] | None = None) -> None:
        """Serve what is ready, one after the other, until one must wait or nothing is left; some of it in a later turn
        of the loop, if it is much. `found`: what to learn from the only one that is ready."""
        served = 0
        while not (self._waiting or self._stalled or self._resting or self._closing):
            reader = self._reader
            if reader is not None and reader.ready:
                if served == AT_ONCE_MAX:
                    self._resting = True
                    asyncio.get_running_loop().call_soon(self._wake_up)
                    return
                served += 1
                self._take(reader.ready.popleft(), found)
            elif self._unread:
                data, self._unread = self._unread, b""
                if len(data) > UNREAD_BYTES_MAX:
                    self._transport.resume_reading()
                self.data_received(data)
                return
            else:
                if reader is not None and not reader.under_way:
                    self._reader = None
                    self._since_s = NEVER_S
                elif reader is not None and reader.expects:
                    # Not before: the answers to what came earlier on this connection have to stand before it.
                    reader.expects = False
                    self._transport.write(answers.CONTINUE)
                if self._ended:
                    self._close()
                return

    def _wake_up(self) -> None:
        self._resting = False
        self._go_on()

    def _take(self, request: Request | Broken, lesson: re.Match[bytes] | None) -> None:
        if isinstance(request, Broken):
            self._break_off(request.status)
            return
        if not request.keep_alive or self._site.stopping:
            self._closing = True
        self._since_s = self._active_s = self._site.now_s
        site = self._site
        if self._proxy is not None:
            self._address = site.asking.clients.of_forwarded(request.forwarded) or self._proxy
        found = site.resolve(request)
        if isinstance(found, bytes):
            site.counts["refused"] += 1
            limit = None if site.asking.check is None else site.asking.check("", self._address)
            found = answers.dated(limit if isinstance(limit, bytes) else found, site.date)
            self._write(site.dress_of(request).put_on(found))
        else:
            endpoint, user = found
            # Whoever came alone, in one piece, and was fine, as others will be.
            if lesson is not None and lesson.end() + len(request.body) == len(lesson.string) and not self._closing:
                site.learn(lesson.groups(), request, endpoint)
            self._serve(endpoint.reads(request.body) if endpoint.reads else endpoint.route, user)

    # -- answering

    @property
    def waiting(self) -> bool:
        """Whether a request waits for its answer, and somebody for that."""
        return self._waiting

    @property
    def address(self) -> bytes:
        """Where the request under way came from, as it is counted."""
        return self._address

    def _serve(self, route: Route, user: str) -> bytes | None:
        """Answer (what with), or wait for the route to (None)."""
        check = self._site.asking.check
        if check is not None and (limit := check(user, self._address)) is not None:
            done = self._serve_hasty(route, user, limit)
        else:
            done = route.serve(self, user)
        if done is None:
            self._waiting = True
        else:
            self._write(done)
        return done

    def _serve_hasty(self, route: Route, user: str, limit: bytes | Frequency) -> bytes | None:
        """Refuse somebody who asks too often, or answer with the advice to wait for longer; a probe is answered.

        Probes are told apart only here, for whoever keeps to the limits would pay for it."""
        if isinstance(limit, bytes):
            if isinstance(route, Probe) or (isinstance(route, Dressed) and route.is_probe):
                self._site.asking.pardon()
                return route.serve(self, user)
            refusal = answers.dated(limit, self._site.date)
            return route.dress.put_on(refusal) if isinstance(route, Dressed) else refusal
        done = route.serve(self, user)
        return None if done is None else limit.advise(done)

    def send(self, answer: bytes) -> None:
        """Take the answer that the request under way waited for."""
        if not self._waiting:
            return
        self._waiting = False
        if self._closing:
            self._write(answer)
        else:
            self._transport.write(answer)
        if self._unread or self._reader is not None or self._ended:
            self._go_on()

    def _write(self, answer: bytes) -> None:
        if self._closing:
            self._transport.write(answers.closing(answer))
            self._close()
        else:
            self._transport.write(answer)

    def _close(self) -> None:
        """Close when what was written has been taken; `check_deadlines` sees to it that this ends."""
        self._closing = True
        self._since_s = self._site.now_s
        self._transport.close()

    def _break_off(self, status: int) -> None:
        self._site.counts["malformed"] += 1
        self._refuse(_BROKEN[status])

    def _refuse(self, answer: bytes) -> None:
        """Say why and end the connection, though the client may be sending still. Its bytes are dropped until it ends
        too, or its time is up: closing at once would reset the connection, and the refusal be lost with it."""
        self._closing = True
        self._since_s = self._site.now_s
        self._transport.write(answers.closing(self._site.readable_by_all(answer)))
        if self._ended or not self._transport.can_write_eof():
            self._transport.close()
        else:
            self._transport.write_eof()

    # -- the site's calls

    def check_deadlines(self) -> None:
        """Forget what an idle connection need not hold; end it when it is too slow or idle for too long."""
        site = self._site
        limits = site.limits
        if self._waiting:
            if site.now_s - self._active_s > limits.claim_deadline_s:
                # Closing is what keeps the late answer from being taken for that of a later request.
                self._closing = True
                self.send(site.readable_by_all(answers.STORE_SLOW))
        elif site.now_s - self._since_s > limits.read_deadline_s:
            if not self._closing:
                site.counts["too_slow"] += 1
            if self._closing or self._stalled:
                self.abort()
            else:
                self._break_off(408)
        elif site.now_s - self._active_s > FORGET_AFTER_S:
            self._head = None
            self._user = ""
            if site.now_s - self._active_s > limits.idle_timeout_s:
                self._close()

    def forget_head(self) -> None:
        """Look the path of the next request up."""
        self._head = None

    def check_refusal(self) -> None:
        """End a connection that was turned away, when its second is over."""
        if self._site.now_s - self._since_s >= REFUSED_S:
            self.abort()

    def idle_since_s(self) -> int | None:
        """Return when the client was last heard of, if nothing is under way and it has taken what it was sent."""
        busy = self._waiting or self._stalled or self._closing or self._reader is not None
        return None if busy else self._active_s

    @property
    def crowd(self) -> bytes | None:
        """Whose connections this one is counted with: the peer's address; None for a proxy of ours."""
        return None if self._proxy is not None else self._address

    def announce_end(self) -> None:
        """Let the next answer be the last one, and say so: what a client sends just now is still answered. Whoever has
        asked nothing for LIVELY_S is closed at once."""
        self._head = None
        if self._waiting:
            self._closing = True
        elif (since_s := self.idle_since_s()) is not None and self._site.now_s - since_s > LIVELY_S:
            self.finish()

    def finish(self) -> None:
        """End the connection, after the answer that is under way."""
        self._unread = b""
        if self._waiting:
            self._closing = True
        else:
            self._close()

    def abort(self) -> None:
        """End the connection now."""
        self._closing = True
        self._transport.abort()


def _value(data: bytes, start: int) -> bytes:
    """Return the text of a header line from there to its end."""
    return data[start : data.find(b"\r", start)]


def _is_object(body: bytes) -> bool:
    return body == b"{}" or json_object(body) is not None


_BROKEN = {
    400: answers.BAD_REQUEST,
    408: answers.TOO_SLOW,
    413: answers.BODY_TOO_LARGE,
    417: answers.UNKNOWN_EXPECTATION,
    431: answers.HEAD_TOO_LARGE,
}
