"""What winners are to be told: made from a campaign's log as it is recorded, by the campaign's `[[message]]` tables.

The cursor stands in the book of messages and moves with them in one commit. A grant and a notifier make one message,
whatever is lost: a book that is made anew makes the same numbers. Packets between people are not told of, for who has
grabbed one looks at it; nor is what is bought, of which the shop tells.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from redrush.core.money.currency import format_amount
from redrush.core.money.ledger import TablesByPot, amounts_of
from redrush.core.nobody import ignore, never
from redrush.core.rush.campaign import Campaign, Slots, grant_id
from redrush.core.rush.draw import PrizeKind
from redrush.core.rush.holding import Code, Goods, Money, PotTables, SlotAmounts, no_pots, text_of
from redrush.core.rush.message import MessageTerms
from redrush.errors import RedrushError
from redrush.ports.message_book import MessageBook, NewMessage
from redrush.ports.store import Confirmed, Granted, LogRecord, Scattered
from redrush.settle.pages import PAGE_RECORDS, ReadLog, follow
from redrush.settle.whole_log import permanent_of

EMBEDDED_LOG: Final = "embedded"
"""The log of a campaign on one machine, by the name under which there is a cursor of it."""

_KINDS = {Money: PrizeKind.MONEY, Code: PrizeKind.CODE, Goods: PrizeKind.GOODS}


def cursor_name(campaign_id: str, log: str, terms: Sequence[MessageTerms]) -> str:
    """Return how the cursor is called. There is one of each set of notifiers: messages that there are already are made
    once."""
    names = "+".join(sorted(one.by for one in terms))
    return f"messages:{campaign_id}:{log}:{names}"


class MessagesOfLog:
    """Makes messages of a campaign's log records."""

    def __init__(self, campaign: Campaign, terms: Sequence[MessageTerms], slots: SlotAmounts, pots: PotTables) -> None:
        self._campaign = campaign
        self._terms = terms
        self._tables = TablesByPot(campaign, slots, pots)
        self._rounds = {pot.id: pot for pot in campaign.pots}

    def of(self, record: LogRecord) -> Iterator[NewMessage]:
        """Yield a message for each permanent grant and each notifier that is to tell of it."""
        if not isinstance(record, Granted | Scattered | Confirmed):
            return
        for grant in permanent_of(record):
            pot = self._rounds.get(grant.pot)
            if pot is None:
                continue
            table = self._tables.of(grant.pot)
            holding = table.holding(grant.slot)
            kind = _KINDS.get(type(holding))
            (worth_minor,) = amounts_of(Slots(grant.slot, 1), table)
            prize = None if pot.prize is None or pot.round.draw is None else pot.round.draw.prize(pot.prize)
            amount = format_amount(worth_minor, self._campaign.currency)
            name = "" if prize is None else prize.name
            fields = {
                "round": pot.round.id,
                "pot": pot.id,
                "amount": amount,
                "currency": self._campaign.currency,
                "worth": f"{amount} {self._campaign.currency}" if kind is PrizeKind.MONEY else name,
                "holds": text_of(holding) or "",
                "prize": pot.prize or "",
            }
            for terms in self._terms:
                if kind in terms.of:
                    yield NewMessage(
                        by=terms.by,
                        campaign=self._campaign.id,
                        grant=grant_id(self._campaign.id, grant.pot, grant.slot),
                        user=grant.user,
                        at_us=record.at_us,
                        fields=fields,
                    )


class Announcer:
    """See the module. `run` it as a task; `stop` ends it."""

    def __init__(  # noqa: PLR0913 - a campaign, and what goes on around it
        self,
        book: Callable[[], MessageBook],
        campaign: Campaign,
        terms: Sequence[MessageTerms],
        slots: SlotAmounts,
        read: ReadLog,
        now_us: Callable[[], int],
        *,
        log: str = EMBEDDED_LOG,
        pots: PotTables = no_pots,
        busy: Callable[[], bool] = never,
        wake: Callable[[], None] = lambda: None,
        on_fault: Callable[[RedrushError], None] = ignore,
    ) -> None:
        """`book` is begun when there is somebody to tell. `log` names the log of which there is a cursor; `busy` tells
        whether claims wait; `wake` hears that there is something to send."""
        self._book = book
        self._slots = slots
        self._pots = pots
        self._read = read
        self._now_us = now_us
        self._log = log
        self._busy = busy
        self._wake = wake
        self._on_fault = on_fault
        self._stopping = asyncio.Event()
        self.amend(campaign, terms)

    def amend(self, campaign: Campaign, terms: Sequence[MessageTerms]) -> None:
        """Know these rounds and words from now on. A notifier that is new tells also who has won before."""
        self._terms = terms
        self._cursor_name = cursor_name(campaign.id, self._log, terms)
        self._messages = MessagesOfLog(campaign, terms, self._slots, self._pots)

    def is_behind(self, recorded: int) -> bool:
        """Whether there are wins of which messages are to be made, among so many records. Raises BookFailed."""
        return bool(self._terms) and self._book().cursor(self._cursor_name) < recorded

    def stop(self) -> None:
        """End after the page under way."""
        self._stopping.set()

    async def run(self) -> None:
        """Follow the log until `stop`."""
        await follow(self._page, self._may, self._stopping, self._on_fault)

    def _may(self) -> bool:
        return bool(self._terms) and not self._busy()

    async def _page(self) -> int:
        """Make the messages of the next records; return how many records there were."""
        book = self._book()
        cursor_name = self._cursor_name  # of the whole page: who is new meanwhile begins at the first record
        cursor = await asyncio.to_thread(book.cursor, cursor_name)
        records = await self._read(cursor, PAGE_RECORDS)
        if not records:
            return 0
        messages = [message for record in records for message in self._messages.of(record)]
        moved = (cursor_name, records[-1].seq)
        await asyncio.to_thread(book.put, messages, self._now_us(), moved)
        if messages:
            self._wake()
        return len(records)
