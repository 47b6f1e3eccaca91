"""The shipped settings of Valkey and PostgreSQL, on real servers."""

import importlib.resources
import re
from pathlib import Path

import psycopg
import redis
from redis.exceptions import ReadOnlyError

from redrush.processes.loopback import free_port
from redrush.stores.valkey.search import REQUIRED
from tests.conftest import Databases
from tests.deploy.valkey_servers import DEPLOY, prepare, running, wait_until


def test_a_server_of_a_set_is_what_redrush_requires_and_starts_quiet(tmp_path: Path) -> None:
    password = prepare(tmp_path)
    port = free_port()
    with running(tmp_path, port, password) as client:
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
    with running(tmp_path, port, password) as client:
        assert client.info("replication")["role"] == "slave"
        assert client.get("grant") == b"2"


def test_a_replica_follows_under_the_shipped_users(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    password = prepare(first)
    prepare(second, password)
    ports = free_port(), free_port()
    with running(first, ports[0], password) as primary, running(second, ports[1], password) as replica:
        primary.replicaof("NO", "ONE")
        replica.replicaof("127.0.0.1", ports[0])
        wait_until(lambda: replica.info("replication")["master_link_status"] == "up", lambda: True, second / "log")
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


def test_the_shipped_users_are_those_of_the_stack() -> None:
    shipped = (DEPLOY / "valkey" / "auth.conf.example").read_text()
    assert importlib.resources.files("redrush.stack").joinpath("users.conf").read_text() == shipped


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
