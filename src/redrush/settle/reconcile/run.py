"""Reconciliation from end to end: files in, report out."""

from collections import Counter
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

from redrush.errors import ConfigError
from redrush.settle.reconcile.book_files import one_state_of_files
from redrush.settle.reconcile.book_rows import Marks
from redrush.settle.reconcile.books import check_books
from redrush.settle.reconcile.evidence import RoundTerms, Terms, one_state_of, read_terms
from redrush.settle.reconcile.history import check_history
from redrush.settle.reconcile.journal import IN_TRANSIT, NOWHERE, RETURNED, WHOLE, Journal, Log
from redrush.settle.reconcile.ledger import LedgerCheck
from redrush.settle.reconcile.packets import POT
from redrush.settle.reconcile.report import BooksReport, PacketsReport, Problems, Report, RoundReport, SetReport
from redrush.sqlfiles import load_statements


def reconcile(data_dir: Path, bills_of: Path | None = None) -> Report:
    """Check a data directory, while its server runs or afterwards, and return what was found. `bills_of` has its bills,
    where another campaign's server hosts it.

    Raises ConfigError if a file is missing or is not redrush's, RedrushError if one cannot be read.
    """
    sql = load_statements(__package__, "queries.sql")
    problems = Problems()
    campaign = read_terms(data_dir).campaign  # what is wrong with them is told before anything else
    books_at = data_dir, bills_of or data_dir, campaign
    with one_state_of_files(*books_at) as books:
        marks = None if books is None else Marks(books)
    path = data_dir / "records.db"
    # The records' state is taken first: the journal, read afterwards, then holds at least all of it.
    with one_state_of(path, "the records") as records:
        row = records.execute(sql["cursor"]).fetchone()
        if row is None:
            raise ConfigError(f"{path} has no cursor: move it away, it is made anew from the journal")
        cursor = int(row[0])
        with one_state_of(data_dir / "journal.db", "a journal") as connection:
            connection.execute(sql["last_seq"]).fetchone()  # one state from here on: amendments are read after it
            terms = read_terms(data_dir)
            check_terms(terms, problems)
            journal = Journal(terms, problems)
            journal.replay({WHOLE: Log(connection.execute(sql["journal"]), cursor)})
            check_history(data_dir, connection, records, problems)
        with one_state_of_files(*books_at) as books:
            kept = None if books is None or marks is None else check_books(marks, books, journal, problems)
        LedgerCheck(records, sql, journal, problems).check()
    return report_of(journal, {WHOLE: cursor}, problems, kept)


def check_terms(terms: Terms, problems: Problems) -> None:
    """Whether the amounts are those that were sealed, and add up to what was agreed."""
    if not terms.amounts_match:
        problems.add("amounts.i64 is not the table whose hash was sealed in campaign.json")
    slots = 0
    for round_ in terms.rounds.values():
        worth = sum(sum(terms.amounts[first : first + count]) for first, count in round_.own)
        slots += sum(count for _, count in round_.own)
        if worth != round_.total_minor:
            problems.add(
                f"round {round_.id}: its slots are worth {worth} minor units, agreed were {round_.total_minor}"
            )
    table = len(terms.amounts) - sum(count for _, count in terms.bases.values())
    if slots != table:
        problems.add(f"the rounds have {slots} slots, the amounts table has {table}")


def report_of(
    journal: Journal, cursors: Mapping[str, int], problems: Problems, books: BooksReport | None = None
) -> Report:
    """Add everything up. `cursors` says up to which seq the records hold each set's log, `books` what was looked at
    of them."""
    terms = journal.terms
    for set_, cursor in cursors.items():
        if cursor > (last_seq := journal.heard[set_].last_seq):
            of_set = f" of set {set_}" if set_ else ""
            problems.add(f"the records hold seq {cursor}{of_set}, but the journal ends at seq {last_seq}")
    worth_at: Counter[int] = Counter()
    for place, amount_minor in zip(journal.place, terms.amounts, strict=True):
        worth_at[place] += amount_minor
    rounds = tuple(_round_report(journal, round_, worth_at, problems) for round_ in terms.rounds.values())
    returned_minor = sum(worth_at[number] for number in journal.numbers_of(RETURNED))
    pots = [number for number, part in enumerate(journal.pots) if part.pot in terms.bases]
    opened = {journal.pots[number].pot for number in pots if number in journal.opened}
    budget_minor = sum(round_.budget_minor for round_ in rounds) + sum(
        sum(terms.amounts[base : base + count]) for pot, (base, count) in terms.bases.items() if pot in opened
    )
    granted_minor = sum(round_.granted_minor for round_ in rounds) + sum(journal.granted_minor[at] for at in pots)
    unclaimed_minor = sum(round_.unclaimed_minor for round_ in rounds) + sum(worth_at[at] for at in pots)
    if budget_minor != granted_minor + unclaimed_minor + worth_at[IN_TRANSIT] + returned_minor:
        problems.add(
            f"the budget is {budget_minor} minor units, but {granted_minor} granted, {unclaimed_minor} unclaimed, "
            f"{worth_at[IN_TRANSIT]} in transit and {returned_minor} returned do not add up to it"
        )
    return Report(
        ok=problems.count == 0,
        campaign=terms.campaign,
        currency=terms.currency,
        grants=sum(round_.grants for round_ in rounds) + sum(journal.grant_count[at] for at in pots),
        budget_minor=budget_minor,
        granted_minor=granted_minor,
        unclaimed_minor=unclaimed_minor,
        in_transit_minor=worth_at[IN_TRANSIT],
        returned_minor=returned_minor,
        rounds=rounds,
        sets=tuple(_set_report(journal, set_, cursors[set_], worth_at) for set_ in journal.heard if set_ != WHOLE),
        journal_seq=sum(heard.last_seq for heard in journal.heard.values()),
        recorded_seq=sum(cursors.values()),
        behind=sum(heard.behind for heard in journal.heard.values()),
        problems=tuple(problems.told),
        problem_count=problems.count,
        books=books,
        packets=_packets_report(journal, worth_at),
    )


def _round_report(journal: Journal, terms: RoundTerms, worth_at: Counter[int], problems: Problems) -> RoundReport:
    """Add up one round two ways: by the records that went in and out, and by where its slots are in the end."""
    pot = terms.id
    numbers = journal.numbers_of(pot)
    own = chain.from_iterable(range(first, first + count) for first, count in terms.own)
    unopened_minor = sum(journal.terms.amounts[slot] for slot in own if journal.place[slot] == NOWHERE)
    report = RoundReport(
        round=pot,
        grants=sum(journal.grant_count[number] for number in numbers),
        budget_minor=terms.total_minor,
        received_minor=journal.received_minor[pot],
        granted_minor=sum(journal.granted_minor[number] for number in numbers),
        passed_on_minor=journal.passed_on_minor[pot],
        unclaimed_minor=sum(worth_at[number] for number in numbers) + unopened_minor,
    )
    put_in = report.budget_minor + report.received_minor
    found = report.granted_minor + report.passed_on_minor + report.unclaimed_minor
    if put_in != found:
        problems.add(f"round {pot}: {put_in} minor units were put in, {found} are granted, passed on or unclaimed")
    granted_now = sum(worth_at[-number] for number in numbers)
    if report.granted_minor != granted_now:
        problems.add(f"round {pot}: {report.granted_minor} minor units were granted, its slots are worth {granted_now}")
    return report


def _packets_report(journal: Journal, worth_at: Counter[int]) -> PacketsReport | None:
    terms = journal.terms
    packets = {pot: journal.numbers_of(pot) for pot in terms.bases if pot.startswith(POT)}
    opened = {pot: numbers for pot, numbers in packets.items() if not journal.opened.isdisjoint(numbers)}
    if not opened:
        return None
    numbers = list(chain.from_iterable(opened.values()))
    amounts = [terms.amounts[base : base + count] for base, count in map(terms.bases.__getitem__, opened)]
    return PacketsReport(
        count=len(opened),
        shares=sum(map(len, amounts)),
        grants=sum(journal.grant_count[number] for number in numbers),
        total_minor=sum(map(sum, amounts)),
        granted_minor=sum(journal.granted_minor[number] for number in numbers),
        returned_minor=sum(journal.rests[pot] for pot in opened),
        unclaimed_minor=sum(worth_at[number] for number in numbers),
    )


def _set_report(journal: Journal, set_: str, cursor: int, worth_at: Counter[int]) -> SetReport:
    numbers = [number for number, part in enumerate(journal.pots) if part.set == set_ and part.pot != RETURNED]
    heard = journal.heard[set_]
    return SetReport(
        set=set_,
        grants=sum(journal.grant_count[number] for number in numbers),
        granted_minor=sum(journal.granted_minor[number] for number in numbers),
        unclaimed_minor=sum(worth_at[number] for number in numbers),
        journal_seq=heard.last_seq,
        recorded_seq=cursor,
        behind=heard.behind,
    )
