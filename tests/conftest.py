"""What many tests share: a loop for tests that are coroutines, and servers.

A server starts when the first test asks for it, and ends with the session.
"""

import asyncio
import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import hypothesis
import psycopg
import pytest
import uvloop

from redrush.processes.loopback import free_port
from redrush.processes.postgres_server import PostgresServer
from tests.raw_files import SIMULATED

# An example is right or wrong however long the machine takes for it: what may take how long is judged in benchmarks.
hypothesis.settings.register_profile("redrush", deadline=None)
hypothesis.settings.load_profile("redrush")


def _keep_locks(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse to open what SQLite has open in this process, but for SQLite itself, which opens it unheard.

    The locks of a file are the process's. Who closes the file a second time takes them away from SQLite: another
    process may then cut the index that is mapped here (a bus error), or remove the log while it is written to. A second
    SQLite, as Python's sqlite3 is beside apsw, does so as it closes, and cuts the index as it opens.
    See "How To Corrupt An SQLite Database File", 2.2 and 2.2.1, of SQLite's documentation.
    """
    if event not in {"open", "sqlite3.connect"} or isinstance(arguments[0], int):
        return
    path = os.fsdecode(arguments[0]).removeprefix("file:").partition("?")[0]
    if path.endswith((".db", ".db-shm")) and path not in SIMULATED and os.path.exists(path):
        for descriptor in os.listdir("/proc/self/fd"):
            try:
                same = os.path.samefile(f"/proc/self/fd/{descriptor}", path)
            except OSError:
                continue  # the list's own, or a socket
            assert not same, f"{path} is open in SQLite in this process: ask apsw, or look from another process"


sys.addaudithook(_keep_locks)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine on the loop that everything runs on in earnest."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(pyfuncitem.obj(**arguments))
    return True


class Databases:
    """Makes fresh databases on one server."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._numbers = count(1)

    def fresh(self) -> str:
        """Return the DSN of a new, empty database."""
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self._server.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._server.dsn(name)


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    server = PostgresServer(tmp_path_factory.mktemp("postgres"), free_port())
    server.start()
    yield Databases(server)
    server.kill()  # nobody needs what it would write out


@pytest.fixture
def dsn(databases: Databases) -> str:
    """Where a new, empty database is."""
    return databases.fresh()


@pytest.fixture(scope="session")
def prepared_postgres(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a server that was never started, to be copied: making them takes a second."""
    directory = tmp_path_factory.mktemp("prepared") / "postgres"
    PostgresServer(directory, free_port()).prepare()
    return directory


@pytest.fixture
def own_postgres(tmp_path: Path, prepared_postgres: Path) -> Iterator[PostgresServer]:
    """A server to be killed. Not started."""
    subprocess.run(["cp", "-a", prepared_postgres, tmp_path / "postgres"], check=True)  # with owners and modes
    server = PostgresServer(tmp_path / "postgres", free_port())
    yield server
    server.kill()
