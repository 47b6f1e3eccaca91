"""Reconciliation from end to end: files in, report out."""

from bisect import bisect_right
from collections import Counter
from pathlib import Path

from redrush.errors import ConfigError
from redrush.settle.reconcile.evidence import Terms, one_state_of, read_terms
from redrush.settle.reconcile.journal import IN_TRANSIT, RETURNED, Journal, replay
from redrush.settle.reconcile.ledger import LedgerCheck
from redrush.settle.reconcile.report import Problems, Report, RoundReport
from redrush.sqlfiles import load_statements


def reconcile(data_dir: Path) -> Report:
    """Check a data directory, while its server runs or afterwards, and return what was found.

    Raises ConfigError if a file is missing or is not redrush's, RedrushError if one cannot be read.
    """
    sql = load_statements(__package__, "queries.sql")
    problems = Problems()
    terms = read_terms(data_dir)
    _check_terms(terms, problems)
    path = data_dir / "records.db"
    # The records' state is taken first: the journal, read afterwards, then holds at least all of it.
    with one_state_of(path, "the records") as records:
        row = records.execute(sql["cursor"]).fetchone()
        if row is None:
            raise ConfigError(f"{path} has no cursor: move it away, it is made anew from the journal")
        cursor = int(row[0])
        with one_state_of(data_dir / "journal.db", "a journal") as connection:
            journal = replay(connection, sql["journal"], terms, problems)
        LedgerCheck(records, sql, cursor, journal, problems).check()
    return _report(journal, cursor, problems)


def _check_terms(terms: Terms, problems: Problems) -> None:
    """Whether the amounts are those that were sealed, and add up to what was agreed."""
    if not terms.amounts_match:
        problems.add("amounts.i64 is not the table whose hash was sealed in campaign.json")
    slots = 0
    for round_ in terms.rounds.values():
        worth = sum(terms.amounts[round_.first_slot : round_.first_slot + round_.slot_count])
        slots += round_.slot_count
        if worth != round_.total_minor:
            problems.add(
                f"round {round_.id}: its slots are worth {worth} minor units, agreed were {round_.total_minor}"
            )
    if slots != len(terms.amounts):
        problems.add(f"the rounds have {slots} slots, the amounts table has {len(terms.amounts)}")


def _report(journal: Journal, cursor: int, problems: Problems) -> Report:
    terms = journal.terms
    worth_at: Counter[int] = Counter()
    for place, amount_minor in zip(journal.place, terms.amounts, strict=True):
        worth_at[place] += amount_minor
    rounds = tuple(
        _round_report(journal, number, worth_at, problems)
        for number, pot in enumerate(journal.pots)
        if pot in terms.rounds
    )
    returned = journal.pots.index(RETURNED)
    budget_minor = sum(round_.budget_minor for round_ in rounds)
    granted_minor = sum(round_.granted_minor for round_ in rounds)
    unclaimed_minor = sum(round_.unclaimed_minor for round_ in rounds)
    if budget_minor != granted_minor + unclaimed_minor + worth_at[IN_TRANSIT] + worth_at[returned]:
        problems.add(
            f"the budget is {budget_minor} minor units, but {granted_minor} granted, {unclaimed_minor} unclaimed, "
            f"{worth_at[IN_TRANSIT]} in transit and {worth_at[returned]} returned do not add up to it"
        )
    return Report(
        ok=problems.count == 0,
        campaign=terms.campaign,
        currency=terms.currency,
        grants=sum(round_.grants for round_ in rounds),
        budget_minor=budget_minor,
        granted_minor=granted_minor,
        unclaimed_minor=unclaimed_minor,
        in_transit_minor=worth_at[IN_TRANSIT],
        returned_minor=worth_at[returned],
        rounds=rounds,
        journal_seq=journal.seqs[-1] if journal.seqs else 0,
        recorded_seq=cursor,
        behind=len(journal.seqs) - bisect_right(journal.seqs, cursor),
        problems=tuple(problems.told),
        problem_count=problems.count,
    )


def _round_report(journal: Journal, number: int, worth_at: Counter[int], problems: Problems) -> RoundReport:
    """Add up one round two ways: by the records that went in and out, and by where its slots are in the end."""
    pot = journal.pots[number]
    terms = journal.terms.rounds[pot]
    opened = number in journal.opened
    report = RoundReport(
        round=pot,
        grants=journal.grant_count[number],
        budget_minor=terms.total_minor,
        received_minor=journal.received_minor[number],
        granted_minor=journal.granted_minor[number],
        passed_on_minor=journal.passed_on_minor[number],
        unclaimed_minor=worth_at[number] if opened else terms.total_minor,
    )
    put_in = report.budget_minor + report.received_minor
    found = report.granted_minor + report.passed_on_minor + report.unclaimed_minor
    if put_in != found:
        problems.add(f"round {pot}: {put_in} minor units were put in, {found} are granted, passed on or unclaimed")
    if report.granted_minor != worth_at[-number]:
        problems.add(
            f"round {pot}: {report.granted_minor} minor units were granted, its slots are worth {worth_at[-number]}"
        )
    return report
