"""`redrush set`: how the sets are, and what only an operator may decide about one."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from redrush.cli.declaring import Argument, Group, Option
from redrush.cli.shared_options import (
    DataOption,
    DeployOption,
    JsonOption,
    TokenOption,
    WhoOption,
    WhyOption,
    holder_of,
    show,
    who_is,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from redrush.control.data_dir import DataDir
    from redrush.operate.mending import Mended
    from redrush.settle.honouring import Honoured

set_app = Group(help="The sets: see, lower, promote, rebuild, honour, release.")

SetArgument = Annotated[str, Argument(metavar="SET", help="Id of the set in the deployment file.")]
OptionalSetArgument = Annotated[
    str | None, Argument(metavar="[SET]", help="Id of the set in the deployment file; a single server has none.")
]
YesOption = Annotated[bool, Option("--yes", help="Do it although something may be lost by it.")]


@set_app.command("list")
def list_sets(data: DataOption = None, deploy: DeployOption = None, as_json: JsonOption = False) -> None:
    """Show each set's servers, its epoch, and what a grant of it rests on."""
    from redrush.operate.set_orders import deployment_path, describe_sets

    found = describe_sets(deployment_path(data, deploy))
    lines = [line for state in found for line in _set_lines(state)]
    show({"sets": found}, lines or ["no sets are watched over: a Valkey Cluster promotes by itself"], as_json=as_json)


def _set_lines(state: dict[str, Any]) -> list[str]:
    from redrush.operate.set_orders import RESTS_ON

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
    why: WhyOption,
    data: DataOption = None,
    deploy: DeployOption = None,
    who: WhoOption = None,
    token: TokenOption = None,
) -> None:
    """Let the primary go on with the replicas it has now; the terms are raised again when one is in step."""
    from redrush.operate.set_orders import deployment_path, for_all, lower

    parts = lower(deployment_path(data, deploy), set_id, why, holder_of(who, token))
    _say(f"{set_id}: its primary goes on with the replicas it has{for_all(parts)}")


@set_app.command("promote")
def promote_server(  # noqa: PLR0913, PLR0917 - options of one command
    why: WhyOption,
    set_id: OptionalSetArgument = None,
    address: Annotated[str | None, Argument(metavar="ADDRESS", help="host:port, as in the deployment file.")] = None,
    data: DataOption = None,
    deploy: DeployOption = None,
    who: WhoOption = None,
    token: TokenOption = None,
    yes: YesOption = False,
) -> None:
    """Make a server the primary by force, whatever it lacks. Says what may be lost, and does it only with --yes.

    Of a single server (--data DIR alone): go on with its journal as it is, in this directory.
    """
    if (directory := _single_server(data, deploy)) is not None:
        from redrush.operate.mending import promote_data_dir

        _tell_mended(promote_data_dir(directory, why, who_is(who), yes=yes), directory)
        return
    from redrush.operate.set_orders import AFTER_A_LOSS, deployment_path, for_all
    from redrush.operate.set_restoring import promote

    if set_id is None or address is None:
        raise click.BadParameter("name the set and the server: redrush set promote SET ADDRESS")
    promoted = promote(deployment_path(data, deploy), set_id, address, why, holder_of(who, token), yes=yes)
    _say(f"{set_id}: {address} is the primary{for_all(promoted.parts)}")
    if promoted.unasked:
        unasked = ", ".join(promoted.unasked)
        _say(
            f"{unasked} did not say which slots were moved between them and {set_id}: some may be in two sets; redrush "
            "reconcile tells"
        )
    _say(AFTER_A_LOSS)


@set_app.command("rebuild")
def rebuild_lost_set(  # noqa: PLR0913, PLR0917 - options of one command
    set_id: OptionalSetArgument = None,
    address: Annotated[str | None, Option("--address", metavar="HOST:PORT", help="An empty server of the set.")] = None,
    data: DataOption = None,
    deploy: DeployOption = None,
    why: WhyOption = "",
    who: WhoOption = None,
    token: TokenOption = None,
    yes: YesOption = False,
) -> None:
    """Make a set anew whose copies are all lost: from its journal in the records, and the other sets' moves.

    Of a single server (--data DIR alone): its journal, from what is sound of it, and from its records.
    """
    if (directory := _single_server(data, deploy)) is not None:
        from redrush.operate.mending import rebuild_data_dir

        _tell_mended(rebuild_data_dir(directory, why or "the journal is lost", who_is(who), yes=yes), directory)
        return
    from redrush.operate.set_orders import AFTER_A_LOSS, deployment_path
    from redrush.operate.set_restoring import rebuild

    if set_id is None or address is None:
        raise click.BadParameter("name the set and its empty server: redrush set rebuild SET --address HOST:PORT")
    rebuilt = rebuild(deployment_path(data, deploy), set_id, address, why, holder_of(who, token), yes=yes)
    _say(f"{set_id}: rebuilt on {address} up to log record {rebuilt.last_seq}, in epoch {rebuilt.epoch}")
    _say(AFTER_A_LOSS)


@set_app.command("release")
def release(
    why: WhyOption,
    set_id: OptionalSetArgument = None,
    data: DataOption = None,
    deploy: DeployOption = None,
    who: WhoOption = None,
    token: TokenOption = None,
    yes: YesOption = False,
) -> None:
    """Wait no more for receipts of grants that were lost. Says how many, and does it only with --yes.

    Of a single server (--data DIR alone): the slots that are kept back for their winners can be granted again.
    """
    if (directory := _single_server(data, deploy)) is not None:
        from redrush.operate.releasing import release_data_dir

        count = release_data_dir(directory, why, who_is(who), yes=yes)
        _say(f"{directory.root}: {count} slots are kept back no more")
        return
    from redrush.operate.releasing import release_set
    from redrush.operate.set_orders import deployment_path

    if set_id is None:
        raise click.BadParameter("name the set: redrush set release SET")
    count = release_set(deployment_path(data, deploy), set_id, why, holder_of(who, token), yes=yes)
    _say(f"{set_id}: {count} lost grants are written off")


RECEIPTS_SHOWN = "receipts were shown"


@set_app.command("honour")
def honour(  # noqa: PLR0913, PLR0917 - options of one command
    receipts: Annotated[
        Path | None, Option("--receipts", metavar="FILE", help="A receipt a line; - reads stdin.")
    ] = None,
    none: Annotated[bool, Option("--none", help="Nobody has a receipt of what was lost.")] = False,
    data: DataOption = None,
    deploy: DeployOption = None,
    why: WhyOption = "",
    who: WhoOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enter lost grants again by the receipts of their winners; exit 1 if one conflicts with what was granted since.

    After a loss of which nobody knows the extent this is what an operator has to say once, be it with --none.
    """
    if (receipts is None) != none:
        raise click.BadParameter("--receipts FILE with what winners show, or --none if nobody has a receipt")
    if receipts is None:
        if not why:
            raise click.BadParameter("--none needs --why: it is the last word about what was lost")
        _nobody_has_one(data, deploy, why, who, token)
        show({"ok": True, "receipts": []}, ["noted: nobody has a receipt of what was lost"], as_json=as_json)
        return
    from redrush.operate.receipts_file import NoneIsOurs
    from redrush.settle.honouring import Honour

    found: list[dict[str, Any]] = []

    def tell(line: int, honoured: "Honoured") -> None:
        receipt = honoured.receipt
        user, round_, slot = (None, None, None) if receipt is None else (receipt.user, receipt.round, receipt.slot)
        row = {"line": line, "outcome": str(honoured.outcome), "why": honoured.why}
        found.append({**row, "user": user, "round": round_, "slot": slot})
        if not as_json:
            whose = "" if receipt is None else f" {user}, round {round_}, slot {slot}:"
            _say(f"{line}: {honoured.outcome}:{whose} {honoured.why}")

    try:
        _honour_all(receipts, tell, data, deploy, why or RECEIPTS_SHOWN, who, token)
    except NoneIsOurs:
        if as_json:
            show({"ok": False, "receipts": found}, [], as_json=True)
        raise
    ok = all(row["outcome"] in {Honour.ENTERED, Honour.KNOWN} for row in found)
    if as_json:
        show({"ok": ok, "receipts": found}, [], as_json=True)
    if not ok:
        raise SystemExit(1)


def _nobody_has_one(data: Path | None, deploy: Path | None, why: str, who: str | None, token: Path | None) -> None:
    if (directory := _single_server(data, deploy)) is not None:
        from redrush.operate.mending import nobody_has_one

        nobody_has_one(directory, why, who_is(who))
    else:
        from redrush.operate.set_orders import deployment_path, note_heard

        note_heard(deployment_path(data, deploy), why, holder_of(who, token))


def _honour_all(
    receipts: Path,
    tell: "Callable[[int, Honoured], None]",
    data: Path | None,
    deploy: Path | None,
    why: str,
    who: str | None,
    token: Path | None,
) -> None:
    if (directory := _single_server(data, deploy)) is not None:
        from redrush.operate.mending import honour_data_dir

        honour_data_dir(directory, receipts, why, who_is(who), tell)
    else:
        from redrush.operate.set_orders import deployment_path
        from redrush.operate.set_restoring import honour_receipts

        honour_receipts(deployment_path(data, deploy), receipts, why, holder_of(who, token), tell)


def _single_server(data: Path | None, deploy: Path | None) -> "DataDir | None":
    """Return the data directory of a single server, None where there are sets."""
    from redrush.control.data_dir import DataDir

    if data is None or deploy is not None or DataDir(data).deployment.is_file():
        return None
    directory = DataDir(data)
    directory.require()
    return directory


def _tell_mended(mended: "Mended", directory: "DataDir") -> None:
    root = directory.root
    made = f"up to log record {mended.last_seq}, from {mended.made_of}"
    _say(f"{root}: the journal is made anew {made}; it is of generation {mended.generation}")
    if mended.old is not None:
        _say(f"{root}: the old one is kept as {mended.old}")
    if mended.kept_back:
        _say(
            f"{root}: {mended.kept_back} grants that were acknowledged are missing in it; as many slots are kept back "
            f"for `redrush set honour --data {root} --receipts FILE`, with the receipts that their winners have"
        )
    _say(f"{root}: what was granted after its last record is to be had from receipts; `redrush serve` begins with it")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
