"""The book of messages of the scaled form, beside the records in PostgreSQL."""

from redrush.records.postgres.messages.book import PostgresMessageBook

__all__ = ["PostgresMessageBook"]
