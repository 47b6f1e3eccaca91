"""Proof after the event: everything re-derived from the journal alone, then held against the records.

This package shares no code with the store, the ledger rules or the records: it reads the files with the standard
library's sqlite3, json and array, and states the rules a second time. A fault in the engine then has to be made twice,
in two ways of writing, before it stays unseen. That is why account names and posting ids are repeated here.
"""

from redrush.settle.reconcile.report import Report, RoundReport
from redrush.settle.reconcile.run import reconcile

__all__ = ["Report", "RoundReport", "reconcile"]
