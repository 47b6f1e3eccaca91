"""`redrush serve --detach` and `redrush stop`: a server in the background of this machine."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Final

from redrush.cli.declaring import Group, Option

LOG: Final = "serve.log"
"""What a server in the background writes to, in its data directory."""


def add_to(app: Group) -> None:
    """Add the command to the command line."""
    app.command()(stop)


def serve_detached(data: Path, console_port: int | None) -> None:
    """Start the `redrush serve --detach` that this process is, without --detach, in the background; return when it is
    ready. The first password of a console is told here: what the server writes is kept in its log."""
    from redrush.cli.console import control_port_beside, tell_first_admin
    from redrush.control.data_dir import DataDir
    from redrush.processes.detached import directory_for, start_detached

    control_port_beside(console_port, None)
    with directory_for(data / LOG, DataDir(data).create):
        tell_first_admin(DataDir(data), console_port)
        told = start_detached(without_detach(), data / LOG)
    announce_detached(told, f"redrush stop --data {shlex.quote(str(data))}")


def without_detach() -> list[str]:
    """Return the arguments of this process for one that stays in front."""
    return [argument for argument in sys.argv[1:] if argument != "--detach"]


def announce_detached(told: str, ended_by: str) -> None:
    """Tell on stderr where a server in the background is and what ends it, and on stdout that it is ready: as the
    server itself would."""
    sys.stderr.write(f"{told}it ends by: {ended_by}\n")
    sys.stderr.flush()
    sys.stdout.write("ready\n")


def stop(
    data: Annotated[Path, Option("--data", metavar="DIR", help="Data directory of a server or a stack.")],
) -> None:
    """End the server or the stack that runs on DIR, in good order, and return when it has ended."""
    from redrush.control.data_dir import DataDir

    if DataDir(data).deployment.is_file():
        from redrush.cli.stack import down

        down(data)
        return
    from redrush.operate.stopping import NoServer, stop_server
    from redrush.processes.detached import how_it_ended

    try:
        pid = stop_server(DataDir(data))
    except NoServer as nothing:
        raise NoServer(f"{nothing}{how_it_ended(data / LOG)}") from nothing
    sys.stdout.write(f"process {pid} has ended\n")
