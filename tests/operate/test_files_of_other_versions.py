"""Commands that look, at the directory of an earlier redrush, or of a later one: its files stay as they are."""

import asyncio
import shutil
from contextlib import closing
from pathlib import Path
from typing import Final

import apsw
import pytest

from tests.acceptance.rollback.one_machine import run
from tests.wiring.group_world import group_server

FILES: Final = ("journal.db", "records.db", "packets.db", "payments.db")
BACK: Final[dict[str, tuple[int, tuple[str, ...]]]] = {
    "packets.db": (3, (
        "DROP INDEX paying", "DROP INDEX due",
        "CREATE INDEX under_way ON packets (stage, closes_us) WHERE stage IN (1, 2)",
    )),
    "payments.db": (1, ("ALTER TABLE bills DROP COLUMN digest",)),
    "journal.db": (2, ()),
}  # fmt: skip
"""What makes of a file one of a version before, which comes first."""
LOOKS: Final = (
    ("export", "grants"), ("find", "bob"), ("find", "bob", "--json"), ("payout", "list"), ("report",), ("reconcile",),
)  # fmt: skip


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which bob has a share of a packet of ann's."""
    directory = tmp_path_factory.mktemp("held")

    async def hold() -> None:
        async with group_server(directory) as people:
            await people.win("ann")
            packet = await people.send("ann", "10.00", 3)
            assert (await people.grab("bob", packet)).outcome == "granted"

    asyncio.run(hold())
    return directory


@pytest.fixture
def event(held: Path, tmp_path: Path) -> Path:
    shutil.copytree(held, tmp_path / "event")
    return tmp_path / "event"


def made(path: Path, version: int, *statements: str) -> None:
    with closing(apsw.Connection(str(path))) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.pragma("user_version", version)


def versions(directory: Path) -> dict[str, tuple[object, ...]]:
    """Return the version of each file, and its tables and indexes."""
    found: dict[str, tuple[object, ...]] = {}
    for name in FILES:
        with closing(apsw.Connection(str(directory / name), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            schema = connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()
            found[name] = (connection.pragma("user_version"), *schema)
    return found


def test_commands_that_look_read_older_files_as_they_are(event: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, (version, statements) in BACK.items():
        made(event / name, version, *statements)
    before = versions(event)
    assert [before[name][0] for name in BACK] == [3, 1, 2]
    for command in LOOKS:
        code, said = run(*command, "--data", str(event), monkeypatch=monkeypatch)
        assert code == 0, (command, said)
        assert versions(event) == before, command
    code, said = run("reconcile", "--data", str(event), monkeypatch=monkeypatch)
    assert "packets between people: 1, of 10.00 CNY; 1 of 3 shares granted" in said
    assert said.endswith("everything agrees\n")


def test_records_of_before_are_not_read_by_reconcile_and_it_says_so(
    event: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(event / "records.db", 6)
    code, said = run("reconcile", "--data", str(event), monkeypatch=monkeypatch)
    assert code == 2
    assert "records.db is of version 6, this redrush reads version 7: start the server by this redrush first" in said
    assert versions(event)["records.db"][0] == 6


@pytest.mark.parametrize("command", [*LOOKS, ("book", "check"), ("book", "accept", "--why", "x")], ids=" ".join)
def test_a_newer_book_is_told_as_such_and_nobody_is_to_mend_it(
    command: tuple[str, ...], event: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(event / ("payments.db" if command[0] == "payout" else "packets.db"), 99)
    before = versions(event)
    code, said = run(*command, "--data", str(event), monkeypatch=monkeypatch)
    assert code
    assert "of version 99, this redrush reads version" in said
    assert "use the redrush that wrote it" in said
    for advice in ("set rebuild", "set honour", "book accept", "restore", "everything agrees"):
        assert advice not in said
    assert versions(event) == before


@pytest.mark.parametrize(
    "command",
    [
        ("export", "grants"), ("find", "bob"), ("report",), ("reconcile",),
        ("set", "rebuild", "--why", "x", "--yes"), ("set", "promote", "--why", "x", "--yes"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_newer_journal_is_not_made_anew(
    command: tuple[str, ...], event: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(event / "journal.db", 99)
    before = versions(event)
    code, said = run(*command, "--data", str(event), monkeypatch=monkeypatch)
    assert code
    assert "version 99" in said
    for advice in ("redrush set", "everything agrees"):
        assert advice not in said
    assert versions(event) == before
    assert not list(event.glob("journal.db.*aside*"))
