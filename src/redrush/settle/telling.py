"""Tells the news of one set without waiting for it: a line that hangs or is broken holds nobody up.

One piece of news per round waits at most, the newest; an older one is worth nothing by then.
"""

import asyncio
from collections.abc import Callable

from redrush.errors import RedrushError
from redrush.ports.news import NewsLine, Refilled, SoldOut

RoundNews = SoldOut | Refilled


class Teller:
    """`tell` and forget. News of one round arrives in the order of telling, or not at all."""

    def __init__(self, line: NewsLine, on_fault: Callable[[RedrushError], None]) -> None:
        self._line = line
        self._on_fault = on_fault
        self._waiting: dict[str, RoundNews] = {}
        self._task: asyncio.Task[None] | None = None

    def tell(self, news: RoundNews) -> None:
        """Tell the news as soon as what is being told has been told."""
        self._waiting[news.round] = news
        if self._task is None:
            self._task = asyncio.create_task(self._tell_all(), name="news")

    def tasks(self) -> list["asyncio.Task[None]"]:
        """Return what is under way, for whoever ends."""
        return [] if self._task is None else [self._task]

    async def _tell_all(self) -> None:
        try:
            while self._waiting:
                news = self._waiting.pop(next(iter(self._waiting)))
                try:
                    await self._line.publish(news)
                except RedrushError as fault:
                    self._on_fault(fault)
        finally:
            self._task = None
