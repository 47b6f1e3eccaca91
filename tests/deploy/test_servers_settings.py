"""The shipped settings of Valkey and PostgreSQL, on real servers."""

import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import redis
from redis.exceptions import ReadOnlyError

from redrush.stack.valkey_server import find_program, free_port
from redrush.stores.valkey.search import REQUIRED
from tests.conftest import Databases

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
READY_DEADLINE_S = 30.0


@contextmanager
def _server(directory: Path, port: int) -> Iterator[Any]:
    """Run a server with the shipped file and users, on loopback; yields a client."""
    password = (directory / "password").read_text()
    command = [find_program().path, str(directory / "valkey.conf"), "--dir", str(directory), "--port", str(port)]
    with (directory / "log").open("a") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        client = redis.Redis(host="127.0.0.1", port=port, username="redrush", password=password)
        try:
            deadline_s = time.monotonic() + READY_DEADLINE_S
            while not _answers(client):
                assert process.poll() is None, (directory / "log").read_text()
                assert time.monotonic() < deadline_s
                time.sleep(0.02)
            yield client
        finally:
            client.close()
            process.terminate()


def _answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def _prepare(directory: Path) -> None:
    password = secrets.token_hex(8)
    (directory / "password").write_text(password)
    auth = (DEPLOY / "valkey" / "auth.conf.example").read_text()
    (directory / "auth.conf").write_text(auth.replace("change-this-password", password))
    text = (DEPLOY / "valkey" / "valkey.conf").read_text()
    for old, new in (("bind * -::*", "bind 127.0.0.1"), ("/etc/redrush/valkey/auth.conf", f"{directory}/auth.conf")):
        assert old in text
        text = text.replace(old, new)
    (directory / "valkey.conf").write_text(text)


def test_a_server_of_a_set_is_what_redrush_requires_and_starts_quiet(tmp_path: Path) -> None:
    _prepare(tmp_path)
    port = free_port()
    with _server(tmp_path, port) as client:
        for name, wanted in REQUIRED.items():
            assert client.config_get(name.decode()) == {name.decode(): wanted.decode()}
        # It takes no writes from anybody until somebody who knows all servers of the set has made it the primary.
        assert client.info("replication")["role"] == "slave"
        try:
            client.set("grant", "1")
        except ReadOnlyError:
            pass
        else:
            raise AssertionError("a quiet server has taken a write")
        # It tells what it holds all the same: whoever decides has to know.
        assert client.hmget("meta", "epoch") == [None]
        client.replicaof("NO", "ONE")
        client.set("grant", "2")
    with _server(tmp_path, port) as client:
        assert client.info("replication")["role"] == "slave"
        assert client.get("grant") == b"2"


def test_a_replica_follows_under_the_shipped_users(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    _prepare(first)
    second.mkdir()
    for name in ("password", "auth.conf", "valkey.conf"):
        (second / name).write_text((first / name).read_text())
    ports = free_port(), free_port()
    with _server(first, ports[0]) as primary, _server(second, ports[1]) as replica:
        primary.replicaof("NO", "ONE")
        replica.replicaof("127.0.0.1", ports[0])
        deadline_s = time.monotonic() + READY_DEADLINE_S
        while replica.info("replication")["master_link_status"] != "up":
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        primary.set("grant", "1")
        assert primary.wait(1, 5_000) == 1
        nobody = redis.Redis(host="127.0.0.1", port=ports[0])
        try:
            nobody.ping()
        except redis.AuthenticationError:
            pass
        else:
            raise AssertionError("a stranger was let in")
        finally:
            nobody.close()


def test_the_cluster_has_the_same_file() -> None:
    shipped = (DEPLOY / "valkey" / "valkey.conf").read_text()
    assert (DEPLOY / "kubernetes" / "valkey.conf").read_text() == shipped


def test_postgresql_knows_every_setting_and_a_commit_means_the_disk(databases: Databases) -> None:
    text = (DEPLOY / "postgresql" / "redrush.conf").read_text()
    settings = dict(re.findall(r"^(\w+) = (.*)$", text, re.MULTILINE))
    assert (settings["fsync"], settings["full_page_writes"], settings["synchronous_commit"]) == ("on", "on", "on")
    with psycopg.connect(databases.fresh(), autocommit=True) as connection:
        for name, value in settings.items():
            # The value is checked here and written to a file that is read at the next start, which never comes.
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
        connection.execute("ALTER SYSTEM RESET ALL")
