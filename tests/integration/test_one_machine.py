"""One data directory: of the version before, taken away under its server, copied, linked, backed up and restored."""

import asyncio
import json
import shutil
import sqlite3
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from redrush.control.data_dir import DataDir
from redrush.control.event import load_event
from redrush.core.rush.campaign import Slots
from redrush.errors import ConfigError, RedrushError
from redrush.http import answers
from redrush.ports.store import Granted, PotTerms, StoreFailed, claims_of
from redrush.stores.sqlite import LogReader, SqliteStore
from redrush.stores.sqlite.guard import GUARD_S
from tests.acceptance.rollback.one_machine import CAMPAIGN, Machine, Told, run

BEFORE = Path(__file__).parent / "fixtures" / "directory_before"

VERSION_1 = """
CREATE TABLE log (
    seq        INTEGER PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (kind IN ('opened', 'granted', 'taken', 'given')),
    pot        TEXT NOT NULL,
    first_slot INTEGER,
    count      INTEGER,
    at_us      INTEGER,
    users      TEXT,
    slots      TEXT,
    transfer   TEXT
) STRICT;
INSERT INTO log VALUES (1, 'opened', 'p', 0, 9, NULL, NULL, NULL, NULL);
INSERT INTO log VALUES (2, 'granted', 'p', 0, 2, 7, '["a","b"]', NULL, NULL);
PRAGMA application_id = 1919185514;
PRAGMA user_version = 1;
"""
"""A journal as the version before this one wrote it."""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    file = tmp_path / "campaign.toml"
    file.write_text(CAMPAIGN, encoding="utf-8")
    return Machine(file, tmp_path / "data")


def test_a_journal_of_the_version_before_is_read_and_opened_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1)
    with LogReader(path) as reader:
        assert [record.users for record in reader.records() if isinstance(record, Granted)] == [("a", "b")]

    async def reopened() -> None:
        for user, slot in (("c", 2), ("d", 3)):
            store = await SqliteStore.open_path(path)
            (known,) = await store.claim(claims_of("p", ["a"]), 9)
            (new,) = await store.claim(claims_of("p", [user]), 9)
            assert (getattr(known, "slot", None), getattr(new, "slot", None)) == (0, slot)
            await store.close()

    asyncio.run(reopened())


def test_a_whole_directory_of_the_version_before_is_served_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was made by that version's own code, on 2026-11-28: two servings, the second one killed, and a switch."""
    machine = Machine(BEFORE / "campaign.toml", tmp_path / "data")
    with tarfile.open(BEFORE / "data.tar.gz") as archive:
        archive.extractall(machine.data, filter="data")
    grants = {user: tuple(told) for user, told in json.loads((BEFORE / "told.json").read_bytes()).items()}
    data = ("--data", str(machine.data))
    for _ in range(2):
        machine.serve(list(grants), Told(dict(grants)))  # everybody is told just what they were told then
    code, said = run("export", "grants", *data, "--format", "jsonl", monkeypatch=monkeypatch)
    assert code == 0, said
    exported = {line["user"]: (line["slot"], line["amount"]) for line in map(json.loads, said.splitlines())}
    assert exported == {user: (slot, amount) for user, (slot, amount, _) in grants.items()}
    code, said = run("reconcile", *data, monkeypatch=monkeypatch)
    assert code == 0, said
    code, said = run("switch", "log", *data, "--json", monkeypatch=monkeypatch)
    assert (code, [entry["why"] for entry in json.loads(said)["entries"]]) == (0, ["a fixture"])
    for name in ("journal.db", "journal.db-wal"):
        (machine.data / name).unlink(missing_ok=True)
    with pytest.raises(ConfigError, match="set rebuild"):  # it is watched over from now on
        machine.serve(["early0"], Told())


def test_an_orderly_stop_leaves_everything_in_the_journal_itself(machine: Machine, tmp_path: Path) -> None:
    machine.serve([f"u{k}" for k in range(20)], Told())
    for name in ("journal.db", "records.db"):
        shutil.copy(machine.data / name, tmp_path / name)
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            table = "log WHERE kind = 'granted'" if name == "journal.db" else "grants"
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (20,)


@pytest.mark.parametrize("name", ["journal.db", "journal.db-wal", "."])
@pytest.mark.parametrize("how", ["deleted", "moved"])
def test_a_journal_that_is_taken_away_stops_its_store_within_a_second(name: str, how: str, tmp_path: Path) -> None:
    directory = tmp_path / "data"
    directory.mkdir()

    async def life() -> None:
        failed: asyncio.Future[StoreFailed] = asyncio.get_running_loop().create_future()
        store = await SqliteStore.open_path(directory / "journal.db", on_failure=failed.set_result)
        await store.open([PotTerms("p", Slots(0, 9))])
        await store.claim(claims_of("p", ["a"]), 1)
        await asyncio.sleep(0)
        if how == "moved":
            (directory / name).rename(tmp_path / "elsewhere")
        elif name == ".":
            shutil.rmtree(directory)
        else:
            (directory / name).unlink()
        fault = await asyncio.wait_for(failed, 2 * GUARD_S + 1)
        assert "was deleted or moved away while it was in use" in str(fault)
        with pytest.raises(StoreFailed, match="was deleted or moved"):
            await store.claim(claims_of("p", ["b"]), 2)
        assert [record.seq for record in await store.log(0, 10)] == [1, 2]  # the recorder gets the rest
        await store.close()

    asyncio.run(life())


OPENS = """
import asyncio, sys
from pathlib import Path
from redrush.stores.sqlite import SqliteStore
asyncio.run(SqliteStore.open_path(Path(sys.argv[1])))
"""


def test_a_hard_link_of_a_journal_in_use_has_the_same_lock(tmp_path: Path) -> None:
    async def life() -> None:
        store = await SqliteStore.open_path(tmp_path / "journal.db")
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "journal.db").hardlink_to(tmp_path / "journal.db")
        other = [sys.executable, "-c", OPENS, str(tmp_path / "other" / "journal.db")]
        ran = subprocess.run(other, check=False, capture_output=True, text=True, timeout=60)
        assert "StoreInUse" in ran.stderr
        assert "a hard link of a journal in use" in ran.stderr
        await store.close()

    asyncio.run(life())


def test_a_copied_directory_is_noticed_while_the_original_is_there_and_may_be_taken_over(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    machine.serve(["a"], told)
    copy = Machine(machine.file, tmp_path / "copy")
    shutil.copytree(machine.data, copy.data)
    with pytest.raises(ConfigError, match=f"is a copy of {machine.data}"):
        copy.serve([], told)
    code, said = run("set", "promote", "--data", str(copy.data), "--why", "moved house", monkeypatch=monkeypatch)
    assert (code, "--yes" in said) == (2, True), said
    code, said = run(
        "set", "promote", "--data", str(copy.data), "--why", "moved house", "--yes", monkeypatch=monkeypatch
    )
    assert code == 0, said
    copy.serve(["a", "b"], told)
    assert json.loads((copy.data / "generations.jsonl").read_bytes())["why"] == "moved house"


def test_files_are_their_owners_alone_also_where_they_were_there_before(machine: Machine) -> None:
    machine.serve(["a"], Told())
    machine.data.chmod(0o755)
    for path in machine.data.iterdir():
        path.chmod(0o644)
    machine.serve(["a"], Told())
    assert stat.S_IMODE(machine.data.stat().st_mode) == 0o700
    open_to_others = [path.name for path in machine.data.iterdir() if stat.S_IMODE(path.stat().st_mode) != 0o600]
    assert not open_to_others


def test_one_changed_digit_of_the_opening_is_noticed_also_where_there_is_no_journal(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.serve([], Told())
    path = DataDir(machine.data).campaign
    text = path.read_text(encoding="utf-8")
    place = text.index('"opens_us": ') + len('"opens_us": ') + 5
    path.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :], encoding="utf-8")
    (machine.data / "journal.db").unlink()
    with pytest.raises(RedrushError, match=r"campaign\.json: was changed since it was sealed"):
        machine.serve([], Told())
    path.write_bytes(text.encode()[:40] + b"\xff" + text.encode()[41:])
    code, said = run("verify-receipt", "x", "--data", str(machine.data), monkeypatch=monkeypatch)
    assert (code, said.count("\n"), "Traceback" in said) == (1, 1, False)
    with pytest.raises(RedrushError, match=r"campaign\.json: was changed since it was sealed"):
        machine.serve([], Told())


def test_a_backup_is_whole_secret_and_restored_where_nothing_newer_is_known(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    backup = tmp_path / "backup"
    said: list[tuple[int, str]] = []
    machine.serve(
        ["a", "b"],
        told,
        amid=lambda: said.append(
            run("backup", str(backup), "--data", str(machine.data), "--json", monkeypatch=monkeypatch)
        ),
    )
    ((code, answer),) = said
    assert (code, json.loads(answer)["grants"]) == (0, 2)
    assert (
        run("audience", "add", "--data", str(machine.data), "--user", "zed", "--why", "late", monkeypatch=monkeypatch)[
            0
        ]
        == 0
    )
    again = tmp_path / "again"
    assert run("backup", str(again), "--data", str(machine.data), monkeypatch=monkeypatch)[0] == 0
    assert b"zed" in (again / "audience-additions.jsonl").read_bytes()
    assert {stat.S_IMODE(path.stat().st_mode) for path in backup.iterdir()} == {0o600}
    machine.serve(["c"], told)
    code, refused = run("restore", str(backup), "--data", str(machine.data), monkeypatch=monkeypatch)
    assert (code, "knows of record" in refused, "--as-new-generation" in refused) == (2, True, True), refused
    code, text = run(
        "restore", str(backup), "--data", str(machine.data), "--as-new-generation", monkeypatch=monkeypatch
    )
    assert (code, "1 slots are kept back" in text) == (0, True), text
    fresh = Told(dict(told.grants))
    machine.serve(["d"], fresh)  # does not get the slot of c
    receipts = tmp_path / "receipts"
    receipts.write_text(told.grants["c"][2], encoding="utf-8")
    code, text = run("set", "honour", "--data", str(machine.data), "--receipts", str(receipts), monkeypatch=monkeypatch)
    assert (code, "entered" in text) == (0, True), text
    machine.serve(["a", "b", "c", "d"], fresh)
    (backup / "keys.json").write_bytes(b"{}")
    code, text = run("restore", str(backup), "--data", str(tmp_path / "new"), monkeypatch=monkeypatch)
    assert (code, "is not what was backed up" in text) == (2, True), text


def test_slots_that_nobody_honours_go_on_when_an_operator_says_so(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    backup = tmp_path / "backup"
    machine.serve(["a"], told)
    assert run("backup", str(backup), "--data", str(machine.data), monkeypatch=monkeypatch)[0] == 0
    machine.serve(["b", "c"], told)
    release = ("set", "release", "--data", str(machine.data), "--why", "the hotline is closed")
    code, text = run(*release, "--yes", monkeypatch=monkeypatch)
    assert (code, "no slots are kept back" in text) == (1, True), text
    restore = ("restore", str(backup), "--data", str(machine.data), "--as-new-generation")
    assert run(*restore, monkeypatch=monkeypatch)[0] == 0
    code, text = run(*release, monkeypatch=monkeypatch)
    assert (code, "2 slots worth " in text, "add --yes" in text) == (2, True, True), text
    code, text = run(*release, "--yes", monkeypatch=monkeypatch)
    assert (code, "2 slots are kept back no more" in text) == (0, True), text
    assert "the hotline is closed" in DataDir(machine.data).generations.read_text(encoding="utf-8")
    left = machine_slots(machine)
    later = Told({"a": told.grants["a"]})  # what b and c were told is given up
    machine.serve(["a", *(f"n{number}" for number in range(left))], later)
    assert {told.grants[user][0] for user in "bc"} <= {slot for slot, _, _ in later.grants.values()}
    receipts = tmp_path / "receipts"
    receipts.write_text(told.grants["b"][2], encoding="utf-8")
    code, text = run("set", "honour", "--data", str(machine.data), "--receipts", str(receipts), monkeypatch=monkeypatch)
    assert (code, "granted to somebody else since" in text) == (1, True), text
    code, text = run("reconcile", "--data", str(machine.data), monkeypatch=monkeypatch)
    assert code == 0, text


def test_a_receipt_that_comes_after_the_release_is_honoured_while_its_slot_is_free(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    backup, receipts = tmp_path / "backup", tmp_path / "receipts"
    machine.serve(["a"], told)
    assert run("backup", str(backup), "--data", str(machine.data), monkeypatch=monkeypatch)[0] == 0
    machine.serve(["b", "c"], told)
    restore = ("restore", str(backup), "--data", str(machine.data), "--as-new-generation")
    assert run(*restore, monkeypatch=monkeypatch)[0] == 0
    release = ("set", "release", "--data", str(machine.data), "--why", "the hotline is closed", "--yes")
    assert run(*release, monkeypatch=monkeypatch)[0] == 0
    machine.serve(["d"], told)
    receipts.write_text("".join(f"{told.grants[user][2]}\n" for user in "bc"), encoding="utf-8")
    honour = ("set", "honour", "--data", str(machine.data), "--receipts", str(receipts), "--json")
    code, text = run(*honour, monkeypatch=monkeypatch)
    assert (code, [row["outcome"] for row in json.loads(text)["receipts"]]) == (0, ["entered"] * 2), text
    machine.serve(["a", "b", "c", "d", "e"], told)
    code, text = run("reconcile", "--data", str(machine.data), monkeypatch=monkeypatch)
    assert code == 0, text
    code, text = run(*honour, monkeypatch=monkeypatch)
    assert (code, [row["outcome"] for row in json.loads(text)["receipts"]]) == (0, ["known"] * 2), text


def test_a_journal_that_goes_on_without_its_witness_is_reconciled_after_an_operators_word_only(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def order(*words: str) -> tuple[int, str]:
        return run(*words, "--data", str(machine.data), monkeypatch=monkeypatch)

    data_dir, receipts = DataDir(machine.data), tmp_path / "receipts"
    told = Told()
    machine.serve(["a", "b"], told)
    none = ("set", "honour", "--none", "--why", "the hotline had no calls")
    code, text = order(*none)
    assert (code, "knows how many grants it lacks" in text) == (1, True), text
    receipts.write_text(told.grants["a"][2], encoding="utf-8")
    foreign = tmp_path / "foreign"
    foreign.write_text(told.grants["a"][2][:-1], encoding="utf-8")
    for mend, word in (
        (("promote",), none),
        (("promote",), ("set", "honour", "--receipts", str(receipts))),
        (("rebuild",), none),
    ):
        data_dir.witness.unlink()
        data_dir.records.unlink()
        if mend == ("rebuild",):
            changed_row(data_dir.journal)
            told.grants.pop("b")
        assert order("set", *mend, "--why", "a test", "--yes")[0] == 0
        machine.serve(["a"], told)
        code, text = order("reconcile")
        assert (code, "`redrush set honour --none --why …" in text) == (1, True), text
        assert order("set", "honour", "--none")[0] == 2  # without a reason
        code, text = order("set", "honour", "--receipts", str(foreign))
        assert (code, "so nothing is noted" in text) == (1, True), text
        assert order("reconcile")[0] == 1
        assert order(*word)[0] == 0
        code, text = order("reconcile")
        assert code == 0, text
    machine.serve(["a", "c"], told)
    assert order("reconcile")[0] == 0
    assert "the hotline had no calls" in data_dir.generations.read_text(encoding="utf-8")


def machine_slots(machine: Machine) -> int:
    """How many slots the round has left after one grant."""
    return load_event(DataDir(machine.data)).sealed.campaign.rounds[0].slots.count - 1


def changed_row(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("UPDATE log SET users = '[\"mallory\"]' WHERE users = '[\"b\"]'").rowcount == 1
        connection.commit()


def no_text(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE log SET users = CAST(x'5b22ff225d' AS TEXT) WHERE users = '[\"b\"]'")
        connection.commit()


def nonsense_in_pages(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:4_096] + b"\xa5" * (len(content) - 4_096))


@pytest.mark.parametrize(
    "damage",
    [
        changed_row,
        no_text,
        nonsense_in_pages,
        lambda path: path.write_bytes(path.read_bytes()[:5_000]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"no database" * 999),
        lambda path: path.unlink(),
    ],
    ids=["changed", "no-text", "nonsense", "cut", "emptied", "overwritten", "lost"],
)
@pytest.mark.parametrize("command", [("export", "grants"), ("find", "b")], ids=["export", "find"])
def test_what_is_read_of_a_damaged_journal_ends_in_one_sentence_with_what_helps(
    machine: Machine, command: tuple[str, ...], damage: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.serve(["a", "b", "c"], Told())
    damage(machine.data / "journal.db")
    code, said = run(*command, "--data", str(machine.data), monkeypatch=monkeypatch)
    (sentence,) = [line for line in said.splitlines() if line.startswith("redrush: ")]
    assert (code, "mallory" in said) == (1, False), said
    assert str(machine.data / "journal.db") in sentence
    assert f"`redrush set rebuild --data {machine.data}" in sentence


def test_switches_that_are_restored_on_purpose_hold_and_are_not_taken_for_a_loss(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told()
    machine.serve(["a"], told)
    data = ("--data", str(machine.data))
    backup = tmp_path / "backup"
    for share, then in (
        ("0.5", ("backup", str(backup))),
        ("0.25", ("restore", str(backup), "--only", "switches.jsonl")),
    ):
        assert run("switch", "set", "sampling.non_core", share, *data, monkeypatch=monkeypatch)[0] == 0
        code, said = run(*then, *data, monkeypatch=monkeypatch)
        assert code == 0, said
    machine.serve(["a", "b"], told)
    code, said = run("switch", "log", *data, "--json", monkeypatch=monkeypatch)
    assert (code, [entry["changes"][0]["to"] for entry in json.loads(said)["entries"]]) == (0, [0.5])
    (machine.data / "switches.jsonl").unlink()
    code, said = run("switch", "accept", *data, "--why", "a test", "--json", monkeypatch=monkeypatch)
    assert (code, json.loads(said)) == (0, {"changes": 0, "old": None})
    noted = json.loads((machine.data / "generations.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert (noted["what"], noted["why"], noted["changes"]) == ("accept switches", "a test", 0)


@pytest.mark.parametrize("refusal", [answers.STORE_FAILED, answers.SET_AWAY, answers.STORE_SLOW])
def test_where_the_fate_of_a_claim_is_unknown_nobody_is_told_that_nothing_was_decided(refusal: bytes) -> None:
    body = json.loads(refusal.partition(b"\r\n\r\n")[2])
    assert (body["fate"], "nothing was decided" in body["detail"]) == ("unknown", False)
    assert "ask again" in body["detail"]
