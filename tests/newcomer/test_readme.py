"""The README is a test: its blocks, pasted in order on an empty machine, end with a grant."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from redrush.processes.loopback import free_port
from tests.newcomer.readme import READMES, ROOT, blocks, checkout, first_grant, lines, paste, substituted

NOT_PASTED = ("make test",)
"""It is what runs this."""
COMMANDS_MAX = 5
FIRST_GRANT_MAX_S = 180.0
"""With a warm cache of packages."""


def _ports() -> dict[str, str]:
    """Return free ports in place of those of the README, which a server of somebody else may have here."""
    taken: set[int] = set()
    return {port: str(free_port(taken)) for port in ("8080", "8081")}


@contextmanager
def _ended(directory: Path) -> Iterator[None]:
    """End whatever a README that broke off has left running."""
    try:
        yield
    finally:
        for data in ("first", "event", "stack"):
            with contextlib.suppress(subprocess.TimeoutExpired):
                command = [sys.executable, "-m", "redrush", "stop", "--data", str(directory / data)]
                subprocess.run(command, capture_output=True, timeout=60, check=False)


def test_both_readmes_have_the_same_commands() -> None:
    assert blocks(READMES[0]) == blocks(READMES[1])
    assert len(blocks(READMES[0])) >= 5


def test_the_first_grant_takes_five_commands() -> None:
    assert 1 + len(first_grant()) <= COMMANDS_MAX, "and one is `git clone`"


def test_the_lines_of_the_readme_work_where_redrush_is_installed(tmp_path: Path) -> None:
    """All but what installs something, and the stack, which tests/acceptance has."""
    (tmp_path / "venv").symlink_to(sys.prefix)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    all_lines = lines("README.md")
    chosen = all_lines[: next(index for index, line in enumerate(all_lines) if "'.[stack]'" in line)]
    chosen = [line for line in chosen if not line.startswith("make ") and "pip install" not in line]
    chosen = substituted(chosen, {**_ports(), "in 2 minutes": "in 4 seconds"})
    with _ended(tmp_path):
        said = paste(chosen, tmp_path, 120)
    assert '"outcome":"granted"' in said, "the first grant"
    assert said.count("\ngranted: ") == 1, "in the event that opened later"
    assert said.count("\ngenuine: alice won ") == 1


@pytest.mark.newcomer
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", READMES)
def test_the_readme_pasted_line_by_line_on_an_empty_machine_ends_with_a_grant(name: str, tmp_path: Path) -> None:
    root = checkout(tmp_path)
    pasted = substituted([line for line in lines(name) if line not in NOT_PASTED], _ports())
    with _ended(root):
        said = paste(pasted, root, 1_800)
    assert '"outcome":"granted"' in said
    assert said.count("\ngranted: ") == 2, "in the event of one process, and in that of many"
    assert said.endswith("the stack has ended\n")


@pytest.mark.newcomer
@pytest.mark.timeout(0)
def test_from_clone_to_grant_in_three_minutes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begun_s = time.monotonic()
    commands = [
        f"git clone --quiet '{ROOT}' redrush && cd redrush",
        *substituted(first_grant(), {"8080": _ports()["8080"]}),
    ]
    with _ended(tmp_path / "redrush"):
        said = paste(commands, tmp_path, 600)
        took_s = time.monotonic() - begun_s
    with capsys.disabled():
        sys.stdout.write(f"\nfrom clone to grant: {len(commands)} commands, {took_s:.1f} s\n")
    assert '"outcome":"granted"' in said
    assert took_s <= FIRST_GRANT_MAX_S
