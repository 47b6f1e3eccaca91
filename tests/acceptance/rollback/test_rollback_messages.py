"""The book of messages: lost, emptied, cut, one bit changed, an older copy.

A book that lacks something is refused before anybody is told anything, in a sentence with the commands that mend it.
Once they have, nobody is told twice, and whoever wins then is told.
"""

import asyncio
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from redrush.errors import RedrushError
from redrush.records.sqlite.book_mark import mark_path
from tests.acceptance.rollback.one_machine import follow, run
from tests.acceptance.rollback.test_rollback_embedded import cut, emptied, lost, one_bit
from tests.wiring.message_world import World, a_world

TOLD = '[[message]]\nby = "shop"\n'
"""Of the company's system alone: it counts what it is told."""
COMMANDS_MAX = 3
NAMES = ("messages.db", mark_path(Path("messages.db")).name)
Damage = Callable[[Any, Path], None]


class Event(NamedTuple):
    """The event as it was ended, an older state of it, and a backup of the one as it was ended."""

    now: Path
    old: Path
    backup: Path


async def win_and_be_told(world: World, *users: str) -> None:
    async with world.server(messages=TOLD) as people:
        await people.win(*users)
        await world.until(lambda: set(users) <= {said["user"] for said in world.shop.told.values()})
        await world.until(lambda: {str(one.state) for one in world.kept("shop")} == {"sent"})


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Event]:
    root = tmp_path_factory.mktemp("told")
    data = root / "data"
    data.mkdir()

    async def live(*users: str) -> None:
        async with a_world(data) as world:
            await win_and_be_told(world, *users)

    with pytest.MonkeyPatch.context() as patch:
        asyncio.run(live("ann", "bob"))
        shutil.copytree(data, root / "old")
        asyncio.run(live("dora"))
        shutil.copytree(data, root / "now")
        code, said = run("backup", str(root / "backup"), "--data", str(data), monkeypatch=patch)
        assert code == 0, said
        shutil.rmtree(data)
        yield Event(root / "now", root / "old", root / "backup")


def older(event: Event, path: Path) -> None:
    shutil.copy(event.old / path.name, path)


def go_on(event: Event, data: Path, patch: pytest.MonkeyPatch) -> list[str]:
    """Serve, doing what the sentence says if it is refused; return the commands that were given."""

    async def served() -> None:
        async with a_world(data) as world:
            await win_and_be_told(world, "carl")
            assert [said["user"] for said in world.shop.told.values()] == ["carl"]
            assert world.shop.asked == 1, "somebody was told twice"
            assert sorted(one.user for one in world.kept("shop")) == ["ann", "bob", "carl", "dora"]

    followed: list[str] = []
    for _ in range(COMMANDS_MAX):
        try:
            asyncio.run(served())
        except RedrushError as refusal:
            followed += follow(str(refusal), {"…": "a test", "BACKUP": str(event.backup)}, patch)
        else:
            return followed
    raise AssertionError(f"still not served after {followed}")


def damaged(event: Event, tmp_path: Path, name: str, fault: Damage) -> Path:
    data = tmp_path / "data"
    shutil.copytree(event.now, data)
    fault(event, data / name)
    return data


def another_state(_event: Event, path: Path) -> None:
    changed(path, "state = 'seft'")


def another_user(_event: Event, path: Path) -> None:
    changed(path, "\"user\" = 'anl'")


def changed(path: Path, what: str) -> None:
    with closing(sqlite3.connect(path)) as book:
        assert book.execute(f"UPDATE messages SET {what} WHERE \"user\" = 'ann'").rowcount == 1
        book.commit()


@pytest.mark.soak
@pytest.mark.parametrize(
    "fault", [lost, emptied, cut, older, another_state, another_user], ids=lambda fault: fault.__name__
)
def test_a_book_of_messages_that_is_damaged_is_refused_and_put_back(
    event: Event, tmp_path: Path, fault: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = go_on(event, damaged(event, tmp_path, "messages.db", fault), monkeypatch)
    assert followed, "it was not noticed"
    assert followed[0].startswith(f"restore BACKUP --data {tmp_path / 'data'} --only messages.db")


@pytest.mark.soak
@pytest.mark.parametrize("fault", [lost, emptied, cut, older, one_bit], ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_both_files_times_every_fault(
    event: Event, tmp_path: Path, name: str, fault: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on(event, damaged(event, tmp_path, name, fault), monkeypatch)


@pytest.mark.soak
@pytest.mark.parametrize("place", range(40))
def test_a_bit_anywhere(event: Event, tmp_path: Path, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def flip(_event: Event, path: Path) -> None:
        content = bytearray(path.read_bytes())
        written = [at for at, byte in enumerate(content) if byte]
        content[written[len(written) * place // 40]] ^= 1 << place % 8
        path.write_bytes(content)

    go_on(event, damaged(event, tmp_path, "messages.db", flip), monkeypatch)
