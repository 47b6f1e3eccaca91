"""The whole stack, broken under load; see `run` for what a run is, and `faults` for what is done to it.

Replay with REDRUSH_CHAOS_SEED set to the seed that a failure names; moments of the machine differ, the plans do not.
"""

import asyncio
import json
import os
import secrets
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.acceptance.chaos.run import Toll
from tests.acceptance.chaos.stack import REPOSITORY

RUNS_PER_EVENT: Final = 5
"""A stack takes seconds to come up; and one that has outlived several runs is another case than a fresh one."""
LANES: Final = 2
"""Events at the same time. A stack has some fifteen processes, so more would only queue up for the cores."""
EVENT_DEADLINE_S: Final = 60.0
RUN_DEADLINE_S: Final = 180.0
"""Beyond these a run hangs. They only end the test: what must come in time is judged inside."""
PACKAGES: Final = ("iproute2", "iptables")


class EventFailed(AssertionError):
    """An event's own words."""


def _seed(usual: str) -> str:
    return os.environ.get("REDRUSH_CHAOS_SEED") or usual


def _need_network() -> None:
    missing = [
        name for name, program in zip(PACKAGES, ("ip", "iptables"), strict=True) if shutil.which(program) is None
    ]
    if missing:
        pytest.fail(f"tearing networks needs Debian packages: apt-get install --yes {' '.join(PACKAGES)}")
    if os.geteuid() != 0:
        pytest.fail("tearing networks needs root: a network namespace of its own, and iptables in it")


async def _event(seed: str, directory: Path, database: Path, runs: int, *, network: bool, files: bool) -> Toll:
    """Run one event in a process, and a network, of its own. Raises EventFailed; the directory stays then."""
    own_network = ("unshare", "--net") if network else ()
    arguments = ["--seed", seed, "--directory", str(directory), "--database", str(database), "--runs", str(runs)]
    arguments += [*["--network"] * network, *["--files"] * files]
    process = await asyncio.create_subprocess_exec(
        *own_network, sys.executable, "-m", "tests.acceptance.chaos.run", *arguments,
        cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(EVENT_DEADLINE_S + runs * RUN_DEADLINE_S):
            out, err = await process.communicate()
    except TimeoutError:
        raise EventFailed(f"seed {seed}, {directory}: the event hangs") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise EventFailed(f"seed {seed}, {directory}:\n{err.decode()}")
    shutil.rmtree(directory)  # what went wrong stays; what went well would fill the disk
    return Toll.of_json(json.loads(out.splitlines()[-1]))


async def _events(
    seed: str,
    runs: int,
    per_event: int,
    directory: Path,
    database: Path,
    say: Callable[[str], None],
    *,
    network: bool,
    files: bool = False,
) -> Toll:
    """Do at least that many runs, some events at the same time. Raises ExceptionGroup of EventFailed."""
    began_s, toll = time.monotonic(), Toll()
    say(f"REDRUSH_CHAOS_SEED={seed}")
    waiting = deque(range(-(-runs // per_event)))

    async def lane() -> None:
        while waiting:
            number = waiting.popleft()
            toll.add(
                await _event(
                    f"{seed}:{number}", directory / f"event-{number}", database, per_event, network=network, files=files
                )
            )
            say(f"{time.monotonic() - began_s:.0f} s: {toll}")

    async with asyncio.TaskGroup() as lanes:
        for _ in range(LANES):
            lanes.create_task(lane())
    assert toll.runs >= runs
    assert toll.grants > 100 * runs
    assert not toll.surprises, f"processes that nobody killed have died: {toll.surprises}"
    return toll


def test_no_kill_and_no_standstill_of_any_process_loses_doubles_or_invents_anything(
    tmp_path: Path, prepared_postgres: Path
) -> None:
    asyncio.run(_events(_seed("short"), 4, 2, tmp_path, prepared_postgres, _write, network=False))


@pytest.mark.peers
def test_no_torn_network_loses_doubles_or_invents_anything(tmp_path: Path, prepared_postgres: Path) -> None:
    _need_network()
    asyncio.run(_events(_seed("torn"), 4, 2, tmp_path, prepared_postgres, _write, network=True))


@pytest.mark.soak
def test_a_set_whose_files_went_back_in_time_is_mended_as_it_says_and_nothing_is_lost_or_doubled(
    tmp_path: Path, prepared_postgres: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = int(os.environ.get("REDRUSH_SOAK_RUNS", "40"))

    def say_at_once(text: str) -> None:
        with capsys.disabled():
            _write(f"\n{text}")

    seed = _seed(secrets.token_hex(4))
    toll = asyncio.run(
        _events(seed, runs, RUNS_PER_EVENT, tmp_path, prepared_postgres, say_at_once, network=False, files=True)
    )
    assert toll.mended > 0


@pytest.mark.soak
def test_two_hundred_runs_lose_double_or_invent_nothing(
    tmp_path: Path, prepared_postgres: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _need_network()
    runs = int(os.environ.get("REDRUSH_SOAK_RUNS", "200"))

    def say_at_once(text: str) -> None:
        with capsys.disabled():
            _write(f"\n{text}")

    seed = _seed(secrets.token_hex(4))
    asyncio.run(_events(seed, runs, RUNS_PER_EVENT, tmp_path, prepared_postgres, say_at_once, network=True))


def _write(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
