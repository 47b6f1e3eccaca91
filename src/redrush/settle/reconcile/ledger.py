"""The records held against the journal: grants row by row, postings one by one, balances added up anew."""

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from redrush.settle.reconcile.journal import WHOLE, Journal
from redrush.settle.reconcile.report import Problems

Row = tuple[Any, ...]


def check_grants(
    rows: Iterable[Row], sets: Collection[str], journal: Journal, problems: Problems
) -> tuple[int, Counter[str]]:
    """Compare a database's grants (slot, round, user, amount_minor, at_us) with its sets' logs up to their cursors.

    Returns how many there are that the logs know of, and what each user won by the database.
    """
    amounts = journal.terms.amounts
    seen = bytearray(len(amounts))
    won_minor: Counter[str] = Counter()
    ours = {number for number, part in enumerate(journal.pots) if part.set in sets}
    for slot, round_id, user, amount_minor, at_us in rows:
        known = 0 <= slot < len(amounts) and journal.recorded[slot] and journal.granted_by[slot] in ours
        if not known:
            problems.add(f"slot {slot}: the records grant it to {user}, the journal up to their cursor does not")
            continue
        if seen[slot]:
            problems.add(f"slot {slot}: the records grant it more than once, to {user} too")
        seen[slot] = 1
        won_minor[user] += amount_minor
        recorded = (round_id, user, amount_minor, at_us)
        by = journal.pots[journal.granted_by[slot]]
        agreed = (by.pot, journal.user_of[slot], amounts[slot], journal.at_us[slot])
        if recorded != agreed:
            problems.add(f"slot {slot}: the records say {recorded}, the journal says {agreed}")
    for slot, is_recorded in enumerate(journal.recorded):
        if is_recorded and not seen[slot] and journal.granted_by[slot] in ours:
            user, seq = journal.user_of[slot], journal.seq_of[slot]
            problems.add(f"slot {slot}: granted to {user} at seq {seq}, but the records do not have it")
    return sum(seen), won_minor


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
        self, connection: sqlite3.Connection, sql: Mapping[str, str], journal: Journal, problems: Problems
    ) -> None:
        self._connection = connection
        self._sql = sql
        self._journal = journal
        self._problems = problems
        self._won_minor: Counter[str] = Counter()  # by user, of the records' grants

    def check(self) -> None:
        """Tell `problems` everything in which the records disagree with the journal or with themselves."""
        grants, self._won_minor = check_grants(self._rows("grants"), (WHOLE,), self._journal, self._problems)
        self._check_postings(grants)
        self._check_balances()

    def _rows(self, name: str, **values: Any) -> sqlite3.Cursor:
        return self._connection.execute(self._sql[name], {"campaign": self._journal.terms.campaign, **values})

    def _find(self, posting: str) -> Row | None:
        found: Row | None = self._rows("posting", id=posting).fetchone()
        return found

    def _check_postings(self, grants: int) -> None:
        for slot, round_id, user in self._rows("grants_without_posting"):
            self._problems.add(f"slot {slot}: the grant of {user} in round {round_id} has no posting of its amount")
        others = check_other_postings(self._find, (WHOLE,), self._journal, self._problems)
        ((count,),) = self._rows("count_postings")
        if count != grants + len(others):
            self._problems.add(f"there are {count} postings for {grants} grants and {len(others)} other events")
            ids = json.dumps(others)
            for (posting,) in self._rows("postings_without_grant", others=ids):
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
