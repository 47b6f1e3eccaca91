"""A set's log and its records as one chain: what is recorded is what follows on what was, or the set is used no more.

The records keep, with their cursor and in its transaction, the fingerprint of the log up to there. Each page that is
read must follow on just that; and each record's content must be what its fingerprint says. A set whose log does not was
wound back, or its file was changed: whatever it grants next may be somebody else's. Nobody may use it then until it was
compared anew, and that fails for the same reason, in words for an operator (`redrush.control.warden`).
"""

import contextlib
from collections.abc import Sequence

from redrush.ports.chained_log import ChainedRecords, PagedLog
from redrush.ports.log_rows import chain_over
from redrush.ports.records import Change
from redrush.ports.store import History, LogRecord, StoreLost, StoreUnavailable


class ChainedLog:
    """A set's store and its records, for a recorder, which reads and applies in turns."""

    def __init__(self, store: PagedLog, records: ChainedRecords, set_id: str) -> None:
        self._store = store
        self._records = records
        self._set_id = set_id
        self._chain: tuple[int, str | None] = (0, None)
        self._read: tuple[int, str | None] = (0, None)

    @property
    def commits_are_durable(self) -> bool:
        """See `redrush.ports.records.Records`."""
        return self._records.commits_are_durable

    def last_seq(self) -> int:
        """See `redrush.ports.store.Store`."""
        return self._store.last_seq()

    def history(self) -> History:
        """See `redrush.ports.store.Store`."""
        return self._store.history()

    def begin(self, history: History) -> int:
        """See `redrush.ports.chained_log.ChainedRecords`."""
        seq = self._records.begin(history)
        self._chain = (seq, self._records.chain)
        return seq

    def cursor(self) -> int:
        """See `redrush.ports.records.Records`."""
        return self._records.cursor()

    def apply(self, changes: Sequence[Change]) -> int:
        """See `redrush.ports.records.Records`."""
        read_to, chain = self._read
        seq = self._records.apply(changes, chain if changes and changes[-1].seq == read_to else None)
        self._chain = (seq, chain if seq == read_to else None)
        return seq

    async def log(self, after: int, limit: int) -> list[LogRecord]:
        """Return what follows in the log. Raises StoreLost, and lets nobody use the set, if it does not follow."""
        page = await self._store.log_page(after, limit)
        at, chain = self._chain
        records, follows = page.records, page.before
        if not records and page.last_seq == after:
            follows = page.last_chain
        if page.last_seq < after:
            await self._lost(f"ends at log record {page.last_seq}, and by the records it goes on to record {after}")
        if at == after and None not in (chain, follows) and chain != follows:
            await self._lost(f"has other log records up to {after} than by the records")
        if records and follows is not None:
            read = chain_over(follows, records)
            if records[-1].seq == page.last_seq and read != page.last_chain:
                await self._lost(f"has log records up to {page.last_seq} whose content is not what was written")
            self._read = (records[-1].seq, read)
        return records

    async def _lost(self, what: str) -> None:
        with contextlib.suppress(StoreUnavailable):
            await self._store.doubt()
        raise StoreLost(f"set {self._set_id}: its log {what}; `redrush set list` says what to do")
