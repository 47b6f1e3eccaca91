"""A file that a command makes once, with something in it that is told nobody twice. What is there is never replaced."""

import os
from pathlib import Path

from redrush.control.durable_file import create_durably
from redrush.errors import ConfigError


def check_new(path: Path) -> None:
    """ConfigError if something has this name, were it a link that leads nowhere."""
    if os.path.lexists(path):
        raise ConfigError(f"{path}: exists already; choose another file")


def write_new(path: Path, content: bytes) -> None:
    """Make the file, its owner's alone. ConfigError if it cannot be written, or somebody else has made it meanwhile."""
    try:
        is_ours = create_durably(path, content)
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be written: {fault.strerror}") from fault
    if not is_ours:
        raise ConfigError(f"{path}: exists already; choose another file")
