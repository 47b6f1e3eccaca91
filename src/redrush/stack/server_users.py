"""The users of a stack's Valkey servers: a generated password each, and the lines that every server is given.

`valkey/gate.password` and so on in the stack's directory, 0600 in a directory of 0700. They are made at the first
start, also of a directory that an earlier version has left; no server is to be told by hand, for all are started anew.
"""

import importlib.resources
import secrets
from typing import Final

import msgspec

from redrush.config.deployment_file import Duty
from redrush.control.durable_file import write_durably
from redrush.errors import ConfigError
from redrush.stack.stack_dir import StackDir
from redrush.stores.valkey.link import Access

REPLICA: Final = "replica"
ADMIN: Final = "admin"
NAMES: Final = (*Duty, REPLICA, ADMIN)

PASSWORD_BYTES: Final = 24


class ServerUsers(msgspec.Struct, frozen=True):
    """The passwords, by name."""

    passwords: dict[str, str]

    @classmethod
    def of(cls, stack: StackDir) -> "ServerUsers":
        """Return those of the directory, which are made if they are not there. ConfigError if they cannot be."""
        try:
            stack.valkey.mkdir(mode=0o700, exist_ok=True)
            stack.valkey.chmod(0o700)
            return cls({name: _password(stack, name) for name in NAMES})
        except OSError as fault:
            raise ConfigError(f"{stack.valkey}: the servers' passwords cannot be kept: {fault.strerror}") from fault

    def access(self, name: str) -> Access:
        """Return how a user of this name is let in."""
        return Access(user_of(name), self.passwords[name])

    def lines(self) -> str:
        """Return what a server's configuration says of users."""
        text = importlib.resources.files(__package__).joinpath("users.conf").read_text(encoding="utf-8")
        for name, password in self.passwords.items():
            text = text.replace(f"change-the-{name}-password", password)
        return text


def user_of(name: str) -> str:
    """Return what the servers call the user of this name."""
    return f"redrush-{name}"


def _password(stack: StackDir, name: str) -> str:
    path = stack.password(name)
    if path.exists():
        path.chmod(0o600)
        if password := path.read_text(encoding="ascii").strip():
            return password
    password = secrets.token_hex(PASSWORD_BYTES)
    write_durably(path, password.encode())
    return password
