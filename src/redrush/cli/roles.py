"""The commands of the roles: what one machine of many runs, all from the same deployment file."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from redrush.cli.declaring import Group, Option
from redrush.cli.shared_options import JsonOption, show
from redrush.core.roles import ROLES, Per, RoleRow

if TYPE_CHECKING:
    from redrush.core.sets.address import Address

DeployOption = Annotated[Path, Option("--deploy", metavar="FILE", help="Deployment file (TOML).")]
ControlPortOption = Annotated[
    int | None,
    Option(bounds=(0, 65535), help="Port for /metrics, /readyz, /livez; that of the deployment by default."),
]
SetOption = Annotated[str, Option("--set", metavar="SET", help="The set that it is for.")]
PortOption = Annotated[
    int | None, Option(bounds=(0, 65535), help="Participants' port; that of the deployment by default.")
]


def gate(
    deploy: DeployOption,
    control_port: ControlPortOption = None,
    port: PortOption = None,
    workers: Annotated[
        int | None,
        Option(bounds=(1, 256), help="Processes, one for each core; each has the next control port."),
    ] = None,
) -> None:
    """The only role that runs in several processes at once."""
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


def _role_of(row: RoleRow) -> Callable[..., None]:
    """Return the command of a role that has no options of its own."""

    def one(deploy: DeployOption, control_port: ControlPortOption = None) -> None:
        _run(row, deploy, control_port)

    def of_a_set(deploy: DeployOption, set_id: SetOption, control_port: ControlPortOption = None) -> None:
        _run(row, deploy, control_port, set_id=set_id)

    def serving(deploy: DeployOption, control_port: ControlPortOption = None, port: PortOption = None) -> None:
        from redrush.config import load_deployment_file
        from redrush.core.sets.address import Address

        address: Address = getattr(load_deployment_file(deploy), row.name).address
        _run(row, deploy, control_port, address=address if port is None else Address(address.host, port))

    if row.per is Per.SET:
        return of_a_set
    return one if row.port is None else serving


def found(deploy: DeployOption, as_json: JsonOption = False) -> None:
    """Make sets of the deployment's empty Valkey servers, once before the first round: those that are none yet."""
    from redrush.config import load_deployment_file
    from redrush.operate.establishing import establish_sets

    sets = [{"set": set_id, "new": is_new} for set_id, is_new in establish_sets(load_deployment_file(deploy)).items()]
    lines = [f"{row['set']}: {'founded' if row['new'] else 'was founded before'}" for row in sets]
    show({"sets": sets}, lines, as_json=as_json)


def _run(row: RoleRow, deploy: Path, control_port: int | None, **own: object) -> None:
    from redrush.config import load_deployment_file
    from redrush.core.sets.address import Address
    from redrush.wiring.role_process import run

    deployment = load_deployment_file(deploy)
    control = deployment.controls[row.name]
    if control_port is not None:
        control = Address(control.host, control_port)
    run(row, deployment, control, announce, **own)


def announce(addresses: "dict[str, Address]") -> None:
    """Tell on stderr where a process answers, and on stdout that it does."""
    for name, address in addresses.items():
        sys.stderr.write(f"{name} http://{address}\n")
    sys.stderr.flush()
    sys.stdout.write("ready\n")
    sys.stdout.flush()


OF_ITS_OWN: Final = {"gate": gate}


def add_to(app: Group) -> None:
    """Give the command line a command for each role."""
    for row in ROLES:
        app.command(row.name, help=row.does)(OF_ITS_OWN.get(row.name) or _role_of(row))
    app.command()(found)
