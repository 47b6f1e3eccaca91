"""The bill book of the scaled form, beside the records in PostgreSQL."""

from redrush.records.postgres.bills.book import PostgresBillBook

__all__ = ["PostgresBillBook"]
