"""Real Valkey servers for tests: a primary with or without a replica, and a wire between that can be cut."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

import pytest

from redrush.core.rush.campaign import Slots
from redrush.core.sets.address import Address
from redrush.ports.set_servers import Held
from redrush.ports.store import Claimed, Granted, Store, StoreUnavailable, claims_of
from redrush.processes.valkey_server import ValkeyServer
from redrush.stores.valkey import ValkeyStore, establish_set
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.link import Access, Command, Link, Reply, ReplyFault, pack
from tests.patience import PATIENCE_S

CAMPAIGN: Final = "cny2027"
SET: Final = "s1"
POT: Final = "r1"
AT_US: Final = 1_800_000_000_000_000

BIG_POT: Final = Slots(1_000, 1_000_000)

Result = TypeVar("Result")


@asynccontextmanager
async def servers(directory: Path, count: int, *settings: str) -> AsyncIterator[list[ValkeyServer]]:
    """Start so many servers; end them with the test, also stopped ones."""
    started: list[ValkeyServer] = []
    try:
        for number in range(count):
            server = ValkeyServer(directory / f"server-{number}", settings=settings)
            started.append(server)
            await server.start()
        yield started
    finally:
        for server in started:
            server.kill()


async def ask(address: Address, *command: str | bytes | int) -> Reply:
    """Return the reply to one command, over a connection of its own. Raises the reply if it is an error."""
    link, _ = await Link.connect(address, Access())
    try:
        return await ask_on(link, command)
    finally:
        await link.close()


async def ask_on(link: Link, command: Command) -> Reply:
    (reply,) = await link.call(pack(command))
    if isinstance(reply, ReplyFault):
        raise reply
    return reply


async def until(happened: Callable[[], Awaitable[object]]) -> None:
    """Return when it has happened. There is nothing to be told by, so it is asked again and again."""
    async with asyncio.timeout(PATIENCE_S):
        while not await happened():
            await asyncio.sleep(0.01)


async def follow(replica: ValkeyServer, primary: ValkeyServer) -> None:
    """Make one server the replica of another; return when it is in sync."""
    await ask(replica.address, "REPLICAOF", primary.address.host, primary.address.port)
    await until(lambda: in_sync(primary))


async def in_sync(primary: ValkeyServer) -> bool:
    """Return whether a replica of this server has all that it wrote."""
    link, _ = await Link.connect(primary.address, Access())
    try:
        await ask_on(link, ("SET", "probe", "1"))
        return bool(await ask_on(link, ("WAIT", 1, 100)))
    finally:
        await link.close()


@asynccontextmanager
async def store_on(*given: ValkeyServer | Address, replicas_needed: int = 0) -> AsyncIterator[ValkeyStore]:
    """Found the set if it is not, and connect to it."""
    addresses = [server.address if isinstance(server, ValkeyServer) else server for server in given]
    await establish_set(addresses, CAMPAIGN, SET, replicas_needed)
    async with connected(*addresses) as store:
        yield store


async def nothing_lacks(_link: Link, _keys: SetKeys, _held: Held) -> None:
    """A prover for tests without a warden: nobody but the stores themselves knows anything of the set."""


@asynccontextmanager
async def connected(*addresses: Address) -> AsyncIterator[ValkeyStore]:
    store = await ValkeyStore.connect(addresses, CAMPAIGN, SET, prover=nothing_lacks)
    try:
        yield store
    finally:
        await store.close()


async def cannot_connect(why: str, address: Address, access: Access | None = None) -> None:
    """Return when a store that connects there is refused with these words, a pattern. A busy server may take longer to
    say so than the store waits; then it is waited for longer."""
    within_s = 0.2
    while True:
        with pytest.raises(StoreUnavailable) as refused:
            await ValkeyStore.connect([address], CAMPAIGN, SET, access=access, within_s=within_s)
        if re.search(why, str(refused.value)):
            return
        assert within_s < PATIENCE_S, refused.value
        within_s *= 4


async def persistently(call: Callable[[], Awaitable[Result]]) -> Result:
    """Make the call again while the set is unavailable, as users do."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await call()
            except StoreUnavailable:
                await asyncio.sleep(0.02)


async def granted_in_log(store: Store) -> dict[str, int]:
    """Return user to slot from the log alone; fails if it grants a slot or a user twice."""
    grants: dict[str, int] = {}
    for record in await store.log(0, 1_000_000):
        if isinstance(record, Granted):
            for slot, user in enumerate(record.users, record.first_slot):
                assert user not in grants, f"{user} was granted twice"
                grants[user] = slot
    assert len(set(grants.values())) == len(grants), "a slot was granted twice"
    return grants


class Crowd:
    """Claims for fresh users again and again, and remembers what was acknowledged and what is in doubt."""

    def __init__(self, store: Store, name: str, batch: int = 7) -> None:
        self.acknowledged: dict[str, int] = {}
        self.in_doubt: list[str] = []
        self.batches = 0
        self._store = store
        self._name = name
        self._batch = batch

    async def rush(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            users = [f"{self._name}-{self.batches}-{k}" for k in range(self._batch)]
            self.batches += 1
            try:
                results = await self._store.claim(claims_of(POT, users), AT_US + self.batches)
            except StoreUnavailable:
                self.in_doubt += users
                await asyncio.sleep(0.01)
                continue
            for user, result in zip(users, results, strict=True):
                assert isinstance(result, Claimed)
                self.acknowledged[user] = result.slot
            await asyncio.sleep(0)


class Wire:
    """A TCP wire to a server on which replies can be withheld or delayed, and which can be cut."""

    def __init__(self, target: Address) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.passed = asyncio.Event()  # something went to the server
        self.sent = bytearray()
        """All that went to the server."""
        self.replies_pass = True
        self.replies_flow = asyncio.Event()
        """Unless it is set, replies wait."""
        self.replies_flow.set()

    @property
    def address(self) -> Address:
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return Address(host, port)

    @asynccontextmanager
    async def laid(self) -> AsyncIterator["Wire"]:
        self._server = await asyncio.start_server(self._joined, "127.0.0.1", 0)
        try:
            yield self
        finally:
            self._server.close()
            self.cut()
            await self._server.wait_closed()

    def cut(self) -> None:
        """End every connection at once."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._target.host, self._target.port)
        self._writers |= {writer, far_writer}
        try:
            await asyncio.gather(self._pass(reader, far_writer, True), self._pass(far_reader, writer, False))
        finally:
            self._writers -= {writer, far_writer}

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to_server: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if not to_server:
                    await self.replies_flow.wait()
                if to_server or self.replies_pass:
                    writer.write(data)
                    await writer.drain()
                if to_server:
                    self.sent += data
                    self.passed.set()
        writer.transport.abort()
