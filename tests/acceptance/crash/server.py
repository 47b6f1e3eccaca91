"""A `redrush serve` of its own: the process, what it prints, and how it ends."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from tests.acceptance.crash.deaths import PLAN_VARIABLE, Plan

REPOSITORY: Final = Path(__file__).resolve().parents[3]
START_DEADLINE_S: Final = 30.0
STOP_DEADLINE_S: Final = 30.0


class ServerProcess:
    """One life of the server, made by `running`. `ready` and `ended` may be awaited by many."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._stderr: list[str] = []
        self.ready: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        """The port, once it answers; None if it ended before."""
        self._watching = asyncio.create_task(self._watch())

    @property
    def said(self) -> str:
        """What it has written to stderr so far, less the lines that name its addresses."""
        return "".join(line for line in self._stderr if not line.startswith("gate http"))

    def kill(self) -> None:
        """End it as `kill -9` does. It may have ended already."""
        if self._process.returncode is None:
            self._process.kill()

    def terminate(self) -> None:
        """Ask it to stop."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)

    async def ended(self, deadline_s: float) -> int | None:
        """Return its exit code (minus the signal that ended it), or None if it still runs after the deadline."""
        try:
            return await asyncio.wait_for(asyncio.shield(self._watching), deadline_s)
        except TimeoutError:
            return None

    async def _watch(self) -> int:
        await asyncio.gather(self._read_stdout(), self._read_stderr())
        code = await self._process.wait()
        if not self.ready.done():
            self.ready.set_result(None)
        return code

    async def _read_stdout(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if line == b"ready\n" and not self.ready.done():
                self.ready.set_result(self._port())

    async def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self._stderr.append(line.decode())

    def _port(self) -> int:
        """Return the port that it named on stderr, which it writes before `ready`."""
        for line in self._stderr:
            if line.startswith("gate http"):
                return int(line.rpartition(":")[2])
        raise AssertionError("the server says that it is ready, but not where")


@asynccontextmanager
async def running(file: Path, data: Path, plan: Plan) -> AsyncIterator[ServerProcess]:
    """Start `redrush serve` under the plan; kill it in the end, if it has not ended before."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.acceptance.crash.launcher",
        "serve", str(file), "--data", str(data), "--port", "0",
        cwd=REPOSITORY,
        env={**os.environ, PLAN_VARIABLE: msgspec.json.encode(plan).decode()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    server = ServerProcess(process)
    try:
        yield server
    finally:
        server.kill()
        await server.ended(STOP_DEADLINE_S)
