"""The matrix of what may happen to the files of a set's servers: lost, older, cut, wiped, other settings.

Each case ends in going on rightly, or in a sentence with the command that mends it, and that command mends it; nobody
is ever told a slot that somebody else was told.
"""

import asyncio
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest

from redrush.processes.valkey_server import ValkeyServer
from tests.acceptance.rollback.wounded_set import WoundedSet, append_only_file, cut, flip_bit, turn_off, wounded_set

LONG_CUT: Final = 3_000
"""Bytes of several of the last records."""

Hurt = Callable[[list[ValkeyServer], Path], None]


def _copied(servers: list[ValkeyServer], backup: Path) -> None:
    for server in servers:
        subprocess.run(["cp", "--archive", str(server.directory), str(backup)], check=True)


def _put_back(servers: list[ValkeyServer], backup: Path) -> None:
    for server in servers:
        shutil.rmtree(server.directory)
        subprocess.run(["cp", "--archive", str(backup / server.directory.name), str(server.directory)], check=True)


def _put_primary_back(servers: list[ValkeyServer], backup: Path) -> None:
    _put_back(servers[:1], backup)


def _cut_all(servers: list[ValkeyServer], _backup: Path) -> None:
    for server in servers:
        cut(append_only_file(server), LONG_CUT)


def _cut_primary(servers: list[ValkeyServer], _backup: Path) -> None:
    cut(append_only_file(servers[0]), LONG_CUT)


def _cut_last(servers: list[ValkeyServer], _backup: Path) -> None:
    for server in servers:
        cut(append_only_file(server), 200)


def _wipe_all(servers: list[ValkeyServer], _backup: Path) -> None:
    for server in servers:
        shutil.rmtree(server.directory)


def _wipe_primary(servers: list[ValkeyServer], _backup: Path) -> None:
    shutil.rmtree(servers[0].directory)


def _empty_files(servers: list[ValkeyServer], _backup: Path) -> None:
    for server in servers:
        append_only_file(server).write_bytes(b"")


def _one_bit(servers: list[ValkeyServer], _backup: Path) -> None:
    """In the protocol of a late record: the file cannot be read then, or is cut there."""
    for server in servers:
        path = append_only_file(server)
        flip_bit(path, path.read_bytes().rindex(b"*", 0, -LONG_CUT // 2) / path.stat().st_size)


def _nothing(_servers: list[ValkeyServer], _backup: Path) -> None:
    """A power cut."""


HURTS: Final[dict[str, Hurt]] = {
    "older": _put_back,
    "primary-older": _put_primary_back,
    "cut": _cut_all,
    "primary-cut": _cut_primary,
    "last-record-cut": _cut_last,
    "wiped": _wipe_all,
    "primary-wiped": _wipe_primary,
    "emptied": _empty_files,
    "one-bit": _one_bit,
    "power-cut": _nothing,
}
UP, DOWN, NO_WITNESS, NO_RECORDS = "up", "down", "no-witness", "no-records"
"""The control role and the gate run on; are started anew; without their note; while the database is away."""


async def _case(directory: Path, hurt: Hurt, replicas: int, around: str) -> str | None:
    """Return the sentence that the set ended in, None if it went on by itself."""
    backup = directory / "backup"
    backup.mkdir()
    async with wounded_set(directory, replicas) as wounded:
        await wounded.rush()
        await wounded.record()  # what the database has where it is away from now on
        wounded.kill_all()
        _copied(wounded.servers, backup)
        await wounded.start_all()
        await wounded.whole()
        await wounded.rush()
        if around != NO_RECORDS:
            await wounded.record()
            if around == UP:
                await wounded.rush(1)  # acknowledged and not recorded
        await wounded.witnessed()
        return await _hurt_and_mended(wounded, lambda: hurt(wounded.servers, backup), around)


async def _hurt_and_mended(wounded: WoundedSet, hurt: Callable[[], None], around: str) -> str | None:
    wounded.kill_all()
    if around != UP:
        await wounded.stop_watching()
        wounded.gate_remembers = False
        await wounded.forget_at_the_gate()
    hurt()
    if around == NO_WITNESS:
        wounded.lose_witness()
    wounded.records_are_away = around == NO_RECORDS
    await wounded.start_all()
    if around != UP:
        await wounded.watch()
    sentence = await wounded.ends()
    wounded.records_are_away = False
    if sentence is not None:
        await wounded.mend(sentence)
    await wounded.rush(2)
    await wounded.ask_again()
    assert not wounded.problems
    return sentence


def _run(case: Awaitable[str | None]) -> str | None:
    async def run() -> str | None:
        return await case

    return asyncio.run(run())


FAST: Final = (
    ("older", 0, DOWN),
    ("older", 1, UP),
    ("cut", 1, UP),
    ("primary-cut", 1, UP),
    ("wiped", 1, DOWN),
    ("older", 1, NO_WITNESS),
    ("power-cut", 0, DOWN),
    ("power-cut", 1, NO_RECORDS),
)


def test_a_set_that_lost_records_is_mended_and_one_that_lost_none_goes_on(tmp_path: Path) -> None:
    async def one(number: int, hurt: str, replicas: int, around: str) -> None:
        directory = tmp_path / str(number)
        directory.mkdir()
        sentence = await _case(directory, HURTS[hurt], replicas, around)
        goes_on = hurt == "power-cut" or (hurt == "primary-cut" and replicas > 0)
        assert (sentence is None) == goes_on, f"{hurt}, {replicas}, {around}: {sentence}"

    async def run() -> None:
        async with asyncio.TaskGroup() as cases:  # mostly they wait
            for number, case in enumerate(FAST):
                cases.create_task(one(number, *case))

    asyncio.run(run())


@pytest.mark.soak
@pytest.mark.parametrize("around", [UP, DOWN, NO_WITNESS, NO_RECORDS])
@pytest.mark.parametrize("replicas", [0, 1])
@pytest.mark.parametrize("hurt", HURTS)
def test_whatever_happens_to_the_files_no_slot_is_acknowledged_twice(
    hurt: str, replicas: int, around: str, tmp_path: Path
) -> None:
    sentence = _run(_case(tmp_path, HURTS[hurt], replicas, around))
    if hurt == "power-cut":
        assert sentence is None


@pytest.mark.parametrize("replicas", [0, 1])
def test_what_was_written_while_no_file_was_is_missed_after_a_kill(replicas: int, tmp_path: Path) -> None:
    """Somebody turns the primary's append-only file off; it is killed. What it had acknowledged before is there."""

    async def run() -> None:
        async with wounded_set(tmp_path, replicas) as wounded:
            await wounded.rush()
            await wounded.record()
            await wounded.witnessed()
            await turn_off(wounded.servers[0])
            await _hurt_and_mended(wounded, lambda: None, UP)

    asyncio.run(run())
