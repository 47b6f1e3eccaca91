"""One connection to PostgreSQL that comes back: made when it is needed, dropped when it broke, made again.

Every fault of the server or of the way to it is RecordsFailed, and worth another try: a server that restarts, fails
over or fills up is normal life of the records, and the log waits. What a database refuses because the *data* are wrong
is RecordsConflict, and no try will help.

A server that is stopped, or whose disk hangs, keeps its sockets open and says nothing. No setting of the server helps
then, and none of TCP, for its kernel still acknowledges; so every wait for an answer ends here, on our side, with the
connection: what comes later would answer the wrong question. Whether it still did what it was asked is unknown then.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar, cast

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.waiting import Ready

from redrush.errors import ConfigError
from redrush.ports.records import RecordsConflict, RecordsFailed, RecordsLate

Cursor = psycopg.Cursor[tuple[Any, ...]]

CONNECT_MAX_S: Final = 5

ANSWER_MAX_S: Final = 10.0
"""For one statement, or one stretch of a COPY. A slice of the log takes some tenths of a second, its fsync included;
what has lasted this long will last, and whoever waits should say so."""

SILENCE_MAX_S: Final = 25
"""A server whose machine is gone says nothing: without a sign of life for this long the connection is given up."""

PROBE_S: Final = 5

_T = TypeVar("_T")


class Unanswered(psycopg.OperationalError):
    """The server did not answer in time; the connection is closed."""


class ImpatientConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that is given up when the server says nothing for `silence_max_s` while it is waited for."""

    silence_max_s = ANSWER_MAX_S

    @contextmanager
    def patient(self, silence_max_s: float) -> Iterator[None]:
        """Let the block's statements have more time than others."""
        usual_s, self.silence_max_s = self.silence_max_s, silence_max_s
        try:
            yield
        finally:
            self.silence_max_s = usual_s

    def wait(self, gen: PQGen[_T], *arguments: Any, **options: Any) -> _T:
        """Everything that waits for the server comes through here. Raises Unanswered."""
        try:
            return super().wait(_until_silent(gen, self.silence_max_s), *arguments, **options)
        except Unanswered:
            self.pgconn.finish()
            raise


def _until_silent(gen: PQGen[_T], silence_max_s: float) -> PQGen[_T]:
    """Yield and return what `gen` does, which is resumed several times a second even if there is nothing to read."""
    until_s = time.monotonic() + silence_max_s
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            now_s = time.monotonic()
            if ready != Ready.NONE:
                until_s = now_s + silence_max_s
            elif now_s >= until_s:
                raise Unanswered(f"no answer within {silence_max_s:g} s")
            wanted = gen.send(ready)
    except StopIteration as end:
        return cast(_T, end.value)


class Link:
    """See the module. Calls may come from any thread and take turns."""

    def __init__(
        self, dsn: str, greet: Callable[[psycopg.Connection[Any]], None], answer_max_s: float = ANSWER_MAX_S
    ) -> None:
        """Connects to nothing yet. `greet` is called with each new connection, in autocommit, before its first use."""
        self._dsn = dsn
        self._greet = greet
        self._answer_max_s = answer_max_s
        self._name = name_of(dsn)
        self._lock = threading.Lock()
        self._connection: ImpatientConnection | None = None
        self._closed = False

    @property
    def name(self) -> str:
        """Which database it is, for people; no secret in it."""
        return self._name

    def another(self) -> "Link":
        """Return a link to the same database, with a connection of its own."""
        return Link(self._dsn, self._greet, self._answer_max_s)

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """Run the block in one transaction, committed at its end; anything raised in it rolls everything back.

        Raises RecordsFailed (also when the fate of the commit is unknown), of that RecordsLate when no answer came in
        time, RecordsConflict, ConfigError.
        """
        with self._lock, failures(self._name):
            connection = self._connected()
            try:
                with connection.transaction(), connection.cursor() as cursor:
                    yield cursor
            except psycopg.Error:
                # A connection in doubt is not used again; one that merely refused wrong data is rebuilt soon enough.
                self._drop()
                raise

    @contextmanager
    def reading(self, name: str, fetched_rows: int) -> Iterator[Cursor]:
        """Run the block in one transaction with a cursor that fetches a large result `fetched_rows` at a time."""
        with self.transaction() as cursor, cursor.connection.cursor(name) as named:
            named.itersize = fetched_rows
            yield named

    def close(self) -> None:
        """Close the connection; later calls raise RecordsFailed. Waits for a call under way."""
        with self._lock:
            self._closed = True
            self._drop()

    def _connected(self) -> psycopg.Connection[Any]:
        if self._closed:
            raise RecordsFailed(f"{self._name}: these records were closed")
        if self._connection is None:
            # prepare_threshold: a pooler between us and the server may give each transaction another session.
            connection = ImpatientConnection.connect(
                self._dsn,
                autocommit=True,
                prepare_threshold=None,
                connect_timeout=min(CONNECT_MAX_S, math.ceil(self._answer_max_s)),
                client_encoding="utf8",
                keepalives_idle=PROBE_S,
                keepalives_interval=PROBE_S,
                keepalives_count=SILENCE_MAX_S // PROBE_S - 1,
                tcp_user_timeout=SILENCE_MAX_S * 1_000,
            )
            connection.silence_max_s = self._answer_max_s
            try:
                self._greet(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


_LATE: Final = (Unanswered, psycopg.errors.ConnectionTimeout, psycopg.errors.QueryCanceled)


@contextmanager
def failures(name: str) -> Iterator[None]:
    """Tell apart what PostgreSQL raises: wrong data, and everything else, which may be tried again."""
    try:
        yield
    except (psycopg.IntegrityError, psycopg.DataError) as error:
        raise RecordsConflict(
            f"{name} contradicts the log ({_one_line(error)}): do these records belong to another event?"
        ) from error
    except _LATE as error:
        raise RecordsLate(f"{name}: {_one_line(error)}{_next_step(error)}") from error
    except psycopg.Error as error:
        raise RecordsFailed(f"{name}: {_one_line(error)}{_next_step(error)}") from error


def name_of(dsn: str) -> str:
    """Return host, port and database of a DSN, for people. Raises ConfigError if it is none."""
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise ConfigError("the address of the records is not a PostgreSQL DSN") from None  # it may hold a password
    place = f"{parts.get('host', 'local socket')}:{parts.get('port', 5432)}"
    return f"PostgreSQL {place}/{parts.get('dbname', '')}"


_STOPPED: Final = "57P"
"""So the codes of a server begin that stops, has crashed, or is not up yet; one that is not there tells none."""


def _next_step(error: psycopg.Error) -> str:
    """Return what to do about a server that is away, to stand behind what was said of it; "" for one that answered."""
    if not isinstance(error, psycopg.OperationalError) or not (error.sqlstate or _STOPPED).startswith(_STOPPED):
        return ""
    return "; start it, or correct its address, and do this again: what waits for it is kept"


def _one_line(error: psycopg.Error) -> str:
    return " ".join(str(error).split()) or type(error).__name__
