"""The store: the one authority on which slot belongs to whom.

A store hands out integers. It knows pots and slots, not money, kinds or time; the meaning of a slot is in the
campaign's amounts table. A call may be about any pots of the store at once: a batch of claims on a thousand small pots
is one step, as one on a single big pot is. Every operation is idempotent, and durable when it returns: what a crash
right after the return leaves on the disk already holds it. A store whose disk failed raises `StoreFailed` for that
call and for every later one (fail-stop): after a failed fsync nobody knows what the disk holds, so nothing may be
acknowledged. A store on another machine raises `StoreUnavailable` instead: it may be back for the next call.

All stores pass one suite, `tests/conformance/test_stores.py`.

Long, because a store, what it is asked and what its log says are one contract, which is read as a whole.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Final, Protocol

import msgspec

from redrush.core.rush.campaign import Slots
from redrush.core.sets.absence import Absence
from redrush.errors import RedrushError


class StoreFailed(RedrushError):
    """The store can make nothing durable any more. The fate of what was under way is unknown: never answer it."""


class StoreUnavailable(RedrushError):
    """The store cannot be reached, or cannot make anything durable, now. Later calls may succeed.

    The fate of the call is unknown: never answer it. The same call made again finds what it did, if it did anything.
    `reason` is one of those for which a set cannot grant.
    """

    def __init__(self, text: str, reason: Absence = Absence.AWAY) -> None:
        super().__init__(text)
        self.reason = reason


class StoreConflict(RedrushError):
    """An operation contradicts what the store already holds, such as opening a pot with other slots.

    Nothing was changed.
    """


class StoreCorrupt(RedrushError):
    """What a store holds contradicts itself: the log record `seq` cannot follow those before it. Nothing is served."""

    def __init__(self, seq: int, contradiction: str) -> None:
        super().__init__(f"log record {seq}: {contradiction}")
        self.seq = seq


class PotTerms(msgspec.Struct, frozen=True, gc=False):
    """What a pot is opened with: its slots, and how many of them a user may have at a time, 1 or more.

    `hold_us` makes its grants holds: each has a deadline, `hold_us` after it was made, and is confirmed, or released
    and granted again. The store never releases one by itself. None: a grant is permanent.
    """

    pot: str
    slots: Slots
    limit_per_user: int = 1
    hold_us: int | None = None


class NotedTerms(PotTerms, frozen=True, gc=False):
    """The terms of a pot that something is written down with, for whoever shares its store (`ports/noted_pots.py`)."""

    note: str = ""
    """Whatever its opener wants kept: a store reads nothing in it. The pot keeps the one that it was opened with; to
    open it again with another one changes nothing, and is no conflict."""


class Claim(msgspec.Struct, frozen=True, gc=False):
    """A user asks a pot for a slot. The same user, pot and request again is a repeat, and finds the same grant; another
    request of the user is another claim, which the pot's limit allows or not."""

    pot: str
    user: str
    request: str = ""


def claims_of(pot: str, users: Iterable[str]) -> list[Claim]:
    """Return a claim on the pot for each of the users, in their order."""
    return [Claim(pot, user) for user in users]


class Claimed(msgspec.Struct, frozen=True, gc=False):
    """The user has `slot` since `at_us` (µs since the epoch); `repeat` tells a known grant from a new one."""

    slot: int
    at_us: int
    repeat: bool


class Held(Claimed, frozen=True, gc=False):
    """The same in a pot of holds. `until_us` is the deadline, None once it is confirmed.

    `number` tells this grant of the slot from others: those that a pot makes in a store are counted, from 1.
    """

    until_us: int | None
    number: int


class Grant(msgspec.Struct, frozen=True, gc=False):
    """A grant by everything that names it; of a pot of holds also its `number` and its deadline."""

    pot: str
    user: str
    slot: int
    request: str = ""
    number: int = 0
    until_us: int | None = None


class HoldState(Enum):
    """What a hold is after a call about it. A released one is nobody's, and may be somebody else's by now; an unknown
    one was never granted."""

    CONFIRMED = "confirmed"
    RELEASED = "released"
    UNKNOWN = "unknown"


class Refusal(Enum):
    """Why a store gives no slot: none is left; none is left to be had now, but some are only held; the user has as many
    as the pot's limit allows. A store that was told when a pot may be claimed from, and has a clock of its own,
    says too that by this it is too early, or too late."""

    EMPTY = "empty"
    HELD_OUT = "held_out"
    LIMIT = "limit"
    EARLY = "early"
    LATE = "late"


EMPTY: Final = Refusal.EMPTY
HELD_OUT: Final = Refusal.HELD_OUT
LIMIT: Final = Refusal.LIMIT
EARLY: Final = Refusal.EARLY
LATE: Final = Refusal.LATE


class PotState(msgspec.Struct, frozen=True, gc=False):
    """Counts of a pot: the slots `left` in it now, the grants it has ever made, and how many of these came back.

    `claimed_ever` and `returned_ever` only grow. The pot holds or has granted `left + claimed_ever - returned_ever`
    slots; it is sold out when `claimed_ever` is as many as are in play and have ever come back, where `claimed_ever` is
    read first.
    """

    left: int
    claimed_ever: int
    returned_ever: int = 0
    held: int = 0
    """Grants that are holds still: neither confirmed nor released."""
    waiting: int = 0
    """Of the slots that are left, those that were released and are not offered again yet."""

    @property
    def unclaimed(self) -> int:
        """Slots that a claim could get now."""
        return self.left - self.waiting

    @property
    def for_good(self) -> int:
        """Grants that can never come back. It only grows."""
        return self.claimed_ever - self.returned_ever - self.held


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """Log record: the pot came to be with these terms."""

    seq: int
    pot: str
    slots: Slots
    limit_per_user: int = 1
    hold_us: int | None = None
    note: str = ""

    @property
    def terms(self) -> PotTerms:
        """What the pot was opened with."""
        if self.note:
            return NotedTerms(self.pot, self.slots, self.limit_per_user, self.hold_us, self.note)
        return PotTerms(self.pot, self.slots, self.limit_per_user, self.hold_us)


class Granted(msgspec.Struct, frozen=True, tag="granted"):
    """Log record: slot `first_slot` + k of the pot was granted to `users[k]` at `at_us`."""

    seq: int
    pot: str
    first_slot: int
    users: tuple[str, ...]
    at_us: int


class Scattered(msgspec.Struct, frozen=True, tag="scattered"):
    """Log record: these single slots, of whatever pots, were granted at `at_us`, in this order."""

    seq: int
    grants: tuple[Grant, ...]
    at_us: int


class Confirmed(msgspec.Struct, frozen=True, tag="confirmed"):
    """Log record: these holds became permanent at `at_us`."""

    seq: int
    holds: tuple[Grant, ...]
    at_us: int


class Released(msgspec.Struct, frozen=True, tag="released"):
    """Log record: these holds ended at `at_us`; their slots wait in their pots to be offered again."""

    seq: int
    holds: tuple[Grant, ...]
    at_us: int


class Offered(msgspec.Struct, frozen=True, tag="offered"):
    """Log record: these slots, which had been released, joined the end of the pot and may be claimed again."""

    seq: int
    pot: str
    slots: tuple[Slots, ...]


class Taken(msgspec.Struct, frozen=True, tag="taken"):
    """Log record: unclaimed slots left the pot under a transfer id."""

    seq: int
    pot: str
    slots: tuple[Slots, ...]
    transfer: str


class Given(msgspec.Struct, frozen=True, tag="given"):
    """Log record: slots joined the end of the pot under a transfer id."""

    seq: int
    pot: str
    slots: tuple[Slots, ...]
    transfer: str


LogRecord = Opened | Granted | Scattered | Confirmed | Released | Offered | Taken | Given


def grants_of(record: LogRecord) -> Iterator[Grant]:
    """Yield every grant of the record, in order; none if it grants nothing."""
    if isinstance(record, Granted):
        for slot, user in enumerate(record.users, record.first_slot):
            yield Grant(record.pot, user, slot)
    elif isinstance(record, Scattered):
        yield from record.grants


class Fork(msgspec.Struct, frozen=True):
    """From `generation` on the log has other records above `shared_seq` than it had before, or none."""

    generation: int
    shared_seq: int


class History(msgspec.Struct, frozen=True):
    """Which course of events a log tells: a set that was made anew, or that went on without its last records, is of a
    new generation. What was remembered of it before is void then, and has to be learned again from the log.

    `forks` are the beginnings of generations that are known, the first never among them, in order.
    """

    generation: int = 1
    forks: tuple[Fork, ...] = ()

    def shared_since(self, generation: int) -> int | None:
        """Return up to which seq the log is the same as it was in `generation`; None: all that it had then."""
        return min((fork.shared_seq for fork in self.forks if fork.generation > generation), default=None)


FIRST_HISTORY: Final = History()
"""That of a log which nobody ever cut short."""


class Known(msgspec.Struct, frozen=True):
    """How far somebody knows a log: up to record `seq` in this generation, where `grants` were in it.

    `chain` is the fingerprint of all records up to there (`redrush.ports.log_rows.chain_after`), None where it is not
    known. A log that has less, or other records up to there, has lost some of them.
    """

    generation: int
    seq: int
    chain: str | None
    grants: int = 0


class StoreLost(StoreUnavailable):
    """A store lacks log records that it once acknowledged: what follows would be granted twice."""


class Transfer(msgspec.Struct, frozen=True):
    """One half of a move: these slots left `pot`, or joined it."""

    pot: str
    slots: tuple[Slots, ...]


class Transfers(msgspec.Struct, frozen=True):
    """Every half of a move that a store holds, by transfer id; the ids of takes and of gives do not meet."""

    taken: Mapping[str, Transfer]
    given: Mapping[str, Transfer]


class Store(Protocol):
    """See the module. Users, pots and requests are text ids.

    A pot's slots are unclaimed, granted, or *waiting*: released by somebody, and not offered again yet.
    """

    @property
    def knows_all(self) -> bool:
        """Whether what this process knows of a pot is everything: no other process can change it."""

    async def open(self, pots: Sequence[PotTerms]) -> None:
        """Create the pots, at any time. Opening one again with the same terms changes nothing.

        Raises StoreConflict for a pot that has other terms, ValueError for terms that cannot be. Pots before it may be
        open then: the call is about each pot by itself, and is made again without harm.
        """

    async def until_free(self) -> None:
        """Return when claims that are made now go to the store at once. A batch that is put together sooner waits there
        all the same, without those who come meanwhile. Raises nothing: whether the store is there, a call tells."""

    async def claim(self, claims: Sequence[Claim], at_us: int) -> list["ClaimResult"]:
        """For each claim, in order: its slot, new or known, or why it got none.

        Dedupe, next slot and log are one step. A claim that stands twice in `claims` gets one slot; the second answer
        is a repeat. Raises KeyError for a pot that was never opened (nothing is granted then), StoreFailed when
        durability is in doubt (then no slot of this call may be shown).
        """

    async def confirm(self, holds: Sequence[Grant], at_us: int) -> list[HoldState]:
        """Make the holds permanent, and return what each is now; RELEASED: it came too late, the slot is gone.

        Whoever confirms again is told the same. The deadline is not looked at: it is the caller who decides. Grants of
        pots without holds are CONFIRMED. Raises KeyError for a pot that was never opened; nothing is changed then.
        """

    async def release(self, holds: Sequence[Grant], at_us: int) -> list[HoldState]:
        """End the holds, and return what each is now; CONFIRMED: it is permanent, and stays so.

        The slots wait in their pots until they are offered. The user may claim again: a limit counts grants that there
        are. Whoever releases again is told the same. Raises as `confirm` does.
        """

    async def offer(self, pots: Sequence[str]) -> int:
        """Let the slots that wait in these pots be claimed again, after all others; return how many there are.

        Raises KeyError for a pot that was never opened; nothing is changed then.
        """

    async def take(self, pot: str, count: int, transfer: str) -> tuple[Slots, ...]:
        """Remove up to `count` slots from the pot, from the end of the unclaimed ones, then of those that wait.

        The same transfer id gives the same slots.

        The slots come in the order in which the pot would have granted them. Raises KeyError for a pot that was never
        opened, StoreConflict for a transfer id that took from another pot.
        """

    async def give(self, pot: str, slots: tuple[Slots, ...], transfer: str) -> None:
        """Append slots to the pot, once per transfer id. Ids of takes and of gives do not meet.

        Raises KeyError for a pot that was never opened (one that only receives is opened with no slots),
        StoreConflict for a transfer id that gave something else and for a slot that the pot already holds or granted.
        """

    async def transfers(self) -> Transfers:
        """Return all moves so far, a copy: for whoever completes those of which one half is missing. What leaves a pot
        and joins no other (`redrush.core.rush.campaign.REST_PREFIX`) is none."""

    async def find(self, pot: str, user: str, request: str = "") -> Claimed | None:
        """Return the user's durable grant in the pot, as a repeat, or None, for an unknown pot too."""

    def known(self, pot: str) -> Mapping[str, Claimed]:
        """Return the grants of the pot that this process knows of, by user, as repeats: live, not a copy.
        Those to a request that has a name are not in it.

        One in it is durable unless the `claim` that made it has not returned. A store that several processes share
        knows here what passed through this one, up to a bound. Raises KeyError for a pot this process does not know.
        """

    def holders(self, pot: str) -> Container[str]:
        """Return who has any grant of the pot that this process knows of, to whatever request: live. As with `known`,
        one in it may have a grant that is not durable yet. Raises KeyError for a pot this process does not know."""

    async def state(self, pot: str) -> PotState:
        """Return the pot's counts. Raises KeyError for a pot that was never opened."""

    async def log(self, after: int, limit: int) -> list[LogRecord]:
        """Return up to `limit` durable records with seq > `after`, in order of seq, which grows but may have gaps."""

    def last_seq(self) -> int:
        """Return the seq of the last record decided, durable or about to be; 0 before the first. Waits for nothing."""

    def history(self) -> History:
        """Return which history of the set this process has to do with, without waiting.

        It changes before the first call under it returns, so whoever reads it before and after a call knows whether
        the answer belongs to what they remember. Raises StoreUnavailable while the set was never reached.
        """

    async def close(self) -> None:
        """Finish what was accepted and release the files. Later calls raise StoreFailed."""


ClaimResult = Claimed | Refusal
