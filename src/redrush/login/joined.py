"""A question that many ask at one time, and that is asked once: whoever comes meanwhile waits for the same answer."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Joined(Generic[_T]):
    """Call it for the answer; raises what the question raises, to all who wait. Lives on one event loop."""

    def __init__(self, ask: Callable[[], Awaitable[_T]]) -> None:
        self._ask = ask
        self._task: asyncio.Task[_T] | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether somebody waits for an answer."""
        return self._task is not None and not self._task.done()

    async def __call__(self) -> _T:
        """Return the answer. Who is cancelled while they wait takes it from nobody else."""
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._run())
        return await asyncio.shield(self._task)

    async def _run(self) -> _T:
        return await self._ask()
