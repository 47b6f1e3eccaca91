"""A directory, or a database, that a newer redrush has used: `stack up` says so at once, and so do reports."""

import time
from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest

from redrush.processes.loopback import free_port
from redrush.processes.postgres_server import PostgresServer
from redrush.records.postgres.migrations import migrate, migrations
from redrush.stack.stack_dir import StackDir
from tests.campaigns import campaign
from tests.commands import redrush

NEWEST = len(migrations())
UP: Sequence[object] = ("--sets", 1, "--gates", 1, "--port", 0, "--control-port", 0)
AT_ONCE_S = 30.0
"""The database and the servers are started first. A role that is not ready is waited for three times as long."""


@pytest.fixture
def used_by_a_newer_one(tmp_path: Path) -> Path:
    """The directory of a stack whose database is one version above what this redrush knows."""
    data = tmp_path / "d"
    server = PostgresServer(StackDir(data).postgres, free_port())
    data.mkdir(mode=0o700)
    server.start()
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        migrate(connection, "it")
        connection.execute("INSERT INTO schema_version VALUES (%s)", (NEWEST + 1,))
    server.stop()
    return data


@pytest.mark.parametrize("detach", [(), ("--detach",)])
def test_it_is_refused_at_once_with_one_sentence(
    used_by_a_newer_one: Path, tmp_path: Path, detach: Sequence[object]
) -> None:
    data, file = used_by_a_newer_one, tmp_path / "c.toml"
    file.write_text(campaign())
    began_s = time.monotonic()
    ran = redrush("stack", "up", file, "--data", data, *UP, *detach)
    assert time.monotonic() - began_s < AT_ONCE_S
    versions = f"has records of version {NEWEST + 1}, this redrush knows {NEWEST}: use the redrush that wrote them, or"
    assert (ran.code, ran.out) == (2, "")
    assert versions in ran.err.splitlines()[-1]
    assert ran.err.splitlines()[-1].startswith("redrush: PostgreSQL ")
    assert not StackDir(data).processes.exists(), "nothing runs any more"
    assert not StackDir(data).event.campaign.exists(), "nothing was sealed"
    assert not StackDir(data).founded.exists(), "no set was founded"
    sealed = redrush("seal", file, "--data", data)
    assert sealed.code == 0, sealed.err
    for command in (("export", "grants"), ("reconcile",)):
        report = redrush(*command, "--data", data)
        assert (report.code, report.out) == (2, ""), command
        assert versions in report.err.splitlines()[-1], command
