"""Group packets: that each was paid by whoever sent it, was split as it was opened, and gave its rest back, once.

Three places are held against each other: the book of packets, what the log did with their pots, and what was moved of
balances. A packet that is paid and not opened yet, or whose rest was taken and not credited yet, is one that a crash,
or this very moment, has cut short: the book says of it that it is under way.
"""

import json
from typing import Any, Final

from redrush.settle.reconcile.book_rows import MOVED, Kept, PacketRow, Posting, Teller, is_part
from redrush.settle.reconcile.evidence import REST
from redrush.settle.reconcile.journal import Journal

UNPAID: Final = 0
PAYING: Final = 1
OPEN: Final = 2
OVER: Final = 3
POT: Final = "packet:"


def check_packets(kept: Kept, journal: Journal, teller: Teller) -> int:
    """Add what does not agree to the problems; return how many packets there are."""
    found: set[str] = set()
    for row in kept.books.packets():
        kept.note(("packet", row.id), row)
        found.add(row.id)
        _Packet(row, kept, journal, teller).check()
    source = f"{POT}{journal.terms.campaign}:"
    credit, spend = f"credit:{REST}", f"spend:{source}"
    for id_ in kept.postings:
        packet = id_.removeprefix(credit).removeprefix(spend)
        if packet != id_ and packet not in found:
            kept.explain(id_)
            what = "gives back what is left of" if id_.startswith(credit) else "pays"
            teller.about(("posting", id_))(
                f"posting {id_} of {kept.books.name('bills')} {what} a packet that is in no book",
                kept.books.mend("packets"),
            )
    for kind, bill in sorted(kept.bills):
        if kind == "payin" and bill.startswith(source) and bill.removeprefix(source) not in found:
            teller.about(("bill", kind, bill))(
                f"payin {bill} is of a packet that is in no book", kept.books.mend("packets")
            )
    for pot in sorted(journal.terms.bases):
        packet = pot.removeprefix(POT)
        if packet != pot and packet not in found and pot not in journal.terms.sponsored and _is_open(journal, pot):
            teller.about(("packet", packet))(f"packet {packet} is open, and in no book", kept.books.mend("packets"))
    return len(found)


def _is_open(journal: Journal, pot: str) -> bool:
    return any(number in journal.opened for number in journal.numbers_of(pot))


class _Packet:
    """One packet, and what is known of it."""

    def __init__(self, row: PacketRow, kept: Kept, journal: Journal, teller: Teller) -> None:
        self._row = row
        self._kept = kept
        self._journal = journal
        self._source = f"{POT}{journal.terms.campaign}:{row.id}"
        self._spend, self._credit = f"spend:{self._source}", f"credit:{REST}{row.id}"
        self._paid_in = kept.bills.get(("payin", self._source))
        self._refunds = kept.refunds.get(self._source, [])
        self._spent, self._credited = kept.explain(self._spend), kept.explain(self._credit)
        postings = (("posting", id_) for id_ in (self._spend, self._credit))
        refunds = (("bill", bill.kind, bill.source) for bill in self._refunds)
        self._tell = teller.about(("packet", row.id), ("bill", "payin", self._source), *postings, *refunds)

    def check(self) -> None:
        """See `check_packets`."""
        try:
            content = json.loads(self._row.content)
            wrong = self._differs(content)
            amounts, own = [int(one) for one in content.get("amounts") or ()], not content.get("sponsored")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._wrong(f"packet {self._row.id} cannot be read: {error!r}")
            return
        if wrong:
            self._wrong(f"packet {self._row.id}: {', '.join(wrong)} of it is not what was written")
        self._check_shares(amounts, content)
        self._check_payment(own=own)
        self._check_rest(own=own)

    def _wrong(self, sentence: str) -> None:
        self._tell(sentence, self._kept.books.mend("packets"))

    def _differs(self, content: dict[str, Any]) -> list[str]:
        """Return the columns that say something else than the whole."""
        row = self._row
        columns = {
            "id": row.id, "sender": row.sender, "created_us": row.created_us, "paid_us": row.paid_us,
            "closes_us": row.closes_us, "total_minor": row.total_minor, "request": row.request or "",
        }  # fmt: skip
        differing = [name for name, column in columns.items() if content.get(name) != column]
        return differing if row.stage in {UNPAID, PAYING, OPEN, OVER} else [*differing, "stage"]

    def _check_shares(self, amounts: list[int], content: dict[str, Any]) -> None:
        row, terms, pot = self._row, self._journal.terms, POT + self._row.id
        if amounts and (sum(amounts) != row.total_minor or len(amounts) != content["count"] or min(amounts) < 1):
            self._wrong(f"packet {row.id}: its shares come to {sum(amounts)} minor units, {row.total_minor} were paid")
        if pot in terms.bases and _is_open(self._journal, pot):
            base, count = terms.bases[pot]
            opened = terms.amounts[base : base + count].tolist()
            if opened != amounts:
                self._wrong(f"packet {row.id}: its shares are {amounts}, it was opened with {opened}")

    def _check_payment(self, *, own: bool) -> None:
        row, opened = self._row, _is_open(self._journal, POT + self._row.id)
        owed: Posting = (f"user:{row.sender}", "sponsor", row.total_minor)
        mend = self._kept.books.mend("bills")
        bill = self._paid_in
        if bill is not None and (bill.amount_minor, bill.account) != (row.total_minor, "sponsor"):
            self._tell(
                f"packet {row.id}: its pay-in is of {bill.amount_minor} minor units to {bill.account}, its sender "
                f"{row.sender} owed {row.total_minor} to the sponsor",
                f"`redrush bills compare` says what was paid in; {mend}",
            )
        paid = self._spent is not None or (bill is not None and bill.state in MOVED)
        if opened and own and not paid:
            self._tell(f"packet {row.id} is open, and nobody has paid it", f"its sender {row.sender} owes it; {mend}")
        back_minor = sum(refund.amount_minor for refund in self._refunds if not is_part(refund))
        if opened and own and back_minor and self._spent is None:
            self._tell(
                f"packet {row.id} is open, and {back_minor} minor units that were paid in for it go back",
                f"`redrush bills compare` says whether they have gone; {mend}",
            )
        if self._spent is not None and self._spent != owed:
            self._tell(
                f"packet {row.id}: {self._spent} was spent for it, its sender {row.sender} owes {row.total_minor}", mend
            )
        if not opened and row.stage == OPEN:
            self._wrong(f"packet {row.id} is open by the book, and by no log")
        elif not opened and self._spent is not None and row.stage != PAYING:
            self._tell(
                f"packet {row.id} is paid, and was never opened",
                "restart what serves payments, which takes up what is being paid",
            )

    def _check_rest(self, *, own: bool) -> None:
        row = self._row
        rest_minor = self._journal.rests.get(POT + row.id, 0)
        parts_minor = sum(refund.amount_minor for refund in self._refunds if is_part(refund))
        if parts_minor and parts_minor + rest_minor > row.total_minor:
            self._tell(
                f"packet {row.id}: {rest_minor} minor units are what is left, and {parts_minor} more went back, of "
                f"{row.total_minor} that were paid",
                f"`redrush bills compare` says whether they have gone; {self._kept.books.mend('bills')}",
            )
        due: Posting | None = ("sponsor", f"user:{row.sender}", rest_minor) if rest_minor and own else None
        if self._credited != due and not (self._credited is None and row.stage != OVER):
            self._tell(
                f"packet {row.id}: {self._credited} went back, {due} is what is left", self._kept.books.mend("bills")
            )
