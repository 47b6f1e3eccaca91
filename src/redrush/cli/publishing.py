"""`redrush publish`: the participants' page as static files."""

from pathlib import Path
from typing import Annotated

from redrush.cli.declaring import Argument, Group, Option
from redrush.cli.shared_options import JsonOption, show


def add_to(app: Group) -> None:
    """Add the command to the command line."""
    app.command()(publish)


def publish(
    file: Annotated[Path, Argument(metavar="FILE", help="Campaign file (TOML).")],
    out: Annotated[Path, Option("--out", "-o", metavar="DIR", help="Directory to write the page to.")],
    gate: Annotated[
        list[str] | None, Option(metavar="URL", help="Where a gate is; may be given several times.")
    ] = None,
    direct: Annotated[
        bool, Option("--direct", help="Pages ask these gates themselves; gate.origins has to allow theirs.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the participants' page as static files for any CDN, with nginx configuration and cache rules."""
    import msgspec

    from redrush.config import load_campaign_file
    from redrush.control.publishing import publish as write
    from redrush.wiring.clock import system_clock

    now_us = system_clock().now_us()
    done = write(load_campaign_file(file), out, gate or ["http://127.0.0.1:8080"], now_us, direct=direct)
    show(msgspec.to_builtins(done), done.lines(), as_json=as_json)
