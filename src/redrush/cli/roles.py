"""The commands of the roles: what one machine of many runs, all from the same deployment file."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from redrush.config import Address, DeploymentFile
    from redrush.wiring.role import Role, Surroundings

DeployOption = Annotated[Path, typer.Option("--deploy", metavar="FILE", help="Deployment file (TOML).")]
ControlPortOption = Annotated[
    int | None,
    typer.Option(min=0, max=65535, help="Port for /metrics, /readyz, /livez; that of the deployment by default."),
]


def recorder(
    deploy: DeployOption,
    set_id: Annotated[str, typer.Option("--set", metavar="SET", help="The set whose log is recorded.")],
    control_port: ControlPortOption = None,
) -> None:
    """Record the log of one set in the database, until SIGTERM; then what is left of it first."""
    from redrush.wiring.roles import RecorderRole

    _run(deploy, control_port, lambda found: found.recorder, lambda around: RecorderRole(around, set_id))


def _run(
    deploy: Path,
    control_port: int | None,
    control_of: "Callable[[DeploymentFile], Address]",
    make: "Callable[[Surroundings], Role]",
) -> None:
    from redrush.config import Address, load_deployment_file
    from redrush.wiring.roles import run

    deployment = load_deployment_file(deploy)
    control = control_of(deployment)
    if control_port is not None:
        control = Address(control.host, control_port)
    run(deployment, make, control, announce)


def announce(addresses: "dict[str, Address]") -> None:
    """Tell on stderr where a process answers, and on stdout that it does."""
    for name, address in addresses.items():
        sys.stderr.write(f"{name} http://{address}\n")
    sys.stderr.flush()
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def add_to(app: typer.Typer) -> None:
    """Give the command line a command for each role."""
    for role in (recorder,):
        app.command()(role)
