"""The book of sales of the scaled form, beside the records in PostgreSQL."""

from redrush.records.postgres.sales.book import PostgresSaleBook

__all__ = ["PostgresSaleBook"]
