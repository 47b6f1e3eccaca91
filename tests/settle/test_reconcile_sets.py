"""Reconciliation over several sets: nothing found in a sound event, every broken thing in an unsound one."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import psycopg
import pytest

from redrush.core.rush.campaign import RETURNED_POT, Kind, Slots
from redrush.core.rush.group import Packet
from redrush.core.rush.holding import no_pots
from redrush.core.rush.packet_note import note_of
from redrush.ports.store import Grant, Held, LogRecord, NotedTerms, PotTerms, Store, StoreFailed, claims_of
from redrush.records.postgres import PostgresRecords
from redrush.settle import noted_tables
from redrush.settle.export import ExportedGrant, grants, write_grants
from redrush.settle.noted_tables import NotedTables
from redrush.settle.reconcile import Report
from redrush.settle.reconcile.sets import SetSource, reconcile_sets
from redrush.settle.recorder import Recorder
from redrush.settle.whole_log import LogsOfSets, logs_of
from redrush.stores.memory import MemoryStore
from tests.conftest import Databases
from tests.settle.event import campaign_of, write_terms

SETS = ("s1", "s2", "s3")


class TrimmedStore(MemoryStore):
    """Forgets what it is told to trim."""

    def __init__(self) -> None:
        super().__init__()
        self.trimmed = 0
        self.before_reading: Callable[[], None] = lambda: None

    async def log(self, after: int, limit: int) -> list[LogRecord]:
        return await super().log(max(after, self.trimmed), limit)

    async def trim(self, seq: int) -> None:
        self.trimmed = max(self.trimmed, seq)


class World:
    """Three sets, two of them in one database, and a campaign of two rounds of 30 and 15 slots divided over them."""

    def __init__(self, databases: Databases, data_dir: Path) -> None:
        shared, own = databases.fresh(), databases.fresh()
        self.data_dir = data_dir
        self.campaign, self.amounts = campaign_of(30, 15)
        self.dsns = {"s1": shared, "s2": shared, "s3": own}
        self.stores = {set_: TrimmedStore() for set_ in SETS}
        self.records = {set_: PostgresRecords(dsn, set_) for set_, dsn in self.dsns.items()}
        write_terms(data_dir, self.campaign, self.amounts)

    async def open_pots(self) -> None:
        self.make_schema()
        for round_ in self.campaign.rounds:
            share = round_.slots.count // len(SETS)
            for number, store in enumerate(self.stores.values()):
                await store.open([PotTerms(round_.id, Slots(round_.slots.first + number * share, share))])
        for store in self.stores.values():
            await store.open([PotTerms(RETURNED_POT, Slots(0, 0))])

    def make_schema(self) -> None:
        for records in self.records.values():
            records.cursor()

    async def claim(self, set_: str, round_id: str, users: int, prefix: str = "") -> None:
        round_ = self.campaign.round(round_id)
        assert round_ is not None
        names = [f"{prefix}{set_}-{user}" for user in range(users)]
        for first in range(0, users, 4):
            await self.stores[set_].claim(claims_of(round_id, names[first : first + 4]), round_.opens_us + first)

    async def move(self, source: str, target: str, round_id: str, count: int, transfer: str) -> None:
        slots = await self.stores[source].take(round_id, count, transfer)
        await self.stores[target].give(round_id, slots, transfer)

    async def close_pot(self, set_: str, round_id: str, destination: str) -> None:
        store = self.stores[set_]
        transfer = f"leftover:{round_id}:{set_}"
        slots = await store.take(round_id, (await store.state(round_id)).left, transfer)
        await store.give(destination, slots, transfer)

    async def hold_event(self) -> None:
        """s1 runs dry and is given slots of s2 and s3, which travel back in part; leftovers go on, or are returned."""
        await self.open_pots()
        await self.claim("s1", "r1", 10)
        await self.claim("s2", "r1", 5)
        await self.move("s2", "s1", "r1", 3, "rebalance:r1:a:s1")
        await self.move("s3", "s1", "r1", 4, "rebalance:r1:b:s1")
        await self.move("s1", "s3", "r1", 2, "rebalance:r1:c:s3")
        await self.claim("s1", "r1", 15)
        for set_ in SETS:
            await self.close_pot(set_, "r1", "r2")
        for set_ in SETS:
            await self.claim(set_, "r2", 7)
            await self.close_pot(set_, "r2", RETURNED_POT)

    @asynccontextmanager
    async def recording(self, *, trim: bool = True) -> AsyncIterator[dict[str, Recorder]]:
        tables = {set_: NotedTables(records.note_of, no_pots) for set_, records in self.records.items()}
        recorders = {
            set_: Recorder(
                store,
                self.records[set_],
                self.campaign,
                self.amounts,
                set_id=set_,
                pots=tables[set_].table,
                noted=tables[set_].hear,
                trim=store.trim if trim else None,
            )
            for set_, store in self.stores.items()
        }
        tasks = [asyncio.create_task(recorder.run()) for recorder in recorders.values()]
        try:
            yield recorders
        finally:
            for recorder in recorders.values():
                await recorder.stop()
            await asyncio.gather(*tasks)

    def sources(self, **stores: Store | None) -> list[SetSource]:
        return [SetSource(set_, self.dsns[set_], stores.get(set_, self.stores[set_])) for set_ in SETS]

    async def reconcile(self, **stores: Store | None) -> Report:
        return await reconcile_sets(self.data_dir, self.sources(**stores))

    def close(self) -> None:
        for records in self.records.values():
            records.close()


@pytest.fixture
def world(databases: Databases, tmp_path: Path) -> Iterator[World]:
    made = World(databases, tmp_path)
    yield made
    made.close()


def written(logs: LogsOfSets, world: World, out: io.StringIO) -> None:
    with logs.granted(no_pots) as (granted, pots):
        write_grants(granted, world.campaign, world.amounts, "jsonl", out, pots)


async def recorded_event(world: World) -> None:
    async with world.recording():
        await world.hold_event()


def test_a_sound_event_over_three_sets_reconciles_to_the_minor_unit(world: World) -> None:
    async def scenario() -> Report:
        await recorded_event(world)
        assert all(store.trimmed == store.last_seq() > 0 for store in world.stores.values())
        return await world.reconcile()

    report = asyncio.run(scenario())
    assert report.ok, report.to_text()
    # r1: s1 grants its 10, and 5 of the 7 that it got, of which 2 went on; s2 grants 5. r2: 5, 5 + 2 and 7 of 5 + 8.
    assert [round_.grants for round_ in report.rounds] == [20, 19]
    assert (report.in_transit_minor, report.unclaimed_minor, report.behind) == (0, 0, 0)
    assert report.budget_minor == sum(world.amounts) == report.granted_minor + report.returned_minor
    first, second = report.rounds
    assert first.received_minor == 0, "a move between sets is no income of the round"
    assert first.budget_minor == first.granted_minor + first.passed_on_minor
    assert second.received_minor == first.passed_on_minor
    assert [set_.set for set_ in report.sets] == list(SETS)
    assert sum(set_.grants for set_ in report.sets) == 39
    assert "set s2: 12 grants" in report.to_text()
    assert report.to_json()["sets"][0]["recorded_seq"] == world.stores["s1"].last_seq()


def test_what_is_not_recorded_yet_is_read_from_the_stores(world: World) -> None:
    async def scenario() -> None:
        async with world.recording():
            await world.open_pots()
            await world.claim("s1", "r1", 4)
        await world.move("s2", "s1", "r1", 3, "rebalance:r1:a:s1")
        await world.claim("s1", "r1", 13)
        await world.claim("s3", "r1", 2)
        report = await world.reconcile()
        assert report.ok, report.to_text()
        assert (report.grants, report.behind) == (15, 7)

    asyncio.run(scenario())


def test_a_move_that_is_half_done_is_in_transit(world: World) -> None:
    async def scenario() -> None:
        async with world.recording():
            await world.open_pots()
            slots = await world.stores["s2"].take("r1", 3, "rebalance:r1:a:s1")
        report = await world.reconcile()
        assert report.ok, report.to_text()
        assert report.in_transit_minor == sum(sum(world.amounts[run.first : run.end]) for run in slots)

    asyncio.run(scenario())


def test_a_running_event_is_reconciled_while_slots_move_and_logs_are_trimmed(world: World) -> None:
    async def scenario() -> None:
        going_on = True

        async def moves() -> int:
            number = 0
            while going_on:
                source, target = (SETS[number % 3], SETS[(number + 1 + number // 3 % 2) % 3])
                await world.move(source, target, "r1", 2, f"rebalance:r1:{number}:{target}")
                await asyncio.sleep(0.001)
                number += 1
            return number

        await world.open_pots()
        async with world.recording():
            moving = asyncio.create_task(moves())
            for users in range(1, 9):
                await world.claim("s1", "r1", users, prefix=f"{users}-")
                report = await world.reconcile()
                assert report.ok, report.to_text()
            going_on = False
            assert await moving > 100

    asyncio.run(scenario())


def test_a_give_that_was_read_before_its_take_is_no_contradiction(world: World) -> None:
    """The log of s1 is read to its end, then slots leave s1 for s3, then the log of s3 is read."""

    class MovesWhenRead(TrimmedStore):
        moved = False

        async def log(self, after: int, limit: int) -> list[LogRecord]:
            if not self.moved:
                self.moved = True
                await asyncio.sleep(0)  # the other logs are read meanwhile
                await world.move("s1", "s3", "r1", 3, "rebalance:r1:a:s3")
            return await super().log(after, limit)

    async def scenario() -> None:
        world.stores["s3"] = MovesWhenRead()
        await world.open_pots()
        await world.claim("s1", "r1", 2)
        report = await world.reconcile()
        assert report.ok, report.to_text()
        assert (report.in_transit_minor, report.grants) == (0, 2)

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["not there", "failed"])
def test_a_set_that_cannot_be_reached_is_a_problem_and_the_rest_is_told(world: World, how: str) -> None:
    async def scenario() -> None:
        async with world.recording():
            await world.open_pots()
            await world.claim("s1", "r1", 4)
            await world.claim("s2", "r1", 4)
        away: Store | None = None
        if how == "failed":
            await world.stores["s2"].close()
            away = world.stores["s2"]
            with pytest.raises(StoreFailed):
                await away.log(0, 1)
        report = await world.reconcile(s2=away)
        assert not report.ok
        assert report.problem_count == 1
        assert "set s2 cannot be " in report.problems[0]
        assert report.grants == 8, "what s2 has recorded is known"

    asyncio.run(scenario())


BROKEN = {
    "a grant less in the table": ("s1", "DELETE FROM grants WHERE slot = 0", "slot 0: granted to s1-0"),
    "another amount": ("s3", "UPDATE grants SET amount_minor = 999 WHERE slot = 40", "slot 40: the records say"),
    "another winner": ("s1", """UPDATE grants SET "user" = 'eve' WHERE slot = 0""", "slot 0: the records say"),
    "a slot in two rounds": (
        "s1",
        """INSERT INTO grants (pot, slot, "user", amount_minor, at_us)
           SELECT r2.pot, slot, 'eve', amount_minor, at_us FROM grants, pots AS r2 WHERE r2.name = 'r2' AND slot = 0""",
        "slot 0: the records grant it more than once",
    ),
    "a grant of a set that records elsewhere": (
        "s3",
        """INSERT INTO grants (pot, slot, "user", amount_minor, at_us)
           SELECT pot, 0, 's1-0', 1, 1800000000000000 FROM pots WHERE name = 'r2'""",
        "slot 0: the records grant it to s1-0",
    ),
    "a slot granted again in the journal": (
        "s2",
        """UPDATE journal SET first_slot = 0 WHERE log = 's2' AND first_slot = 10 AND kind = 'granted'""",
        "slot 0 is granted, but it is already granted in round r1 of set s1",
    ),
    "a user who won in two sets": (
        "s2",
        """UPDATE journal SET users = replace(users, 's2-0', 's1-0') WHERE log = 's2' AND pot = 'r1'""",
        "user s1-0 is granted more than once in round r1",
    ),
    "a record missing": (
        "s2",
        "DELETE FROM journal WHERE log = 's2' AND kind = 'granted' AND pot = 'r1' AND first_slot = 10",
        "the records grant it to s2-0",
    ),
    "a take missing": (
        "s2",
        "DELETE FROM journal WHERE transfer = 'rebalance:r1:a:s1' AND kind = 'taken'",
        "transfer rebalance:r1:a:s1 gives other slots than it took",
    ),
    "a give of other slots": (
        "s1",
        "UPDATE journal SET slots = '[[0, 3]]' WHERE transfer = 'rebalance:r1:a:s1' AND kind = 'given'",
        "gives other slots than it took",
    ),
    "a share that overlaps": (
        "s3",
        "UPDATE journal SET first_slot = 19 WHERE kind = 'opened' AND pot = 'r1'",
        "slot 19 is opened, but it is",
    ),
    "a share too small": (
        "s3",
        "UPDATE journal SET count = 9 WHERE kind = 'opened' AND pot = 'r1'",
        "slot 29 is taken, but it is in no pot",
    ),
    "a posting less": ("s1", "DELETE FROM postings WHERE id = 'fund:r1/s1'", "posting fund:r1/s1"),
    "a posting too many": (
        "s1",
        "INSERT INTO postings VALUES ('fund:r9', 'sponsor', 'round:r9', 5, NULL, 1)",
        "posting fund:r9 stands for nothing",
    ),
    "another amount posted": (
        "s3",
        "UPDATE postings SET amount_minor = amount_minor + 1 WHERE id = 'fund:r1/s3'",
        "posting fund:r1/s3 (set s3 seq 1)",
    ),
    "another rule": ("s1", "UPDATE pots SET credit_prefix = 'house:' WHERE name = 'r1'", "are posted by"),
    "a wrong total": (
        "s1",
        """UPDATE pot_totals SET grants = grants + 1
            WHERE log = 's1' AND pot = (SELECT pot FROM pots WHERE name = 'r1')""",
        "kept are",
    ),
    "a cursor ahead": ("s1", "UPDATE cursors SET seq = seq + 5 WHERE log = 's1'", "the journal ends at"),
    "a cursor behind": ("s1", "UPDATE cursors SET seq = seq - 1 WHERE log = 's1'", "1 records of log s1 above"),
    "a log of nobody": ("s3", "INSERT INTO cursors VALUES ('s9', 4)", "log s9, which is no set"),
}


@pytest.mark.parametrize(("set_", "statement", "told"), BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_found(world: World, set_: str, statement: str, told: str) -> None:
    asyncio.run(recorded_event(world))
    with psycopg.connect(world.dsns[set_], autocommit=True) as connection:
        assert connection.execute(statement.encode()).rowcount > 0
    report = asyncio.run(world.reconcile())
    assert not report.ok
    assert told in " | ".join(report.problems), report.to_text()


def test_a_round_that_its_shares_do_not_make_up_is_told(world: World) -> None:
    async def scenario() -> Report:
        world.make_schema()
        for number, store in enumerate(world.stores.values()):
            await store.open([PotTerms("r1", Slots(number * 10, 9))])
        return await world.reconcile()

    report = asyncio.run(scenario())
    assert "round r1: 3 of its slots were given to none of its sets" in report.problems


def test_a_set_without_a_share_of_a_round_is_no_hole(world: World) -> None:
    async def scenario() -> Report:
        world.make_schema()
        await world.stores["s1"].open([PotTerms("r1", Slots(0, 15))])
        await world.stores["s2"].open([PotTerms("r1", Slots(15, 15))])
        sources = [
            SetSource(set_, world.dsns[set_], world.stores[set_], frozenset({"r2"} if set_ == "s3" else {"r1", "r2"}))
            for set_ in SETS
        ]
        return await reconcile_sets(world.data_dir, sources)

    assert asyncio.run(scenario()).ok


def test_the_grants_of_all_sets_are_exported_recorded_or_not(world: World) -> None:
    async def scenario() -> list[ExportedGrant]:
        async with world.recording():
            await world.hold_event()
        await world.stores["s1"].open([PotTerms("late", Slots(0, 0))])  # no grant, and not recorded
        out = io.StringIO()
        sets = [(world.records[set_], world.stores[set_]) for set_ in SETS]
        written(await logs_of(sets), world, out)
        return [msgspec.json.decode(line, type=ExportedGrant) for line in out.getvalue().splitlines()]

    exported = asyncio.run(scenario())
    assert len({grant.slot for grant in exported}) == len(exported) == 39
    assert len({grant.grant for grant in exported if grant.round == "r1"}) == 20


def test_what_is_recorded_while_it_is_exported_is_a_line_once(world: World) -> None:
    async def scenario() -> list[str]:
        await world.open_pots()
        await world.claim("s1", "r1", 4)
        store, records = world.stores["s1"], world.records["s1"]

        class RecordsBetween:
            """The tail was read already when the recorder records all of it and trims the log."""

            cursor = staticmethod(records.cursor)
            note_of = staticmethod(records.note_of)
            notes = staticmethod(records.notes)

            def journal(self, after: int = 0) -> Generator[LogRecord, None, None]:
                loop = asyncio.new_event_loop()
                recorder = Recorder(store, records, world.campaign, world.amounts, set_id="s1", trim=store.trim)

                async def record() -> None:
                    running = asyncio.create_task(recorder.run())
                    await recorder.caught_up()
                    await recorder.stop()
                    await running

                loop.run_until_complete(record())
                loop.close()
                return records.journal(after)

        out = io.StringIO()
        logs = await logs_of([(RecordsBetween(), store)])
        await asyncio.to_thread(written, logs, world, out)
        assert store.trimmed == store.last_seq()
        return out.getvalue().splitlines()

    assert len(asyncio.run(scenario())) == 4


def packet(id_: str, *amounts: int) -> tuple[Packet, NotedTerms]:
    """Return a packet that is paid, and how its pot is opened."""
    paid = Packet(
        id=id_, sender="ann", kind=Kind.LUCKY, total_minor=sum(amounts), count=len(amounts), paid_us=1, amounts=amounts
    )
    return paid, NotedTerms(paid.pot, Slots(0, len(amounts)), note=note_of(paid))


def test_what_was_granted_of_packets_is_exported_recorded_or_not(world: World) -> None:
    """One packet is recorded, of one only the opening is, and one is in its set's log alone."""
    packets = {set_: packet(f"{number}" * 32, 5, 7 + number) for number, set_ in enumerate(SETS)}

    async def grab(set_: str, user: str) -> None:
        at_us = world.campaign.rounds[0].opens_us + 50
        await world.stores[set_].claim(claims_of(packets[set_][0].pot, [user]), at_us)

    async def scenario() -> None:
        async with world.recording() as recorders:
            await world.open_pots()
            for set_ in ("s1", "s2"):
                await world.stores[set_].open([packets[set_][1]])
            await grab("s1", "bob")
            for recorder in recorders.values():
                await recorder.caught_up()
        await world.stores["s3"].open([packets["s3"][1]])
        for set_ in SETS:
            await grab(set_, "carl")
        logs = await logs_of([(world.records[set_], world.stores[set_]) for set_ in SETS])
        assert logs.has_packets()
        with logs.granted(no_pots) as (granted, pots):
            exported = grants(granted, world.campaign, world.amounts, pots)
            found = [(one.round, one.user, one.amount) for one in exported]
            assert pots("packet:none") is None
        s1, s2, s3 = (packets[set_][0].pot for set_ in SETS)
        assert sorted(found) == [
            (s1, "bob", "0.05"), (s1, "carl", "0.07"), (s2, "carl", "0.05"), (s3, "carl", "0.05"),
        ]  # fmt: skip

    asyncio.run(scenario())


def test_a_campaign_without_packets_has_none(world: World) -> None:
    async def scenario() -> None:
        await recorded_event(world)
        logs = await logs_of([(world.records[set_], world.stores[set_]) for set_ in SETS])
        assert not logs.has_packets()

    asyncio.run(scenario())


def test_the_table_of_a_packet_that_is_at_hand_no_more_is_found_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noted_tables, "TABLES_MAX", 1)
    test_what_was_granted_of_packets_is_exported_recorded_or_not(world)


async def held_here_and_there(world: World, at: tuple[str, ...] = ("s1", "s2", "s1")) -> None:
    """One slot is held, given back and moved on, from set to set."""
    first = world.campaign.rounds[0]
    for set_, store in world.stores.items():
        count = 1 if set_ == at[0] else 0
        await store.open([PotTerms("r1", Slots(0, count), 1, 60_000_000), PotTerms(RETURNED_POT, Slots(0, 0))])
    for number, set_ in enumerate(at):
        store = world.stores[set_]
        [held] = await store.claim(claims_of("r1", [f"u{number}"]), first.opens_us + number)
        assert isinstance(held, Held)
        if number + 1 < len(at):
            hold = Grant("r1", f"u{number}", held.slot, "", held.number)
            await store.release([hold], first.opens_us + number)
            await world.move(set_, at[number + 1], "r1", 1, f"rebalance:r1:{number}:{at[number + 1]}")


@pytest.mark.parametrize("order", [("s1", "s2"), ("s2", "s1")])
def test_a_hold_that_moved_on_is_recorded_whichever_recorder_is_first(world: World, order: tuple[str, str]) -> None:
    async def scenario() -> None:
        world.make_schema()
        await held_here_and_there(world)
        for set_ in order:
            recorder = Recorder(world.stores[set_], world.records[set_], world.campaign, world.amounts, set_id=set_)
            running = asyncio.create_task(recorder.run())
            await recorder.caught_up()
            await recorder.stop()
            await running
        assert world.records["s2"].holds_due("cny", 1 << 62, 0, 9) == []
        [held] = world.records["s1"].holds_due("cny", 1 << 62, 0, 9)
        assert (held.user, held.slot, held.number) == ("u2", 0, 2)
        report = await world.reconcile()
        assert not [problem for problem in report.problems if "round r" not in problem], report.to_text()

    asyncio.run(scenario())


def test_a_slot_is_two_peoples_in_the_records_while_one_recorder_is_behind(world: World) -> None:
    """The release is in no records yet, and the slot is granted again in another set: the logs say how that is."""

    async def scenario() -> None:
        world.make_schema()
        before = world.stores["s1"]
        await held_here_and_there(world, ("s1", "s2"))
        records = await before.log(0, 100)
        upto = next(record.seq for record in records if type(record).__name__ == "Released") - 1
        whole = before.log

        async def early(after: int, limit: int) -> list[LogRecord]:
            return [record for record in await whole(after, limit) if record.seq <= upto]

        before.log = early  # type: ignore[method-assign] # its recorder is behind
        before_seq, before.last_seq = before.last_seq, lambda: upto  # type: ignore[method-assign] # as above
        for set_ in ("s1", "s2"):
            recorder = Recorder(world.stores[set_], world.records[set_], world.campaign, world.amounts, set_id=set_)
            running = asyncio.create_task(recorder.run())
            await recorder.caught_up()
            await recorder.stop()
            await running
        before.log, before.last_seq = whole, before_seq  # type: ignore[method-assign] # it is all there
        assert [hold.user for set_ in ("s1", "s2") for hold in world.records[set_].holds_due("cny", 1 << 62, 0, 9)] == [
            "u0",
            "u1",
        ]
        report = await world.reconcile()
        assert not [problem for problem in report.problems if "round r" not in problem], report.to_text()
        with psycopg.connect(world.dsns["s1"], autocommit=True) as connection:
            connection.execute("DELETE FROM grants WHERE log = 's1'")
        report = await world.reconcile()
        assert any("the records do not have it" in problem for problem in report.problems), report.to_text()

    asyncio.run(scenario())
