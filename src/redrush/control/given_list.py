"""A list of users that a command is given: in a file, or by a pipe, which is kept while it is read several times."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from redrush.errors import ConfigError
from redrush.named_file import STDIN, is_kept, open_named

PIPED_BYTES_MAX: Final = 4 << 30
"""Some hundred million users: what is longer would fill the disk with what nobody has looked at."""

_PIECE_BYTES: Final = 1 << 20


@contextmanager
def given_list(path: Path) -> Iterator[tuple[Path, str]]:
    """Yield where the list is kept, and its name for sentences; `-` is standard input. What came by a pipe is in a
    temporary file until the end of the block. ConfigError if it cannot be read or kept."""
    name = "standard input" if path == STDIN else str(path)
    if is_kept(path):
        yield path, name
        return
    with NamedTemporaryFile(prefix="list-", suffix=".txt") as kept:
        try:
            with open_named(path, or_pipe=True) as given:
                while piece := given.read(_PIECE_BYTES):
                    if kept.tell() + len(piece) > PIPED_BYTES_MAX:
                        raise ConfigError(f"{name}: longer than {PIPED_BYTES_MAX >> 30} GB; give it as a file")
                    kept.write(piece)
            kept.flush()
        except OSError as fault:
            raise ConfigError(f"{name}: cannot be kept in {kept.name} while it is read: {fault.strerror}") from fault
        yield Path(kept.name), name
