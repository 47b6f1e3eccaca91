"""The server's log as collectors read it, and what loading it may cost a start."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from redrush.watch.log import server_log


def test_an_event_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    log = server_log()
    log.info("春节", round="r1", path=Path("/srv/x"))
    log.error("two\nlines", fault="a\nb")
    first, second = capsys.readouterr().err.splitlines()
    read = json.loads(first)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", read.pop("timestamp"))
    assert read == {"event": "春节", "level": "info", "round": "r1", "path": repr(Path("/srv/x"))}
    assert "春节" in first
    assert [json.loads(second)[key] for key in ("event", "level", "fault")] == ["two\nlines", "error", "a\nb"]


@pytest.mark.parametrize(("level", "said"), [("warning", "warning"), ("critical", "critical")])
def test_each_level_is_named(level: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    getattr(server_log(), level)("it happened")
    assert json.loads(capsys.readouterr().err)["level"] == said


@pytest.mark.parametrize(
    ("started", "heavy"),
    [("embedded", "numpy rich structlog matplotlib psycopg hiredis aiohttp"), ("gate_role", "psycopg aiohttp")],
)
def test_a_start_loads_nothing_that_only_others_need(started: str, heavy: str) -> None:
    script = (
        f"import sys; import redrush.cli.main, redrush.wiring.{started}\n"
        f"print([name for name in {heavy.split()} if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.splitlines()[-1] == "[]"
