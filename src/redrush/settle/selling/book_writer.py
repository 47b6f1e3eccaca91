"""The book of a sale as the loop uses it: changes of one moment are one commit, in a thread of its own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from redrush.core.rush.sale_order import SaleOrder
from redrush.errors import RedrushError
from redrush.ports.sale_book import BookFailed, SaleBook

AT_ONCE_MAX: Final = 500
"""Orders in one commit."""

WAITING_MAX: Final = 20_000
"""Orders that wait to be written down; more are refused, and come again."""

_T = TypeVar("_T")


class BookWriter:
    """See the module. Lives on one event loop; `close` ends its thread."""

    def __init__(self, book: SaleBook) -> None:
        self._book = book
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="redrush-sales")
        self._waiting: list[tuple[SaleOrder, asyncio.Future[SaleOrder | None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def keep(self, order: SaleOrder) -> SaleOrder | None:
        """Write the order down, durably; None: somebody else has changed it since it was read. Raises BookFailed."""
        if len(self._waiting) >= WAITING_MAX:
            raise BookFailed("too many orders wait to be written down; come back in a moment")
        kept: asyncio.Future[SaleOrder | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((order, kept))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(), name="book of sales")
        return await kept

    async def ask(self, call: Callable[..., _T], *arguments: object) -> _T:
        """Return what the book says, without holding up the loop. Raises BookFailed."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:AT_ONCE_MAX], self._waiting[AT_ONCE_MAX:]
            try:
                kept = await self.ask(self._book.keep, [order for order, _ in batch])
            except Exception as fault:  # noqa: BLE001 - also what hides addresses raises: whoever waits has to hear
                why = str(fault) if isinstance(fault, RedrushError) else repr(fault)
                for _, waiter in batch:
                    if not waiter.done():
                        waiter.set_exception(BookFailed(why))
                continue
            for (_, waiter), order in zip(batch, kept, strict=True):
                if not waiter.done():
                    waiter.set_result(order)

    async def close(self) -> None:
        """Return when all that waits is written down."""
        if self._writing is not None:
            await self._writing
        self._thread.shutdown()
