"""What everybody can ask of a packet that is open: a grab, and a look at it. Served by every gate.

What its sender does with it, and how it comes to be, is in `redrush.gate.group.counter_routes`.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec

from redrush.core.rush.group import POT_PREFIX, GroupTerms, packet_id
from redrush.errors import RedrushError
from redrush.gate.group.asked import NO_FIELDS, Asked, Parked
from redrush.gate.group.telling import Telling
from redrush.gate.queries import LateAnswers
from redrush.gate.rush.group import GroupPackets, Woken
from redrush.gate.rush.live_packet import LivePacket
from redrush.http import answers
from redrush.http.bodies import json_object
from redrush.http.route import Fixed, Route, RouteFor, Waiter
from redrush.ports.packets import BookFailed
from redrush.ports.store import StoreUnavailable

LATE_MAX: Final = 4_096
"""Requests about packets under way at once, that wait for the book, for a set, or for who knows who follows whom."""

AWAY: Final = answers.problem(
    503, "this cannot be found out or written down now; nothing was lost, ask again", "Retry-After: 1\r\n"
)

_WORD_IS_NO_TEXT: Final = Fixed(answers.problem(400, "word: is text", field="word"))


class PacketRoutes:
    """See the module. One for each campaign that has a `[group]`."""

    def __init__(self, group: GroupPackets, telling: Telling) -> None:
        self.telling = telling
        self.group = group
        self._late = LateAnswers(LATE_MAX, told_of)

    def amend(self, terms: GroupTerms) -> None:
        """Let these terms hold: an open packet has its own."""

    def exact(self) -> list[tuple[bytes, bytes, Asked]]:
        """Return methods, paths and routes of what is asked for at one path."""
        return []

    def below(self) -> list[tuple[bytes, bytes, RouteFor]]:
        """Return methods, patterns of paths, and what returns the route of a packet."""
        return [(b"POST", b"/packets/{}/grab", self.grab), (b"GET", b"/packets/{}", self.look)]

    def grab(self, packet: bytes) -> Route | None:
        """Return the route of `POST /v1/packets/{id}/grab`."""
        known = packet_id(packet)
        return None if known is None else _Grab(self, known)

    def look(self, packet: bytes) -> Route | None:
        """Return the route of `GET /v1/packets/{id}`."""
        return self._of(packet, self._later_of(self._look))

    def _of(self, packet: bytes, run: Callable[..., bytes | None]) -> Asked | None:
        known = packet_id(packet)
        return None if known is None else Asked(run, known)

    def _later_of(self, run: Callable[[str, str], Coroutine[Any, Any, bytes]]) -> Callable[..., bytes | None]:
        return lambda waiter, user, packet, _fields: self._late.promise(waiter, run(user, packet))

    # -- telling

    async def told(self, user: str, packet: str) -> bytes | None:
        """Return what the user is told of a packet, None if it is not open. Raises BookFailed and what stores raise."""
        live = await self.looked_at(packet)
        return None if live is None else self.telling.answer(self.telling.of_live(user, live))

    async def looked_at(self, packet: str) -> LivePacket | None:
        """Return the packet as it is now, with all its winners; None if it is not open."""
        live = await self.group.wake(packet)
        if live is not None and not self.group.is_known(live, winners=True):
            await self.group.look(live)
        return live

    async def _look(self, user: str, packet: str) -> bytes:
        return await self.told(user, packet) or answers.NOT_FOUND

    # -- grabbing

    def grab_live(self, waiter: Waiter, user: str, live: LivePacket, word: str | None) -> bytes | None:
        """Answer a grab of a packet that is awake, now or later (None)."""
        group = self.group
        if group.is_known(live) and (may := group.may(live, user)) is not None:
            return group.grab(live, waiter, user, word, may=may)
        return self._late.promise(Parked(waiter), self._grab_later(waiter, user, live.packet.id, word))

    async def _grab_later(self, waiter: Waiter, user: str, packet: str, word: str | None) -> bytes:
        group = self.group
        live = await group.wake(packet)
        if live is None:
            return answers.NOT_FOUND
        may = group.may(live, user)
        if may is None:
            may = await group.ask_whether(live, user)
        if not group.is_known(live):
            await group.look(live)
        return group.grab(live, waiter, user, word, may=may) or b""


class _Grab(msgspec.Struct, frozen=True, gc=False):
    """The route of a grab of one packet. One is made for each request, so it is no more than it has to be."""

    routes: PacketRoutes
    packet: str
    word: str | None = None

    def reads(self, body: bytes) -> Route:
        """Return the route for this body, which the site has found to be a JSON object, or empty."""
        word = None if body in (b"", b"{}") else (json_object(body) or NO_FIELDS).get("word")
        if word is None:
            return self
        return _Grab(self.routes, self.packet, word) if isinstance(word, str) else _WORD_IS_NO_TEXT

    def serve(self, waiter: Waiter, user: str) -> bytes | None:
        """Answer it, now or later (None)."""
        routes = self.routes
        live = routes.group.live.get(POT_PREFIX + self.packet)
        if live is not None:
            if live.for_all and (live.complete or routes.group.is_known(live)):  # nothing has to be found out first
                return routes.group.grab(live, waiter, user, self.word)
            return routes.grab_live(waiter, user, live, self.word)
        routes.group.wake_for(self.packet, _Grabbing(routes, waiter, user, self.word))
        return None


class _Grabbing:
    """A grab of a packet that is asleep, until it is awake."""

    __slots__ = ("_routes", "_user", "_waiter", "_word")

    def __init__(self, routes: PacketRoutes, waiter: Waiter, user: str, word: str | None) -> None:
        self._routes = routes
        self._waiter = waiter
        self._user = user
        self._word = word

    def done(self) -> bool:
        """Whether nobody waits any more."""
        return not self._waiter.waiting

    def set_result(self, woken: Woken) -> None:
        """Grab what woke."""
        waiter = self._waiter
        if woken is None:
            waiter.send(answers.NOT_FOUND)
        elif isinstance(woken, BookFailed):
            waiter.send(told_of(woken))
        elif answer := self._routes.grab_live(waiter, self._user, woken, self._word):
            waiter.send(answer)

    def set_exception(self, fault: RedrushError) -> None:
        """Say that it cannot be found out now."""
        self._waiter.send(told_of(fault))


def told_of(fault: RedrushError) -> bytes:
    """Return what whoever asked is told of a fault."""
    return answers.SET_AWAY if isinstance(fault, StoreUnavailable) else AWAY
