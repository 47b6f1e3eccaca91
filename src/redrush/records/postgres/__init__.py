"""Records in PostgreSQL, for the scaled form: one recorder for each set, any number of sets to a database."""

from redrush.records.postgres.examining import ExaminedDatabase
from redrush.records.postgres.records import PostgresRecords, RoundTotals

__all__ = ["ExaminedDatabase", "PostgresRecords", "RoundTotals"]
