"""`redrush login-key`: keys with which the company's own login signs tickets."""

from pathlib import Path
from typing import Annotated

from redrush.cli.declaring import Argument, Group, Option
from redrush.cli.shared_options import show

login_key_app = Group(help="Keys with which a login of your own signs tickets.")

DataOption = Annotated[Path, Option("--data", metavar="DIR", help="Data directory of the event.")]
JsonOption = Annotated[bool, Option("--json", help="Print one JSON object instead of text.")]
IdArgument = Annotated[str, Argument(metavar="ID", help="1 to 16 letters, digits, - and _: begins each ticket.")]


@login_key_app.command("add")
def add(
    key_id: IdArgument,
    data: DataOption,
    out: Annotated[Path, Option("--out", "-o", metavar="FILE", help="Where the key goes; must not exist yet.")],
) -> None:
    """Make a key and write it to a file for the login. Servers know it from their next start on."""
    import base64

    import msgspec

    from redrush.cli.new_file import check_new, write_new
    from redrush.client.issue import LoginKeyFile
    from redrush.control.data_dir import DataDir
    from redrush.control.keys import add_login_key, remove_login_key
    from redrush.errors import ConfigError

    directory = DataDir(data)
    check_new(out)
    key = add_login_key(directory, key_id)
    content = LoginKeyFile(id=key_id, key=base64.b64encode(key).decode("ascii"))
    try:
        write_new(out, msgspec.json.format(msgspec.json.encode(content)))
    except ConfigError:
        remove_login_key(directory, key_id)
        raise
    show(
        {},
        [f"wrote {out}, which only the login may read; servers take its tickets from their next start on"],
        as_json=False,
    )


@login_key_app.command("list")
def list_keys(data: DataOption, as_json: JsonOption = False) -> None:
    """Name the login keys of the event."""
    from redrush.control.data_dir import DataDir
    from redrush.control.keys import load_keys

    ids = sorted(load_keys(DataDir(data)).tickets.logins)
    show({"login_keys": ids}, ids or ["none"], as_json=as_json)


@login_key_app.command("remove")
def remove(key_id: IdArgument, data: DataOption) -> None:
    """Forget a key: from the servers' next start on no ticket that was signed with it is good."""
    from redrush.control.data_dir import DataDir
    from redrush.control.keys import remove_login_key

    remove_login_key(DataDir(data), key_id)
    show({}, [f"{key_id} is removed; servers refuse its tickets from their next start on"], as_json=False)
