"""The book of messages in PostgreSQL: a call is one transaction, however many messages it is about.

Several processes may use a book. One of them is the teller (`redrush.records.postgres.lease`, which it shares with the
bills): only it is given messages to send, so a notifier hears no more than its pace.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from redrush.core.nobody import ignore
from redrush.ports.message_book import Fate, KeptMessage, MessageState, NewMessage
from redrush.records.postgres.book import PostgresBook, json_rows, one_each
from redrush.records.postgres.lease import Holder, Lease, Row
from redrush.records.postgres.migrations import Tell


class PostgresMessageBook(PostgresBook):
    """Fulfils `redrush.ports.message_book.MessageBook`. Calls may come from any thread; reads wait for no write."""

    def __init__(self, dsn: str, teller: str | None = None, *, tell: Tell = ignore, as_it_is: bool = False) -> None:
        """Connects to nothing yet. `teller` names who takes messages here, as long as it lives; None: whoever asks
        may."""
        super().__init__(__package__, dsn, {}, tell, as_it_is=as_it_is)
        self._lease = Lease(teller)

    def put(self, messages: Sequence[NewMessage], now_us: int, cursor: tuple[str, int] | None = None) -> int:
        """See the port."""
        rows = [
            msgspec.structs.asdict(message)
            | {"fields": msgspec.json.encode(message.fields).decode(), "number": message.number}
            for message in messages
        ]
        with self._writer.transaction() as at:
            fresh = self._run(at, "put", messages=json_rows(rows), now_us=now_us).rowcount if rows else 0
            if cursor is not None:
                self._run(at, "move_cursor", name=cursor[0], seq=cursor[1])
        return fresh

    def cursor(self, name: str) -> int:
        """See the port."""
        with self._reader.transaction() as at:
            row = self._run(at, "cursor", name=name).fetchone()
        return 0 if row is None else int(row[0])

    def turn(self) -> int:
        """See the port."""
        with self._writer.transaction() as at:
            return 0 if self._lease.look(at) is Holder.OTHERS else self._lease.turn(at)

    def take(self, by: str, now_us: int, limit: int) -> list[KeptMessage]:
        """See the port."""
        rows: list[Row] = []
        with self._writer.transaction() as at:
            found = self._lease.take(at, lambda: self._run(at, "take", by=by, now_us=now_us, limit=limit).fetchall())
            rows = found or []
        rows.sort(key=lambda row: row[:2])  # by their times, then by their ids
        return [KeptMessage.of_row(row[1:]) for row in rows]

    def is_ours(self, message: KeptMessage) -> bool:
        """See the port. Looked up once the turn is ours: whoever had one in between has left their mark on it."""
        with self._writer.transaction() as at:
            if self._lease.look(at) is Holder.OTHERS:
                return False
            row = self._run(at, "of_id", id=message.id).fetchone()
        return row is not None and KeptMessage.of_row(row) == message

    def change(self, fates: Sequence[Fate]) -> int:
        """See the port."""
        changed = 0
        with self._writer.transaction() as at:
            for batch in one_each(fates, key=lambda fate: fate.id):
                rows = [msgspec.structs.asdict(fate) for fate in batch]
                changed += self._run(at, "change", fates=json_rows(rows)).rowcount
        return changed

    def under_way(self, by: str, limit: int) -> list[KeptMessage]:
        """See the port."""
        return self._messages("under_way", by=by, limit=limit)

    def listed(
        self,
        *,
        by: str | None = None,
        states: Sequence[MessageState] = (),
        user: str | None = None,
        after: int = 0,
        limit: int = 1_000,
    ) -> list[KeptMessage]:
        """See the port."""
        names = [str(state) for state in states]
        return self._messages("listed", by=by, states=names, user=user, after=after, limit=limit)

    def missing(self, by: str, grants: Sequence[str]) -> set[str]:
        """See the port."""
        with self._reader.transaction() as at:
            return {grant for (grant,) in self._run(at, "missing", by=by, grants=list(grants))}

    def _messages(self, query: str, /, **values: Any) -> list[KeptMessage]:
        with self._reader.transaction() as at:
            return [KeptMessage.of_row(row) for row in self._run(at, query, **values)]
