"""The book of messages to winners, in SQLite."""

from redrush.records.sqlite.messages.book import SqliteMessageBook

__all__ = ["SqliteMessageBook"]
