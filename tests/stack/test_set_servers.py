"""The servers of a set at the start of a stack: real ones, that hang for a moment, or die in the middle of it."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from redrush.config.deployment_file import Duty
from redrush.processes.loopback import free_port
from redrush.processes.valkey_server import Guard, ValkeyServer, find_program
from redrush.stack.options import SetPlan
from redrush.stack.server_users import ServerUsers
from redrush.stack.set_servers import BEGIN_MAX_S, NOBODY, REPLICA, STORE, StackSet
from redrush.stack.stack_dir import StackDir

HANGS_S = 1.5
"""Longer than one question to a server waits."""

SYNC_DELAY_S = 2
"""How long a primary waits before it sends its data: time enough to kill it."""


@asynccontextmanager
async def quiet_pair(directory: Path, *settings: str) -> AsyncIterator[tuple[StackSet, list[ValkeyServer]]]:
    """A set that was never begun, and its two servers, which run and follow nobody."""
    stack = StackDir(directory)
    stack.event.create()
    taken: set[int] = set()
    ports = (free_port(taken), free_port(taken))
    users = ServerUsers.of(stack)
    sets = StackSet(SetPlan("s1", ports, None), stack, "c1", find_program(), users)
    guard = Guard(users.lines(), users.access(Duty.WARDEN), None)
    servers = [
        ValkeyServer(directory / str(port), port=port, replica_of=NOBODY, settings=settings, guard=guard)
        for port in ports
    ]
    try:
        await asyncio.gather(*(server.start() for server in servers))
        yield sets, servers
    finally:
        for server in servers:
            server.kill()


def test_a_server_that_hangs_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    async def begin() -> list[str | None]:
        async with quiet_pair(tmp_path) as (sets, servers):
            servers[1].signal(signal.SIGSTOP)
            beginning = asyncio.create_task(sets.begin())
            await asyncio.wait({beginning}, timeout=HANGS_S)
            assert not beginning.done()
            servers[1].signal(signal.SIGCONT)
            await beginning
            return await sets.roles()

    assert asyncio.run(begin()) == [STORE, REPLICA]


def test_servers_that_die_while_one_begins_to_follow_the_other_are_told_again(tmp_path: Path) -> None:
    async def begin() -> list[str | None]:
        async with quiet_pair(tmp_path, "--repl-diskless-sync-delay", str(SYNC_DELAY_S)) as (sets, servers):
            beginning = asyncio.create_task(sets.begin())
            while await sets.roles() != [STORE, REPLICA]:
                await asyncio.sleep(0.01)
            for server in servers:
                server.kill()
            await asyncio.gather(*(server.start() for server in servers))
            assert await sets.roles() == [REPLICA, REPLICA], "they have forgotten it"
            async with asyncio.timeout(BEGIN_MAX_S / 2):
                await beginning
            return await sets.roles()

    assert asyncio.run(begin()) == [STORE, REPLICA]
