"""Flash sales in the serving process: their book, the desk for buyers, who settles them, and keys of secret URLs."""

import asyncio
from functools import partial

from redrush.control.data_dir import DataDir
from redrush.control.event import Event
from redrush.control.personal_data import PersonalData
from redrush.control.sale_keys import SaleKeys
from redrush.core.rush.sale_order import NEVER_US
from redrush.gate.rush.sale import Sale
from redrush.records.sqlite.book_examining import check_whole
from redrush.records.sqlite.sales import BOOK, SqliteSaleBook
from redrush.settle.selling.private_book import PrivateSaleBook
from redrush.settle.selling.units import ONLY_SET, Units
from redrush.wiring.embedded_part import Ground, Part
from redrush.wiring.sale_keys import DrawnKeys
from redrush.wiring.selling_room import SellingRoom


def orders_at(data_dir: DataDir) -> PrivateSaleBook:
    """Open the book of orders of a directory, once it was looked through, which a loop that serves others does not wait
    for. ConfigError for a book that is none, or is damaged."""
    check_whole(data_dir.sales, BOOK)
    return PrivateSaleBook(SqliteSaleBook.open_path(data_dir.sales), PersonalData(data_dir))


class OwnSales(Part):
    """See the module."""

    _room: SellingRoom | None = None
    """None: the campaign has no sales, and never had any."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        self._on_fault = ground.process.troubles.listener("sales")

    async def open(self) -> None:
        """Have the book, if there is to be one."""
        ground = self.ground
        if not (ground.sealed.campaign.sells or ground.data_dir.sales.exists()):
            return
        orders = await asyncio.to_thread(orders_at, ground.data_dir)
        ground.opened.callback(orders.close)
        await asyncio.to_thread(orders.hide_old)
        self._sell(orders)

    def _sell(self, orders: PrivateSaleBook) -> None:
        """Let buyers ask at the gate. ConfigError for a file of keys that is not what was written."""
        ground, clock, till = self.ground, self.ground.process.clock, self.ground.process.till.part
        campaign = ground.sealed.campaign
        self._orders = orders
        keys = SaleKeys(ground.data_dir.sale_keys)
        keys.known()
        self._keys = DrawnKeys(keys, lambda: ground.sealed.campaign, clock.now_us, self._on_fault)
        self._room = SellingRoom(
            campaign,
            Units.of_one(ground.store),
            orders,
            till.payments,
            till.partners,
            {ONLY_SET: partial(ground.records.holds_due, campaign.id)},
            clock.now_us,
            offered=self._offered,
            paused=ground.paused,
            no_addresses=PersonalData(ground.data_dir).lacking(),
            warn=ground.process.log.warning,
            on_fault=self._on_fault,
        )
        ground.gate.add_buying(campaign.id, self._room.routes)

    def _offered(self, pot: str) -> None:
        rush = self.ground.gate.rounds.get(pot)
        if isinstance(rush, Sale):
            rush.offered()

    def _unlock(self, round_id: str, key: str) -> None:
        """Let people in below the key of a sale that has opened."""
        self.ground.gate.unlock(self.ground.sealed.campaign.id, {round_id: key})

    def begin(self) -> None:
        """Take up what was under way."""
        if self._room is not None:
            self._room.start(self.ground.tasks)
            self._drawing = self.ground.tasks.add("keys of sales", self._keys.run(self._unlock))

    def has_unsettled(self) -> bool:
        """Whether any order has something to be done that no operator has to do, or has not heard yet that it was paid.
        Raises BookFailed and RecordsFailed."""
        if self._room is None:
            return False
        payments = self.ground.process.till.part.payments
        return bool(self._orders.due(NEVER_US - 1, 1)) or payments.has_unheard(self._room.sources)

    async def amend(self, event: Event) -> None:
        """Know its rounds; sell, if these are the first to be sold."""
        if self._room is not None:
            self._room.amend(event.sealed.campaign)
        elif event.sealed.campaign.sells:
            orders = orders_at(self.ground.data_dir)  # a book that is begun: there is nothing to look through
            self.ground.opened.callback(orders.close)
            self._sell(orders)
            self.begin()

    async def stop(self) -> None:
        """End what was begun."""
        if self._room is not None:
            self._drawing.cancel()
            await self._room.stop()
