"""Flash sales where they are settled, in the serving process or in the payments role: buyers' wishes, holds that are
over, orders for the shop, units offered again."""

import asyncio
from collections.abc import Callable, Mapping

from redrush.core.nobody import ignore
from redrush.core.rush.campaign import Campaign
from redrush.errors import RedrushError
from redrush.gate.buying import BuyingRoutes
from redrush.ports.cashier import Cashier
from redrush.ports.sale_book import SaleBook
from redrush.settle.selling.book_writer import BookWriter
from redrush.settle.selling.desk import Desk
from redrush.settle.selling.selling import HoldsDue, Selling
from redrush.settle.selling.steps import Partners, Steps, sources_of
from redrush.settle.selling.units import Units
from redrush.wiring.role import Parts


class SellingRoom:
    """See the module. Have its `routes` served, `start`, then `stop`. The book is its owner's to close after that."""

    def __init__(  # noqa: PLR0913 - what a sale stands on
        self,
        campaign: Campaign,
        units: Units,
        book: SaleBook,
        cashier: Cashier,
        partners: Partners,
        holds_due: Mapping[str, HoldsDue],
        now_us: Callable[[], int],
        *,
        offered: Callable[[str], None] = ignore,
        paused: Callable[[], bool],
        no_addresses: RedrushError | None,
        warn: Callable[[str], None],
        on_fault: Callable[[RedrushError], None],
    ) -> None:
        """See `Selling`. `no_addresses`: why none can be kept; None: they are. `warn` is told what the sale lacks."""
        self._cashier = cashier
        self._no_addresses = no_addresses
        self._warn = warn
        self.sources = sources_of(campaign.id)
        """What the sources of its payments begin with."""
        self._writer = BookWriter(book)
        self._steps = steps = Steps(campaign, units, cashier, partners, now_us)
        self._selling = Selling(
            campaign, units, book, self._writer, steps, holds_due, now_us,
            offered=offered, paused=paused, on_fault=on_fault,
        )  # fmt: skip
        self._desk = Desk(
            campaign, units, book, self._writer, steps, now_us, self._selling.nudge,
            takes_addresses=no_addresses is None,
        )  # fmt: skip
        self._running: asyncio.Task[None] | None = None
        self.routes = BuyingRoutes(self._desk, on_fault)

    def start(self, parts: Parts) -> None:
        """Take up what was under way."""
        self._cashier.on_ended(self.sources, self._selling.heard)
        self._running = parts.add("sales", self._selling.run())
        if self._no_addresses is not None:
            self._warn(f"no address of an order is kept: {self._no_addresses}")
        self._tell_lacks()

    def _tell_lacks(self) -> None:
        for lack in self._steps.lacking():
            self._warn(f"the payments file (--payments): {lack}")

    def amend(self, campaign: Campaign) -> None:
        """Know the rounds of this campaign from now on."""
        self._selling.amend(campaign)
        self._desk.amend(campaign)
        self._tell_lacks()

    async def stop(self) -> None:
        """End what was begun, after the steps under way; before the tasks of `start` are ended."""
        self._cashier.hears_no_more(self.sources)
        if self._running is not None:
            await self._selling.stop()
            await asyncio.wait([self._running])
        await self._writer.close()
