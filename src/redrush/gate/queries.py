"""What is asked of the stores one user at a time: answered by a task of its own, and bounded."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from redrush.gate import answers
from redrush.gate.route import Waiter
from redrush.ports.store import StoreFailed, StoreUnavailable

QUERIES_MAX: Final = 256
"""Queries under way at once; above it they are refused, so that they cannot crowd out claims."""


class Queries:
    """Not thread-safe: it lives on the event loop."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[None]] = set()

    def answer(self, waiter: Waiter, query: Coroutine[Any, Any, bytes]) -> bytes | None:
        """Let the waiter have what the query returns, or the refusal that its fault comes to; busy is told at once."""
        if len(self._under_way) >= QUERIES_MAX:
            query.close()
            return answers.BUSY
        task = asyncio.create_task(_send(waiter, query))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return None


async def _send(waiter: Waiter, query: Coroutine[Any, Any, bytes]) -> None:
    try:
        answer = await query
    except StoreUnavailable:
        answer = answers.SET_AWAY
    except StoreFailed:
        answer = answers.STORE_FAILED
    waiter.send(answer)
