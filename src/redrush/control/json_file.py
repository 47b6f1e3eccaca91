"""A small JSON file of a directory: read, or what holds where there is none; and kept anew, whole."""

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from redrush.control.durable_file import write_durably
from redrush.errors import ConfigError

_Kept = TypeVar("_Kept")


def load_json(path: Path, kind: Any, default: _Kept, meaning: str) -> _Kept:
    """Return what the file says, of type `kind`; `default` if there is no such file.

    ConfigError if it cannot be read, or is not `meaning`, a noun with its article.
    """
    try:
        kept: _Kept = msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return default
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from fault
    except ValueError as fault:
        raise ConfigError(f"{path}: is not {meaning}: {fault}") from fault
    return kept


def keep_json(path: Path, kept: object, undone: str = "") -> None:
    """Put this in the file in place of what is there. ConfigError if the disk refuses, which says what was `undone` by
    that, as ", nothing was signed"."""
    try:
        write_durably(path, msgspec.json.format(msgspec.json.encode(kept)))
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be written{undone}: {fault.strerror}") from fault
