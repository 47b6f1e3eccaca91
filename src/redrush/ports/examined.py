"""What a running reconciliation reads of the records: their rows as they are, of one state, in pieces.

Nothing is judged here: what the rows must be is stated a second time in `redrush.settle.reconcile`. Calls block, and
may raise RecordsFailed.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from redrush.ports.log_rows import Row

Place = tuple[str, int, int]
"""A run of slots of a pot: its name, the first slot, how many."""

GrantAt = tuple[str, int]
"""A slot of a pot."""

GrantFound = tuple[str, int, str, int, int, int, str | None]
"""A slot of a pot, and the row of its grant: a GrantAt and a GrantRow in one."""

GrantRow = tuple[str, int, int, int, str | None]
"""User, amount in minor units, instant in µs, the number among the pot's holds, 0 for none, and what the slot holds,
None for money."""

PostingRow = tuple[str, str, int]
"""Debit account, credit account, amount in minor units."""


class Counts(msgspec.Struct, frozen=True):
    """How many rows there are, and how many there must be by the records' own copy of the logs."""

    grants: int
    grants_due: int
    postings: int
    postings_due: int


class Examined(Protocol):
    """One state of the records of one log and campaign."""

    @property
    def cursor(self) -> int:
        """The seq of the last record applied, 0 before the first."""

    @property
    def chain(self) -> str | None:
        """The fingerprint of the log up to there; None where it was not kept."""

    @property
    def digests_users(self) -> bool:
        """Whether the users of a run stand in fingerprints by one of their own."""

    def journal(self, after: int, limit: int) -> list[Row]:
        """Return up to `limit` rows of the log with seq > `after`, in order."""

    def grants(self, places: Sequence[Place]) -> list[GrantFound]:
        """Return the grants that are recorded of these slots; quickest to compare in the order of the places."""

    def postings(self, ids: Iterable[str]) -> Mapping[str, PostingRow]:
        """Return those of these postings that there are."""

    def counts(self) -> Counts:
        """Count everything. Reads all of it."""


class Examinable(Protocol):
    """Records that can be examined while others write them."""

    def examined(self, campaign: str) -> AbstractContextManager[Examined]:
        """Read one state of what is recorded of a campaign."""

    def changed_by_others(self) -> Sequence[str]:
        """Return what others than recorders have changed since the last call, in words; nothing at the first."""
