"""When a campaign besides the first is woken and falls asleep: also when both happen at once, or a start fails."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from redrush.config import parse_campaign
from redrush.control.campaigns import directory_of
from redrush.control.data_dir import DataDir
from redrush.core.rush.sale_order import NEVER_US, SaleOrder, State
from redrush.http.fetch import Fetcher
from redrush.operate.campaigns import add_campaign
from redrush.operate.switching import Holder
from redrush.ports.bill_book import NewBill
from redrush.ports.packets import Stage
from redrush.ports.provider import Closed, Paid, Terms
from redrush.records.sqlite.bills import SqliteBillBook
from redrush.records.sqlite.packets import SqlitePacketBook
from redrush.records.sqlite.sales import SqliteSaleBook
from redrush.settle.paying import steps
from redrush.settle.paying.owners import Owners
from redrush.stores.sqlite.lock import JournalLock
from redrush.wiring import hosting
from redrush.wiring.embedded_event import EmbeddedEvent
from tests.patience import PATIENCE_S
from tests.wiring.test_amendments import a_bank
from tests.wiring.test_campaigns import FAR, NOW, SALE, TEXT, Server, running

EQUAL = 'kind = "equal"\ntotal = "{packets}.00"\npackets = {packets}'
FIRST = TEXT.format(id="first", opens=NOW, round="r1", packets=3)
SPRING = TEXT.format(id="spring", opens=NOW, round="r1", packets=3)
SPRING_SALE = TEXT.replace(EQUAL, SALE).format(id="spring", opens=FAR, round="s1")
PATH = "/v1/campaigns/spring/rounds/r1"


def _hosting(server: Server) -> hosting.Hosting:
    return server.embedded._hosting


async def _until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not what():
            await asyncio.sleep(0.02)


async def test_who_is_asked_for_while_falling_asleep_is_awake_as_a_whole(tmp_path: Path) -> None:
    async with running(tmp_path, parse_campaign(FIRST, "f.toml")) as server:
        await asyncio.to_thread(add_campaign, parse_campaign(SPRING, "s.toml"), server.data_dir, Holder())
        await server.until(PATH, 200)
        host = _hosting(server)
        opened = host._open

        async def slowly(data_dir: DataDir) -> EmbeddedEvent:
            await asyncio.gather(*host._ending)
            return await opened(data_dir)

        host._open = slowly
        host._let_sleep(host._hosted["spring"])
        await server.until(PATH, 200)
        metrics = (await server.ask("GET", "/metrics", port="control")).body.decode()
    assert 'redrush_campaigns{state="awake"} 1.0' in metrics, "it is served, and nobody ticks, beats or closes it"
    JournalLock(directory_of(server.data_dir, "spring").journal).release()  # it was closed with the server


async def test_who_is_asked_for_by_heads_that_are_remembered_stays_awake(tmp_path: Path) -> None:
    far = TEXT.format(id="spring", opens=FAR, round="r1", packets=3)
    async with running(tmp_path, parse_campaign(FIRST, "f.toml")) as server:
        await asyncio.to_thread(add_campaign, parse_campaign(far, "s.toml"), server.data_dir, Holder())
        await server.until(PATH, 200)
        host = _hosting(server)
        spring = host._hosted["spring"]
        assert (await server.ask("GET", PATH)).status == 200
        asked_s = spring.asked_s
        assert (await server.ask("GET", PATH)).status == 200
        assert spring.asked_s == asked_s, "its head is remembered, so nobody looks for the campaign"
        spring.asked_s -= hosting.IDLE_S / 2
        host._wake_and_rest()
        assert (await server.ask("GET", PATH)).status == 200
        assert spring.asked_s >= asked_s, "perhaps within the same millisecond"


async def test_who_has_orders_and_could_not_be_opened_at_the_start_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosting, "RETRY_S", 0.1)
    async with running(tmp_path, parse_campaign(FIRST, "f.toml")) as server:
        await asyncio.to_thread(add_campaign, parse_campaign(SPRING_SALE, "s.toml"), server.data_dir, Holder())
    own = directory_of(DataDir(tmp_path), "spring")
    SqliteSaleBook.open_path(own.sales).close()
    lock = JournalLock(own.journal)  # a command has it for a moment
    async with running(tmp_path, parse_campaign(FIRST, "f.toml")) as server:
        spring = _hosting(server)._hosted["spring"]
        await _until(lambda: spring.failed_s > 0)
        assert spring.event is None
        lock.release()
        await _until(lambda: spring.event is not None)


async def test_who_was_killed_before_it_heard_that_it_was_paid_hears_of_it_after_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The money that came late was kept for an order, and the order does not say so yet: nobody waits for it."""
    looked, unsettled, tell = [0], EmbeddedEvent.has_unsettled, Owners.tell

    def has_unsettled(event: EmbeddedEvent) -> bool:
        looked[0] += 1
        return unsettled(event)

    async def tell_late(owners: Owners) -> int:
        return await tell(owners) if looked[0] > 2 else 0

    monkeypatch.setattr(EmbeddedEvent, "has_unsettled", has_unsettled)
    monkeypatch.setattr(Owners, "tell", tell_late)
    async with running(tmp_path, parse_campaign(FIRST, "f.toml")) as server:
        await asyncio.to_thread(add_campaign, parse_campaign(SPRING_SALE, "s.toml"), server.data_dir, Holder())
    own = directory_of(DataDir(tmp_path), "spring")
    order = SaleOrder(
        id="spring-s1-1#1", grant="spring-s1-1", pot="s1", user="ann", slot=1, number=1, request="", until_us=2,
        price_minor=100, state=State.RETURNED, due_us=NEVER_US, since_us=1, charged=True,
    )  # fmt: skip
    source = f"sale:spring:{order.id}"
    paid = NewBill(
        kind="payin", source=source, campaign="spring", user="ann", provider="bank", currency="CNY", amount_minor=100,
        subject="s", account="sales",
    )  # fmt: skip
    with closing(SqliteSaleBook.open_path(own.sales)) as book:
        [_] = book.keep([order])
        with closing(SqliteBillBook.open_path(DataDir(tmp_path).payments)) as bills:
            [made] = bills.make([paid], 1)
            [closed] = bills.change([steps.after(made, Closed(), Terms(currency="CNY"), 2)])
            [late] = bills.change([steps.after(closed, Paid(100, 3, "r", "CNY"), Terms(currency="CNY"), 4)])
            bills.told([late])
            bills.keep_late(source, 5)
        async with running(tmp_path, parse_campaign(FIRST, "f.toml")) as server:
            await _until(lambda: [one.state for one in book.all()] == [State.DELIVERED])
            await _until(lambda: not server.embedded._hosting._undone)
            assert not server.embedded.till.part.payments.has_unheard("sale:spring:")


async def test_a_packet_that_was_paid_while_its_campaign_slept_is_open_though_nobody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosting, "IDLE_S", 0.0)
    text = TEXT.format(id="spring", opens=FAR, round="r1", packets=3) + '[group]\npay = "bank"\n'
    (tmp_path / "bank").mkdir()
    async with a_bank(tmp_path / "bank") as bank, running(tmp_path, parse_campaign(FIRST, "f.toml"), bank) as server:
        await asyncio.to_thread(add_campaign, parse_campaign(text, "s.toml"), server.data_dir, Holder())
        await server.until(PATH, 200)
        path, ann = "/v1/campaigns/spring/packets", server.ticket("spring", "ann")
        while (created := await server.ask("POST", path, ann, total="9.00", count=3, kind="equal")).status != 200:
            await asyncio.sleep(0.02)  # it fell asleep in between
        packet, payments = created.json["id"], server.embedded.till.part.payments
        spring = _hosting(server)._hosted["spring"]
        await _until(lambda: "spring" not in _hosting(server)._awake)
        number = created.json["pay"]["with"].rpartition("/")[2]
        with closing(Fetcher()) as wallet:
            assert (await wallet.fetch("POST", f"{bank.providers[0].url}/wallet/pay/{number}")).status == 200
        assert spring.event is None
        bill = payments.book.find("payin", f"packet:spring:{packet}")
        assert bill is not None
        payments.book.hurry(
            bill.id, server.embedded.event.ground.process.clock.now_us()
        )  # as a notice has it looked at
        payments.wake()
        with closing(SqlitePacketBook.open_path(directory_of(server.data_dir, "spring").packets)) as book:
            await _until(lambda: [one.stage for one in book.find_each([packet]) if one] == [Stage.OPEN])
        await _until(lambda: not payments.has_unheard("packet:spring:"))
        won = await server.grab(f"{path}/{packet}", server.ticket("spring", "bob"))
        assert (won.outcome, won.json["grant"]["amount"]) == ("granted", "3.00"), "it is awake while a packet is open"
