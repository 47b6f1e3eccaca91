"""docs/how-to/one-machine.md: what is pasted in it works on a directory that the unit's own command serves."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

from tests.deploy.servers import STOP_DEADLINE_S, Gate, start

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/how-to/one-machine.md"
UNIT = ROOT / "deploy/systemd/redrush-serve.service"
SERVED = "/var/lib/redrush/event"


def _paste(block: str, directory: Path) -> str:
    """Run the block in a shell that knows `redrush`; return what was said."""
    redrush = f'redrush() {{ {shlex.quote(sys.executable)} -m redrush "$@"; }}\n'
    ran = subprocess.run(
        ["bash", "-euc", redrush + block], cwd=directory, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, block + ran.stdout + ran.stderr
    return ran.stdout


def _serve(directory: Path) -> Gate:
    """Start what the unit starts, on free ports."""
    (line,) = re.findall(r"^ExecStart=\S+ (.*)$", UNIT.read_text(), re.MULTILINE)
    here = line.replace("/etc/redrush", str(directory)).replace(SERVED, str(directory / "event"))
    return start(shlex.split(here.replace(" 8080", " 0").replace(" 8081", " 0")), directory / "serve.log")


def _stop(gate: Gate) -> None:
    gate.process.terminate()
    assert gate.process.wait(STOP_DEADLINE_S) == 0


def test_what_is_pasted_works_from_the_first_file_to_the_restore(tmp_path: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    moved = {SERVED: str(tmp_path / "event"), "/var/backups/redrush": str(tmp_path), "2027-02-06T20:00:00+08:00": "now"}
    for old, new in moved.items():
        assert any(old in block for block in blocks), old
        blocks = [block.replace(old, new) for block in blocks]
    made, asked, restored, after = blocks
    (tmp_path / "users.txt").write_text("alice\nbob\n", encoding="utf-8")

    assert "warning" not in _paste(made, tmp_path)
    gate = _serve(tmp_path)
    try:
        assert "answer_ended" in _paste(asked, tmp_path)
        assert len((tmp_path / "tickets.tsv").read_text().splitlines()) == 2
        _stop(gate)
        _paste(restored, tmp_path)
        gate = _serve(tmp_path)
        _stop(gate)
        _paste(after, tmp_path)
    finally:
        gate.kill()


def test_every_file_that_the_page_copies_is_there() -> None:
    copied = re.findall(r"\b(deploy/[\w./-]+)", PAGE.read_text(encoding="utf-8"))
    assert len(copied) >= 8
    for name in copied:
        assert (ROOT / name).exists(), name
