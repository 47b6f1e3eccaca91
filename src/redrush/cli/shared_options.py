"""What operators' commands have in common: which event they are about, who gives the order and why, how they answer."""

import getpass
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import click

from redrush.cli.declaring import Option
from redrush.core.identity.user_ids import STEERING, legible, visible

if TYPE_CHECKING:
    from redrush.control.data_dir import DataDir
    from redrush.operate.as_seen import Seen
    from redrush.operate.paying import Books
    from redrush.operate.switching import Holder

DataOption = Annotated[
    Path | None, Option("--data", metavar="DIR", help="Data directory of a server or stack on this machine.")
]
DeployOption = Annotated[
    Path | None, Option("--deploy", metavar="FILE", help="Deployment file, to ask its control role anywhere.")
]
SumOption = Annotated[
    str | None,
    Option("--sum", metavar="AMOUNT", help="With --yes: only if they still come to AMOUNT as well, as it was told."),
]
JsonOption = Annotated[bool, Option("--json", help="Print one JSON object instead of text.")]
LanguageOption = Annotated[Literal["en", "zh"], Option("--language", help="Language of what is printed.")]
KeysFromOption = Annotated[
    Path | None,
    Option(
        "--keys-from",
        metavar="DIR",
        help="Directory of another event, or a deployment file: its keys, so that tickets issued there are good here.",
    ),
]
ConsolePortOption = Annotated[
    int | None,
    Option(bounds=(1, 65535), metavar="N", help="Run the operators' pages, too, on this port of the loopback."),
]


def _reason_given(context: click.Context, param: click.Parameter, why: str) -> str:
    """Return the reason. BadParameter for one that is given and says nothing; where it may be left out, it was not."""
    source = context.get_parameter_source(str(param.name))
    if not why.strip() and source is not None and source.name != "DEFAULT":
        raise click.BadParameter("say why: it is kept, and nobody else knows it")
    return why


WhyOption = Annotated[str, Option("--why", callback=_reason_given, help="The reason, for the audit log.")]
"""Needed where a command gives it no default."""
WhoOption = Annotated[
    str | None,
    Option("--who", help="Who does it, kept as said; the user of this system by default."),
]
TokenOption = Annotated[
    Path | None,
    Option(
        "--token",
        metavar="FILE",
        envvar="REDRUSH_TOKEN_FILE",
        help="File with your own token (redrush operator add): you stand in the log under its name.",
    ),
]


def show(fields: dict[str, Any], lines: list[str], *, as_json: bool) -> None:
    """Print the fields as one JSON object, or the lines; whatever was asked or is kept, nothing steers a terminal."""
    if as_json:
        written = json.dumps(fields, ensure_ascii=False, indent=2)
        lines = [STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", written)]
    for line in lines:
        sys.stdout.write(f"{legible(line)}\n")


def warn(sentences: Iterable[str]) -> None:
    """Tell of each thing that may not be meant, on stderr."""
    for sentence in sentences:
        sys.stderr.write(f"redrush: warning: {visible(sentence)}\n")


def keys_source(keys_from: Path | None) -> "DataDir | None":
    """Return the directory that is meant by `--keys-from`."""
    if keys_from is None:
        return None
    from redrush.config import load_deployment_file
    from redrush.control.data_dir import DataDir

    return DataDir(load_deployment_file(keys_from).data if keys_from.is_file() else keys_from)


def who_is(who: str | None) -> str:
    """Return who gives the order."""
    if who is not None:
        return who
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def holder_of(who: str | None, token: Path | None) -> "Holder":
    """Return who gives an order, and with which token."""
    from redrush.operate.switching import Holder

    return Holder(who_is(who), token)


def seen_of(books: "Books", count: int | None, total: str | None) -> "Seen | None":
    """Return what somebody says to have seen; None: it is only to be told. ConfigError for a sum that is none."""
    from redrush.control.event import load_campaign
    from redrush.core.money.currency import parse_amount
    from redrush.errors import ConfigError
    from redrush.operate.as_seen import Seen

    if count is None:
        if total is not None:
            raise ConfigError("--sum goes with --yes, and says what the things that are counted come to")
        return None
    if total is None:
        return Seen(count)
    try:
        return Seen(count, parse_amount(total, load_campaign(books.data_dir).currency))
    except ValueError as wrong:
        raise ConfigError(f"--sum: {wrong}") from None
