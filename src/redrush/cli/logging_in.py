"""`redrush login`: lets people in by OpenID Connect."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from redrush.cli.declaring import Argument, Group, Option
from redrush.cli.shared_options import warn
from redrush.extras import require

if TYPE_CHECKING:
    from redrush.core.sets.address import Address


def add_to(app: Group) -> None:
    """Add the command to the command line."""
    app.command()(login)


def login(
    file: Annotated[Path, Argument(metavar="FILE", help="Login file (TOML): [login] and [login.oidc].")],
    port: Annotated[int, Option(bounds=(0, 65535), help="Port to listen on; 0: any free one.")] = 8070,
    host: Annotated[str, Option(help="Address to listen on; a proxy in front of it speaks TLS.")] = "127.0.0.1",
) -> None:
    """Let people log in with an OpenID Connect provider, and hand them tickets, until SIGTERM."""
    require("login", "redrush login")
    from redrush.config.login_file import load_login_file
    from redrush.login.run import run_login

    terms = load_login_file(file)

    def announce(address: "Address", trouble: str | None) -> None:
        if trouble is not None:
            warn([f"{trouble}; people are asked to come again until it answers"])
        sys.stderr.write(f"login http://{address}, for browsers {terms.address}\n")
        sys.stderr.flush()
        sys.stdout.write("ready\n")
        sys.stdout.flush()

    run_login(terms, host, port, announce)
