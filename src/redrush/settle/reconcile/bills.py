"""Bills: that each has just the postings that its state stands for, that sums are kept right, and nobody has too much.

The rules of the double entry are stated a second time here, for what wrote the book is not asked.
"""

from collections import Counter
from typing import Final

from redrush.settle.reconcile.book_rows import MOVED, WENT_BACK, BillRow, Kept, Posting, Tell, Teller
from redrush.settle.reconcile.journal import Journal

STATES: Final = (
    frozenset({"new", "asked", "open", "closing", "pending", "confirming", "held", "closed"}) | MOVED | WENT_BACK
)
OF_BILLS: Final = ("payin:", "payout:", "refund:")
"""What postings that stand for bills begin with."""
ENDINGS: Final = ("", ":done", ":fee", ":back", ":late")
"""Of the ids of a bill's postings, after the number of the attempt."""
USERS: Final = "user:"


def check_bills(kept: Kept, teller: Teller) -> None:
    """Hold each bill against its postings, and refunds against what was paid in: all of it is of one state."""
    tell = teller.about()
    for bill in kept.bills.values():
        _check_bill(bill, kept, tell)
    for source, refunds in kept.refunds.items():
        paid = kept.bills.get(("payin", source))
        paid_minor = paid.amount_minor if paid is not None and paid.state in MOVED else 0
        amount_minor = sum(refund.amount_minor for refund in refunds)
        if amount_minor > paid_minor:
            tell(
                f"payin {source}: {amount_minor} minor units of it are given back, {paid_minor} were paid in",
                f"`redrush bills compare` says what the provider has moved; {kept.books.mend('bills')}",
            )


def _check_bill(bill: BillRow, kept: Kept, tell: Tell) -> None:
    name = f"{bill.kind}:{bill.source}"
    agreed = _postings_of(bill)
    ids = [f"{name}#{attempt}{ending}" for attempt in range(1, bill.attempt + 1) for ending in ENDINGS]
    said = f"{bill.kind} {bill.source} ({bill.number}) of {bill.amount_minor} minor units"
    hold = f"`redrush payout hold {bill.number} --why …` keeps it back, " if bill.kind == "payout" else ""
    if bill.state not in STATES:
        tell(f"{said} is in no state that there is: {bill.state!r}", kept.books.mend("bills"))
        return
    for id_ in ids:
        found = kept.explain(id_)
        if found == agreed.get(id_):
            continue
        if bill.state == "held" and id_.endswith(":back"):
            continue  # it had ended, before its provider said that it moved another amount
        tell(
            f"{said} is {bill.state}: posting {id_} is {found}, it must be {agreed.get(id_)}",
            f"{hold}`redrush bills compare` says what its provider has; {kept.books.mend('bills')}",
        )


def _postings_of(bill: BillRow) -> dict[str, Posting]:
    """Return the postings that there must be of a bill, by their ids."""
    name, provider, amount_minor = f"{bill.kind}:{bill.source}", bill.provider, bill.amount_minor
    last = f"{name}#{bill.attempt}"
    clearing = f"clearing:{provider}"
    agreed: dict[str, Posting] = {}
    if bill.kind == "payin":
        if bill.state in MOVED:
            agreed[f"{last}:done"] = (clearing, bill.account, amount_minor)
    else:
        owner = f"{USERS}{bill.user}" if bill.kind == "payout" else bill.account
        aside = f"{bill.kind}s:{provider}"
        for attempt in range(1, bill.attempt + 1):
            agreed[f"{name}#{attempt}"] = (owner, aside, amount_minor)
            if attempt < bill.attempt or bill.state in WENT_BACK or bill.state == "paid_late":
                agreed[f"{name}#{attempt}:back"] = (aside, owner, amount_minor)
        if bill.state == "paid_late":
            agreed[f"{last}:late"] = (owner, aside, amount_minor)
        if bill.state in MOVED:
            agreed[f"{last}:done"] = (aside, clearing, amount_minor)
    if bill.state in MOVED and bill.fee_minor > 0:
        agreed[f"{last}:fee"] = (f"fees:{provider}", clearing, bill.fee_minor)
    elif bill.state in MOVED and bill.fee_minor:  # it came back with a refund
        agreed[f"{last}:fee"] = (clearing, f"fees:{provider}", -bill.fee_minor)
    return agreed


def check_accounts(kept: Kept, journal: Journal, teller: Teller) -> None:
    """Hold the sums that are kept against the postings, and users' against what they were granted."""
    debits: Counter[str] = Counter()
    credits_: Counter[str] = Counter()
    late: Counter[str] = Counter()
    for id_, (debit, credit, amount_minor) in kept.postings.items():
        debits[debit] += amount_minor
        credits_[credit] += amount_minor
        if id_.endswith(":late"):
            late[debit] += amount_minor
    won = _won(journal)
    for account in sorted(kept.accounts.keys() | debits.keys() | credits_.keys()):
        sums = debits[account], credits_[account]
        if kept.accounts.get(account, (0, 0)) != sums:
            teller.about()(
                f"account {account}: debits and credits kept are {kept.accounts.get(account)}, its postings beside the "
                f"bills add up to {sums}",
                kept.books.mend("bills"),
            )
        user = account.removeprefix(USERS)
        # What a provider paid after it had said that it would not may be more than there is by then.
        over_minor = sums[0] - sums[1] - won[user] - late[account]
        if user != account and over_minor > 0:
            teller.about(("account", account))(
                f"user {user} was granted {won[user]} minor units, and {over_minor} more were paid out or spent",
                f"`redrush payout list --user {user}` says what, hold what has not left; {kept.books.mend('bills')}",
            )


def _won(journal: Journal) -> Counter[str]:
    """Return what each user was granted, in minor units."""
    won: Counter[str] = Counter()
    for slot, place in enumerate(journal.place):
        if place < 0 and (amount_minor := journal.terms.amounts[slot]):
            won[journal.user_of[slot] or ""] += amount_minor
    return won


def check_strays(kept: Kept, teller: Teller) -> None:
    """Tell of postings that nothing stands for. To be called last."""
    for id_ in kept.postings.keys() - kept.explained:
        what = "a bill" if id_.startswith(OF_BILLS) else "anything"
        teller.about(("posting", id_))(
            f"posting {id_} of {kept.books.name('bills')} is not of {what} that is in a book: {kept.postings[id_]}",
            kept.books.mend("bills"),
        )
