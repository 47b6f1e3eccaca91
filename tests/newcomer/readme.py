"""The README as somebody pastes it: its blocks marked `sh`, in order, line by line, in one shell."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READMES = ("README.md", "README.zh.md")

_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(name: str) -> list[list[str]]:
    """Return the lines of each block that is there to be pasted."""
    return [block.splitlines() for block in _BLOCK.findall((ROOT / name).read_text(encoding="utf-8"))]


def lines(name: str) -> list[str]:
    """Return all of them."""
    return [line for block in blocks(name) for line in block]


def first_grant() -> list[str]:
    """Return the lines that lead from a checkout to the first grant."""
    (found,) = (block for block in blocks("README.md") if any(line.startswith("curl ") for line in block))
    return found


def substituted(commands: Sequence[str], words: Mapping[str, str]) -> list[str]:
    """Return the lines with other words in some places; each of them must be there."""
    for word in words:
        assert any(word in line for line in commands), word
    done = []
    for line in commands:
        changed = line
        for word, instead in words.items():
            changed = changed.replace(word, instead)
        done.append(changed)
    return done


def paste(commands: Sequence[str], directory: Path, deadline_s: float) -> str:
    """Run the lines in one shell as in a terminal; return what they said. AssertionError at the first that fails."""
    script = ["set -eo pipefail", *(part for line in commands for part in (f"echo {_quoted('$ ' + line)}", line))]
    environment = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    environment = {
        name: value for name, value in environment.items() if not name.startswith(("MAKE", "PYTEST", "MFLAGS"))
    }
    with (directory / "said.txt").open("w+", encoding="utf-8") as said:
        # To a file: a server that goes on in the background must not keep a pipe of ours open.
        ended = subprocess.run(
            ["bash", "-c", "\n".join(script)], cwd=directory, env=environment, timeout=deadline_s, check=False,
            stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
        )  # fmt: skip
        said.seek(0)
        told = said.read()
    assert ended.returncode == 0, told[-4_000:]
    return told


def checkout(directory: Path) -> Path:
    """Return a copy of this checkout, changes that are not committed included, without anything that was made in it."""
    root = directory / "redrush"
    if (ROOT / ".git").exists():
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
        for name in filter(None, listed):
            if (ROOT / name).is_file():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, root / name)
        return root
    made = shutil.ignore_patterns(".venv", "venv", "build", "*.egg-info", "__pycache__", ".*_cache")
    return Path(shutil.copytree(ROOT, root, ignore=made))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
