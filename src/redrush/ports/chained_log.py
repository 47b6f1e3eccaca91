"""A log and its records as one chain: what a store tells of its log's fingerprints, and what records keep of them.

Only stores on servers that others run need it: `redrush.settle.chained` compares the two at every page. A journal of
one's own is compared by its keeper (`redrush.ports.journal`).
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from redrush.ports.records import Change
from redrush.ports.store import History, LogRecord


class LogPage(msgspec.Struct, frozen=True):
    """Some records in order; `before` is the fingerprint of the log before the first of them, None if it has none.
    The whole log ends at `last_seq`, with the fingerprint `last_chain`."""

    records: list[LogRecord]
    before: str | None
    last_seq: int
    last_chain: str


class PagedLog(Protocol):
    """A store's log, read with its fingerprints."""

    def last_seq(self) -> int:
        """Return the seq of the last record that this process heard of."""

    def history(self) -> History:
        """Return the history that the log is of."""

    async def log_page(self, after: int, limit: int) -> LogPage:
        """Return at most `limit` records after this seq. Raises StoreUnavailable."""

    async def doubt(self) -> None:
        """Let nobody use the set until its log was compared anew. Raises StoreUnavailable."""


class ChainedRecords(Protocol):
    """Records that keep the fingerprint of the log with their cursor, in its transaction."""

    chain: str | None
    """The fingerprint at the cursor when `begin` returned; None where it is not known."""

    @property
    def commits_are_durable(self) -> bool:
        """See `redrush.ports.records.Records`."""

    def begin(self, history: History) -> int:
        """Take the log over under this history; return the cursor. Raises RecordsFailed, RecordsConflict."""

    def cursor(self) -> int:
        """See `redrush.ports.records.Records`."""

    def apply(self, changes: Sequence[Change], chain: str | None = None) -> int:
        """See `redrush.ports.records.Records`. `chain` is the fingerprint of the log up to the last change."""
