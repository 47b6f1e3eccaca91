"""`redrush webhook-key`: a pair of keys with which webhooks are signed, and checked by whoever gets them."""

from pathlib import Path
from typing import Annotated

from redrush.cli.declaring import Group, Option
from redrush.cli.shared_options import JsonOption, show


def webhook_key(
    out: Annotated[Path, Option("--out", "-o", metavar="FILE", help="Where the key goes; must not exist yet.")],
    as_json: JsonOption = False,
) -> None:
    """Make an ed25519 pair: write what signs to a file for the payments file, print what the other side checks with."""
    from redrush.cli.new_file import check_new, write_new
    from redrush.extras import require

    require("payments", "redrush webhook-key")
    from redrush.providers.signing_ed25519 import new_pair

    check_new(out)
    signs, checks = new_pair()
    write_new(out, f"{signs}\n".encode())
    show({"file": str(out), "public": checks}, [f"wrote {out}; give this to whoever checks:", checks], as_json=as_json)


def add_to(app: Group) -> None:
    """Give the command line this command."""
    app.command("webhook-key")(webhook_key)
