"""`redrush campaign`: more campaigns on one server, added and ended while it runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from redrush.cli.at_console import add_console_to, console_meant
from redrush.cli.declaring import Argument, Group, Option
from redrush.cli.shared_options import (
    JsonOption,
    KeysFromOption,
    TokenOption,
    WhoOption,
    WhyOption,
    holder_of,
    keys_source,
    show,
    warn,
)
from redrush.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redrush.control.amending import Change
    from redrush.control.data_dir import DataDir
    from redrush.operate.at_console import AtConsole

campaign_app = Group(help="Several campaigns on one server, by file.")
add_console_to(campaign_app)

DataOption = Annotated[
    Path | None, Option("--data", metavar="DIR", help="Data directory of the server, or of the stack.")
]
DeployOption = Annotated[
    Path | None, Option("--deploy", metavar="FILE", help="Deployment file, for roles that run elsewhere.")
]


def _directory(data: Path | None, deploy: Path | None) -> "DataDir":
    """Return the directory of the event. Wrong usage unless exactly one of the two is given."""
    from redrush.config import load_deployment_file
    from redrush.control.data_dir import DataDir

    if (data is None) == (deploy is None):
        raise click.BadParameter("say where: --data DIR, or --deploy FILE for roles that run elsewhere")
    if data is not None:
        return DataDir(data)
    assert deploy is not None
    return DataDir(load_deployment_file(deploy).data)


ReplaceOption = Annotated[
    bool, Option("--replace", help="With --console: write over a draft of its id that says something else.")
]
IdArgument = Annotated[str, Argument(metavar="ID", help="The campaign's id.")]


@campaign_app.command("add")
def add(  # noqa: PLR0913, PLR0917 - options of one command
    file: Annotated[Path, Argument(metavar="FILE", help="Campaign file (TOML).")],
    data: DataOption = None,
    deploy: DeployOption = None,
    why: WhyOption = "",
    who: WhoOption = None,
    token: TokenOption = None,
    keys_from: KeysFromOption = None,
    when: Annotated[
        str | None, Option("--at", metavar="INSTANT", help="Not before then; with --console, which waits for it.")
    ] = None,
    replace: ReplaceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Seal a campaign and have it served, by a running server within a second, else from its next start on."""
    at = _console_meant(data, deploy, replace=replace)
    if when is not None:
        if at is None:
            raise ConfigError("--at needs --console: a console is what waits until then, and looks again before it")
        from redrush.operate.at_console import schedule_campaign

        made = schedule_campaign(at, file, why, _instant_s(when), replace=replace)
        show(made, [f"{made['campaign']}: waits until {made['due']}, as {made['id']}"], as_json=as_json)
        return
    if at is not None:
        from redrush.operate.at_console import place_campaign

        placed = place_campaign(at, file, why, yes=True, replace=replace)
        warn(placed["doubts"])
        what = "is added" if placed["new"] else "was there already; it is as the file says"
        show(placed, [f"{placed['campaign']}: {what}"], as_json=as_json)
        return
    from redrush.config import load_campaign_file
    from redrush.operate.campaigns import add_campaign

    directory, holder = _directory(data, deploy), holder_of(who, token)
    done = add_campaign(load_campaign_file(file), directory, holder, why, keys_source(keys_from), deploy)
    warn(done.doubts)
    what = "is added" if done.new else "was there already; what is open of it is as the file says"
    paths = f"/v1/campaigns/{done.campaign}/rounds/…"
    fields = {"campaign": done.campaign, "new": done.new, "directory": str(done.directory), "paths": paths}
    show(fields, [f"{done.campaign}: {what}; it is served at {paths}, and kept in {done.directory}"], as_json=as_json)


def _console_meant(data: Path | None, deploy: Path | None, *, replace: bool) -> "AtConsole | None":
    """Return the console that is meant. ConfigError for what only a console could do without one."""
    at = console_meant(data, deploy)
    if at is None and replace:
        raise ConfigError("--replace needs --console: only a console has drafts to be written over")
    return at


def _instant_s(text: str) -> int:
    """Return an instant that carries its offset, in seconds since the epoch. ConfigError for none."""
    from datetime import datetime

    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ConfigError(f'--at: "{text}" is no instant with its offset: write it like 2027-02-06T20:00:00+08:00')
    return int(at.timestamp())


def _campaigns(data: Path | None, deploy: Path | None) -> list[dict[str, Any]]:
    if (at := console_meant(data, deploy)) is not None:
        from redrush.operate.at_console import campaigns

        return campaigns(at)
    from redrush.operate.campaigns import list_campaigns

    return list_campaigns(_directory(data, deploy))


def _told(row: dict[str, Any]) -> str:
    rehearsal = ", a rehearsal" if row["rehearsal"] else ""
    return f"{row['campaign']}: {row['state']}{rehearsal}, {row['name']}"


@campaign_app.command("list")
def list_all(data: DataOption = None, deploy: DeployOption = None, as_json: JsonOption = False) -> None:
    """Show every campaign of the directory, and whether it is open, ahead, over or ended."""
    rows = _campaigns(data, deploy)
    show({"campaigns": rows}, [_told(row) for row in rows], as_json=as_json)


@campaign_app.command("show")
def show_one(
    campaign: IdArgument, data: DataOption = None, deploy: DeployOption = None, as_json: JsonOption = False
) -> None:
    """Show one campaign: its rounds, and where it is kept."""
    if (at := console_meant(data, deploy)) is not None:
        from redrush.operate.at_console import show_campaign as show_there

        row = show_there(at, campaign)
    else:
        from redrush.operate.campaigns import show_campaign

        row = show_campaign(campaign, _directory(data, deploy))
    lines = [_told(row)]
    lines += [f"  kept in {row['directory']}"] if "directory" in row else []
    lines += [
        f"  round {one['round']}: {one['opens_at']} to {one['closes_at']}, {one['packets']:,} {one['kind']} packets, "
        f"{one['total']} {row['currency']}"
        for one in row["rounds"]
    ]
    show(row, lines, as_json=as_json)


@campaign_app.command("change")
def change(  # noqa: PLR0913, PLR0917 - options of one command
    file: Annotated[Path, Argument(metavar="FILE", help="The campaign file as it is to be.")],
    data: DataOption = None,
    deploy: DeployOption = None,
    why: WhyOption = "",
    who: WhoOption = None,
    token: TokenOption = None,
    yes: Annotated[bool, Option("--yes", help="Make it so.")] = False,
    replace: ReplaceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show what a changed file would change of its campaign, and with --yes make it so: all of it, or nothing."""
    import msgspec

    from redrush.config import load_campaign_file
    from redrush.operate.campaigns import Amended, change_campaign

    wanted = load_campaign_file(file)
    if (at := _console_meant(data, deploy, replace=replace)) is not None:
        from redrush.operate.at_console import campaigns, place_campaign

        if wanted.id not in {one["campaign"] for one in campaigns(at)}:
            raise ConfigError(f'the console at {at.url} has no campaign "{wanted.id}"; redrush campaign add serves it')
        found = msgspec.convert({**place_campaign(at, file, why, yes=yes, replace=replace), "live": True}, Amended)
    else:
        found = change_campaign(wanted, _directory(data, deploy), holder_of(who, token), why, yes=yes)
    refused = any(one.refused for one in found.changes)
    lines = [
        f"{one.what}: {one.before} -> {one.after}"
        + ("" if one.refused is None else f"; NOT POSSIBLE: {one.refused}")
        + ("" if one.at_once or one.refused else "; from the next start on")
        for one in found.changes
    ]
    if not found.changes:
        lines = [f"{found.campaign}: the file says what the campaign is"]
    elif found.done:
        lines.append("changed" + (f"; the running server {_follows(found.changes)}" if found.live else ""))
    else:
        lines.append("nothing was changed" + ("" if refused else "; add --yes to make it so"))
    show(msgspec.to_builtins(found), lines, as_json=as_json)
    if refused:
        raise SystemExit(1)


def _follows(changes: "Sequence[Change]") -> str:
    """Return when a running server holds to what was changed."""
    later = [one.what for one in changes if not one.at_once]
    if len(later) == len(changes):
        return "takes that up at its next start, not before"
    return "follows within two seconds" + (f", but takes up {', '.join(later)} at its next start" if later else "")


@campaign_app.command("end")
def end(
    campaign: IdArgument,
    why: WhyOption,
    data: DataOption = None,
    deploy: DeployOption = None,
    who: WhoOption = None,
    token: TokenOption = None,
    yes: Annotated[bool, Option("--yes", help="Also while a round is open, or to come.")] = False,
) -> None:
    """Serve a campaign no more. What it has granted stays in its directory."""
    if (at := console_meant(data, deploy)) is not None:
        from redrush.operate.at_console import end_campaign as end_there

        if not yes:
            raise ConfigError(f"{campaign}: nobody can win in it any more once it is ended; add --yes to end it")
        end_there(at, campaign, why)
        show({}, [f"{campaign}: is ended"], as_json=False)
        return
    from redrush.operate.campaigns import end_campaign

    end_campaign(campaign, _directory(data, deploy), holder_of(who, token), why, yes=yes)
    show({}, [f"{campaign}: is ended; its directory keeps what it has granted"], as_json=False)
