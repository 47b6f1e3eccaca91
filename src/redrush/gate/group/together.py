"""Does for many at once what each asks for alone: while one batch is made durable the next gathers, as in a lane."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

from redrush.dependency import Unanswered
from redrush.errors import RedrushError

AT_ONCE_MAX: Final = 512
"""Packets in one batch: bounds how long claims wait behind the opening of their pots."""

WAITING_MAX: Final = 16_384
"""Packets that wait for a batch; at some thousands a second everybody is through within seconds."""

_Asked = TypeVar("_Asked")
_Done = TypeVar("_Done")
_Told_contra = TypeVar("_Told_contra", contravariant=True)


class Told(Protocol[_Told_contra]):
    """Whoever waits to hear what came of something: a future, or what does without one."""

    def done(self) -> bool:
        """Whether nobody waits any more."""

    def set_result(self, result: _Told_contra, /) -> None:
        """Hear of it."""

    def set_exception(self, fault: RedrushError, /) -> None:
        """Hear that it was not done."""


class Together(Generic[_Asked, _Done]):
    """See the module. Not thread-safe: it lives on the event loop."""

    def __init__(
        self, run: Callable[[Sequence[_Asked]], Awaitable[Sequence[_Done]]], *, at_once_max: int, waiting_max: int
    ) -> None:
        """`run` does it for up to `at_once_max`, and returns what came of each; when it raises it was done for none.
        More than `waiting_max` do not wait."""
        self._run = run
        self._at_once_max = at_once_max
        self._waiting_max = waiting_max
        self._waiting: list[tuple[_Asked, Told[_Done] | None]] = []
        self._running: asyncio.Task[None] | None = None

    @property
    def full(self) -> bool:
        """Whether nobody more may wait."""
        return len(self._waiting) >= self._waiting_max

    async def do(self, asked: _Asked) -> _Done | Unanswered:
        """Return what came of it; FULL if too many wait. Raises what `run` raises."""
        if self.full:
            return Unanswered.FULL
        done: asyncio.Future[_Done] = asyncio.get_running_loop().create_future()
        self.add(asked, done)
        return await done

    def add(self, asked: _Asked, done: Told[_Done] | None = None) -> None:
        """Have it done, and tell `done` what came of it; None: `run` sees to it that it is not lost."""
        self._waiting.append((asked, done))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run_all())

    async def _run_all(self) -> None:
        while self._waiting:
            await asyncio.sleep(0)  # whoever asks within this turn of the loop comes along
            batch = self._waiting[: self._at_once_max]
            del self._waiting[: self._at_once_max]
            try:
                results = await self._run([asked for asked, _ in batch])
            except Exception as fault:  # noqa: BLE001 - whoever waits hears of it, and the next batch is tried
                told = fault if isinstance(fault, RedrushError) else RedrushError(f"this broke off: {fault!r}")
                for _, done in batch:
                    if done is not None and not done.done():
                        done.set_exception(told)
                continue
            for (_, done), result in zip(batch, results, strict=True):
                if done is not None and not done.done():
                    done.set_result(result)

    async def drained(self) -> None:
        """Return when nothing is under way."""
        while self._running is not None and not self._running.done():
            await asyncio.wait([self._running])
