"""The stores that the conformance suite runs over. A networked store joins by one more factory in `FACTORIES`."""

import atexit
import hashlib
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from redrush.ports.store import Store
from redrush.processes.valkey_server import ValkeyServer
from redrush.stores.memory import MemoryStore
from redrush.stores.sqlite import SqliteStore
from redrush.stores.valkey import ValkeyStore, establish_set

OpenStore = Callable[[Path], AbstractAsyncContextManager[Store]]
"""Opens the store that lives in a directory, and closes it at the end; a second time it opens what is there."""


class Factory(NamedTuple):
    name: str
    opened: OpenStore
    durable: bool  # whether a second opening finds what the first one left
    knows_all: bool = True  # whether `known` tells also what passed through other processes, or in another life


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


_shared: list[ValkeyServer] = []


async def shared_valkey_server() -> ValkeyServer:
    """One server for all tests of a run that only need some server; it ends with the run."""
    if not _shared:
        directory = tempfile.TemporaryDirectory(prefix="redrush-valkey-")
        server = ValkeyServer(Path(directory.name))
        await server.start()
        atexit.register(directory.cleanup)
        atexit.register(server.kill)  # before the directory goes: the last registered is the first called
        _shared.append(server)
    return _shared[0]


@asynccontextmanager
async def _valkey(directory: Path) -> AsyncIterator[Store]:
    """A set per directory, on the server that all share."""
    address = (await shared_valkey_server()).address
    set_id = hashlib.sha256(str(directory).encode()).hexdigest()[:16]
    await establish_set([address], "conformance", set_id, replicas_needed=0)
    store = await ValkeyStore.connect([address], "conformance", set_id)
    try:
        yield store
    finally:
        await store.close()


FACTORIES = (
    Factory("memory", _memory, durable=False),
    Factory("sqlite", _sqlite, durable=True),
    Factory("valkey", _valkey, durable=True, knows_all=False),
)
