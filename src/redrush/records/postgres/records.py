"""The records of the scaled form in PostgreSQL: a batch is one transaction under the lock of its log's cursor.

The lock makes it exactly once: who holds it knows what is recorded, so that grants need no ON CONFLICT and go in with
one COPY. Recorders of other logs hold other cursors. No row is shared between logs: balances are added up when they are
asked for, and every sum that is kept belongs to one log.

Campaigns and pots have numbers, which rows and keys are made of. They are given in a transaction of their own, before
the batch: several recorders meet a new pot at once. A log is of one campaign, and the cursor says which.

A log may begin anew (`redrush.ports.store.History`). The generation that may be applied stands beside the cursor, under
the same lock: when `begin` has returned, no batch of an earlier one comes in, however long its recorder was stopped.

The journal goes in with them, record by record as the store wrote it. Commits are synchronous, whatever the server's
default, and a server without fsync is refused: when `apply` has returned, the log may be trimmed up to its cursor.

The Protocol blocks and is called from a thread, so this is psycopg and not asyncpg, which would need an event loop
there.

Long, because every read and write of the records is a few lines over one statement, and they share its transaction.
"""

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from itertools import groupby, pairwise
from typing import Any, Final

import msgspec

from redrush.core.money.ledger import GrantRule, user_account
from redrush.core.nobody import ignore
from redrush.ports.log_rows import Row, granted_row, record_of, row_of, users_text
from redrush.ports.records import (
    Balance,
    Change,
    GrantRun,
    Posted,
    RecordedGrant,
    RecordsConflict,
    RecordsFailed,
    ScatteredGrants,
    Totals,
    ends_of,
    unposted_of,
)
from redrush.ports.store import Confirmed, Grant, Granted, History, Known, LogRecord, Released
from redrush.records.postgres.copying import grant_lines, lines_with_holds, scattered_lines
from redrush.records.postgres.greeting import PACKAGE, QUERY_MAX_S, reading, writing
from redrush.records.postgres.link import ANSWER_MAX_S, Cursor
from redrush.records.postgres.migrations import Tell
from redrush.sqlfiles import load_statements

FETCHED_ROWS: Final = 500
"""Rows of the journal that are fetched at a time; each holds up to a few hundred users."""

POTS_MAX: Final = 100_000
"""Numbers of pots that are remembered; one that is not is looked up again."""


class RoundTotals(msgspec.Struct, frozen=True):
    """How many grants of a round are recorded, over all logs of the database, and what they are worth."""

    round: str
    grants: int
    granted_minor: int


class _Sums:
    """What a batch adds to the totals of pots, by their numbers."""

    def __init__(self) -> None:
        self.grants: Counter[int] = Counter()
        self.granted_minor: Counter[int] = Counter()

    def add(self, pot: int, grants: int, granted_minor: int) -> None:
        self.grants[pot] += grants
        self.granted_minor[pot] += granted_minor

    def by_column(self) -> dict[str, Counter[int]]:
        return {"grants": self.grants, "granted_minor": self.granted_minor}


class PostgresRecords:
    """Fulfils `redrush.ports.records.Records` for one log. Calls may come from any thread.

    One connection writes, another reads, each when it is needed: a query never waits for a batch. Cursor, journal and
    holds are those of the log; grants, balances and totals are those of the whole database.
    """

    commits_are_durable = True

    def __init__(
        self,
        dsn: str,
        log: str,
        *,
        query_max_s: float = QUERY_MAX_S,
        answer_max_s: float = ANSWER_MAX_S,
        tell: Tell = ignore,
        as_it_is: bool = False,
    ) -> None:
        """Connects to nothing yet. `log` names the log in the database, such as "s1". `tell` hears how far a migration
        of the schema is; `as_it_is`: there is none, for a command leaves the tables of the version that they are of.

        No statement of `cursor` and `apply` waits longer than `answer_max_s` for its answer, and none of the others
        longer than `query_max_s`, which the server holds too, and a moment more.
        """
        self._log = log
        self._sql = load_statements(PACKAGE, "queries.sql")
        self._writer = writing(dsn, answer_max_s, tell, as_it_is=as_it_is)
        self._reader = reading(dsn, query_max_s, tell, as_it_is=as_it_is)
        self._campaigns: dict[str, int] = {}
        self._pots: dict[tuple[int, str], tuple[int, GrantRule]] = {}
        self._generation: int | None = None
        self.chain: str | None = None
        """The fingerprint of the log up to its cursor, as of the last `begin`; None where it was not kept."""

    def cursor(self) -> int:
        """See the port. Also makes the schema, the first time."""
        with self._writer.transaction() as cursor:
            row = cursor.execute(self._statement("cursor"), {"log": self._log}).fetchone()
        return 0 if row is None else int(row[0])

    def begin(self, history: History) -> int:
        """Return the cursor, and apply only what is of this history from now on; others' batches of earlier ones too
        are refused from when it returns.

        Raises RecordsConflict if a later one has begun, and if records are kept that are not in this one: it is not
        followed then, for slots that were recorded may be granted in it to others.
        """
        with self._writer.transaction() as cursor:
            cursor.execute(self._statement("start_cursor"), {"log": self._log})
            seq, generation, self.chain, _ = self._row(cursor, "lock_cursor", log=self._log)
            if generation > history.generation:
                raise RecordsConflict(
                    f"{self._writer.name}: log {self._log} is in generation {generation}, and what was read is of "
                    f"generation {history.generation}: the set was made anew elsewhere, or is about to be"
                )
            shared = history.shared_since(generation)
            if shared is not None and seq > shared:
                raise RecordsConflict(
                    f"{self._writer.name}: log {self._log} is recorded up to {seq}, and the set goes on after {shared} "
                    "with other grants: it was promoted by force without what is recorded, and has to be rebuilt"
                )
            values = {"log": self._log, "generation": history.generation}
            cursor.execute(self._statement("begin_generation"), values)
        self._generation = history.generation
        return int(seq)

    def known(self) -> Known | None:
        """Return how far the records know the log; None: they have nothing of it."""
        with self._writer.transaction() as cursor:
            row = cursor.execute(self._statement("known"), {"log": self._log}).fetchone()
        return None if row is None else Known(*row)

    def apply(self, changes: Sequence[Change], chain: str | None = None) -> int:
        """See the port. `chain` is the fingerprint of the log up to the last change, None where it is not known.

        Raises RecordsConflict also when another history was begun than by this object's `begin`, and for changes of
        another campaign than the log's.
        """
        if any(earlier.seq >= later.seq for earlier, later in pairwise(changes)):
            raise ValueError("changes must come in ascending order of seq")
        if not changes:
            return self.cursor()
        campaign = self._number(changes)
        with self._writer.transaction() as cursor:
            cursor.execute(self._statement("start_cursor"), {"log": self._log})
            seq, generation, _, ours = self._row(cursor, "lock_cursor", log=self._log)
            if self._generation not in (None, generation):
                raise RecordsConflict(
                    f"{self._writer.name}: log {self._log} is in generation {generation} now, not {self._generation}"
                )
            new = [change for change in changes if change.seq > seq]
            if not new:
                return int(seq)
            if ours not in (None, campaign):
                raise RecordsConflict(
                    f"{self._writer.name}: log {self._log} is not of campaign {new[0].campaign}: these records belong "
                    "to another event"
                )
            self._keep_journal(cursor, new)
            for ends_holds, alike in groupby(new, ends_of):
                if ends_holds:
                    self._end_holds(cursor, campaign, list(alike))
                else:
                    self._keep_grants(cursor, campaign, list(alike))
            postings = [posting for change in new if not isinstance(change, GrantRun) for posting in change.postings]
            rows = [{"campaign": campaign, **msgspec.structs.asdict(posting)} for posting in postings]
            cursor.executemany(self._statement("keep_posting"), rows)
            unposted = sum(map(unposted_of, new))
            moved = {
                "log": self._log,
                "seq": new[-1].seq,
                "chain": chain,
                "campaign": campaign,
                "unposted": unposted,
            }
            cursor.execute(self._statement("move_cursor"), moved)
        return new[-1].seq

    def grants_of(self, user: str) -> list[RecordedGrant]:
        """See the port."""
        with self._reader.transaction() as cursor:
            return [RecordedGrant(*row) for row in cursor.execute(self._statement("grants_of"), {"user": user})]

    def holds_due(self, campaign: str, until_us: int, skip: int, limit: int) -> list[Grant]:
        """See the port. Those of this log."""
        asked = {"campaign": campaign, "log": self._log, "until_us": until_us, "skip": skip, "limit": limit}
        with self._reader.transaction() as cursor:
            return [Grant(*row) for row in cursor.execute(self._statement("holds_due"), asked)]

    def balance(self, campaign: str, account: str) -> Balance:
        """See the port."""
        users = user_account("")
        user = account.removeprefix(users) if account.startswith(users) else None
        with self._reader.transaction() as cursor:
            return Balance(*self._row(cursor, "balance", campaign=campaign, account=account, user=user))

    def totals(self) -> Totals:
        """See the port."""
        with self._reader.transaction() as cursor:
            return Totals(*self._row(cursor, "totals"))

    def round_totals(self, campaign: str, rounds: Sequence[str]) -> list[RoundTotals]:
        """Return the totals of those of the campaign's rounds that were granted from, by id. Reads a row for each log
        and round."""
        asked = {"campaign": campaign, "rounds": list(rounds)}
        with self._reader.transaction() as cursor:
            return [RoundTotals(*row) for row in cursor.execute(self._statement("round_totals"), asked)]

    def journal(self, after: int = 0) -> Generator[LogRecord, None, None]:
        """Yield the records of the log with seq > `after`, in order, all of one state of the database.

        Raises StoreCorrupt for a row that no store wrote. Has a connection of its own until it is exhausted or closed:
        whoever stops in the middle, and keeps the rest, keeps nobody waiting who reads or closes these records.
        """
        with (
            closing(self._reader.another()) as link,
            link.reading("journal", FETCHED_ROWS) as cursor,
        ):
            for row in cursor.execute(self._statement("journal"), {"log": self._log, "after": after}):
                yield record_of(row)

    def journal_page(self, after: int, limit: int) -> list[LogRecord]:
        """Return up to `limit` records of the log with seq > `after`, in order. Raises StoreCorrupt as `journal`."""
        asked = {"log": self._log, "after": after, "limit": limit}
        with self._reader.transaction() as cursor:
            return [record_of(row) for row in cursor.execute(self._statement("journal_page"), asked)]

    def note_of(self, pot: str) -> str | None:
        """Return what the log says that the pot was opened with; None: nothing."""
        with self._reader.transaction() as cursor:
            row = cursor.execute(self._statement("note"), {"log": self._log, "pot": pot}).fetchone()
        return None if row is None else str(row[0])

    def notes(self, after: int, limit: int) -> list[tuple[int, str, str]]:
        """Return seq, pot and note of up to so many pots that the log opened above this seq, in order."""
        asked = {"log": self._log, "after": after, "limit": limit}
        with self._reader.transaction() as cursor:
            return list(cursor.execute(self._statement("notes"), asked))

    def close(self) -> None:
        """See the port."""
        self._writer.close()
        self._reader.close()

    def _number(self, changes: Sequence[Change]) -> int:
        """Give numbers to the campaign and the pots that have none yet; return the campaign's.

        In a transaction of its own, for others may be writing. Raises RecordsConflict if there are several campaigns,
        or a pot is posted otherwise than before.
        """
        campaigns = {change.campaign for change in changes}
        if len(campaigns) > 1:
            raise RecordsConflict(f"{self._writer.name}: log {self._log} has changes of several campaigns: {campaigns}")
        (name,) = campaigns
        rules: dict[str, GrantRule] = {}
        for change in changes:
            if isinstance(change, GrantRun):
                rules[change.pot] = change.rule
            elif isinstance(change, ScatteredGrants):
                rules |= change.rules
        known = self._campaigns.get(name)
        fresh = sorted(pot for pot in rules if known is None or (known, pot) not in self._pots)
        if known is None or fresh:
            with self._writer.transaction() as cursor:
                known = self._campaigns[name] = self._numbered_campaign(cursor, name)
                self._number_pots(cursor, known, {pot: rules[pot] for pot in fresh})
        for pot, rule in rules.items():
            if (kept := self._pots[known, pot][1]) != rule:
                raise RecordsConflict(
                    f"{self._writer.name} posts pot {pot} as {kept}, this campaign as {rule}: "
                    "these records belong to another event"
                )
        return known

    def _numbered_campaign(self, cursor: Cursor, name: str) -> int:
        found = cursor.execute(self._statement("campaign"), {"id": name}).fetchone()
        if found is None:
            cursor.execute(self._statement("name_campaign"), {"id": name})
            cursor.execute(self._statement("keep_campaign"), {"id": name})
            found = self._row(cursor, "campaign", id=name)
        return int(found[0])

    def _number_pots(self, cursor: Cursor, campaign: int, rules: Mapping[str, GrantRule]) -> None:
        if len(self._pots) + len(rules) > POTS_MAX:
            self._pots.clear()
        names = {"campaign": campaign, "names": list(rules)}
        if not rules:
            return
        columns = {
            "id_prefixes": [rule.id_prefix for rule in rules.values()],
            "debit_accounts": [rule.debit_account for rule in rules.values()],
            "credit_prefixes": [rule.credit_prefix for rule in rules.values()],
        }
        found = cursor.execute(self._statement("pots"), names).fetchall()
        if len(found) < len(rules):
            cursor.execute(self._statement("keep_pots"), {**names, **columns})
            found = cursor.execute(self._statement("pots"), names).fetchall()
        for pot, number, *rule in found:
            self._pots[campaign, pot] = (number, GrantRule(*rule))

    def _keep_journal(self, cursor: Cursor, changes: Sequence[Change]) -> None:
        with cursor.copy(self._statement("copy_journal")) as copy:
            for change in changes:
                copy.write_row((self._log, *_journal_row(change)))

    def _keep_grants(self, cursor: Cursor, campaign: int, changes: Sequence[Change]) -> None:
        runs = [change for change in changes if isinstance(change, GrantRun) and change.holds is None]
        others = [change for change in changes if isinstance(change, GrantRun) and change.holds is not None]
        scattered = [change for change in changes if isinstance(change, ScatteredGrants)]
        added = _Sums()
        if runs:
            with cursor.copy(self._statement("copy_grants")) as copy:
                for run in runs:
                    pot, _ = self._pots[campaign, run.pot]
                    copy.write(grant_lines(run, pot))
                    added.add(pot, len(run.users), sum(run.amounts_minor))
        if scattered or others:
            with cursor.copy(self._statement("copy_scattered")) as copy:
                for change in scattered:
                    pots = {name: self._pots[campaign, name][0] for name in change.rules}
                    copy.write(scattered_lines(change, pots, self._log))
                    for grant, amount_minor in zip(change.record.grants, change.amounts_minor, strict=True):
                        added.add(pots[grant.pot], 1, amount_minor)
                for run in others:
                    pot, _ = self._pots[campaign, run.pot]
                    copy.write(lines_with_holds(run, pot))
                    added.add(pot, len(run.users), sum(run.amounts_minor))
        self._add_to_totals(cursor, added)

    def _end_holds(self, cursor: Cursor, campaign: int, changes: Sequence[Change]) -> None:
        """Make holds permanent, or take them away."""
        taken = _Sums()
        for change in changes:
            assert isinstance(change, Posted)
            assert isinstance(change.record, Confirmed | Released)
            released = isinstance(change.record, Released)
            for hold in change.record.holds:
                pot = self._pot_of(cursor, campaign, hold.pot)
                which = {"pot": pot, "slot": hold.slot, "number": hold.number, "log": self._log}
                found = cursor.execute(self._statement("release" if released else "confirm"), which).fetchone()
                if found is None:
                    raise RecordsConflict(
                        f"{self._writer.name}: log record {change.seq} ends a hold that is not there: {hold}"
                    )
                if released:
                    taken.add(pot, -1, -found[0])
        self._add_to_totals(cursor, taken)

    def _pot_of(self, cursor: Cursor, campaign: int, name: str) -> int:
        """Return the number of a pot that was granted from; 0, which no pot has, for one that was not."""
        if (campaign, name) in self._pots:
            return self._pots[campaign, name][0]
        row = cursor.execute(self._statement("pots"), {"campaign": campaign, "names": [name]}).fetchone()
        return 0 if row is None else int(row[1])

    def _add_to_totals(self, cursor: Cursor, sums: _Sums) -> None:
        if sums.grants:
            # In order, so that nobody who reads or writes several rows waits in a circle.
            pots = sorted(sums.grants)
            added = {name: [of_pot[pot] for pot in pots] for name, of_pot in sums.by_column().items()}
            cursor.execute(self._statement("add_to_pot_totals"), {"log": self._log, "pots": pots, **added})

    def _row(self, cursor: Cursor, name: str, **values: Any) -> tuple[Any, ...]:
        row = cursor.execute(self._statement(name), values).fetchone()
        if row is None:
            raise RecordsFailed(f"{self._writer.name} answers {name} with nothing")
        return row

    def _statement(self, name: str) -> bytes:
        return self._sql[name].encode()


def _journal_row(change: Change) -> Row:
    if not isinstance(change, GrantRun):
        return row_of(change.record)
    users = tuple(change.users)
    return granted_row(Granted(change.seq, change.pot, change.first_slot, users, change.at_us), users_text(users))
