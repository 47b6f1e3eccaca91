import asyncio
import csv
import io
import json
from pathlib import Path

import pytest

from redrush.core.money.ledger import LedgerFault
from redrush.core.rush.campaign import Slots
from redrush.core.rush.holding import Holds, Part, SlotTable, no_pots
from redrush.ports.store import Claim, PotTerms, Scattered, claims_of
from redrush.settle.export import Format, grants, write_grants
from redrush.stores.memory import MemoryStore
from redrush.stores.sqlite import LogReader, SqliteStore
from tests.settle.event import OPENS_US, campaign_of, open_pots, rush

CAMPAIGN, AMOUNTS = campaign_of(4, 2)
COLUMNS = ("grant", "round", "slot", "user", "amount", "granted_at")
LINES = [
    dict(zip(COLUMNS, values, strict=True))
    for values in (
        ("cny-r1-0", "r1", 0, "张三", "0.01", "2027-01-15T08:00:00.000007Z"),
        ("cny-r1-1", "r1", 1, 'a,"b"', "0.02", "2027-01-15T08:00:00.000007Z"),
        ("cny-r2-4", "r2", 4, "张三", "0.05", "2027-01-15T08:01:00.000000Z"),
    )
]


async def fill(store: MemoryStore | SqliteStore) -> None:
    await open_pots(store, CAMPAIGN)
    await store.claim(claims_of("r1", ["张三", 'a,"b"']), OPENS_US + 7)
    await store.claim(claims_of("r2", ["张三"]), CAMPAIGN.rounds[1].opens_us)
    await store.take("r1", 2, "leftover:r1")


@pytest.mark.parametrize("file_format", ["jsonl", "csv"])
def test_every_grant_is_a_line(file_format: Format) -> None:
    async def export() -> str:
        store = MemoryStore()
        await fill(store)
        out = io.StringIO(newline="")
        write_grants(await store.log(0, 100), CAMPAIGN, AMOUNTS, file_format, out, no_pots)
        return out.getvalue()

    text = asyncio.run(export())
    if file_format == "jsonl":
        assert [json.loads(line) for line in text.splitlines()] == LINES
        assert [list(json.loads(line)) for line in text.splitlines()] == [list(line) for line in LINES]
    else:
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        assert rows == [line | {"slot": str(line["slot"])} for line in LINES]


@pytest.mark.parametrize("file_format", ["jsonl", "csv"])
def test_what_holds_no_money_has_a_column_and_is_worth_nothing(file_format: Format) -> None:
    slots = SlotTable([1, 0, *AMOUNTS[2:]], [Part(Slots(1, 1), Holds.GOODS, ("phone",))])

    async def export() -> str:
        store = MemoryStore()
        await fill(store)
        await store.open([PotTerms("p1", Slots(0, 2), 1, 60_000_000)])
        await store.claim([Claim("p1", "bob")], OPENS_US + 9)
        out = io.StringIO(newline="")
        units = SlotTable([0, 0], [Part(Slots(0, 2), Holds.UNIT)])
        log = await store.log(0, 100)
        held = next(record for record in log if isinstance(record, Scattered)).grants
        await store.confirm(held, OPENS_US + 11)
        write_grants(await store.log(0, 100), CAMPAIGN, slots, file_format, out, {"p1": units}.get)
        return out.getvalue()

    text = asyncio.run(export())
    assert file_format == "jsonl" or text.startswith("grant,round,slot,user,amount,granted_at,holds\r\n")
    rows = (
        [json.loads(line) for line in text.splitlines()]
        if file_format == "jsonl"
        else list(csv.DictReader(io.StringIO(text, newline="")))
    )
    assert [(row["round"], row["user"], row["amount"], row.get("holds") or None) for row in rows] == [
        ("r1", "张三", "0.01", None),
        ("r1", 'a,"b"', "0.00", "goods:phone"),
        ("r2", "张三", "0.05", None),
        ("p1", "bob", "0.00", "unit"),
    ]


def test_a_journal_is_exported_while_its_server_writes_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = await SqliteStore.open_path(tmp_path / "journal.db")
        await fill(store)
        with LogReader(tmp_path / "journal.db") as reader:
            assert [grant.user for grant in grants(reader.records(), CAMPAIGN, AMOUNTS, no_pots)] == [
                "张三",
                'a,"b"',
                "张三",
            ]
        await rush(store, CAMPAIGN.rounds[1], users=1)
        with LogReader(tmp_path / "journal.db") as reader:
            assert len(list(grants(reader.records(), CAMPAIGN, AMOUNTS, no_pots))) == 4
        await store.close()

    asyncio.run(scenario())


def test_a_grant_without_an_amount_is_a_fault() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        await fill(store)
        with pytest.raises(LedgerFault, match="outside"):
            list(grants(await store.log(0, 100), CAMPAIGN, AMOUNTS[:3], no_pots))

    asyncio.run(scenario())


def test_a_spreadsheet_keeps_ids_as_text_and_runs_nothing() -> None:
    odd = [
        "@alice",
        "-1",
        "+86138",
        "=1+1",
        "1E5",
        "007",
        "1582917533873850000",
        "1-2",
        "MAR1",
        "TRUE",
        "'x",
        '"q"',
        "|x",
    ]
    plain = ["alice", "u1", "张伟", "alice+vip@example.com", "Ümit", "March"]

    async def export(file_format: Format) -> str:
        campaign, amounts = campaign_of(len(odd) + len(plain), 1)
        store = MemoryStore()
        await open_pots(store, campaign)
        await store.claim(claims_of("r1", [*odd, *plain]), OPENS_US)
        out = io.StringIO(newline="")
        write_grants(await store.log(0, 100), campaign, amounts, file_format, out, no_pots)
        return out.getvalue()

    text = asyncio.run(export("spreadsheet"))
    assert text.startswith("\ufeffgrant,round,slot,user,amount,granted_at\r\n")
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))
    assert [row["user"] for row in rows] == [*(f"'{user}" for user in odd), *plain]
    assert not any(cell[0] in "=+-@\t" for row in rows for cell in row.values())
    assert rows[0]["amount"] == "0.01", "amounts stay numbers, to be summed"
    for_programs = list(csv.DictReader(io.StringIO(asyncio.run(export("csv")), newline="")))
    assert [row["user"] for row in for_programs] == [*odd, *plain], "unchanged for programs"
