"""Supervised processes: who dies is started again, who cannot live is told of in its own last words."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from redrush.processes.child import DEATHS_AT_START_MAX, LOG_BYTES_MAX, Child, ChildFailed, ChildSpec, State
from redrush.watch.log import server_log
from tests.patience import PATIENCE_S

LIVES = "import pathlib, signal, sys; pathlib.Path(sys.argv[1]).touch(); signal.pause()"


async def _nothing_lacking() -> str | None:
    return None


@asynccontextmanager
async def _child(
    tmp_path: Path,
    program: str,
    lacking: Callable[[], Awaitable[str | None]] = _nothing_lacking,
    alive: Callable[[], Awaitable[bool]] | None = None,
    stop_max_s: float = 10.0,
) -> AsyncIterator[tuple[Child, list[State]]]:
    """A child that runs a Python program, and the states that it went through."""
    states: list[State] = []

    async def command() -> Sequence[str]:
        return [sys.executable, "-c", program, str(tmp_path / "began")]

    spec = ChildSpec(
        name="x",
        role="x",
        set_id=None,
        address="",
        command=command,
        lacking=lacking,
        alive=alive,
        stop_max_s=stop_max_s,
    )
    child = Child(spec, tmp_path, server_log(), lambda: states.append(child.state))
    running = asyncio.create_task(child.run())
    try:
        yield child, states
    finally:
        await child.stop()
        await running
    assert child.state is State.STOPPED


async def _until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.01)


def test_a_child_that_is_killed_is_started_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with _child(tmp_path, LIVES) as (child, states):
            await child.started()
            first = child.process
            assert first is not None
            os.kill(first.pid, signal.SIGKILL)
            await _until(lambda: child.process not in (None, first))
            await _until(lambda: child.state is State.READY)
        assert State.RESTARTING in states

    asyncio.run(story())


def test_a_child_that_hangs_is_killed_and_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redrush.processes.child.HUNG_S", 0.2)
    well = True

    async def answers() -> bool:
        return well

    async def lacking() -> str | None:
        return None if well else "everything"

    async def story() -> None:
        nonlocal well
        async with _child(tmp_path, LIVES, lacking, answers) as (child, states):
            await child.started()
            first = child.process
            assert first is not None
            await child.look()
            assert child.process == first, "who answers is left alone"
            os.kill(first.pid, signal.SIGSTOP)
            well = False
            while child.process == first:
                await child.look()
                assert child.process != first or child.why == "everything"
                await asyncio.sleep(0.01)
            well = True
            await _until(lambda: child.process is not None and child.state is State.READY)
        assert State.RESTARTING in states

    asyncio.run(story())


def test_a_child_that_keeps_dying_is_told_of_in_its_own_words(tmp_path: Path) -> None:
    async def never() -> str | None:
        return "everything"

    async def story() -> None:
        async with _child(tmp_path, "raise SystemExit('no disk here')", never) as (child, _):
            with pytest.raises(ChildFailed, match="x does not start: no disk here"):
                await child.started()
        assert (tmp_path / "x.log").read_text().count("no disk here") >= DEATHS_AT_START_MAX

    asyncio.run(story())


def test_a_child_that_does_not_end_is_killed(tmp_path: Path) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + LIVES

    async def story() -> None:
        async with _child(tmp_path, deaf, stop_max_s=0.1) as (child, _):
            await _until((tmp_path / "began").exists)
            process = child.process
            assert process is not None
            await child.stop()
            assert not process.alive

    asyncio.run(story())


def test_a_log_is_cut_when_it_has_grown(tmp_path: Path) -> None:
    async def story() -> None:
        async with _child(tmp_path, LIVES) as (child, _):
            await child.started()
            log = tmp_path / "x.log"
            log.write_bytes(bytes(LOG_BYTES_MAX))
            await child.look()
            assert log.stat().st_size == LOG_BYTES_MAX, "not before it is too large"
            log.write_bytes(bytes(LOG_BYTES_MAX + 1))
            await child.look()
            assert (log.stat().st_size, (tmp_path / "x.log.1").stat().st_size) == (0, LOG_BYTES_MAX + 1)

    asyncio.run(story())
