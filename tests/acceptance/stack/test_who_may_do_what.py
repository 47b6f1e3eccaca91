"""A stack's servers let nobody in without a password, and those who have one do only what they are for."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.acceptance.stack.attacks import (
    NOBODY_BUT_ADMIN,
    NOT_THE_GATE,
    USERS,
    password_of,
    readable_by_others,
    refusal,
)
from tests.acceptance.stack.running_stack import RunningStack, stack_up
from tests.campaigns import a_round, campaign
from tests.commands import redrush

CAMPAIGN = campaign(a_round("r1", "10.00", 10), id="guarded")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    directory = tmp_path_factory.mktemp("stack")
    (directory / "c.toml").write_text(CAMPAIGN)
    with stack_up(directory / "c.toml", directory / "d", "--sets", 1, "--replicas", 1, "--gates", 1) as running:
        yield running


def _servers(stack: RunningStack) -> list[dict[str, Any]]:
    found = [process for process in stack.processes() if process["role"] in {"store", "replica"}]
    assert len(found) == 2
    return found


def _port(process: dict[str, Any]) -> int:
    return int(process["address"].rpartition(":")[2])


def test_a_grant_is_made_and_recorded_by_users_of_their_own(stack: RunningStack) -> None:
    decided = stack.grab(stack.tickets(["ann"]), "r1")
    assert decided["ann"]["outcome"] == "granted"
    assert redrush("reconcile", "--data", stack.data).code == 0


def test_without_a_password_nobody_reads_or_empties_a_set(stack: RunningStack) -> None:
    for server in _servers(stack):
        for command in (("PING",), ("INFO",), ("HGETALL", "{guarded/s1}:meta"), *NOBODY_BUT_ADMIN):
            assert refusal(_port(server), command) == "NOAUTH", command
        assert refusal(_port(server), ("PING",), "default", "") != ""
        assert refusal(_port(server), ("PING",), "redrush-gate", "wrong") != ""


def test_a_role_cannot_wipe_stop_or_reconfigure_a_server(stack: RunningStack) -> None:
    for server in _servers(stack):
        for user in USERS:
            password = password_of(stack.data, user)
            commands = NOBODY_BUT_ADMIN if user == "warden" else NOBODY_BUT_ADMIN + NOT_THE_GATE
            for command in commands:
                if user == "replica" and command[0] in {"PSYNC", "SYNC"}:
                    continue  # that is what it is for
                # DEBUG is switched off altogether, and says so before it looks who asks.
                wanted = "ERR" if command[0] == "DEBUG" else "NOPERM"
                assert refusal(_port(server), command, f"redrush-{user}", password) == wanted, (user, command)
        gate, admin = password_of(stack.data, "gate"), password_of(stack.data, "admin")
        assert refusal(_port(server), ("XTRIM", "{c/s}:log", "MINID", "1"), "redrush-gate", gate) == "NOPERM"
        assert refusal(_port(server), ("CONFIG", "GET", "save"), "redrush-admin", admin) == ""


def test_the_database_wants_a_password_from_everybody(stack: RunningStack) -> None:
    dsn = (stack.data / "records.dsn").read_text()
    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    with psycopg.connect(dsn) as connection:
        (directories,) = connection.execute("SHOW unix_socket_directories").fetchone() or ()
        (method,) = connection.execute("SHOW password_encryption").fetchone() or ()
        rules = connection.execute("SELECT DISTINCT auth_method FROM pg_hba_file_rules").fetchall()
    assert (directories, method, rules) == ("", "scram-sha-256", [("scram-sha-256",)])
    for password in (None, "", "wrong"):
        for user in (parts["user"], "postgres"):
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(host=parts["host"], port=parts["port"], user=user, password=password, dbname="redrush")


def test_nothing_in_the_directory_is_open_to_others(stack: RunningStack) -> None:
    assert readable_by_others(stack.data) == []


def test_no_password_stands_on_a_command_line(stack: RunningStack) -> None:
    lines = "".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in stack.pids())
    for user in (*USERS, "admin"):
        assert password_of(stack.data, user) not in lines


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has somebody else to run servers as")
def test_servers_do_not_run_as_root(stack: RunningStack) -> None:
    for process in stack.processes():
        if process["role"] in {"store", "replica", "postgres"}:
            assert Path(f"/proc/{process['pid']}").stat().st_uid != 0, process["name"]


def test_a_directory_of_the_version_before_comes_up_and_is_closed_to_others(stack: RunningStack) -> None:
    before = stack.grab(stack.tickets(["ann"]), "r1")["ann"]["grant"]
    stack.down()
    shutil.rmtree(stack.data / "valkey")  # there were no passwords
    for path in [path for server in ("a", "b") for path in (stack.data / "sets" / "s1" / server).rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
        if os.geteuid() == 0:
            os.chown(path, 0, 0)
    (stack.data / "campaign.json").chmod(0o644)
    with stack_up(stack.data.parent / "c.toml", stack.data, "--sets", 1, "--replicas", 1, "--gates", 1) as again:
        after = again.grab(again.tickets(["ann"]), "r1")["ann"]
        assert (after["repeat"], after["grant"]) == (True, before)
        assert readable_by_others(again.data) == []
        for server in _servers(again):
            assert refusal(_port(server), ("FLUSHALL",)) == "NOAUTH"
