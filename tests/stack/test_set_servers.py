"""The servers of a set at the start of a stack: real ones, one of which hangs for a moment."""

import asyncio
import signal
from pathlib import Path

from redrush.stack.loopback import free_port
from redrush.stack.options import SetPlan
from redrush.stack.set_servers import NOBODY, REPLICA, STORE, SetServers
from redrush.stack.stack_dir import StackDir
from redrush.stack.valkey_server import ValkeyServer, find_program

HANGS_S = 1.5
"""Longer than one question to a server waits."""


def test_a_server_that_hangs_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    async def begin() -> list[str | None]:
        stack = StackDir(tmp_path)
        stack.event.create()
        ports = (free_port(), free_port())
        sets = SetServers(SetPlan("s1", ports, None), stack, "c1", find_program())
        servers = [ValkeyServer(tmp_path / str(port), port=port, replica_of=NOBODY) for port in ports]
        try:
            await asyncio.gather(*(server.start() for server in servers))
            servers[1].signal(signal.SIGSTOP)
            beginning = asyncio.create_task(sets.begin())
            await asyncio.wait({beginning}, timeout=HANGS_S)
            assert not beginning.done()
            servers[1].signal(signal.SIGCONT)
            await beginning
            return await sets.roles()
        finally:
            for server in servers:
                server.kill()

    assert asyncio.run(begin()) == [STORE, REPLICA]
