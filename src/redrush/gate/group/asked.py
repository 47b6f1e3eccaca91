"""Requests about packets, as routes: with the fields of their bodies, and answers that come later or not at all."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from redrush.http.bodies import json_object
from redrush.http.route import StandIn, Waiter

NO_FIELDS: Final[Mapping[str, Any]] = MappingProxyType({})


class Asked:
    """A route that is served with the fields of the body."""

    __slots__ = ("_fields", "_run", "_what")

    def __init__(self, run: Callable[..., bytes | None], *what: str) -> None:
        """`run` gets who waits, who asks, what is asked for, and the fields."""
        self._run = run
        self._what = what
        self._fields = NO_FIELDS

    def reads(self, body: bytes) -> "Asked":
        """Return the route for this body, which the site has found to be a JSON object, or empty."""
        if body in (b"", b"{}"):
            return self
        asked = Asked(self._run, *self._what)
        asked._fields = json_object(body) or NO_FIELDS
        return asked

    def serve(self, waiter: Waiter, user: str) -> bytes | None:
        """Answer it."""
        return self._run(waiter, user, *self._what, self._fields)


class Parked(StandIn):
    """Whoever waits for an answer that may come from a lane: nothing said is nothing sent."""

    __slots__ = ()

    def send(self, answer: bytes) -> None:
        """Take the answer, if it is one."""
        if answer:
            self.waiter.send(answer)
