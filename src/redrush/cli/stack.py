"""`redrush stack`: the scaled form on one machine."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from redrush.cli.background import announce_detached, without_detach
from redrush.cli.console import control_port_beside, tell_first_admin
from redrush.cli.declaring import Argument, Group, Option
from redrush.cli.shared_options import ConsolePortOption, KeysFromOption, keys_source
from redrush.errors import RedrushError
from redrush.extras import require
from redrush.stack.limits import GATES_MAX, REPLICAS_MAX, SETS_MAX

if TYPE_CHECKING:
    from redrush.stack.options import StackPlan

stack_app = Group(help="Run a whole deployment on this machine: sets, gates, and all else.")

DataOption = Annotated[Path, Option("--data", metavar="DIR", help="Data directory of the stack.")]


@stack_app.command()
def up(  # noqa: PLR0913, PLR0917 - what a person may choose, each by name
    file: Annotated[Path, Argument(metavar="FILE", help="Campaign file (TOML).")],
    data: DataOption,
    sets: Annotated[int, Option(bounds=(1, SETS_MAX), help="Sets, each with its own store.")] = 2,
    replicas: Annotated[int, Option(bounds=(0, REPLICAS_MAX), help="Replicas of each set's store.")] = 0,
    gates: Annotated[int, Option(bounds=(1, GATES_MAX), help="Gates, which share the port.")] = 2,
    port: Annotated[int, Option(bounds=(0, 65535), help="Participants' port; 0: any free one.")] = 8080,
    control_port: Annotated[
        int, Option(bounds=(0, 65535), help="Port of the control role: /readyz, /metrics; 0: any free one.")
    ] = 0,
    console_port: ConsolePortOption = None,
    payments: Annotated[Path | None, Option(metavar="FILE", help="Who moves real money (TOML).")] = None,
    keys_from: KeysFromOption = None,
    detach: Annotated[bool, Option("--detach", help="Return when it is ready; `stack down` ends it.")] = False,
) -> None:
    """Start real stores, a real database, gates and all other roles, and keep them running until SIGTERM."""
    require("stack", "redrush stack")
    from redrush.config import load_campaign_file, load_payments_file
    from redrush.processes.detached import start_detached
    from redrush.stack.options import StackOptions, moves_money
    from redrush.stack.stack_dir import StackDir
    from redrush.stack.up import run_stack, withheld_at_start

    campaign = load_campaign_file(file)
    if payments is not None:
        load_payments_file(payments)  # a mistake in it is told before anything is started
    control_port = control_port_beside(console_port, control_port) or 0
    if detach:
        stack = StackDir(data)
        stack.event.create()
        tell_first_admin(stack.event, console_port)  # what the stack writes is kept in its log
        stack.logs.mkdir(mode=0o700, exist_ok=True)
        told = start_detached(without_detach(), stack.log)
        announce_detached(told, f"redrush stack down --data {shlex.quote(str(data))}")
        _fail_if_withheld(withheld_at_start(stack))
        return
    options_ = StackOptions(
        sets=sets, replicas=replicas, gates=gates, port=port, control_port=control_port, console_port=console_port,
        pays=payments is not None or moves_money(campaign), payments=payments,
    )  # fmt: skip

    def tell(plan: "StackPlan") -> None:
        tell_first_admin(StackDir(data).event, console_port)
        if console_port is not None:
            sys.stderr.write(f"console http://127.0.0.1:{console_port}\n")
        _announce(plan)

    run_stack(campaign, StackDir(data), options_, tell, keys_source(keys_from))


def _fail_if_withheld(withheld: dict[str, str]) -> None:
    """Raise RedrushError if a set is withheld: the stack is up, and not all of it can grant."""
    if withheld:
        raise RedrushError("; ".join(f"set {set_id} is withheld: {why}" for set_id, why in withheld.items()))


def _announce(plan: "StackPlan") -> None:
    from redrush.cli.roles import announce
    from redrush.core.sets.address import Address
    from redrush.processes.loopback import HOST

    beside = {name: Address(HOST, plan.ports[name]) for name in ("query", "payments") if name in plan.ports}
    announce({"gate": Address(HOST, plan.port), "control": Address(HOST, plan.control), **beside})


@stack_app.command()
def status(
    data: DataOption,
    as_json: Annotated[bool, Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Tell which processes of the stack run, and how they are. Exit code 1 while a set is withheld."""
    require("stack", "redrush stack")
    from redrush.stack.stack_dir import StackDir
    from redrush.stack.up import status as find

    found = find(StackDir(data))
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        _fail_if_withheld(found["withheld"])
        return
    for process in found["processes"]:
        cannot = f"cannot grant: {process['reason']}" if process.get("reason") else ""
        why = process["why"] or cannot or process.get("disagrees") or ""
        remarks = f"{process.get('durability') or '':<8} {why}"
        line = (
            f"{process['name']:<14} {process['role']:<9} {process['set'] or '-':<6} {process['pid'] or '-':>8} "
            f"{process['address']:<22} {process['state']:<10} {remarks}"
        )
        sys.stdout.write(f"{line.rstrip()}\n")
    if found["lacking"] is not None:
        sys.stdout.write(f"not all is well: {found['lacking']}\n")
    _fail_if_withheld(found["withheld"])


@stack_app.command()
def down(data: DataOption) -> None:
    """End the stack in good order, and return when no process of it is left."""
    require("stack", "redrush stack")
    from redrush.stack.stack_dir import StackDir
    from redrush.stack.up import down as end

    end(StackDir(data))
    sys.stdout.write("the stack has ended\n")
