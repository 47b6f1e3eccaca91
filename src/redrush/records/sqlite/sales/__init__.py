"""The book of a sale's orders in `sales.db`: `SqliteSaleBook`."""

from redrush.records.sqlite.sales.book import SqliteSaleBook

__all__ = ["SqliteSaleBook"]
