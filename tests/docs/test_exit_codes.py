"""The section of docs/README.md: every code there is, and every command for which 1 is an answer."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from redrush.cli.main import app
from tests.commands import redrush

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = (ROOT / "docs" / "README.md").read_text(encoding="utf-8").partition("## Exit codes")[2]
CODES: Final = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
ANSWERING: Final = set(re.findall(r"^\| `redrush ([a-z -]+)` \|", PAGE, re.MULTILINE))


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yield every command with its help."""
    for name, one in command.commands.items():
        if hasattr(one, "commands"):
            yield from commands(one, (*path, name))
        else:
            yield " ".join((*path, name)), one.help or ""


def test_each_command_of_the_page_is_one_and_each_that_speaks_of_its_code_is_on_the_page() -> None:
    known = dict(commands(app))
    assert known.keys() >= ANSWERING
    assert {name for name, text in known.items() if re.search(r"\bexit (code )?1\b", text, re.IGNORECASE)} <= ANSWERING


def test_the_source_has_no_other_codes() -> None:
    found = {
        int(code)
        for path in (ROOT / "src" / "redrush").rglob("*.py")
        for code in re.findall(r"(?:\bexit_code = |SystemExit\(|sys\.exit\()(\d+)", path.read_text(encoding="utf-8"))
    }
    assert found <= CODES
    assert found


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--version",), 0),
        (("reconcile", "--data", "/nowhere"), 2),
        (("no-such-command",), 2),
        (("stack", "status", "--data", "/nowhere"), 1),
        (("restore", "/nowhere", "--data", "/nowhere"), 2),
    ],
)
def test_commands_end_with_the_codes_of_the_page(arguments: tuple[str, ...], code: int) -> None:
    ran = redrush(*arguments)
    assert ran.code == code
    assert bool(ran.err) == (code != 0)
    assert code in CODES
