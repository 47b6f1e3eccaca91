"""`redrush console` and `redrush user`: the operators' pages, and who may log in to them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from redrush.cli.declaring import Argument, Group, Option
from redrush.cli.shared_options import DataOption, DeployOption, JsonOption, TokenOption, WhoOption, holder_of, show
from redrush.errors import ConfigError
from redrush.extras import require

if TYPE_CHECKING:
    import asyncio

    from redrush.api.account_changes import AccountChanges, By
    from redrush.control.data_dir import DataDir
    from redrush.core.sets.address import Address

user_app = Group(help="Who may log in to the console.")

NameArgument = Annotated[str, Argument(metavar="NAME", help="Letters, digits, - and _: as the log will say it.")]
RoleArgument = Annotated[str, Argument(metavar="ROLE", help="viewer, operator or admin.")]


def add_to(app: Group) -> None:
    """Add the commands to the command line."""
    app.command()(console)
    app.add_group(user_app, "user")


def console(  # noqa: PLR0913, PLR0917 - options of one command
    data: DataOption = None,
    deploy: DeployOption = None,
    port: Annotated[int, Option(bounds=(0, 65535), help="Port of the pages; 0: any free one.")] = 8090,
    host: Annotated[str, Option(help="Address to listen on; any but loopback needs TLS.")] = "127.0.0.1",
    name: Annotated[
        list[str] | None, Option(metavar="NAME", help="A name under which it answers besides; several times.")
    ] = None,
    cert: Annotated[Path | None, Option(metavar="FILE", help="Certificate (PEM): it speaks TLS.")] = None,
    key: Annotated[Path | None, Option(metavar="FILE", help="The certificate's key (PEM).")] = None,
    behind_tls: Annotated[bool, Option("--behind-tls", help="A proxy in front of it speaks TLS.")] = False,
    payments: Annotated[
        Path | None, Option(metavar="FILE", help="Who moves money (TOML), to compare bills and reissue.")
    ] = None,
    login: Annotated[
        Path | None, Option(metavar="FILE", help="A provider (OpenID Connect) that says who somebody is.")
    ] = None,
) -> None:
    """Run the operators' pages and the admin API, until SIGTERM. An event goes on without it, and notices nothing."""
    require("console", "redrush console")
    from redrush.console.run import ConsoleOptions, run_console

    options = ConsoleOptions(
        host=host,
        port=port,
        names=tuple(name or ()),
        cert=cert,
        key=key,
        behind_tls=behind_tls,
        payments=payments,
        login=login,
    )

    def announce(address: "Address", password: str | None) -> None:
        scheme = "http" if cert is None else "https"
        if password is not None:
            _tell(password)
        sys.stderr.write(f"console {scheme}://{address}\n")
        sys.stderr.flush()
        sys.stdout.write("ready\n")
        sys.stdout.flush()

    run_console(_directory(data, deploy), deploy, options, announce)


def control_port_beside(port: int | None, control_port: int | None) -> int | None:
    """Return the control port of a server beside which a console runs on `port`, which asks it: any, if none is given.
    `port` None: no console runs. ConfigError, with what installs it, if there is none to run."""
    if port is None:
        return control_port
    require("console", "a server with --console-port")
    return 0 if control_port is None else control_port


def tell_first_admin(data_dir: "DataDir", port: int | None) -> None:
    """Make the first account of a directory if there is none, and tell its password: a child could tell it only to its
    log. `port` as above."""
    if port is None:
        return
    from redrush.api.desk import account_changes_of, first_admin
    from redrush.wiring.clock import system_clock

    now_us = system_clock().now_us
    password = first_admin(account_changes_of(data_dir, now_us), now_us() // 1_000_000)
    if password is not None:
        _tell(password)


def begin_beside(data: Path, port: int | None, payments: Path | None) -> None:
    """Keep the console of a directory running beside the server of this loop, which has this payments file. `port` as
    above."""
    if port is None:
        return
    from redrush.processes.console_child import console_child, keep_beside
    from redrush.watch.log import server_log

    _KEPT.extend(keep_beside(console_child(data, port, payments), data, server_log()))
    sys.stderr.write(f"console http://127.0.0.1:{port}\n")


_KEPT: "list[asyncio.Task[None]]" = []
"""What keeps consoles running: a loop holds its tasks by weak references."""


def _tell(password: str) -> None:
    sys.stderr.write(f"first account of the console, told only now: name admin, password {password}\n")


def _directory(data: Path | None, deploy: Path | None) -> "DataDir":
    from redrush.config import load_deployment_file
    from redrush.control.data_dir import DataDir

    if (data is None) == (deploy is None):
        raise ConfigError("say which event: --data DIR on the machine where it runs, or --deploy FILE from elsewhere")
    return DataDir(data) if data is not None else DataDir(load_deployment_file(Path(str(deploy))).data)


def _event(data: Path | None, deploy: Path | None) -> "DataDir":
    """Return the directory of the event. ConfigError if there is none in it."""
    require("console", "redrush user")
    directory = _directory(data, deploy)
    directory.require()
    return directory


def _changes(
    data: Path | None, deploy: Path | None, who: str | None, token: Path | None
) -> "tuple[AccountChanges, By]":
    """Return the accounts, to be changed, and by whom they are."""
    from redrush.api.account_changes import By
    from redrush.api.desk import account_changes_of
    from redrush.operate.switching import name_of
    from redrush.wiring.clock import system_clock

    directory, holder = _event(data, deploy), holder_of(who, token)
    return account_changes_of(directory, system_clock().now_us), By(name_of(directory, holder), holder.said)


def _password() -> tuple[str, str]:
    """Return a new password, and its hash."""
    from redrush.api.passwords import hash_password, new_password

    password = new_password()
    return password, hash_password(password)


def _role(text: str) -> str:
    from redrush.api.accounts import Role

    if text not in list(Role):
        raise ConfigError(f'"{text}" is no role; there are {", ".join(Role)}')
    return text


@user_app.command("add")
def add(
    name: NameArgument,
    role: Annotated[str, Option(help="viewer, operator or admin.")] = "operator",
    data: DataOption = None,
    deploy: DeployOption = None,
    who: WhoOption = None,
    token: TokenOption = None,
) -> None:
    """Give somebody an account; prints the password, which is told now and never again."""
    from redrush.api.accounts import Role
    from redrush.wiring.clock import system_clock

    wanted = Role(_role(role))
    changes, by = _changes(data, deploy, who, token)
    password, hashed = _password()
    changes.add(by, name, wanted, hashed, system_clock().now_us() // 1_000_000)
    sys.stdout.write(f"{password}\n")


@user_app.command("list")
def list_users(data: DataOption = None, deploy: DeployOption = None, as_json: JsonOption = False) -> None:
    """Show who has an account, and the API keys."""
    from redrush.api.desk import accounts_of
    from redrush.core.rush.instants import rfc3339_s

    accounts = accounts_of(_event(data, deploy))
    people = [
        {
            "name": one.name,
            "role": str(one.role),
            "created_at": rfc3339_s(one.created_s),
            "second_factor": one.totp is not None,
        }
        for one in accounts.people
    ]
    keys = [
        {
            "id": one.id,
            "owner": one.owner,
            "role": str(one.role),
            "note": one.note,
            "expires_at": None if one.expires_s is None else rfc3339_s(one.expires_s),
        }
        for one in accounts.keys
    ]
    lines = [f"{one['name']}: {one['role']}, since {one['created_at']}" for one in people] or ["nobody has an account"]
    lines += [f"key {one['id']} of {one['owner']}: {one['role']}, until {one['expires_at'] or 'ever'}" for one in keys]
    show({"people": people, "keys": keys}, lines, as_json=as_json)


@user_app.command("role")
def change_role(
    name: NameArgument,
    role: RoleArgument,
    data: DataOption = None,
    deploy: DeployOption = None,
    who: WhoOption = None,
    token: TokenOption = None,
) -> None:
    """Give somebody another role. A running console follows at once."""
    from redrush.api.accounts import Role

    wanted = Role(_role(role))
    changes, by = _changes(data, deploy, who, token)
    changes.change_role(by, name, wanted)
    show({}, [f"{name} is {role}"], as_json=False)


@user_app.command("reset")
def reset(
    name: NameArgument,
    keep_keys: Annotated[bool, Option("--keep-keys", help="Their API keys go on being good.")] = False,
    data: DataOption = None,
    deploy: DeployOption = None,
    who: WhoOption = None,
    token: TokenOption = None,
) -> None:
    """Give somebody a new password, which is printed now and never again; their second factor, sessions and API keys
    are good no more."""
    changes, by = _changes(data, deploy, who, token)
    password, hashed = _password()
    for key in changes.reset(by, name, hashed, keep_keys=keep_keys):
        sys.stderr.write(f"key {key.id} ({key.note or key.role}) is {'kept' if keep_keys else 'good no more'}\n")
    sys.stdout.write(f"{password}\n")


@user_app.command("remove")
def remove(
    name: NameArgument,
    data: DataOption = None,
    deploy: DeployOption = None,
    who: WhoOption = None,
    token: TokenOption = None,
) -> None:
    """Remove somebody with their keys. A running console refuses them from the next request on."""
    changes, by = _changes(data, deploy, who, token)
    changes.remove(by, name)
    show({}, [f"{name} has no account any more"], as_json=False)
