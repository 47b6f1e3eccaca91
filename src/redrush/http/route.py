"""What a site serves at a path, and who waits for its answers."""

from collections.abc import Callable
from hashlib import blake2b
from typing import Protocol

import msgspec

from redrush.core.identity.tickets import Ticket
from redrush.http import answers
from redrush.http.ticket_check import NONE_GENUINE, TicketCheck


class Waiter(Protocol):
    """Whoever waits for an answer; a connection, mostly."""

    @property
    def waiting(self) -> bool:
        """Whether an answer would still be sent to somebody."""

    @property
    def address(self) -> bytes:
        """Where the request came from, as it is counted: see `redrush.http.client_address`. Empty: not known."""

    def send(self, answer: bytes) -> None:
        """Take the answer to the request that was left unanswered."""


class StandIn:
    """Waits in the place of a waiter, for what is done to an answer on its way: see `send` of those that derive."""

    __slots__ = ("waiter",)

    def __init__(self, waiter: Waiter) -> None:
        self.waiter = waiter

    @property
    def waiting(self) -> bool:
        """Whether an answer would still be sent to somebody."""
        return self.waiter.waiting

    @property
    def address(self) -> bytes:
        """Where the request came from."""
        return self.waiter.address


class Route(Protocol):
    """One path of a site."""

    def serve(self, waiter: Waiter, user: str) -> bytes | None:
        """Answer a request, now (bytes) or later (None, then `waiter.send`). `user` is "" on a public route."""


class Fixed:
    """A route that always gives the same answer."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def serve(self, waiter: Waiter, user: str) -> bytes:
        """Return the answer."""
        return self._answer


class Probe(Fixed):
    """A public answer by which balancers tell whether somebody is there. It counts against no limit of asking: whose
    address is refused would be taken for dead, and its users sent to the others."""


class Fitting:
    """A public route whose answer depends on what whoever asks has already, or can read."""

    def fitting(self, if_none_match: bytes, accept_encoding: bytes) -> Route:
        """Return the route for whoever has what these tags name (`If-None-Match`), and can read these codings; itself
        where that makes no difference."""
        raise NotImplementedError


class Tagged(Fixed, Fitting):
    """A public answer that is always the same, and that whoever has it already is not sent again."""

    def __init__(self, body: bytes, headers: str) -> None:
        """`body` is JSON; `headers` say how long it may be kept."""
        self.say(body, headers)

    def say(self, body: bytes, headers: str) -> None:
        """Give this answer from now on, to whoever had another one, too."""
        self.etag = b'"%b"' % blake2b(body, digest_size=12).hexdigest().encode("ascii")
        lines = f"ETag: {self.etag.decode('ascii')}\r\n{headers}"
        self._answer = answers.answer(200, body, headers=lines)
        self._not_modified = Fixed(answers.not_modified(lines))

    def fitting(self, if_none_match: bytes, accept_encoding: bytes) -> Fixed:
        """See `Fitting`: it has one coding."""
        del accept_encoding
        return self._not_modified if if_none_match and names(if_none_match, self.etag) else self


def names(if_none_match: bytes, etag: bytes) -> bool:
    """Whether the tags of an `If-None-Match` are those of an answer: they are compared weakly (RFC 9110, 8.8.3.2), `*`
    is any."""
    tags = [tag.strip().removeprefix(b"W/") for tag in if_none_match.split(b",")]
    return etag in tags or if_none_match.strip() == b"*"


class Endpoint(msgspec.Struct, frozen=True):
    """A route with what the site checks before it: the method, and whether a ticket is needed."""

    method: bytes
    route: Route
    needs_ticket: bool
    reads: Callable[[bytes], Route] | None = None
    """Returns the route for a request's body, where the body matters; None where it is ignored."""
    steady: bool = False
    """Whether `reads` makes the same of a body each time, so that a head may be remembered with its body."""
    once: bool = False
    """Made for one request: a head must not be remembered with it."""
    tickets: TicketCheck = NONE_GENUINE
    """Whose tickets are good here, where one is needed."""

    def of_body(self, body: bytes) -> "Endpoint":
        """Return the endpoint for requests with this body."""
        if self.reads is None:
            return self
        return msgspec.structs.replace(self, route=self.reads(body), reads=None)


class TicketCounter(msgspec.Struct, frozen=True):
    """Where an unproven ticket is wanted, and no other will do."""

    method: bytes
    route_for: Callable[[Ticket, bytes], Route]
    """Returns the route for a genuine ticket that has not expired, and a request's body."""
    tickets: TicketCheck


RouteFor = Callable[..., Route | None]
"""Returns the route for the segments of a path that a pattern leaves open, all bytes, or None if there is none."""
