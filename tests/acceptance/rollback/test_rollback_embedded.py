"""Every file of a data directory, lost, emptied, cut, with one bit changed, or an older copy put back.

Whatever is done: no slot is acknowledged to two users, nothing that was acknowledged changes, reconcile is never ok
over a loss, and the server either goes on rightly or says a sentence with the command that mends it; that is run.
"""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.rollback.one_machine import Template, go_on, make_template, run

Damage = Callable[[Template, Path], None]

FILES = (
    "campaign.json", "amounts.i64", "keys.json", "journal.db", "journal.db-wal", "journal.db-shm", "journal.db.lock",
    "journal.witness", "records.db", "records.db-wal", "switches.jsonl", "switches.mark", "event.json", "control-token",
)  # fmt: skip
JOURNAL = ("journal.db", "journal.db-wal", "journal.db-shm")


def lost(template: Template, path: Path) -> None:
    path.unlink(missing_ok=True)


def emptied(template: Template, path: Path) -> None:
    path.write_bytes(b"")


def cut(template: Template, path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def one_bit(template: Template, path: Path) -> None:
    content = bytearray(path.read_bytes())
    if content:
        written = [place for place, byte in enumerate(content) if byte] or [0]
        content[written[len(written) * 2 // 3]] ^= 4
    path.write_bytes(content)


def older(template: Template, path: Path) -> None:
    path.unlink(missing_ok=True)
    if (template.old / path.name).exists():
        shutil.copy(template.old / path.name, path)


def another_winner(template: Template, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        changed = connection.execute("UPDATE log SET users = '[\"mallory\"]' WHERE users = '[\"user3\"]'").rowcount
        connection.commit()
    assert changed == 1


FAULTS = (lost, emptied, cut, one_bit, older)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Template]:
    with pytest.MonkeyPatch.context() as patch:
        yield make_template(tmp_path_factory.mktemp("event"), patch)


def receipts_of(template: Template, path: Path) -> Path:
    path.write_text("".join(f"{receipt}\n" for _, _, receipt in template.told.grants.values()), encoding="utf-8")
    return path


def check(
    template: Template, tmp_path: Path, names: tuple[str, ...], fault: Damage, patch: pytest.MonkeyPatch
) -> list[str]:
    machine = template.copy(tmp_path / "data")
    for name in names:
        if (machine.data / name).exists():
            fault(template, machine.data / name)
    return go_on(machine, template, receipts_of(template, tmp_path / "receipts"), patch)


QUICK: list[tuple[str, tuple[str, ...], Damage, str]] = [
    ("the journal is lost", JOURNAL, lost, "set rebuild"),
    ("an older journal is put back", JOURNAL, older, "set rebuild"),
    ("the WAL is lost", ("journal.db-wal", "journal.db-shm"), lost, "set rebuild"),
    ("a row of the journal is changed", ("journal.db",), another_winner, "set rebuild"),
    (
        "journal and records are older",
        (*JOURNAL, "records.db", "records.db-wal", "records.db-shm"),
        older,
        "set rebuild",
    ),
    ("a bit of the campaign changes", ("campaign.json",), one_bit, "restore"),
    ("the keys are lost", ("keys.json",), lost, "restore"),
    ("the records are damaged", ("records.db",), emptied, ""),
    ("the witness is lost", ("journal.witness",), lost, ""),
    ("the switches are lost", ("switches.jsonl",), lost, "switch accept"),
    ("the switches are emptied", ("switches.jsonl",), emptied, "switch accept"),
    ("the switches are cut", ("switches.jsonl",), cut, "switch accept"),
    ("a bit of the switches changes", ("switches.jsonl",), one_bit, "switch accept"),
    ("older switches are put back", ("switches.jsonl",), older, "switch accept"),
    ("the mark of the switches is lost", ("switches.mark",), lost, ""),
    ("an older mark of the switches is put back", ("switches.mark",), older, ""),
]


@pytest.mark.parametrize(("names", "fault", "needs"), [case[1:] for case in QUICK], ids=[case[0] for case in QUICK])
def test_what_is_damaged_is_noticed_before_the_first_grant_and_mended(
    template: Template,
    tmp_path: Path,
    names: tuple[str, ...],
    fault: Damage,
    needs: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    followed = check(template, tmp_path, names, fault, monkeypatch)
    assert [command.startswith(needs) for command in followed[:1]] == ([True] if needs else [])


@pytest.mark.parametrize("fault", [lost, older], ids=["lost", "older"])
def test_reconcile_is_never_ok_over_a_journal_that_lacks_grants(
    template: Template, tmp_path: Path, fault: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = template.copy(tmp_path / "data")
    for name in ("journal.db-wal", "journal.db-shm") if fault is lost else JOURNAL:
        fault(template, machine.data / name)
    code, said = run("reconcile", "--data", str(machine.data), monkeypatch=monkeypatch)
    assert (code, "knew of seq" in said) == (1, True), said


@pytest.mark.soak
@pytest.mark.parametrize("fault", FAULTS, ids=[fault.__name__ for fault in FAULTS])
@pytest.mark.parametrize("name", FILES)
def test_every_file_times_every_fault(
    template: Template, tmp_path: Path, name: str, fault: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(template, tmp_path, (name,), fault, monkeypatch)


@pytest.mark.soak
@pytest.mark.parametrize("place", range(40))
@pytest.mark.parametrize(
    "name", ["journal.db", "journal.db-wal", "journal.witness", "records.db", "keys.json", "campaign.json"]
)
def test_a_bit_anywhere(
    template: Template, tmp_path: Path, name: str, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flip(_template: Template, path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[len(content) * place // 40] ^= 1 << place % 8
        path.write_bytes(content)

    check(template, tmp_path, (name,), flip, monkeypatch)
