"""Flash sales in the payments role: buyers' wishes, holds that are over, orders for the shop, units offered again.

Claims are the gates'. What is held, and until when, is in the records of the sets; what becomes of it in the book of
sales, beside the bills. While another payments process looks after the bills this one only answers buyers.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from redrush.config.deployment_file import Duty
from redrush.control.personal_data import PersonalData
from redrush.errors import RedrushError
from redrush.gate.buying import BuyingRoutes
from redrush.http.site import Site
from redrush.http.ticket_check import TicketCheck
from redrush.ports.cashier import Cashier
from redrush.ports.sale_book import SaleBook
from redrush.records.postgres import PostgresRecords
from redrush.records.postgres.sales import PostgresSaleBook
from redrush.settle.selling.book_writer import BookWriter
from redrush.settle.selling.desk import Desk
from redrush.settle.selling.private_book import PrivateSaleBook
from redrush.settle.selling.selling import Selling
from redrush.settle.selling.steps import Partners, Steps, sources_of
from redrush.settle.selling.units import Units
from redrush.stores.valkey import ValkeyStore
from redrush.wiring.campaign_paths import serve_at
from redrush.wiring.role import Parts, Surroundings
from redrush.wiring.set_stores import close_all, open_stores


class StackSale:
    """See the module. `open` it, then `serve_on` a site, then `start`; `stop` it in the end."""

    def __init__(
        self,
        around: Surroundings,
        cashier: Cashier,
        partners: Partners,
        records: Mapping[str, PostgresRecords],
        *,
        paused: Callable[[], bool],
        on_fault: Callable[[RedrushError], None],
    ) -> None:
        """`records` are those of the sets; while `paused` nothing is moved. Connects to nothing yet."""
        self._around = around
        self._cashier = cashier
        self._partners = partners
        self._records = records
        self._paused = paused
        self._on_fault = on_fault
        self._campaign = around.sealed.campaign
        in_database = PostgresSaleBook(
            around.deployment.payments.records.read(), self._campaign.id, tell=around.log.info
        )
        self._book: SaleBook = PrivateSaleBook(in_database, PersonalData(around.data_dir))
        self._writer = BookWriter(self._book)
        self._stores: dict[str, ValkeyStore] = {}
        self._selling: Selling | None = None
        self._running: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Find the sets; raise what `open_stores` does: then nothing of it is left open."""
        try:
            await self._open()
        except BaseException:
            await self._close()
            raise

    async def _open(self) -> None:
        around, campaign, now_us = self._around, self._campaign, self._around.clock.now_us
        self._stores = await open_stores(around.deployment, campaign.id, Duty.SETTLEMENT)
        units = Units(self._stores, self._sets_of, self._on_fault)
        steps = Steps(campaign, units, self._cashier, self._partners, now_us)
        self._selling = selling = Selling(
            campaign,
            units,
            self._book,
            self._writer,
            steps,
            {set_: partial(self._records[set_].holds_due, campaign.id) for set_ in self._stores},
            now_us,
            paused=self._paused,
            on_fault=self._on_fault,
        )
        self._desk = Desk(campaign, units, self._book, self._writer, steps, now_us, selling.nudge)

    def _sets_of(self, pot: str) -> list[str]:
        return self._around.sets_of(pot)  # as it is amended

    def serve_on(self, site: Site, tickets: TicketCheck) -> None:
        """Let buyers ask at this site, if their tickets are good by this."""
        routes = BuyingRoutes(self._desk, self._on_fault)
        serve_at(site, self._campaign.id, tickets, routes.exact(), routes.below())

    def start(self, parts: Parts) -> None:
        """Take up what was under way."""
        assert self._selling is not None
        self._cashier.on_ended(sources_of(self._campaign.id), self._selling.heard)
        self._running = parts.add("sales", self._selling.run())

    def amend(self, around: Surroundings) -> None:
        """Know the rounds of this event, and the sets that they are divided over, from now on."""
        assert self._selling is not None
        self._around = around
        campaign = around.sealed.campaign
        self._selling.amend(campaign)
        self._desk.amend(campaign)

    async def stop(self) -> None:
        """End what was begun, after the steps under way; before the tasks of `start` are ended."""
        self._cashier.hears_no_more(sources_of(self._campaign.id))
        if self._selling is not None and self._running is not None:
            await self._selling.stop()
            await asyncio.wait([self._running])
        await self._close()

    async def _close(self) -> None:
        await self._writer.close()
        await close_all(self._stores)
        await asyncio.to_thread(self._book.close)
