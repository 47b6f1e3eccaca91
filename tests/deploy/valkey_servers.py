"""Real Valkey servers under the shipped file and users, on loopback."""

import re
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from redrush.processes.valkey_server import find_program

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
READY_DEADLINE_S = 30.0
END_DEADLINE_S = 15.0


def prepare(directory: Path, password: str | None = None) -> str:
    """Write the shipped file and users into the directory; returns the password, which is that of every user."""
    directory.mkdir(exist_ok=True)
    password = password or secrets.token_hex(8)
    auth = (DEPLOY / "valkey" / "auth.conf.example").read_text()
    (directory / "auth.conf").write_text(re.sub(r"change-the-\w+-password", password, auth))
    text = (DEPLOY / "valkey" / "valkey.conf").read_text()
    for old, new in (("bind * -::*", "bind 127.0.0.1"), ("/etc/redrush/valkey/auth.conf", f"{directory}/auth.conf")):
        assert old in text
        text = text.replace(old, new)
    (directory / "valkey.conf").write_text(text)
    return password


@contextmanager
def running(directory: Path, port: int, password: str) -> Iterator[Any]:
    """Run a server on what was prepared; yields a client. The server ends with the block."""
    command = [find_program().path, str(directory / "valkey.conf"), "--dir", str(directory), "--port", str(port)]
    with (directory / "log").open("a") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        client = redis.Redis(host="127.0.0.1", port=port, username="redrush-admin", password=password)
        try:
            wait_until(lambda: _answers(client), lambda: process.poll() is None, directory / "log")
            yield client
        finally:
            client.close()
            process.terminate()
            try:
                process.wait(END_DEADLINE_S)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_until(happened: Callable[[], bool], possible: Callable[[], bool], log: Path) -> None:
    """Return when it has happened; fails with the log when it has become impossible, or after a deadline."""
    deadline_s = time.monotonic() + READY_DEADLINE_S
    while not happened():
        assert possible(), log.read_text()
        assert time.monotonic() < deadline_s, log.read_text()
        time.sleep(0.02)


def _answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
