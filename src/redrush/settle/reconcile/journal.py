"""The journal, replayed: where every slot is, who was granted what, and where all the money went.

`place[slot]` is one number that says where the slot is, so it cannot be in two places: 0 nowhere (its pot was never
opened), p in pot number p unclaimed, −p granted from it, `IN_TRANSIT` between two pots. Each record must find its
slots where the story so far has left them. Runs are compared whole; slot by slot only where a run does not fit.

Where a campaign is spread over sets there is a log for each, and a pot has a number for each set. All of them move the
same slots, so what one set has another cannot have.

A pot that is no round numbers its slots for itself; here they stand behind the campaign's, each at a place of its own.

Long, because each kind of record changes the same state of every slot, which no two modules should.
"""

import json
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from redrush.settle.reconcile.evidence import ADDED, REST, RoundTerms, Terms
from redrush.settle.reconcile.named import Held, Named, named_in
from redrush.settle.reconcile.report import Problems

RETURNED: Final = "$returned"
WHOLE: Final = ""
"""The set where there are no sets: one store has every pot whole."""
NOWHERE: Final = 0
IN_TRANSIT: Final = 2**30

DECIDED_LATE_MAX_US: Final = 30_000_000
"""A claim accepted before the closing may be decided after it, for as long as the closer waits for such claims."""

Run = tuple[int, int]  # first slot, count
Row = tuple[str, str, int, int] | tuple[str, str, int, int, str]
"""What the records must have of a granted slot: its pot, user, amount in minor units, and instant in µs; and what it
holds where that is no money."""


class ExpectedPosting(msgspec.Struct, frozen=True):
    """A posting that a record other than a grant must have led to; `recorded` if the records must hold it by now."""

    at: str
    set: str
    id: str
    debit_account: str
    credit_account: str
    amount_minor: int
    recorded: bool


class Pot(msgspec.Struct, frozen=True):
    """The part of a pot that one set has; the whole, where the set is `WHOLE`."""

    set: str
    pot: str

    def __str__(self) -> str:
        return f"{self.pot} of set {self.set}" if self.set else self.pot


class Log(msgspec.Struct, frozen=True):
    """What one store wrote: rows (seq, kind, pot, first_slot, count, at_us, users, slots, transfer) in order of seq.

    Those up to `cursor` must be in the records.
    """

    rows: Iterable[tuple[Any, ...]]
    cursor: int


class Heard(msgspec.Struct):
    """How far a log was read: its last seq, and how many records of it the ledger does not hold yet."""

    last_seq: int = 0
    behind: int = 0


class Journal:
    """Everything that the logs say about a campaign.

    `granted_by`, `user_of`, `at_us`, `seq_of`, `recorded` are by slot. Sums by pot name are of the whole pot, whatever
    set; those by number are of one set's part.
    """

    def __init__(self, terms: Terms, problems: Problems, sets: Iterable[str] = (WHOLE,)) -> None:
        slot_count = len(terms.amounts)
        self.terms = terms
        self.heard = {set_: Heard() for set_ in sets}
        self.pots = [
            Pot(WHOLE, ""),
            *(Pot(set_, pot) for set_ in self.heard for pot in (*terms.rounds, RETURNED, *terms.bases)),
        ]
        self.place = array("i", [NOWHERE]) * slot_count
        self.granted_by = array("i", [NOWHERE]) * slot_count
        self.user_of: list[str | None] = [None] * slot_count
        self.at_us = array("q", [0]) * slot_count
        self.seq_of = array("q", [0]) * slot_count
        self.recorded = bytearray(slot_count)
        self.postings: list[ExpectedPosting] = []
        self.opened: set[int] = set()
        self.granted_minor: Counter[int] = Counter()
        self.grant_count: Counter[int] = Counter()
        self.received_minor: Counter[str] = Counter()
        self.passed_on_minor: Counter[str] = Counter()
        self.rests: Counter[str] = Counter()
        """By pot that is no round, what of it went back to who paid."""
        self._problems = problems
        self._numbers = {pot: number for number, pot in enumerate(self.pots) if number}
        self._parts_of: dict[str, list[int]] = {}
        for pot, number in self._numbers.items():
            self._parts_of.setdefault(pot.pot, []).append(number)
        self._of_many: dict[str, Callable[[list[Named], int], None]] = {
            "scattered": self._scatter,
            "confirmed": self._confirm,
            "released": self._release,
        }
        self.released_later: dict[int, dict[int, Row]] = {}
        """By slot, and number of the pot's part: grants that the records still have, for their release is above the
        cursor. Another part may have granted the slot again by then."""
        self._users: defaultdict[str, set[str]] = defaultdict(set)
        self._limits: dict[str, int] = {}  # by pot, where a user may have several grants, or have them held
        self._live: Counter[tuple[str, str]] = Counter()  # by pot and user, in such pots
        self._requests: set[tuple[str, str, str]] = set()  # by pot, user and request, in such pots
        self._holds: dict[tuple[int, int, int], Held] = {}  # by number of the pot's part, slot, number
        self._waiting: set[int] = set()  # slots that were released and not offered since
        self._taken: dict[str, tuple[str, list[Run]]] = {}  # by transfer: from which pot, what
        self._given: set[str] = set()
        self._kinds: dict[str, Callable[[int, tuple[Any, ...]], None]] = {
            "opened": self._open,
            "granted": self._grant,
            "offered": self._offer,
            "taken": self._take,
            "given": self._give,
        }
        # Of the record under way:
        self._seq = 0
        self._set = WHOLE
        self._is_recorded = False

    def numbers_of(self, pot: str) -> list[int]:
        """Return the numbers of the pot's parts, one for each set."""
        return self._parts_of.get(pot, [])

    def hold(self, set_: str, pot: str, slot: int, number: int) -> Held | None:
        """Return who has, in the end, the hold of this number of a slot; None: it was released, or there was none."""
        part = self._numbers.get(Pot(set_, pot))
        return None if part is None else self._holds.get((part, self.terms.base(pot) + slot, number))

    def sold(self) -> Iterator[tuple[str, str, int, int, str]]:
        """Yield set, pot, slot, number and user of each hold that was made permanent."""
        for (part, place, number), held in self._holds.items():
            if held.confirmed:
                set_, pot = self.pots[part].set, self.pots[part].pot
                yield set_, pot, place - self.terms.base(pot), number, held.user

    def row_of(self, number: int, user: str, slot: int) -> Row:
        """Return what the records must have of this slot, granted to the user by this part of a pot."""
        row = (self.pots[number].pot, user, self.terms.amounts[slot], self.at_us[slot])
        return (*row, self.terms.holds[slot]) if slot in self.terms.holds else row

    def replay(self, logs: Mapping[str, Log]) -> None:
        """Take in the logs, each in its own order; before a give its take, which is in another set's log, maybe."""
        waiting = {set_: (iter(log.rows), log.cursor) for set_, log in logs.items()}
        heads = {set_: next(rows, None) for set_, (rows, _) in waiting.items()}
        forced = False
        while any(head is not None for head in heads.values()):
            moved = False
            for set_, (rows, cursor) in waiting.items():
                while (row := heads[set_]) is not None and (forced or not self._must_wait(row)):
                    self._take_in(set_, row, cursor)
                    heads[set_] = next(rows, None)
                    moved, forced = True, False
            forced = not moved  # all wait for what is in no log: the next is taken in all the same, and told of

    def _must_wait(self, row: tuple[Any, ...]) -> bool:
        return row[1] == "given" and row[8] not in self._taken and not row[8].startswith(ADDED)

    def _take_in(self, set_: str, row: tuple[Any, ...], cursor: int) -> None:
        self._seq, kind, pot, *columns = row
        self._set, self._is_recorded = set_, self._seq <= cursor
        heard = self.heard[set_]
        heard.last_seq = self._seq
        heard.behind += not self._is_recorded
        number = self._numbers.get(Pot(set_, pot))
        if kind in self._of_many:
            try:
                named = named_in(tuple(columns))
                if self.terms.bases:
                    named = [
                        msgspec.structs.replace(one, slot=self.terms.placed(one.pot, one.slot, 1)) for one in named
                    ]
                self._of_many[kind](named, int(columns[2]))
            except (ValueError, TypeError, KeyError) as error:
                self._problem(f"the {kind} record cannot be read: {error}")
        elif kind not in self._kinds:
            self._problem(f"kind {kind!r} is not known")
        elif number is None:
            self._problem(f"pot {pot!r} is not in the campaign")
        else:
            try:
                if pot in self.terms.bases:
                    columns = self._with_places(pot, columns)
                self._kinds[kind](number, tuple(columns))
            except (ValueError, TypeError) as error:
                self._problem(f"the {kind} record cannot be read: {error}")

    def _with_places(self, pot: str, columns: list[Any]) -> list[Any]:
        """Return the columns of a record about one pot that numbers its slots for itself, with places for slots."""
        first_slot, count, at_us, users, slots, transfer = columns
        if first_slot is not None:
            return [self.terms.placed(pot, first_slot, count), count, at_us, users, slots, transfer]
        runs = [[self.terms.placed(pot, *run), run[1]] for run in _runs(tuple(columns))]
        return [first_slot, count, at_us, users, json.dumps(runs), transfer]

    @property
    def _at(self) -> str:
        return f"set {self._set} seq {self._seq}" if self._set else f"seq {self._seq}"

    def _problem(self, sentence: str) -> None:
        self._problems.add(f"{self._at}: {sentence}")

    def _open(self, number: int, columns: tuple[Any, ...]) -> None:
        first_slot, count, *_ = columns
        part = self.pots[number]
        if columns[4] is not None:
            self._limits[part.pot] = int(json.loads(columns[4])[0])
        if number in self.opened:
            self._problem(f"pot {part} is opened a second time")
            return
        self.opened.add(number)
        terms = self.terms.rounds.get(part.pot)
        self._check_share(part, terms, (first_slot, count))
        worth = self._move([(first_slot, count)], NOWHERE, number, "opened")
        if terms or part.pot in self.terms.bases:
            share = f"/{part.set}" if part.set else ""
            self._expect(f"fund:{part.pot}{share}", "sponsor", f"round:{part.pot}", worth)

    def _check_share(self, part: Pot, terms: RoundTerms | None, run: Run) -> None:
        """Whether the pot was opened with what was agreed: the whole round, or the set's share of it."""
        agreed = (terms.first_slot, terms.slot_count) if terms else self.terms.bases.get(part.pot, (0, 0))
        if terms and part.set:
            first_slot, count = run
            if count and not (agreed[0] <= first_slot and first_slot + count <= sum(agreed)):
                self._problem(f"pot {part} is opened with slots {run}, which are not all of the round's, {agreed}")
        elif run != agreed:
            self._problem(f"pot {part} is opened with slots {run}, agreed were {agreed}")

    def _grant(self, number: int, columns: tuple[Any, ...]) -> None:
        first_slot, count, at_us, users_json, *_ = columns
        users = json.loads(users_json)
        pot = self.pots[number].pot
        if not isinstance(at_us, int) or not isinstance(first_slot, int):
            raise TypeError("slot and instant must be numbers")
        if not isinstance(users, list) or not all(isinstance(user, str) for user in users) or len(users) != count:
            raise TypeError(f"{count} users are announced, the list says otherwise")
        self._check_instant(pot, at_us)
        self._check_users(pot, users)
        self.granted_minor[number] += self._move([(first_slot, count)], number, -number, "granted")
        self.grant_count[number] += count
        if first_slot >= 0 and first_slot + count <= len(self.place):
            end = first_slot + count
            self.granted_by[first_slot:end] = array("i", [number]) * count
            self.user_of[first_slot:end] = users
            self.at_us[first_slot:end] = array("q", [at_us]) * count
            self.seq_of[first_slot:end] = array("q", [self._seq]) * count
            self.recorded[first_slot:end] = bytes([self._is_recorded]) * count

    def _check_instant(self, pot: str, at_us: int) -> None:
        terms = self.terms.rounds.get(pot)
        if terms is None and pot in self.terms.bases:
            return  # it has no opening but its own, which is a record
        if terms is None:
            self._problem("slots that were returned to the sponsor are granted")
        elif at_us < terms.opens_us:
            self._problem(f"granted {terms.opens_us - at_us} us before round {terms.id} opens")
        elif at_us > terms.closes_us + DECIDED_LATE_MAX_US:
            self._problem(f"granted {at_us - terms.closes_us} us after round {terms.id} closed")

    def _scatter(self, grants: list[Named], at_us: int) -> None:
        for grant in grants:
            number = self._numbers[Pot(self._set, grant.pot)]
            self._check_instant(grant.pot, at_us)
            if grant.pot in self._limits:
                self._check_limit(grant)
            else:
                self._check_users(grant.pot, [grant.user])
            if grant.slot in self._waiting:
                self._problem(f"slot {grant.slot} is granted, but was released and not offered again")
            worth = self._move([(grant.slot, 1)], number, -number, "granted")
            self.granted_minor[number] += worth
            self.grant_count[number] += 1
            self._note(number, grant, at_us)
            if grant.number:
                self._holds[number, grant.slot, grant.number] = Held(grant.user, grant.request, confirmed=False)
                self._expect_of(grant, "hold", f"round:{grant.pot}", f"held:{grant.pot}", worth)

    def _note(self, number: int, grant: Named, at_us: int) -> None:
        if 0 <= grant.slot < len(self.place):
            self.granted_by[grant.slot] = number
            self.user_of[grant.slot] = grant.user
            self.at_us[grant.slot] = at_us
            self.seq_of[grant.slot] = self._seq
            self.recorded[grant.slot] = self._is_recorded

    def _check_limit(self, grant: Named) -> None:
        """Whether the user has no more grants of the pot than its terms say, and each request one."""
        live, request = (grant.pot, grant.user), (grant.pot, grant.user, grant.request)
        self._live[live] += 1
        if self._live[live] > self._limits[grant.pot]:
            self._problem(f"user {grant.user} is granted more than {self._limits[grant.pot]} slots of {grant.pot}")
        if request in self._requests:
            self._problem(f"user {grant.user} is granted more than once in {grant.pot} for request {grant.request!r}")
        self._requests.add(request)

    def _confirm(self, holds: list[Named], _at_us: int) -> None:
        for hold in holds:
            number = self._numbers[Pot(self._set, hold.pot)]
            held = self._holds.get((number, hold.slot, hold.number))
            if held is None or held.confirmed or held.user != hold.user:
                self._problem(
                    f"hold {hold.number} of slot {hold.slot} is confirmed for {hold.user}, who has no such hold"
                )
                continue
            held.confirmed = True
            worth = self.terms.amounts[hold.slot]
            self._expect_of(hold, "confirm", f"held:{hold.pot}", f"user:{hold.user}", worth)

    def _release(self, holds: list[Named], _at_us: int) -> None:
        for hold in holds:
            number = self._numbers[Pot(self._set, hold.pot)]
            held = self._holds.pop((number, hold.slot, hold.number), None)
            if held is None or held.confirmed or held.user != hold.user:
                self._problem(
                    f"hold {hold.number} of slot {hold.slot} is released for {hold.user}, who has no such hold"
                )
                continue
            self._live[hold.pot, hold.user] -= 1
            self._requests.discard((hold.pot, hold.user, held.request))
            worth = self._move([(hold.slot, 1)], -number, number, "released")
            self.granted_minor[number] -= worth
            self.grant_count[number] -= 1
            self._waiting.add(hold.slot)
            if self.recorded[hold.slot] and not self._is_recorded:
                row = self.row_of(number, hold.user, hold.slot)
                self.released_later.setdefault(hold.slot, {})[number] = row
            self.recorded[hold.slot] = False
            self._expect_of(hold, "release", f"held:{hold.pot}", f"round:{hold.pot}", worth)

    def in_the_records(self) -> Iterator[tuple[int, int]]:
        """Yield slot and number of the pot's part of each grant that the records must have."""
        for slot, is_recorded in enumerate(self.recorded):
            if is_recorded:
                yield slot, self.granted_by[slot]
        for slot, parts in self.released_later.items():
            for number in parts:
                yield slot, number

    def _offer(self, number: int, columns: tuple[Any, ...]) -> None:
        for first_slot, count in _runs(columns):
            for slot in range(first_slot, first_slot + count):
                if slot not in self._waiting or self.place[slot] != number:
                    self._problem(f"slot {slot} is offered again, but it was not released in pot {self.pots[number]}")
                self._waiting.discard(slot)

    def _expect_of(self, hold: Named, what: str, debit_account: str, credit_account: str, worth: int) -> None:
        counted = f"{self._set}/{hold.number}" if self._set else f"{hold.number}"
        grant = f"{self.terms.campaign}-{hold.pot}-{hold.slot - self.terms.base(hold.pot)}"
        self._expect(f"{what}:{grant}#{counted}", debit_account, credit_account, worth)

    def _check_users(self, pot: str, users: list[str]) -> None:
        """Whether any of them was granted in the round before, by whatever set."""
        known = self._users[pot]
        repeated = known.intersection(users)
        if len(set(users)) != len(users):
            repeated |= {user for user, times in Counter(users).items() if times > 1}
        for user in sorted(repeated):
            self._problem(f"user {user} is granted more than once in round {pot}")
        known.update(users)

    def _take(self, number: int, columns: tuple[Any, ...]) -> None:
        runs, transfer = _runs(columns), columns[5]
        if transfer in self._taken:
            self._problem(f"transfer {transfer} takes a second time")
            return
        pot = self.pots[number].pot
        self._taken[transfer] = (pot, runs)
        if self._waiting:
            self._waiting.difference_update(slot for first, count in runs for slot in range(first, first + count))
        if transfer.startswith(REST):
            self._give_back(number, runs, transfer)
            return
        worth = self._move(runs, number, IN_TRANSIT, "taken")
        self.passed_on_minor[pot] += worth
        self._expect(f"take:{transfer}", _account(pot), "transit", worth)

    def _give_back(self, number: int, runs: list[Run], transfer: str) -> None:
        """What is left of a pot that is no round goes back to who paid: it is where leftover of rounds goes to."""
        part = self.pots[number]
        if part.pot not in self.terms.bases or transfer != f"{REST}{part.pot.rpartition(':')[2]}":
            self._problem(f"transfer {transfer} takes the rest of {part}, and is not that pot's")
        worth = self._move(runs, number, self._numbers[Pot(part.set, RETURNED)], "given back")
        self.rests[part.pot] += worth
        self._expect(f"take:{transfer}", _account(part.pot), "sponsor", worth)

    def _give(self, number: int, columns: tuple[Any, ...]) -> None:
        runs, transfer = _runs(columns), columns[5]
        if transfer in self._given:
            self._problem(f"transfer {transfer} gives a second time")
            return
        self._given.add(transfer)
        if transfer.startswith(ADDED):
            self._add(number, runs, transfer)
            return
        source, taken = self._taken.get(transfer, ("", []))
        if taken != runs:
            self._problem(f"transfer {transfer} gives other slots than it took")
        pot = self.pots[number].pot
        worth = self._move(runs, IN_TRANSIT, number, "given")
        if source == pot:  # from set to set: the round has passed nothing on
            self.passed_on_minor[pot] -= worth
        else:
            self.received_minor[pot] += worth
        self._expect(f"give:{transfer}", "transit", _account(pot), worth)

    def _add(self, number: int, runs: list[Run], transfer: str) -> None:
        pot, set_ = self.pots[number].pot, self.pots[number].set
        whole = self.terms.added.get(transfer) or self.terms.added.get(transfer.removesuffix(f":{set_}"))
        # A set is given its part of it; that no slot of the rest is added twice is seen where it is moved.
        if whole is None or whole[0] != pot or not all(_within(run, whole[1]) for run in runs):
            self._problem(f"transfer {transfer} adds slots {runs} to {pot}, which no amendment says")
        self._expect(f"give:{transfer}", "sponsor", _account(pot), self._move(runs, NOWHERE, number, "added"))

    def _expect(self, posting: str, debit_account: str, credit_account: str, worth: int) -> None:
        if worth:
            expected = (posting, debit_account, credit_account, worth, self._is_recorded)
            self.postings.append(ExpectedPosting(self._at, self._set, *expected))

    def _move(self, runs: list[Run], source: int, target: int, verb: str) -> int:
        """Move slots that must all be at `source`; return what they are worth, whatever was wrong with them."""
        worth = 0
        for first_slot, count in runs:
            end = first_slot + count
            if first_slot < 0 or count < 0 or end > len(self.place):
                self._problem(f"slots {first_slot} to {end - 1} are {verb}, which do not exist")
                continue
            if self.place[first_slot:end] != array("i", [source]) * count:
                for slot in range(first_slot, end):
                    if self.place[slot] != source:
                        self._problem(f"slot {slot} is {verb}, but it is {self._describe(self.place[slot])}")
            self.place[first_slot:end] = array("i", [target]) * count
            worth += sum(self.terms.amounts[first_slot:end])
        return worth

    def _describe(self, place: int) -> str:
        if place in {NOWHERE, IN_TRANSIT}:
            return "in no pot" if place == NOWHERE else "in transit between pots"
        return f"unclaimed in pot {self.pots[place]}" if place > 0 else f"already granted in round {self.pots[-place]}"


def _account(pot: str) -> str:
    return "sponsor" if pot == RETURNED else f"round:{pot}"


def _within(run: Run, runs: list[Run]) -> bool:
    return any(first <= run[0] and run[0] + run[1] <= first + count for first, count in runs)


def _runs(columns: tuple[Any, ...]) -> list[Run]:
    runs = [(first, count) for first, count in json.loads(columns[4])]
    if not all(isinstance(number, int) for run in runs for number in run):
        raise TypeError("slots must be pairs of numbers")
    return runs
