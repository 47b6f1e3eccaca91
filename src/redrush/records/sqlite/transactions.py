"""A transaction of one of our SQLite files."""

from collections.abc import Iterator
from contextlib import contextmanager

import apsw


@contextmanager
def transaction(writer: apsw.Connection) -> Iterator[None]:
    """Change the file within: all of it, or nothing. Raises apsw.Error."""
    writer.execute("BEGIN IMMEDIATE")
    try:
        yield
        writer.execute("COMMIT")
    except BaseException:
        if writer.in_transaction:  # SQLite has already rolled back after some errors, such as a full disk
            writer.execute("ROLLBACK")
        raise
