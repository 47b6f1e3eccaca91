"""Books that must not be begun anew: a mark beside one says that it was in use, for the case that it is gone.

A book that is gone and begun anew would not know whom it has paid, or told, and would do it once more.
"""

from pathlib import Path

from redrush.control.durable_file import write_durably
from redrush.errors import ConfigError


def check_marked(book: Path, mark: Path, *, begins: bool, what: str, remedy: str) -> None:
    """Raise ConfigError if the book is gone from a directory where it was in use. `begins`: it is in use from now on,
    and that is written down; `what` was done by it, as "people were paid"; `remedy` is what to do."""
    if mark.exists() and not book.exists():
        raise ConfigError(f"{book}: is gone, and {what} from here; {remedy}, and delete {mark.name}")
    if begins and not mark.exists():
        write_durably(mark, f"{what} from this directory: {book.name} must not be begun anew\n".encode())
