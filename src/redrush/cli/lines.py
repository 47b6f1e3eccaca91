"""`redrush line`: who stands where in the line of a round, and whether that is what the key has drawn."""

import sys
from pathlib import Path
from typing import Annotated

import click

from redrush.cli.declaring import Group, Option
from redrush.cli.shared_options import JsonOption, show

line_app = Group(help="The line of a round with a waiting room.")

DataOption = Annotated[Path, Option("--data", metavar="DIR", help="Data directory of the event.")]
RoundOption = Annotated[str | None, Option("--round", metavar="ROUND", help="Which round, if several have one.")]


def add_to(app: Group) -> None:
    """Add the commands to the command line."""
    app.add_group(line_app, "line")


@line_app.command("list")
def list_(data: DataOption, round_: RoundOption = None, as_json: JsonOption = False) -> None:
    """List everybody who has stood in the line, in its order: number, place, user."""
    from redrush.control.data_dir import DataDir
    from redrush.core.identity.user_ids import visible
    from redrush.operate.line_order import line_of, order_of

    directory = DataDir(data)
    round_id, _, order = line_of(directory, round_)
    people = order_of(directory, round_id)
    lines = [f"{number}\t{place}\t{visible(user)}" for number, (user, place) in enumerate(people, 1)]
    fields = {
        "round": round_id,
        "order": order,
        "people": [{"number": number, "place": place, "user": user} for number, (user, place) in enumerate(people, 1)],
    }
    show(fields, lines or ["nobody has joined"], as_json=as_json)


@line_app.command()
def verify(
    data: Annotated[Path | None, Option("--data", metavar="DIR", help="Data directory of the event.")] = None,
    round_: RoundOption = None,
    key: Annotated[
        str | None, Option(metavar="HEX", help="The key, as the state of the round tells it after the close.")
    ] = None,
    commitment: Annotated[
        str | None, Option(metavar="HEX", help="What that state promised before: the key must be this one.")
    ] = None,
    listed: Annotated[
        Path | None, Option("--list", metavar="FILE", help="A list of places and users, as line-ROUND.tsv is.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compute every place of a line again: with the event's directory, or with what was published of it."""
    import msgspec

    from redrush.control.data_dir import DataDir
    from redrush.control.line_files import LineFiles
    from redrush.core.identity.user_ids import visible
    from redrush.core.rush.line import commitment as commitment_of
    from redrush.operate.line_order import line_of, published_key, published_list, verify

    if (data is None) == (key is None) or (listed is None) == (data is None):
        raise click.BadParameter("say what with: --data DIR, or --key HEX with --list FILE")
    if data is not None:
        directory = DataDir(data)
        round_id, secret, _ = line_of(directory, round_)
        given, where = LineFiles(directory).given(round_id), str(directory.line_list(round_id))
    else:
        assert key is not None
        assert listed is not None
        secret = published_key(key, commitment)
        given, where = published_list(listed), str(listed)
    verdict = verify(given, secret, where)
    said = f"{verdict.people:,} people, {verdict.early:,} of them drawn: every place is right"
    if verdict.wrong:
        said = f"{verdict.wrong:,} places are wrong"
    lines = [f"commitment {commitment_of(secret)}", *map(visible, verdict.problems), said]
    fields = {"ok": not verdict.wrong, "commitment": commitment_of(secret), **msgspec.to_builtins(verdict)}
    show(fields, lines, as_json=as_json)
    if verdict.wrong:
        sys.exit(1)
