"""The servers of a set at the start of a stack: real ones, that hang for a moment, or die in the middle of it."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from redrush.config.deployment_file import Duty
from redrush.core.sets.failover import Terms
from redrush.processes.loopback import free_port
from redrush.processes.valkey_server import Guard, ValkeyServer, find_program
from redrush.stack.options import SetPlan
from redrush.stack.server_users import ServerUsers
from redrush.stack.set_servers import NOBODY, REPLICA, STORE, SetWithheld, StackSet
from redrush.stack.stack_dir import StackDir
from redrush.stores.valkey import Access, establish_set
from redrush.stores.valkey.keys import SetKeys
from redrush.stores.valkey.link import Link, pack
from redrush.stores.valkey.terms import fence

HANGS_S = 1.5
"""Longer than one question to a server waits."""

SYNC_DELAY_S = 2
"""How long a primary waits before it sends its data: time enough to kill it."""


@asynccontextmanager
async def quiet_pair(
    directory: Path, *settings: str, beside: Sequence[SetKeys] = ()
) -> AsyncIterator[tuple[StackSet, list[ValkeyServer]]]:
    """A set that was never begun, and its two servers, which run and follow nobody."""
    stack = StackDir(directory)
    stack.event.create()
    taken: set[int] = set()
    ports = (free_port(taken), free_port(taken))
    users = ServerUsers.of(stack)
    sets = StackSet(SetPlan("s1", ports, None), stack, "c1", find_program(), users, beside=beside)
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
            await beginning
            told = servers[1].log_path.read_text().count("REPLICAOF")
            assert told >= 2, "they have forgotten it, and are told again"
            return await sets.roles()

    assert asyncio.run(begin()) == [STORE, REPLICA]


def test_the_server_is_chosen_that_has_most_of_every_campaign_or_none(tmp_path: Path) -> None:
    """Grants of a campaign beside the first rest on the second server alone; then some of the first on the first."""
    beside = SetKeys("summer", "s1_summer")

    async def ahead(server: ValkeyServer, keys: SetKeys, access: Access) -> None:
        link, _ = await Link.connect(server.address, access)
        try:
            await link.call(pack(("REPLICAOF", "NO", "ONE")))
            await fence(link, keys, Terms(9, 0), named=True)
            await link.call(pack(("REPLICAOF", NOBODY.host, NOBODY.port)))
        finally:
            await link.close()

    async def begin() -> list[list[str | None]]:
        async with quiet_pair(tmp_path, beside=[beside]) as (sets, servers):
            await sets.begin()
            found = [await sets.roles()]
            access = ServerUsers.of(StackDir(tmp_path)).access(Duty.WARDEN)
            await establish_set([server.address for server in servers], "summer", "s1_summer", 0, access)
            await ahead(servers[1], beside, access)
            await ahead(servers[0], SetKeys("c1", "s1"), access)
            with pytest.raises(SetWithheld, match="no server has most of what every campaign was granted there"):
                await sets.begin()
            await ahead(servers[1], SetKeys("c1", "s1"), access)
            await sets.begin()
            return [*found, await sets.roles()]

    assert asyncio.run(begin()) == [[STORE, REPLICA], [REPLICA, STORE]]
