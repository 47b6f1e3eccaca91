"""Records in one SQLite file, for the embedded form."""

from redrush.ports.records import RecordsFiles
from redrush.records.sqlite.file import set_aside
from redrush.records.sqlite.records import SqliteRecords

SQLITE_RECORDS = RecordsFiles(SqliteRecords.open_path, set_aside)

__all__ = ["SQLITE_RECORDS", "SqliteRecords", "set_aside"]
