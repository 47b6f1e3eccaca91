"""Three books side by side: the double entry, our bills, and the provider's. Each difference has a name and a sentence.

ledger ── the clearing account must be what our bills say has moved
bills  ── each that has moved on the day is a line of the provider's, with the same amount and fee
theirs ── each line is a bill of ours
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final, Self

import msgspec

from redrush.core.money.clearing import clearing_account, fees_account, waiting_account
from redrush.ports.bill_book import BillBook, BillState, BillSum, KeptBill
from redrush.ports.provider import BillLine

DIFFERENCES_MAX: Final = 1_000
"""Differences that are named; beyond them they are counted."""


class Kind(StrEnum):
    """What differs."""

    THEIRS_ONLY = "theirs_only"
    OURS_ONLY = "ours_only"
    NOT_YET_OURS = "not_yet_ours"
    AMOUNT = "amount"
    FEE = "fee"
    TWICE = "twice"
    LEDGER = "ledger"


WHAT_TO_DO: Final = {
    Kind.THEIRS_ONLY: "money moved under a number that is not ours: ask the provider who ordered it",
    Kind.OURS_ONLY: "we have it as moved and the provider has not: see the days before and after",
    Kind.NOT_YET_OURS: "it has moved, and our book is behind: it is asked for again; look tomorrow",
    Kind.AMOUNT: "the amounts differ: ask the provider, and hold the bill until that is clear",
    Kind.FEE: "the fees differ: compare the contract with the provider's price list",
    Kind.TWICE: "the provider has two lines of one number: ask them to take one back",
    Kind.LEDGER: "the double entry is not what the bills say: keep a copy of the book and report it",
}


class Difference(msgspec.Struct, frozen=True):
    """One of them, in minor units; None: there is nothing on that side."""

    kind: Kind
    number: str
    ours_minor: int | None
    theirs_minor: int | None
    says: str


class Fees(msgspec.Struct, frozen=True):
    """Fees that a provider's bill alone tells (`unbooked_fees`): how many, and what they come to, minor units."""

    count: int
    total_minor: int

    @classmethod
    def of(cls, unbooked: Sequence[tuple[KeptBill, BillLine]]) -> Self:
        """Return what these lines come to."""
        return cls(len(unbooked), sum(line.fee_minor for _, line in unbooked))


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison has found. `difference_minor` is what their lines come to less what ours do, by direction."""

    provider: str
    day: str
    ours: int
    theirs: int
    ours_minor: int
    theirs_minor: int
    difference_minor: int
    fees_minor: int
    """What their lines say was kept as fees; where only they tell it, it is no difference."""
    unbooked: int = 0
    """So many lines tell of a fee that is not in our books yet (`unbooked_fees`)."""
    unbooked_minor: int = 0
    """What those fees come to."""
    differences: tuple[Difference, ...]
    unnamed: int
    """Differences beyond `DIFFERENCES_MAX`."""

    @property
    def ok(self) -> bool:
        """Whether all three say the same."""
        return not self.differences


class _Found:
    def __init__(self) -> None:
        self.named: list[Difference] = []
        self.unnamed = 0

    def add(self, kind: Kind, number: str, ours_minor: int | None, theirs_minor: int | None) -> None:
        if len(self.named) >= DIFFERENCES_MAX:
            self.unnamed += 1
            return
        self.named.append(Difference(kind, number, ours_minor, theirs_minor, WHAT_TO_DO[kind]))


def compare(
    provider: str,
    day: str,
    ours: Sequence[KeptBill],
    theirs: Sequence[BillLine],
    book: BillBook,
    *,
    tells_fees: bool = True,
) -> Compared:
    """Compare our bills that moved on a day with the provider's lines of it, and the ledger with all bills. Blocks.

    `tells_fees`: whether the provider has told us its fees before; else our bills know of none.
    """
    fees_minor = sum(line.fee_minor for line in theirs)
    found = _Found()
    by_number = {bill.number: bill for bill in ours}
    fees = Fees(0, 0)
    if not tells_fees:
        unbooked = unbooked_fees(theirs, by_number, book.numbered)
        fees = Fees.of(unbooked)
        only_theirs = {line.number for _, line in unbooked}
        theirs = [msgspec.structs.replace(one, fee_minor=0) if one.number in only_theirs else one for one in theirs]
    seen: set[str] = set()
    for line in theirs:
        if line.number in seen:
            found.add(Kind.TWICE, line.number, None, line.amount_minor)
            continue
        seen.add(line.number)
        _compare_line(line, by_number.get(line.number), book.numbered, found)
    for bill in ours:
        if bill.number not in seen:
            found.add(Kind.OURS_ONLY, bill.number, bill.amount_minor, None)
    _compare_ledger(provider, book, found)
    ours_minor = sum(_signed(bill.kind, bill.amount_minor, bill.fee_minor) for bill in ours)
    theirs_minor = sum(_signed(line.kind, line.amount_minor, line.fee_minor) for line in theirs)
    return Compared(
        provider=provider, day=day, ours=len(ours), theirs=len(theirs), ours_minor=ours_minor,
        theirs_minor=theirs_minor, difference_minor=theirs_minor - ours_minor, fees_minor=fees_minor,
        unbooked=fees.count,
        unbooked_minor=fees.total_minor,
        differences=tuple(found.named),
        unnamed=found.unnamed,
    )  # fmt: skip


def unbooked_fees(
    theirs: Iterable[BillLine], by_number: Mapping[str, KeptBill], numbered: Callable[[str], KeptBill | None]
) -> list[tuple[KeptBill, BillLine]]:
    """Return the lines that tell of a fee which our books do not have, of bills that have moved as the line says; of a
    number that stands there twice the first one alone."""
    found: dict[str, tuple[KeptBill, BillLine]] = {}
    for line in theirs:
        bill = by_number.get(line.number) or numbered(line.number)
        if bill is None or not line.fee_minor or bill.fee_minor or line.number in found:
            continue
        moved = bill.state in (BillState.DONE, BillState.PAID_LATE)
        if moved and (line.number, line.kind, line.amount_minor) == (bill.number, bill.kind, bill.amount_minor):
            found[line.number] = bill, line
    return list(found.values())


def _compare_line(
    line: BillLine, bill: KeptBill | None, numbered: Callable[[str], KeptBill | None], found: _Found
) -> None:
    if bill is None:
        known = numbered(line.number)
        kind = Kind.THEIRS_ONLY if known is None else Kind.NOT_YET_OURS
        if known is None or known.done_us is None:
            found.add(kind, line.number, None, line.amount_minor)
        return  # what is known and done stands on another day of ours
    if (line.kind, line.amount_minor) != (bill.kind, bill.amount_minor):
        found.add(Kind.AMOUNT, line.number, bill.amount_minor, line.amount_minor)
    elif line.fee_minor != bill.fee_minor:
        found.add(Kind.FEE, line.number, bill.fee_minor, line.fee_minor)


def _compare_ledger(provider: str, book: BillBook, found: _Found) -> None:
    """Hold the accounts of the provider against all bills there are."""
    sums = [one for one in book.sums() if one.provider == provider]
    moved = [one for one in sums if one.state in ("done", "paid_late")]
    expected = {
        clearing_account(provider): sum(_signed(one.kind, one.amount_minor, one.fee_minor) for one in moved),
        fees_account(provider): -sum(one.fee_minor for one in moved),
        **{waiting_account(kind, provider): _under_way(kind, sums) for kind in ("payout", "refund")},
    }
    kept = {account: book.net_of(account) for account in expected}
    for account, net in expected.items():
        if kept[account] != net:
            found.add(Kind.LEDGER, account, net, kept[account])


def _under_way(kind: str, sums: Iterable[BillSum]) -> int:
    ended = ("done", "paid_late", "closed", "failed", "cancelled")
    return sum(one.amount_minor for one in sums if one.kind == kind and one.state not in ended)


def _signed(kind: str, amount_minor: int, fee_minor: int) -> int:
    """Return what it adds to the clearing account: what leaves is above 0, and so is a fee."""
    return (-amount_minor if kind == "payin" else amount_minor) + fee_minor
