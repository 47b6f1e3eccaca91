"""What may happen to the files of a set: put back, cut, lost, or not written any more, by hand or by a disk.

The supervisor starts a server again as soon as it has ended. Where files are to be changed in between it is held, as on
a machine whose disk is put back while it is down.
"""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from tests.acceptance.chaos.evidence import Resp
from tests.acceptance.chaos.stack import Process, Stack

CUT_MIN: Final = 100
CUT_MAX: Final = 60_000
"""Bytes that a file loses at its end: from a part of one record to some seconds of a rush."""
UNWRITTEN_S: Final = 0.4
"""For how long a server's append-only file is not written, before the server is killed."""
DEAD_DEADLINE_S: Final = 10.0
POLL_S: Final = 0.02


class SetFiles:
    """The files of all sets of a stack, and a copy that is as old as the last `keep`."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._sets = stack.directory / "sets"
        self._kept = stack.directory.with_name("kept")

    def keep(self) -> None:
        """Copy the files of all sets away, while they are written."""
        shutil.rmtree(self._kept, ignore_errors=True)
        subprocess.run(["cp", "--archive", str(self._sets), str(self._kept)], check=True)

    async def roll_back(self, set_id: str, *, in_order: bool) -> None:
        """End the whole stack, put the copy in the place of the set's files, and bring the stack up."""
        await self._end(in_order=in_order)
        self._put_back(set_id)
        await self._stack.up()

    async def wipe(self, set_id: str, *, in_order: bool) -> None:
        """End the whole stack, lose the set's files and the list of the sets that were founded, and bring it up."""
        await self._end(in_order=in_order)
        shutil.rmtree(self._sets / set_id)
        (self._stack.directory / "founded.json").unlink()
        await self._stack.up()

    async def come_back_older(self, servers: Sequence[Process], set_id: str) -> None:
        """Kill these servers, and let them start with the copy."""
        self._stack.hold()
        try:
            await _killed(servers)
            self._put_back(set_id)
        finally:
            self._stack.go_on()

    async def cut(self, servers: Sequence[Process], part: float) -> None:
        """Kill these servers, and let them start without the end of their append-only files."""
        directories = [Path(os.readlink(f"/proc/{server.pid}/cwd")) for server in servers]
        self._stack.hold()
        try:
            await _killed(servers)
            for directory in directories:
                path = max((directory / "appendonlydir").glob("*.incr.aof"), key=lambda found: found.stat().st_mtime)
                size = path.stat().st_size
                os.truncate(path, max(0, size - CUT_MIN - int(part * (CUT_MAX - CUT_MIN))))
        finally:
            self._stack.go_on()

    async def leave_unwritten(self, servers: Sequence[Process], setting: str) -> None:
        """Turn this setting of the servers to `no`, as a person would; kill them a moment later."""
        password = (self._stack.directory / "valkey" / "admin.password").read_text(encoding="ascii")
        for server in servers:
            with closing(Resp(f"127.0.0.1:{server.port}", password)) as asked:
                asked.call("CONFIG", "SET", setting, "no")
        await asyncio.sleep(UNWRITTEN_S)
        await _killed(servers)

    async def _end(self, *, in_order: bool) -> None:
        """End the stack as `stack down` does, or as a power cut."""
        if in_order:
            await self._stack.down()
        else:
            self._stack.kill()
            await self._stack.gone()

    def _put_back(self, set_id: str) -> None:
        shutil.rmtree(self._sets / set_id)
        subprocess.run(["cp", "--archive", str(self._kept / set_id), str(self._sets / set_id)], check=True)


async def _killed(servers: Sequence[Process]) -> None:
    """Kill them, and return when none of them runs."""
    for server in servers:
        server.send(signal.SIGKILL)
    async with asyncio.timeout(DEAD_DEADLINE_S):
        while any(server.alive for server in servers):
            await asyncio.sleep(POLL_S)
