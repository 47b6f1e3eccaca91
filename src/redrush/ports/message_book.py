"""The book of messages: what winners are to be told, and what became of each.

It is no projection, for nothing else knows who was told: each commit is durable before its call returns, and a message
is SENDING in the book before anybody outside hears of it. So what was under way when a process died is known, and is
never taken for what was not begun. No address is kept in it, and no code: both are looked up when it is sent.

All calls block. All adapters pass tests/conformance/test_message_books.py.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, Protocol, Self

import msgspec

from redrush.core.money.numbers import bill_number

OURS_S: Final = 2.0
"""From when a call of `take`, or of `is_ours` that says yes, begins, nobody else says for so long what became of the
message. Who has not begun to send it by then asks again, or does not send it."""


class MessageState(StrEnum):
    """Where a message is."""

    NEW = "new"
    """It waits for its time."""
    SENDING = "sending"
    """It is under way, and nobody knows yet what becomes of it."""
    SENT = "sent"
    """Whoever carries it has it: final."""
    UNKNOWN = "unknown"
    """It may have arrived. Only a person has it sent again."""
    FAILED = "failed"
    """Nobody was told, and it was tried often enough, or never can be."""


class NewMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message that is to be sent. Notifier and grant make it count once."""

    by: str
    campaign: str
    grant: str
    user: str
    at_us: int
    """When it was won."""
    fields: dict[str, str]
    """What is told of it: round, pot, worth, and what the slot holds where that is no money."""

    @property
    def number(self) -> str:
        """What it is known by outside: a book that was lost and is made anew makes the same."""
        return bill_number("message", f"{self.by}/{self.grant}")


class KeptMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it is in the book."""

    id: int
    by: str
    campaign: str
    grant: str
    user: str
    at_us: int
    fields: dict[str, str]
    number: str
    state: MessageState
    tries: int
    next_us: int | None
    changed_us: int
    why: str
    version: int
    """Counts changes: a change is made to what it was derived from, or not at all."""

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> Self:
        """Return the message that stands in a row, whose columns are in the order of its fields; `fields` is JSON."""
        values = dict(zip(cls.__struct_fields__, row, strict=True))
        fields = msgspec.json.decode(values["fields"], type=dict[str, str])
        return cls(**values | {"state": MessageState(values["state"]), "fields": fields})


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a message that is still of this version."""

    id: int
    version: int
    state: MessageState
    tries: int
    next_us: int | None
    changed_us: int
    why: str = ""


class MessageBook(Protocol):
    """See the module. Every call may raise RecordsFailed."""

    def put(self, messages: Sequence[NewMessage], now_us: int, cursor: tuple[str, int] | None = None) -> int:
        """Put in what is not there yet; return how many that were. `cursor` (a name and a number) is kept in the same
        step."""

    def cursor(self, name: str) -> int:
        """Return the number kept under the name, 0 before the first."""

    def turn(self) -> int:
        """Return which turn at sending this is, where several processes take turns: it is another number when somebody
        else sent in between, and 0 while somebody else does."""

    def take(self, by: str, now_us: int, limit: int) -> list[KeptMessage]:
        """Return messages for which it is time, those first that have waited longest. They are SENDING from now on.
        Nothing, while it is another process's turn."""

    def is_ours(self, message: KeptMessage) -> bool:
        """Whether it still is as it was taken, and our turn: nobody else sends it, or has said that it is unknown."""

    def change(self, fates: Sequence[Fate]) -> int:
        """Make those changes that still apply; return how many did."""

    def under_way(self, by: str, limit: int) -> list[KeptMessage]:
        """Return what is SENDING: to whose turn begins, what was under way when the one before was killed."""

    def listed(
        self,
        *,
        by: str | None = None,
        states: Sequence[MessageState] = (),
        user: str | None = None,
        after: int = 0,
        limit: int = 1_000,
    ) -> list[KeptMessage]:
        """Return messages by id above `after`."""

    def missing(self, by: str, grants: Sequence[str]) -> set[str]:
        """Return those of these grants of which the notifier has no message."""

    def close(self) -> None:
        """Release the files."""
