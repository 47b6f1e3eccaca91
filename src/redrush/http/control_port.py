"""The connections of a control port: whoever has shown no token is a guest, and guests are few and stay short.

Operators, scrapers and balancers share a port with whoever reaches it, and a connection that says nothing costs its
sender nothing. So there are never more than `GUESTS_MAX` guests, and a new one takes the place of the one that has
been there longest of the address that has the most: a probe says at once what it wants and is answered in the next turn
of the loop, while silence is pushed out by silence. Nobody is ever refused for want of a place. Who has shown the token
is no guest any more, and is counted with the site's connections only.
"""

import asyncio
import ssl
from asyncio.sslproto import SSLProtocol
from collections import Counter
from typing import Final, Protocol, cast

from redrush.http.connection import Connection
from redrush.http.route import Route
from redrush.http.site import Site

OPERATOR_CONNECTIONS_MAX: Final = 32
"""Connections of operators and their programs, as many as there are surely files for."""

GUESTS_MAX: Final = 64
"""Connections to one control port that have shown no token."""

GUEST_S: Final = 3
"""Whole seconds that a guest may stay. A probe takes some milliseconds; who keeps its connection for the next one makes
it anew."""


class Guest(Protocol):
    """Whoever has shown no token."""

    @property
    def crowd(self) -> bytes | None:
        """Whose connections it is counted with."""

    def abort(self) -> None:
        """End the connection now."""


class Guests:
    """The guests of one control port, in the order in which they came."""

    def __init__(self) -> None:
        self._present: dict[Guest, bytes | None] = {}
        self._of_address: Counter[bytes | None] = Counter()
        self.pushed_out = 0

    def __len__(self) -> int:
        return len(self._present)

    def enter(self, guest: Guest) -> None:
        """Let one in; if there are as many as may be, another one has to go."""
        if len(self._present) >= GUESTS_MAX:
            greediest, _ = self._of_address.most_common(1)[0]
            longest = next(one for one, address in self._present.items() if address == greediest)
            self.leave(longest)
            self.pushed_out += 1
            longest.abort()
        self._present[guest] = guest.crowd
        self._of_address[guest.crowd] += 1

    def leave(self, guest: Guest) -> None:
        """One is a guest no more; nothing happens if it was none."""
        if guest in self._present:
            address = self._present.pop(guest)
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]


class ControlConnection(Connection):
    """A connection of a control port. See the module."""

    __slots__ = ("_came_s", "_door", "_guest", "_guests")

    def __init__(self, site: Site, guests: Guests, door: "Door | None" = None) -> None:
        """`door`: through which it comes, where TLS is spoken."""
        super().__init__(site)
        self._door = door
        self._guests = guests
        self._guest = False
        self._came_s = site.now_s

    def _meet(self) -> None:
        if self._door is not None:
            self._guests.leave(self._door)
        super()._meet()
        if not self._closing:
            self._guest = True
            self._guests.enter(self)

    def _serve(self, route: Route, user: str) -> bytes | None:
        if user and self._guest:
            self._guest = False
            self._guests.leave(self)
        return super()._serve(route, user)

    def connection_lost(self, exc: Exception | None) -> None:
        self._guests.leave(self)
        super().connection_lost(exc)

    def check_deadlines(self) -> None:
        """End a guest whose time is up, besides what is true of every connection."""
        if self._guest and self._site.now_s - self._came_s > GUEST_S:
            self._site.counts["guests_ended"] += 1
            self.abort()
        else:
            super().check_deadlines()


class Door(SSLProtocol):
    """Where a control port speaks TLS: a guest from the first moment, with a `ControlConnection` behind the handshake.

    The loop's own TLS server tells nobody of a connection before its handshake, so silent ones could not be counted;
    and what comes before `start_tls` is called would be taken for plain bytes.
    """

    def __init__(self, site: Site, guests: Guests, context: ssl.SSLContext) -> None:
        self._site = site
        self._guests = guests
        self.crowd: bytes | None = None
        loop = asyncio.get_running_loop()
        connection = ControlConnection(site, guests, self)
        super().__init__(loop, connection, context, None, True, ssl_handshake_timeout=GUEST_S)  # type: ignore[arg-type]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Come in."""
        self._plain = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.crowd, _ = self._site.asking.clients.of_peer(peer[0] if peer else "")
        self._guests.enter(self)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Leave."""
        self._guests.leave(self)
        super().connection_lost(exc)

    def abort(self) -> None:
        """End the connection now."""
        self._plain.abort()
