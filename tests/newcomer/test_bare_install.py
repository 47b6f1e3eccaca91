"""What `pip install .` brings, and what it says where it brings less: an installation of its own, without extras."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from redrush.cli.main import app
from redrush.processes.loopback import free_port
from tests.cli.needed_extras import NEEDS
from tests.newcomer.readme import checkout

pytestmark = [pytest.mark.newcomer, pytest.mark.timeout(0)]

SIZE_MAX_BYTES = 120_000_000
"""Of everything that is installed, with the byte code that pip makes of it; pip itself and setuptools are not ours. Of
it, numpy is 75."""

WITH_ARGUMENTS = {"demo": "demo --users 1", "bench": "bench --runs 0", "drill": "drill no-such-drill"}
"""Commands that would do something if they were called without arguments: their first errors."""


class Bare(msgspec.Struct, frozen=True):
    """The installation, and a directory with a campaign file and a deployment file."""

    python: Path
    directory: Path
    source: Path

    def redrush(self, line: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [self.python.with_name("redrush"), *line.split()], cwd=self.directory, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Bare:
    directory = tmp_path_factory.mktemp("bare")
    source = checkout(directory)
    subprocess.run(["python3", "-m", "venv", directory / "venv"], check=True)
    found = Bare(directory / "venv/bin/python", directory, source)
    subprocess.run([found.python, "-m", "pip", "install", "--quiet", source], check=True)
    assert found.redrush("init e.toml").returncode == 0
    assert found.redrush("init d.toml --deployment").returncode == 0
    return found


def _leaves(group: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _leaves(command, (*path, name))
        else:
            yield " ".join((*path, name))


COMMANDS = tuple(_leaves(app))

SIZES = """
import importlib.metadata as metadata
print(sum(
    file.locate().stat().st_size
    for found in metadata.distributions() if found.metadata["Name"] not in {"pip", "setuptools"}
    for file in found.files or () if file.locate().is_file()
))
"""


def test_what_serving_needs_is_small(bare: Bare, capsys: pytest.CaptureFixture[str]) -> None:
    printed = subprocess.run([bare.python, "-c", SIZES], capture_output=True, text=True, check=True).stdout
    with capsys.disabled():
        print(f"\ninstalled without extras: {int(printed) / 1e6:.1f} MB")  # noqa: T201 - a figure for whoever runs this
    assert int(printed) <= SIZE_MAX_BYTES


def test_every_command_explains_itself(bare: Bare) -> None:
    said = {command: bare.redrush(f"{command} --help") for command in COMMANDS}
    assert {command: ended.stderr for command, ended in said.items() if ended.returncode} == {}
    assert len(said) > 25


def test_the_first_error_of_every_command_is_in_words(bare: Bare) -> None:
    wrong = {}
    for command in COMMANDS:
        ended = bare.redrush(WITH_ARGUMENTS.get(command, command))
        spoken = ended.stderr.startswith(("Usage: redrush ", "redrush: "))
        if ended.returncode != 2 or not spoken or "Traceback" in ended.stderr or "No module" in ended.stderr:
            wrong[command] = (ended.returncode, ended.stderr)
    assert wrong == {}


@pytest.mark.parametrize("line", NEEDS)
def test_what_needs_an_extra_says_what_installs_it(bare: Bare, line: str) -> None:
    ended = bare.redrush(line)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert f' needs the extra "{NEEDS[line]}" (' in ended.stderr
    assert ended.stderr.endswith(f"is missing); install it: {_install(bare, NEEDS[line])}\n")


def _install(bare: Bare, extra: str) -> str:
    return f"{bare.python} -m pip install '{bare.source}[{extra}]'"


def test_a_demo_without_pages_ends_with_its_report_and_says_how_to_have_them(bare: Bare) -> None:
    ended = bare.redrush("demo --users 500")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "✓ ledger " in ended.stdout
    assert ended.stdout.endswith(
        f'the page needs the extra "report" (matplotlib is missing); install it: {_install(bare, "report")}\n'
    )


def test_what_is_said_to_install_an_extra_does(bare: Bare) -> None:
    """Last of all: it changes the installation."""
    line = "found --deploy d.toml"
    command = bare.redrush(line).stderr.rstrip().rpartition("install it: ")[2]
    subprocess.run(["bash", "-c", f"{command} --quiet"], cwd=bare.directory, check=True)
    after = bare.redrush(line)
    assert "needs the extra" not in after.stderr
    assert "Traceback" not in after.stderr
    example = [str(bare.python), str(bare.source / "examples/grab.py"), f"http://127.0.0.1:{free_port()}", "r20", "x"]
    lacking = subprocess.run(example, capture_output=True, text=True, check=False, timeout=60).stderr
    assert lacking == (
        'grab.py: redrush.client needs the extra "client" (aiohttp is missing); '
        f"install it: {bare.python!s} -m pip install '{bare.source}[client]'\n"
    )
