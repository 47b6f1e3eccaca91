"""What an event has produced, and whether it agrees: `redrush export`, `find` and `reconcile`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import click

from redrush.cli.declaring import Argument, Group, Option
from redrush.cli.output import print_data_as_utf8
from redrush.cli.shared_options import JsonOption, LanguageOption, show, warn
from redrush.core.identity.user_ids import normalised

if TYPE_CHECKING:
    from collections.abc import Callable

    from redrush.config import DeploymentFile
    from redrush.settle.export import Format

export_app = Group(help="Write out what the event has produced.")

OptionalDataOption = Annotated[Path | None, Option("--data", metavar="DIR", help="Data directory of the event.")]
EvidenceOption = Annotated[
    Path | None, Option("--deploy", metavar="FILE", help="Deployment file, for servers that run elsewhere.")
]


def add_to(app: Group) -> None:
    """Add the commands to the command line."""
    app.add_group(export_app, "export")
    app.command("find", context_settings={"ignore_unknown_options": True})(find_grants)
    app.command()(reconcile)


def _deployment_of(data: Path | None, deploy: Path | None) -> "Callable[[Callable[[DeploymentFile], Any]], Any] | None":
    """Return what gives the evidence of a deployment to a function; None if `data` is of a single server.

    Wrong usage unless exactly one of them is given.
    """
    from redrush.control.data_dir import DataDir

    if (data is None) == (deploy is None):
        raise click.BadParameter("say where: --data DIR, or --deploy FILE for servers that run elsewhere")
    if deploy is not None:
        from redrush.config import load_deployment_file

        deployment = load_deployment_file(deploy)
        return lambda work: work(deployment)
    assert data is not None
    if not DataDir(data).deployment.is_file():
        return None
    from redrush.stack.evidence import with_servers
    from redrush.stack.stack_dir import StackDir

    return lambda work: with_servers(StackDir(data), work)


@export_app.command("grants")
def export_grants(
    data: OptionalDataOption = None,
    deploy: EvidenceOption = None,
    format_: Annotated[
        Literal["jsonl", "csv"] | None,
        Option("--format", help="A JSON object (the default) or a CSV row a grant."),
    ] = None,
    for_: Annotated[
        Literal["programs", "spreadsheets"],
        Option("--for", help="Spreadsheets get CSV in which ids stay text and nothing is a formula."),
    ] = "programs",
) -> None:
    """Write every grant, one a line, in order of being granted. Works while the event runs."""
    print_data_as_utf8()
    if for_ == "spreadsheets":
        if format_ == "jsonl":
            raise click.BadParameter("--for spreadsheets is CSV; leave --format out")
        form: Format = "spreadsheet"
    else:
        form = format_ or "jsonl"
    if (deployment_of := _deployment_of(data, deploy)) is not None:
        from redrush.operate.deployment_reports import export_deployment

        deployment_of(lambda deployment: export_deployment(deployment, form, sys.stdout))
        return
    from redrush.control.data_dir import DataDir
    from redrush.operate.data_dir_reports import export_grants as write

    assert data is not None
    write(DataDir(data), form, sys.stdout)


@export_app.command("tax")
def export_tax(
    year: Annotated[int, Option(help="Which year, in the campaign's time zone.")],
    data: OptionalDataOption = None,
    deploy: EvidenceOption = None,
    language: LanguageOption = "en",
) -> None:
    """Write what each person won and was paid in a year, a line each, as CSV for spreadsheets."""
    from redrush.operate.paying import Books
    from redrush.operate.yearly import export_year

    print_data_as_utf8()
    if (deployment_of := _deployment_of(data, deploy)) is not None:
        from redrush.control.data_dir import DataDir

        deployment_of(lambda found: export_year(Books(DataDir(found.data), found), year, language, sys.stdout))
        return
    export_year(Books.at(data, deploy), year, language, sys.stdout)


def find_grants(
    user: Annotated[str, Argument(help="User id, exactly as in the ticket; -- before one with -h or --.")],
    data: OptionalDataOption = None,
    deploy: EvidenceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a user was granted, with the receipts, for a help desk. Exit code 1 if nothing was."""
    user = normalised(user)
    if (deployment_of := _deployment_of(data, deploy)) is not None:
        from redrush.operate.deployment_reports import find_in_deployment

        found, doubts = deployment_of(lambda deployment: find_in_deployment(deployment, user))
        warn(doubts)
    else:
        from redrush.control.data_dir import DataDir
        from redrush.operate.data_dir_reports import find_in_data_dir

        assert data is not None
        found = find_in_data_dir(DataDir(data), user)
    import msgspec

    show(msgspec.to_builtins(found), found.lines(), as_json=as_json)
    if not found.grants:
        raise SystemExit(1)


def reconcile(data: OptionalDataOption = None, deploy: EvidenceOption = None, as_json: JsonOption = False) -> None:
    """Re-derive every total from the journal alone and hold the ledger against it."""
    if (deployment_of := _deployment_of(data, deploy)) is not None:
        from redrush.operate.deployment_reports import reconcile_deployment

        report = deployment_of(reconcile_deployment)
    else:
        from redrush.control.data_dir import DataDir
        from redrush.operate.data_dir_reports import reconcile_data_dir

        assert data is not None
        report = reconcile_data_dir(DataDir(data))
    if as_json:
        show(report.to_json(), [], as_json=True)
    else:
        show({}, [report.to_text()], as_json=False)
    if not report.ok:
        raise SystemExit(1)
