"""Bills, packets and orders are held against the log and against each other, in files and in PostgreSQL alike: nothing
is found where all is as it was written, and whatever somebody changes by SQL is named, with what to do."""

import asyncio
import shutil
import sqlite3
from array import array
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import psycopg
import pytest

from redrush.core.money.clearing import credited, spent
from redrush.core.money.ledger import SPONSOR
from redrush.core.rush.campaign import RETURNED_POT, Campaign, Kind, Leftover, Round, Slots, grant_id
from redrush.core.rush.group import Packet, rest_transfer
from redrush.core.rush.holding import Holds, Part, SlotTable
from redrush.core.rush.packet_note import note_of
from redrush.core.rush.sale import SaleTerms
from redrush.core.rush.sale_order import SaleOrder, State, Why, order_id
from redrush.ports.bill_book import BillBook, BillState, Change, Entry, KeptBill, NewBill
from redrush.ports.packets import Booked, PacketBook, Stage
from redrush.ports.records import Records
from redrush.ports.sale_book import SaleBook
from redrush.ports.store import Claim, Grant, Held, LogRecord, NotedTerms, PotTerms, Store
from redrush.records.postgres import PostgresRecords
from redrush.records.postgres.bills import PostgresBillBook
from redrush.records.postgres.packets import PostgresPacketBook
from redrush.records.postgres.sales import PostgresSaleBook
from redrush.records.sqlite import SqliteRecords
from redrush.records.sqlite.bills import SqliteBillBook
from redrush.records.sqlite.packets import SqlitePacketBook
from redrush.records.sqlite.sales import SqliteSaleBook
from redrush.settle.paying.steps import again
from redrush.settle.reconcile import Report, reconcile
from redrush.settle.reconcile.sets import SetSource, reconcile_sets
from redrush.settle.recorder import Recorder
from redrush.stores.memory import MemoryStore
from redrush.stores.sqlite import SqliteStore
from tests.conftest import Databases
from tests.settle.event import OPENS_US, SECOND_US, write_terms

PRICE: Final = 300
OPEN_ID, OVER_ID = "a" * 32, "b" * 32
SHARES: Final = {OPEN_ID: (3, 7), OVER_ID: (12, 8)}


def _round(id_: str, slots: Slots, **fields: Any) -> Round:
    closes_us = OPENS_US + 3_600 * SECOND_US
    return Round(id=id_, opens_us=OPENS_US, closes_us=closes_us, slots=slots, leftover=Leftover.RETURN, **fields)


CAMPAIGN: Final = Campaign(
    id="c",
    name="a sale",
    currency="CNY",
    rounds=(
        _round("r1", Slots(0, 2), kind=Kind.EQUAL, total_minor=2_000, min_minor=1_000, max_minor=1_000),
        _round(
            "s", Slots(2, 4), kind=Kind.SALE, total_minor=0, min_minor=0, max_minor=0,
            sale=SaleTerms(price_minor=PRICE, hold_us=600 * SECOND_US, return_every_us=SECOND_US),
        ),
    ),
)  # fmt: skip
AMOUNTS: Final = array("q", [1_000, 1_000, 0, 0, 0, 0])
TABLE: Final = SlotTable(AMOUNTS, [Part(Slots(2, 4), Holds.UNIT)])


class Story:
    """What happens, written down through the ports as the parts that serve it do."""

    def __init__(self, store: Store, bills: BillBook, packets: PacketBook, sales: SaleBook, set_: str) -> None:
        self.store = store
        self.bills = bills
        self.packets = packets
        self.sales = sales
        self.set = set_
        self.now_us = OPENS_US

    async def happen(self) -> None:
        for round_ in CAMPAIGN.rounds:
            hold_us = None if round_.sale is None else round_.sale.hold_us
            await self.store.open([PotTerms(round_.id, round_.slots, 1, hold_us)])
        await self.store.open([PotTerms(RETURNED_POT, Slots(0, 0))])
        await self.store.claim([Claim("r1", "ann"), Claim("r1", "bob")], self.now_us)
        self.payouts()
        await self.packet(OPEN_ID)
        over = await self.packet(OVER_ID)
        (run,) = await self.store.take(over.pot, over.count, rest_transfer(over.id))
        rest_minor = sum(over.amounts[run.first : run.end])
        back = credited("ann", SPONSOR, rest_transfer(over.id), rest_minor, self.now_us)
        self.bills.post_each("c", [Entry(back)])
        self.packets.turn([over.id], Stage.OVER)
        await self.sale()

    def payouts(self) -> None:
        """One that arrived, and one that failed and is tried again."""
        made = self.bills.make([self.payout("arrived", 500), self.payout("failed", 100)], self.now_us)
        self.moved(made[0], fee_minor=5)
        (failed,) = self.bills.change([self._to(made[1], BillState.FAILED, postings=made[1].billed.ended(self.now_us))])
        self.bills.change([again(failed, self.now_us, covered_minor=1_000)])

    def payout(self, source: str, amount_minor: int) -> NewBill:
        return NewBill(
            kind="payout", source=source, campaign="c", user="bob", provider="bank", currency="CNY",
            amount_minor=amount_minor, subject="won", to="bob", covered_minor=1_000,
        )  # fmt: skip

    def _to(self, bill: KeptBill, state: BillState, **fields: Any) -> Change:
        return Change(
            id=bill.id, version=bill.version, state=state, next_us=None, looks=0, changed_us=self.now_us, **fields
        )

    def moved(self, bill: KeptBill, fee_minor: int = 0) -> None:
        postings = bill.billed.moved(fee_minor, self.now_us)
        self.bills.change([self._to(bill, BillState.DONE, fee_minor=fee_minor, done_us=self.now_us, postings=postings)])

    async def packet(self, id_: str) -> Packet:
        """Ann sends it, and carl has its first share."""
        shares = SHARES[id_]
        packet = Packet(
            id=id_, sender="ann", kind=Kind.LUCKY, total_minor=sum(shares), count=len(shares), created_us=self.now_us
        )
        self.packets.add([Booked(packet, Stage.PAYING)])
        self.bills.post_each("c", [Entry(spent("ann", SPONSOR, f"packet:c:{id_}", sum(shares), self.now_us), 1_000)])
        packet = msgspec.structs.replace(packet, amounts=shares, paid_us=self.now_us, closes_us=self.now_us + SECOND_US)
        self.packets.keep([Booked(packet, Stage.PAYING)])
        slots = Slots(0, packet.count)
        noted = NotedTerms(packet.pot, slots, note=note_of(packet))
        await self.store.open([noted if self.set else PotTerms(packet.pot, slots)])
        self.packets.turn([id_], Stage.OPEN)
        await self.store.claim([Claim(packet.pot, "carl")], self.now_us)
        return packet

    async def sale(self) -> None:
        """Dan's is delivered, and a part of its price went back; eve's is being paid, fay's was given back, gil's was
        refused by the shop."""
        users = ("dan", "eve", "fay", "gil")
        held = await self.store.claim([Claim("s", user) for user in users], self.now_us)
        holds = {
            user: Grant("s", user, one.slot, "", one.number, one.until_us)
            for user, one in zip(users, held, strict=True)
            if isinstance(one, Held)
        }
        assert set(holds) == set(users)
        for user in ("dan", "gil"):
            self.moved(self.charged(user, holds[user]))
        self.charged("eve", holds["eve"])
        fay = self.kept(self.order(holds["fay"]).returns(Why.GIVEN_BACK, self.now_us))
        gil = self.kept(self.sold("gil").refused(self.now_us))
        await self.store.release([holds["fay"], holds["gil"]], self.now_us)
        self.kept(fay.released(self.now_us))
        gil = self.kept(gil.released(self.now_us))
        (refund,) = self.bills.make([self.refund(gil)], self.now_us)
        self.moved(refund, fee_minor=-2)
        self.kept(gil.refunded(self.now_us))
        dan = self.sold("dan")
        await self.store.confirm([holds["dan"]], self.now_us)
        dan = self.kept(dan.confirmed(self.now_us))
        part = msgspec.structs.replace(self.refund(dan), source=f"sale:c:{dan.id}/part/1", amount_minor=50)
        self.moved(self.bills.make([part], self.now_us)[0])

    def order(self, hold: Grant) -> SaleOrder:
        grant = grant_id("c", "s", hold.slot)
        return SaleOrder(
            id=order_id(grant, hold.number, self.set), set=self.set, grant=grant, pot="s", user=hold.user,
            slot=hold.slot, number=hold.number, request=hold.request, until_us=hold.until_us or 0, price_minor=PRICE,
            state=State.PAYING, due_us=self.now_us, since_us=self.now_us,
        )  # fmt: skip

    def kept(self, order: SaleOrder) -> SaleOrder:
        (kept,) = self.sales.keep([order])
        assert kept is not None
        return kept

    def charged(self, user: str, hold: Grant) -> KeptBill:
        order = self.kept(self.order(hold).pays(None, self.now_us))
        bill = NewBill(
            kind="payin", source=f"sale:c:{order.id}", campaign="c", user=user, provider="bank", currency="CNY",
            amount_minor=PRICE, subject="a unit", account="sales", expires_us=order.until_us,
        )  # fmt: skip
        return self.bills.make([bill], self.now_us)[0]

    def sold(self, user: str) -> SaleOrder:
        (order,) = self.sales.of_user(user)
        return self.kept(order.paid(self.now_us, "r", self.now_us))

    def refund(self, order: SaleOrder) -> NewBill:
        source = f"sale:c:{order.id}"
        return NewBill(
            kind="refund", source=source, of=source, campaign="c", user=order.user, provider="bank", currency="CNY",
            amount_minor=PRICE, subject="refused", account="sales",
        )  # fmt: skip


async def held(story: Story, records: Records, data_dir: Path, set_: str | None) -> None:
    """Let it happen and be recorded."""
    write_terms(data_dir, CAMPAIGN, AMOUNTS)
    tables = {f"packet:{id_}": SlotTable(array("q", shares)) for id_, shares in SHARES.items()}
    recorder = Recorder(story.store, records, CAMPAIGN, TABLE, set_id=set_, pots=tables.get)
    await story.happen()
    running = asyncio.create_task(recorder.run())
    await recorder.caught_up()
    await recorder.stop()
    await running


class Form(NamedTuple):
    """The event in one of the two forms."""

    name: str
    reconcile: Callable[[], Report]
    plant: Callable[[str], Callable[[], None]]
    """Runs a statement, and returns what takes it back."""
    meanwhile: list[Callable[[], object]]
    """What happens, once, before the log is read."""


FILES: Final = {"bills": "payments.db", "postings": "payments.db", "accounts": "payments.db", "packets": "packets.db",
                "orders": "sales.db"}  # fmt: skip
TABLES: Final = {"bills": "bills", "postings": "bill_postings", "accounts": "bill_accounts", "packets": "packets",
                 "orders": "sale_orders"}  # fmt: skip


def in_files(directory: Path) -> Form:
    """On one machine: SQLite."""

    async def event() -> None:
        store = await SqliteStore.open_path(directory / "journal.db")
        records = SqliteRecords.open_path(directory / "records.db")
        with (
            closing(SqliteBillBook.open_path(directory / "payments.db")) as bills,
            closing(SqlitePacketBook.open_path(directory / "packets.db")) as packets,
            closing(SqliteSaleBook.open_path(directory / "sales.db")) as sales,
        ):
            await held(Story(store, bills, packets, sales, ""), records, directory, None)
        records.close()
        await store.close()

    asyncio.run(event())
    (kept := directory / "kept").mkdir()
    for file in set(FILES.values()):
        shutil.copy(directory / file, kept)

    def plant(statement: str) -> Callable[[], None]:
        named = {name: name for name in TABLES} | {"content": "CAST(content AS TEXT)", "blob": "BLOB"}
        said = statement.format(**named)
        file = FILES[next(word for word in said.split() if word in FILES)]
        with closing(sqlite3.connect(directory / file)) as connection, connection:
            assert connection.execute(said).rowcount > 0, said

        def undo() -> None:
            for file in set(FILES.values()):
                for end in ("-wal", "-shm"):
                    (directory / f"{file}{end}").unlink(missing_ok=True)
                shutil.copy(kept / file, directory)

        return undo

    return Form("files", lambda: reconcile(directory), plant, [])


class Watched(MemoryStore):
    """Lets something happen when its log is read."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: list[Callable[[], object]] = []

    async def log(self, after: int, limit: int) -> list[LogRecord]:
        while self.meanwhile:
            self.meanwhile.pop()()
        return await super().log(after, limit)


def in_tables(directory: Path, dsn: str) -> Iterator[Form]:
    """On a stack: PostgreSQL, beside another campaign's books."""
    store = Watched()
    records = PostgresRecords(dsn, "s1")

    async def event() -> None:
        with (
            closing(PostgresBillBook(dsn)) as bills,
            closing(PostgresPacketBook(dsn, "c")) as packets,
            closing(PostgresSaleBook(dsn, "c")) as sales,
        ):
            await held(Story(store, bills, packets, sales, "s1"), records, directory, "s1")
            foreign = Packet(id="c" * 32, sender="ann", kind=Kind.LUCKY, total_minor=5, count=1)
            with closing(PostgresPacketBook(dsn, "another")) as others:
                others.add([Booked(foreign, Stage.PAYING)])
            bills.post_each("another", [Entry(spent("ann", SPONSOR, f"packet:another:{foreign.id}", 5, 1))])

    asyncio.run(event())
    records.close()
    with psycopg.connect(dsn, autocommit=True) as connection:
        for table in TABLES.values():
            connection.execute(f"CREATE TABLE kept_{table} AS TABLE {table}".encode())

    outside = psycopg.connect(dsn, autocommit=True)

    def plant(statement: str) -> Callable[[], None]:
        said = statement.format(**TABLES, content="content", blob="text")
        table = next(word for word in said.split() if word in TABLES.values())
        assert outside.execute(said.encode()).rowcount > 0, said

        def undo() -> None:
            outside.execute(f"DELETE FROM {table}".encode())
            outside.execute(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE kept_{table}".encode())

        return undo

    source = SetSource("s1", dsn, store)
    yield Form("tables", lambda: asyncio.run(reconcile_sets(directory, [source], dsn)), plant, store.meanwhile)
    outside.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Form:
    return in_files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Iterator[Form]:
    yield from in_tables(tmp_path_factory.mktemp("tables"), databases.fresh())


@pytest.fixture(params=["files", "tables"])
def form(request: pytest.FixtureRequest) -> Form:
    named: Form = request.getfixturevalue(request.param)
    return named


def test_nothing_is_found_where_all_is_as_it_was_written(form: Form) -> None:
    report = form.reconcile()
    assert report.problems == ()
    assert report.books is not None
    looked = report.books
    assert (looked.bills, looked.packets, looked.orders, looked.changing) == (7, 2, 4, 0)
    assert report.to_json()["books"]["postings"] == looked.postings > 10
    assert "books: 7 bills" in report.to_text()


def change(table: str, what: str, where: str) -> str:
    return f"UPDATE {{{table}}} SET {what} WHERE {where}"


def shares(new: str) -> str:
    said = f"replace({{content}}, '\"amounts\":[3,7]', '\"amounts\":[{new}]')"
    return change("packets", f"content = CAST({said} AS {{blob}})", A)


def state(user: str, old: str, new: str) -> str:
    """In the column, and in the whole."""
    body = f"""replace(body, '"state":"{old}"', '"state":"{new}"')"""
    return change("orders", f"state = '{new}', body = {body}", f"\"user\" = '{user}'")


def posted(id_: str, debit: str, credit: str) -> str:
    columns = "campaign, id, debit_account, credit_account, amount_minor, at_us"
    return f"INSERT INTO {{postings}} ({columns}) VALUES ('c', '{id_}', '{debit}', '{credit}', 7, 1)"


A, B, ARRIVED, DAN, EVE = "id LIKE 'a%'", "id LIKE 'b%'", "source = 'arrived'", "\"user\" = 'dan'", "\"user\" = 'eve'"
LAST_PART = "source LIKE '%/part/1'"
SPENT = f"id = 'spend:packet:c:{OPEN_ID}'"
PRICED = "body = replace(body, '\"price_minor\":300', '\"price_minor\":3')"

FAULTS: Final[dict[str, tuple[str, str]]] = {
    "a share, and another for it": (shares("4,6"), "its shares are [4, 6], it was opened with [3, 7]"),
    "a share": (shares("4,7"), "its shares come to 11 minor units, 10 were paid"),
    "who sent a packet": (change("packets", "sender = 'eve'", A), "sender of it is not what was written"),
    "what a packet is": (change("packets", "content = CAST('[]' AS {blob})", A), "cannot be read"),
    "the stage of a packet": (change("packets", "stage = 9", A), "stage of it is not what was written"),
    "a packet that is gone": (f"DELETE FROM {{packets}} WHERE {B}", "pays a packet that is in no book"),
    "a packet that nobody paid": (f"DELETE FROM {{postings}} WHERE {SPENT}", "nobody has paid it"),
    "more given back": (change("postings", "amount_minor = 9", "id LIKE 'credit:rest:b%'"), "is what is left"),
    "a bill's amount": (change("bills", "amount_minor = 501", ARRIVED), "payout arrived ("),
    "a bill's user": (change("bills", "\"user\" = 'eve'", ARRIVED), "it must be ('user:eve'"),
    "a bill's state": (change("bills", "state = 'pending'", ARRIVED), "it must be None"),
    "a bill's state that is none": (change("bills", "state = 'paid'", ARRIVED), "no state that there is"),
    "a fee": (change("bills", "fee_minor = 6", ARRIVED), "it must be ('fees:bank', 'clearing:bank', 6)"),
    "a fee that came back": (
        change("bills", "fee_minor = 2", "kind = 'refund'"),
        "is ('clearing:bank', 'fees:bank', 2), it must be ('fees:bank', 'clearing:bank', 2)",
    ),
    "an attempt": (change("bills", "attempt = 1", "source = 'failed'"), "posting payout:failed#1:back is"),
    "a bill that is gone": (f"DELETE FROM {{bills}} WHERE {ARRIVED}", "not of a bill that is in a book"),
    "money from nowhere": (posted("credit:gift", "sponsor", "user:eve"), "not of anything that is in a book"),
    "a balance": (change("accounts", "credits_minor = 1 + credits_minor", "account = 'user:bob'"), "account user:bob"),
    "money that nobody had": (
        posted("payout:x#1", "user:eve", "payouts:bank"),
        "user eve was granted 0 minor units, and 7 more",
    ),
    "a pay-in's amount": (
        change("bills", "amount_minor = 1", f"kind = 'payin' AND {EVE}"),
        "its pay-in is of 1 minor units by eve, its price is 300 for eve",
    ),
    "a refund that is larger": (change("bills", "amount_minor = 301", "kind = 'refund'"), "301 minor units of it are"),
    "a refund that is gone": ("DELETE FROM {bills} WHERE kind = 'refund'", "is refunded, and 0 of 300 minor units"),
    "an order's state": (change("orders", "state = 'returned'", DAN), "it is not what was written"),
    "an order's state, and what it says": (state("dan", "delivered", "returned"), "by the log its unit is sold"),
    "an order that was not handed over": (state("dan", "delivered", "closing"), "by the log its unit is sold for good"),
    "an order that nobody paid": (state("eve", "paying", "sold"), "is sold, and nobody has paid it"),
    "an order whose unit is back": (state("fay", "returned", "paying"), "by the log its unit is back"),
    "an order whose money went back": (state("gil", "refunded", "delivered"), "300 minor units went back for it"),
    "a part that went back as a whole": (
        change("bills", "source = of_source", LAST_PART),
        "is delivered, and 50 minor units went back for it",
    ),
    "a part of a packet that went back besides its rest": (
        change("bills", f"of_source = 'packet:c:{OVER_ID}', source = 'packet:c:{OVER_ID}/part/1'", LAST_PART),
        f"packet {OVER_ID}: 8 minor units are what is left, and 50 more went back, of 20 that were paid",
    ),
    "an order's price": (change("orders", PRICED, DAN), "its price is 3 for dan"),
    "an order that is gone": (f"DELETE FROM {{orders}} WHERE {DAN}", "is sold for good to dan, and stands in no order"),
    "an order whose pay-in is left": (f"DELETE FROM {{orders}} WHERE {EVE}", "of an order that is in no book"),
    "what an order is": (change("orders", "body = 'x'", DAN), "cannot be read"),
}
IN_FILES: Final = {"a share, and another for it": "the records say"}
"""On one machine nothing but the book and what was recorded knows what shares hold."""


@pytest.mark.parametrize("fault", FAULTS)
def test_what_somebody_changes_is_named_with_what_to_do(form: Form, fault: str) -> None:
    statement, told = FAULTS[fault]
    if form.name == "files":
        told = IN_FILES.get(fault, told)
    undo = form.plant(statement)
    try:
        problems = form.reconcile().problems
    finally:
        undo()
    named = [problem for problem in problems if told in problem]
    assert named, problems
    if told not in IN_FILES.values():
        what_to_do = "`redrush restore " if form.name == "files" else "the table alarms of the database"
        assert all(what_to_do in problem for problem in named), named


@pytest.mark.parametrize("why", ["cancelled", "too_late"])
def test_a_unit_that_was_sold_for_good_stays_so_only_where_its_campaign_was_cancelled(form: Form, why: str) -> None:
    body = """replace(replace(body, '"state":"delivered"', '"state":"recalling"'), '"why":null', '"why":"{}"')"""
    undo = form.plant(change("orders", f"state = 'recalling', body = {body.format(why)}", DAN))
    try:
        problems = form.reconcile().problems
    finally:
        undo()
    assert bool(problems) is (why == "too_late"), problems


def test_what_changes_while_it_is_looked_at_is_left_to_the_next_look(tables: Form) -> None:
    undone: list[Callable[[], None]] = []
    tables.meanwhile.append(lambda: undone.append(tables.plant(state("eve", "paying", "sold"))))
    try:
        report = tables.reconcile()
        assert report.problems == ()
        assert report.books is not None
        assert report.books.changing == 1
        assert "1 rows of them were being written" in report.to_text()
        assert "nobody has paid it" in " ".join(tables.reconcile().problems)
    finally:
        for undo in undone:
            undo()
