"""Where a secret is, as files say it: `{ env = "NAME" }`, `{ file = "PATH" }` or `{ credential = "NAME" }`."""

import re
from pathlib import Path
from typing import Final

import msgspec

from redrush.config.secret import Secret
from redrush.config.toml_file import Wrong

_CREDENTIAL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
"""It becomes the name of a file in a directory that is systemd's: no way out of there."""


class SecretTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Such a table, as it is written."""

    env: str | None = None
    file: str | None = None
    credential: str | None = None


def secret_of(key: str, table: SecretTable, path: Path) -> Secret:
    """Return the secret of the table at `key` of the file `path`, which files are relative to. Raises Wrong."""
    if (table.env, table.file, table.credential).count(None) != 2:
        places = '{ env = "NAME" }, { file = "PATH" } or { credential = "NAME" }'
        raise Wrong(key, f"is found in one place; say where it is: {places}")
    if table.credential is not None and _CREDENTIAL.fullmatch(table.credential) is None:
        raise Wrong(key, f'"{table.credential}" is no name of a credential: letters, digits, ".", "-" and "_"')
    file = None if table.file is None else path.parent / table.file
    return Secret(f"{path}: {key}", env=table.env, file=file, credential=table.credential)
