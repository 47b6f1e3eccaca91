"""How commands end when they are told to: by Ctrl-C and by SIGTERM, while they are loaded, at work, and serving."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.campaigns import a_round, campaign
from tests.commands import redrush
from tests.login.logins import login_file

# Who runs the tests may have SIGINT ignored, as shells do for what is in the background.
REDRUSH = (
    "import signal, runpy; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('redrush', run_name='__main__')"
)
ENDS_S = 60.0


def started(*words: object, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", REDRUSH, *map(str, words)], env=os.environ | environment,
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def until(holds: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    """Wait, while the process runs."""
    ends_s = time.monotonic() + ENDS_S
    while not holds():
        assert process.poll() is None
        assert time.monotonic() < ends_s
        time.sleep(0.02)


def test_who_interrupts_a_command_while_it_is_loaded_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("import sys, time\nsys.stderr.write('here')\nsys.stderr.flush()\ntime.sleep(60)")
    with started("check", "-", PYTHONPATH=str(tmp_path)) as process:
        assert process.stderr is not None
        assert process.stderr.read(4) == "here"
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=ENDS_S)[1]
    assert (process.returncode, said) == (130, "\nredrush: interrupted\n")


def test_who_interrupts_a_command_at_work_is_told_so() -> None:
    with started("check", "-") as process:
        until(lambda: "pipe" in Path(f"/proc/{process.pid}/wchan").read_text(), process)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=ENDS_S)[1]
    assert (process.returncode, said) == (130, "\nredrush: interrupted\n")


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("serve e.toml --data d --port 0", "gate http"),
        ("sandbox --port 0", "sandbox http"),
        ("console --data d --port 0", "console http"),
        ("login login.toml --port 0", "login http"),
    ],
)
def test_servers_end_in_good_order(words: str, says: str, told: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text(campaign(a_round("r1", "1.00", 10, opens="2037-02-06T20:00:00+08:00")))
    login_file(tmp_path, "http://127.0.0.1:9")
    if "console" in words:
        assert redrush("seal", tmp_path / "e.toml", "--data", tmp_path / "d").code == 0
    named = [str(tmp_path / word) if word in {"e.toml", "d", "login.toml"} else word for word in words.split()]
    with started(*named) as process:
        assert process.stderr is not None
        lines = [process.stderr.readline()]
        while not lines[-1].startswith(says):
            assert lines[-1], lines
            lines.append(process.stderr.readline())
        until(lambda: _is_caught(process.pid, signal.SIGTERM), process)  # both at once, in good time
        process.send_signal(told)
        said = process.communicate(timeout=ENDS_S)[1]
    assert (process.returncode, said) == (0, "")


def _is_caught(pid: int, number: signal.Signals) -> bool:
    """Return whether the process has a handler for the signal."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = int(next(line for line in lines if line.startswith("SigCgt")).split()[1], 16)
    return bool(caught >> (number - 1) & 1)
