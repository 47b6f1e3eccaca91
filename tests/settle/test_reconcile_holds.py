"""Pots of holds, several grants for one user, single grants of many pots: recorded, exported, reconciled, broken."""

import asyncio
import sqlite3
from array import array
from io import StringIO
from pathlib import Path

import pytest

from redrush.core.identity.receipts import ReceiptSigner
from redrush.core.identity.tickets import KeyRing
from redrush.core.rush.campaign import RETURNED_POT, Campaign, Slots
from redrush.core.rush.holding import no_pots
from redrush.core.rush.instants import rfc3339
from redrush.ports.store import Claim, Claimed, Confirmed, Grant, Held, LogRecord, PotTerms
from redrush.records.sqlite import SqliteRecords
from redrush.settle.export import grants, write_grants
from redrush.settle.finding import find_user
from redrush.settle.reconcile import Report, reconcile
from redrush.settle.recorder import Recorder
from redrush.stores.sqlite import SqliteStore
from tests.settle.event import campaign_of, write_terms

CAMPAIGN, AMOUNTS = campaign_of(6, 6)
FIRST, SECOND = CAMPAIGN.rounds
KEYS = KeyRing("k1", {"k1": bytes(32)})


async def recorded(store: SqliteStore, data_dir: Path, upto: int | None = None) -> None:
    """Bring the records up to date, or up to the record `upto`."""
    records = SqliteRecords.open_path(data_dir / "records.db")
    recorder = Recorder(_UpTo(store, upto), records, CAMPAIGN, AMOUNTS)
    running = asyncio.create_task(recorder.run())
    await recorder.caught_up()
    await recorder.stop()
    await running
    records.close()


class _UpTo:
    """A store whose log ends early."""

    def __init__(self, store: SqliteStore, upto: int | None) -> None:
        self.last_seq = store.last_seq
        self.history = store.history
        self._store = store
        self._upto = upto

    async def log(self, after: int, limit: int) -> list[LogRecord]:
        found = await self._store.log(after, limit)
        return found if self._upto is None else [record for record in found if record.seq <= self._upto]


async def hold_event(data_dir: Path, campaign: Campaign, amounts: "array[int]", *, behind: int = 0) -> None:
    """r1 holds, up to two a user; r2 is permanent. One hold is confirmed, one released and had by somebody else."""
    write_terms(data_dir, campaign, amounts)
    store = await SqliteStore.open_path(data_dir / "journal.db")
    await store.open([PotTerms("r1", FIRST.slots, 2, 60_000_000), PotTerms("r2", SECOND.slots)])
    await store.open([PotTerms(RETURNED_POT, Slots(0, 0))])
    both = [
        Claim("r1", "ann", "a"),
        Claim("r2", "zoe"),
        Claim("r1", "bob"),
        Claim("r1", "ann", "b"),
        Claim("r2", "yan"),
    ]
    made = await store.claim(both, SECOND.opens_us)
    holds = [
        Grant(claim.pot, claim.user, held.slot, claim.request, held.number, held.until_us)
        for claim, held in zip(both, made, strict=True)
        if isinstance(held, Held)
    ]
    assert len(holds) == 3
    await store.confirm(holds[:1], SECOND.opens_us + 1)
    await store.release(holds[1:2], SECOND.opens_us + 2)
    assert await store.offer(["r1"]) == 1
    await store.claim([Claim("r1", f"u{k}") for k in range(4)], SECOND.opens_us + 3)
    await recorded(store, data_dir, None if not behind else store.last_seq() - behind)
    await store.close()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    asyncio.run(hold_event(tmp_path, CAMPAIGN, AMOUNTS))
    return tmp_path


def sql(data_dir: Path, file_name: str, statement: str) -> None:
    connection = sqlite3.connect(data_dir / file_name)
    with connection:
        assert connection.execute(statement).rowcount > 0
    connection.close()


def told(report: Report) -> str:
    return " | ".join(report.problems)


def test_an_event_with_holds_agrees(data_dir: Path) -> None:
    report = reconcile(data_dir)
    assert report.ok, told(report)
    assert [round_.grants for round_ in report.rounds] == [6, 2]
    assert report.granted_minor == sum(AMOUNTS[:6]) + AMOUNTS[6] + AMOUNTS[7]


@pytest.mark.parametrize("behind", [1, 2, 3, 4])
def test_records_that_are_behind_the_end_of_a_hold_do_not_disagree(tmp_path: Path, behind: int) -> None:
    asyncio.run(hold_event(tmp_path, CAMPAIGN, AMOUNTS, behind=behind))
    report = reconcile(tmp_path)
    assert (report.ok, report.behind) == (True, behind), told(report)


def test_what_is_exported_is_permanent(data_dir: Path) -> None:
    async def log() -> list[LogRecord]:
        store = await SqliteStore.open_path(data_dir / "journal.db")
        records = await store.log(0, 100)
        await store.close()
        return records

    out = StringIO()
    write_grants(asyncio.run(log()), CAMPAIGN, AMOUNTS, "csv", out, no_pots)
    rows = [line.split(",")[1:4] for line in out.getvalue().splitlines()[1:]]
    assert rows == [["r2", "6", "zoe"], ["r2", "7", "yan"], ["r1", "0", "ann"]]


def test_what_was_confirmed_was_granted_when_it_was_held(data_dir: Path) -> None:
    """That is what its buyer was told, and has a receipt of."""

    async def log() -> tuple[list[LogRecord], int]:
        store = await SqliteStore.open_path(data_dir / "journal.db")
        records = await store.log(0, 100)
        (told,) = await store.claim([Claim("r1", "ann", "a")], SECOND.closes_us)
        assert isinstance(told, Claimed)
        assert told.repeat
        await store.close()
        return records, told.at_us

    records, held_us = asyncio.run(log())
    (confirmed,) = (record for record in records if isinstance(record, Confirmed))
    assert held_us < confirmed.at_us
    (found,) = find_user(records, "ann", CAMPAIGN, AMOUNTS, KEYS, no_pots).grants
    receipt = ReceiptSigner(KEYS, CAMPAIGN.id, "r1", CAMPAIGN.currency).sign(0, AMOUNTS[0], "ann", held_us)
    assert (found.granted_at, found.receipt) == (rfc3339(held_us), receipt)
    (exported,) = (grant for grant in grants(records, CAMPAIGN, AMOUNTS, no_pots) if grant.user == "ann")
    assert exported.granted_at == rfc3339(held_us)


BROKEN = {
    "a hold that nobody has": ("DELETE FROM grants WHERE user = 'u0'", "granted to u0 at seq"),
    "a released hold that is there again": (
        "UPDATE grants SET user = 'bob' WHERE user = 'u3'",
        "slot 1: the records say ('r1', 'bob'",
    ),
    "a hold that was never posted": ("DELETE FROM postings WHERE id = 'hold:cny-r1-0#1'", "posting hold:cny-r1-0#1"),
    "a confirmation over more": (
        "UPDATE postings SET amount_minor = 9 WHERE id = 'confirm:cny-r1-0#1'",
        "posting confirm:cny-r1-0#1",
    ),
    "a release to somebody": (
        "UPDATE postings SET credit_account = 'user:eve' WHERE id = 'release:cny-r1-1#2'",
        "posting release:cny-r1-1#2",
    ),
    "a single grant of another pot": (
        "UPDATE grants SET pot = (SELECT pot FROM pots WHERE name = 'r1') WHERE user = 'zoe'",
        "the records say ('r1', 'zoe'",
    ),
}


@pytest.mark.parametrize(("statement", "problem"), BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_found(data_dir: Path, statement: str, problem: str) -> None:
    sql(data_dir, "records.db", statement)
    assert problem in told(reconcile(data_dir))


IN_JOURNAL = {
    "confirmed for another user": ("UPDATE log SET users = '[\"eve\"]' WHERE kind = 'confirmed'", "has no such hold"),
    "released for another user": ("UPDATE log SET users = '[\"eve\"]' WHERE kind = 'released'", "has no such hold"),
    "never offered again": ("DELETE FROM log WHERE kind = 'offered'", "was released and not offered again"),
    "offered, though nobody released it": (
        "UPDATE log SET slots = '[[3,1]]' WHERE kind = 'offered'",
        "slot 3 is offered again, but it was not released",
    ),
    "a third for one user": (
        "UPDATE log SET users = replace(users, 'bob', 'ann') WHERE users LIKE '%bob%' AND kind = 'scattered'",
        "user ann is granted more than 2 slots of r1",
    ),
    "unreadable": (
        "UPDATE log SET slots = '[[\"r1\"],[0,1]]' WHERE kind = 'released'",
        "the released record cannot be read",
    ),
}


@pytest.mark.parametrize(("statement", "problem"), IN_JOURNAL.values(), ids=IN_JOURNAL)
def test_a_broken_journal_of_holds_is_found(data_dir: Path, statement: str, problem: str) -> None:
    sql(data_dir, "journal.db", statement)
    assert problem in told(reconcile(data_dir))
