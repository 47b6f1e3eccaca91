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
from redrush.http.site import Site
from redrush.http.ticket_check import TicketCheck
from redrush.ports.cashier import Cashier
from redrush.ports.sale_book import SaleBook
from redrush.records.postgres import PostgresRecords
from redrush.records.postgres.sales import PostgresSaleBook
from redrush.settle.selling.private_book import PrivateSaleBook
from redrush.settle.selling.steps import Partners
from redrush.settle.selling.units import Units
from redrush.stores.valkey import ValkeyStore
from redrush.wiring.campaign_paths import serve_at
from redrush.wiring.role import Surroundings
from redrush.wiring.selling_room import SellingRoom
from redrush.wiring.set_stores import close_all, open_stores


class StackSale:
    """See the module. `open` it, then `serve_on` a site, then start its `room`; `stop` it in the end."""

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
        veil = PersonalData(around.data_dir)
        self._no_addresses = veil.lacking()
        self._book: SaleBook = PrivateSaleBook(in_database, veil)
        self._stores: dict[str, ValkeyStore] = {}
        self._room: SellingRoom | None = None

    async def open(self) -> None:
        """Find the sets; raise what `open_stores` does: then nothing of it is left open."""
        try:
            await self._open()
        except BaseException:
            await self._close()
            raise

    async def _open(self) -> None:
        around, campaign = self._around, self._campaign
        self._stores = await open_stores(around.deployment, campaign.id, Duty.SETTLEMENT)
        self._room = SellingRoom(
            campaign,
            Units(self._stores, self._sets_of, self._on_fault),
            self._book,
            self._cashier,
            self._partners,
            {set_: partial(self._records[set_].holds_due, campaign.id) for set_ in self._stores},
            around.clock.now_us,
            paused=self._paused,
            no_addresses=self._no_addresses,
            warn=around.log.warning,
            on_fault=self._on_fault,
        )

    def _sets_of(self, pot: str) -> list[str]:
        return self._around.sets_of(pot)  # as it is amended

    @property
    def room(self) -> SellingRoom:
        """Where sales are settled, once it is open."""
        assert self._room is not None
        return self._room

    def serve_on(self, site: Site, tickets: TicketCheck) -> None:
        """Let buyers ask at this site, if their tickets are good by this."""
        routes = self.room.routes
        serve_at(site, self._campaign.id, tickets, routes.exact(), routes.below())

    def amend(self, around: Surroundings) -> None:
        """Know the rounds of this event, and the sets that they are divided over, from now on."""
        self._around = around
        self.room.amend(around.sealed.campaign)

    async def stop(self) -> None:
        """End what was begun, after the steps under way; before its tasks are ended."""
        if self._room is not None:
            await self._room.stop()
        await self._close()

    async def _close(self) -> None:
        await close_all(self._stores)
        await asyncio.to_thread(self._book.close)
