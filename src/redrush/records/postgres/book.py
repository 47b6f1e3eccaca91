"""What the books in PostgreSQL (bills, packets between people, orders of sales) open and ask alike."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec
import psycopg

from redrush.errors import ConfigError, RedrushError
from redrush.records.postgres.greeting import PACKAGE, reading, writing
from redrush.records.postgres.link import Cursor
from redrush.records.postgres.migrations import Tell
from redrush.sqlfiles import load_statements

_T = TypeVar("_T")


class PostgresBook:
    """A connection that writes, another that reads, and the statements of one book. Calls may come from any thread;
    reads wait for no write. ConfigError for a database that cannot be used."""

    def __init__(self, package: str, dsn: str, named: Mapping[str, Any], tell: Tell, *, as_it_is: bool) -> None:
        """Connects to nothing yet. The statements are in `queries.sql` of the package; each is given `named`.
        `as_it_is`: for a command, which leaves the tables of the version that they are of."""
        self._sql = {name: text.encode() for name, text in load_statements(package, "queries.sql").items()}
        self._named = named
        self._writer = writing(dsn, tell=tell, also=_by_index, as_it_is=as_it_is)
        self._reader = reading(dsn, tell=tell, also=_by_index, as_it_is=as_it_is)

    def close(self) -> None:
        """Close both connections; later calls raise what a server that is gone raises."""
        self._writer.close()
        self._reader.close()

    def _run(self, at: Cursor, query: str, /, **values: Any) -> Cursor:
        return at.execute(self._sql[query], {**self._named, **values})


def _by_index(connection: psycopg.Connection[Any]) -> None:
    connection.execute(load_statements(PACKAGE, "book.sql")["by_index"].encode())


@contextmanager
def failing_as(failed: Callable[[str], RedrushError]) -> Iterator[None]:
    """Raise `failed` for a fault of the database, in its words; ConfigError stays what it is."""
    try:
        yield
    except ConfigError:
        raise
    except RedrushError as fault:
        raise failed(str(fault)) from fault


def json_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as a statement takes them, many at a time."""
    return msgspec.json.encode(rows).decode()


def one_each(things: Sequence[_T], key: Callable[[_T], Hashable]) -> Iterator[list[_T]]:
    """Yield the things in batches in which none has the key of another, in their order: a statement that changes rows
    changes each once."""
    rest = things
    while rest:
        batch: dict[Hashable, _T] = {}
        later = []
        for one in rest:
            if key(one) in batch:
                later.append(one)
            else:
                batch[key(one)] = one
        yield list(batch.values())
        rest = later
