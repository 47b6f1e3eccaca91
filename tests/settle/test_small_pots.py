"""A thousand pots that are no rounds, opened while a campaign runs: claimed, recorded, reconciled, tampered with."""

import asyncio
from contextlib import closing
from pathlib import Path

import apsw
import psycopg
import pytest

from redrush.control.pot_file import PotFile
from redrush.core.rush.campaign import Slots
from redrush.core.rush.holding import Holds, Part, SlotTable
from redrush.ports.records import RecordedGrant, Records
from redrush.ports.store import Claim, Claimed, PotTerms
from redrush.records.postgres import ExaminedDatabase, PostgresRecords
from redrush.records.sqlite import SqliteRecords
from redrush.settle.reconcile import Report, reconcile
from redrush.settle.reconcile.sets import SetSource, reconcile_sets
from redrush.settle.reconcile.vigil import Vigil
from redrush.settle.recorder import Recorder
from redrush.stores.sqlite import SqliteStore
from tests.conftest import Databases
from tests.settle.event import OPENS_US, campaign_of, open_pots, write_terms

CAMPAIGN, AMOUNTS = campaign_of(6)
POTS = [f"p{number}" for number in range(1_000)]
TABLES = {
    pot: SlotTable([0, 0, 0], [Part(Slots(0, 2), Holds.CODE), Part(Slots(2, 1), Holds.ITEM, ("A-1",))])
    if number % 2
    else SlotTable([7, 5, 3])
    for number, pot in enumerate(POTS)
}
GRANTS = 3 + 2 * len(POTS)


async def held(data_dir: Path, store: SqliteStore, records: Records, vigil: Vigil, set_id: str | None) -> None:
    """Open a round and, while it runs, the pots; two claim from each; record it all, and look at it all."""
    await open_pots(store, CAMPAIGN)
    await store.claim([Claim("r1", user) for user in ("ann", "bob", "cy")], OPENS_US)
    pots = PotFile(data_dir / "pots.jsonl")
    recorder = Recorder(store, records, CAMPAIGN, AMOUNTS, set_id=set_id, pots=PotFile(data_dir / "pots.jsonl").table)
    running = asyncio.create_task(recorder.run())
    pots.add(TABLES)
    await store.open([PotTerms(pot, Slots(0, 3)) for pot in POTS])
    answers = await store.claim([Claim(pot, user) for user in ("ann", "bob") for pot in POTS], OPENS_US + 5)
    assert all(isinstance(answer, Claimed) for answer in answers)
    await recorder.caught_up()
    await recorder.stop()
    await running
    while vigil.look():
        pass
    assert vigil.problems == []


def vigil_over(data_dir: Path, records: SqliteRecords | ExaminedDatabase, set_id: str | None) -> Vigil:
    pots = PotFile(data_dir / "pots.jsonl").table
    return Vigil(records, CAMPAIGN.id, AMOUNTS, lambda: 0.0, set_id, pots=pots)


def agrees(report: Report) -> None:
    assert report.problems == ()
    assert report.grants == GRANTS
    assert report.granted_minor == 1 + 2 + 3 + 12 * (len(POTS) // 2)
    assert report.budget_minor == sum(AMOUNTS) + 15 * (len(POTS) // 2)


def knows_what_was_won(records: Records) -> None:
    won = {(grant.pot, grant.slot): grant for grant in records.grants_of("bob")}
    assert len(won) == 1 + len(POTS)
    assert won["p0", 1] == RecordedGrant(1, "p0", "bob", 5, OPENS_US + 5, CAMPAIGN.id)
    assert won["p1", 1] == RecordedGrant(1, "p1", "bob", 0, OPENS_US + 5, CAMPAIGN.id, None, "code:1")
    assert records.balance(CAMPAIGN.id, "user:bob").net_minor == 2 + 5 * (len(POTS) // 2)


TAMPER = "UPDATE grants SET holds = 'code:0' WHERE holds = 'code:1' AND pot = (SELECT pot FROM pots WHERE name = 'p1')"
TOLD = "slot 1 of p1: the records say"


def test_a_thousand_small_pots_on_one_machine(tmp_path: Path) -> None:
    write_terms(tmp_path, CAMPAIGN, AMOUNTS)
    records = SqliteRecords.open_path(tmp_path / "records.db")
    vigil = vigil_over(tmp_path, records, None)

    async def scenario() -> None:
        store = await SqliteStore.open_path(tmp_path / "journal.db")
        await held(tmp_path, store, records, vigil, None)
        await store.close()

    asyncio.run(scenario())
    knows_what_was_won(records)
    agrees(reconcile(tmp_path))
    with closing(apsw.Connection(str(tmp_path / "records.db"))) as connection:
        connection.execute(TAMPER)
        assert connection.changes() == 1
    assert [problem.partition(TOLD)[1] for problem in reconcile(tmp_path).problems] == [TOLD]
    while vigil.look():
        pass
    assert any(TOLD in problem for problem in vigil.problems), vigil.problems
    records.close()


def test_a_thousand_small_pots_on_postgres(databases: Databases, tmp_path: Path) -> None:
    write_terms(tmp_path, CAMPAIGN, AMOUNTS)
    dsn = databases.fresh()
    records, examined = PostgresRecords(dsn, "s1"), ExaminedDatabase(dsn, "s1")
    records.cursor()
    vigil = vigil_over(tmp_path, examined, "s1")

    async def scenario() -> tuple[Report, Report]:
        store = await SqliteStore.open_path(tmp_path / "journal.db")
        await held(tmp_path, store, records, vigil, "s1")
        await asyncio.to_thread(knows_what_was_won, records)
        before = await reconcile_sets(tmp_path, [SetSource("s1", dsn, store)])
        with psycopg.connect(dsn, autocommit=True) as connection:
            assert connection.execute(TAMPER).rowcount == 1
        after = await reconcile_sets(tmp_path, [SetSource("s1", dsn, store)])
        await store.close()
        return before, after

    before, after = asyncio.run(scenario())
    agrees(before)
    assert [problem.partition(TOLD)[1] for problem in after.problems] == [TOLD]
    while vigil.look():
        pass
    assert any(TOLD in problem for problem in vigil.problems), vigil.problems
    records.close()
    examined.close()


def test_a_table_that_was_cut_short_is_of_a_pot_that_was_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "pots.jsonl"
    PotFile(path).add({"p1": TABLES["p1"], "p2": TABLES["p2"]})
    path.write_bytes(path.read_bytes()[:-3])
    again = PotFile(path)
    assert again.table("p2") is None
    again.add({"p3": TABLES["p4"]})
    found = PotFile(path).table("p1")
    assert found is not None
    assert found.texts(Slots(0, 3)) == ["code:0", "code:1", "item:A-1"]
    assert PotFile(path).table("p3") is not None


@pytest.mark.parametrize("pot", ["p9", "$returned"])
def test_a_pot_that_nobody_wrote_down_is_none(tmp_path: Path, pot: str) -> None:
    assert PotFile(tmp_path / "pots.jsonl").table(pot) is None
