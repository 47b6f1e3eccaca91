"""Operations of the control port as routes: the body's fields go in, a status and the fields of the answer come out.

The control port is a site like the participants', with paths that are known at the start, so the serving process
brings no web framework: what a handful of operators need is a body and an answer that may take an fsync.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from redrush.gate import answers
from redrush.gate.bodies import json_object
from redrush.gate.route import Waiter

OPERATIONS_MAX: Final = 256
"""Under way at once on one port, those included that wait for a change; as many as the port has connections."""

Run = Callable[[Mapping[str, Any]], Awaitable[tuple[int, dict[str, Any]]]]


class Operations:
    """The operations of one port that are under way."""

    def __init__(self) -> None:
        self.under_way: set[asyncio.Task[None]] = set()

    def route(self, run: Run) -> "OperationRoute":
        """Return the route that runs this operation."""
        return OperationRoute(self, run, {})


class OperationRoute:
    """One operation, with the fields that came."""

    def __init__(self, operations: Operations, run: Run, fields: Mapping[str, Any]) -> None:
        self._operations = operations
        self._run = run
        self._fields = fields

    def reads(self, body: bytes) -> "OperationRoute":
        """Return the route for this body, which the site has found to be a JSON object, or empty."""
        return OperationRoute(self._operations, self._run, json_object(body) or {})

    def serve(self, waiter: Waiter, user: str) -> bytes | None:
        """Answer later, when the operation is done."""
        under_way = self._operations.under_way
        if len(under_way) >= OPERATIONS_MAX:
            return answers.BUSY
        task = asyncio.create_task(self._answer(waiter))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        return None

    async def _answer(self, waiter: Waiter) -> None:
        status, fields = await self._run(self._fields)
        if status < 400:
            waiter.send(answers.json_answer(fields))
        else:
            waiter.send(answers.problem(status, **fields))
