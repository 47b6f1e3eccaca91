"""The journal file: who may open it, what is refused, and what other processes see."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest

from redrush.core.rush.campaign import Slots
from redrush.errors import ConfigError, RedrushError
from redrush.ports.journal import NobodyElse
from redrush.ports.log_rows import Row, chain_after
from redrush.ports.noted_pots import NotedPot
from redrush.ports.store import Claim, Claimed, Granted, PotState, PotTerms, StoreCorrupt, StoreFailed, claims_of
from redrush.stores.sqlite import LogReader, SqliteStore, StoreInUse, read_log
from redrush.stores.sqlite.journal import APPLICATION_ID, SCHEMA_VERSION, open_journal
from redrush.stores.sqlite.statements import sql
from tests.patience import PATIENCE_S

COLUMNS = "seq, kind, pot, first_slot, count, at_us, users, slots, transfer"
OPENED = f"INSERT INTO log ({COLUMNS}) VALUES (1, 'opened', 'p', 10, 3, NULL, NULL, NULL, NULL)"


def make_journal(path: Path, *statements: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(sql("schema"))
    connection.execute(sql("identity"))
    connection.pragma("application_id", APPLICATION_ID)
    connection.pragma("user_version", SCHEMA_VERSION)
    for statement in statements:
        connection.execute(statement)
    chain = ""
    rows: list[Any] = connection.execute(f"SELECT {COLUMNS} FROM log ORDER BY seq").fetchall()
    for row in rows:
        chain = chain_after(chain, row)
        connection.execute(sql("chain_row"), (row[0], chain))
    connection.close()


async def open_and_close(path: Path) -> None:
    store = await SqliteStore.open_path(path)
    await store.close()


def granted(seq: int, first: int, users: str, count: int, pot: str = "p") -> str:
    return f"INSERT INTO log ({COLUMNS}) VALUES ({seq}, 'granted', '{pot}', {first}, {count}, 7, '{users}', NULL, NULL)"


def moved(seq: int, kind: str, slots: str, transfer: str) -> str:
    return f"INSERT INTO log ({COLUMNS}) VALUES ({seq}, '{kind}', 'p', NULL, NULL, NULL, NULL, '{slots}', '{transfer}')"


@pytest.mark.parametrize(
    "claims",
    [
        [Claim("p", "ann"), Claim("p", "\ud800")],
        [Claim("p", "ann"), Claim("q", "\ud800")],
        [Claim("p", "ann"), Claim("q", "bob", "\ud800")],
    ],
    ids=["a user of one pot", "a user of one among several", "a request"],
)
def test_a_batch_with_text_that_cannot_be_written_grants_nothing_and_the_store_goes_on(
    claims: list[Claim], tmp_path: Path
) -> None:
    async def run() -> None:
        store = await SqliteStore.open_path(tmp_path / "log.db")
        await store.open([PotTerms("p", Slots(10, 3)), PotTerms("q", Slots(20, 3))])
        with pytest.raises(UnicodeEncodeError):
            await store.claim(claims, 7)
        assert [(await store.state(pot)).claimed_ever for pot in ("p", "q")] == [0, 0]
        assert await store.claim(claims[:1], 8) == [Claimed(10, 8, False)]
        await store.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("statements", "complaint"),
    [
        ([granted(2, 10, '["a"]', 1), granted(3, 10, '["b"]', 1)], "record 3: grants slot 10 of pot 'p' a second time"),
        ([granted(2, 10, '["a"]', 1), granted(4, 11, '["a"]', 1)], "record 4: grants a second slot of pot 'p' to one"),
        ([granted(2, 10, '["a","a"]', 2)], "record 2: grants a second slot of pot 'p' to one user"),
        ([granted(2, 12, '["a","b"]', 2)], "record 2: grants slots 12 to 13, which are not all in pot 'p'"),
        ([granted(2, 11, '["a"]', 1)], "record 2: grants slot 11 of pot 'p' before 10"),
        ([granted(2, 10, '["a"]', 1, "q")], "record 2: grants from pot 'q', which was not opened"),
        ([granted(2, 10, '["a"]', 2)], "record 2: says that it grants 2 slots, but names 1"),
        ([granted(2, 10, "[]", 0)], "record 2: grants to nobody"),
        ([granted(2, 10, "[1", 1)], "record 2: cannot be read"),
        ([moved(2, "taken", "[[10,1]]", "t")], "record 2: takes .* whose last slots are"),
        ([moved(2, "given", "[[11,1]]", "t")], "record 2: pot 'p' already has slots"),
        ([moved(2, "given", "[[20,1]]", "t"), moved(3, "given", "[[20,1]]", "t")], "record 3: repeats an earlier"),
        (
            [f"INSERT INTO log ({COLUMNS}) VALUES (2, 'opened', 'q', NULL, NULL, NULL, NULL, NULL, NULL)"],
            "record 2: is no 'opened'",
        ),
    ],
)
def test_a_log_that_contradicts_itself_is_not_served(statements: list[str], complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    make_journal(path, OPENED, *statements)
    with pytest.raises(StoreCorrupt, match=complaint):
        asyncio.run(open_and_close(path))


def test_a_damaged_page_is_told_as_corruption_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    make_journal(path, OPENED, *(granted(2 + k, 10, f'["{"x" * 3000}"]', 1, f"p{k}") for k in range(20)))
    damaged = bytearray(path.read_bytes())
    damaged[4096 : 4096 + 8] = b"\xff" * 8
    path.write_bytes(damaged)
    with pytest.raises(StoreCorrupt, match="damaged"):
        asyncio.run(open_and_close(path))
    assert path.read_bytes()[4096:] == damaged[4096:]


def test_a_journal_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    make_journal(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(ConfigError, match=f"journal of version {SCHEMA_VERSION + 1}; this redrush reads version"):
        asyncio.run(open_and_close(path))


@pytest.mark.parametrize(("kind", "fault"), [("text", StoreCorrupt), ("sqlite", ConfigError)])
def test_a_file_of_something_else_is_refused_and_left_as_it_was(
    kind: str, fault: type[RedrushError], tmp_path: Path
) -> None:
    """One that nothing can read may be a journal whose first bytes are damaged: it is refused as such."""
    path = tmp_path / "journal.db"
    if kind == "text":
        path.write_text("certainly not a journal " * 100)
    else:
        connection = apsw.Connection(str(path))
        connection.execute("CREATE TABLE theirs (x)")
        connection.close()
    before = path.read_bytes()
    with pytest.raises(fault, match="not a journal of redrush"):
        asyncio.run(open_and_close(path))
    assert path.read_bytes() == before


def test_a_missing_journal_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="missing"):
        read_log(tmp_path / "journal.db", 0, 1)


def test_a_path_that_cannot_be_opened_is_a_store_failure(tmp_path: Path) -> None:
    (tmp_path / "journal.db").mkdir()
    with pytest.raises(StoreFailed, match=r"journal\.db"):
        asyncio.run(open_and_close(tmp_path / "journal.db"))


def test_every_commit_is_synchronised_in_full(tmp_path: Path) -> None:
    connection, _pots = open_journal(tmp_path / "journal.db", None)
    assert (connection.pragma("journal_mode"), connection.pragma("synchronous")) == ("wal", 2)
    connection.close()


def test_a_second_store_on_the_journal_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    program = (
        "import asyncio, sys; from pathlib import Path; from redrush.stores.sqlite import SqliteStore\n"
        "asyncio.run(SqliteStore.open_path(Path(sys.argv[1])))"
    )

    async def run() -> subprocess.CompletedProcess[str]:
        store = await SqliteStore.open_path(path)
        with pytest.raises(StoreInUse, match=str(os.getpid())):
            await SqliteStore.open_path(path)
        other = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
        )
        await store.close()
        await open_and_close(path)  # released
        return other

    other = asyncio.run(run())
    assert other.returncode == 1
    assert f"is written by process {os.getpid()}; stop that one first" in other.stderr


def test_other_processes_read_the_log_while_the_server_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    program = (
        "import sys; from pathlib import Path; from redrush.stores.sqlite import LogReader\n"
        "with LogReader(Path(sys.argv[1])) as reader: print(sum(len(r.users) for r in reader.records(1)))"
    )

    async def run() -> str:
        store = await SqliteStore.open_path(path)
        await store.open([PotTerms("p", Slots(0, 1_000))])
        for k in range(100):
            await store.claim(claims_of("p", [f"a{k}", f"b{k}"]), k)
        reading = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, str(path), stdout=asyncio.subprocess.PIPE
        )
        told = asyncio.create_task(reading.communicate())
        late = 0
        while not told.done():
            await store.claim(claims_of("p", [f"late{late}"]), late)
            late += 1
            await asyncio.sleep(0)  # a claim on an empty pot waits for nothing, and the reader must be heard
        out, _ = await told
        await store.close()
        return out.decode()

    assert 200 <= int(asyncio.run(run())) <= 1_000


def test_a_reader_sees_every_page_of_the_log_once(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"

    async def fill() -> None:
        store = await SqliteStore.open_path(path)
        await store.open([PotTerms("p", Slots(0, 5_000))])
        await asyncio.gather(*(store.claim(claims_of("p", [f"u{k}"]), k) for k in range(2_500)))
        await store.close()

    asyncio.run(fill())
    with LogReader(path) as reader:
        grants = [record for record in reader.records() if isinstance(record, Granted)]
    assert [record.first_slot for record in grants] == list(range(2_500))


def test_a_closed_journal_is_one_file(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    asyncio.run(open_and_close(path))
    assert {entry.name for entry in tmp_path.iterdir()} == {"journal.db", "journal.db.lock"}


class Slow(NobodyElse):
    """Lets a commit last as long as the test wants: nobody has heard of it."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.go_on.set()

    def note(self, rows: Sequence[Row], chain: str) -> None:
        assert self.go_on.wait(PATIENCE_S)


async def test_a_pot_that_sleeps_is_found_while_claims_are_made_durable_and_one_that_opens_only_then(
    tmp_path: Path,
) -> None:
    keeper = Slow()
    store = await SqliteStore.open_path(tmp_path / "journal.db", keeper=keeper)
    try:
        await store.open([PotTerms(pot, Slots(0, 3)) for pot in ("asleep", "busy")])
        keeper.go_on.clear()
        claimed = asyncio.create_task(store.claim(claims_of("busy", ["ann"]), 7))
        await asyncio.sleep(0)
        asleep = NotedPot("", PotState(3, 0))
        first = asyncio.create_task(store.noted(["asleep"]))  # perhaps it is the first to hear of its opening
        keeper.go_on.set()
        await claimed
        assert await first == [asleep]

        keeper.go_on.clear()
        claimed = asyncio.create_task(store.claim(claims_of("busy", ["bob"]), 7))
        await asyncio.sleep(0)
        assert await store.noted(["asleep", "nobody's"]) == [asleep, None]
        assert not claimed.done()
        known = asyncio.create_task(store.noted(["asleep", "busy"]))
        await asyncio.sleep(0.05)
        assert not known.done(), "a power loss could still take the claim back"
        opening = asyncio.create_task(store.open([PotTerms("new", Slots(0, 3))]))
        await asyncio.sleep(0)
        opened = asyncio.create_task(store.noted(["new"]))
        opening.cancel()
        await asyncio.sleep(0.05)
        assert not opened.done(), "a power loss could still take its opening back"
        keeper.go_on.set()
        assert await known == [asleep, NotedPot("", PotState(1, 2))]
        assert await opened == [asleep]
    finally:
        keeper.go_on.set()
        await store.close()
