"""A disk without room: which file it is, how much is left, what to do, and nothing that was acknowledged is lost."""

import asyncio
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import apsw
import pytest

from redrush.control.data_dir import DataDir
from redrush.control.keys import load_keys
from redrush.core.identity.tickets import sign_ticket
from redrush.disk_room import with_room
from redrush.errors import ConfigError, RedrushError
from tests.acceptance.rushing import asked
from tests.campaigns import a_round, campaign
from tests.commands import redrush

ENDS_S = 60.0


def fault_of(cause: BaseException, sentence: str) -> RedrushError:
    try:
        try:
            raise cause
        except type(cause) as fault:
            raise ConfigError(sentence) from fault
    except ConfigError as told:
        return told


@pytest.mark.parametrize("cause", [OSError(28, "No space left on device"), apsw.FullError("database or disk is full")])
def test_a_full_disk_is_told_with_what_is_left_of_it(cause: BaseException, tmp_path: Path) -> None:
    sentence = f"{tmp_path}/journal.db: cannot be written"
    told = with_room(sentence, fault_of(cause, sentence))
    found = re.fullmatch(
        re.escape(sentence) + r"; make room on its disk, where ([\d,]+) KB are left, or raise the quota, and go on: "
        "nothing else is wrong with it",
        told,
    )
    assert found, told
    disk = os.statvfs(tmp_path)
    assert abs(int(found[1].replace(",", "")) - disk.f_bavail * disk.f_frsize // 1024) < 4_000_000


def test_what_names_no_place_says_enough() -> None:
    sentence = "standard output cannot be written: No space left on device"
    assert with_room(sentence, fault_of(OSError(28, "No space left on device"), sentence)) == sentence


def test_other_faults_are_told_as_they_are(tmp_path: Path) -> None:
    sentence = f"{tmp_path}/e.toml: cannot be read"
    assert with_room(sentence, fault_of(PermissionError(13, "Permission denied"), sentence)) == sentence
    assert with_room(sentence, ConfigError(sentence)) == sentence


@pytest.mark.parametrize("bytes_max", [1_000, 20_000, 60_000])
def test_a_start_that_may_write_no_more_says_which_file_and_why(bytes_max: int, tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text(campaign(a_round("r1", "100.00", 10_000, opens="2037-02-06T20:00:00+08:00")))
    ran = subprocess.run(
        [sys.executable, "-c", LIMITED, str(bytes_max), "serve", "e.toml", "--data", "d", "--port", "0"],
        cwd=tmp_path, capture_output=True, text=True, timeout=ENDS_S, check=False,
    )  # fmt: skip
    assert ran.returncode in {1, 2}, ran
    limit = f"; files of this process may have {bytes_max:,} bytes at most (ulimit -f): raise that, and go on"
    assert limit in ran.stderr
    assert ran.stderr.startswith("redrush: d"), ran.stderr
    assert ran.stderr.count("\n") == 1


LIMITED = """
import resource, runpy, sys
most = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
sys.argv[0] = "redrush"
runpy.run_module("redrush", run_name="__main__")
"""


def test_a_server_whose_disk_is_full_amid_a_rush_ends_and_forgets_nothing_that_it_has_said(tmp_path: Path) -> None:
    file, data = tmp_path / "e.toml", tmp_path / "d"
    file.write_text(campaign(a_round("r1", "200.00", 20_000)))
    port, server = _serving(file, data)
    ring = load_keys(DataDir(data)).tickets
    expires_s = int(time.time()) + 3_600

    async def people() -> dict[str, str]:
        granted: dict[str, str] = {}
        for number in range(20_000):
            user = f"u{number}"
            if number == 20:
                most = max(one.stat().st_size for one in data.iterdir()) + 30_000
                resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (most, most))
            try:
                _, (answer,) = await asked(port, [("/v1/rounds/r1", [sign_ticket(ring, user, expires_s)])])
            except (OSError, AssertionError):
                break
            if answer.status == 200:
                granted[user] = answer.json["grant"]["id"]
            if server.poll() is not None:
                break
        return granted

    granted = asyncio.run(people())
    said = server.communicate(timeout=ENDS_S)[1]
    assert server.returncode == 1
    last = said.splitlines()[-1]
    assert "journal.db can make nothing durable any more: " in last
    assert "bytes at most (ulimit -f): raise that, and go on" in last
    assert 20 <= len(granted) < 20_000
    port, again = _serving(file, data)
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=ENDS_S)
    exported = redrush("export", "grants", "--data", data, "--format", "jsonl").out
    for user, grant in granted.items():
        assert grant in exported, user


def _serving(file: Path, data: Path) -> tuple[int, "subprocess.Popen[str]"]:
    server = subprocess.Popen(
        [sys.executable, "-m", "redrush", "serve", str(file), "--data", str(data), "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    assert server.stderr is not None
    assert server.stdout.readline() == "ready\n"
    found = re.search(r"gate http://.*:(\d+)$", server.stderr.readline())
    assert found is not None
    return int(found[1]), server
