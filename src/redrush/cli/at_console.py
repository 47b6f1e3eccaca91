"""`--console URL --key FILE` of commands that steer: asked of the console's admin API, from any machine, as the key's
owner. Where neither a directory nor a deployment is named, the environment may name the console."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from redrush.cli.declaring import Group, Option
from redrush.errors import ConfigError

if TYPE_CHECKING:
    from redrush.operate.at_console import AtConsole

ConsoleUrlOption = Annotated[
    str | None,
    Option(
        "--console", metavar="URL", envvar="REDRUSH_CONSOLE", help="Ask the operators' console there, by its admin API."
    ),
]
KeyOption = Annotated[
    Path | None,
    Option("--key", metavar="FILE", envvar="REDRUSH_KEY_FILE", help="File with your API key of the console."),
]
CampaignOption = Annotated[
    str | None, Option("--campaign", metavar="ID", help="Which campaign of the console's; the first by default.")
]


def remember(
    context: click.Context, console: ConsoleUrlOption = None, key: KeyOption = None, campaign: CampaignOption = None
) -> None:
    """Note which console is meant, for the command that follows. Its docstring is the group's help, not this."""
    context.obj = (console, key, campaign, context.get_parameter_source("console"))


def console_meant(*places: Path | None) -> "AtConsole | None":
    """Return the console that is to be asked; None: the command names a directory or a deployment (`places`), or
    nothing says where. ConfigError for two places at once, or a console without a key."""
    url, key, campaign, source = click.globals.get_current_context().find_object(tuple) or (None, None, None, None)
    named = any(place is not None for place in places)
    if url is None:
        return None
    if named:
        if source is click.core.ParameterSource.COMMANDLINE:
            raise ConfigError("say one place: --console, or a directory or deployment")
        return None
    if key is None:
        raise ConfigError(f"the console at {url} wants an API key: --key FILE, made there at My account")
    from redrush.operate.at_console import AtConsole

    return AtConsole(url, key, campaign)


def add_console_to(group: Group) -> None:
    """Let the commands of a group be asked of a console."""
    group.before_each(remember)
