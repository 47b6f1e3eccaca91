"""The records held against the journal: grants row by row, postings one by one, balances added up anew."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import apsw
import msgspec

from redrush.settle.reconcile.journal import WHOLE, Journal
from redrush.settle.reconcile.journal import Row as GrantRow
from redrush.settle.reconcile.report import Problems

Row = tuple[Any, ...]


class Granted(msgspec.Struct, frozen=True):
    """What a database's grants that the logs know of come to: what each user owns by them, and how many are posted by
    the rule of their pot, and over how much. Holds are posted one by one, and nobody owns them yet."""

    won_minor: Counter[str]
    by_rule: int
    by_rule_minor: int


def check_grants(rows: Iterable[Row], sets: Collection[str], journal: Journal, problems: Problems) -> Granted:
    """Compare a database's grants with its sets' logs up to their cursors.

    `rows` are (slot, pot, user, amount_minor, at_us, number, until_us, holds, log): a hold is its log's, what is
    permanent from the beginning is of whichever has granted it.
    """
    seen = bytearray(len(journal.terms.amounts))
    held: set[tuple[int, int]] = set()  # slot and part, of holds
    won_minor: Counter[str] = Counter()
    by_rule = by_rule_minor = 0
    ours = {number for number, part in enumerate(journal.pots) if part.set in sets}
    for own_slot, pot, user, amount_minor, at_us, number, until_us, holds, log in rows:
        place = journal.terms.place(pot, own_slot)
        found = None if place is None else _agreed(place, log if number else None, journal)
        slot = -1 if place is None else place
        said = f"{own_slot} of {pot}" if pot in journal.terms.bases else f"{own_slot}"
        if found is None or found[0] not in ours:
            problems.add(f"slot {said}: the records grant it to {user}, the journal up to their cursor does not")
            continue
        if (slot, found[0]) in held if number else seen[slot]:
            problems.add(f"slot {said}: the records grant it more than once, to {user} too")
        if number:
            held.add((slot, found[0]))
        else:
            seen[slot] = 1
        if until_us is None:
            won_minor[user] += amount_minor
        if not number and amount_minor:
            by_rule += 1
            by_rule_minor += amount_minor
        recorded = (pot, user, amount_minor, at_us) if holds is None else (pot, user, amount_minor, at_us, holds)
        if recorded != found[1]:
            problems.add(f"slot {said}: the records say {recorded}, the journal says {found[1]}")
    for slot, part in journal.in_the_records():
        if part not in ours or seen[slot] or (slot, part) in held:
            continue
        pot, user, *_ = _row(slot, part, journal)
        own_slot = slot - journal.terms.base(pot)
        said = f"{own_slot} of {pot}" if pot in journal.terms.bases else f"{own_slot}"
        problems.add(f"slot {said}: granted to {user} at seq {journal.seq_of[slot]}, but the records do not have it")
    return Granted(won_minor, by_rule, by_rule_minor)


def _agreed(slot: int, log: str | None, journal: Journal) -> tuple[int, GrantRow] | None:
    """Return by which part of a pot the records must have the slot granted, and how; None: they must not have it. `log`
    is that of a hold."""
    if journal.recorded[slot] and (log is None or journal.pots[journal.granted_by[slot]].set == log):
        return journal.granted_by[slot], _row(slot, journal.granted_by[slot], journal)
    for part, row in journal.released_later.get(slot, {}).items():
        if log is None or journal.pots[part].set == log:
            return part, row
    return None


def _row(slot: int, part: int, journal: Journal) -> GrantRow:
    """Return the row of a grant that the records must have."""
    later = journal.released_later.get(slot)
    if later is not None and part in later:
        return later[part]
    return journal.row_of(part, journal.user_of[slot] or "", slot)


def check_other_postings(
    find: Callable[[str], Row | None], sets: Collection[str], journal: Journal, problems: Problems
) -> list[str]:
    """Compare the postings of everything but grants; `find` gives (debit account, credit account, amount) by id.

    Returns the ids that there must be.
    """
    others = [expected for expected in journal.postings if expected.recorded and expected.set in sets]
    for expected in others:
        agreed = (expected.debit_account, expected.credit_account, expected.amount_minor)
        found = find(expected.id)
        if found != agreed:
            problems.add(f"posting {expected.id} ({expected.at}) is {found}, it must be {agreed}")
    return [expected.id for expected in others]


class LedgerCheck:
    """Checks the state `connection` of SQLite records against the one journal that they belong to."""

    def __init__(
        self, connection: apsw.Connection, sql: Mapping[str, str], journal: Journal, problems: Problems
    ) -> None:
        self._connection = connection
        self._sql = sql
        self._journal = journal
        self._problems = problems
        self._won_minor: Counter[str] = Counter()  # by user, of the records' grants

    def check(self) -> None:
        """Tell `problems` everything in which the records disagree with the journal or with themselves."""
        granted = check_grants(self._rows("grants"), (WHOLE,), self._journal, self._problems)
        self._won_minor = granted.won_minor
        self._check_postings()
        self._check_balances()

    def _rows(self, name: str, **values: Any) -> apsw.Cursor:
        return self._connection.execute(self._sql[name], {"campaign": self._journal.terms.campaign, **values})

    def _find(self, posting: str) -> Row | None:
        found: Row | None = self._rows("posting", id=posting).fetchone()
        return found

    def _check_postings(self) -> None:
        others = check_other_postings(self._find, (WHOLE,), self._journal, self._problems)
        ((count,),) = self._rows("count_postings")
        if count != len(others):
            self._problems.add(f"there are {count} postings for {len(others)} events besides grants")
            for (posting,) in self._rows("stray_postings", others=json.dumps(others)):
                self._problems.add(f"posting {posting} stands for nothing in the journal")

    def _check_balances(self) -> None:
        for account, debits, credits_, kept_debits, kept_credits in self._rows("wrong_balances"):
            self._problems.add(
                f"account {account}: debits and credits kept are {kept_debits}, {kept_credits}; "
                f"its postings add up to {debits}, {credits_}"
            )
        ((posted, debits, credits_),) = self._rows("totals")
        if not posted == debits == credits_:
            self._problems.add(f"all debits are {debits}, all credits {credits_}, all postings {posted}")
        owned_minor = dict(self._rows("users"))
        for user, won in self._won_minor.items():
            owned = owned_minor.pop(user, 0)
            if won != owned:
                self._problems.add(f"user {user} was granted {won} minor units, but owns {owned}")
        for user, owned in owned_minor.items():
            self._problems.add(f"user {user} was granted nothing, but owns {owned} minor units")
