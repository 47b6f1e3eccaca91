"""A server in the background, and how it ends: by `stop`, by a terminal that closes, and not by another command."""

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from redrush.control.data_dir import DataDir
from redrush.operate.stopping import NoServer, stop_server
from redrush.processes.detached import ROOM_BYTES
from redrush.processes.loopback import free_port
from redrush.stores.sqlite.lock import JournalLock, holder

REDRUSH = [sys.executable, "-m", "redrush"]


def _redrush(directory: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*REDRUSH, *map(str, arguments)], cwd=directory, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    assert _redrush(tmp_path, "init", "event.toml", "--opens", "now").returncode == 0
    return tmp_path


def _status(address: str, path: str) -> int:
    with urllib.request.urlopen(address + path, timeout=10) as answer:
        return int(answer.status)


def test_a_wrong_file_is_told_before_anything_is_made(campaign: Path) -> None:
    (campaign / "wrong.toml").write_text("[campaign]\n")
    began = _redrush(campaign, "serve", "wrong.toml", "--data", "d", "--console-port", free_port(), "--detach")
    assert (began.returncode, began.stdout) == (2, "")
    assert re.fullmatch(r'redrush: wrong\.toml:1: campaign: the key "\w+" is missing\n', began.stderr)
    assert not (campaign / "d").exists()


def test_a_detached_server_serves_until_it_is_stopped(campaign: Path) -> None:
    serve = ("serve", "event.toml", "--data", "./my event", "--port", 0, "--control-port", 0, "--detach")
    began = _redrush(campaign, *serve)
    try:
        assert (began.returncode, began.stdout) == (0, "ready\n")
        told = re.fullmatch(
            r"gate (\S+)\ncontrol (\S+)\nprocess (\d+), log my event/serve\.log\n"
            r"it ends by: redrush stop --data 'my event'\n",
            began.stderr,
        )
        assert told, began.stderr
        gate, control, pid = told.groups()
        assert (_status(gate, "/v1/policy"), _status(control, "/livez")) == (200, 200)
        log = (campaign / "my event/serve.log").stat()
        assert log.st_blocks * 512 >= ROOM_BYTES > log.st_size, "a disk that is full later has room for the last words"
        again = _redrush(campaign, *serve)
        assert (again.returncode, again.stdout) == (2, "")
        assert again.stderr == f"redrush: my event/journal.db is written by process {pid}; stop that one first\n"
    finally:
        ended = _redrush(campaign, "stop", "--data", "my event")
    assert (ended.returncode, ended.stdout) == (0, f"process {pid} has ended\n")
    assert holder(campaign / "my event/journal.db") is None
    nothing = _redrush(campaign, "stop", "--data", "my event")
    assert nothing.returncode == 1
    assert nothing.stderr.startswith("redrush: my event: no server runs here; ")


def test_what_a_start_warns_of_and_every_line_of_a_refusal_reach_who_has_detached_it(campaign: Path) -> None:
    file = campaign / "event.toml"
    file.write_text(file.read_text() + "\n[limits]\naddress_per_second = 500\n")
    serve = ("serve", "event.toml", "--data", "event", "--port", 0, "--console-port", free_port(), "--detach")
    began = _redrush(campaign, *serve)
    try:
        assert (began.returncode, began.stdout) == (0, "ready\n")
        account, warning, *_ = began.stderr.splitlines()
        assert account.startswith("first account of the console, told only now: name admin, password ")
        assert account.rpartition(" ")[2] not in (campaign / "event" / "serve.log").read_text(), "kept nowhere"
        assert warning.startswith("warning: limits.address_per_second counts addresses, and no trusted_proxies ")
    finally:
        assert _redrush(campaign, "stop", "--data", "event").returncode == 0
    file.write_text(file.read_text().replace('"8800.00"', '"4400.00"'))
    refused = _redrush(campaign, *serve)
    assert (refused.returncode, refused.stdout) == (2, "")
    said, *differences, helps = refused.stderr.splitlines()
    assert said.startswith("redrush: event: campaign ")
    assert differences == ['  round "r21", total: sealed 8800.00, in the file 4400.00']
    assert "--keys-from event" in helps


def test_a_start_that_fails_leaves_nothing_and_where_there_was_something_its_end_is_told(campaign: Path) -> None:
    (campaign / "kept").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for data in ("d", "kept"):
            began = _redrush(campaign, "serve", "event.toml", "--data", data, "--port", port, "--detach")
            assert (began.returncode, began.stdout) == (2, "")
            why = f"cannot listen on 127.0.0.1 port {port}: Address already in use; end what listens there, or choose"
            assert why in began.stderr
    assert not (campaign / "d").exists()
    nothing = _redrush(campaign, "stop", "--data", "kept")
    assert nothing.returncode == 1
    assert nothing.stderr.startswith("redrush: kept: no server runs here; ")
    assert f"; the last one ended, by kept/serve.log, with: {why}" in nothing.stderr


@pytest.mark.parametrize("detach", [(), ("--detach",)])
@pytest.mark.parametrize("command", [("serve", "event.toml"), ("stack", "up", "event.toml")])
@pytest.mark.parametrize("below", ["", "/d"])
def test_a_file_is_no_directory_for_the_data(
    campaign: Path, command: Sequence[str], detach: Sequence[str], below: str
) -> None:
    began = _redrush(campaign, *command, "--data", f"./event.toml{below}", "--port", 0, *detach)
    assert (began.returncode, began.stdout) == (2, "")
    assert began.stderr == "redrush: event.toml: is a file; give the name of a directory for data\n"


def test_whoever_only_reads_the_journal_is_not_stopped(tmp_path: Path) -> None:
    """`reconcile` has the journal for a moment, and no switches."""
    lock = JournalLock(tmp_path / "journal.db")
    try:
        with pytest.raises(NoServer):
            stop_server(DataDir(tmp_path))
    finally:
        lock.release()


@contextmanager
def _serving(directory: Path, *before: str) -> Iterator["subprocess.Popen[str]"]:
    command = [*before, *REDRUSH, "serve", "event.toml", "--data", "event", "--port", "0", "--control-port", "0"]
    server = subprocess.Popen(
        command, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield server
    finally:
        server.kill()
        server.communicate()


def test_a_terminal_that_closes_ends_a_server_in_good_order(campaign: Path) -> None:
    with _serving(campaign) as server:
        server.send_signal(signal.SIGHUP)
        assert server.wait(30) == 0
    assert not (campaign / "event/control-port.json").exists(), "it took its address back"


def test_nohup_keeps_a_server_from_ending_with_its_terminal(campaign: Path) -> None:
    with _serving(campaign, "nohup") as server:
        server.send_signal(signal.SIGHUP)
        assert server.stderr is not None
        address = next(line.split()[1] for line in server.stderr if line.startswith("gate "))
        assert _status(address, "/v1/policy") == 200
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0, "SIGTERM ended it, not SIGHUP"
