"""`redrush audience`: who may win besides those on the list, and who of them may not, while the event runs."""

import sys
from pathlib import Path
from typing import Annotated, Any

import click

from redrush.cli.declaring import Group, Option
from redrush.cli.shared_options import DataOption, DeployOption, JsonOption, WhoOption, WhyOption, show, warn, who_is

audience_app = Group(help="Add people to the audience of a running event, or take them off it.")


@audience_app.command()
def add(
    data: DataOption = None,
    deploy: DeployOption = None,
    user: Annotated[list[str] | None, Option("--user", help="User id; may be given several times.")] = None,
    users: Annotated[Path | None, Option(metavar="FILE", help="File with one user id a line; - reads stdin.")] = None,
    why: WhyOption = "",
    who: WhoOption = None,
) -> None:
    """Let these users win too, within a second or two, without a restart. With gates elsewhere, run it there too."""
    from redrush.control.audience_additions import add_to_audience
    from redrush.wiring.clock import system_clock

    directory, named = _directory(data, deploy), _named(user, users, "add")
    added = add_to_audience(directory, named, who_is(who), why, system_clock().now_us())
    sys.stdout.write(f"{added:,} added, {len(set(named)) - added:,} had been added before\n")


@audience_app.command()
def remove(
    why: WhyOption,
    data: DataOption = None,
    deploy: DeployOption = None,
    user: Annotated[list[str] | None, Option("--user", help="User id; may be given several times.")] = None,
    users: Annotated[Path | None, Option(metavar="FILE", help="File with one user id a line; - reads stdin.")] = None,
    who: WhoOption = None,
) -> None:
    """Let these users win no more, within a second or two. What they have won stays theirs; their tickets stay good."""
    from redrush.control.audience_additions import remove_from_audience
    from redrush.control.event import load_open_terms
    from redrush.wiring.clock import system_clock

    directory, named = _directory(data, deploy), _named(user, users, "remove")
    if deploy is None and load_open_terms(directory).audience is None:
        warn(["everybody with a ticket may win: the campaign has no audience, so nobody can be taken off it"])
    removed = remove_from_audience(directory, named, who_is(who), why, system_clock().now_us())
    sys.stdout.write(f"{removed:,} removed, {len(set(named)) - removed:,} had been removed before\n")


def _named(user: list[str] | None, users: Path | None, what: str) -> list[str]:
    """Return the users that a command names. ConfigError if they are none, or no ids."""
    from redrush.control.given_list import given_list
    from redrush.control.user_list import read_users, users_of
    from redrush.core.identity.user_ids import checked_user
    from redrush.errors import ConfigError

    if not user and users is None:
        raise ConfigError(f"nobody to {what}: give --user U or --users FILE")
    try:
        named = [checked_user(text) for text in user or []]
    except ValueError as fault:
        raise ConfigError(f"--user: {fault}") from None
    if users is not None:
        with given_list(users) as (kept, list_name):
            survey = read_users(kept, with_lines=True, name=list_name).survey
            warn(f"{list_name}: {doubt}" for doubt in survey.warnings())
            named += [name for _, name in users_of(kept, list_name)]
    return named


@audience_app.command("list")
def list_(data: DataOption = None, deploy: DeployOption = None, as_json: JsonOption = False) -> None:
    """Tell who was added or removed, when, by whom and why."""
    import msgspec

    from redrush.control.audience_additions import additions_of
    from redrush.core.identity.user_ids import visible

    additions = list(additions_of(_directory(data, deploy)))
    fields: dict[str, Any] = {"additions": msgspec.to_builtins(additions)}
    lines = []
    for addition in additions:
        named, what = (addition.removed, "removed ") if addition.removed else (addition.users, "")
        first = ", ".join(named[:3])
        more = f" and {len(named) - 3:,} more" if len(named) > 3 else ""
        lines.append(visible(f"{addition.at}  {addition.who}: {what}{first}{more}  {addition.why}".rstrip()))
    show(fields, lines or ["nobody was added"], as_json=as_json)


@audience_app.command()
def accept(
    why: WhyOption,
    data: DataOption = None,
    deploy: DeployOption = None,
    who: WhoOption = None,
) -> None:
    """Go on with a file of additions that was lost, cut, edited or wound back, as it is."""
    from redrush.control.audience_additions import accept_additions
    from redrush.control.generations import note_generation
    from redrush.errors import ConfigError

    directory = _directory(data, deploy)
    count = accept_additions(directory)
    try:
        note_generation(
            directory, {"what": "accept audience additions", "why": why, "who": who_is(who), "additions": count}
        )
    except OSError as fault:
        raise ConfigError(f"{directory.generations}: cannot be written: {fault.strerror}") from fault
    sys.stdout.write(f"{directory.root}: goes on with the {count:,} additions that are there\n")


def _directory(data: Path | None, deploy: Path | None) -> Any:
    from redrush.config import load_deployment_file
    from redrush.control.data_dir import DataDir

    if (data is None) == (deploy is None):
        raise click.BadParameter("say where: --data DIR, or --deploy FILE of this machine's gates")
    directory = DataDir(load_deployment_file(deploy).data if deploy is not None else data or Path())
    directory.require()
    return directory
