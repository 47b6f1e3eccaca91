"""The whole embedded server, killed again and again under load; see `event` for what is audited after each kill.

Replay with REDRUSH_CRASH_SEED set to the seed that a failure names; moments of the machine differ, the plans do not.
"""

import asyncio
import os
import secrets
from pathlib import Path

import pytest
from tests.acceptance.crash.deaths import Point
from tests.acceptance.crash.killing import POWER_LOSS, RANDOM, Killer, Toll, deaths_of_block

REPORT_EVERY = 25


def _seed() -> str:
    return os.environ.get("REDRUSH_CRASH_SEED") or secrets.token_hex(4)


def _run(kills: int, directory: Path, capsys: pytest.CaptureFixture[str], *, aloud: bool) -> Toll:
    seed = _seed()

    def say(text: str) -> None:
        with capsys.disabled():
            print(text, flush=True)

    def report(toll: Toll) -> None:
        if aloud and toll.kills.total() % REPORT_EVERY == 0:
            say(f"\n{toll}")

    print(f"REDRUSH_CRASH_SEED={seed}")
    if aloud:
        say(f"\nREDRUSH_CRASH_SEED={seed}")
    toll = asyncio.run(Killer(seed, directory, report).kill(kills))
    if aloud:
        say(f"\n{toll}")
    return toll


def _check(toll: Toll, kills: int) -> None:
    assert toll.kills.total() >= kills
    assert {*Point, RANDOM, POWER_LOSS} <= toll.kills.keys(), f"not reached: {toll}"
    assert toll.grants > 10 * toll.events


def test_no_kill_loses_doubles_or_invents_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kills = len(deaths_of_block())
    _check(_run(kills, tmp_path, capsys, aloud=False), kills)


@pytest.mark.soak
def test_a_thousand_kills_lose_double_or_invent_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kills = int(os.environ.get("REDRUSH_SOAK_KILLS", "1000"))
    _check(_run(kills, tmp_path, capsys, aloud=True), kills)
