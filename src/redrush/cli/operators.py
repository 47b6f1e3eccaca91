"""`redrush operator`: who may steer an event under a name of their own."""

import sys
from pathlib import Path
from typing import Annotated

from redrush.cli.declaring import Argument, Group, Option
from redrush.cli.shared_options import JsonOption, show

operator_app = Group(help="Operators with names and tokens of their own.")

DataOption = Annotated[Path, Option("--data", metavar="DIR", help="Data directory of the event.")]
NameArgument = Annotated[str, Argument(metavar="NAME", help="Letters, digits, - and _: as the log will say it.")]


@operator_app.command("add")
def add(
    name: NameArgument,
    data: DataOption,
    out: Annotated[
        Path | None, Option("--out", "-o", metavar="FILE", help="Where the token goes; printed by default.")
    ] = None,
    lasts: Annotated[
        str | None, Option("--lasts", metavar="TIME", help="How long it is good: 12h, 30d. For ever by default.")
    ] = None,
) -> None:
    """Give an operator a token, which is told now and never again. A running server takes it at once."""
    from redrush.cli.new_file import check_new, write_new
    from redrush.config.toml_file import Wrong, check_id
    from redrush.control.data_dir import DataDir
    from redrush.control.operators import add_operator, remove_operator
    from redrush.core.rush.durations import parse_duration_us
    from redrush.errors import ConfigError
    from redrush.wiring.clock import system_clock

    directory = DataDir(data)
    directory.require()
    try:
        check_id("NAME", name)
        lasts_s = None if lasts is None else parse_duration_us(lasts) // 1_000_000
    except (Wrong, ValueError) as fault:
        raise ConfigError(f"operator {name}: {fault}") from None
    if out is not None:
        check_new(out)
    token = add_operator(directory, name, system_clock().now_us() // 1_000_000, lasts_s)
    if out is None:
        sys.stdout.write(f"{token}\n")
        return
    try:
        write_new(out, f"{token}\n".encode("ascii"))
    except ConfigError:
        remove_operator(directory, name)
        raise
    show({}, [f"wrote {out}; use it with --token {out}, or as REDRUSH_TOKEN_FILE"], as_json=False)


@operator_app.command("list")
def list_operators(data: DataOption, as_json: JsonOption = False) -> None:
    """Show who has a token, until when it is good, and when it was used last."""
    from redrush.config import load_deployment_file
    from redrush.control.data_dir import DataDir
    from redrush.control.operators import EVENTS_OWN, last_used, load_operators
    from redrush.core.rush.instants import rfc3339_s
    from redrush.wiring.clock import system_clock

    directory = DataDir(data)
    directory.require()
    noted_in = directory
    if directory.deployment.exists():
        noted_in = DataDir(load_deployment_file(directory.deployment).control.notes)
    used, now_s = last_used(noted_in), system_clock().now_us() // 1_000_000
    rows = [
        {
            "name": one.name,
            "created_at": rfc3339_s(one.created_s),
            "expires_at": None if one.expires_s is None else rfc3339_s(one.expires_s),
            "expired": one.expires_s is not None and one.expires_s <= now_s,
            "last_used_at": used.get(one.name),
        }
        for one in load_operators(directory)
    ]
    lines = [f"{EVENTS_OWN}: the event's own token, {directory.control_token}"]
    for row in rows:
        until = "for ever" if row["expires_at"] is None else f"until {row['expires_at']}"
        until = f"{until} (over)" if row["expired"] else until
        lines.append(f"{row['name']}: since {row['created_at']}, {until}, last used {row['last_used_at'] or 'never'}")
    show({"operators": rows}, lines, as_json=as_json)


@operator_app.command("remove")
def remove(name: NameArgument, data: DataOption) -> None:
    """Take an operator's token back: a running server refuses it from the next request on."""
    from redrush.control.data_dir import DataDir
    from redrush.control.operators import remove_operator

    remove_operator(DataDir(data), name)
    show({}, [f"{name}: has no token any more"], as_json=False)
