"""The books of packets, payments and sales, and the keys of sales: lost, emptied, cut, one bit changed, an older copy.

Whatever is done, nobody is paid twice, no packet is split twice, and no unit is given to two: a book that lacks
something is refused before anybody is served, in a sentence with the commands that mend it, and these do.
"""

import asyncio
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from redrush.control.data_dir import DataDir
from redrush.errors import RedrushError
from redrush.operate.data_dir_reports import reconcile_data_dir
from redrush.ports.bill_book import BillState
from redrush.records.sqlite.book_mark import mark_path
from redrush.sqlfiles import load_statements
from tests.acceptance.rollback.one_machine import follow, run
from tests.acceptance.rollback.test_rollback_embedded import cut, emptied, lost, one_bit
from tests.campaigns import OFF, a_round, campaign
from tests.patience import PATIENCE_S
from tests.wiring.group_world import People, serving

SALE = """
[[round]]
id = "{id}"
kind = "sale"
opens = "now"
lasts = "1h"
units = 20
price = "1.00"
hold = "30m"
secret_url = {secret}
"""
TEXT = campaign(
    a_round(total="1000.00", packets=10),
    tables=SALE.format(id="s", secret="false") + SALE.format(id="k", secret="true") + OFF + "[group]\n",
)
BOOKS = ("packets.db", "payments.db", "sales.db")
COMMANDS_MAX = 3
Damage = Callable[[Any, Path], None]


class Event(NamedTuple):
    """The event as it was ended, an older state of it, a backup of either, and what people were told."""

    file: Path
    now: Path
    old: Path
    backup: Path
    old_backup: Path
    told: dict[str, Any]


async def _story(people: People, sender: str, winner: str, buyer: str) -> dict[str, Any]:
    """Somebody sends a packet, of which somebody has a share, and somebody gives a unit back."""
    await people.win(sender)
    packet = await people.send(sender, "10.00", 3)
    share = (await people.grab(winner, packet)).json["grant"]
    held = (await people.ask(buyer, "POST", "/rounds/s/grab")).json["grant"]
    assert (await people.ask(buyer, "DELETE", f"/holds/{held['id']}")).status == 200
    return {"packet": packet, "share": share, "held": held["id"]}


async def _key(people: People) -> str:
    """Return the secret part of the sale's URL, as the page's state file tells it."""
    async with asyncio.timeout(PATIENCE_S):
        while (key := _told_key((await people.ask("x", "GET", "/rounds/k")).json)) is None:
            await asyncio.sleep(0.02)
    return key


def _told_key(state: dict[str, Any]) -> str | None:
    key: str | None = state.get("key") or state.get("open_key")
    return key


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Event]:
    root = tmp_path_factory.mktemp("books")
    file, data = root / "c.toml", root / "data"
    file.write_text(TEXT, encoding="utf-8")
    told: dict[str, Any] = {}

    async def live(name: str, *who: str) -> None:
        async with serving(file, data) as people:
            told[name] = await _story(people, *who)
            told["key"] = await _key(people)

    with pytest.MonkeyPatch.context() as patch:
        for name, who in (("old", ("ann", "carl", "zoe")), ("now", ("bob", "dora", "yan"))):
            asyncio.run(live(name, *who))
            shutil.copytree(data, root / name)
            code, said = run("backup", str(root / f"{name}-backup"), "--data", str(data), monkeypatch=patch)
            assert code == 0, said
        shutil.rmtree(data)
        yield Event(file, root / "now", root / "old", root / "now-backup", root / "old-backup", told)


def older(event: Event, path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_name(f"{path.name}-wal").unlink(missing_ok=True)
    shutil.copy(event.old / path.name, path)


async def _audit(people: People, event: Event) -> None:
    """Nothing that anybody was told has changed, and what was given once is not given again."""
    for name, sender, winner, buyer in (("old", "ann", "carl", "zoe"), ("now", "bob", "dora", "yan")):
        told = event.told[name]
        again = await people.grab(winner, told["packet"])
        assert again.json["grant"] == told["share"], "a packet was split again"
        others = [await people.grab(f"{user}-{name}", told["packet"]) for user in "abc"]
        shares = [told["share"], *(one.json["grant"] for one in others if one.outcome == "granted")]
        assert sum(Decimal(one["amount"]) for one in shares) == Decimal("10.00")
        assert sorted(one["slot"] for one in shares) == [0, 1, 2]
        assert await people.balance(sender) == "90.00", "what was spent is spent"
        orders = (await people.ask(buyer, "GET", "/orders")).json["orders"]
        assert [one["grant"] for one in orders] == [told["held"]]


def _go_on(event: Event, data: Path, backup: Path, patch: pytest.MonkeyPatch) -> list[str]:
    """Serve, doing what the sentence says if it is refused; return the commands that were given."""

    async def served() -> None:
        async with serving(event.file, data) as people:
            await _audit(people, event)

    followed: list[str] = []
    for _ in range(COMMANDS_MAX):
        try:
            asyncio.run(served())
        except RedrushError as refusal:
            followed += follow(str(refusal), {"…": "a test", "BACKUP": str(backup)}, patch)
        else:
            return followed
    raise AssertionError(f"still not served after {followed}")


def _damaged(event: Event, tmp_path: Path, name: str, fault: Damage) -> Path:
    data = tmp_path / "data"
    shutil.copytree(event.now, data)
    if (data / name).exists():
        fault(event, data / name)
    return data


def another_amount(event: Event, path: Path) -> None:
    """One bit of what the first share of the packet holds: the file is as sound as ever to SQLite."""
    packet = event.told["now"]["packet"]
    with closing(sqlite3.connect(path)) as book:
        ((content,),) = book.execute("SELECT content FROM packets WHERE id = ?", (packet,)).fetchall()
        at = content.index(b'"amounts":[') + len(b'"amounts":[')
        changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        book.execute("UPDATE packets SET content = ? WHERE id = ?", (changed, packet))
        book.commit()


def another_balance(_event: Event, path: Path) -> None:
    with closing(sqlite3.connect(path)) as book:
        changed = book.execute(
            "UPDATE accounts SET debits_minor = debits_minor & ~8 WHERE account = 'user:bob'"
        ).rowcount
        book.commit()
    assert changed == 1


def another_hold(_event: Event, path: Path) -> None:
    with closing(sqlite3.connect(path)) as book:
        book.execute("""UPDATE orders SET body = replace(body, '"slot":1', '"slot":0') WHERE slot = 1""")
        book.commit()


QUICK: list[tuple[str, str, Damage]] = [
    ("the payments are lost", "payments.db", lost),
    ("the packets are emptied", "packets.db", emptied),
    ("an older book of sales is put back", "sales.db", older),
    ("a share of a packet has one bit changed", "packets.db", another_amount),
    ("the keys of sales are cut", "sale-keys.json", cut),
]


@pytest.mark.parametrize(("name", "fault"), [case[1:] for case in QUICK], ids=[case[0] for case in QUICK])
def test_a_book_that_is_damaged_is_refused_and_put_back(
    event: Event, tmp_path: Path, name: str, fault: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = _go_on(event, _damaged(event, tmp_path, name, fault), event.backup, monkeypatch)
    assert followed, "it was not noticed"
    assert followed[0].startswith(f"restore BACKUP --data {tmp_path / 'data'} --only {name}")


@pytest.mark.soak
@pytest.mark.parametrize("fault", [lost, emptied, cut, older, one_bit], ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("name", [*BOOKS, *(mark_path(Path(one)).name for one in BOOKS), "sale-keys.json"])
def test_every_file_times_every_fault(
    event: Event, tmp_path: Path, name: str, fault: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    _go_on(event, _damaged(event, tmp_path, name, fault), event.backup, monkeypatch)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("name", "fault"), [("payments.db", another_balance), ("sales.db", another_hold), ("packets.db", another_amount)]
)
def test_what_stands_twice_is_compared(
    event: Event, tmp_path: Path, name: str, fault: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = _go_on(event, _damaged(event, tmp_path, name, fault), event.backup, monkeypatch)
    assert followed, "it was not noticed"


@pytest.mark.soak
@pytest.mark.parametrize("place", range(40))
@pytest.mark.parametrize("name", BOOKS)
def test_a_bit_anywhere(event: Event, tmp_path: Path, name: str, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def flip(_event: Event, path: Path) -> None:
        content = bytearray(path.read_bytes())
        written = [at for at, byte in enumerate(content) if byte]
        content[written[len(written) * place // 40]] ^= 1 << place % 8
        path.write_bytes(content)

    _go_on(event, _damaged(event, tmp_path, name, flip), event.backup, monkeypatch)


@pytest.mark.soak
@pytest.mark.parametrize("fault", [lost, older], ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("name", BOOKS)
def test_an_operator_who_has_an_older_backup_alone_goes_on_and_that_is_told(
    event: Event, tmp_path: Path, name: str, fault: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was told something before the backup has it still; of the rest it is said that it is missing."""
    data = _damaged(event, tmp_path, name, fault)

    async def served() -> None:
        async with serving(event.file, data) as people:
            told = event.told["old"]
            assert (await people.grab("carl", told["packet"])).json["grant"] == told["share"]

    with pytest.raises(RedrushError) as refused:
        asyncio.run(served())
    followed = follow(str(refused.value), {"…": "a test", "BACKUP": str(event.old_backup)}, monkeypatch)
    assert [command.split()[0] for command in followed] == ["restore", "book"]
    if name == "sales.db":
        asyncio.run(served())
    else:
        missing = event.told["now"]["packet"]
        with pytest.raises(AssertionError, match=missing):  # the end of `served` reconciles
            asyncio.run(served())
        assert missing in str(reconcile_data_dir(DataDir(data)).problems), "for as long as it is missing"
    noted = (data / "generations.jsonl").read_text()
    assert "accept books" in noted
    assert name in noted


def test_the_examination_knows_every_state_of_a_bill() -> None:
    question = load_statements("redrush.records.sqlite", "book_examining.sql")["bills"]
    assert [state for state in BillState if f"'{state}'" not in question] == []
