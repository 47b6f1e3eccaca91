"""Orders of sales: that a unit is where its order says, and that whoever paid has a unit or the money back.

An order is written down before what it stands for is done, and what has been done before it is said; so each state says
what the log and the bills must have by then.
"""

import json
from typing import Any, Final

from redrush.settle.reconcile.book_rows import MOVED, Kept, OrderRow, Teller, is_part
from redrush.settle.reconcile.journal import Journal

HELD: Final = frozenset({"paying", "closing"})
"""States in which the unit is held for the buyer, and not sold for good."""
SOLD: Final = frozenset({"sold", "delivered"})
TAKEN_BACK: Final = frozenset({"recalling", "returning", "refunding", "refunded"})
"""States in which the unit of a cancelled order may be sold for good, and stays so."""
RELEASED: Final = frozenset({"returned", "late", "refunding", "refunded"})
"""States in which the unit is back in its pot."""
PAID: Final = SOLD | {"late", "recalling", "refunding", "refunded"}
"""States in which money has come."""
STATES: Final = HELD | SOLD | RELEASED | {"recalling", "returning"}
COLUMNS: Final = ("id", "version", "set", "pot", "slot", "number", "user", "state", "due_us")


def check_orders(kept: Kept, journal: Journal, teller: Teller) -> int:
    """Add what does not agree to the problems; return how many orders there are."""
    source, count = f"sale:{journal.terms.campaign}:", 0
    ids: set[str] = set()
    holds: set[tuple[str, str, int, int]] = set()
    for row in kept.books.orders():
        kept.note(("order", row.id), row)
        _Order(row, kept, journal, teller, f"{source}{row.id}").check()
        ids.add(row.id)
        holds.add((row.set, row.pot, row.slot, row.number))
        count += 1
    for kind, of in sorted(kept.bills):
        if kind == "payin" and of.startswith(source) and of.removeprefix(source) not in ids:
            teller.about(("bill", kind, of))(
                f"payin {of} is of an order that is in no book",
                f"`redrush bills compare` says whether it was paid; {kept.books.mend('orders')}",
            )
    for set_, pot, slot, number, user in journal.sold():
        if (set_, pot, slot, number) not in holds:
            teller.about()(
                f"slot {slot} of {pot} is sold for good to {user}, and stands in no order", kept.books.mend("orders")
            )
    return count


class _Order:
    """One order, and what is known of it."""

    def __init__(self, row: OrderRow, kept: Kept, journal: Journal, teller: Teller, source: str) -> None:
        self._row = row
        self._kept = kept
        self._journal = journal
        self._paid = kept.bills.get(("payin", source))
        self._refunds = kept.refunds.get(source, [])
        bills = (("bill", bill.kind, bill.source) for bill in self._refunds)
        self._tell = teller.about(("order", row.id), ("bill", "payin", source), *bills)

    def check(self) -> None:
        """See `check_orders`."""
        row = self._row
        try:
            body: dict[str, Any] = json.loads(row.body)
            wrong = [name for name in COLUMNS if body.get(name, "" if name == "set" else None) != getattr(row, name)]
            price_minor = int(body["price_minor"])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._wrong(f"order {row.id} cannot be read: {error!r}")
            return
        if wrong:
            said = ", ".join(f"{name} is {getattr(row, name)!r} and {body.get(name)!r}" for name in wrong)
            self._wrong(f"order {row.id}: its {said}: it is not what was written")
        if row.state not in STATES:
            self._wrong(f"order {row.id} is in no state that there is: {row.state!r}")
            return
        self._check_unit(is_cancelled=body.get("why") == "cancelled")
        self._check_money(price_minor)

    def _wrong(self, sentence: str) -> None:
        self._tell(sentence, self._kept.books.mend("orders"))

    def _check_unit(self, *, is_cancelled: bool) -> None:
        row = self._row
        held = self._journal.hold(row.set, row.pot, row.slot, row.number)
        if held is None:
            where = "is back"
        else:
            where = f"{'is sold for good to' if held.confirmed else 'is held for'} {held.user}"
        agreed = {
            f"is held for {row.user}": HELD | {"sold", "recalling", "returning"},
            f"is sold for good to {row.user}": SOLD | TAKEN_BACK if is_cancelled else SOLD,
            "is back": RELEASED | {"returning"},
        }
        if row.state not in agreed.get(where, ()):
            self._wrong(f"order {row.id} is {row.state}, and by the log its unit {where}")

    def _check_money(self, price_minor: int) -> None:
        row, bill = self._row, self._paid
        given_back_minor = sum(refund.amount_minor for refund in self._refunds)
        all_back = [refund for refund in self._refunds if not is_part(refund)]
        compare = f"`redrush bills compare` says what was paid; {self._kept.books.mend('orders')}"
        if bill is not None and (bill.amount_minor, bill.user) != (price_minor, row.user):
            self._tell(
                f"order {row.id}: its pay-in is of {bill.amount_minor} minor units by {bill.user}, its price is "
                f"{price_minor} for {row.user}",
                compare,
            )
        paid = bill is not None and bill.state in MOVED
        if row.state in PAID and not paid:
            self._tell(f"order {row.id} is {row.state}, and nobody has paid it", compare)
        if row.state in SOLD and all_back:
            back_minor = sum(refund.amount_minor for refund in all_back)
            self._tell(f"order {row.id} is {row.state}, and {back_minor} minor units went back for it", compare)
        if row.state == "refunded" and (
            given_back_minor < price_minor or any(refund.state not in MOVED for refund in all_back)
        ):
            arrived_minor = sum(refund.amount_minor for refund in self._refunds if refund.state in MOVED)
            self._tell(
                f"order {row.id} is refunded, and {arrived_minor} of {price_minor} minor units went back; what has "
                "failed `redrush reissue` gives back",
                compare,
            )
        if row.state == "returned" and bill is not None and paid and bill.is_told and not given_back_minor:
            self._tell(f"order {row.id} was paid, and has neither its unit nor the money back", compare)
