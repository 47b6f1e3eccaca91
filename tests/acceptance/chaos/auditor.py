"""The auditor of many sets: makes one set of books of all their logs, which the auditor of `tests/acceptance/crash`
then holds against clients, export and records. It shares no code with redrush either.

The logs of the sets have no common order, so each is read by itself; what moves between them must meet in the end: what
was given under an id is what was taken under it, once.
"""

from collections import defaultdict
from collections.abc import Mapping

from tests.acceptance.chaos.evidence import SetEvidence
from tests.acceptance.crash.auditor import PROBLEMS_MAX, RETURNED, Books, conservation, slots_of
from tests.acceptance.crash.evidence import LogRow, Seal


def keep_books(seal: Seal, sets: Mapping[str, SetEvidence]) -> tuple[Books, list[str]]:
    """Return what the logs of all sets add up to, and what is wrong with them."""
    keeper = _Keeper(seal)
    for set_id, found in sets.items():
        keeper.problems += [f"set {set_id}: {problem}" for problem in found.problems]
        keeper.read(set_id, found)
    keeper.meet()
    books = keeper.books
    books.last_seq = sum(found.last_seq for found in sets.values())
    return books, (keeper.problems + conservation(books, seal))[:PROBLEMS_MAX]


class _Keeper:
    def __init__(self, seal: Seal) -> None:
        self.books = Books()
        self.problems: list[str] = []
        self._seal = seal
        self._opened: dict[str, set[int]] = defaultdict(set)
        self._taken: dict[str, set[int]] = {}
        self._given: dict[str, set[int]] = {}

    def read(self, set_id: str, found: SetEvidence) -> None:
        """Read one set's log from its first row, and hold what the set says of its pots against it."""
        free: dict[str, set[int]] = {}
        granted: dict[str, dict[str, tuple[int, int]]] = {}
        for row in found.log:
            at = f"set {set_id}, row {row.seq}"
            match row.kind:
                case "opened":
                    self._open(at, free, row)
                    granted[row.pot] = {}
                case "granted":
                    self._grant(at, free, row)
                    run = range(row.first_slot, row.first_slot + row.count)
                    granted[row.pot].update(
                        (user, (slot, row.at_us)) for slot, user in zip(run, row.users, strict=False)
                    )
                case "taken":
                    self._take(at, free, row)
                case "given":
                    self._give(at, free, row)
                case other:
                    self.problems.append(f"{at} is of the unknown kind {other}")
        for pot, slots in free.items():
            self.books.free.setdefault(pot, set()).update(slots)
            if found.holders[pot] != granted[pot]:
                self.problems.append(f"set {set_id}: the holders in {pot} are not those of its log")
            if found.counts[pot] != (len(slots), len(granted[pot])):
                counts = len(slots), len(granted[pot])
                self.problems.append(f"set {set_id}: {pot} says left, claimed {found.counts[pot]}, its log {counts}")

    def meet(self) -> None:
        """Hold what was given in one set against what was taken in another; and the shares against the rounds."""
        for transfer, slots in self._given.items():
            if self._taken.get(transfer) != slots:
                self.problems.append(f"transfer {transfer} gave other slots than it took")
        self.books.in_transit = {
            transfer: slots for transfer, slots in self._taken.items() if slots and transfer not in self._given
        }
        self.books.moved = {("taken", transfer) for transfer in self._taken}
        self.books.moved |= {("given", transfer) for transfer in self._given}
        for pot, slots in self._opened.items():
            round_ = self._seal.rounds.get(pot)
            if slots != (set() if round_ is None else set(range(round_.first, round_.first + round_.count))):
                self.problems.append(f"the sets opened {pot} with other slots than the campaign says")

    def _open(self, at: str, free: dict[str, set[int]], row: LogRow) -> None:
        share = set(range(row.first_slot, row.first_slot + row.count))
        if row.pot in free:
            self.problems.append(f"{at}: {row.pot} is opened twice")
        if share & self._opened[row.pot]:
            self.problems.append(f"{at}: {row.pot} is opened with slots of another set's share")
        if row.pot not in self._seal.rounds and row.pot != RETURNED:
            self.problems.append(f"{at} opens {row.pot}, which is no round")
        self._opened[row.pot] |= share
        free[row.pot] = share

    def _grant(self, at: str, free: dict[str, set[int]], row: LogRow) -> None:
        round_ = self._seal.rounds.get(row.pot)
        if round_ is None or row.pot not in free:
            self.problems.append(f"{at} grants from {row.pot}, which is no round, or not open")
            return
        if not round_.opens_us <= row.at_us < round_.closes_us:
            self.problems.append(f"{at} grants outside the hours of {row.pot}")
        if len(row.users) != row.count:
            self.problems.append(f"{at} grants {row.count} slots to {len(row.users)} users")
        books = self.books
        for slot, user in enumerate(row.users, row.first_slot):
            if slot in books.holders:
                self.problems.append(f"DOUBLE: {at}: slot {slot} is {books.holders[slot]}'s and now {user}'s")
            elif slot not in free[row.pot]:
                self.problems.append(f"{at}: {row.pot} does not have slot {slot}")
            if (row.pot, user) in books.granted:
                self.problems.append(f"DOUBLE: {at}: {user} has slot {books.granted[row.pot, user][0]} of {row.pot}")
            free[row.pot].discard(slot)
            books.holders[slot] = user
            books.granted[row.pot, user] = (slot, row.at_us)

    def _take(self, at: str, free: dict[str, set[int]], row: LogRow) -> None:
        slots = slots_of(row)
        if row.transfer in self._taken:
            self.problems.append(f"{at}: {row.transfer} takes for the second time")
        if not slots <= free.get(row.pot, set()):
            self.problems.append(f"{at}: {row.transfer} takes slots that {row.pot} does not have")
        free.get(row.pot, set()).difference_update(slots)
        self._taken[row.transfer] = slots

    def _give(self, at: str, free: dict[str, set[int]], row: LogRow) -> None:
        slots = slots_of(row)
        if row.transfer in self._given:
            self.problems.append(f"{at}: {row.transfer} gives for the second time")
        if row.pot not in free:
            self.problems.append(f"{at}: {row.transfer} gives to {row.pot}, which was never opened")
        free.setdefault(row.pot, set()).update(slots)
        self._given[row.transfer] = slots
