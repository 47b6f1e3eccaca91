"""The bill book of the embedded form: `payments.db`."""

from redrush.records.sqlite.bills.book import BOOK, SqliteBillBook

__all__ = ["BOOK", "SqliteBillBook"]
