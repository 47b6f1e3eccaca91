"""`redrush drill`: rehearsals that break something."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from redrush.cli.operator_options import show


def add_to(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(drill)


def drill(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which drill; `list` tells what there is.")],
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="For the event and the report; temporary by default.")
    ] = None,
    short: Annotated[bool, typer.Option("--short", help="The small form: some fifteen seconds.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Break something real while people come, on real processes, and judge what they saw."""
    from rich.console import Console

    from redrush.drill.drill_report import print_drill_report, to_json, write_drill_report
    from redrush.drill.drills import DRILLS, drill_named, play_drill
    from redrush.drill.rehearsal import rehearsal_directory

    if name == "list":
        drills = [{"name": known.name, "asks": known.asks} for known in DRILLS]
        show({"drills": drills}, [f"{known.name}\t{known.asks}" for known in DRILLS], as_json=as_json)
        return
    directory = rehearsal_directory(data, drill_named(name).name)
    console = Console(stderr=as_json)
    report = play_drill(name, directory, lambda line: console.print(line, style="dim"), short=short)
    report_at = write_drill_report(report, directory)
    if as_json:
        sys.stdout.write(to_json(report).decode())
    else:
        print_drill_report(report, console)
    console.print(report_at, highlight=False, soft_wrap=True, markup=False)
    if not report.passed:
        raise SystemExit(1)
