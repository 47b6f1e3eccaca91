"""The book of group packets of the scaled form, beside the records in PostgreSQL."""

from redrush.records.postgres.packets.book import PostgresPacketBook

__all__ = ["PostgresPacketBook"]
