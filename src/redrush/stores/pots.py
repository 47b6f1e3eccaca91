"""The truth of a store in memory: pots, the queue of their slots, who has which, and transfers.

Every store that decides inside the process (memory, SQLite) decides here, so the claim rules exist once. Methods that
change something return the log record to keep, or None where the call was a repeat; making it durable before anyone
sees it is the caller's part. `restore` applies such a record again after a restart and checks it against all before.

A claim costs one look-up and, if it wins, two structs and one insertion; everything else is per batch. `Claimed` holds
no containers and is not tracked by the garbage collector (`gc=False`), hence neither is a dict of them: a million
grants add nothing to a collection.

Rejected: deriving the grants' instants from runs instead of keeping a struct per grant. It saves 40 bytes each and
costs every repeat a search.

Long, because every rule of a claim, and its inverse after a restart, is here and nowhere else.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from itertools import chain, islice, repeat
from operator import attrgetter
from typing import Final

from redrush.core.rush.campaign import Slots
from redrush.ports.store import (
    EMPTY,
    Claim,
    Claimed,
    ClaimResult,
    Given,
    Granted,
    LogRecord,
    Opened,
    PotState,
    PotTerms,
    StoreConflict,
    StoreCorrupt,
    Taken,
    Transfer,
    Transfers,
)

INTEGER_MAX: Final = 2**63 - 1
"""Slots and instants end here: what 64 signed bits of SQLite, Lua-side streams and the amounts table can hold."""


_pot_of, _user_of = attrgetter("pot"), attrgetter("user")

WITHHELD: Final = "withheld:"
"""Transfers that begin so take single slots out of a pot, wherever they are, because somebody may hold them already: a
journal that was made anew lacks the last grants. The slot comes back with the grant that is entered again, or never."""


class EntryRefused(Enum):
    """Why a grant cannot be entered again, in words."""

    HELD = "the user has another grant of the round"
    ABSENT = "its slot was granted to somebody else since, or has left the round"


class Pot:
    """One pot: the unclaimed slots in the order of their granting, and the grants."""

    __slots__ = ("granted_runs", "grants", "opened_with", "unclaimed")

    def __init__(self, slots: Slots) -> None:
        self.opened_with = slots
        self.grants: dict[str, Claimed] = {}
        self.unclaimed: deque[Slots] = deque([slots] if slots.count else [])
        self.granted_runs: list[Slots] = []

    def left(self) -> int:
        return sum(run.count for run in self.unclaimed)

    def claim(self, users: Sequence[str], at_us: int) -> tuple[list[ClaimResult], list[tuple[int, list[str]]]]:
        """Give each user their slot; return the results and the new grants as runs (first slot, users)."""
        grants = self.grants
        results: list[ClaimResult] = []
        runs: list[tuple[int, list[str]]] = []
        winners: list[str] = []
        first, slot, end = self._head()
        for user in users:
            known = grants.get(user)
            if known is not None:
                results.append(known)
                continue
            if slot == end:
                if winners:
                    self._grant_run(first, winners, runs)
                    winners = []
                    first, slot, end = self._head()
                if slot == end:
                    results.append(EMPTY)
                    continue
            grants[user] = Claimed(slot, at_us, True)
            results.append(Claimed(slot, at_us, False))
            winners.append(user)
            slot += 1
        if winners:
            self._grant_run(first, winners, runs)
        return results, runs

    def _head(self) -> tuple[int, int, int]:
        """Return first, next and end slot of the run that grants come from; all equal when the pot is empty."""
        if not self.unclaimed:
            return 0, 0, 0
        head = self.unclaimed[0]
        return head.first, head.first, head.end

    def _grant_run(self, first: int, winners: list[str], runs: list[tuple[int, list[str]]]) -> None:
        self.advance(len(winners))
        runs.append((first, winners))

    def advance(self, count: int) -> None:
        """Move `count` slots, at most the length of the head run, from unclaimed to granted."""
        head = self.unclaimed.popleft()
        if head.count > count:
            self.unclaimed.appendleft(Slots(head.first + count, head.count - count))
        last = self.granted_runs[-1] if self.granted_runs else None
        if last is not None and last.end == head.first:
            self.granted_runs[-1] = Slots(last.first, last.count + count)
        else:
            self.granted_runs.append(Slots(head.first, count))

    def take(self, count: int) -> tuple[Slots, ...]:
        """Remove up to `count` slots from the end; return them in the order of their granting."""
        taken: deque[Slots] = deque()
        while count and self.unclaimed:
            tail = self.unclaimed.pop()
            if tail.count > count:
                self.unclaimed.append(Slots(tail.first, tail.count - count))
                tail = Slots(tail.end - count, count)
            taken.appendleft(tail)
            count -= tail.count
        return tuple(taken)

    def withhold(self, slot: int) -> bool:
        """Remove one slot from wherever it stands; return whether it was there."""
        for place, run in enumerate(self.unclaimed):
            if run.first <= slot < run.end:
                parts = (Slots(run.first, slot - run.first), Slots(slot + 1, run.end - slot - 1))
                del self.unclaimed[place]
                for part in reversed(parts):
                    if part.count:
                        self.unclaimed.insert(place, part)
                return True
        return False

    def grant_last(self) -> None:
        """Move the last run from unclaimed to granted."""
        self.granted_runs.append(self.unclaimed.pop())

    def give(self, slots: tuple[Slots, ...]) -> None:
        self.unclaimed.extend(run for run in slots if run.count)

    def overlap(self, slots: tuple[Slots, ...]) -> Slots | None:
        """Return the first of these runs that meets a slot the pot holds or granted, or one of the runs before it."""
        held = [*self.granted_runs, *self.unclaimed]
        for run in slots:
            if any(run.first < other.end and other.first < run.end for other in held):
                return run
            held.append(run)
        return None


class Pots:
    """All pots of a store. `seq` is the number of the last record returned or restored; the next gets `seq` + 1."""

    def __init__(self) -> None:
        self.seq = 0
        self._pots: dict[str, Pot] = {}
        self._taken: dict[str, Taken] = {}
        self._given: dict[str, Given] = {}
        self._coming_back: tuple[str, Slots] | None = None
        """The withheld slot that the last record gave back: the next one may grant it, though others come first."""

    def granted(self) -> dict[str, int]:
        """Return how many slots each pot has granted."""
        return {name: len(pot.grants) for name, pot in self._pots.items()}

    def next_slots(self, pot: str, count: int) -> list[int]:
        """Return the `count` slots that the pot would grant next, or all it has. KeyError for an unknown pot."""
        runs: Iterable[range] = (range(run.first, run.end) for run in self._pot(pot).unclaimed)
        return list(islice(chain.from_iterable(runs), count))

    def withheld(self, pot: str) -> int:
        """Return how many slots of the pot are kept back for whoever may hold them already."""
        return sum(
            record.pot == pot and transfer.startswith(WITHHELD) and transfer not in self._given
            for transfer, record in self._taken.items()
        )

    def withhold(self, pot: str, slot: int, generation: int) -> Taken:
        """Take a slot out of the pot that may be somebody's. Raises KeyError if it is not there."""
        if not self._pot(pot).withhold(slot):
            raise KeyError(f"pot {pot!r} does not have slot {slot}")
        record = Taken(self._next_seq(), pot, (Slots(slot, 1),), f"{WITHHELD}{generation}:{slot}")
        self._taken[record.transfer] = record
        return record

    def enter(self, pot: str, slot: int, user: str, at_us: int, generation: int) -> list[LogRecord] | EntryRefused:
        """Grant this very slot, which may be withheld, to the user; return the records, or why it cannot be."""
        target = self._pot(pot)
        if user in target.grants:
            return EntryRefused.HELD
        run = (Slots(slot, 1),)
        ids = (f"{WITHHELD}{earlier}:{slot}" for earlier in range(1, generation + 1))
        found = [i for i in ids if i in self._taken and self._taken[i].pot == pot and i not in self._given]
        records: list[LogRecord] = []
        if found:
            transfer = found[-1]
        elif target.withhold(slot):
            transfer = f"{WITHHELD}{generation}:{slot}"
            if transfer in self._taken:
                target.give(run)
                return EntryRefused.ABSENT
            records.append(Taken(self._next_seq(), pot, run, transfer))
            self._taken[transfer] = records[0]  # type: ignore[assignment] # just made
        else:
            return EntryRefused.ABSENT
        given = Given(self._next_seq(), pot, run, transfer)
        self._given[transfer] = given
        grant = Granted(self._next_seq(), pot, slot, (user,), at_us)
        target.grants[user] = Claimed(slot, at_us, True)
        target.granted_runs.append(Slots(slot, 1))
        return [*records, given, grant]

    def open(self, pots: Sequence[PotTerms]) -> list[Opened]:
        """Open those that are not open yet, all or none; return their records."""
        wanted: dict[str, Slots] = {}
        for terms in pots:
            pot, slots = terms.pot, terms.slots
            _check_slots((slots,))
            known = self._pots.get(pot)
            opened_with = wanted.get(pot) if known is None else known.opened_with
            if opened_with is None:
                wanted[pot] = slots
            elif opened_with != slots:
                raise StoreConflict(f"pot {pot!r} was opened with {opened_with}, it cannot be opened with {slots}")
        for pot, slots in wanted.items():
            self._pots[pot] = Pot(slots)
        return [Opened(self._next_seq(), pot, slots) for pot, slots in wanted.items()]

    def claim(self, claims: Sequence[Claim], at_us: int) -> tuple[list[ClaimResult], list[Granted]]:
        """Decide on each claim in order; return the answers and a record per pot and run of consecutive slots."""
        if not 0 <= at_us <= INTEGER_MAX:
            raise ValueError(f"at_us must be 0 to {INTEGER_MAX}, not {at_us}")
        names = set(map(_pot_of, claims))
        if len(names) > 1:
            return self._claim_from_several(claims, at_us)
        results: list[ClaimResult] = []
        records: list[Granted] = []
        for pot in names:
            results, runs = self._pot(pot).claim(list(map(_user_of, claims)), at_us)
            records = [Granted(self._next_seq(), pot, first, tuple(winners), at_us) for first, winners in runs]
        return results, records

    def _claim_from_several(self, claims: Sequence[Claim], at_us: int) -> tuple[list[ClaimResult], list[Granted]]:
        places: dict[str, list[int]] = {}
        for place, claim in enumerate(claims):
            places.setdefault(claim.pot, []).append(place)
        targets = {name: self._pot(name) for name in places}  # before anything is granted
        results: list[ClaimResult] = [EMPTY] * len(claims)
        records = []
        for name, target in targets.items():
            found, runs = target.claim([claims[place].user for place in places[name]], at_us)
            for place, result in zip(places[name], found, strict=True):
                results[place] = result
            records += [Granted(self._next_seq(), name, first, tuple(winners), at_us) for first, winners in runs]
        return results, records

    def take(self, pot: str, count: int, transfer: str) -> tuple[tuple[Slots, ...], Taken | None]:
        """Return the slots of this transfer and, if it is new, its record."""
        if count < 0:
            raise ValueError(f"cannot take {count} slots")
        source = self._pot(pot)
        known = self._taken.get(transfer)
        if known is None:
            record = Taken(self._next_seq(), pot, source.take(count), transfer)
            self._taken[transfer] = record
            return record.slots, record
        if known.pot != pot:
            raise StoreConflict(f"transfer {transfer!r} took from pot {known.pot!r}, it cannot take from {pot!r}")
        return known.slots, None

    def give(self, pot: str, slots: tuple[Slots, ...], transfer: str) -> Given | None:
        _check_slots(slots)
        target = self._pot(pot)
        known = self._given.get(transfer)
        if known is not None:
            if (known.pot, known.slots) != (pot, slots):
                raise StoreConflict(
                    f"transfer {transfer!r} gave {known.slots} to pot {known.pot!r}, it cannot give {slots} to {pot!r}"
                )
            return None
        overlap = target.overlap(slots)
        if overlap is not None:
            raise StoreConflict(f"pot {pot!r} already has slots of {overlap}, transfer {transfer!r} cannot give them")
        target.give(slots)
        record = Given(self._next_seq(), pot, slots, transfer)
        self._given[transfer] = record
        return record

    def transfers(self) -> Transfers:
        return Transfers(
            taken={transfer: Transfer(record.pot, record.slots) for transfer, record in self._taken.items()},
            given={transfer: Transfer(record.pot, record.slots) for transfer, record in self._given.items()},
        )

    def find(self, pot: str, user: str) -> Claimed | None:
        known = self._pots.get(pot)
        return None if known is None else known.grants.get(user)

    def known(self, pot: str) -> Mapping[str, Claimed]:
        """Return the pot's grants by user, live. Raises KeyError for a pot that was never opened."""
        return self._pot(pot).grants

    def state(self, pot: str) -> PotState:
        known = self._pot(pot)
        return PotState(left=known.left(), claimed_ever=len(known.grants))

    def restore(self, record: LogRecord) -> None:
        """Apply a record that was made durable in an earlier life. Raises StoreCorrupt where it contradicts others."""
        if record.seq <= self.seq:
            raise StoreCorrupt(record.seq, f"follows record {self.seq}")
        if isinstance(record, Granted):
            self._restore_grants(record)
            self._coming_back = None
            self.seq = record.seq
            return
        self.seq = record.seq - 1
        try:
            self._restore_move(record)
        except (KeyError, ValueError, StoreConflict) as contradiction:
            raise StoreCorrupt(record.seq, str(contradiction.args[0])) from None

    def _restore_grants(self, record: Granted) -> None:
        pot = self._pots.get(record.pot)
        if pot is None:
            raise StoreCorrupt(record.seq, f"grants from pot {record.pot!r}, which was not opened before")
        first, count = record.first_slot, len(record.users)
        head = pot.unclaimed[0] if pot.unclaimed else Slots(first, 0)
        comes_back = self._coming_back == (record.pot, Slots(first, count))
        if comes_back:
            head = Slots(first, count)
        if not count or head.first != first or head.count < count:
            raise StoreCorrupt(record.seq, _slot_contradiction(pot, record))
        grants = pot.grants
        known = len(grants)
        claims = map(Claimed, range(first, first + count), repeat(record.at_us), repeat(True))
        grants.update(zip(record.users, claims, strict=True))
        if len(grants) != known + count:
            raise StoreCorrupt(record.seq, f"grants a second slot of pot {record.pot!r} to one user")
        if comes_back:
            pot.grant_last()
        else:
            pot.advance(count)

    def _restore_move(self, record: Opened | Taken | Given) -> None:
        repeated: object
        self._coming_back = None
        if isinstance(record, Taken) and record.transfer.startswith(WITHHELD):
            self._restore_withheld(record)
            return
        if isinstance(record, Given) and record.transfer.startswith(WITHHELD) and len(record.slots) == 1:
            self._coming_back = (record.pot, record.slots[0])
        if isinstance(record, Opened):
            repeated = not self.open((PotTerms(record.pot, record.slots),))
        elif isinstance(record, Given):
            repeated = self.give(record.pot, record.slots, record.transfer) is None
        else:
            wanted = sum(run.count for run in record.slots)
            slots, new = self.take(record.pot, wanted, record.transfer)
            repeated = new is None
            if slots != record.slots:
                raise StoreConflict(f"takes {record.slots} from pot {record.pot!r}, whose last slots are {slots}")
        if repeated:
            raise StoreConflict(f"repeats an earlier record of pot {record.pot!r}")

    def _restore_withheld(self, record: Taken) -> None:
        if record.transfer in self._taken or len(record.slots) != 1 or record.slots[0].count != 1:
            raise StoreConflict("withholds a slot a second time, or several at once")
        if not self._pot(record.pot).withhold(record.slots[0].first):
            raise StoreConflict(f"withholds slot {record.slots[0].first}, which pot {record.pot!r} does not have")
        self._taken[record.transfer] = record
        self.seq = record.seq

    def _next_seq(self) -> int:
        self.seq += 1
        return self.seq

    def _pot(self, pot: str) -> Pot:
        try:
            return self._pots[pot]
        except KeyError:
            raise KeyError(f"pot {pot!r} was never opened") from None


def _check_slots(slots: tuple[Slots, ...]) -> None:
    for run in slots:
        if run.first < 0 or run.count < 0 or run.end > INTEGER_MAX:
            raise ValueError(f"{run} is not a run of slots")


def _slot_contradiction(pot: Pot, record: Granted) -> str:
    """Say what is wrong with a grant whose slots are not the next ones of its pot."""
    if not record.users:
        return "grants to nobody"
    granted = Slots(record.first_slot, len(record.users))
    for run in pot.granted_runs:
        if granted.first < run.end and run.first < granted.end:
            return f"grants slot {max(run.first, granted.first)} of pot {record.pot!r} a second time"
    held = any(run.first <= granted.first and granted.end <= run.end for run in pot.unclaimed)
    if not held:
        return f"grants slots {granted.first} to {granted.end - 1}, which are not all in pot {record.pot!r}"
    return f"grants slot {granted.first} of pot {record.pot!r} before {pot.unclaimed[0].first}"
