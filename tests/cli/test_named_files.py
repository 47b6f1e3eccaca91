"""Files that a command is told the name of, and pipes: what is read at once, what from a pipe, and what is refused."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from redrush.control import given_list as lists
from redrush.control.given_list import given_list
from redrush.errors import ConfigError
from redrush.operate.receipts_file import read_receipts
from tests.campaigns import a_round, campaign
from tests.commands import redrush

HANGS_S = 60.0
FILES = (
    "check {}",
    "check e.toml --payments {}",
    "serve {} --data e",
    "serve e.toml --data e --payments {}",
    "seal {} --data e",
    "publish {} --out site",
    "campaign change {} --data d --why w",
    "campaign add {} --data d",
    "gate --deploy {}",
    "stack up {} --data e",
    "login {}",
    "ticket --data d --users {}",
    "audience add --data d --users {}",
    "switch --console http://127.0.0.1:9 --key {} list",
)
LISTS = ("ticket", "audience", "check {}")
"""Those may come by a pipe."""


@pytest.fixture(autouse=True)
def there(tmp_path: Path) -> Path:
    """A directory with a campaign that is sealed, and a pipe that nobody writes to."""
    file = tmp_path / "e.toml"
    file.write_text(campaign(a_round("r1", "1.00", 10, opens="2027-02-06T20:00:00+08:00")))
    os.mkfifo(tmp_path / "pipe")
    assert redrush("seal", file, "--data", tmp_path / "d").code == 0
    return tmp_path


def shell(line: str, there: Path) -> subprocess.CompletedProcess[str]:
    """Have bash run the line, with `redrush` as users have it."""
    command = f'redrush() {{ {shlex.quote(sys.executable)} -m redrush "$@"; }}; {line}'
    return subprocess.run(
        ["bash", "-c", command], cwd=there, capture_output=True, text=True, timeout=HANGS_S, check=False
    )


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (command, name)
        for command in FILES
        for name in ("pipe", "/dev/zero")
        if name != "pipe" or not command.startswith(LISTS)
    ],
)
def test_what_is_no_file_is_refused_at_once(command: str, name: str, there: Path) -> None:
    words = [str(there / word) if word in {"e.toml", "d", "e", "pipe", "site"} else word
             for word in shlex.split(command.format(name))]  # fmt: skip
    ran = redrush(*words)
    kind = "a pipe" if name == "pipe" else "a device"
    assert ran.code == 2, ran
    assert f"it is {kind}, not a file that is kept; save what it gives in one" in ran.err
    assert ran.err.count("\n") == 1, "one sentence"


@pytest.mark.parametrize(
    "line",
    ["redrush check - < e.toml", "cat e.toml | redrush check -", "redrush check <(cat e.toml)"],
)
def test_a_campaign_that_comes_by_a_pipe_is_checked_as_from_a_file(line: str, there: Path) -> None:
    ran = shell(line, there)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ": fine. 10 packets" in ran.stdout


def test_what_a_campaign_from_a_pipe_names_is_looked_for_here(there: Path) -> None:
    (there / "users.txt").write_text("ann\nbob\n")
    line = "sed 's/^\\[campaign\\]/[campaign]\\naudience = \"users.txt\"/' e.toml | redrush check -"
    assert "2 people" in shell(line, there).stdout


def test_a_pipe_is_read_up_to_what_a_file_may_have(there: Path) -> None:
    ran = shell("head -c 100000000 /dev/zero | tr '\\0' '#' | redrush check -", there)
    assert ran.returncode == 2
    assert "larger than 4000000 bytes; this is no campaign or deployment file" in ran.stderr


def test_an_end_of_a_pipe_that_nobody_writes_to_is_empty(there: Path) -> None:
    ran = redrush("check", there / "pipe")
    assert ran.code == 2
    assert "pipe: nothing came by this pipe; is anybody writing to it?" in ran.err


def test_a_deployment_has_to_be_kept(there: Path) -> None:
    assert redrush("init", there / "d.toml", "--deployment").code == 0
    ran = shell("redrush check - < d.toml", there)
    assert ran.returncode == 2
    assert "a deployment file is read more than once, and cannot come by a pipe; save it" in ran.stderr


@pytest.mark.parametrize("given", ["<(printf 'ann\\nbob\\nann\\n')", "- < <(printf 'ann\\nbob\\nann\\n')"])
def test_a_list_that_comes_by_a_pipe_is_read_as_often_as_it_must_be(given: str, there: Path) -> None:
    issued = shell(f"redrush ticket --data d --users {given}", there)
    assert [line.split("\t")[0] for line in issued.stdout.splitlines()] == ["ann", "bob", "ann"]
    assert 'an id that stands there already; it counts once: line 3 "ann"' in issued.stderr
    added = shell(f"redrush audience add --data d --why late --users {given}", there)
    assert added.stdout == "2 added, 0 had been added before\n"
    assert list(there.glob("list-*")) == []


def test_a_list_from_a_pipe_is_bounded_and_leaves_nothing(
    there: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kept_in = tmp_path_factory.mktemp("kept")
    monkeypatch.setattr("tempfile.tempdir", str(kept_in))
    with subprocess.Popen(["cat", "/dev/zero"], stdout=subprocess.PIPE) as endless:
        assert endless.stdout is not None
        monkeypatch.setattr(lists, "PIPED_BYTES_MAX", 3 << 20)
        with (
            pytest.raises(ConfigError, match="give it as a file"),
            given_list(Path(f"/dev/fd/{endless.stdout.fileno()}")),
        ):
            raise AssertionError("it is too long")
        endless.kill()
    assert list(kept_in.iterdir()) == []


def test_receipts_may_come_by_a_pipe() -> None:
    with subprocess.Popen(["printf", "one\\ntwo\\n"], stdout=subprocess.PIPE) as given:
        assert given.stdout is not None
        assert read_receipts(Path(f"/dev/fd/{given.stdout.fileno()}")) == ["one", "two"]
