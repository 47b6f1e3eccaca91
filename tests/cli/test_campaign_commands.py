"""`redrush serve FILE…` and `redrush campaign`: several campaigns on one server, as an operator sees them."""

import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from redrush.processes.loopback import free_port
from redrush.processes.server import ServerProcess
from tests.cli.test_commands import Run, is_one_sentence, run
from tests.patience import PATIENCE_S, OwnTime

__all__ = ["run"]

TEXT = """
[campaign]
id = "{id}"
name = "Campaign {id}"
currency = "CNY"
[[round]]
id = "{id}-round"
opens = 2040-01-01T00:00:00Z
lasts = "1h"
kind = "equal"
total = "10.00"
packets = 10
"""


def _write(*names: str) -> list[str]:
    for name in names:
        Path(f"{name}.toml").write_text(TEXT.format(id=name), encoding="utf-8")
    return [f"{name}.toml" for name in names]


def _state(port: int, path: str) -> str | int:
    """Return the state of a round, or the status of what was answered instead, asking a sleeping one again."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
                return str(json.load(answer)["state"])
        except urllib.error.HTTPError as refused:
            if refused.code != 503 or time.monotonic() > deadline_s:
                return refused.code
            time.sleep(0.05)


def test_several_files_are_served_at_once_and_more_are_added_and_ended(run: Run, tmp_path: Path) -> None:
    files = _write("one", "two", "three")
    port = free_port()
    command = [sys.executable, "-m", "redrush", "serve", *files[:2], "--data", "d", "--port", str(port)]
    server = ServerProcess(command, tmp_path / "log")
    server.start(PATIENCE_S)
    try:
        paths = {name: f"/v1/campaigns/{name}/rounds/{name}-round" for name in ("one", "two", "three")}
        assert [_state(port, paths[name]) for name in ("one", "two", "three")] == ["not_open", "not_open", 404]
        added = run("campaign", "add", files[2], "--data", "d", "--why", "late idea", "--json")
        assert (added.code, json.loads(added.out)["new"]) == (0, True), added.err
        taken = OwnTime(server.pid)
        while (state := _state(port, paths["three"])) == 404 and taken.passed_s < 1.0:
            time.sleep(0.02)
        assert state == "not_open"
        assert run("campaign", "list", "--data", "d").out.splitlines() == [
            "one: ahead, Campaign one",
            "two: ahead, Campaign two",
            "three: ahead, Campaign three",
        ]
        shown = run("campaign", "show", "three", "--data", "d").out
        assert "  round three-round: 2040-01-01T00:00:00.000000Z to 2040-01-01T01:00:00.000000Z, 10 equal " in shown
        refused = run("campaign", "end", "three", "--data", "d", "--why", "w")
        assert (refused.code, refused.out, is_one_sentence(refused.err)) == (2, "", True)
        assert "has a round to come" in refused.err
        assert run("campaign", "end", "three", "--data", "d", "--why", "a mistake", "--yes").code == 0
        deadline_s = time.monotonic() + PATIENCE_S
        while (state := _state(port, paths["three"])) != 404 and time.monotonic() < deadline_s:
            time.sleep(0.02)
        assert state == 404
        ticket = run("ticket", "--data", "d/campaigns/two", "--user", "ann")
        assert ticket.code == 0, "a campaign is a whole event in a directory of its own"
    finally:
        server.kill()


def test_files_that_do_not_go_together_are_refused_before_anything_is_sealed(run: Run) -> None:
    (file,) = _write("one")
    refused = run("serve", file, file, "--data", "d", "--port", "0")
    assert (refused.code, refused.out, is_one_sentence(refused.err)) == (2, "", True)
    assert 'd: "one" is the first campaign of this directory; choose another id' in refused.err
    assert not Path("d").exists()
