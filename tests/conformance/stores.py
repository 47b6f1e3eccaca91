"""The stores that the conformance suite runs over. A networked store joins by one more factory in `FACTORIES`."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from redrush.ports.store import Store
from redrush.stores.memory import MemoryStore
from redrush.stores.sqlite import SqliteStore

OpenStore = Callable[[Path], AbstractAsyncContextManager[Store]]
"""Opens the store that lives in a directory, and closes it at the end; a second time it opens what is there."""


class Factory(NamedTuple):
    name: str
    opened: OpenStore
    durable: bool  # whether a second opening finds what the first one left


@asynccontextmanager
async def _memory(_directory: Path) -> AsyncIterator[Store]:
    store = MemoryStore()
    yield store
    await store.close()


@asynccontextmanager
async def _sqlite(directory: Path) -> AsyncIterator[Store]:
    store = await SqliteStore.open_path(directory / "journal.db")
    try:
        yield store
    finally:
        await store.close()


FACTORIES = (Factory("memory", _memory, durable=False), Factory("sqlite", _sqlite, durable=True))
