"""Proof after the event: everything re-derived from the journal alone, then held against the records.

This package shares no code with the store, the ledger rules or the records: it reads the files with SQL, json and
array, and states the rules a second time. A fault in the engine then has to be made twice, in two ways of writing,
before it stays unseen. That is why account names and posting ids are repeated here. What it does share is SQLite
itself: a process that has a file open by two of them loses its locks on it, and with them what is written.
"""

from redrush.settle.reconcile.report import Report, RoundReport
from redrush.settle.reconcile.run import reconcile

__all__ = ["Report", "RoundReport", "reconcile"]
