"""Commands of redrush that the console runs beside itself: each in a process of its own, at the lowest priority.

What takes every core that it gets takes none from the crowd there.
"""

import asyncio
import contextlib
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from redrush.errors import ConfigError
from redrush.http.bodies import json_object
from redrush.processes.lowered import command_as

END_MAX_S: Final = 30.0
"""For a command that was told to end: a drill ends its own servers first."""

TOLD_MAX: Final = 4_000
"""Characters of what a command says that did not come to its report."""


class Ran(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> dict[str, Any] | None:
        """The JSON object that it printed, whatever stands around it; None: there is none."""
        return json_object(self.out[self.out.find("{") : self.out.rfind("}") + 1].encode())

    @property
    def said(self) -> str:
        """Why it did not do what it was to do."""
        return self.err.strip()[-TOLD_MAX:] or f"it ended with {self.code}"


async def run_beside(
    arguments: tuple[str, ...],
    deadline_s: float,
    started: Callable[[asyncio.subprocess.Process], None] = lambda _: None,
) -> Ran:
    """Run `redrush` with the arguments; it ends with this process."""
    command = command_as(
        None, signal.SIGTERM, Path("/"), [_nice(), "-n", "19", sys.executable, "-m", "redrush", *arguments]
    )
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    started(process)
    try:
        async with asyncio.timeout(deadline_s):
            out, err = await process.communicate()
    except TimeoutError:
        await _ended(process)
        return Ran(1, "", f"it was ended after {deadline_s:g} s")
    except asyncio.CancelledError:
        await _ended(process)
        raise
    return Ran(process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace"))


def _nice() -> str:
    found = shutil.which("nice")
    if found is None:
        raise ConfigError("this system has no `nice`, and nothing runs beside an event at the priority of all else")
    return found


async def _ended(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(END_MAX_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
