"""Erasing personal data by order: of one user, or of everybody whose matters ended long ago.

Erased are addresses of orders, and whom a bill went to or came from at a provider where that is more than the user's
id. What money and prizes stand on stays: grants, receipts, bills and the ledger name the user's id and nothing else. An
order or a bill that is not settled keeps its address until it is, and the order says how many these are.

A line in `erasures.jsonl` says when it was done, by whom and why. Backups made before still have what was erased,
encrypted: delete them when their time is over.
"""

from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

import msgspec

from redrush.control.campaigns import hosted_beside, keeper_of_books
from redrush.control.durable_file import append_durably
from redrush.control.personal_data import PersonalData
from redrush.control.sealing import load_sealed
from redrush.core.rush.instants import rfc3339
from redrush.errors import ConfigError, RedrushError
from redrush.operate.campaign_books import sale_book_of
from redrush.operate.paying import Books, book_of
from redrush.ports.bill_book import FINAL, BillBook, BillState
from redrush.ports.sale_book import SaleBook
from redrush.records.sqlite.sales import SqliteSaleBook
from redrush.settle.selling.private_book import PrivateSaleBook

UNDER_WAY: Final = tuple(state for state in BillState if state not in FINAL)


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """What was erased, as it stands in the log."""

    at: str
    who: str
    why: str
    user: str | None
    """None: everybody's."""
    before: str
    """Only what has not changed since."""
    orders: int
    bills: int
    still_needed: int
    """Addresses of orders that are not settled."""
    bills_still_needed: int
    """Of bills that are under way."""
    elsewhere: tuple[str, ...] = ()
    """Directories of campaigns besides that have orders, of that user or of anybody: nothing was erased there."""


def erase(books: Books, user: str | None, before_us: int, *, who: str, why: str, now_us: int) -> Erased:
    """Erase, and write down that it was done; of a deployment, the orders of all its campaigns. ConfigError for a
    directory without a campaign, or if the disk refuses. RedrushError for a user of whom the books have nothing: an id
    that was mistyped is not written down as erased.

    A server may be running. The same order again erases what has come since.
    """
    data_dir = books.data_dir
    elsewhere: tuple[str, ...] = ()
    with ExitStack() as opened:
        if books.deployment is None:
            data_dir.require()
            elsewhere = tuple(str(one.root) for one in hosted_beside(data_dir) if _has_orders_at(one.sales, user))
            bills_of = Books(keeper_of_books(data_dir), None)
            sales = [(data_dir, opened.enter_context(sale_book_of(books, "")))]
        else:
            bills_of = books
            directories = [one for one in (data_dir, *hosted_beside(data_dir)) if one.campaign.is_file()]
            campaigns = [(one, load_sealed(one).campaign.id) for one in directories]
            sales = [(one, opened.enter_context(sale_book_of(books, id_))) for one, id_ in campaigns]
        bill_book = opened.enter_context(book_of(bills_of)) if bills_of.there_are else None
        orders_of = [(one, book) for one, book in sales if book is not None]
        if user is not None:
            known = any(_has_orders(book, user) for _, book in orders_of)
            if not known and (bill_book is None or not bill_book.listed(user=user, limit=1)):
                raise _unknown(user, elsewhere)
        orders = still_needed = bills = bills_still_needed = 0
        for one, book in orders_of:
            removed, needed = PrivateSaleBook(book, PersonalData(one)).forget(before_us, user)
            orders, still_needed = orders + removed, still_needed + needed
        if bill_book is not None:
            bills = bill_book.forget_receivers(before_us, user)
            bills_still_needed = _under_way(bill_book, before_us, user)
    erased = Erased(
        at=rfc3339(now_us), who=who, why=why, user=user, before=rfc3339(before_us), orders=orders, bills=bills,
        still_needed=still_needed, bills_still_needed=bills_still_needed, elsewhere=elsewhere,
    )  # fmt: skip
    try:
        append_durably(data_dir.erasures, msgspec.json.encode(erased) + b"\n")
    except OSError as fault:
        raise ConfigError(f"{data_dir.erasures}: cannot be written: {fault.strerror}") from fault
    return erased


def _unknown(user: str, elsewhere: tuple[str, ...]) -> RedrushError:
    besides = "".join(f"; orders of campaigns besides are erased in {one}" for one in elsewhere)
    return RedrushError(
        f'no order and no bill is of "{user}": nothing was erased, and nothing written down; an id is the same '
        f"only if each sign of it is (`redrush find` names those that look alike){besides}"
    )


def _has_orders(book: SaleBook, user: str | None) -> bool:
    """Whether there is an order of the user; None: of anybody."""
    return any(book.counts().values()) if user is None else bool(book.of_user(user))


def _has_orders_at(sales: Path, user: str | None) -> bool:
    if not sales.exists():
        return False
    with closing(SqliteSaleBook.open_as_it_is(sales)) as book:
        return _has_orders(book, user)


def _under_way(bills: BillBook, before_us: int, user: str | None) -> int:
    """Return how many bills keep whom they go to, or come from, because they are not final."""
    count = after = 0
    while page := bills.listed(states=UNDER_WAY, user=user, after=after):
        count += sum(bill.to not in {"", bill.user} and bill.changed_us < before_us for bill in page)
        after = page[-1].id
    return count
