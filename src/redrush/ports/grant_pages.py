"""Grants as people look through them: a page at a time, by a key, from records that others write.

A page costs what it shows, however many grants there are: it begins after a key, has at most `PAGE_MAX` rows, and
counts nothing. Whoever asks for longer than `PATIENCE_S` is told so, and holds nobody up.
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol, Self

import msgspec

PAGE_MAX: Final = 200
PATIENCE_S: Final = 2.0
LOOKED_MAX: Final = 20_000
"""Postings that are looked through for a page of one account's: no index has them by account."""


class GrantShown(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the records."""

    pot: str
    slot: int
    user: str
    amount_minor: int
    holds: str | None
    at_us: int
    until_us: int | None = None
    """The deadline of a hold that is not confirmed yet."""

    @classmethod
    def of(cls, row: Sequence[Any]) -> Self:
        """Return it for a row of a database, with the columns in the order of the fields."""
        return cls(**dict(zip(cls.__struct_fields__, row, strict=True)))


class PostingShown(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the ledger."""

    id: str
    debit_account: str
    credit_account: str
    amount_minor: int
    at_us: int | None

    @classmethod
    def of(cls, row: Sequence[Any]) -> Self:
        """Return it for a row, as for a grant."""
        return cls(**dict(zip(cls.__struct_fields__, row, strict=True)))


class LedgerPart(msgspec.Struct, frozen=True, kw_only=True):
    """Which postings are wanted: those whose ids begin so, and that take from or give to an account; "": all."""

    begins: str = ""
    account: str = ""

    def bounds(self, after: str) -> tuple[str, str]:
        """Return the id from which on, and the one before which, its postings that come after an id are. No id has a
        control character, or the last one of Unicode."""
        return max(self.begins, after + "\x01" if after else ""), self.begins + "\U0010ffff"


class LedgerPage(msgspec.Struct, frozen=True):
    """Some postings, and the id to go on from; None: there are no more. It may have few, or none, and go on all the
    same: what was looked through for it is bounded."""

    postings: Sequence[PostingShown]
    following: str | None


class GrantPages(Protocol):
    """The records of one campaign. Calls block, and come one at a time."""

    def page(self, pot: str, after: int, limit: int) -> Sequence[GrantShown]:
        """Return up to `limit` grants of the pot whose slot is greater than `after`, in order of their slots. Raises
        RecordsFailed where that takes too long, or the records are away."""

    def of_user(self, user: str, limit: int) -> Sequence[GrantShown]:
        """Return up to `limit` grants of a user. Raises as `page`."""

    def postings(self, user: str, ids: Sequence[str]) -> Sequence[PostingShown]:
        """Return the postings that these grants of the user made. Raises as `page`."""

    def balances(self, accounts: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Return debits and credits of accounts that are no user's, minor units; of those that there are. Raises as
        `page`; a database that keeps no sums by account adds up what is no plain grant."""

    def ledger(self, part: LedgerPart, after: str, limit: int) -> LedgerPage:
        """Return up to `limit` postings of a part with an id greater than `after`, in order of their ids: all but those
        of plain grants, whose rows are theirs. At most `LOOKED_MAX` are looked through. Raises as `page`."""

    def granted(self, pots: Sequence[str]) -> dict[str, int]:
        """Return what was granted of each pot in all, minor units, holds included; nothing of one that is not known.
        From sums that are kept, never from the grants themselves. Raises as `page`."""

    def close(self) -> None:
        """Let go of the records."""
