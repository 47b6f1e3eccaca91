"""The SQLite store and its journal file; see `store` for the design and `schema.sql` for the format."""

from redrush.stores.sqlite.journal import LogReader, read_log
from redrush.stores.sqlite.lock import StoreInUse
from redrush.stores.sqlite.store import SqliteStore

__all__ = ["LogReader", "SqliteStore", "StoreInUse", "read_log"]
