"""Whoever waits for an order to be written down hears of it, whatever the book raises."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from redrush.core.rush.sale_order import SaleOrder, State
from redrush.errors import ConfigError
from redrush.extras import ExtraMissing
from redrush.ports.sale_book import BookFailed
from redrush.records.sqlite.sales import SqliteSaleBook
from redrush.settle.selling.book_writer import BookWriter
from redrush.settle.selling.private_book import PrivateSaleBook
from tests.patience import PATIENCE_S


class Veil:
    """Cannot hide anything, for a reason of its own."""

    def __init__(self, fault: Exception) -> None:
        self.fault = fault

    def hide(self, text: str) -> str:
        raise self.fault

    def show(self, kept: str) -> str:
        return kept


def order(slot: int, address: str | None) -> SaleOrder:
    return SaleOrder(
        id=f"o{slot}", grant=f"c-s-{slot}", pot="s", user="ann", slot=slot, number=1, request="", until_us=9,
        price_minor=500, state=State.PAYING, due_us=1, since_us=1, address=address,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (ExtraMissing("the extra payments"), "the extra payments"),
        (ConfigError("no key"), "no key"),
        (KeyError("of a library"), r"KeyError\('of a library'\)"),
    ],
)
async def test_an_address_that_cannot_be_hidden_keeps_nobody_waiting(
    tmp_path: Path, fault: Exception, said: str
) -> None:
    veil: Any = Veil(fault)
    book = PrivateSaleBook(SqliteSaleBook.open_path(tmp_path / "sales.db"), veil)
    writer = BookWriter(book)
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(BookFailed, match=said):
            await writer.keep(order(1, "a street"))
        assert await writer.keep(order(2, None)) is not None, "the next one is written down"
        await writer.close()
    book.close()
