"""The book of messages in `messages.db`: `SqliteMessageBook`."""

from redrush.records.sqlite.messages.book import BOOK, SqliteMessageBook

__all__ = ["BOOK", "SqliteMessageBook"]
