"""Whether the files of a journal are still those that this process writes.

A file that was deleted or moved away can be written on: nothing fails, and nothing of it is there after the restart. So
its name is looked up now and then. What another process writes *into* the file is not seen here but by the
fingerprints, at the next start.
"""

import os
from pathlib import Path
from typing import Final

GUARD_S: Final = 0.5
"""How often somebody looks: so much may be granted on a file that is gone, and is told of then."""

NEXT: Final = "start the server again: it says what is left, and what to do"


class Guard:
    """Looks after the journal at `path`, which is open by now, and what SQLite keeps beside it."""

    def __init__(self, path: Path) -> None:
        self._files = [path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm"))]
        self._files = [Path(os.path.abspath(file)) for file in self._files]
        self._seen: dict[Path, tuple[int, int]] = {}

    def look(self) -> str | None:
        """Return what happened to one of the files, None while all are in their places."""
        for file in self._files:
            known = self._seen.get(file)
            try:
                found = os.stat(file)
            except FileNotFoundError:
                if known is not None:
                    return f"{file} was deleted or moved away while it was in use; {NEXT}"
                continue
            except OSError as fault:
                return f"{file} cannot be looked at any more: {fault.strerror}"
            if known is None:
                self._seen[file] = (found.st_dev, found.st_ino)
            elif known != (found.st_dev, found.st_ino):
                return f"{file} was replaced by another file while it was in use; {NEXT}"
        return None
