"""Records in one SQLite file, for the embedded form."""

from redrush.records.sqlite.records import RecordsDamaged, RecordsMark, SqliteRecords, set_aside

__all__ = ["RecordsDamaged", "RecordsMark", "SqliteRecords", "set_aside"]
