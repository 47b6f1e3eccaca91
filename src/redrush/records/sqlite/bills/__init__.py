"""The bill book of the embedded form: `payments.db`."""

from redrush.records.sqlite.bills.book import SqliteBillBook

__all__ = ["SqliteBillBook"]
