"""The book of messages in `messages.db`, in SQLite with a fsync for each commit: who was told stands nowhere else."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from redrush.ports.message_book import Fate, KeptMessage, MessageState, NewMessage
from redrush.ports.records import RecordsFailed
from redrush.records.sqlite.book_examining import digest_of_row
from redrush.records.sqlite.book_mark import MarkedBook
from redrush.records.sqlite.file import Book, book_failures, open_as_it_is, open_durable
from redrush.sqlfiles import load_numbered, load_statements

BOOK: Final = Book("a book of messages", "people were told", 0x5252504D, load_numbered(__package__))

SEALED: Final = ("by", "campaign", "grant", "user", "at_us", "fields", "number")
"""What never changes of a message, in the order of `redrush/records/sqlite/book_examining.sql`."""


class SqliteMessageBook:
    """Fulfils `redrush.ports.message_book.MessageBook`. Calls may come from any thread and take turns."""

    def __init__(self, path: Path, marked: MarkedBook) -> None:
        self._path = path
        self._marked = marked
        self._connection = marked.connection
        self._sql = load_statements(__package__, "queries.sql")
        self._lock = threading.Lock()

    @classmethod
    def open_path(cls, path: Path) -> Self:
        """Open the book, making it if the file is missing. ConfigError as of `open_durable`."""
        return cls(path, open_durable(path, BOOK))

    @classmethod
    def open_as_it_is(cls, path: Path) -> Self:
        """Open the book for a command. ConfigError as of `redrush.records.sqlite.file.open_as_it_is`."""
        return cls(path, open_as_it_is(path, BOOK))

    def put(self, messages: Sequence[NewMessage], now_us: int, cursor: tuple[str, int] | None = None) -> int:
        """See the port."""
        fresh = 0
        with self._writing():
            for message in messages:
                values = msgspec.structs.asdict(message) | {
                    "fields": msgspec.json.encode(message.fields).decode(),
                    "number": message.number,
                    "now_us": now_us,
                }
                values["digest"] = digest_of_row([values[key] for key in SEALED])
                self._run("put", **values)
                fresh += self._connection.changes()
            if cursor is not None:
                self._run("move_cursor", name=cursor[0], seq=cursor[1])
        return fresh

    def cursor(self, name: str) -> int:
        """See the port."""
        with self._reading():
            row = self._run("cursor", name=name).fetchone()
        return 0 if row is None else int(row[0])

    def turn(self) -> int:
        """See the port: nobody else sends from a directory."""
        return 1

    def take(self, by: str, now_us: int, limit: int) -> list[KeptMessage]:
        """See the port."""
        taken: list[KeptMessage] = []
        with self._writing():  # one transaction: a command may have the book too
            for (message_id,) in self._run("due", by=by, now_us=now_us, limit=limit).fetchall():
                self._run("begun", id=message_id, now_us=now_us)
                taken.append(self._of_id(message_id))
        return taken

    def is_ours(self, message: KeptMessage) -> bool:
        """See the port."""
        with self._reading():
            return self._of_id(message.id) == message

    def change(self, fates: Sequence[Fate]) -> int:
        """See the port."""
        changed = 0
        with self._writing():
            for fate in fates:
                self._run("change", **msgspec.structs.asdict(fate))
                changed += self._connection.changes()
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
        wanted = {"by": by, "after": after, "limit": limit}
        if user is not None:
            names = msgspec.json.encode([str(state) for state in states]).decode()
            return self._messages("listed_of_user", user=user, states=names, **wanted)
        if not states:
            return self._messages("listed", **wanted)
        with self._reading():  # each in the order of its index
            rows = [row for state in states for row in self._run("listed_in_state", state=str(state), **wanted)]
            return [self._of_id(message_id) for (message_id,) in sorted(rows)[:limit]]

    def missing(self, by: str, grants: Sequence[str]) -> set[str]:
        """See the port."""
        with self._reading():
            rows = self._run("missing", by=by, grants=msgspec.json.encode(grants).decode()).fetchall()
        return {grant for (grant,) in rows}

    def close(self) -> None:
        """See the port."""
        with self._lock:
            self._marked.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._reading(), self._marked.committing():
            yield

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock, book_failures(self._path, RecordsFailed):
            yield

    def _messages(self, query: str, /, **values: Any) -> list[KeptMessage]:
        with self._reading():
            return [self._of_id(message_id) for (message_id,) in self._run(query, **values).fetchall()]

    def _of_id(self, message_id: int) -> KeptMessage:
        return KeptMessage.of_row(self._run("of_id", id=message_id).fetchone())

    def _run(self, query: str, /, **values: Any) -> Any:
        return self._connection.execute(self._sql[query], values or None)
