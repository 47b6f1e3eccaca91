"""The book of a sale's orders in `sales.db`: `SqliteSaleBook`."""

from redrush.records.sqlite.sales.book import BOOK, SqliteSaleBook

__all__ = ["BOOK", "SqliteSaleBook"]
