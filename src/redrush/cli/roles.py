"""The commands of the roles: what one machine of many runs, all from the same deployment file."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from redrush.cli.operator_options import JsonOption, show

if TYPE_CHECKING:
    from redrush.config import DeploymentFile
    from redrush.core.sets.address import Address
    from redrush.wiring.role import Role, Surroundings

DeployOption = Annotated[Path, typer.Option("--deploy", metavar="FILE", help="Deployment file (TOML).")]
ControlPortOption = Annotated[
    int | None,
    typer.Option(min=0, max=65535, help="Port for /metrics, /readyz, /livez; that of the deployment by default."),
]


def gate(
    deploy: DeployOption,
    control_port: ControlPortOption = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Participants' port; that of the deployment by default.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Processes, one for each core; each has the next control port."),
    ] = None,
) -> None:
    """Serve participants over all sets, until SIGTERM. Any number of gates may run, on one machine on one port."""
    from redrush.config import load_deployment_file
    from redrush.core.sets.address import Address
    from redrush.wiring.gate_role import run_gates

    deployment = load_deployment_file(deploy)
    spec = deployment.gate
    address = spec.address if port is None else Address(spec.address.host, port)
    control = spec.control if control_port is None else Address(spec.control.host, control_port)
    status = run_gates(deployment, address, control, workers or spec.workers, announce)
    if status:
        raise SystemExit(status)


def settle(deploy: DeployOption, control_port: ControlPortOption = None) -> None:
    """Open pots in time and move what closed rounds have left, until SIGTERM."""
    from redrush.wiring.roles import SettleRole

    _run(deploy, control_port, lambda found: found.settle, SettleRole)


def control(deploy: DeployOption, control_port: ControlPortOption = None) -> None:
    """Balance the sets while rounds are open, and tell whether the whole can grant, until SIGTERM."""
    from redrush.wiring.roles import ControlRole

    _run(deploy, control_port, lambda found: found.control.control, ControlRole)


def query(
    deploy: DeployOption,
    control_port: ControlPortOption = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to serve at; that of the deployment by default.")
    ] = None,
) -> None:
    """Serve participants' grants and the totals from the records, until SIGTERM."""
    from redrush.core.sets.address import Address
    from redrush.wiring.roles import QueryRole

    def make(around: "Surroundings") -> "Role":
        address = around.deployment.query.address
        return QueryRole(around, address if port is None else Address(address.host, port))

    _run(deploy, control_port, lambda found: found.query.control, make)


def recorder(
    deploy: DeployOption,
    set_id: Annotated[str, typer.Option("--set", metavar="SET", help="The set whose log is recorded.")],
    control_port: ControlPortOption = None,
) -> None:
    """Record the log of one set in the database, until SIGTERM; then what is left of it first."""
    from redrush.wiring.roles import RecorderRole

    _run(deploy, control_port, lambda found: found.recorder, lambda around: RecorderRole(around, set_id))


def found(deploy: DeployOption, as_json: JsonOption = False) -> None:
    """Make sets of the deployment's empty Valkey servers, once before the first round: those that are none yet."""
    from redrush.config import load_deployment_file
    from redrush.operate.founding import found_sets

    sets = [{"set": set_id, "new": is_new} for set_id, is_new in found_sets(load_deployment_file(deploy)).items()]
    lines = [f"{row['set']}: {'founded' if row['new'] else 'was founded before'}" for row in sets]
    show({"sets": sets}, lines, as_json=as_json)


def _run(
    deploy: Path,
    control_port: int | None,
    control_of: "Callable[[DeploymentFile], Address]",
    make: "Callable[[Surroundings], Role]",
) -> None:
    from redrush.config import load_deployment_file
    from redrush.core.sets.address import Address
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
    for role in (gate, recorder, settle, control, query, found):
        app.command()(role)
