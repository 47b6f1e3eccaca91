"""What `make` does before anything else: it finds a Python that fits, and an environment that such a one made."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOO_OLD = '#!/bin/sh\ncase "$2" in *version_info*) exit 1 ;; *) echo 3.10.13 ;; esac\n'
"""Answers what the Makefile asks a Python as Python 3.10 does."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def _make(checkout: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", *arguments], cwd=checkout, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def _program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script, encoding="utf-8")
    path.chmod(0o755)
    return path


def _environment(checkout: Path, script: str) -> None:
    """Make an environment, newer than all that it depends on, whose Python is this script."""
    _program(checkout / ".venv/bin/python", script)
    (checkout / ".venv/.ready").touch()


def test_a_python_that_is_too_old_is_named_before_anything_is_made(checkout: Path) -> None:
    old = _program(checkout / "old/python3", TOO_OLD)
    ended = _make(checkout, "setup", f"PYTHON={old}")
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[0] == (
        "redrush needs Python 3.11 or newer (found 3.10.13): make PYTHON=/path/to/python3.11"
    )
    assert not (checkout / ".venv").exists()


def test_no_python_at_all_is_named_too(checkout: Path) -> None:
    ended = _make(checkout, "setup", "PYTHON=no-such-python")
    assert ended.stderr.splitlines()[0] == (
        "redrush needs Python 3.11 or newer (found no no-such-python): make PYTHON=/path/to/python3.11"
    )


@pytest.mark.parametrize("script", [TOO_OLD, "#!/no/such/interpreter\n"])
def test_an_environment_of_a_wrong_python_is_made_anew(checkout: Path, script: str) -> None:
    _environment(checkout, script)
    assert "-m venv --clear .venv" in _make(checkout, "--dry-run", "setup").stdout


def test_an_environment_that_fits_is_left_alone(checkout: Path) -> None:
    _environment(checkout, f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    ended = _make(checkout, "--dry-run", "setup")
    assert (ended.returncode, "venv" in ended.stdout.replace(".venv/.ready", "")) == (0, False)
