"""The records held against the journal: grants row by row, postings one by one, balances added up anew."""

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping
from typing import Any

from redrush.settle.reconcile.journal import Journal
from redrush.settle.reconcile.report import Problems


class LedgerCheck:
    """Checks the records' state `connection` up to its `cursor`, the seq of the last journal record it holds."""

    def __init__(
        self, connection: sqlite3.Connection, sql: Mapping[str, str], cursor: int, journal: Journal, problems: Problems
    ) -> None:
        self._connection = connection
        self._sql = sql
        self._cursor = cursor
        self._journal = journal
        self._problems = problems
        self._won_minor: Counter[str] = Counter()  # by user, of the records' grants

    def check(self) -> None:
        """Tell `problems` everything in which the records disagree with the journal or with themselves."""
        last_seq = self._journal.seqs[-1] if self._journal.seqs else 0
        if self._cursor > last_seq:
            self._problems.add(f"the records hold seq {self._cursor}, but the journal ends at seq {last_seq}")
        grants = self._check_grants()
        self._check_postings(grants)
        self._check_balances()

    def _rows(self, name: str, **values: Any) -> sqlite3.Cursor:
        return self._connection.execute(self._sql[name], values)

    def _check_grants(self) -> int:
        """Compare the grants of both, by slot; return how many the records have."""
        journal, amounts, cursor = self._journal, self._journal.terms.amounts, self._cursor
        seen = bytearray(len(amounts))
        for slot, round_id, user, amount_minor, at_us in self._rows("grants"):
            if not 0 <= slot < len(amounts) or not 0 < journal.seq_of[slot] <= cursor:
                self._problems.add(f"slot {slot}: the records grant it to {user}, the journal up to {cursor} does not")
                continue
            seen[slot] = 1
            self._won_minor[user] += amount_minor
            recorded = (round_id, user, amount_minor, at_us)
            agreed = (journal.pots[journal.granted_by[slot]], journal.user_of[slot], amounts[slot], journal.at_us[slot])
            if recorded != agreed:
                self._problems.add(f"slot {slot}: the records say {recorded}, the journal says {agreed}")
        for slot, seq in enumerate(journal.seq_of):
            if 0 < seq <= cursor and not seen[slot]:
                user = journal.user_of[slot]
                self._problems.add(f"slot {slot}: granted to {user} at seq {seq}, but the records do not have it")
        return sum(seen)

    def _check_postings(self, grants: int) -> None:
        campaign = self._journal.terms.campaign
        for slot, round_id, user in self._rows("grants_without_posting", campaign=campaign):
            self._problems.add(f"slot {slot}: the grant of {user} in round {round_id} has no posting of its amount")
        others = [expected for expected in self._journal.postings if expected.seq <= self._cursor]
        for expected in others:
            agreed = (expected.debit_account, expected.credit_account, expected.amount_minor)
            found = self._rows("posting", id=expected.id).fetchone()
            if found != agreed:
                self._problems.add(f"posting {expected.id} (seq {expected.seq}) is {found}, it must be {agreed}")
        ((count,),) = self._rows("count_postings")
        if count != grants + len(others):
            self._problems.add(f"there are {count} postings for {grants} grants and {len(others)} other events")
            ids = json.dumps([expected.id for expected in others])
            for (posting,) in self._rows("postings_without_grant", campaign=campaign, others=ids):
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
