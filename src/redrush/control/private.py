"""Files that are nobody else's business: made so, also where an earlier version or a copy left them open to others."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

FILE: Final = 0o600
DIRECTORY: Final = 0o700
UMASK: Final = 0o077


def make_private(paths: Iterable[Path]) -> None:
    """Let only their owner read and write these, as far as they exist and are ours. Symbolic links are left alone."""
    for path in paths:
        if path.is_symlink() or not path.exists() or path.stat().st_uid != os.geteuid():
            continue
        path.chmod(DIRECTORY if path.is_dir() else FILE)
