"""A whole stack of real processes, one of which has a clock that somebody sets: `stack status` says so.

A `sitecustomize` in front of the processes' path stands for the machine's clock: a process reads what it is ahead from
a file. redrush itself knows nothing of it.
"""

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.acceptance.stack.running_stack import RunningStack, stack_up
from tests.campaigns import campaign
from tests.commands import redrush

FALSE_CLOCK: Final = """\
import os, sys, time

HERE = os.path.dirname(__file__)
ROLE = next((word for word in ("gate", "control") if word in sys.orig_argv), None)
if ROLE == "gate":
    try:
        with open(os.path.join(HERE, "first"), "x") as first:
            first.write(str(os.getpid()))
    except FileExistsError:
        with open(os.path.join(HERE, "first")) as first:
            if first.read() != str(os.getpid()):
                ROLE = None
if ROLE is not None:
    real = time.time_ns
    def time_ns():
        try:
            with open(os.path.join(HERE, ROLE)) as ahead:
                return real() + int(ahead.read() or 0) * 1_000_000_000
        except OSError:
            return real()
    time.time_ns = time_ns
"""
CAMPAIGN: Final = campaign(id="stack")
NAMED_MAX_S: Final = 2.0
COMMAND_S: Final = 6.0
"""What the command itself may take on a busy machine, and the supervisor to look, besides the two seconds."""

ABOUT_30: Final = r"(30\.0|29\.9)"
"""What is told of a clock that is 30 s ahead: asking took some milliseconds."""

Rows = dict[str, dict[str, Any]]


def _named_within(stack: RunningStack, holds: Callable[[Rows], bool]) -> Rows:
    began_s = time.monotonic()
    found = stack.wait_until(holds)
    assert time.monotonic() - began_s < NAMED_MAX_S + COMMAND_S
    return found


def _who(rows: Rows, words: str) -> set[str]:
    """Return whose reason the pattern is found in."""
    return {name for name, row in rows.items() if re.search(words, row["why"] or "")}


@pytest.mark.soak
def test_the_status_of_a_stack_names_whose_clock_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = tmp_path / "machine"
    machine.mkdir()
    (machine / "sitecustomize.py").write_text(FALSE_CLOCK)
    (tmp_path / "c.toml").write_text(CAMPAIGN)
    monkeypatch.setenv("PYTHONPATH", str(machine))
    with stack_up(tmp_path / "c.toml", tmp_path / "d", "--sets", 2, "--gates", 2) as stack:
        (machine / "gate").write_text("30")
        rows = _named_within(stack, lambda rows: bool(_who(rows, "the system's clock was set")))
        (wrong,) = _who(rows, ABOUT_30)
        assert wrong in {"gate-1", "gate-2"}
        assert rows[wrong]["state"] != "ready"

        (machine / "first").unlink()  # the next gate to start is on the same machine
        pid = rows[wrong]["pid"]
        monkeypatch.undo()
        os.kill(pid, signal.SIGKILL)
        rows = stack.wait_until(lambda rows: _who(rows, f"the clock of this gate is {ABOUT_30}") == {wrong})
        assert "ahead of set s1" in rows[wrong]["why"]
        assert "clocks.apart_ms_max" in rows[wrong]["why"]
        won = stack.grab(stack.tickets([f"u{number}" for number in range(20)]), "r1")
        assert {answer["outcome"] for answer in won.values()} == {"granted"}, "by the other gate"

        (machine / "control").write_text("-600")
        text = ""
        deadline_s = time.monotonic() + NAMED_MAX_S + COMMAND_S
        while "600.0" not in text and time.monotonic() < deadline_s:
            text = redrush("stack", "status", "--data", stack.data).out
        assert "600.00" in text
        assert "this control role" in text
