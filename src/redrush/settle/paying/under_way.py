"""How long payouts and refunds are under way that wait for no person: of each campaign the oldest one's age."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from redrush.ports.bill_book import BillBook

LOOK_S: Final = 1.0
"""How often the book is looked through; it costs an index of those alone."""


class UnderWay:
    """See the module."""

    def __init__(self, book: BillBook, now_us: Callable[[], int]) -> None:
        self._book = book
        self._now_us = now_us
        self._made_us: dict[str, int] = {}
        self._looked_s = float("-inf")

    async def look(self, in_thread: Callable[..., Awaitable[Any]]) -> None:
        """Look into the book, at most once in `LOOK_S`. RedrushError as the book."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._looked_s >= LOOK_S:
            self._made_us = await in_thread(self._book.under_way)
            self._looked_s = now_s

    def behind_s(self) -> dict[str, float]:
        """Return the age of the oldest of each campaign, of those that had any at the last look."""
        now_us = self._now_us()
        return {campaign: max(0, now_us - made_us) / 1e6 for campaign, made_us in self._made_us.items()}
