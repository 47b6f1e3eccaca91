"""Wrong usage is one sentence, with the command that explains; a negative number is a value."""

import os
import subprocess
import sys

import pytest

from redrush.cli.declaring import Group
from redrush.cli.usage import run_app
from redrush.errors import RedrushError


def _redrush(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "redrush", *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "redrush: No such command 'nonsense'; `redrush --help` says what there is\n"),
        (("switch", "set"), "redrush: Missing argument 'NAME'; `redrush switch set --help` says what there is\n"),
        (
            ("init", "x", "--kind"),
            "redrush: Option '--kind' requires an argument; `redrush init --help` says what there is\n",
        ),
        (
            ("switch", "--key"),
            "redrush: Option '--key' requires an argument; `redrush switch --help` says what there is\n",
        ),
        (
            ("demo", "--port", "-1"),
            "redrush: Invalid value for '--port': -1 is not in the range 0<=x<=65535; "
            "`redrush demo --help` says what there is\n",
        ),
        (("check", "--nope"), "redrush: No such option '--nope'; `redrush check --help` says what there is\n"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments: tuple[str, ...], said: str) -> None:
    ran = _redrush(*arguments)
    assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", said)


def test_a_command_that_needs_a_name_of_another_shows_what_there_is() -> None:
    ran = _redrush("switch")
    assert ran.returncode == 2
    assert "release" in ran.stdout + ran.stderr


def test_a_negative_number_is_a_value(tmp_path: "object") -> None:
    ran = _redrush("switch", "set", "pace.r1", "-4", "--data", str(tmp_path))
    assert ran.returncode == 2
    assert "holds no campaign" in ran.stderr  # it got as far as looking for the event


def test_who_interrupts_a_command_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Group()

    @app.command()
    def wait() -> None:
        """Wait for Ctrl-C."""
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["redrush", "wait"])
    with pytest.raises(RedrushError, match="interrupted") as told:
        run_app(app)
    assert told.value.exit_code == 130


@pytest.mark.parametrize("columns", [8, 20, 34, 49, 50, 80])
@pytest.mark.parametrize("command", [[], ["serve"], ["ticket"]])
def test_help_fits_the_terminal(columns: int, command: list[str]) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "redrush", *command, "--help"],
        env=os.environ | {"COLUMNS": str(columns)}, capture_output=True, encoding="utf-8", timeout=60, check=True,
    )  # fmt: skip
    for line in ran.stdout.splitlines():
        words = line.split()
        # What cannot be broken stands on a line of its own: a word, or an option with what it takes.
        assert len(line) <= max(columns, 26) or len(words) <= 2 or words[0].startswith(("-", "Usage:")), line
