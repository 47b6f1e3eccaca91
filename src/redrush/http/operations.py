"""Operations of the control port as routes: the body's fields go in, a status and the fields of the answer come out.

The control port is a site like the participants', with paths that are known at the start, so the serving process
brings no web framework: what a handful of operators need is a body and an answer that may take an fsync.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final

from redrush.http import answers
from redrush.http.bodies import json_object
from redrush.http.route import Waiter

OPERATIONS_MAX: Final = 64
"""Under way at once on one port, without those that wait for a change."""

WATCHES_MAX: Final = 1_024
"""Operations that wait for a change, one of each process that follows the switches. Counted apart: who waits for long
must not keep an operator out."""

Run = Callable[[Mapping[str, Any], str], Awaitable[tuple[int, dict[str, Any]]]]
"""Gets the fields, and who asks: the holder of the token."""


class Operations:
    """The operations of one port that are under way."""

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        """`failed` hears of faults that nobody thought of; whoever asked is told as well."""
        self._under_way: set[asyncio.Task[None]] = set()
        self._watches: set[asyncio.Task[None]] = set()
        self._failed = failed

    def route(self, run: Run, *, waits: bool = False) -> "OperationRoute":
        """Return the route that runs this operation; `waits`: it may take long because it waits for a change."""
        return OperationRoute(self, run, {}, waits=waits)

    def begin(self, answer: Coroutine[Any, Any, None], *, waits: bool) -> bool:
        """Let a task see to the answer; False if there are as many as may be."""
        tasks, most = (self._watches, WATCHES_MAX) if waits else (self._under_way, OPERATIONS_MAX)
        if len(tasks) >= most:
            answer.close()
            return False
        task = asyncio.create_task(answer)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return True

    def failed(self, fault: Exception) -> None:
        """An operation broke off with what nobody thought of."""
        self._failed(fault)


class OperationRoute:
    """One operation, with the fields that came."""

    def __init__(self, operations: Operations, run: Run, fields: Mapping[str, Any], *, waits: bool) -> None:
        self._operations = operations
        self._run = run
        self._fields = fields
        self._waits = waits

    def reads(self, body: bytes) -> "OperationRoute":
        """Return the route for this body, which the site has found to be a JSON object, or empty."""
        return OperationRoute(self._operations, self._run, json_object(body) or {}, waits=self._waits)

    def serve(self, waiter: Waiter, user: str) -> bytes | None:
        """Answer later, when the operation is done."""
        begun = self._operations.begin(self._answer(waiter, user), waits=self._waits)
        return None if begun else answers.BUSY

    async def _answer(self, waiter: Waiter, user: str) -> None:
        try:
            status, fields = await self._run(self._fields, user)
        except Exception as fault:  # noqa: BLE001 - told to whoever hears of faults; who asked must not wait for nothing
            self._operations.failed(fault)
            status, fields = 500, {"detail": "this failed in a way that nobody thought of; the server's log has more"}
        if status < 400:
            waiter.send(answers.json_answer(fields))
        else:
            waiter.send(answers.problem(status, **fields))
