"""Everything that was won and is not paid: found from the journal and the book, and paid when finance says so.

What was won is read from the journal, which is the authority; what left, from the book. A payout is named after both
sums, so the order may be given again after anything: what was made is made, and what is paid leaves nothing to pay.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from redrush.config import PaymentsFile
from redrush.control.event import load_event
from redrush.core.money.ledger import user_account
from redrush.errors import ConfigError
from redrush.operate.event_log import EventLog
from redrush.operate.paying import Books
from redrush.operate.reports import made_of_log
from redrush.ports.bill_book import BillBook, NewBill
from redrush.wiring.clock import system_clock
from redrush.wiring.providers import connected

AT_ONCE: Final = 500
"""Payouts that are made in one commit."""


class Unpaid(msgspec.Struct, frozen=True):
    """What a user has won, and what of it is left, in minor units."""

    user: str
    granted_minor: int
    left_minor: int


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What would be paid."""

    campaign: str
    name: str
    currency: str
    provider: str
    held: bool
    payouts: tuple[Unpaid, ...]
    too_small: int
    """Users who have less than the provider pays."""

    @property
    def total_minor(self) -> int:
        """What all payouts come to."""
        return sum(one.left_minor for one in self.payouts)


def plan_payouts(books: Books, book: BillBook, file: PaymentsFile, provider: str | None, users: Sequence[str]) -> Plan:
    """Return what is owed to these users, to all if there are none. ConfigError for a provider that is none,
    RedrushError if a set cannot be read."""
    event = load_event(books.data_dir)
    campaign = event.sealed.campaign
    if campaign.rehearsal:
        raise ConfigError(f"{campaign.name} is a rehearsal: what was won in it is play money, and nobody is paid")
    name = provider or (None if event.open.payout is None else event.open.payout.provider)
    spec = next((one for one in file.providers if one.name == name), None)
    if name is None or spec is None:
        known = ", ".join(one.name for one in file.providers)
        raise ConfigError(f"say by whom they are paid: --provider {known}")
    one = connected(spec, system_clock().now_us, campaign.currency)
    one.close()
    if one.provider.pay_out is None:
        raise ConfigError(f"{file.path}: {name} pays nobody")
    least = one.provider.pay_out.terms.min_minor
    granted = made_of_log(books, EventLog.granted_minor)
    owed = []
    for user in sorted(set(granted) & set(users) if users else granted):
        left = granted[user] + book.balance(campaign.id, user_account(user)).net_minor
        if left > 0:
            owed.append(Unpaid(user, granted[user], left))
    return Plan(
        campaign=campaign.id, name=campaign.name, currency=campaign.currency, provider=name,
        held=event.open.payout is not None and event.open.payout.approve,
        payouts=tuple(one for one in owed if one.left_minor >= least),
        too_small=sum(one.left_minor < least for one in owed),
    )  # fmt: skip


def make_payouts(book: BillBook, plan: Plan) -> int:
    """Put the planned payouts into the book; return how many there are. What was spent meanwhile is left out."""
    now_us = system_clock().now_us()
    made = 0
    for first in range(0, len(plan.payouts), AT_ONCE):
        bills = [_bill(plan, one) for one in plan.payouts[first : first + AT_ONCE]]
        made += len(book.make(bills, now_us, lenient=True))
    return made


def _bill(plan: Plan, one: Unpaid) -> NewBill:
    return NewBill(
        kind="payout", source=f"{plan.campaign}/{one.user}/of-{one.granted_minor}-{one.left_minor}",
        campaign=plan.campaign, user=one.user, provider=plan.provider, currency=plan.currency,
        amount_minor=one.left_minor, subject=plan.name, to=one.user, covered_minor=one.granted_minor, held=plan.held,
    )  # fmt: skip
