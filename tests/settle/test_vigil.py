"""The running reconciliation: everything that is changed from outside is told, at the next look or the one after."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import apsw
import psycopg
import pytest

from redrush.core.rush.campaign import RETURNED_POT, Slots
from redrush.ports.examined import Examinable
from redrush.ports.store import Claim, Grant, PotTerms
from redrush.records.postgres import ExaminedDatabase, PostgresRecords
from redrush.records.sqlite import SqliteRecords
from redrush.settle.closing import close_pot
from redrush.settle.reconcile.vigil import Vigil
from redrush.settle.reconcile.watch import SWEEP_REST_MAX_S, SWEEP_REST_S, sweep_rest_s
from redrush.settle.recorder import Recorder
from redrush.stores.memory import MemoryStore
from tests.conftest import Databases
from tests.settle.event import campaign_of, open_pots, rush

CAMPAIGN, AMOUNTS = campaign_of(200, 100, 20)
FIRST, SECOND, THIRD = CAMPAIGN.rounds


class Recorded:
    """Records of a set that were made, and can be changed by anybody."""

    def __init__(
        self, records: SqliteRecords | PostgresRecords, examinable: Examinable, sql: Callable[[str], int]
    ) -> None:
        self.records = records
        self.sql = sql
        self.store = MemoryStore()
        self.now_s = 0.0
        self.vigil = Vigil(examinable, CAMPAIGN.id, AMOUNTS, lambda: self.now_s, "s1")

    async def record(self) -> None:
        """Bring the records up to date."""
        recorder = Recorder(self.store, self.records, CAMPAIGN, AMOUNTS, set_id="s1")
        running = asyncio.create_task(recorder.run())
        await recorder.caught_up()
        await recorder.stop()
        await running

    async def begin(self) -> None:
        """Hold the first round, and record it."""
        await open_pots(self.store, CAMPAIGN)
        await rush(self.store, FIRST, users=190, batch=7)
        await close_pot(self.store, CAMPAIGN, FIRST.pots[0], FIRST.closes_us)
        await self.record()

    def look_at_all(self) -> list[str]:
        """Let a whole sweep go by; return what stands."""
        self.now_s += 1.0
        while self.vigil.look():
            self.now_s += 1.0
        return list(self.vigil.problems)


@pytest.fixture(params=["sqlite", "postgres"])
def recorded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Recorded]:
    if request.param == "sqlite":
        path = tmp_path / "records.db"

        def change_file(statement: str) -> int:
            with closing(apsw.Connection(str(path))) as connection:
                connection.execute(statement)
                return connection.changes()

        records = SqliteRecords.open_path(path)
        yield Recorded(records, records, change_file)
        records.close()
        return
    databases: Databases = request.getfixturevalue("databases")
    dsn = databases.fresh()

    def change_database(statement: str) -> int:
        with psycopg.connect(dsn, autocommit=True) as connection:
            return connection.execute(statement.encode()).rowcount

    in_postgres, examined = PostgresRecords(dsn, "s1"), ExaminedDatabase(dsn, "s1")
    yield Recorded(in_postgres, examined, change_database)
    in_postgres.close()
    examined.close()


async def test_a_sound_event_has_no_problems_while_it_goes_on(recorded: Recorded) -> None:
    await recorded.begin()
    assert recorded.look_at_all() == []
    await rush(recorded.store, SECOND, users=110, batch=30)
    await recorded.record()
    assert recorded.vigil.behind == 0, "nothing has been looked at since"
    assert recorded.look_at_all() == []
    await close_pot(recorded.store, CAMPAIGN, SECOND.pots[0], SECOND.closes_us)
    await close_pot(recorded.store, CAMPAIGN, THIRD.pots[0], THIRD.closes_us)
    await recorded.record()
    assert recorded.look_at_all() == []
    assert recorded.look_at_all() == []
    assert (recorded.vigil.behind, recorded.vigil.sweep_took_s > 0, recorded.vigil.urgent) == (0, True, False)
    assert recorded.vigil.compared >= 2 * 300


TAMPERED = {
    "amount": ("UPDATE grants SET amount_minor = 999 WHERE slot = 40", "slot 40 of r1: the records say ('u40', 999"),
    "user": ("""UPDATE grants SET "user" = 'eve' WHERE slot = 40""", "slot 40 of r1: the records say ('eve', 41"),
    "instant": ("UPDATE grants SET at_us = at_us + 1 WHERE slot = 40", "slot 40 of r1"),
    "slot": ("UPDATE grants SET slot = 4000 WHERE slot = 40", "slot 40 of r1: the records say None"),
    "deleted": ("DELETE FROM grants WHERE slot = 40", "slot 40 of r1: the records say None"),
    "one more": (
        """INSERT INTO grants (pot, slot, "user", amount_minor, at_us) SELECT pot, 195, 'eve', 5, 0 FROM pots""",
        "the records hold 191 grants, by their copy of the log there are 190",
    ),
    "posting doubled": (
        "INSERT INTO postings SELECT campaign, '{id}', debit_account, credit_account, amount_minor, at_us "
        "FROM postings WHERE id = 'fund:r1/s1'",
        "postings, by their copy of the log there are",
    ),
    "posting changed": ("UPDATE postings SET amount_minor = 7 WHERE id = 'fund:r1/s1'", "posting fund:r1/s1 is"),
    "posting deleted": ("DELETE FROM postings WHERE id LIKE 'give:%'", "it must be ('transit', 'round:r2'"),
    "journal": (
        "UPDATE journal SET users = replace(users, 'u40', 'eve') WHERE kind = 'granted'",
        "the records' copy of the log up to record",
    ),
    "journal cut": ("DELETE FROM journal WHERE seq > 20", "copy of the log ends at record 20"),
    "journal unreadable": ("UPDATE journal SET users = '[' WHERE seq = 20", "record 20 of the records' copy"),
}
IN_POSTGRES = {
    "posting doubled": (
        "INSERT INTO postings SELECT '{id}', debit_account, credit_account, amount_minor, at_us, campaign "
        "FROM postings WHERE id = 'fund:r1/s1'",
        "postings, by their copy of the log there are",
    ),
    "journal": (  # these were recorded without a fingerprint
        "UPDATE journal SET users = replace(users, 'u40', 'eve') WHERE kind = 'granted'",
        "slot 40 of r1: the records say ('u40', 41, 1800000000000005, 0), the log says ('eve'",
    ),
}


@pytest.mark.parametrize("what", TAMPERED)
async def test_what_anybody_changes_from_outside_is_told_at_the_next_look(recorded: Recorded, what: str) -> None:
    await recorded.begin()
    assert recorded.look_at_all() == []
    statement, problem = TAMPERED[what]
    if isinstance(recorded.records, PostgresRecords):
        statement, problem = IN_POSTGRES.get(what, (statement, problem))
    assert recorded.sql(statement.replace("{id}", "fund:r1/s1-again")) > 0
    recorded.vigil.look()
    assert len(recorded.vigil.problems) >= 1, "that somebody wrote is told at once, before anything is found"
    assert any(
        "somebody else than its recorder" in one or "who is no recorder" in one for one in recorded.vigil.problems
    )
    found = recorded.look_at_all()
    assert any(problem in one for one in found), found


async def test_a_problem_stands_until_a_sweep_is_through_without_it(recorded: Recorded) -> None:
    await recorded.begin()
    recorded.look_at_all()
    assert recorded.sql("UPDATE grants SET amount_minor = 999 WHERE slot = 40") == 1
    _alarm, *found = recorded.look_at_all()
    assert found
    assert recorded.look_at_all() == found, "the alarm is over, what was found stands"
    assert recorded.sql("UPDATE grants SET amount_minor = 41 WHERE slot = 40") == 1
    recorded.look_at_all()
    recorded.look_at_all()
    assert recorded.look_at_all() == []


async def test_a_row_that_is_recorded_wrongly_is_told_by_the_look_after_it(recorded: Recorded) -> None:
    """Whatever does it sits in the database: nobody else writes, and no sweep is needed."""
    await recorded.begin()
    recorded.look_at_all()
    if isinstance(recorded.records, SqliteRecords):
        recorded.records._writer.execute(
            "CREATE TEMP TRIGGER off BEFORE INSERT ON grants WHEN NEW.slot = 203"
            " BEGIN INSERT INTO grants (pot, slot, user, amount_minor, at_us)"
            " VALUES (NEW.pot, NEW.slot, NEW.user, NEW.amount_minor + 1, NEW.at_us); SELECT RAISE(IGNORE); END"
        )
        recorded.records._writer.execute("PRAGMA recursive_triggers = off")
    else:
        recorded.sql(
            "CREATE FUNCTION off() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN NEW.amount_minor := NEW.amount_minor + (NEW.slot = 203)::integer; RETURN NEW; END $$"
        )
        recorded.sql("CREATE TRIGGER off BEFORE INSERT ON grants FOR EACH ROW EXECUTE FUNCTION off()")
    await rush(recorded.store, SECOND, users=20, batch=5)
    await recorded.record()
    while recorded.vigil.look(sweep=False):
        pass
    assert any("slot 203 of r2: the records say ('u3', 205" in one for one in recorded.vigil.problems)


async def test_holds_that_end_are_no_problem_and_their_postings_are_compared(recorded: Recorded) -> None:
    await recorded.store.open([PotTerms("r1", FIRST.slots, 1, 60_000_000), PotTerms("r2", SECOND.slots)])
    await recorded.store.open([PotTerms(RETURNED_POT, Slots(0, 0))])
    made = await recorded.store.claim([Claim("r1", user) for user in ("ann", "bob", "cy")], FIRST.opens_us)
    holds = [
        Grant("r1", user, held.slot, "", held.number, held.until_us)  # type: ignore[union-attr]
        for user, held in zip(("ann", "bob", "cy"), made, strict=True)
    ]
    await recorded.record()
    assert recorded.look_at_all() == []
    await recorded.store.confirm(holds[:1], FIRST.opens_us + 1)
    await recorded.store.release(holds[1:], FIRST.opens_us + 2)
    await recorded.store.offer(["r1"])
    await recorded.store.claim([Claim("r1", f"u{k}") for k in range(199)], FIRST.opens_us + 3)
    await recorded.record()
    assert recorded.look_at_all() == []
    assert recorded.look_at_all() == []
    assert recorded.sql("UPDATE postings SET credit_account = 'user:eve' WHERE id = 'release:cny-r1-1#s1/2'") == 1
    assert any("posting release:cny-r1-1#s1/2 is" in one for one in recorded.look_at_all())


async def test_a_million_problems_are_remembered_up_to_a_maximum(recorded: Recorded) -> None:
    await recorded.begin()
    recorded.look_at_all()
    recorded.sql("UPDATE grants SET amount_minor = amount_minor + 1")
    assert len(recorded.look_at_all()) == 100


def test_a_database_that_holds_nothing_has_no_problems(recorded: Recorded) -> None:
    recorded.records.cursor()
    assert recorded.look_at_all() == []


def test_what_agrees_is_swept_for_a_hundredth_of_a_core_and_what_does_not_again_at_once() -> None:
    assert sweep_rest_s(0.1, disagrees=False) == SWEEP_REST_S
    assert sweep_rest_s(10.0, disagrees=False) == 90.0  # a tenth of a core during a tenth of the time
    assert sweep_rest_s(3_600.0, disagrees=False) == SWEEP_REST_MAX_S
    assert sweep_rest_s(3_600.0, disagrees=True) == SWEEP_REST_S
