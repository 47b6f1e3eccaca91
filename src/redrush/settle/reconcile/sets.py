"""Reconciliation over many sets: each one's journal in the records, the rest of its log in its store, of one moment.

A slot may have left one set and joined another a moment ago, so the logs must be read of one moment, or it seems to be
in two places or in none. Recorders are held for as long as it takes to read what they have not recorded: then no log is
trimmed, what is read joins the journal without a gap, and where a give was read whose take was not, the other log is
read on until it is found. Claims notice nothing; the records lag for that time, which they may.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any, Final

import msgspec

from redrush.errors import RedrushError
from redrush.ports.log_rows import row_of
from redrush.ports.store import Given, Granted, LogRecord, Opened, Store, Taken
from redrush.settle.reconcile.book_rows import Marks
from redrush.settle.reconcile.book_tables import one_state_of_tables
from redrush.settle.reconcile.books import check_books
from redrush.settle.reconcile.chain import LogEnd, Mark, check_losses, followed
from redrush.settle.reconcile.evidence import read_terms
from redrush.settle.reconcile.journal import NOWHERE, Journal, Log
from redrush.settle.reconcile.postgres import Database, one_state_of, recorders_held
from redrush.settle.reconcile.report import Problems, Report
from redrush.settle.reconcile.run import check_terms, report_of
from redrush.settle.whole_log import read_to_end

COMPACT: Final = (",", ":")
"""How the store writes lists."""

BOOKS: Final = "the database of the books"


class SetSource(msgspec.Struct, frozen=True):
    """Where a set's evidence is: the log `set` in the database `dsn`, and its store, None if that cannot be reached.

    `rounds` are the ids of those that are divided over it; None: all.
    """

    set: str
    dsn: str
    store: Store | None
    rounds: frozenset[str] | None = None
    end: Callable[[], Awaitable[LogEnd]] | None = None
    """Asks the set where its log ends; None: it does not know."""


class Tail:
    """What of a set's log is not in the records."""

    def __init__(self, source: SetSource, cursor: int) -> None:
        self.set = source.set
        self.store = source.store
        self.records: list[LogRecord] = []
        self._read_to = cursor

    async def read_on(self) -> list[LogRecord]:
        """Return all records that the store has by now and that were not kept yet."""
        return [] if self.store is None else await read_to_end(self.store, self._read_to)

    def keep(self, records: Sequence[LogRecord]) -> None:
        """Add records, which follow what was kept before."""
        self.records += records
        if records:
            self._read_to = records[-1].seq


async def reconcile_sets(data_dir: Path, sources: Sequence[SetSource], books_dsn: str | None = None) -> Report:
    """Check a campaign over all its sets, while they run or afterwards, and return what was found.

    `data_dir` holds the sealed campaign, the database `books_dsn` its books of money; None: it has none. A store that
    cannot be reached is a problem of the report: what it may have decided above its cursor is not known. Raises
    ConfigError if the campaign cannot be read, RedrushError if records or books cannot.
    """
    problems = Problems()
    terms = await asyncio.to_thread(read_terms, data_dir)
    check_terms(terms, problems)
    marks_of_books = None if books_dsn is None else await asyncio.to_thread(_marks_of, books_dsn, terms.campaign)
    with ExitStack() as stack:
        databases = await _evidence(stack, sources, terms.campaign)
        by_set = {source.set: databases[source.dsn][0] for source in sources}
        cursors = {source.set: by_set[source.set].cursors.get(source.set, 0) for source in sources}
        tails = [Tail(source, cursors[source.set]) for source in sources]
        for tail in tails:
            if tail.store is None:
                problems.add(f"set {tail.set} cannot be reached, what it did above its cursor is not known")
        marks, ends = await _marks(sources, by_set, problems)
        await _read_tails(
            tails, {transfer for database, _ in databases.values() for transfer in database.taken}, problems
        )
        for _, held in databases.values():
            await asyncio.to_thread(held.close)

        def judge() -> Report:
            for set_, database in by_set.items():
                terms.add_noted(database.notes(set_), problems.add)
            for tail in tails:
                opened = (record for record in tail.records if isinstance(record, Opened) and record.note)
                terms.add_noted(((record.pot, record.note) for record in opened), problems.add)
            journal = Journal(terms, problems, [source.set for source in sources])
            journal.replay(_logs(by_set, cursors, tails, marks, problems))
            for set_, end in ends.items():
                check_losses(set_, end, problems)
            _check_divisions(journal, sources, problems)
            for dsn, (database, _) in databases.items():
                sets = [source.set for source in sources if source.dsn == dsn]
                database.check(sets, journal, problems)
            if books_dsn is None or marks_of_books is None:
                return report_of(journal, cursors, problems)
            with one_state_of_tables(books_dsn, BOOKS, terms.campaign) as books:
                kept = check_books(marks_of_books, books, journal, problems)
            return report_of(journal, cursors, problems, kept)

        return await asyncio.to_thread(judge)


def _marks_of(dsn: str, campaign: str) -> Marks:
    with one_state_of_tables(dsn, BOOKS, campaign) as books:
        return Marks(books)


async def _evidence(
    stack: ExitStack, sources: Sequence[SetSource], campaign: str
) -> dict[str, tuple[Database, ExitStack]]:
    """Return one state of each database, by DSN, and what to close to let its recorders go on.

    All recorders of all databases are held before the first state is taken.
    """
    names: dict[str, list[str]] = {}
    for source in sources:
        names.setdefault(source.dsn, []).append(source.set)
    held = {dsn: stack.enter_context(ExitStack()) for dsn in names}
    places = {dsn: f"the database of {', '.join(sets)}" for dsn, sets in names.items()}
    for dsn, place in places.items():
        await asyncio.to_thread(held[dsn].enter_context, recorders_held(dsn, place))
    return {
        dsn: (await asyncio.to_thread(stack.enter_context, one_state_of(dsn, place, campaign)), held[dsn])
        for dsn, place in places.items()
    }


async def _read_tails(tails: Sequence[Tail], taken: set[str], problems: Problems) -> None:
    """Read every log to its end, then on for the takes of what was given meanwhile. `taken` is in the journals."""
    for tail, found in zip(tails, await asyncio.gather(*(_read(tail, problems) for tail in tails)), strict=True):
        tail.keep(found)
    while missing := _given(tails) - _taken(tails) - taken:
        moved = False
        for tail in tails:
            found = await _read(tail, problems)
            wanted = [at for at, record in enumerate(found) if isinstance(record, Taken) and record.transfer in missing]
            if wanted:
                tail.keep(found[: wanted[-1] + 1])
                moved = True
        if not moved:
            return  # it is in no log; the journal tells of it


async def _read(tail: Tail, problems: Problems) -> list[LogRecord]:
    """Return what follows in the log; nothing if the store cannot be reached, which is told once."""
    try:
        return await tail.read_on()
    except RedrushError as fault:
        tail.store = None
        problems.add(f"set {tail.set} cannot be read, what it did above its cursor is not known: {fault}")
        return []


def _given(tails: Sequence[Tail]) -> set[str]:
    return {record.transfer for tail in tails for record in tail.records if isinstance(record, Given)}


def _taken(tails: Sequence[Tail]) -> set[str]:
    return {record.transfer for tail in tails for record in tail.records if isinstance(record, Taken)}


async def _marks(
    sources: Sequence[SetSource], by_set: Mapping[str, Database], problems: Problems
) -> tuple[dict[str, list[Mark]], dict[str, LogEnd]]:
    """Return the fingerprints that were noted of each set's log, and where each ends by itself."""
    marks: dict[str, list[Mark]] = {}
    ends: dict[str, LogEnd] = {}
    for source in sources:
        noted = by_set[source.set].chains.get(source.set)
        marks[source.set] = [] if noted is None else [Mark(*noted, "the recorder")]
        if source.end is None:
            continue
        try:
            end = await source.end()
        except RedrushError as fault:
            problems.add(f"set {source.set} does not say where its log ends: {fault}")
            continue
        ends[source.set] = end
        marks[source.set].append(Mark(end.seq, end.chain, "the set"))
        cursor = by_set[source.set].cursors.get(source.set, 0)
        if end.seq < cursor:
            problems.add(f"set {source.set}: its log ends at record {end.seq}, and {cursor} records of it are recorded")
    return marks, ends


def _logs(
    by_set: Mapping[str, Database],
    cursors: Mapping[str, int],
    tails: Sequence[Tail],
    marks: Mapping[str, list[Mark]],
    problems: Problems,
) -> dict[str, Log]:
    logs = {}
    for tail in tails:
        rows = chain(by_set[tail.set].journal(tail.set), _rows(tail.records))
        logs[tail.set] = Log(followed(tail.set, rows, marks[tail.set], problems), cursors[tail.set])
    return logs


def _rows(records: Sequence[LogRecord]) -> Iterator[tuple[Any, ...]]:
    """Write log records as the journal has them, a second time and in another way than the store does."""
    for record in records:
        if isinstance(record, Granted):
            users = json.dumps(record.users, separators=COMPACT, ensure_ascii=False)
            yield (
                record.seq,
                "granted",
                record.pot,
                record.first_slot,
                len(record.users),
                record.at_us,
                users,
                None,
                None,
            )
        elif isinstance(record, Opened):
            usual = record.limit_per_user == 1 and record.hold_us is None
            terms = None if usual else json.dumps([record.limit_per_user, record.hold_us], separators=COMPACT)
            opened = record.seq, "opened", record.pot, record.slots.first, record.slots.count
            yield *opened, None, None, terms, record.note or None
        elif not isinstance(record, Taken | Given):
            yield row_of(record)
        else:
            kind = "taken" if isinstance(record, Taken) else "given"
            runs = json.dumps([[run.first, run.count] for run in record.slots], separators=COMPACT)
            yield record.seq, kind, record.pot, None, None, None, None, runs, record.transfer


def _check_divisions(journal: Journal, sources: Sequence[SetSource], problems: Problems) -> None:
    """Whether the shares of all sets make up the whole round, where all have opened it."""
    for round_ in journal.terms.rounds.values():
        sharing = {source.set for source in sources if source.rounds is None or round_.id in source.rounds}
        opened = {journal.pots[number].set for number in journal.numbers_of(round_.id) if number in journal.opened}
        if not sharing <= opened:
            continue
        nowhere = sum(
            journal.place[slot] == NOWHERE for slot in range(round_.first_slot, round_.first_slot + round_.slot_count)
        )
        if nowhere:
            problems.add(f"round {round_.id}: {nowhere} of its slots were given to none of its sets")
