"""`redrush book`: the books of money and packets of a data directory."""

from pathlib import Path
from typing import Annotated, Final

import click

from redrush.cli.declaring import Group, Option
from redrush.cli.shared_options import JsonOption, WhoOption, WhyOption, show, who_is

book_app: Final = Group(help="Books of payments, packets and sales.")


def add_to(app: Group) -> None:
    """Add the commands."""
    app.add_group(book_app, "book")


@book_app.command("check")
def check(
    data: Annotated[Path, Option("--data", metavar="DIR", help="Data directory of a single server.")],
    as_json: JsonOption = False,
) -> None:
    """Look through every book for what is missing or damaged; the server may run. Exit code 1 if anything is."""
    from redrush.control.data_dir import DataDir
    from redrush.operate.books import check_books

    found = check_books(DataDir(data))
    lines = [f"{data}/{name}: {'; '.join(wrong) or 'is whole'}" for name, wrong in found.items()]
    show({"books": found}, lines or [f"{data}: has no books of money"], as_json=as_json)
    if any(found.values()):
        raise click.exceptions.Exit(1)


@book_app.command("accept")
def accept(
    data: Annotated[Path, Option("--data", metavar="DIR", help="Data directory of a single server.")],
    why: WhyOption,
    who: WhoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on with a book that was lost, damaged or wound back, as it is. No server may be running.

    What it lacks is known nowhere else, so money may be paid twice: `redrush restore BACKUP --data DIR --only NAME` is
    better where there is a backup, and the provider's bill tells what was paid.
    """
    import msgspec

    from redrush.control.data_dir import DataDir
    from redrush.operate.books import accept_books

    done = accept_books(DataDir(data), why, who_is(who))
    lines = [f"{data}: goes on with {one.book}: {'; '.join(one.wrong)}" for one in done]
    lines += [f"{data}: what was there is {one.aside}" for one in done if one.aside is not None]
    show({"accepted": msgspec.to_builtins(done)}, lines or [f"{data}: nothing is missing in any book"], as_json=as_json)
