"""Packets that are paid at a provider, here a sandbox over HTTP: only what it has the money for is open to others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from redrush.config import PaymentsFile, load_campaign_file
from redrush.config.payments_file import ProviderSpec
from redrush.control.data_dir import DataDir
from redrush.http.fetch import Fetcher
from redrush.http.sockets import Reserved
from redrush.operate.campaigns import change_campaign
from redrush.operate.switching import Holder
from redrush.ports.bill_book import BillState
from redrush.ports.packets import Stage
from redrush.providers.sandbox.bank import Bank
from redrush.providers.sandbox.remote import SandboxPayIn
from redrush.records.sqlite.packets import SqlitePacketBook
from redrush.sandbox.server import Sandbox
from redrush.settle.paying import steps
from redrush.wiring.clock import system_clock
from tests.patience import PATIENCE_S
from tests.wiring.group_world import People, Skipping, group_server, serving, text


class Wallet:
    """People who pay at the sandbox."""

    def __init__(self, sandbox: Sandbox, url: str) -> None:
        self.sandbox = sandbox
        self._url = url
        self._fetcher = Fetcher()

    async def pay(self, created: Any) -> None:
        """Pay what the answer asks for."""
        number = created["pay"]["with"].rpartition("/")[2]
        answer = await self._fetcher.fetch("POST", f"{self._url}/wallet/pay/{number}")
        assert answer.status == 200, answer

    def close(self) -> None:
        self._fetcher.close()


@asynccontextmanager
async def paid_at_a_bank(directory: Path, clock: Skipping | None = None) -> AsyncIterator[tuple[People, Wallet]]:
    sandbox = Sandbox(Bank(), system_clock().now_us)
    url = f"http://127.0.0.1:{await sandbox.serve(Reserved.at('127.0.0.1', 0))}"
    payments = PaymentsFile(path=directory / "p.toml", providers=(ProviderSpec(name="bank", kind="sandbox", url=url),))
    wallet = Wallet(sandbox, url)
    try:
        async with group_server(directory, 'pay = "bank"\nexpires = "1h"', clock, payments) as people:
            yield people, wallet
    finally:
        wallet.close()
        await sandbox.stop()


async def test_a_packet_is_open_once_the_provider_has_its_money_and_what_is_left_is_the_senders(tmp_path: Path) -> None:
    clock = Skipping()
    async with paid_at_a_bank(tmp_path, clock) as (people, wallet):
        created = (await people.ask("ann", "POST", "/packets", total="9.00", count=3, kind="equal")).json
        assert (created["state"], created["pay"]["from"]) == ("unpaid", "bank")
        packet = created["id"]
        assert (await people.ask("ann", "POST", f"/packets/{packet}/pay")).json["state"] == "unpaid"
        assert (await people.grab("bob", packet)).status == 404
        await wallet.pay(created)
        assert (await people.ask("ann", "POST", f"/packets/{packet}/pay")).json["state"] == "open", "it is asked for"
        assert (await people.grab("bob", packet)).outcome == "granted"
        clock.skip(3_600)
        async with asyncio.timeout(PATIENCE_S):
            while await people.balance("ann") != "6.00":
                await asyncio.sleep(0.02)
        with closing(SqlitePacketBook.open_path(DataDir(tmp_path).packets)) as book:
            async with asyncio.timeout(PATIENCE_S):
                while (booked := book.find(packet)) is None or booked.stage is not Stage.OVER:
                    await asyncio.sleep(0.02)
        payments = people.embedded.till.part.payments
        bill = await payments.look(f"packet:c:{packet}")
        assert bill is not None
        for hear in payments._owners._hearers.values():
            await hear(bill)  # owners are told at least once, and may be told again by the next process
        assert payments.book.listed(kind="refund") == [], "what was paid for is over, and was not cancelled"


async def test_a_packet_that_was_cancelled_is_closed_at_the_provider_and_never_opens(tmp_path: Path) -> None:
    async with paid_at_a_bank(tmp_path) as (people, wallet):
        created = (await people.ask("ann", "POST", "/packets", total="9.00", count=3)).json
        packet = created["id"]
        assert (await people.ask("ann", "DELETE", f"/packets/{packet}")).json["state"] == "cancelled"
        await wallet.pay(created)  # the bank takes nothing for what it has closed
        assert (await people.ask("ann", "POST", f"/packets/{packet}/pay")).json["state"] == "cancelled"
        assert (await people.grab("bob", packet)).status == 404


async def test_what_a_telephone_is_shown_is_its_providers_to_say_and_its_address_is_hidden(tmp_path: Path) -> None:
    async with paid_at_a_bank(tmp_path) as (people, _wallet):
        payments = people.embedded.till.part.payments
        pay_in = payments.tellers["bank"].provider.pay_in
        assert isinstance(pay_in, SandboxPayIn)
        terms = msgspec.structs.replace(pay_in.terms, ways=("qr", "redirect"), wants_address=True)
        pay_in._link.terms = terms
        wanted = {"total": "9.00", "count": 3}
        refused = await people.ask("ann", "POST", "/packets", **wanted, how="telex")
        assert (refused.status, refused.json["field"]) == (400, "how")
        sent = (await people.ask("ann", "POST", "/packets", **wanted, how="redirect")).json
        assert sent["pay"]["with"].startswith("redirect:")
        (bill,) = payments.book.listed()
        assert bill.to.startswith("p1:")
        assert payments.veil.show(bill.to) == "127.0.0.1"
        again = (await people.ask("ann", "POST", f"/packets/{sent['id']}/pay", how="qr")).json
        assert again["pay"]["with"] == sent["pay"]["with"], "the first time decides"
        assert (await people.ask("ann", "POST", f"/packets/{sent['id']}/pay", how=1)).status == 400
        unknown = (await people.ask("bob", "POST", "/packets", **wanted, how="jsapi")).json
        assert unknown["pay"]["with"].startswith("qr:")
        assert [bool(one.to) for one in payments.book.listed()] == [True, False]


@pytest.mark.parametrize("cancelled", [True, False])
async def test_what_a_bank_took_for_a_packet_after_all_goes_back_once_and_opens_nothing(
    tmp_path: Path, cancelled: bool
) -> None:
    async with paid_at_a_bank(tmp_path) as (people, wallet):
        packet = (await people.ask("ann", "POST", "/packets", total="9.00", count=3)).json["id"]
        payments = people.embedded.till.part.payments
        source = f"packet:c:{packet}"
        if cancelled:
            assert (await people.ask("ann", "DELETE", f"/packets/{packet}")).json["state"] == "cancelled"
        else:
            await payments.close(source)
        bill = await payments.look(source)
        assert bill is not None
        wallet.sandbox.bank._run("move", number=bill.number, state="paid", done_us=1, fee_minor=0)
        payments.book.change([steps.look(bill, system_clock().now_us())])
        payments.wake()
        async with asyncio.timeout(PATIENCE_S):
            while not payments.book.listed(kind="refund", states=[BillState.DONE]):
                await asyncio.sleep(0.02)
            while payments.book.untold(["packet:"], 1):
                await asyncio.sleep(0.02)
        assert [one.source for one in payments.book.listed(kind="refund")] == [f"{source}/late"]
        state = "cancelled" if cancelled else "unpaid"
        assert (await people.ask("ann", "POST", f"/packets/{packet}/pay")).json["state"] == state
        assert (await people.grab("bob", packet)).status == 404


async def test_where_no_provider_takes_money_nothing_can_be_paid_and_that_is_said(tmp_path: Path) -> None:
    async with group_server(tmp_path, 'pay = "bank"') as people:
        refused = await people.ask("ann", "POST", "/packets", total="9.00", count=3)
        assert (refused.status, "bank" in refused.json["detail"]) == (503, True)
        assert (await people.ask("ann", "GET", "/packets")).json["packets"] == []


async def test_what_is_paid_for_a_packet_once_a_campaign_has_none_any_more_goes_back(tmp_path: Path) -> None:
    """`[group]` was taken out of the file, and the server started anew, while a sender had the code in their hands."""
    sandbox = Sandbox(Bank(), system_clock().now_us)
    url = f"http://127.0.0.1:{await sandbox.serve(Reserved.at('127.0.0.1', 0))}"
    payments = PaymentsFile(path=tmp_path / "p.toml", providers=(ProviderSpec(name="bank", kind="sandbox", url=url),))
    file, data_dir, wallet = tmp_path / "c.toml", DataDir(tmp_path), Wallet(sandbox, url)
    file.write_text(text('pay = "bank"'))
    try:
        async with serving(file, tmp_path, payments=payments) as people:
            created = (await people.ask("ann", "POST", "/packets", total="9.00", count=3)).json
        file.write_text(text().replace("[group]\n", ""))
        await asyncio.to_thread(change_campaign, load_campaign_file(file), data_dir, Holder(), "enough", yes=True)
        async with serving(file, tmp_path, payments=payments) as people:
            book = people.embedded.till.part.payments.book
            await wallet.pay(created)
            [bill] = book.listed()
            book.hurry(bill.id, system_clock().now_us())
            people.embedded.till.part.payments.wake()
            async with asyncio.timeout(PATIENCE_S):
                while not book.listed(kind="refund", states=[BillState.DONE]):
                    await asyncio.sleep(0.02)
            with closing(SqlitePacketBook.open_path(data_dir.packets)) as packets:
                assert [one.stage for one in packets.find_each([created["id"]]) if one] == [Stage.OVER]
    finally:
        wallet.close()
        await sandbox.stop()
