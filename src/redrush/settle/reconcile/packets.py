"""Group packets: that each was paid by whoever sent it, and that what was left went back, once.

Three files are held against each other: what packets there are (`packets.db`), what the log did with their pots, and
what was moved of balances (`payments.db`). A packet that is paid and not opened yet, or whose rest was taken and not
credited yet, is one that a crash, or this very moment, has cut short: the book says of it that it is under way.
"""

import json
from pathlib import Path
from typing import Any, Final

from redrush.settle.reconcile.evidence import REST, one_state_of
from redrush.settle.reconcile.journal import Journal
from redrush.settle.reconcile.report import Problems

PAYING: Final = 1
OVER: Final = 3

Posting = tuple[str, str, int]


def check_packets(data_dir: Path, journal: Journal, problems: Problems) -> None:
    """Add what does not agree to the problems; where there is no book there is nothing to be said."""
    book, payments = data_dir / "packets.db", data_dir / "payments.db"
    if not book.exists():
        return
    # The payments are read last: what was opened by then has been paid by now.
    with one_state_of(book, "a book of packets") as packets:
        rows = packets.execute("SELECT id, sender, stage, total_minor, content FROM packets").fetchall()
    postings: dict[str, Posting] = {}
    if payments.exists():
        with one_state_of(payments, "a book of bills") as bills:
            found = bills.execute("SELECT id, debit_account, credit_account, amount_minor FROM postings")
            postings = {id_: (debit, credit, amount) for id_, debit, credit, amount in found}
    for row in rows:
        _check_one(row, journal, postings, problems)
    known = {f"credit:{REST}{row[0]}" for row in rows}
    for id_ in postings:
        if id_.startswith(f"credit:{REST}") and id_ not in known:
            problems.add(f"posting {id_} of payments.db gives back what is left of a packet that is in no book")


def _check_one(row: tuple[Any, ...], journal: Journal, postings: dict[str, Posting], problems: Problems) -> None:
    packet, sender, stage, total_minor, content = row
    pot, fields = f"packet:{packet}", json.loads(content)
    opened = any(number in journal.opened for number in journal.numbers_of(pot))
    amounts = fields.get("amounts") or []
    if amounts and (sum(amounts) != total_minor or len(amounts) != fields["count"] or min(amounts) < 1):
        problems.add(f"packet {packet}: its shares come to {sum(amounts)} minor units, {total_minor} were paid")
    own = not fields.get("sponsored")
    source = f"packet:{journal.terms.campaign}:{packet}"
    spent, charged = postings.get(f"spend:{source}"), postings.get(f"payin:{source}#1:done")
    if charged is not None and charged[1:] != ("sponsor", total_minor):
        problems.add(f"packet {packet}: {charged} was paid in for it, its sender {sender} owed {total_minor}")
    if opened and own and spent is None and charged is None:
        problems.add(f"packet {packet} is open, and nobody has paid it")
    if spent is not None and spent != (f"user:{sender}", "sponsor", total_minor):
        problems.add(f"packet {packet}: {spent} was spent for it, its sender {sender} owes {total_minor}")
    if not opened and spent is not None and stage != PAYING:
        problems.add(f"packet {packet} is paid, and was never opened")
    rest = journal.rests.get(pot, 0)
    credited = postings.get(f"credit:{REST}{packet}")
    due = ("sponsor", f"user:{sender}", rest) if rest and own else None
    if credited != due and not (credited is None and stage != OVER):
        problems.add(f"packet {packet}: {credited} went back, {due} is what is left")
