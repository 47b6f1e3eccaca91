"""The whole embedded server, killed again and again under load; see `event` for what is audited after each kill.

Replay with REDRUSH_CRASH_SEED set to the seed that a failure names; moments of the machine differ, the plans do not.
"""

import asyncio
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.crash.deaths import Point
from tests.acceptance.crash.killing import POWER_LOSS, RANDOM, Killer, Toll, deaths_of_block

REPORT_EVERY = 25


def _seed() -> str:
    return os.environ.get("REDRUSH_CRASH_SEED") or secrets.token_hex(4)


def _run(kills: int, directory: Path, say: Callable[[str], None]) -> Toll:
    seed = _seed()
    say(f"REDRUSH_CRASH_SEED={seed}")

    def report(toll: Toll) -> None:
        if toll.kills.total() % REPORT_EVERY == 0:
            say(str(toll))

    toll = asyncio.run(Killer(seed, directory, report).kill(kills))
    say(str(toll))
    return toll


def _check(toll: Toll, kills: int) -> None:
    assert toll.kills.total() >= kills
    assert {*Point, RANDOM, POWER_LOSS} <= toll.kills.keys(), f"not reached: {toll}"
    assert toll.grants > 10 * toll.events


def test_no_kill_loses_doubles_or_invents_anything(tmp_path: Path) -> None:
    kills = len(deaths_of_block())
    _check(_run(kills, tmp_path, _write), kills)


@pytest.mark.soak
def test_a_thousand_kills_lose_double_or_invent_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kills = int(os.environ.get("REDRUSH_SOAK_KILLS", "1000"))

    def say_at_once(text: str) -> None:
        with capsys.disabled():
            _write(f"\n{text}")

    _check(_run(kills, tmp_path, say_at_once), kills)


def _write(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
