"""What operators do about messages to winners, on the book of a server that runs or is down.

The book takes orders from several processes: each change is made to the version that it was derived from, or not at
all, and a server finds what is due within a second.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Final

import msgspec

from redrush.control.campaigns import keeper_of_books
from redrush.core.rush.instants import rfc3339
from redrush.errors import ConfigError
from redrush.extras import require
from redrush.operate.paying import Books, known_if_down
from redrush.ports.message_book import Fate, KeptMessage, MessageBook, MessageState
from redrush.records.sqlite.book_mark import begin_mark
from redrush.records.sqlite.file import check_there
from redrush.records.sqlite.messages import BOOK, SqliteMessageBook

PAGE: Final = 1_000


class ShownMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message as commands tell of it."""

    number: str
    by: str
    state: str
    user: str
    grant: str
    worth: str
    tries: int
    changed_at: str
    next_at: str | None
    why: str

    @classmethod
    def of(cls, one: KeptMessage) -> "ShownMessage":
        """Return it."""
        return cls(
            number=one.number, by=one.by, state=str(one.state), user=one.user, grant=one.grant,
            worth=one.fields.get("worth", ""), tries=one.tries, changed_at=rfc3339(one.changed_us),
            next_at=None if one.next_us is None else rfc3339(one.next_us), why=one.why,
        )  # fmt: skip


@contextmanager
def message_book_of(books: Books, *, begins: bool = False) -> Iterator[MessageBook]:
    """Open the book. ConfigError if a directory has none, unless it `begins` with this, or if it is gone."""
    if books.deployment is not None:
        require("scaled", "the messages of a deployment")
        from redrush.records.postgres.messages import PostgresMessageBook  # noqa: PLC0415 - an extra

        dsn = books.deployment.payments.records.read()
        with known_if_down(books), closing(PostgresMessageBook(dsn, as_it_is=True)) as in_database:
            yield in_database
        return
    data_dir = keeper_of_books(books.data_dir)
    check_there(data_dir.messages, BOOK)
    if not begins and not data_dir.messages.exists():
        raise ConfigError(
            f"{data_dir.root}: nobody was told anything yet; [[message]] of the campaign file says who is"
        )
    book = SqliteMessageBook.open_as_it_is(data_dir.messages)
    try:
        if begins:
            begin_mark(data_dir.messages)
        yield book
    finally:
        book.close()


def listed(
    book: MessageBook, states: Sequence[MessageState], user: str | None = None, by: str | None = None
) -> Iterator[KeptMessage]:
    """Yield the messages in these states, all if there are none, the oldest first."""
    after = 0
    while page := book.listed(by=by, states=states, user=user, after=after, limit=PAGE):
        yield from page
        after = page[-1].id


def send_again(book: MessageBook, messages: Sequence[KeptMessage], now_us: int) -> int:
    """Have them sent now, as if they were tried for the first time; return how many that were. Those that have moved
    meanwhile are left alone."""
    return book.change([
        Fate(id=one.id, version=one.version, state=MessageState.NEW, tries=0, next_us=now_us, changed_us=now_us)
        for one in messages
    ])  # fmt: skip
