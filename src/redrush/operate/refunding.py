"""Giving back what was paid in the sales of a campaign that is cancelled, or for some orders of it: one job, which
tells first what it would do.

Each order is changed in the book of sales, from the version that was read; whoever settles the sale leads it on: a
payment that was begun is closed at its provider, the shop is told to let go of what it has, and the money goes back to
where it came from. So the job is as durable as an order, may be given again after anything, and gives nothing back
twice. What a shop has sent, and does not let go of, stays sold, and is counted.

Packets between people are none of it: what is in them belongs to whoever opens them, and the rest goes back to their
sender by itself when they end.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

import msgspec

from redrush.control.event import load_event
from redrush.core.rush.instants import rfc3339
from redrush.core.rush.sale_order import SaleOrder, Why
from redrush.errors import RedrushError
from redrush.operate.as_seen import Seen
from redrush.operate.campaign_books import sale_book_of
from redrush.operate.paying import Books, book_of, refunds
from redrush.ports.sale_book import SaleBook
from redrush.settle.selling.steps import sources_of

AT_ONCE: Final = 500
"""Orders that are written down in one step."""

ROUNDS_MAX: Final = 3
"""How often the book is read again for orders that somebody else has led on meanwhile."""


class Whose(msgspec.Struct, frozen=True):
    """Whose orders are given back: those of a user, one of them, or all."""

    user: str | None = None
    order: str | None = None

    def has(self, order: SaleOrder) -> bool:
        """Whether it is one of these."""
        return self.user in (None, order.user) and self.order in (None, order.id)


ALL: Final = Whose()


class Refundable(msgspec.Struct, frozen=True, kw_only=True):
    """What was paid, or may still be, and does not go back yet; amounts in minor units."""

    campaign: str
    currency: str
    orders: int
    """Of which somebody keeps something, or may still pay."""
    paid: int
    """Of these, those that are paid."""
    paid_total_minor: int
    """Less what was given back in parts."""
    under_way: int
    """Orders whose money is on its way back already."""
    refunded: int
    not_let_go: int
    """Orders that the shop has sent, and not let go of: they stay sold."""
    open_rounds: tuple[str, ...]
    """Sales in which people can still buy, with the end of each."""


def find_refundable(books: Books, now_us: int, whose: Whose = ALL) -> Refundable:
    """Return what there is to give back. ConfigError, BookFailed."""
    campaign = load_event(books.data_dir).sealed.campaign
    with sale_book_of(books, campaign.id) as book:
        orders = [] if book is None else [order for order in book.all() if whose.has(order)]
    left = [order for order in orders if order.cancelled(now_us) is not None]
    paid = [order for order in left if order.paid_us is not None]
    return Refundable(
        campaign=campaign.id,
        currency=campaign.currency,
        orders=len(left),
        paid=len(paid),
        paid_total_minor=sum(order.price_minor for order in paid) - _gone_minor(books, campaign.id, paid),
        under_way=sum(order.why is Why.CANCELLED and not order.settled for order in orders),
        refunded=sum(order.why is Why.CANCELLED and order.settled and order.paid_us is not None for order in orders),
        not_let_go=sum(order.why is Why.NOT_RECALLED for order in orders),
        open_rounds=tuple(
            f"{one.id} (until {rfc3339(one.closes_us)})"
            for one in campaign.rounds
            if one.sale is not None and one.opens_us <= now_us < one.closes_us
        ),
    )


def _gone_minor(books: Books, campaign_id: str, paid: Sequence[SaleOrder]) -> int:
    """Return what of these orders' payments was given back in parts, or is on its way."""
    if not paid or not books.of_bills.there_are:
        return 0
    payments = {f"{sources_of(campaign_id)}{order.id}" for order in paid}
    with book_of(books.of_bills) as bills:
        return sum(one.amount_minor for one in refunds(bills) if one.of in payments)


def give_back(books: Books, seen: Seen, now_us: int, whose: Whose = ALL) -> Refundable:
    """Give back what there is, if it is still as it was seen: so many orders, of which so much is paid; return what
    that was. RedrushError if it is not: nothing was done."""
    found = find_refundable(books, now_us, whose)
    seen.check("orders", found.orders, found.paid_total_minor, found.currency)
    with sale_book_of(books, found.campaign) as book:
        if book is not None:
            _cancel_all(book, now_us, whose)
    return found


def _cancel_all(book: SaleBook, now_us: int, whose: Whose) -> None:
    for _ in range(ROUNDS_MAX):
        lost, orders = 0, _cancelled(book, now_us, whose)
        while some := list(islice(orders, AT_ONCE)):
            lost += book.keep(some).count(None)
        if not lost:
            return
    raise RedrushError(f"{lost:,} orders are being led on by somebody else; give the order again")


def _cancelled(book: SaleBook, now_us: int, whose: Whose) -> Iterator[SaleOrder]:
    for order in book.all():
        if whose.has(order) and (cancelled := order.cancelled(now_us)) is not None:
            yield cancelled
