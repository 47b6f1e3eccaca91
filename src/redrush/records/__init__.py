"""Adapters of the records: grants and the double-entry ledger. A projection of the stores' logs."""
