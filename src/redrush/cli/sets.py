"""`redrush set`: how the sets are, and what only an operator may decide about one."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from redrush.cli.operator_options import DataOption, DeployOption, JsonOption, WhoOption, WhyOption, show, who_is

if TYPE_CHECKING:
    from redrush.settle.honouring import Honoured

set_app = typer.Typer(no_args_is_help=True, help="The sets of a deployment: see, lower, promote, rebuild, honour.")

SetArgument = Annotated[str, typer.Argument(metavar="SET", help="Id of the set in the deployment file.")]
NeededWhyOption = Annotated[str, typer.Option("--why", help="The reason, for the audit log.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do it although something may be lost by it.")]


@set_app.command("list")
def list_sets(data: DataOption = None, deploy: DeployOption = None, as_json: JsonOption = False) -> None:
    """Show each set's servers, its epoch, and what a grant of it rests on."""
    from redrush.wiring.set_orders import deployment_path, describe_sets

    found = describe_sets(deployment_path(data, deploy))
    lines = [line for state in found for line in _set_lines(state)]
    show({"sets": found}, lines or ["no sets are watched over: a Valkey Cluster promotes by itself"], as_json=as_json)


def _set_lines(state: dict[str, Any]) -> list[str]:
    from redrush.wiring.set_orders import RESTS_ON

    durability = f"{state['durability']} ({RESTS_ON[state['durability']]}) since {state['since']}"
    why = f": {state['why']}" if state["why"] else ""
    lines = [f"{state['set']}: epoch {state['epoch']}, durability {durability}{why}"]
    lines.append(f"    primary {state['primary'] or '-'}")
    if state["cannot_grant"]:
        lines.append(f"    cannot grant ({state['reason']}): {state['cannot_grant']}")
    return lines + [f"    {_server_line(replica)}" for replica in state["replicas"]]


def _server_line(replica: dict[str, Any]) -> str:
    if replica["in_step"]:
        return f"replica {replica['address']}, in step"
    if not replica["answers"]:
        return f"server {replica['address']}, does not answer"
    copy = f"has a copy of epoch {replica['epoch']}" if replica["epoch"] else "has no copy of the set"
    return f"server {replica['address']}, {copy}, not in step"


@set_app.command("lower")
def lower_set(
    set_id: SetArgument,
    why: NeededWhyOption,
    data: DataOption = None,
    deploy: DeployOption = None,
    who: WhoOption = None,
) -> None:
    """Let the primary go on with the replicas it has now; the terms are raised again when one is in step."""
    from redrush.wiring.set_orders import deployment_path, lower

    lower(deployment_path(data, deploy), set_id, why, who_is(who))
    _say(f"{set_id}: its primary goes on with the replicas it has")


@set_app.command("promote")
def promote_server(
    set_id: SetArgument,
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="host:port, as in the deployment file.")],
    why: NeededWhyOption,
    data: DataOption = None,
    deploy: DeployOption = None,
    who: WhoOption = None,
    yes: YesOption = False,
) -> None:
    """Make a server the primary by force, whatever it lacks. Says what may be lost, and does it only with --yes."""
    from redrush.wiring.restoring import promote
    from redrush.wiring.set_orders import deployment_path

    unasked = promote(deployment_path(data, deploy), set_id, address, why, who_is(who), yes=yes)
    _say(f"{set_id}: {address} is the primary")
    if unasked:
        _say(
            f"{', '.join(unasked)} did not say which slots were moved between them and {set_id}: some may be in two "
            "sets; redrush reconcile tells"
        )
    _say(AFTER_A_LOSS)


@set_app.command("rebuild")
def rebuild_lost_set(
    set_id: SetArgument,
    address: Annotated[str, typer.Option("--address", metavar="HOST:PORT", help="An empty server of the set.")],
    data: DataOption = None,
    deploy: DeployOption = None,
    why: WhyOption = "",
    who: WhoOption = None,
    yes: YesOption = False,
) -> None:
    """Make a set anew whose copies are all lost: from its journal in the records, and the other sets' moves."""
    from redrush.wiring.restoring import rebuild
    from redrush.wiring.set_orders import deployment_path

    rebuilt = rebuild(deployment_path(data, deploy), set_id, address, why, who_is(who), yes=yes)
    _say(f"{set_id}: rebuilt on {address} up to log record {rebuilt.last_seq}, in epoch {rebuilt.epoch}")
    _say(AFTER_A_LOSS)


AFTER_A_LOSS = (
    "what was granted after its last record is to be had from receipts (redrush set honour); gates, recorder and "
    "settlement notice by themselves that the set begins anew"
)


@set_app.command("honour")
def honour(
    receipts: Annotated[Path, typer.Option("--receipts", metavar="FILE", help="A receipt a line; - reads stdin.")],
    data: DataOption = None,
    deploy: DeployOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enter lost grants again by the receipts of their winners; exit 1 if one conflicts with what was granted since."""
    from redrush.settle.honouring import Honour
    from redrush.wiring.restoring import honour_receipts
    from redrush.wiring.set_orders import deployment_path

    found: list[dict[str, Any]] = []

    def tell(line: int, honoured: "Honoured") -> None:
        receipt = honoured.receipt
        user, round_, slot = (None, None, None) if receipt is None else (receipt.user, receipt.round, receipt.slot)
        row = {"line": line, "outcome": str(honoured.outcome), "why": honoured.why}
        found.append({**row, "user": user, "round": round_, "slot": slot})
        if not as_json:
            whose = "" if receipt is None else f" {user}, round {round_}, slot {slot}:"
            _say(f"{line}: {honoured.outcome}:{whose} {honoured.why}")

    honour_receipts(deployment_path(data, deploy), receipts, tell)
    ok = all(row["outcome"] in {Honour.ENTERED, Honour.KNOWN} for row in found)
    if as_json:
        show({"ok": ok, "receipts": found}, [], as_json=True)
    if not ok:
        raise SystemExit(1)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
