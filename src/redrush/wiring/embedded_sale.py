"""Flash sales in the serving process: their book, the desk for buyers, who settles them, and keys of secret URLs."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from redrush.control.data_dir import DataDir
from redrush.control.personal_data import PersonalData
from redrush.control.sale_keys import SaleKeys
from redrush.core.rush.campaign import Campaign
from redrush.core.rush.sale_order import NEVER_US
from redrush.errors import RedrushError
from redrush.gate.buying import BuyingRoutes
from redrush.gate.gate import Gate
from redrush.gate.rush.sale import Sale
from redrush.ports.cashier import Cashier
from redrush.ports.clock import Clock
from redrush.ports.records import Records
from redrush.ports.store import Store
from redrush.records.sqlite.book_examining import check_whole
from redrush.records.sqlite.sales import SqliteSaleBook
from redrush.settle.selling.book_writer import BookWriter
from redrush.settle.selling.desk import Desk
from redrush.settle.selling.private_book import PrivateSaleBook
from redrush.settle.selling.selling import Selling
from redrush.settle.selling.steps import Partners, Steps, sources_of
from redrush.settle.selling.units import ONLY_SET, Units
from redrush.wiring.sale_keys import DrawnKeys


def orders_at(data_dir: DataDir) -> PrivateSaleBook:
    """Open the book of orders of a directory, once it was looked through, which a loop that serves others does not wait
    for. ConfigError for a book that is none, or is damaged."""
    check_whole(data_dir.sales)
    return PrivateSaleBook(SqliteSaleBook.open_path(data_dir.sales), PersonalData(data_dir))


class EmbeddedSale:
    """See the module. `offer_in` a gate, `start`, then `stop`, then `close`."""

    def __init__(  # noqa: PLR0913 - what a sale stands on
        self,
        data_dir: DataDir,
        book: PrivateSaleBook,
        campaign: Campaign,
        store: Store,
        records: Records,
        cashier: Cashier,
        partners: Partners,
        *,
        clock: Clock,
        paused: Callable[[], bool],
        on_fault: Callable[[RedrushError], None],
    ) -> None:
        """The book is this part's to close. ConfigError for a file of keys that is not what was written."""
        self._campaign = campaign
        self._clock = clock
        self._on_fault = on_fault
        self._cashier = cashier
        keys = SaleKeys(data_dir.sale_keys)
        keys.known()
        self._keys = DrawnKeys(keys, lambda: self._campaign, clock.now_us, on_fault)
        self.book = book
        self._writer = BookWriter(self.book)
        units = Units.of_one(store)
        steps = Steps(campaign, units, cashier, partners, clock.now_us)
        self.selling = Selling(
            campaign,
            units,
            self.book,
            self._writer,
            steps,
            {ONLY_SET: partial(records.holds_due, campaign.id)},
            clock.now_us,
            offered=self._offered,
            paused=paused,
            on_fault=on_fault,
        )
        self._desk = Desk(campaign, units, self.book, self._writer, steps, clock.now_us, self.selling.nudge)
        self._gate: Gate | None = None
        self._selling: asyncio.Task[None] | None = None
        self._drawing: asyncio.Task[None] | None = None

    def offer_in(self, gate: Gate) -> None:
        """Let buyers ask at this gate."""
        self._gate = gate
        gate.add_buying(self._campaign.id, BuyingRoutes(self._desk, self._on_fault))

    def start(self, run: Callable[[str, Any], asyncio.Task[None]]) -> None:
        """Take up what was under way; `run` has it done beside everything else."""
        self._cashier.on_ended(sources_of(self._campaign.id), self.selling.heard)
        self._selling = run("sales", self.selling.run())
        self._drawing = run("keys of sales", self._keys.run(self._unlock))

    def amend(self, campaign: Campaign) -> None:
        """Know the rounds of this campaign from now on."""
        self._campaign = campaign
        self.selling.amend(campaign)
        self._desk.amend(campaign)

    def _offered(self, pot: str) -> None:
        rush = None if self._gate is None else self._gate.rounds.get(pot)
        if isinstance(rush, Sale):
            rush.offered()

    def _unlock(self, round_id: str, key: str) -> None:
        """Let people in below the key of a sale that has opened."""
        if self._gate is not None:
            self._gate.unlock(self._campaign.id, {round_id: key})

    def any_open(self) -> bool:
        """Whether any order has something to be done that no operator has to do. Raises BookFailed."""
        return bool(self.book.due(NEVER_US - 1, 1))

    async def stop(self) -> None:
        """End what was begun, after the steps under way."""
        self._cashier.hears_no_more(sources_of(self._campaign.id))
        if self._drawing is not None:
            self._drawing.cancel()
        await self.selling.stop()
        if self._selling is not None:
            await asyncio.wait([self._selling])
        await self._writer.close()

    def close(self) -> None:
        """Let go of the book."""
        self.book.close()
