"""Requests about packets, as routes: with the fields of their bodies, and answers that come later or not at all."""

from collections.abc import Callable, Mapping
from typing import Any

from redrush.http.bodies import json_object
from redrush.http.route import StandIn, Waiter


class Asked:
    """A route that is served with the fields of the body."""

    def __init__(self, run: Callable[..., bytes | None], fields: Mapping[str, Any] | None = None) -> None:
        """`run` gets who waits, who asks, and the fields."""
        self._run = run
        self._fields = fields or {}

    def reads(self, body: bytes) -> "Asked":
        """Return the route for this body, which the site has found to be a JSON object, or empty."""
        return Asked(self._run, json_object(body))

    def serve(self, waiter: Waiter, user: str) -> bytes | None:
        """Answer it."""
        return self._run(waiter, user, self._fields)


class Parked(StandIn):
    """Whoever waits for an answer that may come from a lane: nothing said is nothing sent."""

    __slots__ = ()

    def send(self, answer: bytes) -> None:
        """Take the answer, if it is one."""
        if answer:
            self.waiter.send(answer)
