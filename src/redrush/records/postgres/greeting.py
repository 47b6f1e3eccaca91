"""How connections to the records' database begin: those that write, and those that only read."""

from collections.abc import Callable
from typing import Any, Final

import psycopg

from redrush.core.nobody import ignore
from redrush.errors import ConfigError
from redrush.ports.records import RecordsFailed
from redrush.records.postgres.link import ANSWER_MAX_S, Link, name_of
from redrush.records.postgres.migrations import Tell, check_known, leave_as_it_is, migrate
from redrush.sqlfiles import load_statements

ABANDONED_S: Final = 30
"""A transaction whose process says nothing for this long is ended by the server: a recorder whose machine is gone must
not keep the lock on its log's cursor from its successor. Between two statements of a slice lie milliseconds."""

QUERY_MAX_S: Final = 60.0
"""Longest a read may take: `totals` reads every grant. Whoever serves people gives less."""

QUERY_GRACE_S: Final = 0.5
"""So much longer than the server gives itself a read is waited for: a server that lives gets to say it."""

PACKAGE: Final = "redrush.records.postgres"


Greet = Callable[[psycopg.Connection[Any]], object]
"""What else is said to a new connection."""


def refuse_newer(dsn: str) -> None:
    """Raise NewerVersion if the records and books there are of a version that this redrush does not know, RecordsFailed
    if that cannot be found out. Nothing is changed."""
    link = Link(dsn, lambda connection: check_known(connection, name_of(dsn)))
    try:
        with link.transaction():
            pass  # to connect is to be greeted
    finally:
        link.close()


def writing(
    dsn: str,
    answer_max_s: float = ANSWER_MAX_S,
    tell: Tell = ignore,
    also: Greet = ignore,
    *,
    as_it_is: bool = False,
) -> Link:
    """Return a link whose commits are durable when they return. Connects to nothing yet.

    A server without fsync, or of another encoding, is refused with ConfigError. The schema is made, or brought to this
    version, with the first connection; `tell` hears how far that is. `as_it_is`: one of before is refused instead.
    """
    sql, name = load_statements(PACKAGE, "queries.sql"), name_of(dsn)

    def greet(connection: psycopg.Connection[Any]) -> None:
        row = connection.execute(sql["conditions"].encode()).fetchone()
        assert row is not None
        fsync, encoding, in_recovery = row
        if fsync != "on":
            raise ConfigError(f"{name} runs with fsync={fsync}: what it commits may be lost; set it on")
        if encoding != "UTF8":
            raise ConfigError(f"{name} has the encoding {encoding}; redrush needs UTF8")
        if in_recovery:
            raise RecordsFailed(f"{name} is a standby now: nothing can be recorded there")
        connection.execute(sql["commit_durably"].encode())
        connection.execute(sql["say_recorder"].encode())
        connection.execute(sql["end_abandoned"].encode(), {"milliseconds": str(ABANDONED_S * 1_000)})
        (leave_as_it_is if as_it_is else migrate)(connection, name, tell)
        also(connection)

    return Link(dsn, greet, answer_max_s)


def reading(
    dsn: str,
    query_max_s: float = QUERY_MAX_S,
    tell: Tell = ignore,
    also: Greet = ignore,
    *,
    as_it_is: bool = False,
) -> Link:
    """Return a link that cannot write. No statement takes longer than `query_max_s`, which the server holds too.
    Connects to nothing yet; the schema is made as by `writing`."""
    sql, name = load_statements(PACKAGE, "queries.sql"), name_of(dsn)

    def greet(connection: psycopg.Connection[Any]) -> None:
        (leave_as_it_is if as_it_is else migrate)(connection, name, tell)
        connection.execute(sql["bound_statements"].encode(), {"milliseconds": str(int(query_max_s * 1_000))})
        also(connection)

    return Link(dsn, greet, query_max_s + QUERY_GRACE_S)
