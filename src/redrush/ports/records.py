"""The records: who was granted what, and the double-entry ledger, as a projection of the stores' logs.

The records may lag behind the log; they may never disagree with it. That rests on two things: a batch of changes and
the cursor (the seq of the last log record the batch came from) become visible in one atomic step, and a change at or
below the cursor is skipped. Unique slots and posting ids are the second line of defence: should the same grant ever
arrive under another seq, the whole batch is refused instead of paying twice.

All calls block: they are made from a recorder's own thread, or by queries off the claim path. Durability after power
loss is not promised by every adapter, only atomicity: one whose `commits_are_durable` is False may come back with an
older cursor *and the data of that cursor*, for everything above it is still in the log. Only where it is True may a log
be trimmed up to the cursor.

All adapters pass one suite, `tests/conformance/test_records.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from redrush.core.money.ledger import GrantRule, Posting
from redrush.core.rush.campaign import RETURNED_POT
from redrush.errors import RedrushError
from redrush.ports.examined import Examinable
from redrush.ports.store import Confirmed, Given, Grant, Offered, Opened, Released, Scattered, Taken


class RecordsFailed(RedrushError):
    """The records' own storage failed (disk full, I/O error), or is away. It may be tried again, from the cursor."""


class RecordsLate(RecordsFailed):
    """The records did not answer in time. Of what was to be kept it is unknown whether it was: ask for the cursor."""


class RecordsDamaged(RecordsFailed):
    """The file cannot be what was written. It is a projection: made anew from the journal it is as good as ever."""


class RecordsConflict(RedrushError):
    """A change contradicts what the records hold: they belong to another journal. Trying again cannot help."""


class GrantRun(msgspec.Struct, frozen=True, kw_only=True):
    """One `granted` log record, priced: `users[k]` has slot `first_slot` + k of the pot, worth `amounts_minor[k]`.

    `holds[k]` says what the slot holds where that is no money, worth 0 (`redrush.core.rush.holding.text_of`); None in
    place of all of them: all hold money.

    `rule` says how each of these grants is posted, if it is worth anything. It is handed on as data, not as one Posting
    per grant, so that an adapter can post a whole run inside the database.
    """

    seq: int
    campaign: str
    pot: str
    first_slot: int
    at_us: int
    users: Sequence[str]
    amounts_minor: Sequence[int]
    rule: GrantRule
    holds: Sequence[str | None] | None = None


class ScatteredGrants(msgspec.Struct, frozen=True, kw_only=True):
    """One `scattered` log record, priced: the k-th of its grants is worth `amounts_minor[k]`, and `holds[k]` as above.

    `rules` say by pot how its grants are posted, all but the holds: their postings, and none of others, are `postings`.
    """

    record: Scattered
    campaign: str
    amounts_minor: Sequence[int]
    rules: Mapping[str, GrantRule]
    postings: tuple[Posting, ...]
    holds: Sequence[str | None] | None = None

    @property
    def seq(self) -> int:
        """The seq of the log record."""
        return self.record.seq


class Posted(msgspec.Struct, frozen=True, kw_only=True):
    """Any other log record, and the postings that follow from it, possibly none.

    Holds that were confirmed are permanent grants from then on; those that were released are grants no more.
    """

    record: Opened | Confirmed | Released | Offered | Taken | Given
    campaign: str
    postings: tuple[Posting, ...]

    @property
    def seq(self) -> int:
        """The seq of the log record."""
        return self.record.seq


Change = GrantRun | ScatteredGrants | Posted


def ends_of(change: Change) -> bool:
    """Whether the change ends holds: it is about grants that were recorded before it."""
    return isinstance(change, Posted) and isinstance(change.record, Confirmed | Released)


def unposted_of(change: Change) -> int:
    """Return how many postings of the change there are not, for what it moves is no money. A plain grant has none
    besides its row. Records keep the sum, so that postings can be counted."""
    if isinstance(change, GrantRun):
        return 0
    if isinstance(change, ScatteredGrants):
        worths = zip(change.record.grants, change.amounts_minor, strict=True)
        return sum(1 for grant, worth in worths if grant.number and not worth)
    return _due(change.record) - len(change.postings)


def _due(record: Opened | Confirmed | Released | Offered | Taken | Given) -> int:
    """Return how many postings the record would have if all slots held money."""
    match record:
        case Opened():
            return int(record.slots.count > 0 and record.pot != RETURNED_POT)
        case Confirmed() | Released():
            return len(record.holds)
        case Taken() | Given():
            return int(bool(record.slots))
        case Offered():
            return 0


class RecordedGrant(msgspec.Struct, frozen=True):
    """A grant as the records hold it. `at_us` is microseconds since the Unix epoch, and so is `until_us`, the deadline
    of one that is held; None: it is permanent. `holds` says what the slot holds if it is no money, and worth 0."""

    slot: int
    pot: str
    user: str
    amount_minor: int
    at_us: int
    campaign: str
    until_us: int | None = None
    holds: str | None = None


class Balance(msgspec.Struct, frozen=True):
    """What an account was debited and credited in all; both only grow."""

    debits_minor: int
    credits_minor: int

    @property
    def net_minor(self) -> int:
        """Credits less debits: what a user owns; for the sponsor, minus what was spent."""
        return self.credits_minor - self.debits_minor


class Totals(msgspec.Struct, frozen=True):
    """Counts and sums over everything recorded, of one consistent state. All debits equal all credits, always."""

    grants: int
    granted_minor: int
    postings: int
    debits_minor: int
    credits_minor: int


class Records(Protocol):
    """See the module. Every call may raise RecordsFailed; after `close`, every call does."""

    @property
    def commits_are_durable(self) -> bool:
        """Whether what `apply` returned, and what `cursor` returns, survives a loss of power."""

    def cursor(self) -> int:
        """Return the seq of the last log record applied, 0 before the first."""

    def apply(self, changes: Sequence[Change]) -> int:
        """Apply changes in ascending order of seq, all or none, together with the cursor; return the new cursor.

        Changes at or below the cursor are skipped. Raises RecordsConflict if a slot of the same pot, or a posting id of
        the same campaign, is already recorded under another seq, for the end of a hold that is not recorded, and, where
        several logs are kept in one place, for changes of another campaign than the log's. Raises ValueError if the
        order is wrong.
        """

    def grants_of(self, user: str) -> list[RecordedGrant]:
        """Return the user's grants of all campaigns, by campaign and slot."""

    def holds_due(self, campaign: str, until_us: int, skip: int, limit: int) -> list[Grant]:
        """Return the campaign's holds, as far as they are recorded, whose deadline is over by then: `limit` of them
        after the first `skip`, the earliest first. Those that were confirmed or released are none any more."""

    def balance(self, campaign: str, account: str) -> Balance:
        """Return the account's balance in the campaign's books; an account that nothing was posted to has zeros."""

    def totals(self) -> Totals:
        """Return counts and sums. Reads everything: for reports, not for a page that many people reload."""

    def close(self) -> None:
        """Release the files. Waits for a call under way."""


class RecordsMark(msgspec.Struct, frozen=True):
    """How far the records hold which log: its id ("": not known), the last seq, and the fingerprint up to there."""

    log: str
    seq: int
    chain: str


class JournalRecords(Records, Examinable, Protocol):
    """Records beside the one journal that they are made from, of which they hold every row."""

    def mark(self) -> RecordsMark:
        """Return how far the records are. Raises RecordsDamaged if that was changed by anybody else."""

    def belong_to(self, log: str) -> None:
        """Write down which log these are the records of."""

    def is_sound(self) -> bool:
        """Whether the file is a whole one: reads all of it, beside whoever uses it."""

    def begin_anew(self, log: str) -> Path:
        """Put the file aside and begin an empty one, for this log; return where the old one is.

        Nobody may be in the midst of following the log: the cursor is 0 then.
        """


class RecordsFiles(msgspec.Struct, frozen=True):
    """How such records are opened by their path, and put aside where they are of no use."""

    open_path: Callable[[Path, Callable[[str], object]], JournalRecords]
    """Raises ConfigError for a file of something else, RecordsDamaged, RecordsFailed."""
    set_aside: Callable[[Path], Path]
    """Moves them away under a name that is free, which it returns. Raises RecordsFailed."""
