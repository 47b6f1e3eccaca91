"""The example of the README, as it stands, against a real server."""

import subprocess
import sys
from pathlib import Path

import pytest

from redrush.client.policy import Showing, Step, waiting_text
from redrush.core.load.client_policy import ClientPolicy
from tests.client.gates import serving

EXAMPLE = Path(__file__).parents[2] / "examples" / "grab.py"


def _grab(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, EXAMPLE, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_example_waits_for_the_opening_and_tells_how_it_went(tmp_path: Path) -> None:
    client = 'start_window = "100ms"\ninterval = "200ms"\n'
    with serving(tmp_path, 3, client, ["alice", "bob"]) as (url, _opens_s, (alice, bob)):
        won, again, lost = _grab(url, "r1", alice), _grab(url, "r1", alice), _grab(url, "r1", bob)
        wrong = _grab(url, "r1", "no ticket")
    assert (won.returncode, won.stderr) == (0, "")
    *_, granted, receipt = won.stdout.splitlines()
    assert granted == "granted: 1.00 CNY"
    assert receipt.startswith("receipt: rr1~")
    assert again.stdout.splitlines()[-1] == receipt, "asking again gives the same grant"
    assert (lost.returncode, lost.stdout.splitlines()[-1]) == (1, "empty")
    assert (wrong.returncode, wrong.stdout.splitlines()[-1]) == (1, "no packet: refused, status 401")


def test_whoever_lacks_the_client_is_told_what_installs_it() -> None:
    lacking = "import sys, runpy; sys.modules['aiohttp'] = None; runpy.run_path(sys.argv[1])"
    told = subprocess.run(
        [sys.executable, "-c", lacking, EXAMPLE], capture_output=True, text=True, timeout=60, check=False
    )
    assert (told.returncode, told.stderr.count("\n")) == (1, 1)
    assert told.stderr.startswith('grab.py: redrush.client needs the extra "client" (aiohttp is missing); install it: ')


@pytest.mark.parametrize("language", ["en", "zh"])
def test_who_gives_up_without_ever_reaching_a_gate_is_told_why(language: str) -> None:
    step = Step(None, Showing.GIVEN_UP)
    told = waiting_text(ClientPolicy(), step, language, unreached="http://x: connection refused")
    assert "http://x: connection refused" in told
    assert told != waiting_text(ClientPolicy(), step, language)
