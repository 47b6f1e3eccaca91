"""Payouts that nobody has to ask for: made from a campaign's log, as it is recorded, by the campaign's policy.

The cursor stands in the book and moves with the bills in one commit, so each win is paid out once, whoever is killed.
A bill of the policy `auto` is of one grant and named after it: a book that was lost and is made anew makes the same
bills, which the provider knows. What is smaller than the provider takes stays in the balance.

It reads the log only up to what is recorded, because what is recorded is what a balance consists of, and rests while
claims wait.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from redrush.core.money.ledger import TablesByPot, amounts_of, user_account
from redrush.core.money.payout_terms import PayoutTerms, Policy
from redrush.core.nobody import ignore, never
from redrush.core.rush.campaign import Campaign, Slots, grant_id
from redrush.core.rush.holding import PotTables, SlotAmounts, no_pots
from redrush.errors import RedrushError
from redrush.ports.bill_book import NewBill
from redrush.ports.store import LogRecord
from redrush.settle.pages import PAGE_RECORDS, ReadLog, follow
from redrush.settle.paying.payments import Payments
from redrush.settle.whole_log import permanent_of

Won = tuple[str, str, int]
"""A grant that is worth money: its id, whose it is, and how much."""

NOBODY: Final = PayoutTerms(policy=Policy.WINNER, provider="")
"""The terms of a campaign that pays nobody by itself."""

EMBEDDED_LOG: Final = "embedded"
"""The log of a campaign on one machine, by the name under which there is a cursor of it."""


def are_behind(
    payments: Payments, campaign: Campaign, terms: PayoutTerms | None, now_us: int, log: str, recorded: int
) -> bool:
    """Whether a campaign, as it is served now, has winners to pay unasked among so many records of a log, and there is
    somebody who pays them. Blocks; raises BookFailed."""
    pays = _pays(payments, campaign, terms or NOBODY, now_us)
    return pays and payments.book.cursor(_cursor_name(campaign.id, log)) < recorded


def _pays(payments: Payments, campaign: Campaign, terms: PayoutTerms, now_us: int) -> bool:
    if terms.policy is Policy.WINNER or not payments.can_pay(terms.provider):
        return False
    over_us = max((round_.closes_us for round_ in campaign.rounds), default=0)
    return terms.policy is not Policy.END or now_us >= over_us


def _cursor_name(campaign_id: str, log: str) -> str:
    return f"payouts:{campaign_id}:{log}"


class AutoPayouts:
    """See the module. `run` it as a task; `stop` ends it."""

    def __init__(  # noqa: PLR0913 - a campaign, and what goes on around it
        self,
        payments: Payments,
        campaign: Campaign,
        slots: SlotAmounts,
        terms: PayoutTerms | None,
        read: ReadLog,
        now_us: Callable[[], int],
        *,
        log: str = EMBEDDED_LOG,
        pots: PotTables = no_pots,
        busy: Callable[[], bool] = never,
        on_fault: Callable[[RedrushError], None] = ignore,
    ) -> None:
        """`terms` None: nobody is paid by itself. `log` names the log of which there is a cursor;
        `busy` tells whether claims wait."""
        self._payments = payments
        self._slots = slots
        self._pots = pots
        self.amend(campaign, terms)
        self._read = read
        self._now_us = now_us
        self._log = log
        self._cursor_name = _cursor_name(campaign.id, log)
        self._busy = busy
        self._on_fault = on_fault
        self._stopping = asyncio.Event()

    def amend(self, campaign: Campaign, terms: PayoutTerms | None) -> None:
        """Know the rounds of this campaign, and pay by these terms, from the next page on. The amounts table has grown
        in its place."""
        self._campaign = campaign
        self._terms = terms or NOBODY
        self._tables = TablesByPot(campaign, self._slots, self._pots)

    def is_behind(self, recorded: int) -> bool:
        """See `are_behind`."""
        return are_behind(self._payments, self._campaign, self._terms, self._now_us(), self._log, recorded)

    def stop(self) -> None:
        """End after the page under way."""
        self._stopping.set()

    async def run(self) -> None:
        """Follow the log until `stop`."""
        await follow(self._page, self._may, self._stopping, self._on_fault)

    def _may(self) -> bool:
        return not self._busy() and _pays(self._payments, self._campaign, self._terms, self._now_us())

    async def _page(self) -> int:
        """Make the bills of the next records; return how many records there were."""
        terms = self._terms  # of the whole page: it may be amended meanwhile
        cursor = await asyncio.to_thread(self._payments.book.cursor, self._cursor_name)
        records = await self._read(cursor, PAGE_RECORDS)
        if not records:
            return 0
        won = [one for record in records for one in self._won(record)]
        bills = await asyncio.to_thread(self._bills, won, records[-1].seq, terms)
        moved = (self._cursor_name, records[-1].seq)
        now_us = self._now_us()
        await asyncio.to_thread(lambda: self._payments.book.make(bills, now_us, moved, lenient=True))
        self._payments.wake()
        return len(records)

    def _won(self, record: LogRecord) -> list[Won]:
        won = []
        for grant in permanent_of(record):
            (worth,) = amounts_of(Slots(grant.slot, 1), self._tables.of(grant.pot))
            if worth:
                won.append((grant_id(self._campaign.id, grant.pot, grant.slot), grant.user, worth))
        return won

    def _bills(self, won: Sequence[Won], seq: int, terms: PayoutTerms) -> list[NewBill]:
        provider = self._payments.tellers[terms.provider].provider.terms
        covered = {user: self._payments.granted_now(self._campaign.id, user) for user in {user for _, user, _ in won}}
        if terms.policy is Policy.AUTO:
            wanted = list(won)
        else:
            wanted = []
            for user, granted_minor in sorted(covered.items()):
                balance = self._payments.book.balance(self._campaign.id, user_account(user))
                available = granted_minor + balance.net_minor
                if available >= terms.threshold_minor:
                    wanted.append((f"{self._campaign.id}/{user}/{seq}", user, min(available, provider.max_minor)))
        return [
            self._bill(source, user, worth, covered[user], terms)
            for source, user, worth in wanted
            if provider.min_minor <= worth <= provider.max_minor
        ]

    def _bill(self, source: str, user: str, amount_minor: int, covered_minor: int, terms: PayoutTerms) -> NewBill:
        """Return the payout of this much to the user."""
        return NewBill(
            kind="payout", source=source, campaign=self._campaign.id, user=user, provider=terms.provider,
            currency=self._campaign.currency, amount_minor=amount_minor, subject=self._campaign.name, to=user,
            covered_minor=covered_minor, held=terms.approve,
        )  # fmt: skip
