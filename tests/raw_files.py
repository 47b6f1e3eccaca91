"""Files as they are while SQLite has them open in this process, read by another one: closed by this one, SQLite would
lose its locks on them."""

import subprocess
from pathlib import Path
from typing import Final

SIMULATED: Final[set[str]] = set()
"""Paths of files on a simulated disk, which stands below SQLite: it opens them itself, and nobody else does."""


def bytes_in(*paths: Path) -> bytes:
    """Return what the files hold, one after the other."""
    return subprocess.run(["cat", *paths], check=True, capture_output=True, timeout=60).stdout


def copy_as_killed(directory: Path, to: Path) -> None:
    """Copy what a SIGKILL would leave now: every byte that was written."""
    subprocess.run(["cp", "-a", directory, to], check=True, timeout=60)
