"""What is asked one user at a time and answered later: by a task of its own, and bounded.

A query of a set shares the link to its primary with the claims, so each set has a bulkhead: a storm of queries finds
its few places taken and is refused, and claims still find the rest of the link's. No breaker stands here, for the store
is one: while it has no primary every call fails at once, and it looks for one in the background.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from redrush.dependency import Bulkhead, Share, Unanswered
from redrush.errors import RedrushError
from redrush.gate.pots import SetPot
from redrush.http import answers
from redrush.http.route import Waiter
from redrush.ports.store import Claimed, StoreUnavailable

QUERIES_MAX: Final = 256
"""Queries under way at once in a gate, whatever they wait for."""

SET_SHARE: Final = Share(at_once_max=16, waiting_max=48, deadline_s=1.0)
"""Of each set: a quarter of the calls that its link takes at once, some thousands a second at a fsync each; who waits
is served within some hundredths. A quarter of QUERIES_MAX in all, so a set that hangs leaves room for the others'."""


class LateAnswers:
    """Answers that come later, a bounded number at a time. Not thread-safe: it lives on the event loop."""

    def __init__(self, at_once_max: int, told: Callable[[RedrushError], bytes]) -> None:
        """`told` returns what a waiter is told of a fault."""
        self._at_once_max = at_once_max
        self._told = told
        self._under_way: set[asyncio.Task[None]] = set()

    def promise(self, waiter: Waiter, answer: Coroutine[Any, Any, bytes | None]) -> bytes | None:
        """Send the answer to the waiter once it is there, unless it is None: then somebody else will. Or return a
        refusal, now, if too many wait."""
        if len(self._under_way) >= self._at_once_max:
            answer.close()
            return answers.QUERIES_BUSY
        task = asyncio.create_task(self._send(waiter, answer))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return None

    async def _send(self, waiter: Waiter, answer: Coroutine[Any, Any, bytes | None]) -> None:
        try:
            sent = await answer
        except RedrushError as fault:
            sent = self._told(fault)
        if sent is not None:
            waiter.send(sent)


class Queries:
    """The queries of one gate: of all its rounds, to all its sets."""

    def __init__(self) -> None:
        self.sets: dict[str, Bulkhead] = {}
        """By set, of those that were ever asked."""
        self._late = LateAnswers(QUERIES_MAX, _told)

    def answer(self, waiter: Waiter, query: Coroutine[Any, Any, bytes | None]) -> bytes | None:
        """Let the waiter have what the query returns, or the refusal that its fault comes to; busy is told at once."""
        return self._late.promise(waiter, query)

    async def claimed_by(self, pot: SetPot, user: str, request: str = "") -> Claimed | Unanswered | None:
        """Return the user's grant to that request, or None, or why the set was not asked. Raises StoreUnavailable and
        StoreFailed."""
        lane = pot.lane
        bulkhead = self.sets.get(lane.set)
        if bulkhead is None:
            bulkhead = self.sets[lane.set] = Bulkhead(lane.set, SET_SHARE)
        return await bulkhead.ask(lambda: lane.store.find(pot.id, user, request))


def refused(refusal: Unanswered) -> bytes:
    """Return the answer to whoever a set was not asked for."""
    return answers.QUERIES_BUSY if refusal is Unanswered.FULL else answers.SET_AWAY


def _told(fault: RedrushError) -> bytes:
    return answers.SET_AWAY if isinstance(fault, StoreUnavailable) else answers.STORE_FAILED
