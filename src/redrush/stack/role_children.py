"""The children that are roles of redrush: each is the command that a machine of its own would run."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from redrush.core.roles import ROLES, Per, RoleRow
from redrush.http.ask import is_ok, lacking
from redrush.processes.child import ChildSpec, ending_with_us
from redrush.processes.loopback import HOST
from redrush.processes.postgres_server import STOP_MAX_S as POSTGRES_STOP_MAX_S
from redrush.processes.postgres_server import PostgresServer
from redrush.stack.options import StackPlan, process_names


def groups(plan: StackPlan, deployment: Path) -> list[list[ChildSpec]]:
    """Return the processes of all roles, in groups: the last one is to be ended first."""
    turns = sorted({row.ends for row in ROLES}, reverse=True)
    rows = [row for row in ROLES if row.name in plan.controls]
    return [[child for row in rows if row.ends == turn for child in children(row, plan, deployment)] for turn in turns]


def children(row: RoleRow, plan: StackPlan, deployment: Path) -> list[ChildSpec]:
    """Return the processes of one role."""
    sets = [spec.id for spec in plan.sets] if row.per is Per.SET else [None] * len(plan.controls[row.name])
    return [
        _child(
            row,
            name,
            deployment,
            port,
            set_id,
            None if row.port is None else f"{HOST}:{plan.ports[row.name]}",
        )
        for name, set_id, port in zip(process_names(row, plan), sets, plan.controls[row.name], strict=True)
    ]


def whole_stack_ready(plan: StackPlan) -> Callable[[], Awaitable[bool]]:
    """Return what asks the control role whether the whole can grant."""
    return lambda: is_ok(HOST, plan.control, "/readyz")


def postgres(server: PostgresServer) -> ChildSpec:
    """Return the database server, prepared."""

    async def command() -> Sequence[str]:
        return server.command()

    async def why_not() -> str | None:
        return None if await asyncio.to_thread(server.answers) else "does not take connections"

    return ChildSpec(
        name="postgres",
        role="postgres",
        set_id=None,
        address=f"{HOST}:{server.port}",
        command=command,
        lacking=why_not,
        stop_signal=signal.SIGINT,
        stop_max_s=POSTGRES_STOP_MAX_S,
    )


def _child(
    row: RoleRow, name: str, deployment: Path, control_port: int, set_id: str | None, address: str | None
) -> ChildSpec:
    arguments = [row.name, "--deploy", str(deployment), "--control-port", str(control_port)]
    if set_id is not None:
        arguments += ["--set", set_id]

    async def command() -> Sequence[str]:
        return ending_with_us(arguments)

    async def why_not() -> str | None:
        return await lacking(HOST, control_port, row.begun)

    async def alive() -> bool:
        return await is_ok(HOST, control_port, "/livez")

    return ChildSpec(
        name=name,
        role=row.name,
        set_id=set_id,
        address=address or f"{HOST}:{control_port}",
        command=command,
        lacking=why_not,
        alive=alive,
        stop_max_s=row.stop_max_s,
    )
