"""Everything that was granted of a campaign and is not delivered: found in journal and books, delivered when told so.

    money       won and not paid, where the campaign's [payout] pays by itself (`redrush.operate.paying_out`)
    refunds     that have failed at the provider: asked for once more, under a new number
    orders      of a sale that wait for an operator, after a shop has not taken them for days
    messages    that nobody has made (a book was lost, a notifier was added), or that have failed; codes and goods are
                delivered by the messages of a webhook

The books of a process are those of all its campaigns: what is of another one is left to an order for that.

What was found is counted, and delivered only while it is as many, and its payouts come to as much: whoever says yes has
seen what to. Each is named
after what it delivers, so the order may be given again after anything, and delivers nothing twice.

A message of which nobody knows whether it arrived is sent only where that is asked for.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from itertools import islice
from typing import Final, TypeVar

import msgspec

from redrush.config import PaymentsFile
from redrush.control.campaigns import keeper_of_books
from redrush.control.event import OpenTerms, load_event
from redrush.core.money.payout_terms import Policy
from redrush.operate.as_seen import Seen
from redrush.operate.campaign_books import sale_book_of
from redrush.operate.messages import listed, message_book_of, send_again
from redrush.operate.paying import Books, book_of, is_given_back, refund_again
from redrush.operate.paying_out import Plan, make_payouts, plan_payouts
from redrush.operate.reports import made_of_log
from redrush.ports.bill_book import BillState, KeptBill
from redrush.ports.message_book import KeptMessage, MessageBook, MessageState, NewMessage
from redrush.ports.sale_book import SaleOrder

_Book = TypeVar("_Book")

AT_ONCE: Final = 500
"""Messages that are looked for, or made, in one step."""


class Undelivered(msgspec.Struct, frozen=True, kw_only=True):
    """How much was granted and is not delivered."""

    payouts: int
    payouts_total_minor: int
    currency: str
    refunds: int
    orders: int
    messages_missing: int
    messages_failed: int
    messages_unknown: int
    """Sent only where that is asked for."""
    left_out: tuple[str, ...]
    """What was not looked for, and why."""

    def count(self, *, unknown: bool) -> int:
        """Return how many things would be delivered."""
        told = self.messages_missing + self.messages_failed + (self.messages_unknown if unknown else 0)
        return self.payouts + self.refunds + self.orders + told


class Reissue:
    """What a data directory has to deliver. `find`, then `deliver`; `close` at the end."""

    def __init__(self, books: Books, payments: PaymentsFile | None, now_us: int) -> None:
        """Opens the books that there are. ConfigError for one that is gone."""
        data_dir = books.data_dir
        self._books = books
        self._payments = payments
        self._now_us = now_us
        self._event = load_event(data_dir)
        self._campaign = self._event.sealed.campaign.id
        self._left_out: list[str] = []
        self._opened = ExitStack()
        with ExitStack() as opened:
            stack = books.deployment is not None
            kept = keeper_of_books(data_dir)
            self._bills = self._open(opened, book_of(books.of_bills), there=books.of_bills.there_are)
            told = stack or bool(self._event.open.messages) or kept.messages.exists()
            self._messages = self._open(opened, message_book_of(books, begins=True), there=told)
            self._sales = opened.enter_context(sale_book_of(books, self._campaign))
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Release the books."""
        self._opened.close()

    def find(self) -> Undelivered:
        """Return what there is to deliver."""
        self._left_out = []
        self._plan = self._planned(self._event.open)
        states = self._counted()
        counts: list[int] = []
        self._each_missing(lambda batch: counts.append(len(batch)))
        return Undelivered(
            payouts=0 if self._plan is None else len(self._plan.payouts),
            payouts_total_minor=0 if self._plan is None else self._plan.total_minor,
            currency=self._event.sealed.campaign.currency,
            refunds=len(self._refunds()),
            orders=len(self._orders()),
            messages_missing=sum(counts),
            messages_failed=states[MessageState.FAILED],
            messages_unknown=states[MessageState.UNKNOWN],
            left_out=tuple(self._left_out),
        )

    def deliver(self, seen: Seen, *, unknown: bool) -> Undelivered:
        """Deliver what there is, if it is still as it was seen; return what that was. RedrushError if it is not:
        nothing was done."""
        found = self.find()
        count = found.count(unknown=unknown)
        seen.check("things to deliver", count, found.payouts_total_minor, found.currency)
        if self._bills is not None:
            if self._plan is not None:
                make_payouts(self._bills, self._plan)
            for bill in self._refunds():
                refund_again(self._bills, bill, self._now_us)
        if self._sales is not None:
            self._sales.keep([order.taken_up(self._now_us) for order in self._orders()])
        if (book := self._messages) is not None:
            self._each_missing(lambda batch: book.put(batch, self._now_us))
            again = [MessageState.FAILED, *([MessageState.UNKNOWN] if unknown else [])]
            messages = self._told(again)
            while some := list(islice(messages, AT_ONCE)):
                send_again(book, some, self._now_us)
        return found

    @staticmethod
    def _open(opened: ExitStack, book: AbstractContextManager[_Book], *, there: bool) -> _Book | None:
        return opened.enter_context(book) if there else None

    def _planned(self, terms: OpenTerms) -> Plan | None:
        """Return who is to be paid; None: nobody is paid by itself."""
        if terms.payout is None:
            return None
        if terms.payout.policy is Policy.WINNER:
            self._left_out.append(
                'payouts: winners start them themselves (policy = "winner"); `redrush payout make` pays'
            )
            return None
        if self._bills is None or self._payments is None:
            self._left_out.append("payouts: say by whom (--payments FILE)")
            return None
        over_us = max(round_.closes_us for round_ in self._event.sealed.campaign.rounds)
        if terms.payout.policy is Policy.END and self._now_us < over_us:
            self._left_out.append('payouts: the campaign is not over (policy = "end")')
            return None
        plan = plan_payouts(self._books, self._bills, self._payments, None, ())
        least_minor = terms.payout.threshold_minor
        return msgspec.structs.replace(
            plan, payouts=tuple(one for one in plan.payouts if one.left_minor >= least_minor)
        )

    def _refunds(self) -> list[KeptBill]:
        if self._bills is None:
            return []
        failed = self._bills.listed(kind="refund", states=[BillState.FAILED, BillState.CANCELLED], limit=1_000_000)
        ours = (bill for bill in failed if bill.campaign == self._campaign)
        return [bill for bill in ours if not is_given_back(self._bills, bill)]

    def _orders(self) -> list[SaleOrder]:
        return [] if self._sales is None else [order for order in self._sales.all() if order.parked]

    def _each_missing(self, work: Callable[[list[NewMessage]], object]) -> None:
        """Let `work` have, in batches, the messages that nobody has made. RedrushError if a set cannot be read."""
        if (book := self._messages) is None or not self._event.open.messages:
            return

        def lacking(messages: Iterator[NewMessage]) -> None:
            while batch := list(islice(messages, AT_ONCE)):
                if wanted := _lacking(book, batch):
                    work(wanted)

        made_of_log(self._books, lambda log: lacking(log.messages()))

    def _counted(self) -> Counter[MessageState]:
        return Counter(one.state for one in self._told([MessageState.FAILED, MessageState.UNKNOWN]))

    def _told(self, states: Sequence[MessageState]) -> Iterator[KeptMessage]:
        """Yield the campaign's messages in these states."""
        messages = () if self._messages is None else listed(self._messages, states)
        return (one for one in messages if one.campaign == self._campaign)


def look_for(books: Books, payments: PaymentsFile | None, now_us: int) -> Undelivered:
    """Return what an event has to deliver. ConfigError for a book that is gone, RedrushError for a set that cannot be
    read."""
    with closing(Reissue(books, payments, now_us)) as order:
        return order.find()


def deliver(books: Books, payments: PaymentsFile | None, now_us: int, seen: Seen, *, unknown: bool) -> Undelivered:
    """Deliver what an event has to, if it is still as it was seen. Raises as `look_for`, and RedrushError if it is
    not."""
    with closing(Reissue(books, payments, now_us)) as order:
        return order.deliver(seen, unknown=unknown)


def _lacking(book: MessageBook, messages: Sequence[NewMessage]) -> list[NewMessage]:
    """Return those of which the book has none."""
    missing = {
        by: book.missing(by, [one.grant for one in messages if one.by == by]) for by in {one.by for one in messages}
    }
    return [one for one in messages if one.grant in missing[one.by]]
