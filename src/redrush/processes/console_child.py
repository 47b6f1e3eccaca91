"""The console as a child of a server or a stack: a process of its own, started again when it dies, missed by nobody."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from redrush.core.nobody import ignore
from redrush.http.ask import is_ok, lacking
from redrush.processes.child import Child, ChildSpec, ending_with_us
from redrush.processes.loopback import HOST

LOOK_S: Final = 1.0
STOP_MAX_S: Final = 5.0
ALIVE: Final = "/login"
"""Answered to anybody."""


def console_child(data: Path, port: int, payments: Path | None = None) -> ChildSpec:
    """Return the console of a directory, on this machine's loopback. `payments` is the payments file of its server; a
    deployment names its own."""
    money = [] if payments is None else ["--payments", str(payments.absolute())]

    async def command() -> Sequence[str]:
        return ending_with_us(["console", "--data", str(data.absolute()), "--port", str(port), *money])

    async def why_not() -> str | None:
        return await lacking(HOST, port, ALIVE)

    async def alive() -> bool:
        return await is_ok(HOST, port, ALIVE)

    return ChildSpec(
        name="console",
        role="console",
        set_id=None,
        address=f"{HOST}:{port}",
        command=command,
        lacking=why_not,
        alive=alive,
        stop_max_s=STOP_MAX_S,
    )


def keep_beside(spec: ChildSpec, log_dir: Path, log: Any) -> "list[asyncio.Task[None]]":
    """Keep a child running beside the tasks of this loop, to its end: the kernel ends the child then. Returns what
    does so."""
    child = Child(spec, log_dir, log, ignore)

    async def look() -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await child.look()

    return [asyncio.create_task(child.run(), name=spec.name), asyncio.create_task(look(), name=f"look at {spec.name}")]
