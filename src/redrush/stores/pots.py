"""The truth of a store in memory: all its pots (`redrush.stores.pot`), and transfers.

Every store that decides inside the process (memory, SQLite) decides here, so the claim rules exist once. Methods that
change something return the log records to keep; making them durable before anyone sees it is the caller's part.
`restore` applies such a record again after a restart and checks it against all before.

A pot that nobody has asked for yet is kept as its terms alone: most of a million small ones are asleep.

Long, because every rule of a claim, and its inverse after a restart, is here and nowhere else.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from enum import Enum
from itertools import chain, islice, repeat
from typing import Final, cast

from redrush.core.rush.campaign import REST_PREFIX, Slots
from redrush.ports.noted_pots import NotedPot, Watched
from redrush.ports.pot_terms import are_alike, check_terms, note_of, said_of
from redrush.ports.store import (
    EMPTY,
    Claim,
    Claimed,
    ClaimResult,
    Confirmed,
    Given,
    Grant,
    Granted,
    HoldState,
    LogRecord,
    Offered,
    Opened,
    PotState,
    PotTerms,
    Released,
    Scattered,
    StoreConflict,
    StoreCorrupt,
    Taken,
    Transfer,
    Transfers,
    claims_of,
)
from redrush.stores.pot import Holders, Pot

INTEGER_MAX: Final = 2**63 - 1
"""Slots and instants end here: what 64 signed bits of SQLite, Lua-side streams and the amounts table can hold."""


SCATTERED_MIN: Final = 8
"""Single grants of one batch that become one record instead of one each: with a thousand small pots the records would
cost more than the claims."""

RUN_USERS_MIN: Final = 4
"""With so many claims on each pot of a batch, or more, runs are looked for."""

WITHHELD: Final = "withheld:"
"""Transfers that begin so take single slots out of a pot, wherever they are, because somebody may hold them already: a
journal that was made anew lacks the last grants. The slot comes back with the grant that is entered again, or never."""


class EntryRefused(Enum):
    """Why a grant cannot be entered again, in words."""

    HELD = "the user has another grant of the round"
    ABSENT = "its slot was granted to somebody else since, or has left the round"


class Pots:
    """All pots of a store. `seq` is the number of the last record returned or restored; the next gets `seq` + 1."""

    def __init__(self) -> None:
        self.seq = 0
        self._pots: dict[str, Pot | PotTerms] = {}
        self._taken: dict[str, Taken] = {}
        self._rests: dict[str, Taken] = {}
        """What left a pot and joins no other: of each small pot that has ended, and of no interest to anybody again."""
        self._given: dict[str, Given] = {}
        self._coming_back: tuple[str, Slots] | None = None
        """The withheld slot that the last record gave back: the next one may grant it, though others come first."""

    def granted(self) -> dict[str, int]:
        """Return how many slots of each pot are somebody's."""
        return {name: pot.granted() if isinstance(pot, Pot) else 0 for name, pot in self._pots.items()}

    def next_slots(self, pot: str, count: int) -> list[int]:
        """Return the `count` slots that the pot would grant next, or all it has. KeyError for an unknown pot."""
        runs: Iterable[range] = (range(run.first, run.end) for run in self._pot(pot).queue())
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
        if target.find(user, "") is not None:
            return EntryRefused.HELD
        run = (Slots(slot, 1),)
        ids = (f"{WITHHELD}{earlier}:{slot}" for earlier in range(1, generation + 1))
        found = [i for i in ids if i in self._taken and self._taken[i].pot == pot and i not in self._given]
        records: list[LogRecord] = []
        if found:
            transfer = found[-1]
        elif target.withhold(slot):
            transfer = f"{WITHHELD}{generation}:{slot}"
            if transfer in self._taken:  # kept back once, and released since: it is granted now, and so for good
                transfer += ":again"
            records.append(Taken(self._next_seq(), pot, run, transfer))
            self._taken[transfer] = records[0]  # type: ignore[assignment] # just made
        else:
            return EntryRefused.ABSENT
        given = Given(self._next_seq(), pot, run, transfer)
        self._given[transfer] = given
        grant = Granted(self._next_seq(), pot, slot, (user,), at_us)
        target.give(run)
        target.draw(slot)
        target.keep(Grant(pot, user, slot), at_us)
        return [*records, given, grant]

    def open(self, pots: Sequence[PotTerms]) -> list[LogRecord]:
        """Open those that are not open yet, all or none; return their records."""
        wanted: dict[str, PotTerms] = {}
        for terms in pots:
            check_terms(terms, INTEGER_MAX)
            known = self._pots.get(terms.pot) or wanted.setdefault(terms.pot, terms)
            if known is terms:
                continue
            opened_with = known.terms if isinstance(known, Pot) else known
            if not are_alike(opened_with, terms):
                raise StoreConflict(f"pot {terms.pot!r} was opened with {said_of(opened_with)}, not {said_of(terms)}")
        self._pots.update(wanted)
        return [
            Opened(self._next_seq(), terms.pot, terms.slots, terms.limit_per_user, terms.hold_us, note_of(terms))
            for terms in wanted.values()
        ]

    def claim(self, claims: Sequence[Claim], at_us: int) -> tuple[list[ClaimResult], list[LogRecord]]:
        """Decide on each claim in order; return the answers, and the records of the new grants.

        A run of consecutive slots of a pot is a record of its own, many short ones together are one.
        """
        users = users_of_one_pot(claims)
        if users is None:
            return self.claim_each(claims, at_us)
        return self.claim_for(claims[0].pot, users, at_us)

    def claim_for(self, pot: str, users: list[str], at_us: int) -> tuple[list[ClaimResult], list[LogRecord]]:
        """The same for claims without requests on one pot."""
        _check_instant(at_us)
        target = self._pot(pot)
        if target.special is not None:
            return self.claim_each(claims_of(pot, users), at_us)
        results, runs = target.claim(users, at_us)
        name = target.terms.pot
        return results, [Granted(self._next_seq(), name, first, tuple(winners), at_us) for first, winners in runs]

    def claim_each(self, claims: Sequence[Claim], at_us: int) -> tuple[list[ClaimResult], list[LogRecord]]:
        """The same for claims that are not all on one pot, or that have requests."""
        _check_instant(at_us)
        targets = self._targets(claims)  # before anything is granted
        if len(set(targets)) * RUN_USERS_MIN <= len(claims):
            return self._claim_in_runs(claims, targets, at_us)
        new: list[Grant] = []
        results = [target.claim_one(claim, at_us, new) for target, claim in zip(targets, claims, strict=True)]
        return results, self._records_of(new, at_us)

    def _targets(self, claims: Sequence[Claim]) -> list[Pot]:
        """Return the pot of each claim; wake those that are asleep. KeyError for one that was never opened."""
        pots = self._pots
        targets = [pots.get(claim.pot) for claim in claims]
        if {*map(type, targets)} <= {Pot}:
            return cast("list[Pot]", targets)
        return [self._pot(claim.pot) for claim in claims]

    def _claim_in_runs(
        self, claims: Sequence[Claim], targets: Sequence[Pot], at_us: int
    ) -> tuple[list[ClaimResult], list[LogRecord]]:
        """Decide pot by pot: so many claims are on each that their slots make runs."""
        places: dict[str, list[int]] = {}
        for place, claim in enumerate(claims):
            places.setdefault(claim.pot, []).append(place)
        results: list[ClaimResult] = [EMPTY] * len(claims)
        records: list[LogRecord] = []
        singles: list[Grant] = []
        for name, at in places.items():
            target = targets[at[0]]
            if target.special is not None or any(claims[place].request for place in at):
                for place in at:
                    results[place] = target.claim_one(claims[place], at_us, singles)
                continue
            found, runs = target.claim([claims[place].user for place in at], at_us)
            for place, result in zip(at, found, strict=True):
                results[place] = result
            records += [Granted(self._next_seq(), name, first, tuple(users), at_us) for first, users in runs]
        return results, records + self._records_of(singles, at_us)

    def _records_of(self, new: list[Grant], at_us: int) -> list[LogRecord]:
        """Return one record of single grants, or, where each is all that a record of runs can say, one for each."""
        if len(new) < SCATTERED_MIN and not any(grant.request or grant.number for grant in new):
            return [Granted(self._next_seq(), grant.pot, grant.slot, (grant.user,), at_us) for grant in new]
        return [Scattered(self._next_seq(), tuple(new), at_us)] if new else []

    def confirm(self, holds: Sequence[Grant], at_us: int) -> tuple[list[HoldState], list[LogRecord]]:
        """Make the holds permanent that are still some; return what each is now, and the record."""
        states, changed = self._end_holds(holds, at_us, HoldState.CONFIRMED)
        return states, [Confirmed(self._next_seq(), changed, at_us)] if changed else []

    def release(self, holds: Sequence[Grant], at_us: int) -> tuple[list[HoldState], list[LogRecord]]:
        """End the holds that are still some; return what each is now, and the record."""
        states, changed = self._end_holds(holds, at_us, HoldState.RELEASED)
        return states, [Released(self._next_seq(), changed, at_us)] if changed else []

    def _end_holds(
        self, holds: Sequence[Grant], at_us: int, end: HoldState
    ) -> tuple[list[HoldState], tuple[Grant, ...]]:
        _check_instant(at_us)
        targets = [self._pot(hold.pot) for hold in holds]
        states: list[HoldState] = []
        changed: list[Grant] = []
        for hold, target in zip(holds, targets, strict=True):
            state = target.state_of(hold)
            if state is None:
                (target.confirm if end is HoldState.CONFIRMED else target.release)(hold)
                changed.append(Grant(hold.pot, hold.user, hold.slot, hold.request, hold.number))
                state = end
            states.append(state)
        return states, tuple(changed)

    def offer(self, pots: Sequence[str]) -> tuple[int, list[LogRecord]]:
        """Let slots that wait be claimed again; return how many, and a record for each pot that has some."""
        targets = {pot: self._pot(pot) for pot in pots}
        offered = [(pot, target.offer()) for pot, target in targets.items()]
        count = sum(run.count for _, runs in offered for run in runs)
        return count, [Offered(self._next_seq(), pot, runs) for pot, runs in offered if runs]

    def take(self, pot: str, count: int, transfer: str) -> tuple[tuple[Slots, ...], Taken | None]:
        """Return the slots of this transfer and, if it is new, its record."""
        if count < 0:
            raise ValueError(f"cannot take {count} slots")
        source = self._pot(pot)
        of_its_kind = self._rests if transfer.startswith(REST_PREFIX) else self._taken
        known = of_its_kind.get(transfer)
        if known is None:
            record = Taken(self._next_seq(), pot, source.take(count), transfer)
            of_its_kind[transfer] = record
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

    def find(self, pot: str, user: str, request: str) -> Claimed | None:
        known = self._pots.get(pot)
        return known.find(user, request) if isinstance(known, Pot) else None

    def known(self, pot: str) -> Mapping[str, Claimed]:
        """Return the pot's grants by user, live. Raises KeyError for a pot that was never opened."""
        return self._pot(pot).grants

    def watch(self, pot: str) -> Watched:
        """Return the pot for whoever wants to know of it. Raises KeyError for one that was never opened."""
        watched = self._pot(pot)
        return Watched(watched.terms.pot, watched.grants)

    def holders(self, pot: str) -> Container[str]:
        """Return who has any grant of the pot, live. Raises KeyError for a pot that was never opened."""
        return Holders(self._pot(pot))

    def state(self, pot: str) -> PotState:
        return self._pot(pot).state()

    def noted(self, pots: Sequence[str]) -> tuple[list[NotedPot | None], bool]:
        """Return the note and the counts of each pot, None for one that was never opened, and whether all of these are
        asleep: nothing was ever decided of them but that they are open. They sleep on."""
        noted: list[NotedPot | None] = []
        asleep = True
        for name in pots:
            pot = self._pots.get(name)
            if pot is None:
                noted.append(None)
            elif isinstance(pot, Pot):
                asleep = False
                noted.append(NotedPot(note_of(pot.terms), pot.state()))
            else:
                noted.append(NotedPot(note_of(pot), PotState(pot.slots.count, 0)))
        return noted, asleep

    def restore(self, record: LogRecord) -> None:
        """Apply a record that was made durable in an earlier life. Raises StoreCorrupt where it contradicts others."""
        if record.seq <= self.seq:
            raise StoreCorrupt(record.seq, f"follows record {self.seq}")
        try:
            if isinstance(record, Granted):
                self._restore_run(record)
                self._coming_back = None
            else:
                self.seq = record.seq - 1
                self._restore_other(record)
        except (KeyError, ValueError, StoreConflict) as contradiction:
            raise StoreCorrupt(record.seq, str(contradiction.args[0])) from None
        self.seq = record.seq

    def _restore_run(self, record: Granted) -> None:
        if record.pot not in self._pots:
            raise StoreConflict(f"grants from pot {record.pot!r}, which was not opened before")
        pot = self._pot(record.pot)
        run = Slots(record.first_slot, len(record.users))
        if not run.count:
            raise StoreConflict("grants to nobody")
        head = next(pot.queue(), Slots(run.first, 0))
        is_next = head.first == run.first and head.count >= run.count
        if not is_next and self._coming_back != (record.pot, run):
            raise StoreConflict(_slot_contradiction(pot, run))
        pot.draw(run.first, run.count)
        if pot.special is not None:
            for slot, user in enumerate(record.users, run.first):
                _check_is_new(pot, Grant(record.pot, user, slot))
                pot.keep(Grant(record.pot, user, slot), record.at_us)
            return
        grants = pot.grants
        known = len(grants)
        claims = map(Claimed, range(run.first, run.end), repeat(record.at_us), repeat(True))
        grants.update(zip(record.users, claims, strict=True))
        if len(grants) != known + run.count:
            raise StoreConflict(f"grants a second slot of pot {record.pot!r} to one user")

    def _restore_scattered(self, record: Scattered) -> None:
        for grant in record.grants:
            pot = self._pot(grant.pot)
            head = next(pot.queue(), None)
            if head is None or head.first != grant.slot:
                raise StoreConflict(_slot_contradiction(pot, Slots(grant.slot, 1)))
            _check_is_new(pot, grant)
            pot.draw(grant.slot)
            pot.keep(grant, record.at_us)
        if not record.grants:
            raise StoreConflict("grants to nobody")

    def _restore_other(self, record: Opened | Scattered | Confirmed | Released | Offered | Taken | Given) -> None:
        self._coming_back = None
        if isinstance(record, Scattered):
            self._restore_scattered(record)
        elif isinstance(record, Confirmed | Released):
            self._restore_ends(record)
        elif isinstance(record, Offered):
            if self._pot(record.pot).offer() != record.slots:
                raise StoreConflict(f"offers {record.slots} in pot {record.pot!r}, where other slots wait")
        else:
            self._restore_move(record)

    def _restore_ends(self, record: Confirmed | Released) -> None:
        end = HoldState.CONFIRMED if isinstance(record, Confirmed) else HoldState.RELEASED
        _, changed = self._end_holds(record.holds, record.at_us, end)
        if not changed or changed != record.holds:
            raise StoreConflict(f"says that holds are {end.value} which are not held any more")

    def _restore_move(self, record: Opened | Taken | Given) -> None:
        repeated: object
        if isinstance(record, Taken) and record.transfer.startswith(WITHHELD):
            self._restore_withheld(record)
            return
        if isinstance(record, Given) and record.transfer.startswith(WITHHELD) and len(record.slots) == 1:
            self._coming_back = (record.pot, record.slots[0])
        if isinstance(record, Opened):
            repeated = not self.open((record.terms,))
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
        known = self._pots.get(pot)
        if isinstance(known, Pot):
            return known
        if known is None:
            raise KeyError(f"pot {pot!r} was never opened")
        awake = self._pots[pot] = Pot.awake(known)
        return awake


def users_of_one_pot(claims: Sequence[Claim]) -> list[str] | None:
    """Return the users, if all claims are on one pot and none has a request; else None."""
    if not claims:
        return None
    pot = claims[0].pot
    if claims[-1].pot != pot:  # so it is, mostly, where they ask for many: most of a batch need not be looked at
        return None
    # One pass, and a comprehension: this is on the way of every claim.
    users = [claim.user for claim in claims if claim.pot == pot and not claim.request]
    return users if len(users) == len(claims) else None


def _check_slots(slots: tuple[Slots, ...]) -> None:
    for run in slots:
        if run.first < 0 or run.count < 0 or run.end > INTEGER_MAX:
            raise ValueError(f"{run} is not a run of slots")


def _check_instant(at_us: int) -> None:
    if not 0 <= at_us <= INTEGER_MAX:
        raise ValueError(f"at_us must be 0 to {INTEGER_MAX}, not {at_us}")


def _check_is_new(pot: Pot, grant: Grant) -> None:
    """Raise StoreConflict for a grant that the pot would not make."""
    if pot.find(grant.user, grant.request) is not None:
        raise StoreConflict(f"grants a second slot of pot {grant.pot!r} to one user")
    special = pot.special
    if special is not None and grant.number and grant.number != special.claimed_ever + 1:
        raise StoreConflict(f"grants number {grant.number} of pot {grant.pot!r} after {special.claimed_ever}")


def _slot_contradiction(pot: Pot, granted: Slots) -> str:
    """Say what is wrong with a grant whose slots are not the next ones of its pot."""
    queue = list(pot.queue())
    if any(run.first <= granted.first and granted.end <= run.end for run in queue):
        return f"grants slot {granted.first} of pot {pot.terms.pot!r} before {queue[0].first}"
    waiting = [] if pot.special is None else [Slots(slot, 1) for slot in pot.special.waiting]
    for slot in range(granted.first, granted.end):
        is_free = any(run.first <= slot < run.end for run in [*queue, *waiting])
        if not is_free and any(run.first <= slot < run.end for run in pot.members()):
            return f"grants slot {slot} of pot {pot.terms.pot!r} a second time"
    return f"grants slots {granted.first} to {granted.end - 1}, which are not all in pot {pot.terms.pot!r}"
