"""Reconciliation that goes on while the event does: what is recorded is compared with the log soon after, and all of it
again and again.

Three ways to notice, each for what the others would tell late. What is new is compared at the next look (`_fresh`).
The records tell of changes that no recorder made, at once, and then everything is looked at anew without much rest. And
a sweep (`_sweep`) goes through everything from the first record on, slowly, for ever: it finds what was done behind the
records' back, and it adds up the fingerprint of their copy of the log. At its end rows are counted, so that one too
many is noticed, which no record of the log leads to.

Memory is that of one slice, whatever the event's size; `redrush reconcile` knows more, for it holds all of it at once:
whether balances that were kept are the sums of their postings, and where a slot is.

A problem stands until a sweep that began after it was found is through without it.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

import msgspec

from redrush.core.nobody import ignore
from redrush.core.rush.campaign import Slots
from redrush.core.rush.holding import no_pots
from redrush.ports.examined import Examinable, Examined, GrantAt, GrantFound, GrantRow, Place, PostingRow
from redrush.settle.reconcile.chain import linked
from redrush.settle.reconcile.evidence import ADDED, REST
from redrush.settle.reconcile.journal import RETURNED
from redrush.settle.reconcile.named import Named, named_in

SLICE_RECORDS: Final = 64
"""Log records that are compared at a time; each holds up to a few hundred grants."""

PROBLEMS_MAX: Final = 100
"""Problems that are remembered. One damaged page can make a million."""

Row = tuple[Any, ...]


class Amounts(Protocol):
    """Minor units by slot: a list, or an array of any kind. A slot table also says what holds no money."""

    def __len__(self) -> int: ...
    def __getitem__(self, run: slice, /) -> Any: ...


Tables = Callable[[str], Amounts | None]
"""Finds the table of a pot that is no round; None: the pot is one."""

AWAITED_MAX: Final = 100_000
"""Holds that are not recorded as they were granted, and whose release the walk has yet to come to. More are told of at
the end by the count alone."""


class Slice(msgspec.Struct):
    """What some records of the log say that the records must hold."""

    places: list[Place] = []
    grants: list[GrantFound] = []
    """In the order of the places. Of a slot that was granted more than once the last counts."""
    postings: dict[str, PostingRow] = {}
    released: set[tuple[str, int, int]] = set()
    """Holds by pot, slot and number that ended."""


class Walk:
    """A way through the log, from a record on whose fingerprint is known, or is not."""

    def __init__(self, seq: int = 0, chain: str | None = "") -> None:
        self.seq = seq
        self.chain = chain
        self.awaited: dict[tuple[str, int, int], str] = {}
        """Holds by pot, slot and number that the records have no more, or have otherwise, in words. A release that is
        still to come explains one: the records are further on than the walk."""

    def step(self, rows: Sequence[Row], *, digests_users: bool) -> None:
        """Go on over these rows."""
        for row in rows:
            self.seq = row[0]
            if self.chain is not None:
                self.chain = linked(self.chain, row, digests_users=digests_users)


class Vigil:
    """See the module. Not to be used by two threads at once."""

    def __init__(
        self,
        records: Examinable,
        campaign: str,
        amounts: Amounts,
        now_s: Callable[[], float],
        set_id: str | None = None,
        *,
        pots: Tables = no_pots,
        noted: Callable[[str, str], object] = ignore,
    ) -> None:
        """`campaign` is its id, `amounts` are minor units by slot, as they were sealed. `set_id` names the set whose
        log it is, where rounds are divided over several. `pots` finds the tables of pots that are no
        rounds, `noted` hears what those were opened with."""
        self._noted = noted
        self._records = records
        self._campaign = campaign
        self._amounts = amounts
        self._now_s = now_s
        self._set_id = set_id
        self._pots = pots
        self._fresh: Walk | None = None
        self._sweep = Walk()
        self._sweep_number = 1
        self._sweep_began_s = now_s()
        self._problems: dict[str, int] = {}  # with the sweep during which each was found last
        self._count_at_once = False
        self.urgent = False
        """Whether everything is to be looked at without much rest, after a change by others."""
        self.behind = 0
        """Log records that are recorded and were not compared yet, as of the last look."""
        self.compared = 0
        """Grants that were compared so far, again and again."""
        self.swept_at_s: float | None = None
        self.sweep_took_s = 0.0

    @property
    def problems(self) -> Sequence[str]:
        """What stands, the oldest first."""
        return list(self._problems)

    def look(self, *, sweep: bool = True) -> bool:
        """Compare the next slice of what is new and, if `sweep`, of the rest; return whether there is more to do now.

        Raises RecordsFailed.
        """
        for change in self._records.changed_by_others():
            self._begin_sweep(urgent=True)
            self._tell(change)
            self._count_at_once = True
        with self._records.examined(self._campaign) as state:
            if self._fresh is None or self._fresh.seq > state.cursor or self._sweep.seq > state.cursor:
                self._fresh = Walk(state.cursor, state.chain)  # the start, or records that were made anew
                self._begin_sweep(urgent=self.urgent)
            if self._count_at_once:
                self._check_counts(state)
            more = self._compare(self._fresh, state)
            self.behind = state.cursor - self._fresh.seq
            if not sweep:
                return more
            if self._compare(self._sweep, state):
                return True
            self._check_counts(state)
        self._end_sweep()
        return more

    def _compare(self, walk: Walk, state: Examined) -> bool:
        """Compare a slice of the log with the records; return whether there is more of it."""
        rows = state.journal(walk.seq, SLICE_RECORDS)
        if rows:
            walk.step(rows, digests_users=state.digests_users)
            self._check(self._expected(rows), state, walk)
        if walk.seq < state.cursor and len(rows) == SLICE_RECORDS:
            return True
        for problem in walk.awaited.values():
            self._tell(problem)
        walk.awaited.clear()
        if walk.seq < state.cursor:
            self._tell(f"the records' copy of the log ends at record {walk.seq}, they are said to be at {state.cursor}")
        elif None not in (walk.chain, state.chain) and walk.chain != state.chain:
            self._tell(f"the records' copy of the log up to record {walk.seq} is not what was written")
            walk.chain = state.chain  # told once a walk
        return False

    # -- what must be

    def _table(self, pot: str) -> Amounts:
        """Return what the pot's slots hold: a table of its own, or the campaign's."""
        own = self._pots(pot)
        return self._amounts if own is None else own

    def _expected(self, rows: Iterable[Row]) -> Slice:
        expected = Slice()
        for row in rows:
            try:
                self._expect(row, expected)
            except (ValueError, TypeError, KeyError, IndexError) as error:
                self._tell(f"record {row[0]} of the records' copy of the log cannot be read: {error!r}")
        return expected

    def _expect(self, row: Row, expected: Slice) -> None:
        _, kind, pot, first_slot, count, at_us, users, slots, transfer = row
        if kind == "opened" and transfer is not None:
            self._noted(pot, transfer)
        if kind == "granted":
            expected.places.append((pot, first_slot, count))
            table = self._table(pot)
            amounts, holds = amounts_in(table, first_slot, count), held_in(table, first_slot, count)
            pots, instants, numbers = ([one] * count for one in (pot, at_us, 0))
            run = range(first_slot, first_slot + count)
            expected.grants += zip(pots, run, json.loads(users), amounts, instants, numbers, holds, strict=True)
        elif kind in ("scattered", "confirmed", "released"):
            for grant in named_in(tuple(row[3:])):
                self._expect_named(kind, grant, at_us, expected)
        elif kind == "opened" and pot != RETURNED and count:
            worth = sum(amounts_in(self._table(pot), first_slot, count))
            of_set = "" if self._set_id is None else f"/{self._set_id}"
            if worth:
                expected.postings[f"fund:{pot}{of_set}"] = ("sponsor", f"round:{pot}", worth)
        elif kind in ("taken", "given"):
            worth = sum(sum(amounts_in(self._table(pot), *run)) for run in json.loads(slots))
            account = "sponsor" if pot == RETURNED else f"round:{pot}"
            source = "sponsor" if transfer.startswith(ADDED) else "transit"
            target = "sponsor" if transfer.startswith(REST) else "transit"
            sides = (account, target) if kind == "taken" else (source, account)
            if worth:
                expected.postings[f"{'take' if kind == 'taken' else 'give'}:{transfer}"] = (*sides, worth)

    def _expect_named(self, kind: str, grant: Named, at_us: int, expected: Slice) -> None:
        table = self._table(grant.pot)
        (worth,), (held,) = amounts_in(table, grant.slot, 1), held_in(table, grant.slot, 1)
        if kind == "scattered":
            expected.places.append((grant.pot, grant.slot, 1))
            expected.grants.append((grant.pot, grant.slot, grant.user, worth, at_us, grant.number, held))
        elif kind == "released":
            expected.released.add((grant.pot, grant.slot, grant.number))
        if grant.number and worth:
            pot, aside = f"round:{grant.pot}", f"held:{grant.pot}"
            sides = {
                "scattered": (pot, aside),
                "confirmed": (aside, f"user:{grant.user}"),
                "released": (aside, pot),
            }[kind]
            name = {"scattered": "hold", "confirmed": "confirm", "released": "release"}[kind]
            expected.postings[f"{name}:{self._hold_id(grant.pot, grant.slot, grant.number)}"] = (*sides, worth)

    def _hold_id(self, pot: str, slot: int, number: int) -> str:
        of_set = "" if self._set_id is None else f"{self._set_id}/"
        return f"{self._campaign}-{pot}-{slot}#{of_set}{number}"

    # -- what is

    def _check(self, expected: Slice, state: Examined, walk: Walk) -> None:
        for hold in expected.released:
            walk.awaited.pop(hold, None)
        found = state.grants(expected.places) if expected.places else []
        self.compared += len(expected.grants)
        if found != expected.grants:
            self._check_grants(expected, _by_place(found), walk)
        if expected.postings:
            kept = state.postings(expected.postings)
            for posting, agreed in expected.postings.items():
                if kept.get(posting) != agreed:
                    self._tell(f"posting {posting} is {kept.get(posting)}, it must be {agreed}")

    def _check_grants(self, expected: Slice, found: dict[GrantAt, GrantRow], walk: Walk) -> None:
        for (pot, slot), grant in _by_place(expected.grants).items():
            hold, kept = (pot, slot, grant[3]), found.get((pot, slot))
            if kept == grant or hold in expected.released:
                continue
            problem = f"slot {slot} of {pot}: the records say {_said(kept)}, the log says {_said(grant)}"
            if not grant[3]:
                self._tell(problem)
            elif len(walk.awaited) < AWAITED_MAX:
                walk.awaited[hold] = problem

    def _check_counts(self, state: Examined) -> None:
        self._count_at_once = False
        counts = state.counts()
        if counts.grants != counts.grants_due:
            self._tell(
                f"the records hold {counts.grants} grants, by their copy of the log there are {counts.grants_due}"
            )
        if counts.postings != counts.postings_due:
            self._tell(
                f"the records hold {counts.postings} postings, by their copy of the log there are {counts.postings_due}"
            )

    # -- sweeps

    def _tell(self, problem: str) -> None:
        if problem in self._problems or len(self._problems) < PROBLEMS_MAX:
            self._problems[problem] = self._sweep_number

    def _begin_sweep(self, *, urgent: bool) -> None:
        self._sweep = Walk()
        self._sweep_number += 1
        self._sweep_began_s = self._now_s()
        self.urgent = urgent

    def _end_sweep(self) -> None:
        self.swept_at_s = self._now_s()
        self.sweep_took_s = self.swept_at_s - self._sweep_began_s
        self._problems = {problem: number for problem, number in self._problems.items() if number >= self._sweep_number}
        self._begin_sweep(urgent=False)


def amounts_in(amounts: Amounts, first_slot: int, count: int) -> list[int]:
    """Return the amounts of a run. Raises IndexError for a slot that there is not."""
    if first_slot < 0 or count < 0 or first_slot + count > len(amounts):
        raise IndexError(f"no slots {first_slot} to {first_slot + count}")
    part = amounts[first_slot : first_slot + count]
    tolist = getattr(part, "tolist", None)  # of arrays of any kind, whose elements need not be int
    return list(part) if tolist is None else tolist()


def _by_place(rows: Iterable[GrantFound]) -> dict[GrantAt, GrantRow]:
    """Return the rows by where they are."""
    return {(pot, slot): (user, worth, at_us, number, held) for pot, slot, user, worth, at_us, number, held in rows}


def _said(grant: GrantRow | None) -> tuple[Any, ...] | None:
    """Return the row for people: what holds money does not say that it holds nothing else."""
    return grant[:4] if grant is not None and grant[4] is None else grant


def held_in(amounts: Amounts, first_slot: int, count: int) -> Sequence[str | None]:
    """Return what the slots of a run hold, None for money."""
    texts = getattr(amounts, "texts", None)
    return (None if texts is None else texts(Slots(first_slot, count))) or [None] * count
