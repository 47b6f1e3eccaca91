"""Records in one SQLite file, for the embedded form."""

from redrush.records.sqlite.records import SqliteRecords

__all__ = ["SqliteRecords"]
