"""`redrush demo`, `drill` and `bench`: an event with a simulated crowd, rehearsals that break something, figures."""

import sys
from pathlib import Path
from typing import Annotated, Final

from redrush.cli.declaring import Argument, Group, Option
from redrush.cli.shared_options import JsonOption, LanguageOption, show
from redrush.errors import ConfigError
from redrush.extras import require

DRILLS_OF_KINDS: Final = {"draw": "draw", "group": "group-packets", "line": "line", "sale": "sale"}
"""Kinds whose demo is a drill: an event with people of that kind, and the verdicts of an auditor."""

DRY_RUN: Final = "dry-run"
"""The drill that plays somebody's own campaign."""

DRILLS_OF_KINDS_ON_A_STACK: Final = {"sale": "sale-on-a-stack"}
"""The same with `--stack`."""


def add_to(app: Group) -> None:
    """Add the commands to the command line."""
    for command in (drill, demo, bench):
        app.command()(command)


def drill(
    name: Annotated[str, Argument(metavar="NAME", help="Which drill; `list` tells what there is.")],
    data: Annotated[
        Path | None, Option("--data", metavar="DIR", help="For the event and the report; temporary by default.")
    ] = None,
    short: Annotated[bool, Option("--short", help="The small form: some fifteen seconds.")] = False,
    campaign: Annotated[
        Path | None, Option("--campaign", metavar="FILE", help="The campaign file that the drill dry-run plays.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Break something real while people come, on real processes, and judge what they saw."""
    from redrush.drill.drill_report import print_drill_report, to_json, write_drill_report
    from redrush.drill.drills import DRILLS, drill_named, play_drill, play_dry_run
    from redrush.drill.rehearsal import rehearsal_directory
    from redrush.drill.terminal import Terminal

    if name == "list":
        drills = [{"name": known.name, "asks": known.asks} for known in DRILLS]
        show({"drills": drills}, [f"{known.name}\t{known.asks}" for known in DRILLS], as_json=as_json)
        return
    if (name == DRY_RUN) != (campaign is not None):
        raise ConfigError(f"the drill {DRY_RUN} plays a campaign of yours, and no other one does: --campaign FILE")
    directory = rehearsal_directory(data, name if name == DRY_RUN else drill_named(name).name)
    terminal = Terminal(sys.stderr if as_json else sys.stdout)

    def tell(line: str) -> None:
        terminal.show([((line, "dim"),)])

    if campaign is not None:
        report = play_dry_run(campaign, directory, tell, short=short)
    else:
        report = play_drill(name, directory, tell, short=short)
    report_at = write_drill_report(report, directory)
    if as_json:
        sys.stdout.write(to_json(report).decode())
    else:
        print_drill_report(report, terminal)
    terminal.say(report_at)
    if not report.passed:
        raise SystemExit(1)


def demo(  # noqa: PLR0913, PLR0917 - one for each option of the command
    data: Annotated[
        Path | None, Option("--data", metavar="DIR", help="Data directory; a new temporary one by default.")
    ] = None,
    users: Annotated[
        int | None,
        Option(bounds=(100, 1_000_000), help="Registered users; by default 150,000, or 50,000 on a stack."),
    ] = None,
    stack: Annotated[bool, Option("--stack", help="On many processes: `redrush stack`.")] = False,
    kind: Annotated[
        str, Option(metavar="KIND", help=f"What people rush for: {', '.join(('packets', *DRILLS_OF_KINDS))}.")
    ] = "packets",
    stay: Annotated[bool, Option("--stay", help="Keep the server up until Ctrl-C, for looking around.")] = False,
    port: Annotated[int | None, Option(bounds=(0, 65535), help="Participants' port; any free one by default.")] = None,
    control_port: Annotated[
        int | None, Option(bounds=(0, 65535), help="Control port; any free one by default.")
    ] = None,
    language: LanguageOption = "en",
    as_json: JsonOption = False,
) -> None:
    """Play a whole event on this machine over real HTTP, with a simulated crowd, and show its report."""
    if stack:
        require("stack", "redrush demo --stack")
    of_kinds = DRILLS_OF_KINDS_ON_A_STACK if stack else DRILLS_OF_KINDS
    if kind in of_kinds:
        drill(of_kinds[kind], data, short=False, campaign=None, as_json=as_json)
        return
    if stack and kind in DRILLS_OF_KINDS:
        known = ", ".join(("packets", *of_kinds))
        raise ConfigError(f'--kind: the demo of "{kind}" is played on one server, without --stack; on a stack: {known}')
    if kind != "packets":
        raise ConfigError(f'--kind: "{kind}" is none of packets, {", ".join(DRILLS_OF_KINDS)}')
    from redrush.drill.demo import DemoOptions, for_people, on_a_stack, run_demo

    options = DemoOptions(
        data_dir=data, stay=stay, as_json=as_json, port=port, control_port=control_port, language=language
    )
    raise SystemExit(run_demo(for_people(on_a_stack(options) if stack else options, users)))


def bench(
    only: Annotated[list[str] | None, Option(metavar="NAME", help="Measure only this; repeatable.")] = None,
    runs: Annotated[int, Option(bounds=(1, None), help="Runs of each; the median counts.")] = 5,
    seconds: Annotated[int, Option(bounds=(1, None), help="Length of a run.")] = 3,
    directory: Annotated[Path | None, Option("--dir", help="Scratch directory on the disk to measure.")] = None,
    save: Annotated[Path | None, Option(metavar="DIR", help="Keep the figures there as JSON.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure redrush against its peers on this machine (needs nginx with Lua, redis-server and wrk)."""
    require("stack", "redrush bench")
    import msgspec

    from redrush.drill.bench.report import render, to_json
    from redrush.drill.bench.report import save as save_report
    from redrush.drill.bench.run import Options, run_bench
    from redrush.drill.terminal import Terminal

    def tell(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    options = Options(only=tuple(only or ()), runs=runs, seconds=seconds)
    if directory is not None:
        options = msgspec.structs.replace(options, directory=directory)
    report = run_bench(options, tell)
    if as_json:
        show(to_json(report), [], as_json=True)
    else:
        terminal = Terminal()
        terminal.show(render(report, terminal.width))
    if save is not None:
        tell(f"saved as {save_report(report, save)}")
    if not report.passed:
        raise SystemExit(1)
