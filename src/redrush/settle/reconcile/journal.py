"""The journal, replayed: where every slot is, who was granted what, and where all the money went.

`place[slot]` is one number that says where the slot is, so it cannot be in two places: 0 nowhere (its pot was never
opened), p in pot number p unclaimed, −p granted from it, `IN_TRANSIT` between two pots. Each record must find its
slots where the story so far has left them. Runs are compared whole; slot by slot only where a run does not fit.
"""

import json
import sqlite3
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from redrush.settle.reconcile.evidence import RoundTerms, Terms
from redrush.settle.reconcile.report import Problems

RETURNED: Final = "$returned"
NOWHERE: Final = 0
IN_TRANSIT: Final = 2**30

DECIDED_LATE_MAX_US: Final = 30_000_000
"""A claim accepted before the closing may be decided after it, for as long as the closer waits for such claims."""

Run = tuple[int, int]  # first slot, count


class ExpectedPosting(msgspec.Struct, frozen=True):
    """A posting that a record other than a grant must have led to."""

    seq: int
    id: str
    debit_account: str
    credit_account: str
    amount_minor: int


class Journal:
    """Everything the journal says about a campaign. `granted_by`, `user_of`, `at_us`, `seq_of` are by slot."""

    def __init__(self, terms: Terms, problems: Problems) -> None:
        slot_count = len(terms.amounts)
        self.terms = terms
        self.pots: list[str] = ["", *terms.rounds, RETURNED]  # by number
        self.place = array("i", [NOWHERE]) * slot_count
        self.granted_by = array("i", [NOWHERE]) * slot_count
        self.user_of: list[str | None] = [None] * slot_count
        self.at_us = array("q", [0]) * slot_count
        self.seq_of = array("q", [0]) * slot_count
        self.seqs = array("q")
        self.postings: list[ExpectedPosting] = []
        self.opened: set[int] = set()
        self.granted_minor: Counter[int] = Counter()
        self.grant_count: Counter[int] = Counter()
        self.received_minor: Counter[int] = Counter()
        self.passed_on_minor: Counter[int] = Counter()
        self._problems = problems
        self._numbers = {pot: number for number, pot in enumerate(self.pots) if number}
        self._users: defaultdict[int, set[str]] = defaultdict(set)
        self._taken: dict[str, list[Run]] = {}
        self._given: set[str] = set()

    def replay(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Take in rows (seq, kind, pot, first_slot, count, at_us, users, slots, transfer) in order of seq."""
        kinds: dict[str, Callable[[int, int, tuple[Any, ...]], None]] = {
            "opened": self._open,
            "granted": self._grant,
            "taken": self._take,
            "given": self._give,
        }
        for seq, kind, pot, *columns in rows:
            self.seqs.append(seq)
            number = self._numbers.get(pot)
            if kind not in kinds:
                self._problems.add(f"seq {seq}: kind {kind!r} is not known")
            elif number is None:
                self._problems.add(f"seq {seq}: pot {pot!r} is not in the campaign")
            else:
                try:
                    kinds[kind](seq, number, tuple(columns))
                except (ValueError, TypeError) as error:
                    self._problems.add(f"seq {seq}: the {kind} record cannot be read: {error}")

    def _open(self, seq: int, number: int, columns: tuple[Any, ...]) -> None:
        first_slot, count, *_ = columns
        pot = self.pots[number]
        if number in self.opened:
            self._problems.add(f"seq {seq}: pot {pot} is opened a second time")
            return
        self.opened.add(number)
        terms = self.terms.rounds.get(pot)
        agreed = (terms.first_slot, terms.slot_count) if terms else (0, 0)
        if (first_slot, count) != agreed:
            self._problems.add(f"seq {seq}: pot {pot} is opened with slots {(first_slot, count)}, agreed were {agreed}")
        worth = self._move(seq, [(first_slot, count)], NOWHERE, number, "opened")
        if terms:
            self.postings.append(ExpectedPosting(seq, f"fund:{pot}", "sponsor", f"round:{pot}", worth))

    def _grant(self, seq: int, number: int, columns: tuple[Any, ...]) -> None:
        first_slot, count, at_us, users_json, *_ = columns
        users = json.loads(users_json)
        pot = self.pots[number]
        if not isinstance(at_us, int) or not isinstance(first_slot, int):
            raise TypeError("slot and instant must be numbers")
        if not isinstance(users, list) or not all(isinstance(user, str) for user in users) or len(users) != count:
            raise TypeError(f"{count} users are announced, the list says otherwise")
        self._check_instant(seq, self.terms.rounds.get(pot), at_us)
        self._check_users(seq, number, users)
        self.granted_minor[number] += self._move(seq, [(first_slot, count)], number, -number, "granted")
        self.grant_count[number] += count
        if first_slot >= 0 and first_slot + count <= len(self.place):
            end = first_slot + count
            self.granted_by[first_slot:end] = array("i", [number]) * count
            self.user_of[first_slot:end] = users
            self.at_us[first_slot:end] = array("q", [at_us]) * count
            self.seq_of[first_slot:end] = array("q", [seq]) * count

    def _check_instant(self, seq: int, terms: RoundTerms | None, at_us: int) -> None:
        if terms is None:
            self._problems.add(f"seq {seq}: slots that were returned to the sponsor are granted")
        elif at_us < terms.opens_us:
            self._problems.add(f"seq {seq}: granted {terms.opens_us - at_us} us before round {terms.id} opens")
        elif at_us > terms.closes_us + DECIDED_LATE_MAX_US:
            self._problems.add(f"seq {seq}: granted {at_us - terms.closes_us} us after round {terms.id} closed")

    def _check_users(self, seq: int, number: int, users: list[str]) -> None:
        known = self._users[number]
        repeated = known.intersection(users)
        if len(set(users)) != len(users):
            repeated |= {user for user, times in Counter(users).items() if times > 1}
        for user in sorted(repeated):
            self._problems.add(f"seq {seq}: user {user} is granted more than once in round {self.pots[number]}")
        known.update(users)

    def _take(self, seq: int, number: int, columns: tuple[Any, ...]) -> None:
        runs, transfer = _runs(columns), columns[5]
        if transfer in self._taken:
            self._problems.add(f"seq {seq}: transfer {transfer} takes a second time")
            return
        self._taken[transfer] = runs
        worth = self._move(seq, runs, number, IN_TRANSIT, "taken")
        self.passed_on_minor[number] += worth
        self._expect(seq, f"take:{transfer}", self._account(number), "transit", worth)

    def _give(self, seq: int, number: int, columns: tuple[Any, ...]) -> None:
        runs, transfer = _runs(columns), columns[5]
        if transfer in self._given:
            self._problems.add(f"seq {seq}: transfer {transfer} gives a second time")
            return
        self._given.add(transfer)
        if self._taken.get(transfer) != runs:
            self._problems.add(f"seq {seq}: transfer {transfer} gives other slots than it took")
        worth = self._move(seq, runs, IN_TRANSIT, number, "given")
        self.received_minor[number] += worth
        self._expect(seq, f"give:{transfer}", "transit", self._account(number), worth)

    def _expect(self, seq: int, posting: str, debit_account: str, credit_account: str, worth: int) -> None:
        if worth:
            self.postings.append(ExpectedPosting(seq, posting, debit_account, credit_account, worth))

    def _account(self, number: int) -> str:
        pot = self.pots[number]
        return "sponsor" if pot == RETURNED else f"round:{pot}"

    def _move(self, seq: int, runs: list[Run], source: int, target: int, verb: str) -> int:
        """Move slots that must all be at `source`; return what they are worth, whatever was wrong with them."""
        worth = 0
        for first_slot, count in runs:
            end = first_slot + count
            if first_slot < 0 or count < 0 or end > len(self.place):
                self._problems.add(f"seq {seq}: slots {first_slot} to {end - 1} are {verb}, which do not exist")
                continue
            if self.place[first_slot:end] != array("i", [source]) * count:
                for slot in range(first_slot, end):
                    if self.place[slot] != source:
                        where = self._describe(self.place[slot])
                        self._problems.add(f"seq {seq}: slot {slot} is {verb}, but it is {where}")
            self.place[first_slot:end] = array("i", [target]) * count
            worth += sum(self.terms.amounts[first_slot:end])
        return worth

    def _describe(self, place: int) -> str:
        if place == NOWHERE:
            return "in no pot"
        if place == IN_TRANSIT:
            return "in transit between pots"
        return f"unclaimed in pot {self.pots[place]}" if place > 0 else f"already granted in round {self.pots[-place]}"


def replay(connection: sqlite3.Connection, query: str, terms: Terms, problems: Problems) -> Journal:
    """Return what the journal says, with everything wrong in it told to `problems`."""
    journal = Journal(terms, problems)
    journal.replay(connection.execute(query))
    return journal


def _runs(columns: tuple[Any, ...]) -> list[Run]:
    runs = [(first, count) for first, count in json.loads(columns[4])]
    if not all(isinstance(number, int) for run in runs for number in run):
        raise TypeError("slots must be pairs of numbers")
    return runs
