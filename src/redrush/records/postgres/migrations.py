"""The schema, made step by step: `migrations/0001_….sql`, `0002_….sql`, each applied once, in order, all or none.

A fresh database goes through the same steps as an old one, so there is no second description that could differ.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Final

import psycopg

from redrush.core.nobody import ignore
from redrush.errors import ConfigError, NewerVersion
from redrush.records.postgres.link import ImpatientConnection
from redrush.sqlfiles import load_numbered, load_statements

STEP_MAX_S: Final = 600.0
"""For one step, or for waiting while another process makes it: it may build an index of an old event's every grant. One
that was given up would be made anew from its beginning, again and again."""


Tell = Callable[[str], object]


def migrations() -> list[str]:
    """Return the scripts in order; the k-th brings a database from version k to k + 1."""
    return list(load_numbered(__package__).values())


def migrate(
    connection: psycopg.Connection[Any], name: str, tell: Tell = ignore, *, version_max: int | None = None
) -> None:
    """Bring the database up to the newest version, or to `version_max`. Several processes may do so at once.

    `tell` hears how far a step is that has much to move; each such word is a sign of life, too.

    Where it is already, nothing is done and no right to change anything is needed. Raises NewerVersion if it is newer
    than this redrush knows.
    """
    sql = load_statements(__package__, "queries.sql")
    scripts = migrations()
    target = len(scripts) if version_max is None else version_max
    if _version(connection, sql) == target:
        return
    patience = connection.patient(STEP_MAX_S) if isinstance(connection, ImpatientConnection) else nullcontext()
    with patience, _notices_told(connection, name, tell), connection.transaction():
        connection.execute(sql["lock_migrations"])
        connection.execute(sql["say_recorder"])
        version = _version(connection, sql)
        _check_known(version, name)
        if not _asks(connection, sql["version_table_exists"]):
            connection.execute(sql["create_version_table"])
        for number in range(version, target):
            connection.execute(scripts[number].encode())
            connection.execute(sql["record_version"], {"version": number + 1})


def check_known(connection: psycopg.Connection[Any], name: str) -> None:
    """Raise NewerVersion if the database is newer than this redrush knows. Changes nothing."""
    _check_known(_version(connection, load_statements(__package__, "queries.sql")), name)


def _check_known(version: int, name: str) -> None:
    newest = len(migrations())
    if version > newest:
        raise NewerVersion(
            f"{name} has records of version {version}, this redrush knows {newest}: use the redrush that wrote them, "
            "or a newer one"
        )


def leave_as_it_is(connection: psycopg.Connection[Any], name: str, tell: Tell = ignore) -> None:
    """For commands: do nothing to a database that processes of the redrush before may use, but raise ConfigError if it
    is not of this version. One that nobody has used yet is made as by `migrate`."""
    version, newest = _version(connection, load_statements(__package__, "queries.sql")), len(migrations())
    if 0 < version < newest:
        raise ConfigError(
            f"{name} has records of version {version}, this redrush reads version {newest}: start the stack, or its "
            "roles, by this redrush first, which brings them there; nothing was changed"
        )
    migrate(connection, name, tell)


@contextmanager
def _notices_told(connection: psycopg.Connection[Any], name: str, tell: Tell) -> Iterator[None]:
    def hear(diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "NOTICE":
            tell(f"{name}: the records are brought to this version: {diagnostic.message_primary}")

    connection.add_notice_handler(hear)
    try:
        yield
    finally:
        connection.remove_notice_handler(hear)


def _version(connection: psycopg.Connection[Any], sql: dict[str, str]) -> int:
    return int(_asks(connection, sql["version"])) if _asks(connection, sql["version_table_exists"]) else 0


def _asks(connection: psycopg.Connection[Any], query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]
