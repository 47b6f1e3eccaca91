"""The children that are roles of redrush: each is the command that a machine of its own would run."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from redrush.http.ask import is_ok, lacking
from redrush.processes.child import ChildSpec, ending_with_us
from redrush.processes.loopback import HOST
from redrush.processes.postgres_server import STOP_MAX_S as POSTGRES_STOP_MAX_S
from redrush.processes.postgres_server import PostgresServer
from redrush.stack.options import StackPlan

STOP_MAX_S: Final = 30.0
"""Gates wait up to 10 s for clients to take their answers."""
RECORDER_STOP_MAX_S: Final = 75.0
"""A recorder records the rest of the log, which it gives a minute."""


def gates(plan: StackPlan, deployment: Path) -> list[ChildSpec]:
    """Return the gates, which share the participants' port."""
    return [
        _role("gate", f"gate-{number}", deployment, port, address=f"{HOST}:{plan.port}")
        for number, port in enumerate(plan.gates, start=1)
    ]


def recorders(plan: StackPlan, deployment: Path) -> list[ChildSpec]:
    """Return a recorder for each set."""
    return [
        _role("recorder", f"recorder-{spec.id}", deployment, port, set_id=spec.id)
        for spec, port in zip(plan.sets, plan.recorders, strict=True)
    ]


def others(plan: StackPlan, deployment: Path) -> list[ChildSpec]:
    """Return the roles of which there is one each."""
    return [
        _role("settle", "settle", deployment, plan.settle),
        _role("control", "control", deployment, plan.control, probe="/livez"),
        _role("query", "query", deployment, plan.query_control, address=f"{HOST}:{plan.query}"),
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


def _role(
    role: str,
    name: str,
    deployment: Path,
    control_port: int,
    *,
    set_id: str | None = None,
    address: str | None = None,
    probe: str = "/readyz",
) -> ChildSpec:
    arguments = [role, "--deploy", str(deployment), "--control-port", str(control_port)]
    if set_id is not None:
        arguments += ["--set", set_id]

    async def command() -> Sequence[str]:
        return ending_with_us(arguments)

    async def why_not() -> str | None:
        return await lacking(HOST, control_port, probe)

    async def alive() -> bool:
        return await is_ok(HOST, control_port, "/livez")

    return ChildSpec(
        name=name,
        role=role,
        set_id=set_id,
        address=address or f"{HOST}:{control_port}",
        command=command,
        lacking=why_not,
        alive=alive,
        stop_max_s=RECORDER_STOP_MAX_S if role == "recorder" else STOP_MAX_S,
    )
