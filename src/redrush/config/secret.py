"""Where a secret is that a deployment file names and does not hold."""

import os
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path

import msgspec

from redrush.errors import ConfigError
from redrush.named_file import open_named

SECRET_CHARACTERS_MAX = 64_000
"""Of a file, with the white space around the secret: a longer one is refused, for a part of it is another secret."""


class Secret(msgspec.Struct, frozen=True):
    """A text that is not in the deployment file: in a variable of the environment, in a file, or in a credential that
    systemd hands to the unit (LoadCredential=). Read when needed."""

    where: str
    """For errors: which key of which file asks for it."""
    text: str | None = None
    env: str | None = None
    file: Path | None = None
    credential: str | None = None

    def read(self) -> str:
        """Return the secret, without the white space around it, or a byte order mark before it. ConfigError if it is
        not where it should be, or is too long to be one."""
        if self.text is not None:
            return self.text
        if self.env is not None:
            if not (found := os.environ.get(self.env, "").strip()):
                raise ConfigError(f"{self.where}: the environment has no variable {self.env}")
            return found
        path = self._path()
        try:
            with TextIOWrapper(open_named(path), encoding="utf-8-sig") as file:
                found = file.read(SECRET_CHARACTERS_MAX + 1)
        except OSError as fault:
            raise ConfigError(f"{self.where}: {path} cannot be read: {fault.strerror}") from fault
        except UnicodeDecodeError as fault:
            raise ConfigError(f"{self.where}: {path} is not UTF-8 text (byte {fault.start})") from fault
        except ValueError as fault:
            raise ConfigError(f"{self.where}: {str(path)!r} is no path of a file: {fault}") from fault
        if len(found) > SECRET_CHARACTERS_MAX:
            raise ConfigError(
                f"{self.where}: {path} has more than {SECRET_CHARACTERS_MAX:,} characters: that is no secret"
            )
        if not (found := found.strip()):
            raise ConfigError(f"{self.where}: {path} is empty")
        return found

    def read_as(self, what: Callable[[str], object]) -> str:
        """Return the secret. `what` raises ConfigError where it is none of its kind, which says where it is from, too.
        ConfigError as `read`."""
        found = self.read()
        try:
            what(found)
        except ConfigError as fault:
            raise ConfigError(f"{self.where}: {fault}") from None
        return found

    def _path(self) -> Path:
        if self.file is not None:
            return self.file
        assert self.credential is not None
        if not (directory := os.environ.get("CREDENTIALS_DIRECTORY")):
            raise ConfigError(
                f"{self.where}: no credentials were handed to this process; start it by a systemd unit with "
                f"LoadCredential={self.credential}:PATH, or set CREDENTIALS_DIRECTORY to where {self.credential} is"
            )
        return Path(directory, self.credential)
